//! Notes on tensors of a weights file that no module reads.
//!
//! diffusers and transformers ignore them too, and log a warning. Most are harmless; those of a LoRA and the scales of a quantized
//! model are not: without them the image differs.

use crate::nn::error::abridged;
use tr::tr;

/// Prefixes and suffixes of keys in files of older versions or of the whole CLIP model, which make no difference.
const HARMLESS: [&str; 5] =
    ["position_ids", "logit_scale", "text_projection.weight", "visual_projection.weight", "vision_model."];

/// Words in keys that make a difference, with a description and advice.
const RELEVANT: [(&[&str], &str, &str); 3] = [
    (
        &["lora_", ".lora", "_lora"],
        "of a LoRA",
        "diffusers does not apply them either; `fuse_lora()` before `save_pretrained()` does",
    ),
    (
        &["hada_", "lokr_", "dora_scale"],
        "of a LoRA",
        "diffusers does not apply them either; fuse them before saving",
    ),
    (
        &[
            "scale_weight",
            "scale_input",
            "weight_scale",
            "input_scale",
            "scaled_fp8",
            ".absmax",
            ".quant_map",
            ".quant_state",
        ],
        "of a quantized model",
        "the weights are read without these scales, as diffusers reads them without a `quantization_config`; save them dequantized",
    ),
];

/// Notes on the unread `keys` of `file`, one for each kind.
pub fn notes(file: &str, keys: &[String]) -> Vec<String> {
    let is_harmless = |key: &str| HARMLESS.iter().any(|known| key.ends_with(known) || key.starts_with(known));
    let kind =
        |key: &str| RELEVANT.iter().position(|(words, ..)| words.iter().any(|word| key.contains(word)));
    let mut kinds: [Vec<&str>; RELEVANT.len() + 1] = Default::default();
    for key in keys.iter().filter(|key| !is_harmless(key)) {
        kinds[kind(key).unwrap_or(RELEVANT.len())].push(key);
    }
    let note = |(kind, keys): (usize, &Vec<&str>)| {
        let (first, n) = (abridged(keys.first()?), keys.len());
        let tensors = if n == 1 { "1 tensor".into() } else { format!("{n} tensors") };
        Some(match RELEVANT.get(kind) {
            Some((_, what, advice)) => {
                tr!(
                    "{file}: {tensors} {what} not read, the first is {first}: {advice}",
                    file,
                    tensors,
                    what,
                    first,
                    advice
                )
            }
            None => {
                tr!(
                    "{file}: {tensors} of unknown modules not read, as in diffusers; the first is {first}",
                    file,
                    tensors,
                    first
                )
            }
        })
    };
    kinds.iter().enumerate().filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_every_kind() {
        let keys = [
            "text_model.embeddings.position_ids",
            "mid_block.attentions.0.to_q.lora_A.weight",
            "mid_block.attentions.0.to_q.lora_B.weight",
            "conv_in.scale_weight",
            "other.weight",
        ];
        let notes = notes("unet/w.safetensors", &keys.map(String::from));
        assert_eq!(notes.len(), 3);
        assert!(
            notes[0].starts_with(
                "unet/w.safetensors: 2 tensors of a LoRA not read, the first is mid_block.attentions.0.to_q.lora_A.weight: "
            ),
            "{}",
            notes[0]
        );
        assert!(
            notes[1].contains("1 tensor of a quantized model not read, the first is conv_in.scale_weight"),
            "{}",
            notes[1]
        );
        assert!(
            notes[2]
                .contains("1 tensor of unknown modules not read, as in diffusers; the first is other.weight"),
            "{}",
            notes[2]
        );
    }
}

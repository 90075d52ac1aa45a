//! Tensors of a weights file that no module reads, and what they are.
//!
//! diffusers and transformers leave them out too, with a line in their log. Most are harmless; a LoRA's, or the scales of a
//! quantized model, are not: without them the picture is another one.

use crate::nn::error::abridged;

/// Keys that files of older versions have, or of the whole CLIP model, and that make no difference: a key that ends so, or
/// begins so.
const HARMLESS: [&str; 5] =
    ["position_ids", "logit_scale", "text_projection.weight", "visual_projection.weight", "vision_model."];

/// What a key is that has one of these words in it, and what to do about it.
const MEANT: [(&[&str], &str, &str); 3] = [
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

/// A line for the `keys` of `file` that nobody read: one for every kind of them.
pub fn notes(file: &str, keys: &[String]) -> Vec<String> {
    let is_harmless = |key: &str| HARMLESS.iter().any(|known| key.ends_with(known) || key.starts_with(known));
    let meant = |key: &str| MEANT.iter().position(|(words, ..)| words.iter().any(|word| key.contains(word)));
    let mut kinds: [Vec<&str>; MEANT.len() + 1] = Default::default();
    for key in keys.iter().filter(|key| !is_harmless(key)) {
        kinds[meant(key).unwrap_or(MEANT.len())].push(key);
    }
    let said = |(kind, keys): (usize, &Vec<&str>)| {
        let (first, n) = (abridged(keys.first()?), keys.len());
        let tensors = if n == 1 { "1 tensor".into() } else { format!("{n} tensors") };
        Some(match MEANT.get(kind) {
            Some((_, what, advice)) => {
                format!("{file}: {tensors} {what} not read, {first} the first: {advice}")
            }
            None => {
                format!("{file}: {tensors} that no module has, {first} the first: not read, as in diffusers")
            }
        })
    };
    kinds.iter().enumerate().filter_map(said).collect()
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
            "nobody.asks",
        ];
        let notes = notes("unet/w.safetensors", &keys.map(String::from));
        assert_eq!(notes.len(), 3);
        assert!(
            notes[0].starts_with(
                "unet/w.safetensors: 2 tensors of a LoRA not read, mid_block.attentions.0.to_q.lora_A.weight the first: "
            ),
            "{}",
            notes[0]
        );
        assert!(
            notes[1].contains("1 tensor of a quantized model not read, conv_in.scale_weight"),
            "{}",
            notes[1]
        );
        assert!(notes[2].contains("1 tensor that no module has, nobody.asks the first"), "{}", notes[2]);
    }
}

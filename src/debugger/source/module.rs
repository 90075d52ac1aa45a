//! What is known of a module by its path: what it is part of, what diffusers calls it, what it is given, where its code is.

use super::{File, Function};
use crate::nn::attention::ATTENTION_PROBS;

pub use crate::model::anatomy::is_within;

/// Whether `step` stops at the piece: not at a whole model, which is what the line that runs it is, nor at what an
/// attention attends to, which is made only where it is asked for.
pub fn is_stepped_into(path: &str) -> bool {
    path.contains('.') && is_piece(path)
}

/// Whether the piece is made whether or not it is asked for.
pub fn is_piece(path: &str) -> bool {
    !path.ends_with(ATTENTION_PROBS)
}

/// What a module is that has parts: its code, and the names of what it is given.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// Its forward pass here.
    pub function: Function,
    /// What it is given, in the order in which the probe is.
    inputs: &'static [&'static str],
}

/// The class of the module at `path`; `None` for a layer without parts.
pub fn class(path: &str) -> Option<Class> {
    let of = |file, ours, inputs| Some(Class { function: Function::method(file, ours, "forward"), inputs });
    let names: Vec<&str> = path.split('.').collect();
    const SAMPLE: &[&str] = &["sample"];
    const STATES: &[&str] = &["hidden_states"];
    const TIMED: &[&str] = &["hidden_states", "temb"];
    const ATTENDING: &[&str] = &["hidden_states", "encoder_hidden_states"];
    const BLOCK: &[&str] = &["hidden_states", "temb", "encoder_hidden_states"];
    match names[..] {
        ["text_encoder"] => of(File::Clip, "ClipTextModel", &["input_ids"]),
        ["unet"] => {
            of(File::UNet, "UNet2DConditionModel", &["sample", "encoder_hidden_states", "timestep_cond"])
        }
        ["unet", "time_embedding"] => of(File::Embeddings, "TimestepEmbedding", &["sample", "condition"]),
        ["unet", "down_blocks", _] => of(File::Blocks, "DownBlock2D", BLOCK),
        ["unet", "mid_block"] => of(File::Blocks, "UNetMidBlock2DCrossAttn", BLOCK),
        ["unet", "up_blocks", _] => of(File::Blocks, "UpBlock2D", BLOCK),
        ["vae", "encoder"] => of(File::Vae, "Encoder", SAMPLE),
        ["vae", "decoder"] => of(File::Vae, "Decoder", SAMPLE),
        ["vae", _, "down_blocks", _] => of(File::Vae, "DownEncoderBlock2D", STATES),
        ["vae", _, "up_blocks", _] => of(File::Vae, "UpDecoderBlock2D", STATES),
        ["vae", _, "mid_block"] => of(File::Vae, "UNetMidBlock2D", STATES),
        ["vae", .., "attentions", _] => of(File::Attention, "SpatialAttention", STATES),
        [.., "attentions", _] => of(File::Transformer, "Transformer2DModel", ATTENDING),
        [.., "transformer_blocks", _] => of(File::Transformer, "BasicTransformerBlock", ATTENDING),
        [.., "attn1" | "attn2"] => of(File::Attention, "Attention", ATTENDING),
        [.., "ff"] => of(File::Transformer, "FeedForward", STATES),
        [.., "ff", "net", "0"] => of(File::Transformer, "Geglu", STATES),
        [.., "resnets", _] => of(File::Resnet, "ResnetBlock2D", TIMED),
        [.., "downsamplers", _] => of(File::Resnet, "Downsample2D", STATES),
        [.., "upsamplers", _] => of(File::Resnet, "Upsample2D", STATES),
        ["text_encoder", "embeddings"] => of(File::Clip, "ClipTextEmbeddings", &["input_ids"]),
        ["text_encoder", "encoder"] => of(File::Clip, "ClipEncoder", STATES),
        ["text_encoder", .., "layers", _] => of(File::Clip, "ClipEncoderLayer", STATES),
        [.., "self_attn"] => of(File::Clip, "ClipAttention", STATES),
        [.., "mlp"] => of(File::Clip, "ClipMlp", STATES),
        _ => None,
    }
}

/// The names of what the piece at `path` is given, of which there are `count`.
pub fn inputs(path: &str, count: usize) -> Vec<&'static str> {
    const LAYER: &[&str] = &["input"];
    const MORE: [&str; 4] = ["input", "input_1", "input_2", "input_3"];
    let known = match class(path) {
        _ if path.ends_with(ATTENTION_PROBS) => &["query", "key"][..],
        Some(class) => class.inputs,
        None => LAYER,
    };
    known.iter().chain(MORE.iter().skip(known.len())).copied().take(count).collect()
}

/// The module that the piece at `path` is part of; `None` for a whole model, and for the parts of the VAE, which are called
/// one after the other.
pub fn parent(path: &str) -> Option<&str> {
    let mut rest = path;
    while let Some((before, _)) = rest.rsplit_once('.') {
        if class(before).is_some() {
            return Some(before);
        }
        rest = before;
    }
    None
}

/// The modules that the piece at `path` is in, and itself, the outermost first, without the whole model: each as it is
/// called within the one before.
pub fn crumbs(path: &str) -> Vec<&str> {
    let mut frames = vec![path];
    while let Some(outer) = frames.last().and_then(|inner| parent(inner)) {
        frames.push(outer);
    }
    frames.reverse();
    let within = |(outer, inner): (&str, &'_ str)| inner.len() - outer.len();
    let mut crumbs = vec![];
    let mut outer = path.split('.').next().unwrap_or(path);
    for frame in frames {
        if frame != outer {
            let length = within((outer, frame)) - 1;
            crumbs.push(&frame[frame.len() - length..]);
        }
        outer = frame;
    }
    crumbs
}

/// The function in whose code the piece at `path` is called, and the row of the call in it.
pub fn call(path: &str) -> Option<(Function, usize)> {
    let (function, child) = match parent(path) {
        Some(parent) => (class(parent)?.function, &path[parent.len() + 1..]),
        None => {
            let part = path.strip_prefix("vae.")?;
            let name = if matches!(part, "encoder" | "quant_conv") { "encode" } else { "decode" };
            (Function::method(File::Vae, "AutoencoderKL", name), part)
        }
    };
    let (_, text) = function.text();
    let calls = called_as(child);
    let row = calls.iter().find_map(|call| text.iter().position(|line| line.contains(call.as_str())))?;
    Some((function, row))
}

/// How a part may be called in the code of its whole, the likeliest first.
fn called_as(child: &str) -> Vec<String> {
    let ours = match child {
        "net.0" => "geglu",
        "net.2" => "out",
        "conv_shortcut" => "conv",
        ATTENTION_PROBS => "attend",
        _ => child,
    };
    let (list, place) = match ours.rsplit_once('.') {
        Some((list, place)) if place.bytes().all(|b| b.is_ascii_digit()) => (list, Some(place)),
        _ => (ours, None),
    };
    let one = match list {
        "transformer_blocks" | "down_blocks" | "up_blocks" => "block",
        list => list.trim_end_matches('s'),
    };
    match place {
        Some(place) => vec![
            format!("self.{list}[{place}].forward"),
            format!("{one}.forward"),
            format!("self.{list}.forward"),
        ],
        // An activation is handed to what it is fused with.
        None => {
            vec![format!("self.{list}.forward"), format!("{list}.forward"), format!("(&self.{list},")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelSource;
    use crate::pipeline::Models;
    use candle_core::{DType, Device};

    #[test]
    fn a_path_is_told_as_one_goes_in() {
        assert_eq!(
            crumbs("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2"),
            ["down_blocks.1", "attentions.0", "transformer_blocks.0", "attn2"]
        );
        assert_eq!(
            crumbs("text_encoder.encoder.layers.0.self_attn.q_proj"),
            ["encoder", "layers.0", "self_attn", "q_proj"]
        );
        assert_eq!(crumbs("vae.decoder.conv_in"), ["decoder", "conv_in"]);
        assert!(crumbs("unet").is_empty());
    }

    #[test]
    fn a_part_is_of_its_whole_alone() {
        assert!(is_within("unet.mid_block.resnets.0", "unet.mid_block") && is_within("unet", "unet"));
        assert!(!is_within("unet.up_blocks.10", "unet.up_blocks.1"));
    }

    #[test]
    fn the_call_of_every_module_is_found_in_the_code() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        let parts = models.modules.iter().map(|path| path.as_str()).filter(|path| path.contains('.'));
        let missing: Vec<&str> = parts.filter(|path| *path != "vae" && call(path).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let (function, row) = call("unet.mid_block.attentions.0").unwrap();
        assert!(function.text().1[row].contains("self.attention.forward("));
    }

    #[test]
    fn every_class_has_its_code() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        for (path, class) in models.modules.iter().filter_map(|path| Some((path, class(path.as_str())?))) {
            let (first, text) = class.function.text();
            assert!(first > 1 && text.len() > 3, "{path}: {class:?}");
        }
    }
}

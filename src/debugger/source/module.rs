//! What is known of a module by its path: what it is part of, what diffusers calls it, what it is given, where its code is.

use super::{File, Function};
use crate::model::classes::{self, Forward};
use crate::nn::attention::ATTENTION_PROBS;

pub use crate::model::anatomy::is_within;
pub use crate::model::classes::inputs;

/// Whether `step` stops at the piece: not at a whole model, which is what the line that runs it is, nor at what an
/// attention attends to, which is made only where it is asked for.
pub fn is_stepped_into(path: &str) -> bool {
    path.contains('.') && is_piece(path)
}

/// Whether the piece is made whether or not it is asked for.
pub fn is_piece(path: &str) -> bool {
    !path.ends_with(ATTENTION_PROBS)
}

/// The forward pass of the module at `path`; `None` for a layer without parts.
fn function(path: &str) -> Option<Function> {
    Forward::of(path).map(Function::forward)
}

/// The module that the piece at `path` is part of; `None` for a whole model, and for the parts of the VAE, which are called
/// one after the other.
pub fn parent(path: &str) -> Option<&str> {
    let mut rest = path;
    while let Some((before, _)) = rest.rsplit_once('.') {
        if function(before).is_some() {
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
        Some(parent) => (function(parent)?, &path[parent.len() + 1..]),
        None => {
            let part = path.strip_prefix("vae.")?;
            let name = if matches!(part, "encoder" | "quant_conv") { "encode" } else { "decode" };
            (Function::method(File::Module(classes::File::Vae), "AutoencoderKL", name), part)
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
        for (path, function) in
            models.modules.iter().filter_map(|path| Some((path, function(path.as_str())?)))
        {
            let (first, text) = function.text();
            assert!(first > 1 && text.len() > 3, "{path}: {function:?}");
        }
    }
}

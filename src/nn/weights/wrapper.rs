//! Keys that a wrapper of PyTorch gave another name: `_orig_mod.conv_in.weight` is `conv_in.weight` of a compiled model.
//!
//! diffusers and transformers do not undo it: they leave such a model random, with a line in their log. Here it is an error.

use super::{Shards, WeightsError};

/// Beginnings of keys: what puts them there, and what would be saved without.
const WRAPPERS: [(&str, &str, &str); 8] = [
    ("_orig_mod.", "torch.compile", "save `model._orig_mod`"),
    ("module.", "DataParallel or DistributedDataParallel", "save `model.module`"),
    ("_fsdp_wrapped_module.", "FullyShardedDataParallel", "save its full state dict"),
    ("base_model.model.", "peft", "save `model.merge_and_unload()`"),
    (
        "model.diffusion_model.",
        "the original layout of Stable Diffusion",
        "convert the file to the diffusers layout",
    ),
    (
        "first_stage_model.",
        "the original layout of Stable Diffusion",
        "convert the file to the diffusers layout",
    ),
    (
        "cond_stage_model.",
        "the original layout of Stable Diffusion",
        "convert the file to the diffusers layout",
    ),
    ("", "a model that holds this one", "save the model itself"),
];

/// What a layer with a LoRA inside calls the weights that it had before.
const BASE_LAYER: &str = ".base_layer";

/// The error that `files` have no tensor `key` of shape `expected`: with the name that it has instead, where every key begins
/// with the same wrapper's name, or where a LoRA's layer holds it.
pub(super) fn missing(files: &Shards, key: String, expected: &[usize]) -> WeightsError {
    let file = files.name().to_string();
    if let Some((module, name)) = key.rsplit_once('.') {
        let found = format!("{module}{BASE_LAYER}.{name}");
        if files.find(&found).is_some() {
            let (wrapper, advice) = ("peft", "save it after `fuse_lora()` and `unload_lora_weights()`");
            return WeightsError::Wrapped { file, key, found, wrapper, advice };
        }
    }
    let prefixed = files.tensors().find_map(|(found, _)| {
        let prefix = found.strip_suffix(key.as_str()).filter(|prefix| prefix.ends_with('.'))?.to_string();
        Some((prefix, found))
    });
    if let Some((prefix, found)) = prefixed
        && files.tensors().all(|(key, _)| key.starts_with(&prefix))
        && let Some((_, wrapper, advice)) = WRAPPERS.iter().find(|(start, ..)| prefix.starts_with(start))
    {
        return WeightsError::Wrapped { file, key, found, wrapper, advice };
    }
    WeightsError::MissingKey { file, key, expected: expected.into() }
}

//! Keys that a wrapper in PyTorch renamed: `_orig_mod.conv_in.weight` is `conv_in.weight` of a compiled model.
//!
//! diffusers and transformers leave such a model random and log a warning. Here it is an error.

use super::{Shards, WeightsError, WeightsFile};

/// Names that a wrapper inserts anywhere in keys, with the wrapper and the remedy.
const WITHIN: [(&str, &str, &str); 4] = [
    ("_orig_mod.", "torch.compile", "save `model._orig_mod`"),
    ("_fsdp_wrapped_module.", "FullyShardedDataParallel", "save its full state dict"),
    ("_checkpoint_wrapped_module.", "PyTorch's checkpoint_wrapper", "save the model that it wraps"),
    ("base_layer.", "peft", "save it after `fuse_lora()` and `unload_lora_weights()`"),
];

/// Prefixes of every key. The last one matches all.
const BEGINNINGS: [(&str, &str, &str); 6] = [
    ("module.", "DataParallel or DistributedDataParallel", "save `model.module`"),
    ("base_model.model.", "peft", "save `model.merge_and_unload()`"),
    ("model.diffusion_model.", ORIGINAL_LAYOUT, CONVERT),
    ("first_stage_model.", ORIGINAL_LAYOUT, CONVERT),
    ("cond_stage_model.", ORIGINAL_LAYOUT, CONVERT),
    ("", "a model that holds this one", "save the model itself"),
];

const ORIGINAL_LAYOUT: &str = "the original layout of Stable Diffusion";
const CONVERT: &str = "convert the file to the diffusers layout";

/// The error that `files` lack tensor `key` of shape `expected`, with its name in the file if a wrapper renamed it.
pub(super) fn missing(files: &Shards, key: String, expected: &[usize]) -> WeightsError {
    let file = files.name().to_string();
    if files.files().iter().any(WeightsFile::is_view) {
        return WeightsError::MissingKey { file, key: files.stored_key(&key), expected: expected.into() };
    }
    for (word, wrapper, advice) in WITHIN {
        // transformers 4 puts `text_model.` before a text encoder's keys.
        let plain = |found: &str| found.replace(word, "").replacen("text_model.", "", 1);
        let is_it =
            |found: &String| found.contains(word) && (plain(found) == key || found.replace(word, "") == key);
        if let Some(found) = files.tensors().map(|(found, _)| found).find(is_it) {
            return WeightsError::Wrapped { file, key, found, wrapper, advice };
        }
    }
    let prefixed = files.tensors().find_map(|(found, _)| {
        let prefix = found.strip_suffix(key.as_str()).filter(|prefix| prefix.ends_with('.'))?.to_string();
        Some((prefix, found))
    });
    if let Some((prefix, found)) = prefixed
        && files.tensors().all(|(key, _)| key.starts_with(&prefix))
        && let Some((_, wrapper, advice)) =
            WITHIN.iter().chain(&BEGINNINGS).find(|(start, ..)| prefix.starts_with(start))
    {
        return WeightsError::Wrapped { file, key, found, wrapper, advice };
    }
    WeightsError::MissingKey { file, key, expected: expected.into() }
}

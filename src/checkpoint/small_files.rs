//! Small files of a checkpoint: on disk, or inside the program.

use super::LoadError;
use crate::nn::links;
use std::borrow::Cow;
use std::path::Path;
use tr::tr;

/// The largest text file, far above any real configuration, vocabulary or list of merges.
const MAX_TEXT_FILE: u64 = 64 << 20;

/// The bytes of a small file on disk; `None` when it does not exist.
///
/// # Errors
/// When it is not a readable file of reasonable size.
pub fn read(path: &Path) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
    let wrong = |found: String, expected: &str| LoadError::File {
        path: path.display().to_string(),
        found,
        expected: expected.into(),
    };
    let unreadable = |found: String| wrong(found, "a readable file");
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            // A dangling link is an error, not an absent file.
            return if path.is_symlink() { Err(unreadable(links::found(path, &e))) } else { Ok(None) };
        }
        Err(e) => return Err(unreadable(e.to_string())),
    };
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "not a regular file" };
        return Err(wrong(found.into(), "a file"));
    }
    if metadata.len() > MAX_TEXT_FILE {
        let expected = tr!("a file of at most {} MiB", MAX_TEXT_FILE >> 20);
        return Err(wrong(format!("{} MiB", metadata.len() >> 20), &expected));
    }
    std::fs::read(path).map(|bytes| Some(bytes.into())).map_err(|e| unreadable(e.to_string()))
}

/// The error that a file which every checkpoint folder has is missing.
pub fn missing(path: String) -> LoadError {
    LoadError::File {
        path,
        found: tr!("no such file"),
        expected:
            "a checkpoint folder with model_index.json, tokenizer/, text_encoder/, unet/, vae/, scheduler/"
                .into(),
    }
}

macro_rules! pocket {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/", $name))
    };
}

/// CLIP's vocabulary, which Stable Diffusion 1 and 2 have in common.
pub fn vocabulary(name: &str) -> Option<&'static [u8]> {
    match name {
        "tokenizer/vocab.json" => Some(pocket!("tokenizer/vocab.json")),
        "tokenizer/merges.txt" => Some(pocket!("tokenizer/merges.txt")),
        _ => None,
    }
}

/// A file of `models/pocket/`, the bundled model.
#[cfg(feature = "bundled")]
pub fn bundled(name: &str) -> Option<&'static [u8]> {
    macro_rules! files {
        ($($name:literal),* $(,)?) => {
            match name {
                $($name => Some(pocket!($name)),)*
                _ => vocabulary(name),
            }
        };
    }
    files!(
        "model_index.json",
        "latent_rgb_factors.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    )
}

/// A file of `models/pocket/`, the bundled model.
#[cfg(not(feature = "bundled"))]
pub fn bundled(_: &str) -> Option<&'static [u8]> {
    None
}

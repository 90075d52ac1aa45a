//! The weights in a component's folder.

use super::layout::{Component, Precision};
use super::{LoadError, small_files};
use crate::nn::weights::{Shards, WeightsFile};
use std::path::Path;
use tr::tr;

/// Opens the weights of `component` in its folder, which messages name `shown`.
///
/// # Errors
/// When there are none, or a file is incomplete.
pub fn open_weights(
    folder: &Path,
    shown: String,
    component: &'static Component,
    precision: Precision,
) -> Result<Shards, LoadError> {
    // Dangling and circular links count as present, and opening them gives the error.
    let is_there = |name: &str| std::fs::symlink_metadata(folder.join(name)).is_ok();
    let set = component.choose_for(precision, is_there);
    let set = set.ok_or_else(|| no_weights(component, shown, &names_in(folder)))?;
    let path = folder.join(set.head());
    if set.is_sharded() {
        let json =
            small_files::read(&path)?.ok_or_else(|| small_files::missing(path.display().to_string()))?;
        return Ok(Shards::open(&path, &json)?);
    }
    Ok(WeightsFile::open(&path)?.into())
}

/// The error that a component has no weights; `names` are the files in its folder.
pub fn no_weights(component: &'static Component, path: String, names: &[String]) -> LoadError {
    let stem = component.stem;
    LoadError::File {
        path,
        found: component.nothing_read(names),
        expected: tr!(
            "{stem}.safetensors or {stem}.fp16.safetensors, or several with {stem}.safetensors.index.json",
            stem
        ),
    }
}

/// The names of the files in a folder, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

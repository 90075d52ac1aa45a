//! A LoRA's file (Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models"): two narrow matrices for each of a model's
//! modules, whose product is added to the module's weight.
//!
//! - [`keys`]: what a key says.
//! - [`names`]: the modules that keys name.
//! - [`diffusers`]: where diffusers does something else.
//! - `metadata`: peft's settings, which diffusers writes into the header.

pub mod diffusers;
pub mod keys;
mod metadata;
pub mod names;

use super::LoadError;
use super::single::kind::{is_safetensors, refused_by_name};
use crate::nn::error::abridged_key;
use crate::nn::weights::WeightsFile;
use keys::{Component, Key, Layout, Role, Unread};
use metadata::Metadata;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tr::tr;

/// The header of a LoRA's file. All numbers are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// The file.
    pub file: String,
    /// What the LoRA is called: the file's name without its ending.
    pub name: String,
    /// The scale that it has from the start.
    pub scale: f64,
    /// Whether a flag says the scale.
    pub has_scale: bool,
    /// Who wrote its keys.
    pub layouts: BTreeSet<Layout>,
    /// The changes of modules, in the order of their keys.
    pub updates: Vec<Update>,
    /// The keys that are not read.
    pub left_over: Vec<String>,
}

// No number is NaN.
impl Eq for LoraFile {}

/// The change of a module: ΔW = (α / r) · B · A.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The component that the keys name; `None` if they name none.
    pub component: Option<Component>,
    /// The module's path in its component, with underscores instead of dots.
    pub module: String,
    /// A: (r, inputs), or (r, inputs, h, w) for a convolution.
    pub down: Stored,
    /// B: (outputs, r), or (outputs, r, 1, 1).
    pub up: Stored,
    /// r.
    pub rank: usize,
    /// α. Without one in the file it is r.
    pub alpha: f64,
    /// The key of α, if the file has it as a tensor.
    pub alpha_key: Option<String>,
    /// What B · A is multiplied by: α / r, or α / √r where peft's settings say so.
    pub factor: f64,
}

impl Update {
    /// Its keys in the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        [&self.down.key, &self.up.key].into_iter().chain(&self.alpha_key).map(String::as_str)
    }
}

/// A tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// The tensors of a module, as they are found.
#[derive(Default)]
struct Found {
    down: Option<Stored>,
    up: Option<Stored>,
    alpha: Option<(String, f64)>,
}

impl LoraFile {
    /// Parses `--lora`: FILE or FILE:SCALE. Without SCALE it is 1.
    ///
    /// # Errors
    /// When there is no such file, or it is no LoRA that can be read.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let (path, given) = split(text);
        let scale = match given {
            None => 1.,
            Some(text) => scale_of(text).ok_or_else(|| {
                wrong(
                    path,
                    tr!("`{}` follows the colon", abridged_key(text)),
                    tr!("FILE, or FILE:SCALE with a number from -{MOST_SCALE} to {MOST_SCALE}", MOST_SCALE),
                )
            })?,
        };
        Ok(Self { has_scale: given.is_some(), ..Self::open(Path::new(path), scale)? })
    }

    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// When there is no such file, or it is no LoRA that can be read.
    pub fn open(path: &Path, scale: f64) -> Result<Self, LoadError> {
        if let Some(refused) = refused_by_name(path) {
            return Err(refused);
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::read(&WeightsFile::open(path)?, name_of(&stem), scale)
    }

    /// The files in `folder` and in the folders below it that may be LoRAs, each with the name that it would have, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn in_folder(folder: &Path) -> Result<Vec<(String, PathBuf)>, LoadError> {
        const DEEPEST: usize = 8;
        let mut files = vec![];
        let mut folders = vec![(folder.to_path_buf(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = std::fs::read_dir(&folder).map_err(|e| {
                wrong(&folder.display().to_string(), e.to_string(), tr!("a folder with LoRAs"))
            })?;
            for path in entries.flatten().map(|entry| entry.path()) {
                // Links to folders may lead around in a ring.
                let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
                if is_folder && depth < DEEPEST {
                    folders.push((path, depth + 1));
                } else if is_safetensors(&path) {
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                    files.push((name_of(&stem), path));
                }
            }
        }
        files.sort_by_cached_key(|(_, path)| (path.components().count(), path.clone()));
        Ok(files)
    }

    fn read(file: &WeightsFile, name: String, scale: f64) -> Result<Self, LoadError> {
        let metadata = Metadata::read(file)?;
        let mut modules: BTreeMap<(Option<Component>, String), Found> = BTreeMap::new();
        let (mut order, mut layouts, mut left_over) = (vec![], BTreeSet::new(), vec![]);
        let tensors: Vec<_> = file.tensors().collect();
        for (stored, info) in &tensors {
            let key = match Key::parse(stored) {
                Ok(key) => key,
                Err(Unread::Method(method)) => {
                    let found = tr!("`{}` is a tensor of {method}", abridged_key(stored), method);
                    return Err(wrong(file.name(), found, tr!("a LoRA of two matrices for each module")));
                }
                Err(Unread::Unknown) => {
                    left_over.push(stored.clone());
                    continue;
                }
            };
            let place = (key.component, key.module);
            if !modules.contains_key(&place) {
                order.push(place.clone());
            }
            let found = modules.entry(place).or_default();
            let tensor = || Some(Stored { key: stored.clone(), shape: info.shape.clone() });
            let before = match key.role {
                Role::Down => found
                    .down
                    .replace(Stored { key: stored.clone(), shape: info.shape.clone() })
                    .map(|it| it.key),
                Role::Up => std::mem::replace(&mut found.up, tensor()).map(|it| it.key),
                Role::Alpha => {
                    let alpha = alpha(file, stored, &info.shape)?;
                    found.alpha.replace((stored.clone(), alpha)).map(|(key, _)| key)
                }
            };
            if let Some(before) = before {
                let found = tr!(
                    "`{}` and `{}` are the same tensor of a module",
                    abridged_key(&before),
                    abridged_key(stored)
                );
                return Err(wrong(file.name(), found, tr!("one of them")));
            }
            if key.role != Role::Alpha {
                layouts.insert(key.layout);
            }
        }
        let mut updates = vec![];
        for place in order {
            let found = modules.remove(&place).unwrap_or_default();
            match found.update(file.name(), place, &metadata)? {
                Ok(update) => updates.push(update),
                Err(alpha) => left_over.extend(alpha),
            }
        }
        if updates.is_empty() {
            let found = match tensors.first() {
                None => tr!("there is no tensor in it"),
                Some((first, _)) => tr!(
                    "none of its {} tensors is of a LoRA; the first is `{}`",
                    tensors.len(),
                    abridged_key(first)
                ),
            };
            return Err(wrong(
                file.name(),
                found,
                tr!(
                    "a LoRA for Stable Diffusion 1 or 2 (`lora_unet_….lora_down.weight`, `unet.….lora_A.weight`)"
                ),
            ));
        }
        Ok(Self { file: file.name().into(), name, scale, has_scale: false, layouts, updates, left_over })
    }

    /// The number of its tensors.
    pub fn tensors(&self) -> usize {
        self.left_over.len() + self.updates.iter().map(|update| update.keys().count()).sum::<usize>()
    }
}

impl Found {
    /// The update of these tensors. Of a module that has α alone, its key.
    fn update(
        self,
        file: &str,
        (component, module): (Option<Component>, String),
        metadata: &Metadata,
    ) -> Result<Result<Update, Option<String>>, LoadError> {
        let (down, up) = match (self.down, self.up) {
            (Some(down), Some(up)) => (down, up),
            (None, None) => return Ok(Err(self.alpha.map(|(key, _)| key))),
            (Some(one), None) | (None, Some(one)) => {
                let found = tr!("`{}` has no other matrix beside it", abridged_key(&one.key));
                return Err(wrong(file, found, tr!("two matrices for each module: down and up, or A and B")));
            }
        };
        let rank = down.shape.first().copied().unwrap_or(0);
        let is_matrix = |shape: &[usize]| matches!(shape.len(), 2 | 4) && !shape.contains(&0);
        let fits = is_matrix(&up.shape) && up.shape[1] == rank && up.shape[2..].iter().all(|&side| side == 1);
        if !is_matrix(&down.shape) || !fits {
            let shapes = (format!("{:?}", down.shape), format!("{:?}", up.shape));
            let found = tr!(
                "`{}` has the shape {down} and `{}` {up}",
                abridged_key(&down.key),
                abridged_key(&up.key),
                down = shapes.0,
                up = shapes.1
            );
            return Err(wrong(
                file,
                found,
                tr!("(r, inputs) and (outputs, r), or (r, inputs, h, w) and (outputs, r, 1, 1)"),
            ));
        }
        let (alpha, is_rooted) = match &self.alpha {
            Some((_, alpha)) => (*alpha, false),
            None => metadata.alpha(component, &module).unwrap_or((rank as f64, false)),
        };
        let r = rank as f64;
        let factor = alpha / if is_rooted { r.sqrt() } else { r };
        let alpha_key = self.alpha.map(|(key, _)| key);
        Ok(Ok(Update { component, module, down, up, rank, alpha, alpha_key, factor }))
    }
}

/// α from its tensor.
fn alpha(file: &WeightsFile, key: &str, shape: &[usize]) -> Result<f64, LoadError> {
    let of_key = |found: String| {
        wrong(file.name(), format!("`{}` {found}", abridged_key(key)), tr!("one finite number"))
    };
    if shape.iter().product::<usize>() != 1 {
        return Err(of_key(tr!("has the shape {shape}", shape = format!("{shape:?}"))));
    }
    match file.values(key, 0..1)?[..] {
        [alpha] if alpha.is_finite() => Ok(alpha.into()),
        ref other => Err(of_key(tr!("is {}", format!("{other:?}")))),
    }
}

pub(super) fn wrong(file: &str, found: String, expected: String) -> LoadError {
    LoadError::File { path: file.into(), found, expected }
}

/// The largest scale of a LoRA, of either sign.
pub const MOST_SCALE: f64 = 1000.;

/// A scale as typed.
pub fn scale_of(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|scale: &f64| scale.abs() <= MOST_SCALE)
}

/// A LoRA's name as a setting can have it, from its file's.
pub fn name_of(stem: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name: String = stem.chars().map(plain).collect();
    if name.is_empty() { "lora".into() } else { name }
}

/// The file and the scale. A path may contain colons: what follows the last one is a scale if no file has the whole name.
fn split(text: &str) -> (&str, Option<&str>) {
    if Path::new(text).exists() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((path, scale)) if scale_of(scale).is_some() || Path::new(path).is_file() => (path, Some(scale)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests;

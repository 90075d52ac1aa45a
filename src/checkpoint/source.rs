//! Where a checkpoint's files come from.

use super::LoadError;
use super::hub::name::short_names;
use super::hub::{Hub, HubName, HubSnapshot};
use super::layout::{COMPONENTS, Component, Precision, is_lora, lora_note};
use crate::nn::config::one_of;
use crate::nn::device::DTypeChoice;
use crate::nn::weights::{Shards, WeightsFile};
use crate::nn::{ConfigError, ConfigFile, links};
use candle_core::{DType, Device};
use safetensors::Dtype;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The name of the bundled model.
pub const POCKET: &str = "pocket";

/// A checkpoint in the diffusers folder layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The model that is part of the program.
    Bundled,
    /// A folder.
    Folder(PathBuf),
    /// A model of the hub, in the cache.
    Hub(HubSnapshot),
}

/// No configuration, vocabulary or list of merges comes near this.
const MAX_TEXT_FILE: u64 = 64 << 20;

impl ModelSource {
    /// What `--model` names: [`POCKET`], a folder, or a model of the hub that is in the cache. What there is on disk comes before
    /// a name on the hub. The network is not asked.
    ///
    /// # Errors
    /// When there is no such folder, and no such model in the cache.
    pub fn parse(name: &str) -> Result<Self, LoadError> {
        if name == POCKET {
            return if cfg!(feature = "bundled") {
                Ok(Self::Bundled)
            } else {
                Err(LoadError::File {
                    path: POCKET.into(),
                    found: "this program was built without the feature `bundled`".into(),
                    expected: "a checkpoint folder, or a build with it".into(),
                })
            };
        }
        let folder = PathBuf::from(name);
        let found = match std::fs::metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => return Ok(Self::Folder(folder)),
            Ok(_) if is_single_file(&folder) => return Err(single_file(name)),
            Ok(_) => "a file".to_string(),
            Err(e) => match HubName::parse(name) {
                Some(name) => return Ok(Self::Hub(Hub::of_environment().require_cached(&name?)?)),
                None => e.to_string(),
            },
        };
        let expected = format!(
            "a checkpoint folder in the diffusers layout, `{POCKET}`, the bundled model, or a model of the Hugging Face hub: \
             OWNER/NAME, {}",
            short_names()
        );
        Err(LoadError::File { path: name.into(), found, expected })
    }

    /// The name of a model on the hub that `name` is: where it is not [`POCKET`] and nothing on disk has it.
    ///
    /// # Errors
    /// When it has the form of such a name and cannot be one, or is known to have been taken off the hub.
    pub fn on_hub(name: &str) -> Result<Option<HubName>, LoadError> {
        if name == POCKET || std::fs::metadata(name).is_ok() {
            return Ok(None);
        }
        Ok(HubName::parse(name).transpose()?)
    }

    /// What a file that others see calls it: `pocket`, the repository on the hub, or the folder's own name, without where it is.
    pub fn name(&self) -> String {
        let Self::Folder(folder) = self else { return self.to_string() };
        // `.` has a name too.
        let whole = || std::fs::canonicalize(folder).ok()?.file_name().map(ToOwned::to_owned);
        let name = folder.file_name().map(ToOwned::to_owned).or_else(whole);
        name.map_or("a folder".into(), |name| name.to_string_lossy().into_owned())
    }

    /// What it is called: the repository on the hub, or the folder.
    pub fn own_names(&self) -> Vec<String> {
        match self {
            Self::Bundled => vec![],
            Self::Hub(snapshot) => vec![snapshot.name.repository.clone()],
            Self::Folder(folder) => {
                // `.` has a name too.
                let whole = std::fs::canonicalize(folder);
                [Some(folder.clone()), whole.ok()]
                    .iter()
                    .flatten()
                    .map(|path| path.display().to_string())
                    .collect()
            }
        }
    }

    /// Its folder; `None` for the bundled model, which has none.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Bundled => None,
            Self::Folder(folder) | Self::Hub(HubSnapshot { folder, .. }) => Some(folder),
        }
    }

    /// The name that a file has in messages.
    pub fn name_of(&self, file: &str) -> String {
        match self {
            Self::Bundled => format!("{POCKET}/{file}"),
            Self::Folder(folder) => folder.join(file).display().to_string(),
            Self::Hub(snapshot) => format!("{}/{file}", snapshot.name),
        }
    }

    /// The bytes of a small file, by its name inside the checkpoint; `None` when it is not there.
    ///
    /// # Errors
    /// When something other than a readable file of reasonable size stands there.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        let Some(folder) = self.folder() else {
            return Ok(bundled::file(file).map(Cow::Borrowed));
        };
        let path = folder.join(file);
        let wrong = |found: String, expected: &str| LoadError::File {
            path: path.display().to_string(),
            found,
            expected: expected.into(),
        };
        let unreadable = |found: String| wrong(found, "a readable file");
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                // A link to nothing is not a file that is absent.
                return if path.is_symlink() { Err(unreadable(links::found(&path, &e))) } else { Ok(None) };
            }
            Err(e) => return Err(unreadable(e.to_string())),
        };
        if !metadata.is_file() {
            let found = if metadata.is_dir() { "a folder" } else { "not a regular file" };
            return Err(wrong(found.into(), "a file"));
        }
        if metadata.len() > MAX_TEXT_FILE {
            let expected = format!("a file of at most {} MiB", MAX_TEXT_FILE >> 20);
            return Err(wrong(format!("{} MiB", metadata.len() >> 20), &expected));
        }
        std::fs::read(&path).map(|bytes| Some(bytes.into())).map_err(|e| unreadable(e.to_string()))
    }

    /// A file that must be there.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when it is missing.
    pub fn require(&self, file: &str) -> Result<Cow<'static, [u8]>, LoadError> {
        self.read(file)?.ok_or_else(|| LoadError::File {
            path: self.name_of(file),
            found: "no such file".into(),
            expected: "a checkpoint folder with model_index.json, tokenizer/, text_encoder/, unet/, vae/, scheduler/"
                .into(),
        })
    }

    /// A configuration file that must be there.
    ///
    /// # Errors
    /// As [`require`](Self::require), and when it is not JSON.
    pub fn config(&self, file: &str) -> Result<ConfigFile, LoadError> {
        Ok(ConfigFile::parse(self.name_of(file), &self.require(file)?)?)
    }

    /// A configuration file, where it is there.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when it is not JSON.
    pub fn optional_config(&self, file: &str) -> Result<Option<ConfigFile>, LoadError> {
        let parse = |bytes: Cow<'static, [u8]>| ConfigFile::parse(self.name_of(file), &bytes);
        Ok(self.read(file)?.map(parse).transpose().map_err(|e: ConfigError| e)?)
    }

    /// Opens the weights of a component: those that [`Component::choose_for`] chooses.
    ///
    /// # Errors
    /// When there are none, or a file is not a whole one.
    pub fn weights(&self, component: &str, precision: Precision) -> Result<Shards, LoadError> {
        let component = Component::named(component).ok_or_else(|| LoadError::File {
            path: self.name_of(component),
            found: "no component that has weights".into(),
            expected: one_of(COMPONENTS.iter().map(|component| component.name)),
        })?;
        let Some(folder) = self.folder() else {
            let is_bundled = |name: &str| bundled::file(&format!("{}/{name}", component.name)).is_some();
            let set = component.choose_for(precision, is_bundled);
            let set = set.ok_or_else(|| self.no_weights(component))?;
            let bytes = bundled::file(&set.path()).unwrap_or_default();
            return Ok(WeightsFile::embedded(&self.name_of(&set.path()), bytes)?.into());
        };
        let in_folder = folder.join(component.name);
        // A link that leads nowhere or in a circle is there too: whoever opens it says so.
        let is_there = |name: &str| std::fs::symlink_metadata(in_folder.join(name)).is_ok();
        let set = component.choose_for(precision, is_there).ok_or_else(|| self.no_weights(component))?;
        let path = folder.join(set.path());
        if set.is_sharded() {
            return Ok(Shards::open(&path, &self.require(&set.path())?)?);
        }
        Ok(WeightsFile::open(&path)?.into())
    }

    fn no_weights(&self, component: &'static Component) -> LoadError {
        let stem = component.stem;
        LoadError::File {
            path: self.name_of(component.name),
            found: component.nothing_read(&self.names_in(component.name)),
            expected: format!(
                "{stem}.safetensors or {stem}.fp16.safetensors, or several with {stem}.safetensors.index.json"
            ),
        }
    }

    /// The names of the files in a folder of the checkpoint, sorted; none of the bundled model.
    fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = self.folder().map(|root| std::fs::read_dir(root.join(folder)));
        let entries = entries.into_iter().flatten().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// What a user should know of the weights beside those that a run reads: lines that name files. `opened` are the weights
    /// of the components, in the order of [`COMPONENTS`].
    pub fn weight_notes<'a>(
        &self,
        precision: Precision,
        opened: impl IntoIterator<Item = &'a Shards>,
    ) -> Vec<String> {
        let opened: Vec<&Shards> = opened.into_iter().collect();
        let mut notes = vec![];
        for (component, opened) in COMPONENTS.iter().zip(&opened) {
            let names = self.names_in(component.name);
            notes.extend(component.notes(precision, &names));
            notes.extend(component.note_left_shards(precision, &names, &opened.file_names()));
        }
        notes.extend(self.names_in("").iter().filter(|name| is_lora(name)).map(|name| lora_note(name)));
        let marked = opened.into_iter().filter_map(Shards::marked).map(mark_skipped);
        let named = |note: String| format!("{self}/{note}");
        notes.into_iter().map(named).chain(marked).collect()
    }

    /// The files in a component's folder that hold weights and are not read, each with what it is. `opened` are those that are.
    pub fn unread(&self, component: &'static Component, opened: &Shards) -> Vec<String> {
        component.unread(&self.names_in(component.name), &opened.file_names())
    }

    /// What `choice` means for this model on `device`.
    ///
    /// # Errors
    /// As [`weights`](Self::weights), where it depends on them.
    pub fn dtype(&self, choice: DTypeChoice, device: &Device) -> Result<DType, LoadError> {
        let dtype = choice.on(device);
        if choice != DTypeChoice::Auto || dtype == DType::F32 {
            return Ok(dtype);
        }
        let unet = self.weights("unet", Precision::of(dtype))?;
        Ok(auto_on_gpu(unet.tensors().map(|(_, info)| (info.dtype, info.shape.iter().product()))))
    }
}

/// That a file's byte order mark is skipped, which the library that reads the file otherwise does not do.
pub fn mark_skipped(file: &str) -> String {
    let folder = Path::new(file).parent().and_then(Path::file_name).unwrap_or_default();
    let library =
        if folder == "tokenizer" || folder == "text_encoder" { "transformers" } else { "diffusers" };
    format!("{file}: begins with a byte order mark, which {library} refuses; it is skipped")
}

/// What a model computes in on a GPU that has so many numbers of each dtype: what was trained in the range of bf16 is not sure
/// to fit that of f16.
fn auto_on_gpu(stored: impl Iterator<Item = (Dtype, usize)>) -> DType {
    let (mut brain, mut other) = (0u64, 0u64);
    for (dtype, count) in stored {
        *if dtype == Dtype::BF16 { &mut brain } else { &mut other } += count as u64;
    }
    if brain > other { DType::BF16 } else { DType::F16 }
}

/// Whether a file is named like the original layout's, which holds all weights in one.
fn is_single_file(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["safetensors", "ckpt", "pt", "pth", "bin", "gguf"].contains(&&*ending.to_lowercase())
}

fn single_file(name: &str) -> LoadError {
    LoadError::File {
        path: name.into(),
        found: "all weights in one file, not a folder".into(),
        expected: "a checkpoint folder in the diffusers layout, which diffusers makes of such a file: \
                   StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
            .into(),
    }
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundled => f.write_str(POCKET),
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Hub(snapshot) => snapshot.name.fmt(f),
        }
    }
}

/// The files of `models/pocket/`, inside the program.
mod bundled {
    #[cfg(feature = "bundled")]
    pub fn file(name: &str) -> Option<&'static [u8]> {
        macro_rules! files {
            ($($name:literal),* $(,)?) => {
                match name {
                    $($name => Some(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/", $name)))),*,
                    _ => None,
                }
            };
        }
        files!(
            "model_index.json",
            "latent_rgb_factors.json",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "tokenizer/merges.txt",
            "tokenizer/special_tokens_map.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        )
    }

    #[cfg(not(feature = "bundled"))]
    pub fn file(_: &str) -> Option<&'static [u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_gpu_a_model_computes_as_it_is_stored() {
        let of = |stored: &[(Dtype, usize)]| auto_on_gpu(stored.iter().copied());
        assert_eq!(of(&[(Dtype::F16, 9), (Dtype::F32, 2)]), DType::F16);
        assert_eq!(of(&[(Dtype::F32, 9)]), DType::F16);
        assert_eq!(of(&[(Dtype::BF16, 9), (Dtype::F32, 2)]), DType::BF16);
        assert_eq!(of(&[]), DType::F16);
    }
}

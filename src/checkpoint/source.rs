//! The source of a checkpoint's files.

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
use tr::tr;

/// The name of the bundled model.
pub const POCKET: &str = "pocket";

/// A checkpoint in the diffusers folder layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The model embedded in the program.
    Bundled,
    /// A folder.
    Folder(PathBuf),
    /// A model from the hub, in the cache.
    Hub(HubSnapshot),
}

/// The largest text file, far above any real configuration, vocabulary or list of merges.
const MAX_TEXT_FILE: u64 = 64 << 20;

impl ModelSource {
    /// Parses `--model`: [`POCKET`], a folder, or a model from the hub that is in the cache. Paths on disk take precedence over names
    /// on the hub. The network is not used.
    ///
    /// # Errors
    /// When neither a folder nor a cached model has this name.
    pub fn parse(name: &str) -> Result<Self, LoadError> {
        if name == POCKET {
            return if cfg!(feature = "bundled") {
                Ok(Self::Bundled)
            } else {
                Err(LoadError::File {
                    path: POCKET.into(),
                    found: tr!("this program was built without the feature `bundled`"),
                    expected: tr!("a checkpoint folder, or a build with this feature"),
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
        let expected = tr!(
            "a checkpoint folder in the diffusers layout, `{POCKET}`, the bundled model, or a model on the Hugging Face hub: \
             OWNER/NAME, {}",
            short_names(),
            POCKET
        );
        Err(LoadError::File { path: name.into(), found, expected })
    }

    /// `name` as a name on the hub, unless it is [`POCKET`] or exists on disk.
    ///
    /// # Errors
    /// When it has the form of such a name but is invalid, or is known to have been removed from the hub.
    pub fn on_hub(name: &str) -> Result<Option<HubName>, LoadError> {
        if name == POCKET || std::fs::metadata(name).is_ok() {
            return Ok(None);
        }
        Ok(HubName::parse(name).transpose()?)
    }

    /// Its name for files that are shared: `pocket`, the repository on the hub, or the folder's name without its path.
    pub fn name(&self) -> String {
        let Self::Folder(folder) = self else { return self.to_string() };
        // `.` has a name too.
        let whole = || std::fs::canonicalize(folder).ok()?.file_name().map(ToOwned::to_owned);
        let name = folder.file_name().map(ToOwned::to_owned).or_else(whole);
        name.map_or("a folder".into(), |name| name.to_string_lossy().into_owned())
    }

    /// Its names: the repository on the hub, or the folder's paths.
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

    /// Its folder; `None` for the bundled model.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Bundled => None,
            Self::Folder(folder) | Self::Hub(HubSnapshot { folder, .. }) => Some(folder),
        }
    }

    /// The name of a file for messages.
    pub fn name_of(&self, file: &str) -> String {
        match self {
            Self::Bundled => format!("{POCKET}/{file}"),
            Self::Folder(folder) => folder.join(file).display().to_string(),
            Self::Hub(snapshot) => format!("{}/{file}", snapshot.name),
        }
    }

    /// The bytes of a small file, by its name inside the checkpoint; `None` when it does not exist.
    ///
    /// # Errors
    /// When it is not a readable file of reasonable size.
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
                // A dangling link is an error, not an absent file.
                return if path.is_symlink() { Err(unreadable(links::found(&path, &e))) } else { Ok(None) };
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
        std::fs::read(&path).map(|bytes| Some(bytes.into())).map_err(|e| unreadable(e.to_string()))
    }

    /// The bytes of a required file.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when it is missing.
    pub fn require(&self, file: &str) -> Result<Cow<'static, [u8]>, LoadError> {
        self.read(file)?.ok_or_else(|| LoadError::File {
            path: self.name_of(file),
            found: tr!("no such file"),
            expected: "a checkpoint folder with model_index.json, tokenizer/, text_encoder/, unet/, vae/, scheduler/"
                .into(),
        })
    }

    /// A required configuration file.
    ///
    /// # Errors
    /// As [`require`](Self::require), and when it is not JSON.
    pub fn config(&self, file: &str) -> Result<ConfigFile, LoadError> {
        Ok(ConfigFile::parse(self.name_of(file), &self.require(file)?)?)
    }

    /// A configuration file, if it exists.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when it is not JSON.
    pub fn optional_config(&self, file: &str) -> Result<Option<ConfigFile>, LoadError> {
        let parse = |bytes: Cow<'static, [u8]>| ConfigFile::parse(self.name_of(file), &bytes);
        Ok(self.read(file)?.map(parse).transpose().map_err(|e: ConfigError| e)?)
    }

    /// Opens the weights of a component that [`Component::choose_for`] selects.
    ///
    /// # Errors
    /// When there are none, or a file is incomplete.
    pub fn weights(&self, component: &str, precision: Precision) -> Result<Shards, LoadError> {
        let component = Component::named(component).ok_or_else(|| LoadError::File {
            path: self.name_of(component),
            found: tr!("not a component with weights"),
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
        // Dangling and circular links count as present, and opening them gives the error.
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
            expected: tr!(
                "{stem}.safetensors or {stem}.fp16.safetensors, or several with {stem}.safetensors.index.json",
                stem
            ),
        }
    }

    /// The names of the files in a folder of the checkpoint, sorted; empty for the bundled model.
    fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = self.folder().map(|root| std::fs::read_dir(root.join(folder)));
        let entries = entries.into_iter().flatten().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Notes on weights files that a run does not read. `opened` are the weights of the components, in the order of
    /// [`COMPONENTS`].
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

    /// The weights files in a component's folder that are not read, each with a description. `opened` are those that are read.
    pub fn unread(&self, component: &'static Component, opened: &Shards) -> Vec<String> {
        component.unread(&self.names_in(component.name), &opened.file_names())
    }

    /// The dtype of `choice` for this model on `device`.
    ///
    /// # Errors
    /// As [`weights`](Self::weights), if the dtype depends on them.
    pub fn dtype(&self, choice: DTypeChoice, device: &Device) -> Result<DType, LoadError> {
        let dtype = choice.on(device);
        if choice != DTypeChoice::Auto || dtype == DType::F32 {
            return Ok(dtype);
        }
        let unet = self.weights("unet", Precision::of(dtype))?;
        Ok(auto_on_gpu(unet.tensors().map(|(_, info)| (info.dtype, info.shape.iter().product()))))
    }
}

/// The note that a file's byte order mark is skipped, unlike in the library that usually reads the file.
pub fn mark_skipped(file: &str) -> String {
    let folder = Path::new(file).parent().and_then(Path::file_name).unwrap_or_default();
    let library =
        if folder == "tokenizer" || folder == "text_encoder" { "transformers" } else { "diffusers" };
    tr!("{file}: begins with a byte order mark, which {library} refuses; it is skipped", file, library)
}

/// The dtype for a GPU, from the stored dtypes and their counts: values trained in bf16 may exceed the range of f16.
fn auto_on_gpu(stored: impl Iterator<Item = (Dtype, usize)>) -> DType {
    let (mut brain, mut other) = (0u64, 0u64);
    for (dtype, count) in stored {
        *if dtype == Dtype::BF16 { &mut brain } else { &mut other } += count as u64;
    }
    if brain > other { DType::BF16 } else { DType::F16 }
}

/// Whether a file's extension is that of a single-file checkpoint.
fn is_single_file(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["safetensors", "ckpt", "pt", "pth", "bin", "gguf"].contains(&&*ending.to_lowercase())
}

fn single_file(name: &str) -> LoadError {
    LoadError::File {
        path: name.into(),
        found: tr!("all weights in one file, not a folder"),
        expected: "a checkpoint folder in the diffusers layout, to which diffusers converts such a file: \
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

/// The files of `models/pocket/`, embedded in the program.
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

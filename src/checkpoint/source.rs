//! The source of a checkpoint's files.

use super::LoadError;
use super::changed::{Changed, Changes};
use super::embedding::Embedding;
use super::folder::{names_in, no_weights, open_weights};
use super::hub::name::short_names;
use super::hub::{Hub, HubName, HubSnapshot};
use super::layout::{COMPONENTS, Component, Precision, is_lora, lora_note};
use super::lora::LoraFile;
use super::single::prediction::Prediction;
use super::single::{self, SingleFile};
use super::small_files::{self, bundled};
use crate::nn::config::one_of;
use crate::nn::device::DTypeChoice;
use crate::nn::weights::{Shards, WeightsFile};
use crate::nn::{ConfigError, ConfigFile};
use candle_core::{DType, Device};
use safetensors::Dtype;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tr::tr;

/// The name of the bundled model.
pub const POCKET: &str = "pocket";

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The model embedded in the program.
    Bundled,
    /// A folder.
    Folder(PathBuf),
    /// A model from the hub, in the cache.
    Hub(HubSnapshot),
    /// All weights in one file, in the original layout.
    Single(Arc<SingleFile>),
    /// One of the above with changes.
    Changed(Arc<Changed>),
}

impl ModelSource {
    /// Parses `--model`: [`POCKET`], a folder, or a model from the hub that is in the cache. Paths on disk take precedence over names
    /// on the hub. The network is not used.
    ///
    /// # Errors
    /// When neither a folder nor a cached model has this name.
    pub fn parse(name: &str) -> Result<Self, LoadError> {
        Self::parse_changed(name, &Changes::default())
    }

    /// As [`parse`](Self::parse), with changes of the checkpoint.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when a change does not fit the checkpoint.
    pub fn parse_changed(name: &str, changes: &Changes) -> Result<Self, LoadError> {
        let options = single::Options {
            ema: changes.ema,
            prediction: changes.prediction,
            has_vae: changes.vae.is_some(),
        };
        changes.applied(Self::parse_unchanged(name, options)?)
    }

    fn parse_unchanged(name: &str, options: single::Options) -> Result<Self, LoadError> {
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
            Ok(_) if single::kind::is_safetensors(&folder) => {
                return Ok(Self::Single(Arc::new(SingleFile::open(&folder, options)?)));
            }
            Ok(_) => match single::kind::refused_by_name(&folder) {
                Some(refused) => return Err(refused),
                None => "a file".to_string(),
            },
            Err(e) => match HubName::parse(name) {
                // The name of a file that is not there.
                _ if single::kind::is_safetensors(&folder) => e.to_string(),
                Some(name) => return Ok(Self::Hub(Hub::of_environment().require_cached(&name?)?)),
                None => e.to_string(),
            },
        };
        let expected = tr!(
            "a checkpoint folder in the diffusers layout, a checkpoint in one .safetensors file, `{POCKET}`, the bundled model, or a \
             model on the Hugging Face hub: OWNER/NAME, {}",
            short_names(),
            POCKET
        );
        Err(LoadError::File { path: name.into(), found, expected })
    }

    /// `name` as a name on the hub, unless it is [`POCKET`], exists on disk or is that of a single file.
    ///
    /// # Errors
    /// When it has the form of such a name but is invalid, or is known to have been removed from the hub.
    pub fn on_hub(name: &str) -> Result<Option<HubName>, LoadError> {
        let is_on_disk = single::kind::is_safetensors(Path::new(name)) || std::fs::metadata(name).is_ok();
        if name == POCKET || is_on_disk {
            return Ok(None);
        }
        Ok(HubName::parse(name).transpose()?)
    }

    /// Its name for files that are shared: `pocket`, the repository on the hub, or the name of the folder or file without its path.
    pub fn name(&self) -> String {
        let path = match self {
            Self::Bundled | Self::Hub(_) => return self.to_string(),
            Self::Changed(changed) => return changed.base.name(),
            Self::Folder(folder) => folder,
            Self::Single(file) => file.path(),
        };
        // `.` has a name too.
        let whole = || std::fs::canonicalize(path).ok()?.file_name().map(ToOwned::to_owned);
        let name = path.file_name().map(ToOwned::to_owned).or_else(whole);
        name.map_or("a folder".into(), |name| name.to_string_lossy().into_owned())
    }

    /// Its names: the repository on the hub, or the paths of the folder or file.
    pub fn own_names(&self) -> Vec<String> {
        let path = match self {
            Self::Bundled => return vec![],
            Self::Hub(snapshot) => return vec![snapshot.name.repository.clone()],
            Self::Changed(changed) => return changed.base.own_names(),
            Self::Folder(folder) => folder,
            Self::Single(file) => file.path(),
        };
        // `.` has a name too.
        let whole = std::fs::canonicalize(path);
        [Some(path.to_path_buf()), whole.ok()]
            .iter()
            .flatten()
            .map(|path| path.display().to_string())
            .collect()
    }

    /// Its name, and the VAE that replaces its own.
    pub fn with_vae(&self) -> String {
        match self {
            Self::Changed(changed) => changed.with_vae(),
            other => other.to_string(),
        }
    }

    /// The LoRAs that it gets.
    pub fn loras(&self) -> &[LoraFile] {
        match self {
            Self::Changed(changed) => &changed.loras,
            _ => &[],
        }
    }

    /// The words of textual inversion that it gets.
    pub fn embeddings(&self) -> &[Embedding] {
        match self {
            Self::Changed(changed) => &changed.embeddings,
            _ => &[],
        }
    }

    /// Whether it is the bundled model, changed or not.
    pub fn is_bundled(&self) -> bool {
        match self {
            Self::Changed(changed) => changed.base.is_bundled(),
            other => *other == Self::Bundled,
        }
    }

    /// The checkpoint in one file, if it is one, changed or not.
    pub fn single(&self) -> Option<&SingleFile> {
        match self {
            Self::Single(file) => Some(file),
            Self::Changed(changed) => changed.base.single(),
            _ => None,
        }
    }

    /// The same checkpoint in one file, with a prediction type that was found out; `why` is a line.
    #[must_use]
    pub fn with_prediction(&self, prediction: Prediction, why: String) -> Self {
        match self {
            Self::Single(file) => Self::Single(Arc::new(file.with_prediction(prediction, why))),
            Self::Changed(changed) => {
                let base = changed.base.with_prediction(prediction, why);
                Self::Changed(Arc::new(Changed { base, ..Changed::clone(changed) }))
            }
            other => other.clone(),
        }
    }

    /// What was concluded from a single file, and what a change replaces: a line each.
    pub fn conclusions(&self) -> Vec<String> {
        match self {
            Self::Single(file) => file.conclusions().to_vec(),
            Self::Changed(changed) => changed.conclusions(),
            _ => vec![],
        }
    }

    /// The folder of a component's files, or of all with an empty name; `None` for models without a folder.
    fn folder_of(&self, component: &str) -> Option<PathBuf> {
        match self {
            Self::Bundled | Self::Single(_) => None,
            Self::Folder(folder) | Self::Hub(HubSnapshot { folder, .. }) => Some(folder.join(component)),
            Self::Changed(changed) if component == "vae" && changed.vae.is_some() => {
                changed.vae.as_ref().and_then(|vae| vae.folder().map(Path::to_path_buf))
            }
            Self::Changed(changed) => changed.base.folder_of(component),
        }
    }

    /// The name of a file for messages.
    pub fn name_of(&self, file: &str) -> String {
        match self {
            Self::Bundled => format!("{POCKET}/{file}"),
            Self::Folder(folder) => folder.join(file).display().to_string(),
            Self::Hub(snapshot) => format!("{}/{file}", snapshot.name),
            Self::Single(single) => single.path().join(file).display().to_string(),
            Self::Changed(changed) => changed.name_of(file),
        }
    }

    /// The bytes of a small file, by its name inside the checkpoint; `None` when it does not exist.
    ///
    /// # Errors
    /// When it is not a readable file of reasonable size.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        match self {
            Self::Bundled => Ok(bundled(file).map(Cow::Borrowed)),
            Self::Folder(folder) | Self::Hub(HubSnapshot { folder, .. }) => {
                small_files::read(&folder.join(file))
            }
            Self::Single(single) => Ok(match small_files::vocabulary(file) {
                Some(bytes) => Some(Cow::Borrowed(bytes)),
                None => single.small_file(file).map(Cow::Owned),
            }),
            Self::Changed(changed) => changed.read(file),
        }
    }

    /// The bytes of a required file.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when it is missing.
    pub fn require(&self, file: &str) -> Result<Cow<'static, [u8]>, LoadError> {
        self.read(file)?.ok_or_else(|| small_files::missing(self.name_of(file)))
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
        match self {
            Self::Bundled => {
                let is_bundled = |name: &str| bundled(&format!("{}/{name}", component.name)).is_some();
                let set = component.choose_for(precision, is_bundled);
                let set = set.ok_or_else(|| no_weights(component, self.name_of(component.name), &[]))?;
                let bytes = bundled(&set.path()).unwrap_or_default();
                Ok(WeightsFile::embedded(&self.name_of(&set.path()), bytes)?.into())
            }
            Self::Folder(folder) | Self::Hub(HubSnapshot { folder, .. }) => {
                open_weights(&folder.join(component.name), self.name_of(component.name), component, precision)
            }
            Self::Single(single) => single.weights(component.name),
            Self::Changed(changed) => changed.weights(component, precision),
        }
    }

    /// The names of the files in a folder of the checkpoint, sorted; empty for a model without a folder.
    fn names_in(&self, folder: &str) -> Vec<String> {
        self.folder_of(folder).map_or(vec![], |folder| names_in(&folder))
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
            if matches!(self, Self::Changed(changed) if component.name == "vae" && changed.vae.is_some()) {
                continue;
            }
            let names = self.names_in(component.name);
            notes.extend(component.notes(precision, &names));
            notes.extend(component.note_left_shards(precision, &names, &opened.file_names()));
        }
        notes.extend(self.names_in("").iter().filter(|name| is_lora(name)).map(|name| lora_note(name)));
        let marked = opened.into_iter().filter_map(Shards::marked).map(mark_skipped);
        let named = |note: String| format!("{self}/{note}");
        let of_single = self.single().map_or(Ok(vec![]), SingleFile::notes);
        let of_single = of_single.unwrap_or_else(|e| vec![e.to_string()]);
        notes.into_iter().map(named).chain(marked).chain(of_single).collect()
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

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundled => f.write_str(POCKET),
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Hub(snapshot) => snapshot.name.fmt(f),
            Self::Single(file) => file.path().display().fmt(f),
            Self::Changed(changed) => changed.base.fmt(f),
        }
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

//! A checkpoint with changes: another VAE, another prediction type, words of textual inversion, LoRAs.

use super::embedding::Embedding;
use super::folder::open_weights;
use super::layout::{Component, Precision};
use super::lora::LoraFile;
use super::single::prediction::Prediction;
use super::single::vae::{Vae, VaeFile};
use super::{LoadError, ModelSource, small_files};
use crate::nn::error::abridged;
use crate::nn::weights::Shards;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use tr::tr;

/// What is to be changed, as flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Whether the averaged weights of a single file's UNet are read.
    pub ema: bool,
    /// The prediction type.
    pub prediction: Option<Prediction>,
    /// The VAE that replaces the checkpoint's.
    pub vae: Option<Vae>,
    /// Words with vectors of their own.
    pub embeddings: Vec<Embedding>,
    /// LoRAs. Those of the same name get a number.
    pub loras: Vec<LoraFile>,
}

/// A checkpoint, and what replaces parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The checkpoint.
    pub base: ModelSource,
    /// The prediction type; `None` for a single file, which has it itself.
    pub prediction: Option<Prediction>,
    /// The VAE that replaces the checkpoint's.
    pub vae: Option<Vae>,
    /// Words with vectors of their own, in the order in which they are added.
    pub embeddings: Vec<Embedding>,
    /// LoRAs, each with a name of its own.
    pub loras: Vec<LoraFile>,
}

const SCHEDULER: &str = "scheduler/scheduler_config.json";
const VAE_CONFIG: &str = "vae/config.json";

impl Changes {
    /// `base` with the changes.
    ///
    /// # Errors
    /// With `ema`, when `base` is not a single file.
    pub fn applied(&self, base: ModelSource) -> Result<ModelSource, LoadError> {
        let is_single = base.single().is_some();
        if self.ema && !is_single {
            return Err(LoadError::File {
                path: base.to_string(),
                found: tr!("not a checkpoint in one file"),
                expected: tr!("a .safetensors file with averaged weights, or no --ema"),
            });
        }
        let prediction = self.prediction.filter(|_| !is_single);
        let is_changed = prediction.is_some()
            || self.vae.is_some()
            || !self.embeddings.is_empty()
            || !self.loras.is_empty();
        if !is_changed {
            return Ok(base);
        }
        let (vae, embeddings, loras) = (self.vae.clone(), self.embeddings.clone(), numbered(&self.loras));
        Ok(ModelSource::Changed(Arc::new(Changed { base, prediction, vae, embeddings, loras })))
    }
}

/// `loras`, in which a name that an earlier one has gets a number: `x`, `x-2`, `x-3`.
fn numbered(loras: &[LoraFile]) -> Vec<LoraFile> {
    let mut numbered: Vec<LoraFile> = vec![];
    for lora in loras {
        let wishes = std::iter::once(lora.name.clone()).chain((2..).map(|n| format!("{}-{n}", lora.name)));
        let is_taken = |name: &String| numbered.iter().any(|other| other.name == *name);
        let name = wishes.into_iter().find(|name| !is_taken(name)).unwrap_or_default();
        numbered.push(LoraFile { name, ..lora.clone() });
    }
    numbered
}

impl Changed {
    /// What was concluded and changed: a line each.
    pub fn conclusions(&self) -> Vec<String> {
        let mut lines = self.base.conclusions();
        let base = &self.base;
        if let Some(prediction) = self.prediction {
            lines.push(tr!("{base}: it predicts {prediction}, as --prediction-type says", base, prediction));
        }
        if let Some(vae) = &self.vae {
            lines.push(tr!("{base}: the VAE is {}, as --vae says", vae.path().display(), base));
        }
        for Embedding { file, token, vectors, .. } in &self.embeddings {
            let count = vectors.len();
            let count = if count == 1 { tr!("1 vector") } else { tr!("{count} vectors", count) };
            let token = abridged(token);
            lines.push(tr!(
                "{base}: the token `{token}` has {count} of {file}, as --embedding says",
                base,
                token,
                count,
                file
            ));
        }
        lines
    }

    /// The checkpoint's name, and the VAE's if it is another.
    pub fn with_vae(&self) -> String {
        match &self.vae {
            Some(vae) => tr!("{} with the VAE {}", self.base, vae.path().display()),
            None => self.base.to_string(),
        }
    }

    /// The name of a file for messages.
    pub fn name_of(&self, file: &str) -> String {
        match (&self.vae, file.strip_prefix("vae")) {
            (Some(vae), Some(rest)) => vae.path().join(rest.trim_start_matches('/')).display().to_string(),
            _ => self.base.name_of(file),
        }
    }

    /// As [`ModelSource::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        match (&self.vae, file) {
            (Some(Vae::Folder(folder)), VAE_CONFIG) => small_files::read(&folder.join("config.json")),
            (Some(Vae::File(file)), VAE_CONFIG) => Ok(Some(file.config().into())),
            // They were fitted to the checkpoint's own VAE.
            (Some(_), "latent_rgb_factors.json") => Ok(None),
            (_, SCHEDULER) => Ok(self.base.read(file)?.map(|bytes| self.scheduler(bytes))),
            _ => self.base.read(file),
        }
    }

    /// The scheduler's file with the prediction type. What is not an object is left to the reader of configurations to refuse.
    fn scheduler(&self, bytes: Cow<'static, [u8]>) -> Cow<'static, [u8]> {
        let Some(prediction) = self.prediction else { return bytes };
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(Value::Object(mut object)) => {
                object.insert("prediction_type".into(), json!(prediction.name()));
                Cow::Owned(Value::Object(object).to_string().into_bytes())
            }
            _ => bytes,
        }
    }

    /// As [`ModelSource::weights`].
    ///
    /// # Errors
    /// As there.
    pub fn weights(&self, component: &'static Component, precision: Precision) -> Result<Shards, LoadError> {
        match &self.vae {
            Some(Vae::Folder(folder)) if component.name == "vae" => {
                open_weights(folder, folder.display().to_string(), component, precision)
            }
            Some(Vae::File(file)) if component.name == "vae" => VaeFile::weights(file),
            _ => self.base.weights(component.name, precision),
        }
    }
}

impl Vae {
    /// Its folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::File(_) => None,
        }
    }
}

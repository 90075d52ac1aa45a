//! `--from`: settings from a picture.

use crate::checkpoint::ModelSource;
use crate::nn::error::abridged;
use crate::picture::png::chunks::bytes_of;
use crate::picture::png::found::{Found, NamedModel, Source};
use crate::pipeline::loras::LoraScale;
use crate::pipeline::{Models, Request};
use crate::scheduler::Class;
use anyhow::Context;
use ring::digest::{SHA256, digest};
use std::path::Path;
use tr::tr;

/// The largest file of a model that is hashed for comparison, in bytes: a second's work.
const MOST_HASHED: u64 = 256 << 20;

/// The settings of a picture.
#[derive(Debug)]
pub struct From {
    /// The file's name, for messages.
    file: String,
    found: Found,
}

impl From {
    /// Reads a picture's settings, without those that are `given` as flags, by name.
    ///
    /// # Errors
    /// One line that names the file and what is wrong in it.
    pub fn read(file: &Path, given: &dyn Fn(&str) -> bool) -> anyhow::Result<Self> {
        let name = file.display().to_string();
        let found = bytes_of(file).map_err(anyhow::Error::from);
        let found = found.and_then(|bytes| Ok(Found::read(&bytes, given)?)).with_context(|| name.clone())?;
        Ok(Self { file: name, found })
    }

    /// What the picture says about a size, if it says something: its height or width.
    pub fn size(&self, name: &str) -> Option<usize> {
        let values = self.found.values();
        let pixels = if name == "height" { values.height } else { values.width };
        self.found.has(name).then_some(pixels)
    }

    /// The LoRAs that the picture names.
    pub fn loras(&self) -> Vec<LoraScale> {
        self.found.loras.clone()
    }

    /// Gives a request what was taken, and says in remarks what was taken and what was not.
    ///
    /// # Errors
    /// When the models cannot run the picture's settings.
    pub fn apply(&self, models: &mut Models, request: &mut Request) -> anyhow::Result<()> {
        let Self { file, found } = self;
        let source = found.source.name();
        let place = || tr!("{file} ({source})", file, source);
        let other = found.model.as_ref().and_then(|model| other_model(model, &models.source));
        let same = found.source == Source::Own && other.is_none();
        found.apply(same, request).map_err(anyhow::Error::msg).with_context(place)?;
        let (loras, missing) = take_loras(&found.loras, models, request);
        request.check(models).with_context(place)?;
        let taken: Vec<String> = found.taken().into_iter().map(String::from).chain(loras).collect();
        let taken = taken.join(", ");
        let taken = if taken.is_empty() { tr!("nothing") } else { taken };
        models.remarks.push(tr!("taken from {file} ({source}): {taken}", file, source, taken));
        for left in other.iter().chain(&found.left).chain(&missing) {
            models.remarks.push(tr!("not taken from {file}: {left}", file, left));
        }
        Ok(())
    }

    /// Takes an `eta` back that the scheduler of the flags does not have.
    pub fn without_idle_eta(&self, models: &mut Models, request: &mut Request) {
        if self.found.has("eta") && request.eta != 0. && request.scheduler.config().class != Class::Ddim {
            let (file, eta, class) = (&self.file, request.eta, request.scheduler.config().class.name());
            models.remarks.push(tr!("not taken from {file}: eta {eta}: {class} has none", file, eta, class));
            request.eta = 0.;
        }
    }
}

/// The line about the picture's model, unless it is the one that runs.
fn other_model(model: &NamedModel, runs: &ModelSource) -> Option<String> {
    let (name, own) = (abridged(&model.name), runs.name());
    let is_named = stem(&name).eq_ignore_ascii_case(stem(&own));
    let hash = if model.hash.is_empty() { String::new() } else { tr!(", hash {}", abridged(&model.hash)) };
    if !model.hash.is_empty() {
        match hash_of(runs) {
            Some(found) if found.starts_with(&model.hash.to_ascii_lowercase()) => return None,
            Some(found) => {
                let found: String = found.chars().take(10).collect();
                return Some(tr!(
                    "the model {name}{hash}: {own} runs, whose hash is {found}",
                    name,
                    hash,
                    own,
                    found
                ));
            }
            None if is_named => {
                return Some(tr!(
                    "the model's hash {}: that of {own} was not computed",
                    abridged(&model.hash),
                    own
                ));
            }
            None => {}
        }
    }
    let named = if name.is_empty() { String::new() } else { format!(" {name}") };
    (!is_named)
        .then(|| tr!("the model{named}{hash}: {own} runs; --model chooses another one", named, hash, own))
}

/// A model's name without folders and without the ending of a file.
fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let endings = [".safetensors", ".ckpt"];
    endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// The SHA-256 of a model in one file that is not large.
fn hash_of(source: &ModelSource) -> Option<String> {
    let path = match source {
        ModelSource::Single(file) => file.path(),
        ModelSource::Changed(changed) => return hash_of(&changed.base),
        ModelSource::Bundled | ModelSource::Folder(_) | ModelSource::Hub(_) => return None,
    };
    let is_small = path.metadata().is_ok_and(|metadata| metadata.len() <= MOST_HASHED);
    let bytes = std::fs::read(path).ok().filter(|_| is_small)?;
    Some(digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives the LoRAs that are loaded the picture's scales, unless a flag says theirs. Returns the settings that it changed, and a line for
/// each LoRA that is not loaded.
fn take_loras(asked: &[LoraScale], models: &Models, request: &mut Request) -> (Vec<String>, Vec<String>) {
    let (mut taken, mut missing) = (vec![], vec![]);
    for LoraScale { name, scale, .. } in asked {
        let has_scale = models.loras.iter().any(|lora| lora.name == *name && lora.has_scale);
        match request.loras.iter_mut().find(|lora| lora.name == *name) {
            Some(lora) if !has_scale => {
                lora.scale = *scale;
                taken.push(format!("lora.{name}"));
            }
            Some(_) => {}
            None => missing.push(tr!(
                "LoRA {name} ({scale}): it is not loaded; `--lora {name}.safetensors:{scale}` adds it",
                name,
                scale
            )),
        }
    }
    (taken, missing)
}

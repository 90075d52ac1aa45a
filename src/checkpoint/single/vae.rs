//! A VAE that replaces the checkpoint's: a folder in the diffusers layout, or a file in either layout.

use super::super::LoadError;
use super::configs;
use super::names::{self, Names};
use super::shapes::{Header, VaeShape};
use crate::nn::error::abridged;
use crate::nn::weights::Shards;
use crate::nn::weights::WeightsFile;
use crate::nn::weights::view::Viewed;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tr::tr;

/// Where the VAE is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vae {
    /// A folder with `config.json` and weights.
    Folder(PathBuf),
    /// A file with weights.
    File(VaeFile),
}

/// A file with a VAE's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeFile {
    path: PathBuf,
    shape: VaeShape,
    /// What its keys begin with.
    prefix: &'static str,
    is_diffusers: bool,
}

impl Vae {
    /// Parses `--vae`.
    ///
    /// # Errors
    /// When the path leads to no VAE.
    pub fn parse(name: &str) -> Result<Self, LoadError> {
        let path = PathBuf::from(name);
        let wrong = |found: String| LoadError::File {
            path: name.into(),
            found,
            expected: tr!(
                "a VAE: a folder with config.json, a checkpoint folder with vae/, or a .safetensors file"
            ),
        };
        if std::fs::metadata(&path).map_err(|e| wrong(e.to_string()))?.is_dir() {
            let inside = path.join("vae");
            let has_config = |folder: &Path| folder.join("config.json").exists();
            return match (has_config(&inside), has_config(&path)) {
                (true, _) => Ok(Self::Folder(inside)),
                (_, true) => Ok(Self::Folder(path)),
                _ => Err(wrong(tr!("a folder without config.json and without vae/config.json"))),
            };
        }
        if let Some(refused) = super::kind::refused_by_name(&path) {
            return Err(refused);
        }
        Ok(Self::File(VaeFile::open(&path)?))
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::File(VaeFile { path, .. }) => path,
        }
    }
}

impl VaeFile {
    fn open(path: &Path) -> Result<Self, LoadError> {
        let file = WeightsFile::open(path)?;
        let header = Header(&file);
        let layouts = [("", true, "down_blocks"), ("", false, "down"), ("first_stage_model.", false, "down")];
        let layout = layouts.into_iter().find(|(prefix, _, level)| {
            let first = format!("{prefix}encoder.{level}.0.");
            header.keys().any(|key| key.starts_with(&first))
        });
        let Some((prefix, is_diffusers, _)) = layout else {
            let first = header.keys().next().unwrap_or_default();
            let found = tr!("there is no VAE in it; the first tensor is `{}`", abridged(&first));
            return Err(
                header.wrong(found, &tr!("keys such as `encoder.down.0.…` or `encoder.down_blocks.0.…`"))
            );
        };
        let shape = VaeShape::read(header, prefix, is_diffusers)?;
        Ok(Self { path: path.to_path_buf(), shape, prefix, is_diffusers })
    }

    /// `config.json` with the values that the shapes give.
    pub fn config(&self) -> Vec<u8> {
        configs::vae(&self.shape).to_string().into_bytes()
    }

    /// Its weights under diffusers' keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights(&self) -> Result<Shards, LoadError> {
        let file = WeightsFile::open(&self.path)?;
        let names = self.names();
        let viewed: Vec<Viewed> = Header(&file)
            .keys()
            .filter(|key| !is_of_training(key, self.prefix))
            .flat_map(|key| names.of_stored(&key))
            .collect();
        Ok(file.viewed(viewed, Arc::new(names)).into())
    }

    fn names(&self) -> Names {
        match self.is_diffusers {
            true => names::same(&["encoder", "decoder", "quant_conv", "post_quant_conv"]),
            false => self.shape.names(self.prefix),
        }
    }
}

/// Whether a tensor of a VAE's file is its loss or its averaged weights, which only training needs.
pub fn is_of_training(key: &str, prefix: &str) -> bool {
    let name = key.strip_prefix(prefix);
    name.is_some_and(|name| name.starts_with("loss.") || name.starts_with("model_ema."))
}

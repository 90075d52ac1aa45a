//! A checkpoint in one safetensors file, in the original layout of Stable Diffusion 1 and 2.
//!
//! The file has weights only. What it is follows from its keys and shapes; the small files that a folder has are made from
//! them and from the published models. The weights are read in place, under diffusers' keys.
//!
//! - [`names`]: the names of modules in both layouts.
//! - [`shapes`]: blocks, channels and widths.
//! - [`kind`]: other models, which are refused by name.
//! - [`prediction`]: what the UNet's output is, as metadata say.
//! - [`configs`]: the small files of a folder.
//! - [`vae`]: a VAE that replaces the checkpoint's.

pub mod configs;
pub mod kind;
pub mod names;
pub mod prediction;
pub mod shapes;
pub mod vae;

use super::LoadError;
use super::unread;
use crate::nn::weights::Shards;
use crate::nn::weights::WeightsFile;
use crate::nn::weights::view::Viewed;
use prediction::Prediction;
use serde_json::Value;
use shapes::{Header, ORIGINAL, TextShape, UNetShape, VaeShape};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tr::tr;

/// The generation of Stable Diffusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.
    One,
    /// Stable Diffusion 2.
    Two,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "Stable Diffusion 1",
            Self::Two => "Stable Diffusion 2",
        })
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether the averaged weights of the UNet are read.
    pub ema: bool,
    /// The prediction type, if it is given.
    pub prediction: Option<Prediction>,
    /// Whether the VAE comes from elsewhere.
    pub has_vae: bool,
}

/// A checkpoint in one file: what it is, as its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleFile {
    path: PathBuf,
    family: Family,
    unet: UNetShape,
    vae: Option<VaeShape>,
    text: TextShape,
    is_ema: bool,
    /// `None` if neither the file nor a flag says it.
    prediction: Option<Prediction>,
    /// What was concluded, and why: a line each.
    conclusions: Vec<String>,
}

/// What the VAE's keys begin with.
const VAE: &str = "first_stage_model.";
/// The averaged weights of `input_blocks.0.0.weight`.
const EMA: &str = "model_ema.diffusion_modelinput_blocks00weight";
/// Tensors of training, which no run needs.
const OF_TRAINING: [&str; 9] = [
    "model_ema.",
    "betas",
    "alphas_cumprod",
    "sqrt_",
    "log_one_minus_",
    "posterior_",
    "logvar",
    "lvlb_weights",
    "global_step",
];

impl SingleFile {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// When it is not a whole safetensors file, or not a checkpoint of Stable Diffusion 1 or 2.
    pub fn open(path: &Path, options: Options) -> Result<Self, LoadError> {
        let file = WeightsFile::open(path)?;
        let header = Header(&file);
        kind::check(header)?;
        let unet = UNetShape::read(header)?;
        let vae = (header.has(&format!("{VAE}decoder.conv_in.weight")) || !options.has_vae)
            .then(|| VaeShape::read(header, VAE, false))
            .transpose()?;
        let Some(text) = TextShape::read(header)? else {
            let found = tr!("it has no text encoder: no tensor `cond_stage_model.…`");
            return Err(header.wrong(found, ORIGINAL));
        };
        if text.width != unet.context {
            let found = tr!(
                "tensor `{}` takes embeddings of width {}, the text encoder's (`{}…`) have width {}",
                unet.context_key,
                unet.context,
                text.prefix,
                text.width
            );
            return Err(header.wrong(found, &tr!("equal widths")));
        }
        let family = family(header, &unet)?;
        if options.ema && !header.has(EMA) {
            return Err(
                header.wrong(tr!("there is no tensor `{EMA}`", EMA), &tr!("averaged weights, or no --ema"))
            );
        }
        let stated = prediction(header, family, options.prediction)?;
        let conclusions = conclusions(header, family, &unet, &text, options.ema, stated.as_ref());
        let prediction = stated.map(|(prediction, _)| prediction);
        let path = path.to_path_buf();
        Ok(Self { path, family, unet, vae, text, is_ema: options.ema, prediction, conclusions })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was concluded from the file, and why: a line each.
    pub fn conclusions(&self) -> &[String] {
        &self.conclusions
    }

    /// The prediction type; `None` if neither the file nor a flag says it.
    pub fn prediction(&self) -> Option<Prediction> {
        self.prediction
    }

    /// The same file with a prediction type that was found out; `why` is a line.
    #[must_use]
    pub fn with_prediction(&self, prediction: Prediction, why: String) -> Self {
        let mut found = Self { prediction: Some(prediction), ..self.clone() };
        found.conclusions.retain(|line| *line != undetermined(&self.path.display().to_string()));
        found.conclusions.push(why);
        found
    }

    /// Height and width of the latents in training.
    pub fn sample_size(&self) -> usize {
        configs::sample_size(self.family, self.assumed())
    }

    fn assumed(&self) -> Prediction {
        self.prediction.unwrap_or(Prediction::Epsilon)
    }

    /// A small file that the checkpoint's folder would have, except for CLIP's vocabulary; `None` for others.
    pub fn small_file(&self, name: &str) -> Option<Vec<u8>> {
        let (family, prediction) = (self.family, self.assumed());
        let json: Value = match name {
            "model_index.json" => configs::model_index(family, prediction),
            "scheduler/scheduler_config.json" => configs::scheduler(family, prediction),
            "text_encoder/config.json" => configs::text_encoder(&self.text, family),
            "tokenizer/special_tokens_map.json" => configs::special_tokens(family),
            "tokenizer/tokenizer_config.json" => configs::tokenizer(),
            "unet/config.json" => configs::unet(&self.unet, family, prediction),
            "vae/config.json" => configs::vae(self.vae.as_ref()?),
            _ => return None,
        };
        Some(json.to_string().into_bytes())
    }

    /// The weights of a component under diffusers' keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights(&self, component: &str) -> Result<Shards, LoadError> {
        let file = WeightsFile::open(&self.path)?;
        let names = match component {
            "unet" if self.is_ema => self.unet.names().ema(),
            "unet" => self.unet.names(),
            "text_encoder" => self.text.names(),
            _ => match &self.vae {
                Some(shape) => shape.names(VAE),
                None => return Err(Header(&file).wrong(tr!("it has no VAE"), "--vae")),
            },
        };
        let is_read = |key: &String| match component {
            "text_encoder" => !self.text.is_left_out(key),
            "vae" => !vae::is_of_training(key, VAE),
            _ => true,
        };
        let viewed: Vec<Viewed> =
            Header(&file).keys().filter(is_read).flat_map(|key| names.of_stored(&key)).collect();
        Ok(file.viewed(viewed, Arc::new(names)).into())
    }

    /// Notes on tensors that belong to no component.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn notes(&self) -> Result<Vec<String>, LoadError> {
        let file = WeightsFile::open(&self.path)?;
        let of_component = ["model.diffusion_model.", "cond_stage_model.", VAE];
        let is_known =
            |key: &String| of_component.iter().chain(&OF_TRAINING).any(|start| key.starts_with(start));
        let mut left: Vec<String> = Header(&file).keys().filter(|key| !is_known(key)).collect();
        left.sort();
        Ok(unread::notes(file.name(), &left))
    }
}

/// The family, from how transformers project and from the width of what they attend to.
fn family(header: Header<'_>, unet: &UNetShape) -> Result<Family, LoadError> {
    let family = if unet.is_linear { Family::Two } else { Family::One };
    let published = match unet.context {
        768 => Some(Family::One),
        1024 => Some(Family::Two),
        _ => None,
    };
    if published.is_none_or(|published| published == family) {
        return Ok(family);
    }
    let found = tr!(
        "its transformers project as those of {family}, and `{}` takes embeddings of width {}, as the other's",
        unet.context_key,
        unet.context,
        family
    );
    Err(header.wrong(found, ORIGINAL))
}

/// The prediction type and why it is that: as given, as the metadata say, or epsilon for Stable Diffusion 1.
fn prediction(
    header: Header<'_>,
    family: Family,
    given: Option<Prediction>,
) -> Result<Option<(Prediction, String)>, LoadError> {
    if let Some(given) = given {
        return Ok(Some((given, tr!("as --prediction-type says"))));
    }
    if let Some((prediction, entry)) = prediction::of_metadata(header)? {
        return Ok(Some((prediction, tr!("as {entry} in the metadata says", entry))));
    }
    let why = tr!("as the published models; the metadata say nothing, and --prediction-type changes it");
    Ok((family == Family::One).then_some((Prediction::Epsilon, why)))
}

fn undetermined(file: &str) -> String {
    tr!(
        "{file}: neither the metadata nor --prediction-type say whether it predicts epsilon or v; a run finds out with one call of the UNet",
        file
    )
}

/// What was concluded, a line each.
fn conclusions(
    header: Header<'_>,
    family: Family,
    unet: &UNetShape,
    text: &TextShape,
    is_ema: bool,
    prediction: Option<&(Prediction, String)>,
) -> Vec<String> {
    let file = header.0.name();
    let projection = if unet.is_linear { tr!("linear layers") } else { tr!("1×1 convolutions") };
    let layout = if text.is_open_clip { "OpenCLIP" } else { "CLIP" };
    let layers = match text.stored_layers {
        stored if stored > text.layers => tr!("{} of {stored} layers", text.layers, stored),
        layers => tr!("{layers} layers", layers),
    };
    let mut lines = vec![tr!(
        "{file}: {family}: its transformers project with {projection} and attend to embeddings of width {} (`{}`); the text \
         encoder is {layout}'s, {layers} (`{}…`)",
        unet.context,
        unet.context_key,
        text.prefix,
        file,
        family,
        projection,
        layout,
        layers
    )];
    match prediction {
        Some((prediction, why)) => {
            let scheduler = configs::scheduler_class(family, *prediction);
            lines.push(tr!(
                "{file}: it predicts {prediction}, {why}; the scheduler is {scheduler}, as published",
                file,
                prediction,
                why,
                scheduler
            ));
        }
        None => lines.push(undetermined(file)),
    }
    if is_ema {
        lines.push(tr!("{file}: the UNet's averaged weights (`model_ema.…`) are read, as --ema says", file));
    } else if header.has(EMA) {
        lines.push(tr!("{file}: the UNet's averaged weights (`model_ema.…`) are not read, as in diffusers; --ema reads them", file));
    }
    lines
}

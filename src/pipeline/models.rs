//! A loaded checkpoint.

use super::prediction::{self, Asked};
use super::{Preset, Request, Stage, lines, memory};
use crate::checkpoint::LoadError;
use crate::checkpoint::ModelSource;
use crate::checkpoint::embedding::Embedding;
use crate::checkpoint::inventory::loaded_bytes;
use crate::checkpoint::kind;
use crate::checkpoint::layout::Precision;
use crate::checkpoint::lora::names::Blocks;
use crate::checkpoint::source::mark_skipped;
use crate::checkpoint::unread;
use crate::model::AutoencoderKL;
use crate::model::ClipTextModel;
use crate::model::ClipTokenizer;
use crate::model::LatentRgbFactors;
use crate::model::Lora;
use crate::model::UNet2DConditionModel;
use crate::model::anatomy::{Module, anatomy};
use crate::model::clip::ClipTextConfig;
use crate::model::lora::Base;
use crate::model::unet::UNetConfig;
use crate::model::vae::VaeConfig;
use crate::nn::error::abridged;
use crate::nn::load_report::{LoadReport, Norm, Parameter, ProgressFn};
use crate::nn::{ConfigError, ConfigFile, Path, Weights, WeightsError};
use crate::phrase::phrase;
use crate::scheduler::arguments::ARGUMENTS;
use crate::scheduler::{Class, SchedulerChoice};
use candle_core::{DType, Device};
use std::collections::HashMap;
use std::sync::Arc;
use tr::tr;

/// A checkpoint, loaded (diffusers `StableDiffusionPipeline`).
#[derive(Debug)]
pub struct Models {
    /// The paths of all modules in loading order: a module before its submodules.
    pub modules: Vec<Path>,
    /// How often a forward pass runs each of them: once, except for activations that a module applies in several places.
    times: Vec<usize>,
    /// The modules as a tree.
    pub anatomy: Arc<[Module]>,
    /// All parameters, in loading order.
    pub parameters: Vec<Parameter>,
    /// The constants of every normalization by its path.
    pub norms: HashMap<Path, Norm>,
    /// The checkpoint's source.
    pub source: ModelSource,
    /// Text → token ids.
    pub tokenizer: Arc<ClipTokenizer>,
    /// Token ids → embeddings.
    pub text_encoder: ClipTextModel,
    /// The LoRAs. A request has their scales.
    pub loras: Vec<Arc<Lora>>,
    /// Noisy latents → a residual.
    pub unet: UNet2DConditionModel,
    /// Latents → images, and back.
    pub vae: AutoencoderKL,
    /// The checkpoint's scheduler, with the pipeline's overrides.
    pub scheduler: SchedulerChoice,
    /// The checkpoint's own scheduler class if it is none of [`Class`], so that DDIM stands in for it.
    pub stands_in_for: Option<String>,
    /// Recommended settings, if they differ from diffusers' defaults.
    pub preset: Option<Preset>,
    /// Latents → colours, for previews; `None` if neither the checkpoint nor the program has factors.
    pub latent_rgb_factors: Option<LatentRgbFactors>,
    /// The device of computation.
    pub device: Device,
    /// The dtype of the models. Latents and residuals are always `f32`.
    pub dtype: DType,
    /// Warnings about the checkpoint, such as unknown keys or a replaced scheduler.
    pub notes: Vec<String>,
    /// Remarks about the checkpoint and the run that are not warnings, such as what a single file is, and a size taken from the start
    /// image.
    pub remarks: Vec<String>,
}

/// The configurations of a checkpoint, read and checked before the weights.
#[derive(Debug)]
pub struct Configs {
    /// `text_encoder/config.json`.
    pub text_encoder: ClipTextConfig,
    /// `unet/config.json`.
    pub unet: UNetConfig,
    /// `vae/config.json`.
    pub vae: VaeConfig,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerChoice,
    /// See [`Models::stands_in_for`].
    pub stands_in_for: Option<String>,
    /// See [`Models::preset`].
    pub preset: Option<Preset>,
    /// See [`Models::notes`].
    pub notes: Vec<String>,
}

/// The class of the scheduler: diffusers takes it from `model_index.json`, whatever the scheduler's own file says.
fn scheduler_class(index: &ConfigFile, scheduler: &ConfigFile) -> Result<Option<String>, ConfigError> {
    let of_index = index.raw("scheduler").and_then(|entry| entry.get(1)).and_then(|name| name.as_str());
    match of_index {
        Some(class) => Ok(Some(class.into())),
        None => scheduler.get::<String>("_class_name", phrase("a class name")),
    }
}

impl Configs {
    /// Reads every configuration of `source`.
    ///
    /// # Errors
    /// When one is missing or unsupported, or they are inconsistent.
    pub fn load(source: &ModelSource) -> Result<Self, LoadError> {
        let index = source.config("model_index.json")?;
        check_kind(&index)?;
        let files = [
            source.config("text_encoder/config.json")?,
            source.config("unet/config.json")?,
            source.config("vae/config.json")?,
            source.config("scheduler/scheduler_config.json")?,
        ];
        let [text_encoder, unet, vae, scheduler] = &files;
        let class = scheduler_class(&index, scheduler)?;
        let known = class.as_deref().and_then(Class::of_name);
        let mut configs = Self {
            text_encoder: ClipTextConfig::read(text_encoder)?,
            unet: UNetConfig::read(unet)?,
            vae: VaeConfig::read(vae)?,
            scheduler: SchedulerChoice::of_file(scheduler, known.unwrap_or(Class::Ddim))?,
            stands_in_for: class.filter(|_| known.is_none()),
            preset: None,
            notes: vec![],
        };
        configs.check_fit(source)?;
        if let Some(class) = &configs.stands_in_for {
            let class = abridged(class);
            configs.notes.push(tr!(
                "{}: DDIM stands in for {class}, with the settings that `DDIMScheduler.from_config` takes from its file",
                scheduler.file(), class
            ));
        } else {
            // Published files hold keys of other classes, which diffusers ignores too.
            for argument in ARGUMENTS {
                scheduler.raw(argument.name);
            }
            configs.note_unknown(scheduler.file(), &scheduler.unknown_keys());
        }
        configs.preset = Preset::of(source, [&index, unet], configs.scheduler.config())?;
        if let Some(preset) = configs.preset {
            configs.notes.push(tr!("{source}: {preset}; explicit settings take precedence", source, preset));
        }
        for file in [&index, scheduler, text_encoder, unet, vae].into_iter().filter_map(ConfigFile::marked) {
            configs.notes.push(mark_skipped(&file));
        }
        for file in [text_encoder, unet, vae] {
            configs.note_unknown(file.file(), &file.unknown_keys());
        }
        Ok(configs)
    }

    fn note_unknown(&mut self, file: &str, keys: &[String]) {
        if !keys.is_empty() {
            self.notes.push(tr!("{file}: unknown keys, ignored: {}", keys.join(", "), file));
        }
    }

    /// Checks that the output of each model fits the input of the next.
    fn check_fit(&self, source: &ModelSource) -> Result<(), LoadError> {
        let mismatch =
            |found, expected| Err(LoadError::Mismatch { model: source.with_vae(), found, expected });
        let (latents, unet) = (self.vae.latent_channels, &self.unet);
        if unet.in_channels != latents || unet.out_channels != latents {
            let other = kind::unet_of_channels(unet.in_channels);
            let other = other.map_or(String::new(), |what| format!(" ({what})"));
            return mismatch(
                tr!(
                    "the UNet takes {} channels and gives {}, the VAE has {latents}",
                    unet.in_channels,
                    unet.out_channels,
                    latents
                ),
                tr!("a text-to-image model, in which they are equal{other}", other),
            );
        }
        let width = self.text_encoder.hidden_size;
        source.embeddings().iter().try_for_each(|embedding| embedding.check_width(width))?;
        if let Some(level) = unet.blocks.iter().find(|level| level.cross_attention_dim != width) {
            return mismatch(
                tr!(
                    "the UNet attends to embeddings of width {}, the text encoder's have width {width}",
                    level.cross_attention_dim, width
                ),
                "equal `cross_attention_dim` of unet/config.json and `hidden_size` of text_encoder/config.json"
                    .into(),
            );
        }
        if (self.vae.in_channels, self.vae.out_channels) != (3, 3) {
            let channels = tr!("the VAE takes {} and gives {}", self.vae.in_channels, self.vae.out_channels);
            return mismatch(channels, tr!("images of 3 channels"));
        }
        Ok(())
    }
}

/// Refuses other kinds of pipelines, by their class in `model_index.json`.
fn check_kind(index: &ConfigFile) -> Result<(), LoadError> {
    if let Some(class) = index.get::<String>("_class_name", phrase("a class name"))? {
        kind::check_class(&class).map_err(|kind| LoadError::Kind { file: index.file().to_string(), kind })?;
    }
    Ok(kind::check_parts(index)?)
}

impl Models {
    /// Loads the checkpoint at `source` to `device` in `dtype`.
    ///
    /// # Errors
    /// When a file is missing, corrupt or unsupported, or the weights do not fit the memory.
    pub fn load(source: ModelSource, device: Device, dtype: DType) -> Result<Self, LoadError> {
        Self::load_with_progress(source, device, dtype, Box::new(|_, _| ()))
    }

    /// As [`load`](Self::load), with every tensor converted to `dtype`. On the CPU, [`load`](Self::load) keeps 16-bit weights as they
    /// are, with the same results from half the memory; tests compare both.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_widened(source: ModelSource, device: Device, dtype: DType) -> Result<Self, LoadError> {
        Self::load_mapped(source, device, dtype, Box::new(|_, _| ()), Weights::widened)
    }

    /// As [`load`](Self::load). Calls `on_progress` with the bytes read and the total.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_progress(
        source: ModelSource,
        device: Device,
        dtype: DType,
        on_progress: ProgressFn,
    ) -> Result<Self, LoadError> {
        Self::load_mapped(source, device, dtype, on_progress, |weights| weights)
    }

    fn load_mapped(
        source: ModelSource,
        device: Device,
        dtype: DType,
        on_progress: ProgressFn,
        map: impl Fn(Weights) -> Weights,
    ) -> Result<Self, LoadError> {
        Self::load_all(&source, &device, dtype, on_progress, map)
            .map_err(|error| memory::explained_loading(error, &source, &device, dtype))
    }

    fn load_all(
        source: &ModelSource,
        device: &Device,
        dtype: DType,
        on_progress: ProgressFn,
        map: impl Fn(Weights) -> Weights,
    ) -> Result<Self, LoadError> {
        let report = Arc::new(LoadReport::new(on_progress));
        let mut configs = Configs::load(source)?;
        check_memory(source, device, dtype)?;
        let weights = |component| -> Result<Weights, LoadError> {
            let files = source.weights(component, Precision::of(dtype))?;
            Ok(map(Weights::new(files, component, dtype, device).with_report(&report)))
        };
        // All files are opened first, so that the total is known.
        let (of_text_encoder, of_unet, of_vae) =
            (weights("text_encoder")?, weights("unet")?, weights("vae")?);
        let all = [&of_text_encoder, &of_unet, &of_vae];
        configs.notes.extend(source.weight_notes(Precision::of(dtype), all.map(Weights::files)));
        let latent_rgb_factors = LatentRgbFactors::load(source, configs.vae.latent_channels)?
            .or_else(|| LatentRgbFactors::published(&configs.vae));
        let mut tokenizer = ClipTokenizer::load(source, configs.text_encoder.vocab_size)?;
        configs.notes.extend(tokenizer.notes.iter().cloned());
        let mut text_encoder = ClipTextModel::load(&of_text_encoder, configs.text_encoder)?;
        add_concepts(source.embeddings(), &mut tokenizer, &mut text_encoder)?;
        let mut unet = UNet2DConditionModel::load(&of_unet, configs.unet)?;
        let vae = AutoencoderKL::load(&of_vae, configs.vae)?;
        configs.notes.extend(all.iter().flat_map(|weights| unread::notes(weights.file(), &weights.unread())));
        let mut source = source.clone();
        if source.single().is_some_and(|file| file.prediction().is_none()) {
            let asked =
                Asked { tokenizer: &tokenizer, text_encoder: &text_encoder, unet: &unet, device, dtype };
            source = prediction::found_out(&source, asked)?;
            // The scheduler and the size in training depend on it.
            let known = Configs::load(&source)?;
            (configs.scheduler, configs.stands_in_for) = (known.scheduler, known.stands_in_for);
            unet.set_sample_size(known.unet.sample_size);
        }
        let parameters = report.parameters();
        let blocks = blocks(unet.config());
        let base = Base {
            name: &source.to_string(),
            parameters: &parameters,
            convs: &report.convs(),
            blocks: blocks.as_ref(),
            weights: [&of_unet, &of_text_encoder],
            device,
            dtype,
        };
        let loras: Vec<Arc<Lora>> = source
            .loras()
            .iter()
            .map(|file| Ok(Arc::new(Lora::load(file, &base)?)))
            .collect::<Result<_, LoadError>>()?;
        for (lora, file) in loras.iter().zip(source.loras()) {
            configs.notes.extend(lora.notes(file));
        }
        let mut remarks = source.conclusions();
        remarks.extend(loras.iter().flat_map(|lora| lora.remarks()));
        let (modules, times): (Vec<Path>, Vec<usize>) = report.modules().into_iter().unzip();
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            text_encoder,
            loras,
            unet,
            vae,
            scheduler: configs.scheduler,
            stands_in_for: configs.stands_in_for,
            preset: configs.preset,
            latent_rgb_factors,
            notes: configs.notes,
            remarks,
            anatomy: anatomy(&modules, &parameters).into(),
            modules,
            times,
            parameters,
            norms: report.norms(),
            source,
            device: device.clone(),
            dtype,
        })
    }

    /// The number of module runs in a stage of `request`, for a progress gauge.
    pub fn modules_in(&self, stage: Stage, request: &Request) -> usize {
        let modules = self.modules.iter().zip(&self.times);
        modules.filter(|(path, _)| runs_in(stage, request, path.as_str())).map(|(_, times)| times).sum()
    }

    /// The largest number of heads of an attention of the UNet.
    pub fn unet_heads(&self) -> Option<usize> {
        self.unet.config().blocks.iter().map(|level| level.heads).max()
    }

    /// The number of heads of the attentions at or below `path` in the UNet: `unet.up_blocks.1.attentions.0`.
    pub fn heads_at(&self, path: &str) -> Option<usize> {
        let blocks = &self.unet.config().blocks;
        let mut names = path.strip_prefix("unet.")?.split('.');
        let (block, number) = (names.next()?, names.next().and_then(|number| number.parse::<usize>().ok()));
        let level = match block {
            "down_blocks" => number?,
            "up_blocks" => blocks.len().checked_sub(number? + 1)?,
            "mid_block" => blocks.len().checked_sub(1)?,
            _ => return None,
        };
        blocks.get(level).map(|level| level.heads)
    }

    /// Height and width of training images in pixels.
    pub fn native_size(&self) -> (usize, usize) {
        let scale = self.vae.config().scale_factor();
        let (height, width) = self.unet.config().sample_size;
        (height * scale, width * scale)
    }
}

/// The UNet's blocks for the original names of its modules, if all levels have as many resnets.
fn blocks(unet: &UNetConfig) -> Option<Blocks> {
    let layers = unet.blocks.first()?.layers;
    unet.blocks.iter().all(|level| level.layers == layers).then(|| Blocks {
        layers,
        down_attends: unet.blocks.iter().map(|level| level.down_attends).collect(),
        up_attends: unet.blocks.iter().map(|level| level.up_attends).collect(),
    })
}

/// Gives the tokenizer and the text encoder the words of textual inversion, one file after another.
fn add_concepts(
    embeddings: &[Embedding],
    tokenizer: &mut ClipTokenizer,
    text_encoder: &mut ClipTextModel,
) -> Result<(), LoadError> {
    let [file, ..] = embeddings else { return Ok(()) };
    let (mut ids, mut vectors) = (vec![], vec![]);
    for embedding in embeddings {
        ids.extend(tokenizer.add_concept(embedding)?);
        vectors.extend(embedding.vectors.iter().cloned());
    }
    let added = text_encoder.add_vectors(&ids, &vectors);
    Ok(added.map_err(|source| WeightsError::Device {
        file: file.file.clone(),
        key: file.key.clone(),
        source: Box::new(source),
    })?)
}

/// Whether the module at `path` runs in a stage of `request`.
pub fn runs_in(stage: Stage, request: &Request, path: &str) -> bool {
    // `get_latent` runs modules only to encode a start image.
    let is_idle = stage == Stage::GetLatent && request.init_image.is_none();
    !is_idle && lines::running(stage, path).is_some()
}

/// Checks from the headers that the weights fit the main memory.
fn check_memory(source: &ModelSource, device: &Device, dtype: DType) -> Result<(), LoadError> {
    let needed = loaded_bytes(source, dtype, device)?;
    match memory::available() {
        Some(available) if device.is_cpu() && needed > u128::from(available) => Err(LoadError::Memory {
            model: source.to_string(),
            dtype: dtype.as_str(),
            needed: memory::human(needed),
            available: memory::human(available.into()),
        }),
        _ => Ok(()),
    }
}

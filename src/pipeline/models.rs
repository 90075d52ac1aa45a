//! Everything that a run computes with.

use super::{Preset, Request, Stage, lines, memory};
use crate::checkpoint::LoadError;
use crate::checkpoint::ModelSource;
use crate::checkpoint::inventory::kept_bytes;

use crate::checkpoint::kind;
use crate::checkpoint::layout::Precision;
use crate::checkpoint::source::mark_skipped;

use crate::checkpoint::unread;

use crate::model::AutoencoderKL;
use crate::model::ClipTextModel;
use crate::model::ClipTokenizer;
use crate::model::LatentRgbFactors;
use crate::model::UNet2DConditionModel;
use crate::model::anatomy::{Module, anatomy};
use crate::model::clip::ClipTextConfig;
use crate::model::unet::UNetConfig;
use crate::model::vae::VaeConfig;
use crate::nn::error::abridged;
use crate::nn::ledger::{LoadReport, Parameter, ProgressFn};
use crate::nn::{ConfigFile, Path, Weights};
use crate::scheduler::DdimConfig;
use candle_core::{DType, Device};
use std::sync::Arc;

/// A checkpoint, loaded (diffusers `StableDiffusionPipeline`).
#[derive(Debug)]
pub struct Models {
    /// The paths of all modules, in the order in which they were loaded: a module before its parts.
    pub modules: Vec<Path>,
    /// How often a pass runs each of them: once, but for activations that one module applies in several places.
    times: Vec<usize>,
    /// The modules as a tree.
    pub anatomy: Arc<[Module]>,
    /// Every tensor of weights, in the order in which they were loaded.
    pub parameters: Vec<Parameter>,
    /// Where it came from.
    pub source: ModelSource,
    /// Text to ids.
    pub tokenizer: ClipTokenizer,
    /// Ids to embeddings.
    pub text_encoder: ClipTextModel,
    /// Noisy latents to a residual.
    pub unet: UNet2DConditionModel,
    /// Latents to pictures.
    pub vae: AutoencoderKL,
    /// The scheduler's configuration, as the pipeline runs it.
    pub scheduler: DdimConfig,
    /// The scheduler that the checkpoint was saved with, in whose place DDIM stands; `None` where it was DDIM.
    pub stands_in_for: Option<String>,
    /// The settings that the checkpoint wants, where they are not the usual ones.
    pub preset: Option<Preset>,
    /// Latents to colours, for previews; `None` where the checkpoint has no such file.
    pub latent_rgb_factors: Option<LatentRgbFactors>,
    /// Where tensors are computed.
    pub device: Device,
    /// The dtype that models compute in. Latents and residuals are `f32` whatever it is.
    pub dtype: DType,
    /// What a reader should know of the checkpoint: keys that were not understood, a scheduler that was replaced.
    pub notes: Vec<String>,
    /// What a reader is told of the run at its start, which warns of nothing: the size that a picture gave it.
    pub remarks: Vec<String>,
}

/// The configurations of a checkpoint, read and checked, before any weight is.
#[derive(Debug)]
pub struct Configs {
    /// `text_encoder/config.json`.
    pub text_encoder: ClipTextConfig,
    /// `unet/config.json`.
    pub unet: UNetConfig,
    /// `vae/config.json`.
    pub vae: VaeConfig,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: DdimConfig,
    /// See [`Models::stands_in_for`].
    pub stands_in_for: Option<String>,
    /// See [`Models::preset`].
    pub preset: Option<Preset>,
    /// See [`Models::notes`].
    pub notes: Vec<String>,
}

impl Configs {
    /// Reads every configuration of `source`.
    ///
    /// # Errors
    /// When one is missing or unsupported, or they do not belong together.
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
        let mut configs = Self {
            text_encoder: ClipTextConfig::read(text_encoder)?,
            unet: UNetConfig::read(unet)?,
            vae: VaeConfig::read(vae)?,
            scheduler: DdimConfig::read(scheduler)?.as_in_pipeline(),
            stands_in_for: scheduler
                .get::<String>("_class_name", "a class name")?
                .filter(|class| class != "DDIMScheduler"),
            preset: None,
            notes: vec![],
        };
        configs.check_fit(source)?;
        if let Some(class) = &configs.stands_in_for {
            let class = abridged(class);
            configs.notes.push(format!(
                "{}: DDIM stands in for {class}, with what `DDIMScheduler.from_config` takes from its file",
                scheduler.file()
            ));
        } else {
            // PNDM's, which the files of Stable Diffusion 2 have in DDIM's, where diffusers passes over it too.
            scheduler.raw("skip_prk_steps");
            configs.note_unknown(scheduler.file(), &scheduler.unknown_keys());
        }
        configs.preset = Preset::of(source, [&index, unet, scheduler], &configs.scheduler)?;
        if let Some(preset) = configs.preset {
            configs.scheduler = preset.applied_to(configs.scheduler);
            configs.notes.push(format!("{source}: {preset}; what is asked for otherwise comes before it"));
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
            self.notes.push(format!("{file}: not understood and left aside: {}", keys.join(", ")));
        }
    }

    /// Whether what one model gives is what the next takes.
    fn check_fit(&self, source: &ModelSource) -> Result<(), LoadError> {
        let mismatch =
            |found, expected| Err(LoadError::Mismatch { model: source.to_string(), found, expected });
        let (latents, unet) = (self.vae.latent_channels, &self.unet);
        if unet.in_channels != latents || unet.out_channels != latents {
            let other = kind::unet_of_channels(unet.in_channels);
            let other = other.map_or(String::new(), |what| format!(" ({what})"));
            return mismatch(
                format!(
                    "the UNet takes {} and gives {} channels, the VAE has {latents}",
                    unet.in_channels, unet.out_channels
                ),
                format!("a text-to-image model, in which they are the same{other}"),
            );
        }
        let width = self.text_encoder.hidden_size;
        if let Some(level) = unet.blocks.iter().find(|level| level.cross_attention_dim != width) {
            return mismatch(
                format!("the UNet attends to embeddings of {}, the text encoder makes {width}", level.cross_attention_dim),
                "`cross_attention_dim` of unet/config.json and `hidden_size` of text_encoder/config.json to be the same"
                    .into(),
            );
        }
        if (self.vae.in_channels, self.vae.out_channels) != (3, 3) {
            let channels =
                format!("the VAE takes {} and gives {}", self.vae.in_channels, self.vae.out_channels);
            return mismatch(channels, "pictures of 3 channels".into());
        }
        Ok(())
    }
}

/// Refuses pipelines of other kinds by the name that `model_index.json` gives them.
fn check_kind(index: &ConfigFile) -> Result<(), LoadError> {
    if let Some(class) = index.get::<String>("_class_name", "a class name")? {
        kind::check_class(&class).map_err(|kind| LoadError::Kind { file: index.file().to_string(), kind })?;
    }
    Ok(kind::check_parts(index)?)
}

impl Models {
    /// Loads the checkpoint at `source` to `device` in `dtype`.
    ///
    /// # Errors
    /// When a file is missing, broken or unsupported, or the weights do not fit the memory.
    pub fn load(source: ModelSource, device: Device, dtype: DType) -> Result<Self, LoadError> {
        Self::load_telling(source, device, dtype, Box::new(|_, _| ()))
    }

    /// As [`load`](Self::load), with every tensor in `dtype`: on the CPU [`load`](Self::load) keeps weights of 16 bits as they are
    /// and computes the same from half the memory, which this is to be compared with.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_widened(source: ModelSource, device: Device, dtype: DType) -> Result<Self, LoadError> {
        Self::load_so(source, device, dtype, Box::new(|_, _| ()), Weights::widened)
    }

    /// As [`load`](Self::load), telling meanwhile how many bytes are read, and of how many.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_telling(
        source: ModelSource,
        device: Device,
        dtype: DType,
        tell: ProgressFn,
    ) -> Result<Self, LoadError> {
        Self::load_so(source, device, dtype, tell, |weights| weights)
    }

    fn load_so(
        source: ModelSource,
        device: Device,
        dtype: DType,
        tell: ProgressFn,
        kept: impl Fn(Weights) -> Weights,
    ) -> Result<Self, LoadError> {
        Self::load_all(&source, &device, dtype, tell, kept)
            .map_err(|error| memory::explained_loading(error, &source, &device, dtype))
    }

    fn load_all(
        source: &ModelSource,
        device: &Device,
        dtype: DType,
        tell: ProgressFn,
        kept: impl Fn(Weights) -> Weights,
    ) -> Result<Self, LoadError> {
        let ledger = Arc::new(LoadReport::new(tell));
        let mut configs = Configs::load(source)?;
        check_memory(source, device, dtype)?;
        let weights = |component| -> Result<Weights, LoadError> {
            let files = source.weights(component, Precision::of(dtype))?;
            Ok(kept(Weights::new(files, component, dtype, device).noted_in(&ledger)))
        };
        // All files first, so that it is known how much there is to read.
        let (of_text_encoder, of_unet, of_vae) =
            (weights("text_encoder")?, weights("unet")?, weights("vae")?);
        let all = [&of_text_encoder, &of_unet, &of_vae];
        configs.notes.extend(source.weight_notes(Precision::of(dtype), all.map(Weights::files)));
        let latent_rgb_factors = LatentRgbFactors::load(source, configs.vae.latent_channels)?
            .or_else(|| LatentRgbFactors::published(&configs.vae));
        let tokenizer = ClipTokenizer::load(source, configs.text_encoder.vocab_size)?;
        configs.notes.extend(tokenizer.notes.iter().cloned());
        let text_encoder = ClipTextModel::load(&of_text_encoder, configs.text_encoder)?;
        let unet = UNet2DConditionModel::load(&of_unet, configs.unet)?;
        let vae = AutoencoderKL::load(&of_vae, configs.vae)?;
        configs.notes.extend(all.iter().flat_map(|weights| unread::notes(weights.file(), &weights.unread())));
        let (modules, times): (Vec<Path>, Vec<usize>) = ledger.modules().into_iter().unzip();
        Ok(Self {
            tokenizer,
            text_encoder,
            unet,
            vae,
            scheduler: configs.scheduler,
            stands_in_for: configs.stands_in_for,
            preset: configs.preset,
            latent_rgb_factors,
            notes: configs.notes,
            remarks: vec![],
            anatomy: anatomy(&modules, &ledger.parameters()).into(),
            modules,
            times,
            parameters: ledger.parameters(),
            source: source.clone(),
            device: device.clone(),
            dtype,
        })
    }

    /// How many modules run in a stage of `request`, one that runs several times as often: what a gauge counts.
    pub fn modules_in(&self, stage: Stage, request: &Request) -> usize {
        let ran = self.modules.iter().zip(&self.times);
        ran.filter(|(path, _)| runs_in(stage, request, path.as_str())).map(|(_, times)| times).sum()
    }

    /// The most heads that an attention of the UNet has.
    pub fn unet_heads(&self) -> Option<usize> {
        self.unet.config().blocks.iter().map(|level| level.heads).max()
    }

    /// The heads of the attentions of the UNet in the block at `path` or inside of it: `unet.up_blocks.1.attentions.0`.
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

    /// Height and width in pixels that the UNet was trained on.
    pub fn native_size(&self) -> (usize, usize) {
        let scale = self.vae.config().scale_factor();
        let (height, width) = self.unet.config().sample_size;
        (height * scale, width * scale)
    }
}

/// Whether the module at `path` runs in a stage of `request`.
pub fn runs_in(stage: Stage, request: &Request, path: &str) -> bool {
    // A picture is encoded where there is one to start from.
    let is_idle = stage == Stage::GetLatent && request.init_image.is_none();
    !is_idle && lines::running(stage, path).is_some()
}

/// Whether the weights fit the main memory, told from their headers.
fn check_memory(source: &ModelSource, device: &Device, dtype: DType) -> Result<(), LoadError> {
    let needed = kept_bytes(source, dtype, device)?;
    match memory::available() {
        Some(available) if device.is_cpu() && needed > u128::from(available) => Err(LoadError::Memory {
            model: source.to_string(),
            dtype: dtype.as_str(),
            needed: memory::said(needed),
            available: memory::said(available.into()),
        }),
        _ => Ok(()),
    }
}

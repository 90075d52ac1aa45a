//! The flags of subcommands that generate images.

use super::from::From;
use super::model::fetch;
use super::settings::SettingArgs;
use crate::checkpoint::changed::Changes;
use crate::checkpoint::embedding::Embedding;
use crate::checkpoint::hub::HubError;
use crate::checkpoint::layout::Precision;
use crate::checkpoint::lora::LoraFile;
use crate::checkpoint::single::prediction::Prediction;
use crate::checkpoint::single::vae::Vae;
use crate::checkpoint::source::POCKET;
use crate::checkpoint::{LoadError, ModelSource};
use crate::debugger::session::Session;
use crate::nn::device::{DTypeChoice, DeviceChoice};
use crate::nn::load_report::ProgressFn;
use crate::pipeline::init_size::{self, Resized};
use crate::pipeline::loras::LoraScale;
use crate::pipeline::{Models, Request, time_estimate};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tr::tr;

/// The settings of a run, and its model and device.
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Take the settings from a PNG of this program, AUTOMATIC1111 or ComfyUI. Flags take precedence. What cannot be taken is listed
    #[arg(long, value_name = "FILE.png")]
    from: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingArgs,
}

/// The model, its device and its dtype.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// `pocket`, the bundled model; a folder in the diffusers layout; a .safetensors file in the original layout of Stable Diffusion
    /// 1 or 2; OWNER/NAME[@REVISION] on the Hugging Face hub, or a short name: sd2, sd2-base, sd21, sd21-base, sd15, sd14, sd-turbo,
    /// bk-sdm-tiny. A folder or file takes precedence over a name on the hub
    #[arg(long, default_value = POCKET)]
    model: String,

    #[command(flatten)]
    changes: ChangeArgs,

    /// Fetch a model of any size from the hub without asking
    #[arg(long)]
    yes: bool,

    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// auto, f32, f16 or bf16. auto is f32 on the CPU; on a GPU f16, or bf16 if the UNet is stored so. f16 reads the files of variant
    /// fp16 if they exist
    #[arg(long, default_value_t = DTypeChoice::Auto)]
    dtype: DTypeChoice,
}

/// What is read instead of the model's own.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// Read this VAE instead of the model's: a folder in the diffusers layout (a VAE's, or a checkpoint's with vae/), or a .safetensors
    /// file in either layout
    #[arg(long, value_name = "FILE|FOLDER")]
    vae: Option<String>,

    /// What the UNet predicts: epsilon or v_prediction [default: as the model's files say]
    #[arg(long, value_name = "TYPE")]
    prediction_type: Option<Prediction>,

    /// Add the word of a textual inversion, a .safetensors file of one tensor: TOKEN is its word in the prompt [default: the tensor's
    /// key]. Can be repeated
    #[arg(long, value_name = "FILE[:TOKEN]")]
    embedding: Vec<String>,

    /// Add a LoRA, a .safetensors file for Stable Diffusion 1 or 2 with its scale [default: 1]. Can be repeated
    #[arg(long, value_name = "FILE[:SCALE]")]
    lora: Vec<String>,

    /// Folder with the LoRAs that a prompt names in A1111's syntax, `<lora:NAME:0.8>`: NAME.safetensors, there or in a folder below
    #[arg(long, value_name = "FOLDER")]
    lora_dir: Option<PathBuf>,

    /// Read the averaged weights (`model_ema.…`) of a single file's UNet
    #[arg(long)]
    ema: bool,
}

impl ChangeArgs {
    /// The checkpoint `model` with these changes.
    ///
    /// # Errors
    /// When there is none, or a change does not fit it.
    pub fn source(&self, model: &str) -> Result<ModelSource, LoadError> {
        self.source_with(model, &[])
    }

    /// As [`source`](Self::source), with the LoRAs that a prompt names and `--lora-dir` has.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    fn source_with(&self, model: &str, named: &[LoraScale]) -> Result<ModelSource, LoadError> {
        let vae = self.vae.as_deref().map(Vae::parse).transpose()?;
        let embeddings =
            self.embedding.iter().map(|text| Embedding::parse(text)).collect::<Result<_, _>>()?;
        let mut loras =
            self.lora.iter().map(|text| LoraFile::parse(text)).collect::<Result<Vec<_>, LoadError>>()?;
        if let Some(folder) = &self.lora_dir {
            let files = LoraFile::in_folder(folder)?;
            for LoraScale { name, scale, .. } in named {
                let file = files.iter().find(|(known, _)| known == name);
                if let Some((_, path)) = file.filter(|_| loras.iter().all(|lora| lora.name != *name)) {
                    loras.push(LoraFile::open(path, *scale)?);
                }
            }
        }
        let changes = Changes { ema: self.ema, prediction: self.prediction_type, vae, embeddings, loras };
        ModelSource::parse_changed(model, &changes)
    }
}

impl ModelArgs {
    /// Fetches a model from the hub if it is not in the cache. This may ask a question, so it runs before the interface starts.
    ///
    /// # Errors
    /// When the model cannot be found or fetched, or its name is invalid.
    pub fn fetch(&self) -> anyhow::Result<()> {
        let Some(name) = ModelSource::on_hub(&self.model)? else { return Ok(()) };
        let dtype = self.dtype.on(&self.device.open()?);
        fetch::ensure(&name, Precision::of(dtype), self.yes).map_err(|e| match e.downcast_ref() {
            // The name may be that of a folder.
            Some(
                HubError::Missing { .. } | HubError::MissingOrPrivate { .. } | HubError::Unreachable { .. },
            ) => e.context(tr!("`{}` is not a folder; on the hub", self.model)),
            _ => e,
        })
    }

    /// Loads the models.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, on_progress: ProgressFn) -> Result<Models, LoadError> {
        self.load_with(&[], on_progress)
    }

    /// As [`load`](Self::load), with the LoRAs that a prompt names and `--lora-dir` has.
    ///
    /// # Errors
    /// [`LoadError`].
    fn load_with(&self, named: &[LoraScale], on_progress: ProgressFn) -> Result<Models, LoadError> {
        let source = self.changes.source_with(&self.model, named)?;
        let device = self.device.open()?;
        let dtype = source.dtype(self.dtype, &device)?;
        let why_not_a_gpu = self.device.why_not_a_gpu(&device);
        let mut models = Models::load_with_progress(source, device, dtype, on_progress)?;
        models.notes.extend(why_not_a_gpu);
        Ok(models)
    }
}

/// The default number of steps: enough for DDIM. diffusers' is 50.
const STEPS: usize = 20;
/// A prompt that the bundled model draws well.
const POCKET_PROMPT: &str = "red apple on a blue background";
/// The prompt of the article on which this program is based.
const ARTICLE_PROMPT: &str = "painting depicting the sea, sunrise, ship, artstation, 4k, concept art";

impl GenerateArgs {
    /// As [`ModelArgs::fetch`].
    ///
    /// # Errors
    /// As [`ModelArgs::fetch`].
    pub fn fetch_model(&self) -> anyhow::Result<()> {
        self.model.fetch()
    }

    /// Loads the models, and builds the request from the flags. The request is not checked yet.
    ///
    /// # Errors
    /// [`LoadError`], or when the start image cannot be read.
    pub fn load(&self, on_progress: ProgressFn) -> anyhow::Result<(Models, Request)> {
        let (mut models, request, has_size) = self.load_without_remarks(on_progress)?;
        remark_on_size(&mut models, &request, has_size)?;
        Ok((models, request))
    }

    /// As [`load`](Self::load), without a remark on the run's size, and whether a flag or a picture said a size.
    fn load_without_remarks(&self, on_progress: ProgressFn) -> anyhow::Result<(Models, Request, bool)> {
        // Before the models, which take longer to load.
        let values = self.settings.values()?;
        let from = self.from.as_deref().map(|file| From::read(file, &|name| self.settings.has(name)));
        let from = from.transpose()?;
        let mut named = from.as_ref().map(From::loras).unwrap_or_default();
        named.extend(values.loras_of_prompt());
        let mut models = self.model.load_with(&named, on_progress)?;
        let default_prompt = if models.source.is_bundled() { POCKET_PROMPT } else { ARTICLE_PROMPT };
        let usual = Request::for_models(&models, default_prompt);
        let steps = models.preset.map_or(STEPS, |preset| preset.num_inference_steps);
        let multiple = models.vae.config().scale_factor();
        let mut request = Request { num_inference_steps: steps, ..usual };
        if let Some(from) = &from {
            from.apply(&mut models, &mut request)?;
        }
        if let Some(image) = &values.init_image {
            let of_picture = |name: &str| from.as_ref().and_then(|from| from.size(name));
            let given = |name: &str, pixels| self.settings.has(name).then_some(pixels).or(of_picture(name));
            let given = (given("height", values.height), given("width", values.width));
            (request.height, request.width) = init_size::filled_in(image, given, multiple)?;
        }
        self.settings.apply(&values, &mut request)?;
        let overruled: Vec<String> = models
            .loras
            .iter()
            .filter(|lora| lora.has_scale)
            .filter_map(|lora| {
                let (name, flag, scale) = (&lora.name, lora.scale, request.lora(&lora.name)?.scale);
                (scale != flag).then(|| {
                    tr!(
                        "the prompt gives the LoRA {name} the scale {scale}; --lora says {flag}",
                        name,
                        scale,
                        flag
                    )
                })
            })
            .collect();
        models.remarks.extend(overruled);
        if let Some(from) = &from {
            from.without_idle_eta(&mut models, &mut request);
        }
        let is_said = |name: &str| {
            self.settings.has(name) || from.as_ref().is_some_and(|from| from.size(name).is_some())
        };
        let has_size = is_said("width") || is_said("height");
        Ok((models, request, has_size))
    }

    /// A debugger's session before its first stage.
    ///
    /// # Errors
    /// When the models cannot be loaded, or cannot run the request.
    pub fn session(&self, on_progress: ProgressFn) -> anyhow::Result<Session> {
        let (models, request) = self.load(on_progress)?;
        Ok(Session::new(Arc::new(models), request)?)
    }

    /// As [`session`](Self::session), for variants of different sizes: without a remark on the base's size.
    ///
    /// # Errors
    /// As [`session`](Self::session).
    pub fn session_of_sizes(&self, on_progress: ProgressFn) -> anyhow::Result<Session> {
        let (models, request, _) = self.load_without_remarks(on_progress)?;
        Ok(Session::new(Arc::new(models), request)?)
    }
}

/// Adds remarks on the size of a run with a start image: that it is the image's, with the estimated time if it is large; or that
/// the image's aspect ratio changes.
fn remark_on_size(models: &mut Models, request: &Request, has_size: bool) -> anyhow::Result<()> {
    let Some(image) = &request.init_image else { return Ok(()) };
    // `Session::new` will refuse the request.
    if request.check(models).is_err() {
        return Ok(());
    }
    let (size, multiple) = ((request.height, request.width), models.vae.config().scale_factor());
    if has_size {
        let resized = Resized::of(image, size, multiple);
        let remark = (resized == Resized::Squeezed).then(|| resized.remark(image, size)).flatten();
        models.remarks.extend(remark);
        return Ok(());
    }
    models.remarks.push(init_size::own_size_remark(image, size, multiple));
    models.notes.extend(time_estimate::warning(models, request)?);
    Ok(())
}

//! The flags that every subcommand takes that generates.

use super::model::fetch;
use super::settings::SettingArgs;
use crate::checkpoint::hub::HubError;
use crate::checkpoint::layout::Precision;
use crate::checkpoint::source::POCKET;
use crate::checkpoint::{LoadError, ModelSource};
use crate::debugger::session::Session;
use crate::nn::device::{DTypeChoice, DeviceChoice};
use crate::nn::ledger::ProgressFn;
use crate::pipeline::init_size::{self, Resized};
use crate::pipeline::{Models, Request, expected};
use clap::Args;
use std::sync::Arc;

/// What to generate, and on what.
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    settings: SettingArgs,
}

/// Which model, and where it is computed.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// `pocket`, the bundled model; a folder in the diffusers layout; OWNER/NAME[@REVISION] on the Hugging Face hub, or a short
    /// name: sd2, sd2-base, sd21, sd21-base, sd15, sd14, sd-turbo, bk-sdm-tiny. A folder comes before a name on the hub
    #[arg(long, default_value = POCKET)]
    model: String,

    /// Fetch a model from the hub without asking, however large it is
    #[arg(long)]
    yes: bool,

    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// auto, f32, f16 or bf16; auto is f32 on the CPU, and on a GPU f16, or bf16 where the UNet is stored so. For f16 the files of
    /// variant fp16 are read, where there are such; else the plain ones
    #[arg(long, default_value_t = DTypeChoice::Auto)]
    dtype: DTypeChoice,
}

impl ModelArgs {
    /// Fetches the model where it is one of the hub's and not in the cache yet. This may ask, so it is done on a plain terminal,
    /// before an interface is.
    ///
    /// # Errors
    /// In a line that names the culprit.
    pub fn fetch(&self) -> anyhow::Result<()> {
        let Some(name) = ModelSource::on_hub(&self.model)? else { return Ok(()) };
        let dtype = self.dtype.on(&self.device.open()?);
        fetch::ensure(&name, Precision::of(dtype), self.yes).map_err(|e| match e.downcast_ref() {
            // A folder may have been meant.
            Some(
                HubError::Missing { .. } | HubError::MissingOrPrivate { .. } | HubError::Unreachable { .. },
            ) => e.context(format!("`{}` is no folder here; on the hub", self.model)),
            _ => e,
        })
    }

    /// Loads the models, telling how far that is.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, tell: ProgressFn) -> Result<Models, LoadError> {
        let source = ModelSource::parse(&self.model)?;
        let device = self.device.open()?;
        let dtype = source.dtype(self.dtype, &device)?;
        let why_not_a_gpu = self.device.why_not_a_gpu(&device);
        let mut models = Models::load_telling(source, device, dtype, tell)?;
        models.notes.extend(why_not_a_gpu);
        Ok(models)
    }
}

/// Enough for DDIM; diffusers takes 50.
const STEPS: usize = 20;
/// A prompt that the bundled model draws well.
const POCKET_PROMPT: &str = "red apple on a blue background";
/// The prompt of the article that this program grew from.
const ARTICLE_PROMPT: &str = "painting depicting the sea, sunrise, ship, artstation, 4k, concept art";

impl GenerateArgs {
    /// As [`ModelArgs::fetch`].
    ///
    /// # Errors
    /// As that.
    pub fn fetch_model(&self) -> anyhow::Result<()> {
        self.model.fetch()
    }

    /// Loads the models, and makes the request that the flags ask of them.
    ///
    /// # Errors
    /// [`LoadError`], or the picture's to start from. The request is not checked yet.
    pub fn load(&self, tell: ProgressFn) -> anyhow::Result<(Models, Request)> {
        let (mut models, request) = self.load_untold(tell)?;
        self.tell_of_size(&mut models, &request)?;
        Ok((models, request))
    }

    /// As [`load`](Self::load), without a note on the run's size.
    fn load_untold(&self, tell: ProgressFn) -> anyhow::Result<(Models, Request)> {
        // Before the models are loaded, which takes longer.
        let values = self.settings.values()?;
        let models = self.model.load(tell)?;
        let default_prompt =
            if models.source == ModelSource::Bundled { POCKET_PROMPT } else { ARTICLE_PROMPT };
        let usual = Request::for_models(&models, default_prompt);
        let steps = models.preset.map_or(STEPS, |preset| preset.num_inference_steps);
        let multiple = models.vae.config().scale_factor();
        let mut request = Request { num_inference_steps: steps, ..usual };
        if let Some(image) = &values.init_image {
            let given = |name: &str, pixels: usize| self.settings.has(name).then_some(pixels);
            let given = (given("height", values.height), given("width", values.width));
            (request.height, request.width) = init_size::filled_in(image, given, multiple)?;
        }
        self.settings.apply(&values, &mut request);
        Ok((models, request))
    }

    /// Notes the size of a run that starts from a picture: that it is the picture's, and how long that takes where it is large; or what
    /// becomes of the picture's shape.
    fn tell_of_size(&self, models: &mut Models, request: &Request) -> anyhow::Result<()> {
        let Some(image) = &request.init_image else { return Ok(()) };
        // What is refused has no size, and takes no time.
        if request.check(models).is_err() {
            return Ok(());
        }
        let (size, multiple) = ((request.height, request.width), models.vae.config().scale_factor());
        if self.settings.has("width") || self.settings.has("height") {
            let resized = Resized::of(image, size, multiple);
            let told = (resized == Resized::Squeezed).then(|| resized.told(image, size)).flatten();
            models.remarks.extend(told);
            return Ok(());
        }
        models.remarks.push(init_size::own_told(image, size, multiple));
        models.notes.extend(expected::warning(models, request)?);
        Ok(())
    }

    /// A debugger's session before its first stage.
    ///
    /// # Errors
    /// When the models cannot be loaded, or cannot run the request.
    pub fn session(&self, tell: ProgressFn) -> anyhow::Result<Session> {
        let (models, request) = self.load(tell)?;
        Ok(Session::new(Arc::new(models), request)?)
    }

    /// As [`session`](Self::session), for variants whose sizes differ: nothing is said of a size that none of them has.
    ///
    /// # Errors
    /// As that.
    pub fn session_of_sizes(&self, tell: ProgressFn) -> anyhow::Result<Session> {
        let (models, request) = self.load_untold(tell)?;
        Ok(Session::new(Arc::new(models), request)?)
    }
}

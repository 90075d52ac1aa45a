//! The settings of a run.

use super::Models;
use super::fault::Fault;
use super::init_image::InitImage;
use super::loras::{self, InTextEncoder, LoraScale};
use super::memory;
use super::seed::Seed;
use crate::checkpoint::lora::{MOST_SCALE, name_of};
use crate::model::prompt_syntax::{PromptError, PromptSyntax, Side};
use crate::scheduler::config::PredictionType;
use crate::scheduler::{ScheduleError, Scheduler, SchedulerChoice, scheduler};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use tr::tr;

/// diffusers' default.
pub const STRENGTH: f64 = 0.8;

/// The longest prompt, in bytes. A model reads 75 tokens of it, unless the syntax splits it into chunks.
pub const MOST_PROMPT: usize = 100_000;

/// The settings of a run, under diffusers' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The prompt.
    pub prompt: String,
    /// What to avoid; may be empty.
    pub negative_prompt: String,
    /// The language of both prompts.
    #[serde(default)]
    pub prompt_syntax: PromptSyntax,
    /// How many of the text encoder's last layers the embeddings of the prompt skip; those of the negative prompt skip none, unless
    /// `prompt_syntax` is that of another program than diffusers.
    #[serde(default)]
    pub clip_skip: usize,
    /// Height of the image in pixels.
    pub height: usize,
    /// Width of the image in pixels.
    pub width: usize,
    /// Number of denoising steps.
    pub num_inference_steps: usize,
    /// Weight of the text-conditioned residual: 0 the unconditional one, 1 the conditioned one, more extrapolates.
    pub guidance_scale: f64,
    /// Seed of the noise, as in `torch.Generator("cpu").manual_seed(seed)`.
    pub seed: Seed,
    /// How much new noise each step of DDIM adds: 0 none, 1 as much as DDPM.
    pub eta: f64,
    /// The scheduler and its arguments. The default is the checkpoint's own.
    #[serde(default)]
    pub scheduler: SchedulerChoice,
    /// The scales of the LoRAs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraScale>,
    /// A start image, for image to image. Written to JSON as its name, and not read from JSON.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<InitImage>,
    /// With a start image, the fraction of the steps that run: 0 none, 1 all.
    pub strength: f64,
    /// A deliberate bug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// An error in a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A height or width that the VAE cannot produce.
    #[error("{}", tr!(
        "{name} is {found}; expected a multiple of {multiple}{nearest}",
        name = .name, found = .found, multiple = .multiple, nearest = .nearest
    ))]
    Size {
        /// `height` or `width`.
        name: &'static str,
        /// The number asked for.
        found: usize,
        /// Pixels per latent in each direction.
        multiple: usize,
        /// The nearest multiple, as the end of the message.
        nearest: String,
    },
    /// A prompt that is too long or contains a NUL character.
    #[error("{}", tr!(
        "{name} {found}; expected text of at most {MOST_PROMPT} bytes, of which a model reads 75 tokens",
        name = .name, found = .found, MOST_PROMPT = .MOST_PROMPT
    ))]
    Prompt {
        /// `prompt` or `negative_prompt`.
        name: &'static str,
        /// The error.
        found: String,
    },
    /// A prompt that is none in its syntax.
    #[error(transparent)]
    Syntax(#[from] PromptError),
    /// More layers to skip than the text encoder has.
    #[error("{}", tr!(
        "clip_skip is {found}; expected 0 to {layers}, the number of the text encoder's layers",
        found = .found, layers = .layers
    ))]
    ClipSkip {
        /// The number asked for.
        found: usize,
        /// The number of layers.
        layers: usize,
    },
    /// A LoRA that the models do not have.
    #[error("{}", match .loaded.as_str() {
        "" => tr!("no LoRA `{name}` is loaded; expected its file: `--lora {name}.safetensors`", name = .name),
        loaded => tr!("no LoRA `{name}` is loaded; expected one of {loaded}", name = .name, loaded),
    })]
    Lora {
        /// The name asked for.
        name: String,
        /// The names of those that are loaded.
        loaded: String,
    },
    /// The scale of a LoRA that is NaN or too large.
    #[error("{}", tr!(
        "the scale of the LoRA `{name}` is {found}; expected a number from -{MOST_SCALE} to {MOST_SCALE}",
        name = .name, found = .found, MOST_SCALE = MOST_SCALE
    ))]
    LoraScale {
        /// The LoRA's name.
        name: String,
        /// The scale asked for.
        found: f64,
    },
    /// A number that is NaN or infinite.
    #[error("{}", tr!("{name} is {found}; expected a finite number", name = .name, found = .found))]
    NotFinite {
        /// `guidance_scale` or `eta`.
        name: &'static str,
        /// The number asked for.
        found: f64,
    },
    /// A strength outside 0 to 1.
    #[error("{}", tr!(
        "strength is {0}; expected 0 to 1: the fraction of the steps that run with an init_image",
        .0
    ))]
    Strength(f64),
    /// The number of steps or eta does not work with the model's scheduler.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A fault that is impossible with these models.
    #[error("{fault}: {why}")]
    Fault {
        /// The fault.
        fault: Fault,
        /// The reason.
        why: String,
    },
    /// The run does not fit the memory.
    #[error(
        "{}", tr!(
            "{width}×{height} pixels need about {needed} of memory and {available} are free; expected a smaller width and height{fits}",
            width = .width, height = .height, needed = .needed, available = .available, fits = .fits
        ))]
    Memory {
        /// The width asked for.
        width: usize,
        /// The height asked for.
        height: usize,
        /// The memory that the run would take.
        needed: String,
        /// The available memory.
        available: String,
        /// The largest height and width of the same shape that would fit, if any.
        largest: Option<(usize, usize)>,
        /// The flags or commands for that size, after `such as`; empty if none fits.
        fits: String,
    },
}

impl RequestError {
    /// The same error with commands of a session instead of the program's flags.
    pub fn in_session(self) -> Self {
        match self {
            Self::Memory { width, height, needed, available, largest, fits } => {
                let commands = |(height, width)| {
                    tr!(", such as `set width {width}` and `set height {height}`", width, height)
                };
                let fits = largest.map_or(fits, commands);
                Self::Memory { width, height, needed, available, largest, fits }
            }
            other => other,
        }
    }
}

/// diffusers' defaults, without a prompt and without a size.
impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            prompt_syntax: PromptSyntax::Plain,
            clip_skip: 0,
            height: 0,
            width: 0,
            num_inference_steps: 50,
            guidance_scale: 7.5,
            seed: Seed::default(),
            eta: 0.,
            scheduler: SchedulerChoice::default(),
            loras: vec![],
            init_image: None,
            strength: STRENGTH,
            fault: None,
        }
    }
}

/// What the embeddings depend on, beside the models: when it changes, the prompts are encoded again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Texts {
    prompt: String,
    negative_prompt: String,
    prompt_syntax: PromptSyntax,
    clip_skip: usize,
    loras: InTextEncoder,
}

impl Request {
    /// What the embeddings depend on.
    pub fn texts(&self) -> Texts {
        Texts {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone(),
            prompt_syntax: self.prompt_syntax,
            clip_skip: self.clip_skip,
            loras: InTextEncoder::of(self),
        }
    }

    /// Default settings for `models` with a prompt: their native size, and the steps and guidance scale of their preset or of
    /// diffusers, 50 and 7.5.
    pub fn for_models(models: &Models, prompt: impl Into<String>) -> Self {
        let (height, width) = models.native_size();
        let scheduler = models.scheduler.clone();
        let loras = models.loras.iter().map(|lora| LoraScale::of(lora)).collect();
        let mut request = Self { prompt: prompt.into(), height, width, scheduler, loras, ..Self::default() };
        if let Some(preset) = models.preset {
            request.num_inference_steps = preset.num_inference_steps;
            request.guidance_scale = preset.guidance_scale;
        }
        request
    }

    /// The LoRAs that the prompt names, in a syntax that has them (A1111's `<lora:NAME:SCALE>`), by the names that settings have.
    pub fn loras_of_prompt(&self) -> Vec<LoraScale> {
        let parsed = self.prompt_syntax.parse(&self.prompt, Side::Prompt);
        let loras = parsed.map(|parsed| parsed.loras).unwrap_or_default();
        loras.iter().map(|lora| LoraScale::recorded(&name_of(&lora.name), lora.scale)).collect()
    }

    /// Sets the prompt. The LoRAs that it names get its scales.
    pub fn set_prompt(&mut self, prompt: String) {
        self.with_scales_of_prompt(|request| request.prompt = prompt);
    }

    /// Sets the syntax of the prompts. The LoRAs that the prompt names in it get its scales.
    pub fn set_prompt_syntax(&mut self, syntax: PromptSyntax) {
        self.with_scales_of_prompt(|request| request.prompt_syntax = syntax);
    }

    /// Changes the prompt. The LoRAs that it names then get its scales, and those that it named before and no longer does are off.
    fn with_scales_of_prompt(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.loras_of_prompt();
        change(self);
        let after = self.loras_of_prompt();
        for lora in &mut self.loras {
            // Named twice, it has both scales.
            let scales = after.iter().filter(|named| named.name == lora.name).map(|named| named.scale);
            match scales.reduce(|sum, scale| sum + scale) {
                Some(scale) => lora.scale = scale,
                None if before.iter().any(|named| named.name == lora.name) => lora.scale = 0.,
                None => {}
            }
        }
    }

    /// The scale of the LoRA `name`.
    pub fn lora(&self, name: &str) -> Option<&LoraScale> {
        self.loras.iter().find(|lora| lora.name == name)
    }

    /// The calls of `denoise` that run: all of the scheduler's timesteps, or with a start image the last `strength` ·
    /// `num_inference_steps` steps (diffusers `StableDiffusionImg2ImgPipeline.get_timesteps`).
    pub fn steps(&self) -> Range<usize> {
        let (n, config) = (self.num_inference_steps, self.scheduler.config());
        let calls = config.class.num_calls(config, n);
        if self.init_image.is_none() {
            return 0..calls;
        }
        let init_timestep = ((n as f64 * self.strength) as usize).min(n);
        let t_start = n - init_timestep;
        t_start.saturating_mul(config.class.order()).min(calls)..calls
    }

    /// This request with what it leaves to the models: the checkpoint's own scheduler if it has none yet, and the scales of LoRAs.
    pub fn completed(mut self, models: &Models) -> Self {
        loras::completed(&mut self, models);
        if self.scheduler.is_unset() {
            self.scheduler = models.scheduler.clone();
        }
        self
    }

    /// Checks that `models` can run this: sizes, numbers, steps and memory. Returns the scheduler of the run.
    ///
    /// # Errors
    /// [`RequestError`] names the setting, what was found and what would be right.
    pub fn check(&self, models: &Models) -> Result<Arc<dyn Scheduler>, RequestError> {
        for (name, text) in [("prompt", &self.prompt), ("negative_prompt", &self.negative_prompt)] {
            let found = if text.len() > MOST_PROMPT {
                tr!("has {} bytes", text.len())
            } else if let Some(at) = text.find('\0') {
                tr!("has a NUL character at byte {at}", at)
            } else {
                continue;
            };
            return Err(RequestError::Prompt { name, found });
        }
        if self.prompt_syntax != PromptSyntax::Plain {
            self.prompt_syntax.tokenize([&self.negative_prompt, &self.prompt], &models.tokenizer)?;
        }
        let layers = models.text_encoder.config().num_hidden_layers;
        if self.clip_skip > layers {
            return Err(RequestError::ClipSkip { found: self.clip_skip, layers });
        }
        for lora in &self.loras {
            if !models.loras.iter().any(|loaded| loaded.name == lora.name) {
                let loaded: Vec<&str> = models.loras.iter().map(|lora| lora.name.as_str()).collect();
                return Err(RequestError::Lora { name: lora.name.clone(), loaded: loaded.join(", ") });
            }
            if lora.scale.is_nan() || lora.scale.abs() > MOST_SCALE {
                return Err(RequestError::LoraScale { name: lora.name.clone(), found: lora.scale });
            }
        }
        let multiple = models.vae.config().scale_factor();
        for (name, found) in [("width", self.width), ("height", self.height)] {
            if found == 0 || found % multiple != 0 {
                let nearest = found.saturating_add(multiple / 2) / multiple * multiple;
                let nearest = if nearest > 0 && found > 0 {
                    tr!(", such as {nearest}", nearest)
                } else {
                    String::new()
                };
                return Err(RequestError::Size { name, found, multiple, nearest });
            }
        }
        for (name, found) in [("guidance_scale", self.guidance_scale), ("eta", self.eta)] {
            if !found.is_finite() {
                return Err(RequestError::NotFinite { name, found });
            }
        }
        if !(0. ..=1.).contains(&self.strength) {
            return Err(RequestError::Strength(self.strength));
        }
        let choice = if self.scheduler.is_unset() { &models.scheduler } else { &self.scheduler };
        let mut config = choice.config().clone();
        if let Some(fault @ Fault::EpsilonForV) = self.fault {
            if config.prediction_type != PredictionType::VPrediction {
                let why =
                    tr!("these models predict {}; expected v_prediction", config.prediction_type.name());
                return Err(RequestError::Fault { fault, why });
            }
            config.prediction_type = PredictionType::Epsilon;
        }
        let scheduler = scheduler(&config, self.num_inference_steps, self.eta)?;
        let needed = memory::needed_by_run(models, self.height, self.width);
        match memory::available() {
            Some(available) if models.device.is_cpu() && needed > u128::from(available) => {
                let largest = memory::largest(models, (self.height, self.width), multiple, available.into());
                Err(RequestError::Memory {
                    width: self.width,
                    height: self.height,
                    needed: memory::human(needed),
                    available: memory::human(available.into()),
                    largest,
                    fits: largest.map_or(String::new(), |size| tr!(", such as {}", memory::flags(size))),
                })
            }
            _ => Ok(scheduler),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(n: usize, strength: f64) -> Range<usize> {
        let mut request = Request { num_inference_steps: n, strength, ..Request::default() };
        assert_eq!(request.steps(), 0..n);
        request.init_image = Some(InitImage::open("sample:apple").unwrap());
        request.steps()
    }

    #[test]
    fn with_a_start_image_only_the_last_steps_run() {
        assert_eq!(steps(10, 0.6), 4..10);
        // int() truncates: 0.29 · 100 is 28.999… in f64, as in Python.
        assert_eq!(steps(100, 0.29), 72..100);
        assert_eq!(steps(50, 1.), 0..50);
        assert_eq!(steps(10, 0.), 10..10);
        assert_eq!(steps(10, 0.09), 10..10);
    }
}

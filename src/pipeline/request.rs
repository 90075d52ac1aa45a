//! The settings of a run.

use super::Models;
use super::fault::Fault;
use super::init_image::InitImage;
use super::memory;
use super::seed::Seed;
use crate::scheduler::config::PredictionType;
use crate::scheduler::{DdimScheduler, ScheduleError};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// diffusers' default.
pub const STRENGTH: f64 = 0.8;

/// The longest prompt that is taken, in bytes: a model reads 75 tokens of it.
pub const MOST_PROMPT: usize = 100_000;

/// What a run is asked to do, by diffusers' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What the picture shall show.
    pub prompt: String,
    /// What it shall not show; empty for nothing in particular.
    pub negative_prompt: String,
    /// Height of the picture in pixels.
    pub height: usize,
    /// Width of the picture in pixels.
    pub width: usize,
    /// How many steps of `denoise` there are.
    pub num_inference_steps: usize,
    /// How far to go from the unconditional residual to the text-conditioned one, and beyond.
    pub guidance_scale: f64,
    /// What the first noise is drawn from, as `torch.Generator("cpu").manual_seed(seed)`.
    pub seed: Seed,
    /// How much fresh noise each step adds: 0 none (DDIM), 1 as much as DDPM.
    pub eta: f64,
    /// A picture to start from, in the place of noise alone. In JSON it is its name, from which it is not read back.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<InitImage>,
    /// How much of the run a picture to start from leaves to be done: 0 none of it, 1 all.
    pub strength: f64,
    /// A mistake that is made on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What is wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A height or width that the VAE cannot make.
    #[error("{name} is {found}; expected a multiple of {multiple}{nearest}")]
    Size {
        /// `height` or `width`.
        name: &'static str,
        /// The number asked for.
        found: usize,
        /// How many pixels a latent stands for.
        multiple: usize,
        /// The multiple nearest to it, said.
        nearest: String,
    },
    /// A prompt that nobody wrote: a file that was taken for one, or with what no text holds.
    #[error("{name} {found}; expected text of at most {MOST_PROMPT} bytes, of which a model reads 75 tokens")]
    Prompt {
        /// `prompt` or `negative_prompt`.
        name: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// A number that is NaN or infinite.
    #[error("{name} is {found}; expected a finite number")]
    NotFinite {
        /// `guidance_scale` or `eta`.
        name: &'static str,
        /// The number asked for.
        found: f64,
    },
    /// A strength that is no share of a run.
    #[error("strength is {0}; expected 0 to 1: how much of the run an init_image leaves to be done")]
    Strength(f64),
    /// The number of steps or eta does not work with the model's scheduler.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A mistake that cannot be made with these models.
    #[error("{fault}: {why}")]
    Fault {
        /// The mistake.
        fault: Fault,
        /// Why it cannot.
        why: String,
    },
    /// The run is larger than the machine.
    #[error(
        "{width}×{height} pixels need about {needed} of memory and {available} are free; expected a smaller width and height{fits}"
    )]
    Memory {
        /// The width asked for.
        width: usize,
        /// The height asked for.
        height: usize,
        /// What the run would take.
        needed: String,
        /// What there is.
        available: String,
        /// The largest height and width of that shape that would fit, where any does.
        largest: Option<(usize, usize)>,
        /// What asks for that size, after `such as`; empty where none fits.
        fits: String,
    },
}

impl RequestError {
    /// With commands of a session in the place of the program's flags.
    pub fn in_session(self) -> Self {
        match self {
            Self::Memory { width, height, needed, available, largest, fits } => {
                let commands =
                    |(height, width)| format!(", such as `set width {width}` and `set height {height}`");
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
            height: 0,
            width: 0,
            num_inference_steps: 50,
            guidance_scale: 7.5,
            seed: Seed::default(),
            eta: 0.,
            init_image: None,
            strength: STRENGTH,
            fault: None,
        }
    }
}

impl Request {
    /// The settings that `models` are meant for, with a prompt: their own size, and their preset's steps and scale or diffusers'
    /// 50 and 7.5.
    pub fn for_models(models: &Models, prompt: impl Into<String>) -> Self {
        let (height, width) = models.native_size();
        let mut request = Self { prompt: prompt.into(), height, width, ..Self::default() };
        if let Some(preset) = models.preset {
            request.num_inference_steps = preset.num_inference_steps;
            request.guidance_scale = preset.guidance_scale;
        }
        request
    }

    /// The steps of `denoise` that run, of `num_inference_steps`: all, or of a run that starts from a picture the last, as many
    /// as `strength` says (diffusers `StableDiffusionImg2ImgPipeline.get_timesteps`). None at strength 0.
    pub fn steps(&self) -> Range<usize> {
        let n = self.num_inference_steps;
        if self.init_image.is_none() {
            return 0..n;
        }
        let init_timestep = ((n as f64 * self.strength) as usize).min(n);
        let t_start = n - init_timestep;
        t_start..n
    }

    /// Whether `models` can run this: sizes, numbers, steps and memory. The scheduler of the run, when they can.
    ///
    /// # Errors
    /// [`RequestError`] names the setting, what it is and what would be right.
    pub fn check(&self, models: &Models) -> Result<DdimScheduler, RequestError> {
        for (name, text) in [("prompt", &self.prompt), ("negative_prompt", &self.negative_prompt)] {
            let found = if text.len() > MOST_PROMPT {
                format!("has {} bytes", text.len())
            } else if let Some(at) = text.find('\0') {
                format!("has a NUL character at byte {at}")
            } else {
                continue;
            };
            return Err(RequestError::Prompt { name, found });
        }
        let multiple = models.vae.config().scale_factor();
        for (name, found) in [("width", self.width), ("height", self.height)] {
            if found == 0 || found % multiple != 0 {
                let nearest = found.saturating_add(multiple / 2) / multiple * multiple;
                let nearest =
                    if nearest > 0 && found > 0 { format!(", such as {nearest}") } else { String::new() };
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
        let mut config = models.scheduler.clone();
        if let Some(fault @ Fault::EpsilonForV) = self.fault {
            if config.prediction_type != PredictionType::VPrediction {
                let why =
                    format!("these models predict {}; expected v_prediction", config.prediction_type.name());
                return Err(RequestError::Fault { fault, why });
            }
            config.prediction_type = PredictionType::Epsilon;
        }
        let scheduler = DdimScheduler::new(&config, self.num_inference_steps, self.eta)?;
        let needed = memory::needed_by_run(models, self.height, self.width);
        match memory::available() {
            Some(available) if models.device.is_cpu() && needed > u128::from(available) => {
                let largest = memory::largest(models, (self.height, self.width), multiple, available.into());
                Err(RequestError::Memory {
                    width: self.width,
                    height: self.height,
                    needed: memory::said(needed),
                    available: memory::said(available.into()),
                    largest,
                    fits: largest.map_or(String::new(), |size| format!(", such as {}", memory::flags(size))),
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
    fn a_picture_leaves_the_last_steps() {
        assert_eq!(steps(10, 0.6), 4..10);
        // int() cuts: 0.29 · 100 is 28.999… in f64, in Python too.
        assert_eq!(steps(100, 0.29), 72..100);
        assert_eq!(steps(50, 1.), 0..50);
        assert_eq!(steps(10, 0.), 10..10);
        assert_eq!(steps(10, 0.09), 10..10);
    }
}

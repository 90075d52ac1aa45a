//! The settings of a run.

use super::Models;
use super::fault::Fault;
use super::memory;
use crate::scheduler::config::PredictionType;
use crate::scheduler::{DdimScheduler, ScheduleError};
use serde::{Deserialize, Serialize};

/// What a run is asked to do, by diffusers' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub seed: i64,
    /// How much fresh noise each step adds: 0 none (DDIM), 1 as much as DDPM.
    pub eta: f64,
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
    /// A number that is NaN or infinite.
    #[error("{name} is {found}; expected a finite number")]
    NotFinite {
        /// `guidance_scale` or `eta`.
        name: &'static str,
        /// The number asked for.
        found: f64,
    },
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
        "{width}×{height} pixels need about {needed} of memory and {available} are free; expected a smaller width and height"
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
    },
}

impl Request {
    /// The settings that `models` are meant for, with a prompt: their own size, diffusers' 50 steps and scale 7.5.
    pub fn for_models(models: &Models, prompt: impl Into<String>) -> Self {
        let (height, width) = models.native_size();
        Self {
            prompt: prompt.into(),
            negative_prompt: String::new(),
            height,
            width,
            num_inference_steps: 50,
            guidance_scale: 7.5,
            seed: 0,
            eta: 0.,
            fault: None,
        }
    }

    /// Whether `models` can run this: sizes, numbers, steps and memory. The scheduler of the run, when they can.
    ///
    /// # Errors
    /// [`RequestError`] names the setting, what it is and what would be right.
    pub fn check(&self, models: &Models) -> Result<DdimScheduler, RequestError> {
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
                Err(RequestError::Memory {
                    width: self.width,
                    height: self.height,
                    needed: memory::said(needed),
                    available: memory::said(available.into()),
                })
            }
            _ => Ok(scheduler),
        }
    }
}

//! What DPM-Solver and UniPC share: a noise level as α, σ and λ, and the check of their timesteps.

use super::config::SchedulerConfig;
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::spacing;
use candle_core::{Result, Tensor};

/// A noise level: the sample is α · x₀ + σ · ε with α² + σ² = 1.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// The signal's share.
    pub alpha: f64,
    /// The noise's share.
    pub sigma: f64,
    /// log(α / σ): infinite without noise.
    pub lambda: f64,
}

impl Level {
    /// The level of σ / α (diffusers `_sigma_to_alpha_sigma_t`).
    pub fn of(sigma: f32) -> Self {
        let sigma = f64::from(sigma);
        let alpha = 1. / (sigma * sigma + 1.).sqrt();
        Self { alpha, sigma: sigma * alpha, lambda: -sigma.ln() }
    }
}

/// The schedule of a run of `steps`.
///
/// # Errors
/// When the number of steps is impossible, or the first timestep comes twice: diffusers begins at the second then, and fails at the
/// end.
pub fn schedule(config: &SchedulerConfig, steps: usize) -> std::result::Result<SigmaSchedule, ScheduleError> {
    let schedule = SigmaSchedule::new(config, steps)?;
    spacing::check(config, steps, &schedule.timesteps)?;
    match schedule.timesteps.as_slice() {
        [first, second, ..] if first == second => {
            Err(ScheduleError::RepeatedStart { class: config.class.name(), timestep: *first, steps })
        }
        _ => Ok(schedule),
    }
}

/// α · x₀ + σ · ε.
pub fn add_noise(original_samples: &Tensor, noise: &Tensor, sigma: f32) -> Result<Tensor> {
    let level = Level::of(sigma);
    (original_samples * level.alpha)? + (noise * level.sigma)?
}

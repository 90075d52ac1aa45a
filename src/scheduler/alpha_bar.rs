//! The schedule of the classes that work in ᾱ: DDIM, DDPM, PNDM and LCM.

use super::betas;
use super::class::Class;
use super::config::{PredictionType, SchedulerConfig};
use super::schedule_error::{ScheduleError, SpacingError};
use super::spacing;
use candle_core::{Result, Tensor};

/// ᾱ of every training timestep, and the timesteps of a run.
#[derive(Debug, Clone)]
pub struct AlphaBar {
    alphas_cumprod: Vec<f32>,
    final_alpha_cumprod: f32,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
}

impl AlphaBar {
    /// The schedule of a run of `steps`.
    ///
    /// # Errors
    /// When the number of steps is impossible.
    pub fn new(config: &SchedulerConfig, steps: usize) -> std::result::Result<Self, ScheduleError> {
        let timesteps = spacing::timesteps(config, steps)?;
        Ok(Self::of(config, steps, timesteps)?)
    }

    /// The schedule of a run of `steps` with a class's own timesteps.
    ///
    /// # Errors
    /// When they would mean nothing.
    pub fn of(
        config: &SchedulerConfig,
        steps: usize,
        timesteps: Vec<f64>,
    ) -> std::result::Result<Self, SpacingError> {
        spacing::check(config, steps, &timesteps)?;
        let alphas_cumprod = betas::alphas_cumprod(config);
        // DDPM's ends at 1 and has no argument for it.
        let ends_at_one = config.set_alpha_to_one || config.class == Class::Ddpm;
        let final_alpha_cumprod = if ends_at_one { 1. } else { alphas_cumprod[0] };
        let alphas = timesteps.iter().map(|t| alphas_cumprod[*t as usize]).chain([final_alpha_cumprod]);
        let sigmas = alphas.map(|alpha| ((1. - alpha) / alpha).sqrt()).collect();
        Ok(Self { alphas_cumprod, final_alpha_cumprod, timesteps, sigmas })
    }

    /// Refuses a run that visits a timestep without signal, at which a prediction of noise says nothing about x₀.
    ///
    /// # Errors
    /// [`ScheduleError::PureNoise`].
    pub fn check_pure_noise(&self, config: &SchedulerConfig) -> std::result::Result<(), ScheduleError> {
        let is_noise = |t: &&f64| self.alpha_prod(**t as i64) == 0.;
        match self.timesteps.iter().find(is_noise) {
            Some(t) if config.prediction_type == PredictionType::Epsilon => {
                Err(ScheduleError::PureNoise { timestep: *t as usize })
            }
            _ => Ok(()),
        }
    }

    /// The timesteps of the run, from noise to image: whole numbers.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// Sigma of each timestep, and of the result.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// ᾱ of a training timestep; below 0, that after the last step.
    pub fn alpha_prod(&self, timestep: i64) -> f32 {
        let last = self.alphas_cumprod.len() - 1;
        usize::try_from(timestep).map_or(self.final_alpha_cumprod, |t| self.alphas_cumprod[t.min(last)])
    }

    /// √ᾱ_t · x₀ + √(1−ᾱ_t) · ε (Ho et al., 2020, equation 4).
    ///
    /// # Errors
    /// When the shapes differ, or the device fails.
    pub fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        let alpha_prod_t = self.alpha_prod(self.timesteps[index] as i64);
        let sqrt = |x: f32| f64::from(x.sqrt());
        (original_samples * sqrt(alpha_prod_t))? + (noise * sqrt(1. - alpha_prod_t))?
    }
}

//! `EulerDiscreteScheduler` (Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models").
//!
//! The sample is x₀ + σ · ε, not √ᾱ · x₀ + √(1−ᾱ) · ε: σ is √((1−ᾱ) / ᾱ), and `scale` turns one into the other.

use super::config::{SchedulerConfig, TimestepSpacing};
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::spacing;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::Working;
use candle_core::{Result, Tensor};

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct EulerDiscreteScheduler {
    config: SchedulerConfig,
    schedule: SigmaSchedule,
}

impl EulerDiscreteScheduler {
    /// The scheduler of a run with `num_inference_steps`.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &SchedulerConfig,
        num_inference_steps: usize,
    ) -> std::result::Result<Self, ScheduleError> {
        let schedule = SigmaSchedule::new(config, num_inference_steps)?;
        spacing::check(config, num_inference_steps, &schedule.timesteps)?;
        Ok(Self { config: config.clone(), schedule })
    }
}

impl Scheduler for EulerDiscreteScheduler {
    fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    fn timesteps(&self) -> &[f64] {
        &self.schedule.timesteps
    }

    fn sigmas(&self) -> &[f32] {
        &self.schedule.sigmas
    }

    fn init_noise_sigma(&self) -> f64 {
        init_noise_sigma(&self.config, &self.schedule)
    }

    fn scale_model_input(&self, sample: &Tensor, index: usize) -> Result<Tensor> {
        scale(sample, self.schedule.sigmas[index])
    }

    fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        add_noise(original_samples, noise, self.schedule.sigmas[index])
    }

    /// diffusers `EulerDiscreteScheduler.step`, without churn.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let sigmas = &self.schedule.sigmas;
        let mut step = Working::new(self, input, "Karras et al., 2022, algorithm 2 without lines 6 to 8");
        let sigma = step.number("σ", "sigma", sigmas[input.index]);
        let sigma_next = step.number("σ'", "sigma_next", sigmas[input.index + 1]);
        let dt = step.number("σ'−σ", "dt", sigma_next - sigma);

        // The denoiser D(x; σ)
        step.prediction_in_sigma(&self.config, sigma)?;
        // Line 4, dx/dσ
        step.divided(
            "derivative",
            ["d = (x − x̂₀) / σ", "(sample − pred_original_sample) / sigma"],
            &[(1., "sample"), (-1., "pred_original_sample")],
            sigma,
        )?;
        // Line 5, Euler's method
        step.combine(
            "prev_sample",
            ["x' = x + (σ' − σ) · d", "sample + dt · derivative"],
            &[(1., "sample"), (dt, "derivative")],
        )?;
        step.finish(history.next(vec![]))
    }
}

/// The standard deviation of the first sample: the largest sigma, and under leading spacing, which begins below it, with the
/// signal's variance of 1.
pub(super) fn init_noise_sigma(config: &SchedulerConfig, schedule: &SigmaSchedule) -> f64 {
    let max = schedule.max();
    match config.timestep_spacing {
        TimestepSpacing::Linspace | TimestepSpacing::Trailing => f64::from(max),
        TimestepSpacing::Leading => f64::from((max * max + 1.).sqrt()),
    }
}

/// x₀ + σ · ε → √ᾱ · x₀ + √(1−ᾱ) · ε, on which the model was trained.
pub(super) fn scale(sample: &Tensor, sigma: f32) -> Result<Tensor> {
    sample / f64::from((sigma * sigma + 1.).sqrt())
}

/// x₀ + σ · ε.
pub(super) fn add_noise(original_samples: &Tensor, noise: &Tensor, sigma: f32) -> Result<Tensor> {
    original_samples + (noise * f64::from(sigma))?
}

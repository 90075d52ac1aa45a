//! `EulerAncestralDiscreteScheduler` (Crowson, k-diffusion: `sample_euler_ancestral`; Song et al., 2021, formula 16, in sigma).

use super::config::SchedulerConfig;
use super::euler::{add_noise, init_noise_sigma, scale};
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::spacing;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::Working;
use candle_core::{Result, Tensor};

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct EulerAncestralDiscreteScheduler {
    config: SchedulerConfig,
    schedule: SigmaSchedule,
}

impl EulerAncestralDiscreteScheduler {
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

impl Scheduler for EulerAncestralDiscreteScheduler {
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

    /// Every step draws. The last one's noise is multiplied by 0.
    fn draws_noise(&self, _index: usize) -> bool {
        true
    }

    /// diffusers `EulerAncestralDiscreteScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let sigmas = &self.schedule.sigmas;
        let mut step = Working::new(self, input, "k-diffusion, sample_euler_ancestral");
        let sigma = step.number("σ", "sigma", sigmas[input.index]);
        let sigma_next = step.number("σ'", "sigma_next", sigmas[input.index + 1]);

        // The result's noise level σ' is reached in two parts: down to σ_down, and up again with new noise.
        let share = (sigma * sigma - sigma_next * sigma_next) / (sigma * sigma);
        let sigma_up = step.number("σ_up", "sigma_up", (sigma_next * sigma_next * share).sqrt());
        let sigma_down =
            step.number("σ_down", "sigma_down", (sigma_next * sigma_next - sigma_up * sigma_up).sqrt());
        let dt = step.number("σ_down−σ", "dt", sigma_down - sigma);

        step.prediction_in_sigma(&self.config, sigma)?;
        step.divided(
            "derivative",
            ["d = (x − x̂₀) / σ", "(sample − pred_original_sample) / sigma"],
            &[(1., "sample"), (-1., "pred_original_sample")],
            sigma,
        )?;
        step.combine(
            "prev_sample",
            ["x' = x + (σ_down − σ) · d + σ_up · z", "sample + dt · derivative + sigma_up · variance_noise"],
            &[(1., "sample"), (dt, "derivative"), (sigma_up, "variance_noise")],
        )?;
        step.finish(history.next(vec![]))
    }
}

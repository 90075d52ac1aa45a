//! `DDPMScheduler` (Ho et al., 2020, "Denoising Diffusion Probabilistic Models").

use super::alpha_bar::AlphaBar;
use super::config::{SchedulerConfig, VarianceType};
use super::schedule_error::ScheduleError;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Notation, Working};
use candle_core::{Result, Tensor};

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct DdpmScheduler {
    config: SchedulerConfig,
    schedule: AlphaBar,
}

impl DdpmScheduler {
    /// The scheduler of a run with `num_inference_steps`.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &SchedulerConfig,
        num_inference_steps: usize,
    ) -> std::result::Result<Self, ScheduleError> {
        let schedule = AlphaBar::new(config, num_inference_steps)?;
        schedule.check_pure_noise(config)?;
        Ok(Self { config: config.clone(), schedule })
    }
}

impl Scheduler for DdpmScheduler {
    fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    fn timesteps(&self) -> &[f64] {
        self.schedule.timesteps()
    }

    fn sigmas(&self) -> &[f32] {
        self.schedule.sigmas()
    }

    /// Equation 4.
    fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.schedule.add_noise(original_samples, noise, index)
    }

    /// Timestep 0 draws none; under Stable Diffusion's `steps_offset` a run ends at 1, and every step draws.
    fn draws_noise(&self, index: usize) -> bool {
        self.schedule.timesteps()[index] > 0.
    }

    /// diffusers `DDPMScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let timesteps = self.schedule.timesteps();
        let prev_t = timesteps.get(input.index + 1).map_or(-1, |t| *t as i64);
        let alpha_prod_t = self.schedule.alpha_prod(timesteps[input.index] as i64);
        let alpha_prod_t_prev = self.schedule.alpha_prod(prev_t);
        let (beta_prod_t, beta_prod_t_prev) = (1. - alpha_prod_t, 1. - alpha_prod_t_prev);
        let current_alpha_t = alpha_prod_t / alpha_prod_t_prev;
        let current_beta_t = 1. - current_alpha_t;
        let sqrt = |x: f32| f64::from(x.sqrt());

        let mut step = Working::new(self, input, "Ho et al., 2020, equations 7 and 15");
        step.number("ᾱ_t", "alpha_prod_t", alpha_prod_t);
        step.number("ᾱ_prev", "alpha_prod_t_prev", alpha_prod_t_prev);
        step.number("α_t", "current_alpha_t", current_alpha_t);
        step.number("β_t", "current_beta_t", current_beta_t);

        // x̂₀ of equation (15)
        let alpha_sigma = [sqrt(alpha_prod_t), sqrt(beta_prod_t)];
        step.predictions(&self.config, alpha_sigma, Notation::AlphaBar)?;

        // μ̃_t of equation (7), and β̃_t or β_t of section 3.2
        let of_x0 = f64::from(alpha_prod_t_prev.sqrt() * current_beta_t / beta_prod_t);
        let of_sample = f64::from(current_alpha_t.sqrt() * beta_prod_t_prev / beta_prod_t);
        let mut terms = vec![(of_x0, "pred_original_sample"), (of_sample, "sample")];
        let mut names = [
            "x_prev = (√ᾱ_prev · β_t · x̂₀ + √α_t · (1−ᾱ_prev) · x_t) / (1−ᾱ_t)",
            "pred_original_sample_coeff · pred_original_sample + current_sample_coeff · sample",
        ];
        if self.draws_noise(input.index) {
            let small = (beta_prod_t_prev / beta_prod_t * current_beta_t).max(1e-20);
            let variance = match self.config.variance_type {
                VarianceType::FixedSmall | VarianceType::FixedSmallLog => small,
                VarianceType::FixedLarge => current_beta_t,
            };
            step.number("σ_t²", "variance", variance);
            let std_dev_t = step.number("σ_t", "std_dev_t", sqrt(variance));
            terms.push((std_dev_t, "variance_noise"));
            names = [
                "x_prev = (√ᾱ_prev · β_t · x̂₀ + √α_t · (1−ᾱ_prev) · x_t) / (1−ᾱ_t) + σ_t · z",
                "pred_original_sample_coeff · pred_original_sample + current_sample_coeff · sample + √variance · variance_noise",
            ];
        }
        step.combine("prev_sample", names, &terms)?;
        step.finish(history.next(vec![]))
    }
}

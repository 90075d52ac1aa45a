//! `LCMScheduler` (Luo et al., 2023, "Latent Consistency Models").

use super::alpha_bar::AlphaBar;
use super::config::SchedulerConfig;
use super::schedule_error::ScheduleError;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Notation, Working};
use candle_core::{Result, Tensor};

/// The standard deviation that the boundary condition takes the data to have.
const SIGMA_DATA: f64 = 0.5;

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct LcmScheduler {
    config: SchedulerConfig,
    schedule: AlphaBar,
}

impl LcmScheduler {
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

impl Scheduler for LcmScheduler {
    fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    fn timesteps(&self) -> &[f64] {
        self.schedule.timesteps()
    }

    fn sigmas(&self) -> &[f32] {
        self.schedule.sigmas()
    }

    fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.schedule.add_noise(original_samples, noise, index)
    }

    /// Every step but the last returns to a noise level.
    fn draws_noise(&self, index: usize) -> bool {
        index + 1 < self.schedule.timesteps().len()
    }

    /// Algorithm 3, multistep latent consistency sampling (diffusers `LCMScheduler.step`).
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let timesteps = self.schedule.timesteps();
        let t = timesteps[input.index];
        let prev_t = timesteps.get(input.index + 1).copied().unwrap_or(t);
        let alpha_prod_t = self.schedule.alpha_prod(t as i64);
        let alpha_prod_t_prev = self.schedule.alpha_prod(prev_t as i64);
        let sqrt = |x: f32| f64::from(x.sqrt());

        let mut step = Working::new(self, input, "Luo et al., 2023, algorithm 3 and equation 9");
        step.number("ᾱ_t", "alpha_prod_t", alpha_prod_t);
        step.number("ᾱ_prev", "alpha_prod_t_prev", alpha_prod_t_prev);
        let alpha_sigma = [sqrt(alpha_prod_t), sqrt(1. - alpha_prod_t)];
        step.predictions(&self.config, alpha_sigma, Notation::AlphaBar)?;

        // The boundary condition f(x, 0) = x of equation (9): c_skip is 1 and c_out is 0 at timestep 0.
        let scaled = t * self.config.timestep_scaling;
        let total = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let c_skip = step.number("c_skip", "c_skip", SIGMA_DATA * SIGMA_DATA / total);
        let c_out = step.number("c_out", "c_out", scaled / total.sqrt());
        step.combine(
            "denoised",
            ["f = c_out · x̂₀ + c_skip · x_t", "c_out · pred_original_sample + c_skip · sample"],
            &[(c_out, "pred_original_sample"), (c_skip, "sample")],
        )?;

        if self.draws_noise(input.index) {
            step.combine(
                "prev_sample",
                [
                    "x_prev = √ᾱ_prev · f + √(1−ᾱ_prev) · z",
                    "√alpha_prod_t_prev · denoised + √beta_prod_t_prev · variance_noise",
                ],
                &[(sqrt(alpha_prod_t_prev), "denoised"), (sqrt(1. - alpha_prod_t_prev), "variance_noise")],
            )?;
        } else {
            step.combine("prev_sample", ["x_prev = f", "denoised"], &[(1., "denoised")])?;
        }
        step.finish(history.next(vec![]))
    }
}

//! `HeunDiscreteScheduler` (Karras et al., 2022, algorithm 1): two calls of the model a step, the last step one.

use super::config::SchedulerConfig;
use super::euler::{add_noise, init_noise_sigma, scale};
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::spacing;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::Working;
use candle_core::{Result, Tensor};
use tr::tr;

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct HeunDiscreteScheduler {
    config: SchedulerConfig,
    schedule: SigmaSchedule,
}

impl HeunDiscreteScheduler {
    /// The scheduler of a run with `num_inference_steps`.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &SchedulerConfig,
        num_inference_steps: usize,
    ) -> std::result::Result<Self, ScheduleError> {
        let SigmaSchedule { timesteps, sigmas } = SigmaSchedule::new(config, num_inference_steps)?;
        // Every noise level but the first and the result's is visited twice: as a step's end, and as the next one's start.
        let timesteps: Vec<f64> =
            timesteps.iter().enumerate().flat_map(|(i, t)| vec![*t; if i == 0 { 1 } else { 2 }]).collect();
        let last = sigmas.len() - 1;
        let sigmas = sigmas
            .iter()
            .enumerate()
            .flat_map(|(i, sigma)| vec![*sigma; if i == 0 || i == last { 1 } else { 2 }])
            .collect();
        spacing::check(config, num_inference_steps, &timesteps)?;
        Ok(Self { config: config.clone(), schedule: SigmaSchedule { timesteps, sigmas } })
    }
}

impl Scheduler for HeunDiscreteScheduler {
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

    /// diffusers `HeunDiscreteScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        if history.calls.is_multiple_of(2) {
            self.first_call(input, history)
        } else {
            self.second_call(input, history)
        }
    }
}

impl HeunDiscreteScheduler {
    /// Euler's step from σ to σ'.
    fn first_call(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let sigmas = &self.schedule.sigmas;
        let mut step = Working::new(self, input, "Karras et al., 2022, algorithm 1, lines 4 and 5");
        let sigma = step.number("σ", "sigma", sigmas[input.index]);
        let sigma_next = step.number("σ'", "sigma_next", sigmas[input.index + 1]);
        let dt = step.number("σ'−σ", "dt", sigma_next - sigma);
        step.remark(match sigma_next == 0. {
            true => tr!("the only call of the last step: at σ' = 0 there is no second one"),
            false => tr!("the first of two calls: Euler's step; the second corrects it"),
        });

        step.prediction_in_sigma(&self.config, sigma)?;
        step.divided(
            "derivative",
            ["d = (x − x̂₀) / σ", "(sample − pred_original_sample) / sigma"],
            &[(1., "sample"), (-1., "pred_original_sample")],
            sigma,
        )?;
        step.combine(
            "prev_sample",
            ["x' = x + (σ' − σ) · d", "sample + dt · derivative"],
            &[(1., "sample"), (dt, "derivative")],
        )?;
        let remembered = vec![
            ("derivative_2", step.tensor("derivative")?.clone()),
            ("first_sample", input.sample.clone()),
        ];
        step.finish(history.next(remembered))
    }

    /// The step again from its start, with the mean of the derivatives at both ends.
    fn second_call(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let sigmas = &self.schedule.sigmas;
        let mut step = Working::new(self, input, "Karras et al., 2022, algorithm 1, lines 7 and 8");
        let sigma = step.number("σ", "sigma", sigmas[input.index - 1]);
        let sigma_next = step.number("σ'", "sigma_next", sigmas[input.index]);
        let dt = step.number("σ'−σ", "dt", sigma_next - sigma);
        step.remark(tr!("the second of two calls: the step again, with the mean of both derivatives"));
        step.recall(history, "derivative_2")?;
        step.recall(history, "first_sample")?;

        step.prediction_in_next_sigma(&self.config, sigma_next)?;
        step.divided(
            "derivative",
            ["d' = (x' − x̂₀) / σ'", "(sample − pred_original_sample) / sigma_next"],
            &[(1., "sample"), (-1., "pred_original_sample")],
            sigma_next,
        )?;
        step.divided(
            "mean_derivative",
            ["d̄ = (d + d') / 2", "(prev_derivative + derivative) / 2"],
            &[(1., "derivative_2"), (1., "derivative")],
            2.,
        )?;
        step.combine(
            "prev_sample",
            ["x' = x + (σ' − σ) · d̄", "first_sample + dt · mean_derivative"],
            &[(1., "first_sample"), (dt, "mean_derivative")],
        )?;
        step.finish(history.next(vec![]))
    }
}

//! `LMSDiscreteScheduler` (Crowson, k-diffusion: `sample_lms`): Adams and Bashforth's linear multistep method in sigma.

use super::config::SchedulerConfig;
use super::euler::{add_noise, init_noise_sigma, scale};
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::spacing;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Working, order_remark};
use candle_core::{Result, Tensor};

/// The most derivatives that a step uses.
const ORDER: usize = 4;
/// The derivatives of this step and of those before it.
const DERIVATIVES: [&str; ORDER] = ["derivative", "derivative_2", "derivative_3", "derivative_4"];

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct LmsDiscreteScheduler {
    config: SchedulerConfig,
    schedule: SigmaSchedule,
}

impl LmsDiscreteScheduler {
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

    /// The integral from σ_t to σ_{t+1} of the Lagrange polynomial that is 1 at σ_{t−current} and 0 at the other `order` − 1 sigmas
    /// (diffusers `get_lms_coefficient`).
    fn lms_coefficient(&self, order: usize, t: usize, current: usize) -> f64 {
        let sigma = |i: usize| f64::from(self.schedule.sigmas[i]);
        let polynomial = |tau: f64| {
            let others = (0..order).filter(|k| *k != current);
            others.map(|k| (tau - sigma(t - k)) / (sigma(t - current) - sigma(t - k))).product::<f64>()
        };
        // Gauss and Legendre's rule with two points is exact for cubic polynomials.
        let (middle, half) = ((sigma(t) + sigma(t + 1)) / 2., (sigma(t + 1) - sigma(t)) / 2.);
        let offset = half / 3f64.sqrt();
        half * (polynomial(middle - offset) + polynomial(middle + offset))
    }
}

impl Scheduler for LmsDiscreteScheduler {
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

    /// diffusers `LMSDiscreteScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let sigmas = &self.schedule.sigmas;
        let mut step = Working::new(self, input, "k-diffusion, sample_lms");
        let sigma = step.number("σ", "sigma", sigmas[input.index]);
        step.number("σ'", "sigma_next", sigmas[input.index + 1]);

        step.prediction_in_sigma(&self.config, sigma)?;
        step.divided(
            "derivative",
            ["d = (x − x̂₀) / σ", "(sample − pred_original_sample) / sigma"],
            &[(1., "sample"), (-1., "pred_original_sample")],
            sigma,
        )?;

        // The coefficients are those of the step's place in the schedule. A run that begins in the middle remembers fewer derivatives
        // than they are for; diffusers leaves the others out.
        let order = ORDER.min(input.index + 1);
        let used = order.min(history.calls + 1);
        let mut terms = vec![(1., "sample")];
        let mut remembered = vec![];
        for (place, name) in DERIVATIVES.into_iter().enumerate().take(used) {
            if place > 0 {
                step.recall(history, name)?;
            }
            terms.push((self.lms_coefficient(order, input.index, place), name));
            if let Some(next) = DERIVATIVES.get(place + 1) {
                remembered.push((*next, step.tensor(name)?.clone()));
            }
        }
        step.number("order", "order", used as f64);
        step.remark(order_remark(used, ORDER, history.calls, false));
        let symbols = [
            "x' = x + c₀ · d",
            "x' = x + c₀ · d + c₁ · d₋₁",
            "x' = x + c₀ · d + c₁ · d₋₁ + c₂ · d₋₂",
            "x' = x + c₀ · d + c₁ · d₋₁ + c₂ · d₋₂ + c₃ · d₋₃",
        ];
        let names = "sample + Σ lms_coeffs · derivatives";
        step.combine("prev_sample", [symbols[used - 1], names], &terms)?;
        step.finish(history.next(remembered))
    }
}

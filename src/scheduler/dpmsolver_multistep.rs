//! `DPMSolverMultistepScheduler` (Lu et al., 2022, "DPM-Solver" and "DPM-Solver++").
//!
//! The sample is α · x₀ + σ · ε. The solver steps in λ = log(α / σ), half the logarithm of the signal-to-noise ratio: from s₀ to t,
//! with what it found at s₁ and s₂ before. DPM-Solver++ works on x₀, DPM-Solver on ε.

use super::config::{AlgorithmType, SchedulerConfig, SolverType};
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::solver::{Level, add_noise, schedule};
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Notation, Working, order_remark};
use candle_core::{Result, Tensor};

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct DpmSolverMultistepScheduler {
    config: SchedulerConfig,
    schedule: SigmaSchedule,
}

impl DpmSolverMultistepScheduler {
    /// The scheduler of a run with `num_inference_steps`.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &SchedulerConfig,
        num_inference_steps: usize,
    ) -> std::result::Result<Self, ScheduleError> {
        let schedule = schedule(config, num_inference_steps)?;
        Ok(Self { config: config.clone(), schedule })
    }

    /// The order of a step after `calls` others, and whether it is one of the last, which have a lower one.
    fn order(&self, index: usize, calls: usize) -> (usize, bool) {
        let config = &self.config;
        let (all, left) = (self.schedule.timesteps.len(), self.schedule.timesteps.len() - index);
        let is_short = config.lower_order_final && all < 15;
        let ends_at_zero = self.schedule.sigmas.last() == Some(&0.);
        let lower_order_final = left == 1 && (config.euler_at_final || is_short || ends_at_zero);
        let lower_order_second = left == 2 && is_short;
        let most = config.solver_order.min(calls + 1);
        match (lower_order_final, lower_order_second) {
            (true, _) => (1, config.solver_order > 1),
            (false, true) => (most.min(2), most > 2),
            (false, false) => (most, false),
        }
    }
}

impl Scheduler for DpmSolverMultistepScheduler {
    fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    fn timesteps(&self) -> &[f64] {
        &self.schedule.timesteps
    }

    fn sigmas(&self) -> &[f32] {
        &self.schedule.sigmas
    }

    fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        add_noise(original_samples, noise, self.schedule.sigmas[index])
    }

    fn draws_noise(&self, _index: usize) -> bool {
        self.config.algorithm_type.is_stochastic()
    }

    /// diffusers `DPMSolverMultistepScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let (order, is_last) = self.order(input.index, history.calls);
        let at = |index: usize| Level::of(self.schedule.sigmas[index]);
        let (t, s0) = (at(input.index + 1), at(input.index));
        let h = t.lambda - s0.lambda;

        let mut step = Working::new(self, input, source(self.config.algorithm_type));
        step.number("σ/α", "sigma", self.schedule.sigmas[input.index]);
        step.number("(σ/α)'", "sigma_next", self.schedule.sigmas[input.index + 1]);
        step.number("λ_s", "lambda_s0", s0.lambda);
        step.number("λ_t", "lambda_t", t.lambda);
        step.number("h", "h", h);
        step.number("order", "order", order as f64);
        step.remark(order_remark(order, self.config.solver_order, history.calls, is_last));

        // m₀: x₀, or ε
        step.predictions(&self.config, [s0.alpha, s0.sigma], Notation::AlphaSigma)?;
        let is_x0 = self.config.algorithm_type.predicts_x0();
        if !is_x0 && self.config.thresholding {
            step.combine(
                "pred_epsilon",
                ["ε̂ = (x − α · x̂₀) / σ", "(sample − alpha_t · pred_original_sample) / sigma_t"],
                &[(1. / s0.sigma, "sample"), (-s0.alpha / s0.sigma, "pred_original_sample")],
            )?;
        }
        let m0 = if is_x0 { "pred_original_sample" } else { "pred_epsilon" };

        let mut terms = self.terms(h, [t, s0], m0);
        if order > 1 {
            let s1 = at(input.index - 1);
            let r0 = step.number("r₀", "r0", (s0.lambda - s1.lambda) / h);
            step.recall(history, "m1")?;
            if order == 2 {
                step.combine(
                    "D1",
                    ["D₁ = (m₀ − m₁) / r₀", "(1 / r0) · (m0 − m1)"],
                    &[(1. / r0, m0), (-1. / r0, "m1")],
                )?;
            } else {
                let s2 = at(input.index - 2);
                let r1 = step.number("r₁", "r1", (s1.lambda - s2.lambda) / h);
                step.recall(history, "m2")?;
                differences(&mut step, m0, [r0, r1])?;
                terms.push((self.of_second_difference(h, t), "D2"));
            }
            terms.push((self.of_first_difference(h, t, order), "D1"));
        }
        if input.noise.is_some() {
            terms.push((self.of_noise(h, t), "variance_noise"));
        }
        step.combine("prev_sample", symbols(self.config.algorithm_type, order), &terms)?;

        let mut remembered = vec![("m1", step.tensor(m0)?.clone())];
        remembered.extend(history.tensor("m1").map(|m1| ("m2", m1.clone())));
        step.finish(history.next(remembered))
    }
}

/// D₁ and D₂ of the third order, from m₀, m₁, m₂ (diffusers `multistep_dpm_solver_third_order_update`).
fn differences(step: &mut Working<'_>, m0: &'static str, [r0, r1]: [f64; 2]) -> Result<()> {
    step.combine(
        "D1_0",
        ["D₁₀ = (m₀ − m₁) / r₀", "(1 / r0) · (m0 − m1)"],
        &[(1. / r0, m0), (-1. / r0, "m1")],
    )?;
    step.combine(
        "D1_1",
        ["D₁₁ = (m₁ − m₂) / r₁", "(1 / r1) · (m1 − m2)"],
        &[(1. / r1, "m1"), (-1. / r1, "m2")],
    )?;
    let total = r0 + r1;
    step.combine(
        "D2",
        ["D₂ = (D₁₀ − D₁₁) / (r₀ + r₁)", "(1 / (r0 + r1)) · (D1_0 − D1_1)"],
        &[(1. / total, "D1_0"), (-1. / total, "D1_1")],
    )?;
    step.combine(
        "D1",
        ["D₁ = D₁₀ + r₀ · D₂", "D1_0 + (r0 / (r0 + r1)) · (D1_0 − D1_1)"],
        &[(1., "D1_0"), (r0, "D2")],
    )
}

/// The factors of an algorithm; φ are those of the paper's appendix.
impl DpmSolverMultistepScheduler {
    /// The sample and m₀: order 1.
    fn terms(&self, h: f64, [t, s0]: [Level; 2], m0: &'static str) -> Vec<(f64, &'static str)> {
        let [of_sample, of_output] = match self.config.algorithm_type {
            AlgorithmType::DpmSolverPlusPlus => [t.sigma / s0.sigma, -t.alpha * (-h).exp_m1()],
            AlgorithmType::DpmSolver => [t.alpha / s0.alpha, -t.sigma * h.exp_m1()],
            AlgorithmType::SdeDpmSolverPlusPlus => {
                [t.sigma / s0.sigma * (-h).exp(), -t.alpha * (-2. * h).exp_m1()]
            }
            AlgorithmType::SdeDpmSolver => [t.alpha / s0.alpha, -2. * t.sigma * h.exp_m1()],
        };
        vec![(of_sample, "sample"), (of_output, m0)]
    }

    fn of_first_difference(&self, h: f64, t: Level, order: usize) -> f64 {
        // The third order has Heun's form.
        let is_heun = order == 3 || self.config.solver_type == SolverType::Heun;
        match (self.config.algorithm_type, is_heun) {
            (AlgorithmType::DpmSolverPlusPlus, false) => -0.5 * t.alpha * (-h).exp_m1(),
            (AlgorithmType::DpmSolverPlusPlus, true) => t.alpha * ((-h).exp_m1() / h + 1.),
            (AlgorithmType::DpmSolver, false) => -0.5 * t.sigma * h.exp_m1(),
            (AlgorithmType::DpmSolver, true) => -t.sigma * (h.exp_m1() / h - 1.),
            (AlgorithmType::SdeDpmSolverPlusPlus, false) => -0.5 * t.alpha * (-2. * h).exp_m1(),
            (AlgorithmType::SdeDpmSolverPlusPlus, true) => t.alpha * ((-2. * h).exp_m1() / (2. * h) + 1.),
            (AlgorithmType::SdeDpmSolver, false) => -t.sigma * h.exp_m1(),
            (AlgorithmType::SdeDpmSolver, true) => -2. * t.sigma * (h.exp_m1() / h - 1.),
        }
    }

    fn of_second_difference(&self, h: f64, t: Level) -> f64 {
        match self.config.algorithm_type {
            AlgorithmType::DpmSolverPlusPlus => -t.alpha * (((-h).exp_m1() + h) / (h * h) - 0.5),
            AlgorithmType::SdeDpmSolverPlusPlus => {
                let twice = 2. * h;
                t.alpha * ((-(-twice).exp_m1() - twice) / (twice * twice) - 0.5)
            }
            // diffusers has no third order of the SDE in ε, and `arguments::check` refuses it.
            AlgorithmType::DpmSolver | AlgorithmType::SdeDpmSolver => {
                -t.sigma * ((h.exp_m1() - h) / (h * h) - 0.5)
            }
        }
    }

    fn of_noise(&self, h: f64, t: Level) -> f64 {
        match self.config.algorithm_type {
            AlgorithmType::SdeDpmSolver => t.sigma * (2. * h).exp_m1().sqrt(),
            _ => t.sigma * (-(-2. * h).exp_m1()).sqrt(),
        }
    }
}

fn source(algorithm: AlgorithmType) -> &'static str {
    match algorithm {
        AlgorithmType::DpmSolver => "Lu et al., 2022, \"DPM-Solver\", equations 3.7 and 4.1",
        AlgorithmType::DpmSolverPlusPlus => "Lu et al., 2022, \"DPM-Solver++\", algorithm 2",
        AlgorithmType::SdeDpmSolver | AlgorithmType::SdeDpmSolverPlusPlus => {
            "Lu et al., 2022, \"DPM-Solver++\", section 6 and appendix B"
        }
    }
}

/// The last formula in symbols and in names.
fn symbols(algorithm: AlgorithmType, order: usize) -> [&'static str; 2] {
    let place = order.clamp(1, 3) - 1;
    match algorithm {
        AlgorithmType::DpmSolverPlusPlus => [
            [
                "x_t = σ_t/σ_s · x − α_t (e⁻ʰ − 1) · m₀",
                "(sigma_t / sigma_s0) · sample − alpha_t · (exp(−h) − 1) · D0",
            ],
            [
                "x_t = σ_t/σ_s · x − α_t (e⁻ʰ − 1) · (m₀ + D₁ / 2)",
                "(sigma_t / sigma_s0) · sample − alpha_t · (exp(−h) − 1) · D0 − 0.5 · alpha_t · (exp(−h) − 1) · D1",
            ],
            [
                "x_t = σ_t/σ_s · x − α_t (e⁻ʰ − 1) · m₀ + α_t φ₂ · D₁ − α_t φ₃ · D₂",
                "(sigma_t / sigma_s0) · sample − alpha_t · (exp(−h) − 1) · D0 + … · D1 − … · D2",
            ],
        ][place],
        AlgorithmType::DpmSolver => [
            [
                "x_t = α_t/α_s · x − σ_t (eʰ − 1) · m₀",
                "(alpha_t / alpha_s0) · sample − sigma_t · (exp(h) − 1) · D0",
            ],
            [
                "x_t = α_t/α_s · x − σ_t (eʰ − 1) · (m₀ + D₁ / 2)",
                "(alpha_t / alpha_s0) · sample − sigma_t · (exp(h) − 1) · D0 − 0.5 · sigma_t · (exp(h) − 1) · D1",
            ],
            [
                "x_t = α_t/α_s · x − σ_t (eʰ − 1) · m₀ − σ_t φ₂ · D₁ − σ_t φ₃ · D₂",
                "(alpha_t / alpha_s0) · sample − sigma_t · (exp(h) − 1) · D0 − … · D1 − … · D2",
            ],
        ][place],
        AlgorithmType::SdeDpmSolverPlusPlus => [
            [
                "x_t = σ_t/σ_s e⁻ʰ · x + α_t (1 − e⁻²ʰ) · m₀ + σ_t √(1 − e⁻²ʰ) · z",
                "(sigma_t / sigma_s0 · exp(−h)) · sample + alpha_t · (1 − exp(−2h)) · D0 + … · noise",
            ],
            [
                "x_t = σ_t/σ_s e⁻ʰ · x + α_t (1 − e⁻²ʰ) · (m₀ + D₁ / 2) + σ_t √(1 − e⁻²ʰ) · z",
                "(sigma_t / sigma_s0 · exp(−h)) · sample + alpha_t · (1 − exp(−2h)) · (D0 + 0.5 · D1) + … · noise",
            ],
            [
                "x_t = σ_t/σ_s e⁻ʰ · x + α_t (1 − e⁻²ʰ) · m₀ + α_t φ₂ · D₁ + α_t φ₃ · D₂ + σ_t √(1 − e⁻²ʰ) · z",
                "(sigma_t / sigma_s0 · exp(−h)) · sample + … · D0 + … · D1 + … · D2 + … · noise",
            ],
        ][place],
        AlgorithmType::SdeDpmSolver => [
            [
                "x_t = α_t/α_s · x − 2 σ_t (eʰ − 1) · m₀ + σ_t √(e²ʰ − 1) · z",
                "(alpha_t / alpha_s0) · sample − 2 · sigma_t · (exp(h) − 1) · D0 + … · noise",
            ],
            [
                "x_t = α_t/α_s · x − 2 σ_t (eʰ − 1) · (m₀ + D₁ / 2) + σ_t √(e²ʰ − 1) · z",
                "(alpha_t / alpha_s0) · sample − 2 · sigma_t · (exp(h) − 1) · (D0 + 0.5 · D1) + … · noise",
            ],
            ["", ""],
        ][place],
    }
}

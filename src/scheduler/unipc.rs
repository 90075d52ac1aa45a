//! `UniPCMultistepScheduler` (Zhao et al., 2023, "UniPC: A Unified Predictor-Corrector Framework").
//!
//! Steps in λ = log(α / σ), as DPM-Solver does. A call of the model first corrects the step before with the new prediction (UniC),
//! then predicts the next sample (UniP).

use super::config::{SchedulerConfig, SolverType};
use super::schedule_error::ScheduleError;
use super::sigmas::SigmaSchedule;
use super::solver::{Level, add_noise, schedule};
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Notation, Working, order_remark};
use candle_core::{Result, Tensor};
use tr::tr;

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct UniPcMultistepScheduler {
    config: SchedulerConfig,
    schedule: SigmaSchedule,
}

/// The numbers of one update from s₀ to t, by predictor or corrector.
struct Update {
    t: Level,
    s0: Level,
    h: f64,
    /// r_k = (λ_sk − λ_s0) / h of the earlier predictions.
    rks: Vec<f64>,
    /// h φ₁(h) = e^h − 1, of −h where the solver works on x₀.
    h_phi_1: f64,
    /// B(h).
    b_h: f64,
    /// The right sides b of the paper's equation 5.
    b: Vec<f64>,
}

impl UniPcMultistepScheduler {
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

    /// The order of a step after `calls` others.
    fn order(&self, index: usize, calls: usize) -> usize {
        let left = self.schedule.timesteps.len() - index;
        let most = self.config.solver_order.min(calls + 1);
        if self.config.lower_order_final { most.min(left) } else { most }
    }

    /// Whether the call first corrects the step before.
    fn uses_corrector(&self, index: usize, calls: usize) -> bool {
        index > 0 && calls > 0 && !self.config.disable_corrector.contains(&(index - 1))
    }

    /// The update from the sigma at `from` to the next one.
    fn update(&self, from: usize, order: usize) -> Update {
        let at = |index: usize| Level::of(self.schedule.sigmas[index]);
        let (t, s0) = (at(from + 1), at(from));
        let h = t.lambda - s0.lambda;
        let rks = (1..order).map(|k| (at(from - k).lambda - s0.lambda) / h).collect();
        let hh = if self.config.predict_x0 { -h } else { h };
        let h_phi_1 = hh.exp_m1();
        let b_h = if self.config.solver_type == SolverType::Bh1 { hh } else { h_phi_1 };
        let (mut h_phi_k, mut factorial) = (h_phi_1 / hh - 1., 1.);
        let mut b = vec![];
        for i in 1..=order {
            b.push(h_phi_k * factorial / b_h);
            factorial *= (i + 1) as f64;
            h_phi_k = h_phi_k / hh - 1. / factorial;
        }
        Update { t, s0, h, rks, h_phi_1, b_h, b }
    }

    /// The sample and m₀: what both updates begin with.
    fn terms(&self, update: &Update, sample: &'static str, m0: &'static str) -> Vec<(f64, &'static str)> {
        let Update { t, s0, h_phi_1, .. } = update;
        if self.config.predict_x0 {
            vec![(t.sigma / s0.sigma, sample), (-t.alpha * h_phi_1, m0)]
        } else {
            vec![(t.alpha / s0.alpha, sample), (-t.sigma * h_phi_1, m0)]
        }
    }

    /// The factor of differences: α_t B(h), or σ_t B(h).
    fn of_differences(&self, update: &Update) -> f64 {
        if self.config.predict_x0 { update.t.alpha * update.b_h } else { update.t.sigma * update.b_h }
    }
}

impl Update {
    /// ρ of the predictor: equation 5 without its last row.
    fn predictor(&self) -> Vec<f64> {
        match self.rks.as_slice() {
            [] => vec![],
            // The first row alone, as diffusers simplifies it.
            [_] => vec![0.5],
            rks => solve(rks, &self.b[..rks.len()]),
        }
    }

    /// ρ of the corrector: equation 5, with the new prediction at r = 1.
    fn corrector(&self) -> Vec<f64> {
        if self.rks.is_empty() {
            return vec![0.5];
        }
        let rks: Vec<f64> = self.rks.iter().copied().chain([1.]).collect();
        solve(&rks, &self.b)
    }
}

/// ρ with Σ_k r_k^i · ρ_k = b_i: Cramer's rule for two or three unknowns.
fn solve(rks: &[f64], b: &[f64]) -> Vec<f64> {
    match (rks, b) {
        (&[r1, r2], &[b1, b2]) => {
            let determinant = r2 - r1;
            vec![(b1 * r2 - b2) / determinant, (b2 - b1 * r1) / determinant]
        }
        (&[r1, r2, r3], &[b1, b2, b3]) => {
            // Lagrange: ρ_k is the functional b applied to the polynomial that is 1 at r_k and 0 at the others.
            let rho = |r: f64, s: f64, t: f64| (b3 - (s + t) * b2 + s * t * b1) / ((r - s) * (r - t));
            vec![rho(r1, r2, r3), rho(r2, r1, r3), rho(r3, r1, r2)]
        }
        _ => vec![f64::NAN; rks.len()],
    }
}

impl Scheduler for UniPcMultistepScheduler {
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

    /// diffusers `UniPCMultistepScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let (index, calls) = (input.index, history.calls);
        let mut step = Working::new(self, input, "Zhao et al., 2023, algorithms 1 and 2");
        step.number("σ/α", "sigma", self.schedule.sigmas[index]);
        step.number("(σ/α)'", "sigma_next", self.schedule.sigmas[index + 1]);
        let level = Level::of(self.schedule.sigmas[index]);
        step.predictions(&self.config, [level.alpha, level.sigma], Notation::AlphaSigma)?;
        let m0 = if self.config.predict_x0 { "pred_original_sample" } else { "pred_epsilon" };
        for name in ["m1", "m2", "m3"].into_iter().filter(|name| history.tensor(name).is_some()) {
            step.recall(history, name)?;
        }

        let mut sample = "sample";
        if self.uses_corrector(index, calls) {
            self.correct(&mut step, history, m0, self.order(index - 1, calls - 1))?;
            sample = "corrected_sample";
        } else {
            step.remark(tr!("no corrector: there is no earlier step, or disable_corrector has it"));
        }

        let order = self.order(index, calls);
        let is_last = order < self.config.solver_order.min(calls + 1);
        step.number("order", "order", order as f64);
        step.remark(order_remark(order, self.config.solver_order, calls, is_last));
        let update = self.update(index, order);
        step.number("λ_s", "lambda_s0", update.s0.lambda);
        step.number("λ_t", "lambda_t", update.t.lambda);
        step.number("h", "h", update.h);
        // UniP, equation 3
        let mut terms = self.terms(&update, sample, m0);
        let factor = self.of_differences(&update);
        if !factor.is_finite() {
            // diffusers multiplies it by 0 where the order is 1, and gets NaN.
            candle_core::bail!("{}", tr!("B(h) is not finite in step {index}", index));
        }
        let names = ["D1", "D2"].into_iter().zip(["m1", "m2"]);
        for ((rho, r), (name, earlier)) in update.predictor().into_iter().zip(&update.rks).zip(names) {
            let terms_of = [(1. / r, earlier), (-1. / r, m0)];
            step.combine(name, ["D_k = (m_k − m₀) / r_k", "(mi − m0) / rk"], &terms_of)?;
            terms.push((-factor * rho, name));
        }
        let symbols = match (self.config.predict_x0, order) {
            (true, 1) => "x_t = σ_t/σ_s · x − α_t (e⁻ʰ − 1) · m₀",
            (true, _) => "x_t = σ_t/σ_s · x − α_t (e⁻ʰ − 1) · m₀ − α_t B(h) · Σ ρ_k D_k",
            (false, 1) => "x_t = α_t/α_s · x − σ_t (eʰ − 1) · m₀",
            (false, _) => "x_t = α_t/α_s · x − σ_t (eʰ − 1) · m₀ − σ_t B(h) · Σ ρ_k D_k",
        };
        step.combine("prev_sample", [symbols, "x_t_ − alpha_t · B_h · pred_res"], &terms)?;

        let mut remembered =
            vec![("m1", step.tensor(m0)?.clone()), ("last_sample", step.tensor(sample)?.clone())];
        for (from, to) in [("m1", "m2"), ("m2", "m3")] {
            remembered.extend(history.tensor(from).map(|tensor| (to, tensor.clone())));
        }
        step.finish(history.next(remembered))
    }
}

impl UniPcMultistepScheduler {
    /// UniC, equation 9: the step before again, with the new prediction m_t. Its m₀ is now m₁.
    fn correct(
        &self,
        step: &mut Working<'_>,
        history: &History,
        m_t: &'static str,
        order: usize,
    ) -> Result<()> {
        step.recall(history, "last_sample")?;
        step.remark(tr!("the corrector takes the step before again, with order {order}", order));
        let index = step.index();
        let update = self.update(index - 1, order);
        let mut terms = self.terms(&update, "last_sample", "m1");
        let factor = self.of_differences(&update);
        let rhos = update.corrector();
        let names = ["D1_c", "D2_c"].into_iter().zip(["m2", "m3"]);
        for ((rho, r), (name, earlier)) in rhos.iter().zip(&update.rks).zip(names) {
            let terms_of = [(1. / r, earlier), (-1. / r, "m1")];
            step.combine(name, ["D_k = (m_k − m₁) / r_k", "(mi − m0) / rk"], &terms_of)?;
            terms.push((-factor * rho, name));
        }
        step.combine("D1_t", ["D_t = m_t − m₁", "model_t − m0"], &[(1., m_t), (-1., "m1")])?;
        terms.push((-factor * rhos.last().copied().unwrap_or(f64::NAN), "D1_t"));
        let symbols = match self.config.predict_x0 {
            true => "x_c = σ_t/σ_s · x − α_t (e⁻ʰ − 1) · m₁ − α_t B(h) · (Σ ρ_k D_k + ρ_t D_t)",
            false => "x_c = α_t/α_s · x − σ_t (eʰ − 1) · m₁ − σ_t B(h) · (Σ ρ_k D_k + ρ_t D_t)",
        };
        let names = "x_t_ − alpha_t · B_h · (corr_res + rhos_c[-1] · D1_t)";
        step.combine("corrected_sample", [symbols, names], &terms)
    }
}

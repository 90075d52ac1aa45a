//! A step in the making: a formula is evaluated while it is noted, so that what is shown is what was computed.

use super::config::{PredictionType, SchedulerConfig};
use super::names::TENSORS;
use super::step::{Formula, History, Number, Scheduler, Step, StepFormulas, StepInput};
use candle_core::{Result, Tensor};
use tr::tr;

pub(super) const X0: &str = "pred_original_sample";
const EPSILON: &str = "pred_epsilon";

/// How a paper writes the signal's and the noise's share of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// √ᾱ_t and √(1−ᾱ_t), as DDPM and DDIM do.
    AlphaBar,
    /// α and σ, as DPM-Solver does.
    AlphaSigma,
    /// ᾱ at the timestep that the model gets, where the step itself is from another one (PNDM).
    Told,
}

/// A step in the making.
pub struct Working<'a> {
    input: StepInput<'a>,
    made: StepFormulas,
    tensors: Vec<(&'static str, Tensor)>,
}

impl<'a> Working<'a> {
    /// Begins a step; `source` is the paper and the equation.
    pub fn new(scheduler: &dyn Scheduler, input: StepInput<'a>, source: &'static str) -> Self {
        let timesteps = scheduler.timesteps();
        let made = StepFormulas {
            index: input.index,
            timestep: timesteps[input.index],
            prev_timestep: timesteps.get(input.index + 1).copied().unwrap_or(-1.),
            source,
            numbers: vec![],
            formulas: vec![],
            remarks: vec![],
        };
        Self { input, made, tensors: vec![] }
    }

    /// Which call of the model this is.
    pub fn index(&self) -> usize {
        self.input.index
    }

    /// Replaces the timestep that follows, where it is not the schedule's next one.
    pub fn set_prev_timestep(&mut self, prev_timestep: f64) {
        self.made.prev_timestep = prev_timestep;
    }

    /// Notes a number under the paper's symbol and diffusers' name.
    pub fn number(&mut self, symbol: &'static str, name: &'static str, value: impl Into<f64>) -> f64 {
        let value = value.into();
        self.made.numbers.push(Number { symbol, name, value });
        value
    }

    /// Notes a remark.
    pub fn remark(&mut self, text: String) {
        self.made.remarks.push(text);
    }

    /// Adds a tensor of an earlier step.
    ///
    /// # Errors
    /// When the history lacks it.
    pub fn recall(&mut self, history: &History, name: &'static str) -> Result<()> {
        match history.tensor(name) {
            Some(tensor) => self.tensors.push((name, tensor.clone())),
            None => candle_core::bail!("{}", tr!("the step before has left no {name}", name)),
        }
        Ok(())
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let own = || self.tensors.iter().rev().find(|(known, _)| *known == name).map(|(_, tensor)| tensor);
        let found = match name {
            "sample" => Some(self.input.sample),
            "model_output" => Some(self.input.model_output),
            "variance_noise" => self.input.noise,
            _ => own(),
        };
        match found {
            Some(tensor) => Ok(tensor),
            None => candle_core::bail!("{}", tr!("step {} has no {name}", self.input.index, name)),
        }
    }

    /// Computes `result`, the sum of `terms`, and notes the formula: in the paper's symbols, and its right side in diffusers'
    /// names.
    ///
    /// # Errors
    /// When a factor is not finite, a tensor is missing, or the device fails.
    pub fn combine(
        &mut self,
        result: &'static str,
        [symbols, names]: [&'static str; 2],
        terms: &[(f64, &'static str)],
    ) -> Result<()> {
        self.divided(result, [symbols, names], terms, 1.)
    }

    /// As [`combine`](Self::combine), divided by a number.
    ///
    /// # Errors
    /// As [`combine`](Self::combine), and when the divisor is 0.
    pub fn divided(
        &mut self,
        result: &'static str,
        [symbols, names]: [&'static str; 2],
        terms: &[(f64, &'static str)],
        divisor: f64,
    ) -> Result<()> {
        let terms = terms.to_vec();
        let formula = Formula { result, symbols, names, terms, divisor, is_bounded: false };
        let value = formula.evaluate(|name| self.tensor(name))?;
        self.tensors.retain(|(known, _)| *known != result);
        self.tensors.push((result, value));
        self.made.formulas.push(formula);
        Ok(())
    }

    /// x̂₀ and ε̂ of a prediction, where the sample is α · x₀ + σ · ε with α² = ᾱ and σ² = 1 − ᾱ. x̂₀ is clipped or thresholded as
    /// the configuration says.
    ///
    /// # Errors
    /// As [`combine`](Self::combine).
    pub fn predictions(
        &mut self,
        config: &SchedulerConfig,
        [alpha, sigma]: [f64; 2],
        notation: Notation,
    ) -> Result<()> {
        let [of_epsilon, of_sample, of_v, epsilon_of_v] = match notation {
            Notation::AlphaBar => [
                [
                    "x̂₀ = (x_t − √(1−ᾱ_t) · ε) / √ᾱ_t",
                    "(sample − √beta_prod_t · model_output) / √alpha_prod_t",
                ],
                [
                    "ε̂ = (x_t − √ᾱ_t · x̂₀) / √(1−ᾱ_t)",
                    "(sample − √alpha_prod_t · model_output) / √beta_prod_t",
                ],
                ["x̂₀ = √ᾱ_t · x_t − √(1−ᾱ_t) · v", "√alpha_prod_t · sample − √beta_prod_t · model_output"],
                ["ε̂ = √ᾱ_t · v + √(1−ᾱ_t) · x_t", "√alpha_prod_t · model_output + √beta_prod_t · sample"],
            ],
            Notation::Told => [
                ["x̂₀ = (x − √(1−ᾱ) · ε) / √ᾱ", "(sample − √(1 − alpha_prod) · model_output) / √alpha_prod"],
                ["ε̂ = (x − √ᾱ · x̂₀) / √(1−ᾱ)", "(sample − √alpha_prod · model_output) / √(1 − alpha_prod)"],
                ["x̂₀ = √ᾱ · x − √(1−ᾱ) · v", "√alpha_prod · sample − √(1 − alpha_prod) · model_output"],
                ["ε̂ = √ᾱ · v + √(1−ᾱ) · x", "√alpha_prod · model_output + √(1 − alpha_prod) · sample"],
            ],
            Notation::AlphaSigma => [
                ["x̂₀ = (x − σ · ε) / α", "(sample − sigma_t · model_output) / alpha_t"],
                ["ε̂ = (x − α · x̂₀) / σ", "(sample − alpha_t · model_output) / sigma_t"],
                ["x̂₀ = α · x − σ · v", "alpha_t · sample − sigma_t · model_output"],
                ["ε̂ = α · v + σ · x", "alpha_t · model_output + sigma_t · sample"],
            ],
        };
        match config.prediction_type {
            PredictionType::Epsilon => {
                self.divided(X0, of_epsilon, &[(1., "sample"), (-sigma, "model_output")], alpha)?;
                self.combine(EPSILON, ["ε̂ = the prediction", "model_output"], &[(1., "model_output")])?;
            }
            PredictionType::Sample => {
                self.combine(X0, ["x̂₀ = the prediction", "model_output"], &[(1., "model_output")])?;
                self.divided(EPSILON, of_sample, &[(1., "sample"), (-alpha, "model_output")], sigma)?;
            }
            PredictionType::VPrediction => {
                self.combine(X0, of_v, &[(alpha, "sample"), (-sigma, "model_output")])?;
                self.combine(EPSILON, epsilon_of_v, &[(alpha, "model_output"), (sigma, "sample")])?;
            }
        }
        self.bound(X0, config)
    }

    /// x̂₀ of a prediction, where the sample is x₀ + σ · ε.
    ///
    /// # Errors
    /// As [`combine`](Self::combine).
    pub fn prediction_in_sigma(&mut self, config: &SchedulerConfig, sigma: f64) -> Result<()> {
        let epsilon = ["x̂₀ = x − σ · ε", "sample − sigma · model_output"];
        let v = [
            "x̂₀ = x / (σ² + 1) − σ / √(σ² + 1) · v",
            "sample / (sigma² + 1) − sigma / √(sigma² + 1) · model_output",
        ];
        self.in_sigma(config, sigma, epsilon, v)
    }

    /// The same at the end of a step, where the sample is x₀ + σ' · ε: Heun's second call.
    ///
    /// # Errors
    /// As [`combine`](Self::combine).
    pub fn prediction_in_next_sigma(&mut self, config: &SchedulerConfig, sigma_next: f64) -> Result<()> {
        let epsilon = ["x̂₀ = x' − σ' · ε", "sample − sigma_next · model_output"];
        let v = [
            "x̂₀ = x' / (σ'² + 1) − σ' / √(σ'² + 1) · v",
            "sample / (sigma_next² + 1) − sigma_next / √(sigma_next² + 1) · model_output",
        ];
        self.in_sigma(config, sigma_next, epsilon, v)
    }

    fn in_sigma(
        &mut self,
        config: &SchedulerConfig,
        sigma: f64,
        epsilon: [&'static str; 2],
        v: [&'static str; 2],
    ) -> Result<()> {
        let total = sigma * sigma + 1.;
        match config.prediction_type {
            PredictionType::Epsilon => {
                self.combine(X0, epsilon, &[(1., "sample"), (-sigma, "model_output")])?;
            }
            PredictionType::Sample => {
                self.combine(X0, ["x̂₀ = the prediction", "model_output"], &[(1., "model_output")])?;
            }
            PredictionType::VPrediction => {
                let terms = [(1. / total, "sample"), (-sigma / total.sqrt(), "model_output")];
                self.combine(X0, v, &terms)?;
            }
        }
        self.bound(X0, config)
    }

    /// Clips or thresholds a tensor, as the configuration says.
    fn bound(&mut self, name: &'static str, config: &SchedulerConfig) -> Result<()> {
        if !config.is_bounded() {
            return Ok(());
        }
        let bounded = bounded(self.tensor(name)?, config)?;
        self.tensors.retain(|(known, _)| *known != name);
        self.tensors.push((name, bounded));
        for formula in self.made.formulas.iter_mut().filter(|formula| formula.result == name) {
            formula.is_bounded = true;
        }
        Ok(())
    }

    /// Ends the step with the tensor `prev_sample`.
    ///
    /// # Errors
    /// When no formula gave one.
    pub fn finish(mut self, history: History) -> Result<Step> {
        let prev_sample = self.tensor("prev_sample")?.clone();
        self.tensors.retain(|(name, _)| *name != "prev_sample");
        if let Some(noise) = self.input.noise {
            self.tensors.push(("variance_noise", noise.clone()));
        }
        let place = |name: &str| TENSORS.iter().position(|(known, _)| *known == name);
        self.tensors.sort_by_key(|(name, _)| place(name));
        Ok(Step { formulas: self.made, tensors: self.tensors, prev_sample, history })
    }
}

/// Says which order a step has, and why it is not the highest.
pub(super) fn order_remark(order: usize, highest: usize, calls: usize, is_last: bool) -> String {
    match (order < highest, is_last) {
        (false, _) => tr!("order {order}", order),
        (true, true) => tr!("order {order} of {highest}: one of the last steps", order, highest),
        (true, false) if calls == 1 => {
            tr!("order {order} of {highest}: one step to remember", order, highest)
        }
        (true, false) => tr!("order {order} of {highest}: {calls} steps to remember", order, highest, calls),
    }
}

/// A prediction of x₀, clipped or thresholded as the configuration says.
pub(super) fn bounded(tensor: &Tensor, config: &SchedulerConfig) -> Result<Tensor> {
    if config.thresholding {
        threshold_sample(tensor, config.dynamic_thresholding_ratio, config.sample_max_value)
    } else if config.clip_sample {
        let range = config.clip_sample_range as f32;
        tensor.clamp(-range, range)
    } else {
        Ok(tensor.clone())
    }
}

/// Dynamic thresholding: if the `ratio` quantile of |x| exceeds 1, values are clipped to it and divided by it (diffusers
/// `_threshold_sample`; Saharia et al., 2022, section 2.3). `sample` (1, C, h, w) → the same.
fn threshold_sample(sample: &Tensor, ratio: f64, max_value: f64) -> Result<Tensor> {
    let mut magnitudes = sample.abs()?.flatten_all()?.to_vec1::<f32>()?;
    magnitudes.sort_unstable_by(f32::total_cmp);
    let rank = ratio as f32 * (magnitudes.len() - 1) as f32;
    let (below, above) = (magnitudes[rank.floor() as usize], magnitudes[rank.ceil() as usize]);
    let quantile = below + (above - below) * rank.fract();
    let bound = quantile.clamp(1., (max_value as f32).max(1.));
    sample.clamp(-bound, bound)? / f64::from(bound)
}

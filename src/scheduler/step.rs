//! What every scheduler has in common: its schedule, and one step as data.
//!
//! A [`Step`] holds its numbers and tensors by name, and the formulas that connect them. So a view, a dump, an expression or a
//! report needs no knowledge of any one scheduler. [`Working`] evaluates a formula while it notes it: what is shown is what
//! was computed.

use super::config::{PredictionType, SchedulerConfig};
use candle_core::{Result, Tensor};
use std::fmt::Debug;
use tr::tr;

/// The scheduler of one run. `index` counts the run's calls of the model from 0.
pub trait Scheduler: Debug + Send + Sync {
    /// The class and its arguments.
    fn config(&self) -> &SchedulerConfig;

    /// What the model is given at each call, from noise to image. Some classes have fractions.
    fn timesteps(&self) -> &[f64];

    /// Sigma of each call, √((1 − ᾱ) / ᾱ): the noise beside a signal of its full size. One more follows, that of the result.
    fn sigmas(&self) -> &[f32];

    /// The factor of the initial noise.
    fn init_noise_sigma(&self) -> f64 {
        1.
    }

    /// The sample as the model expects it.
    ///
    /// # Errors
    /// When the device fails.
    fn scale_model_input(&self, sample: &Tensor, _index: usize) -> Result<Tensor> {
        Ok(sample.clone())
    }

    /// The forward process in one step: `original_samples` at the noise level of a call. `noise` is standard normal and has the
    /// same shape.
    ///
    /// # Errors
    /// When the shapes differ, or the device fails.
    fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor>;

    /// Whether the step draws noise of the sample's shape.
    fn draws_noise(&self, _index: usize) -> bool {
        false
    }

    /// One denoising step. `history` is that of the step before, empty at the first; the step returns the next one.
    ///
    /// # Errors
    /// When the shapes differ, noise is missing, a number is not finite, or the device fails.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step>;
}

/// What a step works on. All tensors have the shape of the latents.
#[derive(Debug, Clone, Copy)]
pub struct StepInput<'a> {
    /// Which call of the model this is, from 0.
    pub index: usize,
    /// The model's prediction.
    pub model_output: &'a Tensor,
    /// The latents.
    pub sample: &'a Tensor,
    /// Standard normal, where [`Scheduler::draws_noise`] asks for it.
    pub noise: Option<&'a Tensor>,
}

/// What a multistep method remembers. A value, so that a snapshot can hold it and a step can run again.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Calls of the model so far in this run, which in image to image begins in the middle of the schedule.
    pub calls: usize,
    /// Tensors of earlier steps by name.
    tensors: Vec<(&'static str, Tensor)>,
}

impl History {
    /// The history after another call, with these tensors.
    pub fn next(&self, tensors: Vec<(&'static str, Tensor)>) -> Self {
        Self { calls: self.calls + 1, tensors }
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor)
    }
}

/// One step with its intermediate values.
#[derive(Debug, Clone)]
pub struct Step {
    /// The step without its tensors.
    pub formulas: StepFormulas,
    /// Its tensors under diffusers' names, the history that it used among them.
    pub tensors: Vec<(&'static str, Tensor)>,
    /// The sample of the next step.
    pub prev_sample: Tensor,
    /// The history for the next step.
    pub history: History,
}

/// The numbers and formulas of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFormulas {
    /// Which call of the model this was, from 0.
    pub index: usize,
    /// What the model was given.
    pub timestep: f64,
    /// What it is given next, −1 after the last step; DDIM's and PNDM's own `prev_timestep`.
    pub prev_timestep: f64,
    /// Paper and equation.
    pub source: &'static str,
    /// The numbers of the step.
    pub numbers: Vec<Number>,
    /// How tensors follow from each other, in order. The last gives `prev_sample`.
    pub formulas: Vec<Formula>,
    /// What a reader should know: the order used, the part that a call has in a step.
    pub remarks: Vec<String>,
}

/// A timestep as it is shown: a whole number, or with two decimals.
pub fn timestep_text(t: f64) -> String {
    if t.fract() == 0. { format!("{t:.0}") } else { format!("{t:.2}") }
}

impl StepFormulas {
    /// `951 → 901`.
    pub fn timesteps_text(&self) -> String {
        format!("{} → {}", timestep_text(self.timestep), timestep_text(self.prev_timestep))
    }

    /// `pred_original_sample` as the step would have it from another prediction.
    ///
    /// # Errors
    /// When the shapes differ, or the device fails.
    pub fn pred_original_sample(
        &self,
        config: &SchedulerConfig,
        sample: &Tensor,
        model_output: &Tensor,
    ) -> Result<Option<Tensor>> {
        let Some(formula) = self.formulas.iter().find(|formula| formula.result == X0) else {
            return Ok(None);
        };
        let mut sum: Option<Tensor> = None;
        for (factor, name) in &formula.terms {
            let tensor = if *name == "sample" { sample } else { model_output };
            let term = (tensor * *factor)?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        sum.map(|sum| bounded(&(sum / formula.divisor)?, config)).transpose()
    }

    /// The number of that name.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|number| number.name == name).map(|number| number.value)
    }
}

/// A number of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// The paper's symbol.
    pub symbol: &'static str,
    /// diffusers' name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
}

/// `result` = (the sum of `terms`) / `divisor`, element by element.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// The tensor that the formula gives.
    pub result: &'static str,
    /// The formula in the paper's symbols.
    pub symbols: &'static str,
    /// Its right side in diffusers' names.
    pub names: &'static str,
    /// Factors and tensors: `sample`, `model_output`, `variance_noise`, or tensors of the step.
    pub terms: Vec<(f64, &'static str)>,
    /// The divisor, 1 where there is none.
    pub divisor: f64,
    /// Whether the result was then clipped or thresholded.
    pub is_bounded: bool,
}

/// The tensors of steps, in the order of computation. `sample`, `model_output` and `prev_sample` are the pipeline's
/// `latents` before the step, `guided_noise_residual` and `latents`.
pub const TENSORS: &[(&str, &str)] = &[
    ("pred_original_sample", "x₀ that the prediction stands for"),
    ("pred_epsilon", "the noise that the prediction stands for"),
    ("pred_sample_direction", "DDIM's direction to x_t"),
    ("denoised", "LCM's x₀ with the boundary condition"),
    ("derivative", "dx/dσ"),
    ("derivative_2", "dx/dσ of the step before"),
    ("derivative_3", "dx/dσ two steps before"),
    ("derivative_4", "dx/dσ three steps before"),
    ("first_sample", "Heun's sample before its first call"),
    ("mean_derivative", "Heun's mean of both derivatives"),
    ("m1", "x₀ or ε of the step before"),
    ("m2", "x₀ or ε two steps before"),
    ("m3", "x₀ or ε three steps before"),
    ("D1_c", "UniPC's first difference in the corrector"),
    ("D2_c", "its second one"),
    ("D1_t", "UniPC's difference to the new prediction"),
    ("last_sample", "UniPC's sample before its predictor"),
    ("corrected_sample", "UniPC's sample after its corrector"),
    ("D1_0", "DPM-Solver's difference of this step and the last"),
    ("D1_1", "the difference before it"),
    ("D2", "the second difference"),
    ("D1", "DPM-Solver's and UniPC's first difference"),
    ("cur_sample", "PNDM's sample before its first call"),
    ("cur_model_output", "the sum of Runge-Kutta's calls so far"),
    ("ets_2", "ε of the step before"),
    ("ets_3", "ε two steps before"),
    ("ets_4", "ε three steps before"),
    ("combined_output", "PNDM's combination of predictions"),
    ("variance_noise", "the noise that the step drew"),
];

/// The numbers of steps, for expressions: diffusers' names, and what they are.
pub const NUMBERS: &[(&str, &str)] = &[
    ("alpha_prod_t", "ᾱ at the step's timestep"),
    ("alpha_prod_t_prev", "ᾱ at the next timestep"),
    ("beta_prod_t", "1 − ᾱ at the step's timestep"),
    ("variance", "of the noise at eta 1"),
    ("std_dev_t", "σ_t, the standard deviation of new noise"),
    ("sigma", "the noise level of the step's input"),
    ("sigma_next", "the noise level of its result"),
    ("sigma_up", "the noise that Euler a adds"),
    ("sigma_down", "the noise level to which Euler a goes first"),
    ("dt", "the step in sigma"),
    ("lambda_t", "log(α / σ) of the result"),
    ("lambda_s0", "log(α / σ) of the input"),
    ("h", "the step in log(α / σ)"),
    ("r0", "the step before, as a part of this one"),
    ("r1", "the step before that, as a part of this one"),
    ("order", "the order of the step"),
    ("c_skip", "LCM's share of the sample"),
    ("c_out", "LCM's share of the prediction"),
    ("current_alpha_t", "ᾱ_t / ᾱ_prev"),
    ("current_beta_t", "1 − ᾱ_t / ᾱ_prev"),
    ("gap", "PNDM's ᾱ_prev − ᾱ_t"),
];

const X0: &str = "pred_original_sample";
const EPSILON: &str = "pred_epsilon";

/// How a paper writes the signal's and the noise's share of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// √ᾱ_t and √(1−ᾱ_t), as DDPM and DDIM do.
    AlphaBar,
    /// α and σ, as DPM-Solver does.
    AlphaSigma,
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
        if terms.iter().any(|(factor, _)| !factor.is_finite()) || !divisor.is_finite() || divisor == 0. {
            candle_core::bail!(
                "{}",
                tr!("{symbols}: a factor is not finite in step {}", self.input.index, symbols)
            );
        }
        let mut sum: Option<Tensor> = None;
        for (factor, name) in terms {
            let tensor = self.tensor(name)?;
            let scaled = if factor.abs() == 1. { tensor.clone() } else { (tensor * factor.abs())? };
            sum = Some(match sum {
                None if *factor < 0. => scaled.neg()?,
                None => scaled,
                Some(sum) if *factor < 0. => (sum - scaled)?,
                Some(sum) => (sum + scaled)?,
            });
        }
        let Some(sum) = sum else { candle_core::bail!("{}", tr!("{result} has no terms", result)) };
        let value = if divisor == 1. { sum } else { (sum / divisor)? };
        self.tensors.retain(|(known, _)| *known != result);
        self.tensors.push((result, value));
        self.made.formulas.push(Formula {
            result,
            symbols,
            names,
            terms: terms.to_vec(),
            divisor,
            is_bounded: false,
        });
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
        let total = sigma * sigma + 1.;
        match config.prediction_type {
            PredictionType::Epsilon => {
                let names = ["x̂₀ = x − σ · ε", "sample − sigma · model_output"];
                self.combine(X0, names, &[(1., "sample"), (-sigma, "model_output")])?;
            }
            PredictionType::Sample => {
                self.combine(X0, ["x̂₀ = the prediction", "model_output"], &[(1., "model_output")])?;
            }
            PredictionType::VPrediction => {
                let names = [
                    "x̂₀ = x / (σ² + 1) − σ / √(σ² + 1) · v",
                    "sample / (sigma² + 1) − sigma / √(sigma² + 1) · model_output",
                ];
                let terms = [(-sigma / total.sqrt(), "model_output"), (1. / total, "sample")];
                self.combine(X0, names, &terms)?;
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

impl Step {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor)
    }
}

/// Says which order a step has, and why it is not the highest.
pub(super) fn order_remark(order: usize, highest: usize, calls: usize, is_last: bool) -> String {
    match (order < highest, is_last) {
        (false, _) => tr!("order {order}", order),
        (true, true) => tr!("order {order} of {highest}: one of the last steps", order, highest),
        (true, false) => tr!("order {order} of {highest}: {calls} steps to remember", order, highest, calls),
    }
}

/// A prediction of x₀, clipped or thresholded as the configuration says.
fn bounded(tensor: &Tensor, config: &SchedulerConfig) -> Result<Tensor> {
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

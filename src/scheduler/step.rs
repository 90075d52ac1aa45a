//! What every scheduler has in common: its schedule, and one step as data.
//!
//! A [`Step`] holds its numbers and tensors by name, and the formulas that connect them. So a view, a dump, an expression or a
//! report needs no knowledge of any one scheduler. [`Working`](super::working::Working) makes one.

use super::config::SchedulerConfig;
use super::working::{X0, bounded};
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
        let predicted = formula.evaluate(|name| Ok(if name == "sample" { sample } else { model_output }))?;
        bounded(&predicted, config).map(Some)
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

impl Formula {
    /// The result, from the tensors of those names.
    ///
    /// # Errors
    /// When a factor is not finite, a tensor is missing, or the device fails.
    pub fn evaluate<'a>(&self, tensor: impl Fn(&str) -> Result<&'a Tensor>) -> Result<Tensor> {
        let is_finite = self.terms.iter().all(|(factor, _)| factor.is_finite());
        if !is_finite || !self.divisor.is_finite() || self.divisor == 0. {
            candle_core::bail!("{}", tr!("{}: a factor is not finite", self.symbols));
        }
        let mut sum: Option<Tensor> = None;
        for (factor, name) in &self.terms {
            let tensor = tensor(name)?;
            let scaled = if factor.abs() == 1. { tensor.clone() } else { (tensor * factor.abs())? };
            sum = Some(match sum {
                None if *factor < 0. => scaled.neg()?,
                None => scaled,
                Some(sum) if *factor < 0. => (sum - scaled)?,
                Some(sum) => (sum + scaled)?,
            });
        }
        let Some(sum) = sum else { candle_core::bail!("{}", tr!("{} has no terms", self.result)) };
        if self.divisor == 1. { Ok(sum) } else { sum / self.divisor }
    }
}

impl Step {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor)
    }
}

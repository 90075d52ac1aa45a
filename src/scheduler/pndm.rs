//! `PNDMScheduler` (Liu et al., 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds").
//!
//! Linear multistep (PLMS), which Stable Diffusion 1 was published with: its second timestep comes twice, because the first step is
//! corrected by a second call of the model. With `skip_prk_steps` false, three Runge-Kutta steps of four calls come first.

use super::alpha_bar::AlphaBar;
use super::config::{PredictionType, SchedulerConfig};
use super::schedule_error::ScheduleError;
use super::spacing;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Notation, Working, order_remark};
use candle_core::{Result, Tensor};
use tr::tr;

/// The predictions that a step uses.
const ORDER: usize = 4;
/// Earlier predictions, the latest first: diffusers' `ets[-2]`, `ets[-3]`, `ets[-4]`, where `ets[-1]` is the model's output.
const ETS: [&str; 3] = ["ets_2", "ets_3", "ets_4"];

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct PndmScheduler {
    config: SchedulerConfig,
    schedule: AlphaBar,
    /// The timesteps between two steps.
    stride: i64,
    /// The number of calls in Runge-Kutta steps.
    prk_calls: usize,
}

impl PndmScheduler {
    /// The scheduler of a run with `num_inference_steps`.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &SchedulerConfig,
        num_inference_steps: usize,
    ) -> std::result::Result<Self, ScheduleError> {
        let once = spacing::timesteps(config, num_inference_steps)?;
        if !config.skip_prk_steps && num_inference_steps < 4 {
            return Err(ScheduleError::TooFewForRungeKutta { found: num_inference_steps });
        }
        let stride = config.num_train_timesteps / num_inference_steps;
        let prk = if config.skip_prk_steps { vec![] } else { prk_timesteps(&once, stride) };
        let plms = if config.skip_prk_steps { plms_timesteps(&once) } else { once[3..].to_vec() };
        let prk_calls = prk.len();
        let timesteps = prk.into_iter().chain(plms).collect();
        let schedule = AlphaBar::of(config, num_inference_steps, timesteps)?;
        Ok(Self { config: config.clone(), schedule, stride: stride as i64, prk_calls })
    }
}

/// The second timestep twice. A single one stays single.
fn plms_timesteps(once: &[f64]) -> Vec<f64> {
    let repeated = once.get(1).copied();
    once.iter().take(1).copied().chain(repeated).chain(once.iter().skip(1).copied()).collect()
}

/// Four calls for each of the first three steps: at its start, twice in its middle, and at its end.
fn prk_timesteps(once: &[f64], stride: usize) -> Vec<f64> {
    let middle = (stride / 2) as f64;
    (0..3).flat_map(|i| [once[i], once[i + 1] + middle, once[i + 1] + middle, once[i + 1]]).collect()
}

impl Scheduler for PndmScheduler {
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

    /// diffusers `PNDMScheduler.step`. A run that begins in the middle counts its calls from there, and so takes its second call
    /// for the repeat of the first.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        if history.calls < self.prk_calls {
            self.step_prk(input, history)
        } else {
            self.step_plms(input, history)
        }
    }
}

impl PndmScheduler {
    fn timestep(&self, index: usize) -> i64 {
        self.schedule.timesteps()[index] as i64
    }

    /// What the prediction stands for, which diffusers leaves out.
    fn predictions(&self, step: &mut Working<'_>, timestep: i64) -> Result<()> {
        let alpha_prod = self.schedule.alpha_prod(timestep);
        step.number("ᾱ", "alpha_prod", alpha_prod);
        let alpha_sigma = [alpha_prod, 1. - alpha_prod].map(|x| f64::from(x.sqrt()));
        step.predictions(&self.config, alpha_sigma, Notation::Told)
    }

    /// Equation 12: linear multistep.
    fn step_plms(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let mut step = Working::new(self, input, "Liu et al., 2022, equations 9, 11 and 12");
        let told = self.timestep(input.index);
        self.predictions(&mut step, told)?;
        let is_repeat = history.calls == 1;
        let (timestep, prev_timestep) =
            if is_repeat { (told + self.stride, told) } else { (told, told - self.stride) };

        let earlier = ETS.into_iter().filter(|name| history.tensor(name).is_some()).collect::<Vec<_>>();
        for name in &earlier {
            step.recall(history, name)?;
        }
        let names = "a combination of ets";
        let sample = if is_repeat && earlier.len() == 1 {
            step.recall(history, "cur_sample")?;
            step.remark(tr!("the first step again, with the mean of both predictions"));
            let terms = [(1., "model_output"), (1., "ets_2")];
            step.divided("combined_output", ["ε' = (ε + ε₋₁) / 2", names], &terms, 2.)?;
            "cur_sample"
        } else {
            if history.calls == 0 {
                step.remark(tr!("the first of two calls: the second takes the same step again"));
            } else {
                step.remark(order_remark(earlier.len() + 1, ORDER, history.calls, false));
            }
            match earlier.len() {
                0 => {
                    step.combine("combined_output", ["ε' = ε", "model_output"], &[(1., "model_output")])?;
                }
                1 => {
                    let terms = [(3., "model_output"), (-1., "ets_2")];
                    step.divided("combined_output", ["ε' = (3 · ε − ε₋₁) / 2", names], &terms, 2.)?;
                }
                2 => {
                    let terms = [(23., "model_output"), (-16., "ets_2"), (5., "ets_3")];
                    let symbols = "ε' = (23 · ε − 16 · ε₋₁ + 5 · ε₋₂) / 12";
                    step.divided("combined_output", [symbols, names], &terms, 12.)?;
                }
                _ => {
                    let terms = [(55., "model_output"), (-59., "ets_2"), (37., "ets_3"), (-9., "ets_4")];
                    let symbols = "ε' = (55 · ε − 59 · ε₋₁ + 37 · ε₋₂ − 9 · ε₋₃) / 24";
                    step.divided("combined_output", [symbols, names], &terms, 24.)?;
                }
            }
            "sample"
        };
        self.prev_sample(&mut step, sample, [timestep, prev_timestep])?;

        let remembered = if is_repeat {
            ETS.into_iter().filter_map(|name| Some((name, history.tensor(name)?.clone()))).collect()
        } else {
            let mut remembered = vec![(ETS[0], input.model_output.clone())];
            for (from, to) in ETS.into_iter().zip(&ETS[1..]) {
                remembered.extend(history.tensor(from).map(|tensor| (*to, tensor.clone())));
            }
            if history.calls == 0 {
                remembered.push(("cur_sample", input.sample.clone()));
            }
            remembered
        };
        step.finish(history.next(remembered))
    }

    /// Equation 13: four calls a step, whose predictions are weighted 1/6, 1/3, 1/3, 1/6.
    fn step_prk(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let mut step = Working::new(self, input, "Liu et al., 2022, equations 11 and 13");
        let told = self.timestep(input.index);
        self.predictions(&mut step, told)?;
        let call = history.calls % 4;
        let half = if call.is_multiple_of(2) { self.stride / 2 } else { 0 };
        let timestep = self.timestep(history.calls / 4 * 4);
        step.remark(tr!("call {} of 4 in a Runge-Kutta step", call + 1));

        let mut sample = "sample";
        if call > 0 {
            step.recall(history, "cur_sample")?;
            step.recall(history, "cur_model_output")?;
            sample = "cur_sample";
        }
        let used = match call {
            3 => {
                step.combine(
                    "combined_output",
                    ["ε' = Σ + ε / 6", "cur_model_output + model_output / 6"],
                    &[(1., "cur_model_output"), (1. / 6., "model_output")],
                )?;
                "combined_output"
            }
            _ => "model_output",
        };
        self.prev_sample_of(&mut step, sample, used, [timestep, told - half])?;

        let mut remembered: Vec<_> =
            ETS.into_iter().filter_map(|name| Some((name, history.tensor(name)?.clone()))).collect();
        match call {
            0 => {
                remembered = vec![(ETS[0], input.model_output.clone())];
                for (from, to) in ETS.into_iter().zip(&ETS[1..]) {
                    remembered.extend(history.tensor(from).map(|tensor| (*to, tensor.clone())));
                }
                remembered.push(("cur_sample", input.sample.clone()));
                remembered.push(("cur_model_output", (input.model_output * (1. / 6.))?));
            }
            3 => (),
            _ => {
                let sum = (step.tensor("cur_model_output")? + (input.model_output * (1. / 3.))?)?;
                remembered.push(("cur_sample", step.tensor("cur_sample")?.clone()));
                remembered.push(("cur_model_output", sum));
            }
        }
        step.finish(history.next(remembered))
    }

    fn prev_sample(&self, step: &mut Working<'_>, sample: &'static str, timesteps: [i64; 2]) -> Result<()> {
        self.prev_sample_of(step, sample, "combined_output", timesteps)
    }

    /// Equation 11: from timestep t to t − δ along the prediction (diffusers `_get_prev_sample`).
    fn prev_sample_of(
        &self,
        step: &mut Working<'_>,
        sample: &'static str,
        output: &'static str,
        [timestep, prev_timestep]: [i64; 2],
    ) -> Result<()> {
        let alpha_prod_t = self.schedule.alpha_prod(timestep);
        let alpha_prod_t_prev = self.schedule.alpha_prod(prev_timestep);
        let (beta_prod_t, beta_prod_t_prev) = (1. - alpha_prod_t, 1. - alpha_prod_t_prev);
        step.set_prev_timestep(prev_timestep as f64);
        step.number("ᾱ_t", "alpha_prod_t", alpha_prod_t);
        step.number("ᾱ_prev", "alpha_prod_t_prev", alpha_prod_t_prev);
        let gap = step.number("ᾱ_prev−ᾱ_t", "gap", alpha_prod_t_prev - alpha_prod_t);

        let of_sample = f64::from((alpha_prod_t_prev / alpha_prod_t).sqrt());
        let denominator = f64::from(
            alpha_prod_t * beta_prod_t_prev.sqrt() + (alpha_prod_t * beta_prod_t * alpha_prod_t_prev).sqrt(),
        );
        let of_output = -gap / denominator;
        let mut terms = vec![(of_sample, sample), (of_output, output)];
        let mut symbols =
            "x_prev = √(ᾱ_prev/ᾱ_t) · x_t − (ᾱ_prev − ᾱ_t) / (ᾱ_t √(1−ᾱ_prev) + √(ᾱ_t (1−ᾱ_t) ᾱ_prev)) · ε'";
        if self.config.prediction_type == PredictionType::VPrediction {
            // ε' = √ᾱ_t · v' + √(1−ᾱ_t) · x_t
            let [alpha, sigma] = [alpha_prod_t, beta_prod_t].map(|x| f64::from(x.sqrt()));
            terms = vec![(of_sample + of_output * sigma, sample), (of_output * alpha, output)];
            symbols = "x_prev as in equation 11, with ε' = √ᾱ_t · v' + √(1−ᾱ_t) · x_t";
        }
        let names = "sample_coeff · sample − gap · output / model_output_denom_coeff";
        step.combine("prev_sample", [symbols, names], &terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::class::Class;

    fn timesteps(skip_prk_steps: bool, steps: usize) -> Vec<f64> {
        let config =
            SchedulerConfig { skip_prk_steps, steps_offset: 1, ..SchedulerConfig::defaults(Class::Pndm) };
        PndmScheduler::new(&config, steps).unwrap().timesteps().to_vec()
    }

    /// As diffusers 0.42.1 has them with Stable Diffusion 1.5's file.
    #[test]
    fn the_second_timestep_comes_twice() {
        assert_eq!(timesteps(true, 1), [1.]);
        assert_eq!(timesteps(true, 2), [501., 1., 1.]);
        assert_eq!(timesteps(true, 4), [751., 501., 501., 251., 1.]);
        let of_20 = timesteps(true, 20);
        assert_eq!((of_20.len(), &of_20[..4]), (21, &[951., 901., 901., 851.][..]));
    }

    #[test]
    fn runge_kutta_takes_three_steps() {
        let of_4 = timesteps(false, 4);
        assert_eq!(of_4, [751., 626., 626., 501., 501., 376., 376., 251., 251., 126., 126., 1., 1.]);
        let config = SchedulerConfig::defaults(Class::Pndm);
        assert!(matches!(
            PndmScheduler::new(&config, 3),
            Err(ScheduleError::TooFewForRungeKutta { found: 3 })
        ));
    }
}

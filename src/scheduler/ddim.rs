//! `DDIMScheduler` (Song et al., 2021, "Denoising Diffusion Implicit Models").
//!
//! The paper's α is diffusers' `alpha_prod`, ᾱ of Ho et al.; formula numbers are the paper's.

use super::alpha_bar::AlphaBar;
use super::config::SchedulerConfig;
use super::schedule_error::ScheduleError;
use super::step::{History, Scheduler, Step, StepInput};
use super::working::{Notation, Working};
use candle_core::{Result, Tensor};

/// The scheduler of one run.
#[derive(Debug, Clone)]
pub struct DdimScheduler {
    config: SchedulerConfig,
    schedule: AlphaBar,
    eta: f64,
}

/// The scalars of a step, under diffusers' names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// The timestep of the output, T / N less than that of the input; negative at the end of a run.
    pub prev_timestep: i64,
    /// ᾱ at the input's timestep: the signal's share of the sample's variance.
    pub alpha_prod_t: f32,
    /// ᾱ at `prev_timestep`.
    pub alpha_prod_t_prev: f32,
    /// 1 − `alpha_prod_t`: the noise's share of the variance.
    pub beta_prod_t: f32,
    /// The variance of formula 16 at eta 1.
    pub variance: f32,
    /// σ of formula 16: eta · √`variance`.
    pub std_dev_t: f32,
}

impl DdimScheduler {
    /// The scheduler of a run with `num_inference_steps`. `eta` 0 is deterministic (DDIM); 1 adds as much noise as DDPM.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &SchedulerConfig,
        num_inference_steps: usize,
        eta: f64,
    ) -> std::result::Result<Self, ScheduleError> {
        let schedule = AlphaBar::new(config, num_inference_steps)?;
        let scheduler = Self { config: config.clone(), schedule, eta };
        scheduler.check()?;
        Ok(scheduler)
    }

    /// The scalars of a step.
    pub fn coefficients(&self, index: usize) -> Coefficients {
        let timestep = self.schedule.timesteps()[index] as i64;
        let stride = self.config.num_train_timesteps / self.schedule.timesteps().len();
        let prev_timestep = timestep - stride as i64;
        let alpha_prod_t = self.schedule.alpha_prod(timestep);
        let alpha_prod_t_prev = self.schedule.alpha_prod(prev_timestep);
        let (beta_prod_t, beta_prod_t_prev) = (1. - alpha_prod_t, 1. - alpha_prod_t_prev);
        let variance = (beta_prod_t_prev / beta_prod_t) * (1. - alpha_prod_t / alpha_prod_t_prev);
        let std_dev_t = if self.eta == 0. { 0. } else { self.eta as f32 * variance.sqrt() };
        Coefficients { prev_timestep, alpha_prod_t, alpha_prod_t_prev, beta_prod_t, variance, std_dev_t }
    }

    /// Refuses a run in which a step would divide by 0 or take the root of a negative number.
    fn check(&self) -> std::result::Result<(), ScheduleError> {
        self.schedule.check_pure_noise(&self.config)?;
        for (index, timestep) in self.schedule.timesteps().iter().enumerate() {
            let (c, timestep) = (self.coefficients(index), *timestep as usize);
            if c.alpha_prod_t == 0. && self.eta as f32 == 1. {
                return Err(ScheduleError::NoDirection { eta: self.eta, timestep });
            }
            let room = 1. - c.alpha_prod_t_prev - c.std_dev_t.powi(2);
            if self.eta != 0. && !(room >= 0. && c.std_dev_t >= 0.) {
                return Err(ScheduleError::Eta { eta: self.eta, timestep });
            }
        }
        Ok(())
    }
}

impl Scheduler for DdimScheduler {
    fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    fn timesteps(&self) -> &[f64] {
        self.schedule.timesteps()
    }

    fn sigmas(&self) -> &[f32] {
        self.schedule.sigmas()
    }

    /// x_t of formula (4).
    fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor> {
        self.schedule.add_noise(original_samples, noise, index)
    }

    fn draws_noise(&self, _index: usize) -> bool {
        self.eta > 0.
    }

    /// diffusers `DDIMScheduler.step`.
    fn step(&self, input: StepInput<'_>, history: &History) -> Result<Step> {
        let c = self.coefficients(input.index);
        let sqrt = |x: f32| f64::from(x.sqrt());
        let mut step = Working::new(self, input, "Song et al., 2021, formula 12");
        step.set_prev_timestep(c.prev_timestep as f64);
        step.number("ᾱ_t", "alpha_prod_t", c.alpha_prod_t);
        step.number("ᾱ_prev", "alpha_prod_t_prev", c.alpha_prod_t_prev);
        step.number("1−ᾱ_t", "beta_prod_t", c.beta_prod_t);
        step.number("σ̃²_t", "variance", c.variance);
        step.number("σ_t", "std_dev_t", c.std_dev_t);

        // "predicted x_0" of formula (12), from the model's prediction
        let alpha_sigma = [sqrt(c.alpha_prod_t), sqrt(c.beta_prod_t)];
        step.predictions(&self.config, alpha_sigma, Notation::AlphaBar)?;

        // "direction pointing to x_t" of formula (12)
        let direction = sqrt(1. - c.alpha_prod_t_prev - c.std_dev_t.powi(2));
        step.combine(
            "pred_sample_direction",
            [
                "direction to x_t = √(1 − ᾱ_prev − σ_t²) · ε̂",
                "√(1 − alpha_prod_t_prev − std_dev_t²) · pred_epsilon",
            ],
            &[(direction, "pred_epsilon")],
        )?;

        // x_{t-1} of formula (12), with random noise if eta > 0
        let mut terms =
            vec![(sqrt(c.alpha_prod_t_prev), "pred_original_sample"), (1., "pred_sample_direction")];
        let mut names = [
            "x_prev = √ᾱ_prev · x̂₀ + direction",
            "√alpha_prod_t_prev · pred_original_sample + pred_sample_direction",
        ];
        if input.noise.is_some() {
            terms.push((f64::from(c.std_dev_t), "variance_noise"));
            names = [
                "x_prev = √ᾱ_prev · x̂₀ + direction + σ_t · z",
                "√alpha_prod_t_prev · pred_original_sample + pred_sample_direction + std_dev_t · variance_noise",
            ];
        }
        step.combine("prev_sample", names, &terms)?;
        step.finish(history.next(vec![]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ConfigFile;
    use crate::scheduler::class::Class;
    use crate::scheduler::schedule_error::SpacingError;
    use candle_core::Device;

    fn config(text: &str) -> SchedulerConfig {
        let file = ConfigFile::parse("scheduler_config.json", text.as_bytes()).unwrap();
        SchedulerConfig::read(&file, Class::Ddim).unwrap()
    }

    fn step(scheduler: &DdimScheduler, index: usize, output: f32, sample: &Tensor) -> Step {
        let input = StepInput { index, model_output: &tensor(output), sample, noise: None };
        scheduler.step(input, &History::default()).unwrap()
    }

    fn tensor(x: f32) -> Tensor {
        Tensor::full(x, (1, 1, 1, 1), &Device::Cpu).unwrap()
    }

    fn value(x: &Tensor) -> f32 {
        x.flatten_all().unwrap().to_vec1().unwrap()[0]
    }

    /// An exact prediction of any type recovers x₀ and the noise.
    #[test]
    fn an_exact_prediction_recovers_the_sample() {
        let (picture, noise) = (0.3f32, -1.2f32);
        for prediction_type in ["epsilon", "v_prediction", "sample"] {
            let text = format!(r#"{{"prediction_type": "{prediction_type}"}}"#);
            let scheduler = DdimScheduler::new(&config(&text), 20, 0.).unwrap();
            let a = scheduler.coefficients(7).alpha_prod_t;
            let (a, b) = (a.sqrt(), (1. - a).sqrt());
            let output = match prediction_type {
                "epsilon" => noise,
                "sample" => picture,
                _ => a * noise - b * picture,
            };
            let step = step(&scheduler, 7, output, &tensor(a * picture + b * noise));
            let made = |name| value(step.tensor(name).unwrap());
            assert!((made("pred_original_sample") - picture).abs() < 1e-5, "{prediction_type}");
            assert!((made("pred_epsilon") - noise).abs() < 1e-5, "{prediction_type}");
        }
    }

    /// One step with an exact prediction undoes `add_noise`.
    #[test]
    fn added_noise_can_be_removed() {
        let scheduler = DdimScheduler::new(&config("{}"), 20, 0.).unwrap();
        for index in [0, 10, 19] {
            let noisy = scheduler.add_noise(&tensor(0.3), &tensor(-1.2), index).unwrap();
            let a = scheduler.coefficients(index).alpha_prod_t;
            assert!((value(&noisy) - (a.sqrt() * 0.3 - (1. - a).sqrt() * 1.2)).abs() < 1e-6);
            let step = step(&scheduler, index, -1.2, &noisy);
            assert!((value(step.tensor("pred_original_sample").unwrap()) - 0.3).abs() < 1e-4);
        }
    }

    #[test]
    fn impossible_settings_are_refused_with_the_reason() {
        let zero_snr = r#"{"rescale_betas_zero_snr": true, "timestep_spacing": "trailing"}"#;
        let error = DdimScheduler::new(&config(zero_snr), 10, 0.).unwrap_err();
        assert_eq!(error, ScheduleError::PureNoise { timestep: 999 });
        let zero_snr = r#"{"rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "prediction_type": "sample"}"#;
        let error = DdimScheduler::new(&config(zero_snr), 10, 1.).unwrap_err();
        assert_eq!(error, ScheduleError::NoDirection { eta: 1., timestep: 999 });
        assert!(DdimScheduler::new(&config(zero_snr), 10, 0.999).is_ok());
        assert!(matches!(DdimScheduler::new(&config("{}"), 10, 2.), Err(ScheduleError::Eta { .. })));
        assert!(matches!(DdimScheduler::new(&config("{}"), 10, -1.), Err(ScheduleError::Eta { .. })));
        assert!(DdimScheduler::new(&config("{}"), 10, 1.).is_ok());
        for steps in [0, 1001, usize::MAX] {
            let error = DdimScheduler::new(&config("{}"), steps, 0.).unwrap_err();
            assert_eq!(error, SpacingError::Count { found: steps, most: 1000 }.into());
        }
    }
}

//! `DDIMScheduler` (diffusers; Song et al., 2021, "Denoising Diffusion Implicit Models").
//!
//! The paper's α is diffusers' `alpha_prod`, ᾱ of Ho et al.; formula numbers are the paper's.

use super::config::{DdimConfig, PredictionType};
use super::tables::{self, SpacingError};
use candle_core::{Result, Tensor};

/// The scheduler of one run: ᾱ of every timestep, and the timesteps that the run visits.
#[derive(Debug, Clone)]
pub struct DdimScheduler {
    config: DdimConfig,
    alphas_cumprod: Vec<f32>,
    final_alpha_cumprod: f32,
    timesteps: Vec<usize>,
    eta: f64,
}

/// One step, with every intermediate value under diffusers' name. Tensors have the shape of the latents.
#[derive(Debug, Clone)]
pub struct DdimStep {
    /// The scalars of the step.
    pub coefficients: Coefficients,
    /// "Predicted x₀": the latents without noise, if the prediction were exact.
    pub pred_original_sample: Tensor,
    /// The predicted noise in the sample.
    pub pred_epsilon: Tensor,
    /// "Direction pointing to x_t": the noise that the next timestep's level requires.
    pub pred_sample_direction: Tensor,
    /// The sample of the next timestep.
    pub prev_sample: Tensor,
}

/// The scalars of a step, under diffusers' names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// The timestep of the step's input.
    pub timestep: usize,
    /// The timestep of its output, T / N less; negative at the end of a run.
    pub prev_timestep: i64,
    /// ᾱ at `timestep`: the signal's share of the sample's variance.
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

/// Why a schedule cannot be run.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ScheduleError {
    /// The number of steps is impossible.
    #[error(transparent)]
    Spacing(#[from] SpacingError),
    /// A step would divide by 0.
    #[error(
        "timestep {timestep} is pure noise (rescale_betas_zero_snr), at which prediction_type epsilon divides by 0; \
         expected v_prediction or sample, or leading spacing, which does not visit it"
    )]
    PureNoise {
        /// The timestep.
        timestep: usize,
    },
    /// A step from pure noise would have a direction of exactly 0, which `f32` rounds to either side.
    #[error(
        "eta is {eta}: timestep {timestep} is pure noise (rescale_betas_zero_snr), at which new noise would be all of the \
         step; expected less than 1, or leading spacing, which does not visit it"
    )]
    NoDirection {
        /// The eta asked for.
        eta: f64,
        /// The timestep.
        timestep: usize,
    },
    /// A step would take the root of a negative number.
    #[error(
        "eta is {eta}: at timestep {timestep} the new noise would exceed the noise level; expected 0 to 1"
    )]
    Eta {
        /// The eta asked for.
        eta: f64,
        /// The timestep.
        timestep: usize,
    },
}

impl DdimScheduler {
    /// The scheduler of a run with `num_inference_steps`. `eta` 0 is deterministic (DDIM); 1 adds as much noise as DDPM.
    ///
    /// # Errors
    /// When the settings are impossible: [`ScheduleError`] says why.
    pub fn new(
        config: &DdimConfig,
        num_inference_steps: usize,
        eta: f64,
    ) -> std::result::Result<Self, ScheduleError> {
        let alphas_cumprod = tables::alphas_cumprod(config);
        let scheduler = Self {
            final_alpha_cumprod: if config.set_alpha_to_one { 1. } else { alphas_cumprod[0] },
            alphas_cumprod,
            timesteps: tables::timesteps(config, num_inference_steps)?,
            config: config.clone(),
            eta,
        };
        scheduler.check()?;
        Ok(scheduler)
    }

    /// The timesteps of the run, from noise to image.
    pub fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    /// ᾱ of every training timestep.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.alphas_cumprod
    }

    /// ᾱ after the last step: 1, or that of timestep 0.
    pub fn final_alpha_cumprod(&self) -> f32 {
        self.final_alpha_cumprod
    }

    /// The configuration.
    pub fn config(&self) -> &DdimConfig {
        &self.config
    }

    /// Factor of the initial noise: 1 for DDIM.
    pub fn init_noise_sigma(&self) -> f64 {
        1.
    }

    /// The scalars of the step from `timestep`, which is one of the training timesteps.
    pub fn coefficients(&self, timestep: usize) -> Coefficients {
        let stride = self.config.num_train_timesteps / self.timesteps.len();
        let prev_timestep = timestep as i64 - stride as i64;
        let alpha_prod_t = self.alphas_cumprod[timestep];
        let alpha_prod_t_prev = match usize::try_from(prev_timestep) {
            Ok(prev) => self.alphas_cumprod[prev],
            Err(_) => self.final_alpha_cumprod,
        };
        let (beta_prod_t, beta_prod_t_prev) = (1. - alpha_prod_t, 1. - alpha_prod_t_prev);
        let variance = (beta_prod_t_prev / beta_prod_t) * (1. - alpha_prod_t / alpha_prod_t_prev);
        let std_dev_t = if self.eta == 0. { 0. } else { self.eta as f32 * variance.sqrt() };
        Coefficients {
            timestep,
            prev_timestep,
            alpha_prod_t,
            alpha_prod_t_prev,
            beta_prod_t,
            variance,
            std_dev_t,
        }
    }

    /// One denoising step from `timestep` (diffusers `DDIMScheduler.step`).
    ///
    /// `model_output`, `sample` and `variance_noise` have the same shape. `variance_noise` is scaled by σ, which is 0 at eta 0.
    ///
    /// # Errors
    /// When the shapes differ, or the device fails.
    pub fn step(
        &self,
        model_output: &Tensor,
        timestep: usize,
        sample: &Tensor,
        variance_noise: Option<&Tensor>,
    ) -> Result<DdimStep> {
        let coefficients = self.coefficients(timestep);
        let Coefficients { alpha_prod_t, alpha_prod_t_prev, beta_prod_t, std_dev_t, .. } = coefficients;
        let sqrt = |x: f32| f64::from(x.sqrt());

        // "predicted x_0" of formula (12), from the model's prediction
        let (pred_original_sample, pred_epsilon) = match self.config.prediction_type {
            PredictionType::Epsilon => {
                let noise = (model_output * sqrt(beta_prod_t))?;
                (((sample - noise)? / sqrt(alpha_prod_t))?, model_output.clone())
            }
            PredictionType::Sample => {
                let picture = (model_output * sqrt(alpha_prod_t))?;
                (model_output.clone(), ((sample - picture)? / sqrt(beta_prod_t))?)
            }
            PredictionType::VPrediction => (
                ((sample * sqrt(alpha_prod_t))? - (model_output * sqrt(beta_prod_t))?)?,
                ((model_output * sqrt(alpha_prod_t))? + (sample * sqrt(beta_prod_t))?)?,
            ),
        };
        let pred_original_sample = self.bounded(pred_original_sample)?;

        // "direction pointing to x_t" of formula (12)
        let direction = sqrt(1. - alpha_prod_t_prev - std_dev_t.powi(2));
        let pred_sample_direction = (&pred_epsilon * direction)?;

        // x_{t-1} of formula (12), with random noise if eta > 0
        let mut prev_sample = ((&pred_original_sample * sqrt(alpha_prod_t_prev))? + &pred_sample_direction)?;
        if let Some(noise) = variance_noise {
            prev_sample = (prev_sample + (noise * f64::from(std_dev_t))?)?;
        }
        Ok(DdimStep { coefficients, pred_original_sample, pred_epsilon, pred_sample_direction, prev_sample })
    }

    /// The forward process in one step: `original_samples` at the noise level of `timestep` (diffusers
    /// `DDIMScheduler.add_noise`). `noise` has the same shape and is standard normal.
    ///
    /// # Errors
    /// When the shapes differ, or the device fails.
    pub fn add_noise(&self, original_samples: &Tensor, noise: &Tensor, timestep: usize) -> Result<Tensor> {
        let alpha_prod_t = self.alphas_cumprod[timestep];
        let sqrt = |x: f32| f64::from(x.sqrt());

        // x_t of formula (4): √α_t · x_0 + √(1 − α_t) · ε
        (original_samples * sqrt(alpha_prod_t))? + (noise * sqrt(1. - alpha_prod_t))?
    }

    /// `pred_original_sample`, clipped or thresholded as the configuration says.
    fn bounded(&self, sample: Tensor) -> Result<Tensor> {
        let range = self.config.clip_sample_range;
        if self.config.thresholding {
            threshold_sample(&sample, self.config.dynamic_thresholding_ratio, self.config.sample_max_value)
        } else if self.config.clip_sample {
            sample.clamp(-range as f32, range as f32)
        } else {
            Ok(sample)
        }
    }

    /// Refuses a run in which a step would divide by 0 or take the root of a negative number.
    fn check(&self) -> std::result::Result<(), ScheduleError> {
        for &timestep in &self.timesteps {
            let c = self.coefficients(timestep);
            if c.alpha_prod_t == 0. && self.config.prediction_type == PredictionType::Epsilon {
                return Err(ScheduleError::PureNoise { timestep });
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ConfigFile;
    use candle_core::Device;

    fn config(text: &str) -> DdimConfig {
        DdimConfig::read(&ConfigFile::parse("scheduler_config.json", text.as_bytes()).unwrap()).unwrap()
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
            let t = scheduler.timesteps()[7];
            let a = scheduler.alphas_cumprod()[t];
            let (a, b) = (a.sqrt(), (1. - a).sqrt());
            let output = match prediction_type {
                "epsilon" => noise,
                "sample" => picture,
                _ => a * noise - b * picture,
            };
            let step = scheduler.step(&tensor(output), t, &tensor(a * picture + b * noise), None).unwrap();
            assert!((value(&step.pred_original_sample) - picture).abs() < 1e-5, "{prediction_type}");
            assert!((value(&step.pred_epsilon) - noise).abs() < 1e-5, "{prediction_type}");
        }
    }

    /// One step with an exact prediction undoes `add_noise`.
    #[test]
    fn added_noise_can_be_removed() {
        let scheduler = DdimScheduler::new(&config("{}"), 20, 0.).unwrap();
        for t in [1, 500, 999] {
            let noisy = scheduler.add_noise(&tensor(0.3), &tensor(-1.2), t).unwrap();
            let a = scheduler.alphas_cumprod()[t];
            assert!((value(&noisy) - (a.sqrt() * 0.3 - (1. - a).sqrt() * 1.2)).abs() < 1e-6);
            let step = scheduler.step(&tensor(-1.2), t, &noisy, None).unwrap();
            assert!((value(&step.pred_original_sample) - 0.3).abs() < 1e-4);
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

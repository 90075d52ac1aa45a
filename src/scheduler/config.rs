//! `scheduler/scheduler_config.json`.

use crate::nn::config::{MAX_COUNT, one_of};
use crate::nn::{ConfigError, ConfigFile};

/// The configuration of diffusers' `DDIMScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct DdimConfig {
    /// Number of timesteps in training: 1000. A run visits a subset of them.
    pub num_train_timesteps: usize,
    /// The first beta.
    pub beta_start: f64,
    /// The last beta.
    pub beta_end: f64,
    /// The betas between the first and the last.
    pub beta_schedule: BetaSchedule,
    /// The betas themselves, instead of a schedule. There may be more than `num_train_timesteps`, or fewer if a run does not
    /// visit the missing ones.
    pub trained_betas: Option<Vec<f32>>,
    /// Whether `pred_original_sample` is clipped. diffusers' pipeline turns it off.
    pub clip_sample: bool,
    /// The bound of clipping, on either side of 0.
    pub clip_sample_range: f64,
    /// Whether ᾱ after the last step is 1, or that of timestep 0.
    pub set_alpha_to_one: bool,
    /// Added to every timestep under leading spacing. diffusers' pipeline sets it to 1.
    pub steps_offset: usize,
    /// What the model predicts.
    pub prediction_type: PredictionType,
    /// Whether dynamic thresholding applies to `pred_original_sample` (Saharia et al., 2022, section 2.3).
    pub thresholding: bool,
    /// The quantile of dynamic thresholding.
    pub dynamic_thresholding_ratio: f64,
    /// The largest divisor of dynamic thresholding.
    pub sample_max_value: f64,
    /// Which of the training timesteps a run visits.
    pub timestep_spacing: TimestepSpacing,
    /// Whether betas are rescaled so that the last timestep is pure noise (Lin et al., 2024, section 3.1).
    pub rescale_betas_zero_snr: bool,
}

/// `beta_schedule`: the betas from `beta_start` to `beta_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    /// Equally spaced (Ho et al., 2020).
    Linear,
    /// Square roots equally spaced: Stable Diffusion's.
    ScaledLinear,
    /// ᾱ is a squared cosine (Nichol and Dhariwal, 2021).
    SquaredcosCapV2,
}

/// `prediction_type`: what the model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// Velocity v = √ᾱ·ε − √(1−ᾱ)·x₀ (Salimans and Ho, 2022, appendix D).
    VPrediction,
    /// The sample without noise, x₀.
    Sample,
}

impl PredictionType {
    /// The value of the key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::VPrediction => "v_prediction",
            Self::Sample => "sample",
        }
    }
}

/// `timestep_spacing` (Lin et al., 2024, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// Multiples of T / N from 0 up: the last timestep is never visited.
    Leading,
    /// From the last timestep down.
    Trailing,
    /// From the last timestep to 0, both visited.
    Linspace,
}

impl TimestepSpacing {
    /// The value of the key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Trailing => "trailing",
            Self::Linspace => "linspace",
        }
    }
}

impl DdimConfig {
    /// Reads the file as `DDIMScheduler.from_config` does, even if another scheduler wrote it: absent keys have
    /// `DDIMScheduler`'s defaults.
    ///
    /// # Errors
    /// When a known key has a value that is not supported.
    pub fn read(file: &ConfigFile) -> Result<Self, ConfigError> {
        let flag = |key, default| file.or(key, default, "true or false");
        let trained_betas =
            file.get::<Vec<f32>>("trained_betas", "a list of betas, one per training timestep, or null")?;
        let num_train_timesteps = file.count("num_train_timesteps", 1000)?;
        if let Some(betas) = &trained_betas
            && !(1..=MAX_COUNT).contains(&betas.len())
        {
            return Err(file.wrong("trained_betas", "1 to 1048576 betas"));
        }
        // diffusers accepts others and then computes roots of negative numbers.
        if trained_betas.iter().flatten().any(|beta| !(0. ..1.).contains(beta)) {
            return Err(file.wrong("trained_betas", "betas of at least 0 and less than 1"));
        }
        let config = Self {
            num_train_timesteps,
            beta_start: file.number("beta_start", 1e-4)?,
            beta_end: file.number("beta_end", 0.02)?,
            beta_schedule: choice(
                file,
                "beta_schedule",
                &[
                    ("linear", BetaSchedule::Linear),
                    ("scaled_linear", BetaSchedule::ScaledLinear),
                    ("squaredcos_cap_v2", BetaSchedule::SquaredcosCapV2),
                ],
            )?,
            trained_betas,
            clip_sample: flag("clip_sample", true)?,
            clip_sample_range: file.number("clip_sample_range", 1.)?,
            set_alpha_to_one: flag("set_alpha_to_one", true)?,
            steps_offset: file.or("steps_offset", 0, "a whole number from 0")?,
            prediction_type: choice(
                file,
                "prediction_type",
                &[
                    ("epsilon", PredictionType::Epsilon),
                    ("v_prediction", PredictionType::VPrediction),
                    ("sample", PredictionType::Sample),
                ],
            )?,
            thresholding: flag("thresholding", false)?,
            dynamic_thresholding_ratio: file.number("dynamic_thresholding_ratio", 0.995)?,
            sample_max_value: file.number("sample_max_value", 1.)?,
            timestep_spacing: choice(
                file,
                "timestep_spacing",
                &[
                    ("leading", TimestepSpacing::Leading),
                    ("trailing", TimestepSpacing::Trailing),
                    ("linspace", TimestepSpacing::Linspace),
                ],
            )?,
            rescale_betas_zero_snr: flag("rescale_betas_zero_snr", false)?,
        };
        let is_scheduled = config.trained_betas.is_none();
        if is_scheduled && !(config.beta_start > 0. && config.beta_start < 1.) {
            return Err(file.wrong("beta_start", "a number between 0 and 1"));
        }
        if is_scheduled && !(config.beta_end > 0. && config.beta_end < 1.) {
            return Err(file.wrong("beta_end", "a number between 0 and 1"));
        }
        if !(0. ..=1.).contains(&config.dynamic_thresholding_ratio) {
            return Err(file.wrong("dynamic_thresholding_ratio", "a quantile from 0 to 1"));
        }
        if config.steps_offset >= config.num_train_timesteps {
            return Err(file.wrong("steps_offset", "less than `num_train_timesteps`"));
        }
        Ok(config)
    }

    /// The number of timesteps that have a beta.
    pub fn num_betas(&self) -> usize {
        self.trained_betas.as_ref().map_or(self.num_train_timesteps, Vec::len)
    }

    /// Whether `pred_original_sample` is clipped or thresholded.
    pub fn is_bounded(&self) -> bool {
        self.thresholding || self.clip_sample
    }

    /// This configuration as `StableDiffusionPipeline` overrides it: `steps_offset` 1, `clip_sample` false.
    pub fn as_in_pipeline(self) -> Self {
        Self { steps_offset: 1, clip_sample: false, ..self }
    }
}

/// The value of a key with a fixed set of names. The first is diffusers' default.
fn choice<T: Copy>(file: &ConfigFile, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let expected = one_of(choices.iter().map(|(name, _)| format!("{name:?}")));
    match file.get::<String>(key, &expected)? {
        None => Ok(choices[0].1),
        Some(found) => match choices.iter().find(|(name, _)| *name == found) {
            Some((_, value)) => Ok(*value),
            None => Err(file.wrong(key, &expected)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DdimConfig, String> {
        let file = ConfigFile::parse("scheduler_config.json", text.as_bytes()).map_err(|e| e.to_string())?;
        DdimConfig::read(&file).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_has_diffusers_defaults() {
        let config = read("{}").unwrap();
        assert_eq!((config.num_train_timesteps, config.steps_offset), (1000, 0));
        assert_eq!((config.beta_start, config.beta_end), (1e-4, 0.02));
        assert!(config.clip_sample && config.set_alpha_to_one);
        let config = config.as_in_pipeline();
        assert_eq!((config.steps_offset, config.clip_sample), (1, false));
    }

    #[test]
    fn an_unknown_schedule_is_refused() {
        let error = read(r#"{"beta_schedule": "sigmoid"}"#).unwrap_err();
        assert_eq!(
            error,
            r#"scheduler_config.json: `beta_schedule` is "sigmoid"; expected one of "linear", "scaled_linear", "squaredcos_cap_v2""#
        );
        assert!(read(r#"{"trained_betas": []}"#).unwrap_err().contains("expected 1 to 1048576 betas"));
        assert!(read(r#"{"trained_betas": [0.1, 1.0]}"#).unwrap_err().contains("less than 1"));
        assert!(read(r#"{"beta_start": -1}"#).unwrap_err().contains("`beta_start` is -1"));
    }
}

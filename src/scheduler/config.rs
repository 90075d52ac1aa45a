//! `scheduler/scheduler_config.json`.

use crate::nn::config::{MAX_COUNT, one_of};
use crate::nn::{ConfigError, ConfigFile};

/// The configuration of diffusers' `DDIMScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct DdimConfig {
    /// How many timesteps the model was trained on: 1000. The timesteps of a run are taken out of so many.
    pub num_train_timesteps: usize,
    /// The first beta.
    pub beta_start: f64,
    /// The last beta.
    pub beta_end: f64,
    /// How betas go from the first to the last.
    pub beta_schedule: BetaSchedule,
    /// Betas given one by one, instead of a schedule. They may be more than `num_train_timesteps`, or fewer where a run visits
    /// none of those that are missing.
    pub trained_betas: Option<Vec<f32>>,
    /// Whether `pred_original_sample` is clipped. diffusers' pipeline turns it off.
    pub clip_sample: bool,
    /// What it is clipped to, either side of 0.
    pub clip_sample_range: f64,
    /// Whether the alpha behind the last step is 1, or that of timestep 0.
    pub set_alpha_to_one: bool,
    /// What is added to every timestep under leading spacing. diffusers' pipeline sets it to 1.
    pub steps_offset: usize,
    /// What the model's output means.
    pub prediction_type: PredictionType,
    /// Whether `pred_original_sample` is thresholded dynamically (Saharia et al., 2022, section 2.3).
    pub thresholding: bool,
    /// The quantile that thresholding looks at.
    pub dynamic_thresholding_ratio: f64,
    /// The most that thresholding divides by.
    pub sample_max_value: f64,
    /// How the timesteps of a run are taken out of the training timesteps.
    pub timestep_spacing: TimestepSpacing,
    /// Whether betas are rescaled so that the last timestep is pure noise (Lin et al., 2024, section 3.1).
    pub rescale_betas_zero_snr: bool,
}

/// `beta_schedule`: how betas go from `beta_start` to `beta_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    /// In equal steps (Ho et al., 2020).
    Linear,
    /// Their square roots in equal steps: Stable Diffusion's.
    ScaledLinear,
    /// So that alpha's product is a squared cosine (Nichol and Dhariwal, 2021).
    SquaredcosCapV2,
}

/// `prediction_type`: what the model's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// Velocity, √ᾱ·noise − √(1−ᾱ)·picture (Salimans and Ho, 2022, appendix D).
    VPrediction,
    /// The sample without noise.
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
    /// Multiples of T / N, from the lowest: never visits the last timestep.
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
    /// Reads the file as `DDIMScheduler.from_config` does, also where another scheduler wrote it: absent keys
    /// take `DDIMScheduler`'s defaults.
    ///
    /// # Errors
    /// When a known key has a value that is not supported.
    pub fn read(file: &ConfigFile) -> Result<Self, ConfigError> {
        let flag = |key, default| file.or(key, default, "true or false");
        let trained_betas =
            file.get::<Vec<f32>>("trained_betas", "a list of betas, one a training timestep, or null")?;
        let num_train_timesteps = file.count("num_train_timesteps", 1000)?;
        if let Some(betas) = &trained_betas
            && !(1..=MAX_COUNT).contains(&betas.len())
        {
            return Err(file.wrong("trained_betas", "1 to 1048576 betas"));
        }
        // diffusers takes others too, and then computes roots of negative numbers.
        if trained_betas.iter().flatten().any(|beta| !(0. ..1.).contains(beta)) {
            return Err(file.wrong("trained_betas", "betas from 0, and less than 1"));
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

    /// How many timesteps have a beta.
    pub fn num_betas(&self) -> usize {
        self.trained_betas.as_ref().map_or(self.num_train_timesteps, Vec::len)
    }

    /// Whether `pred_original_sample` is kept within bounds.
    pub fn is_bounded(&self) -> bool {
        self.thresholding || self.clip_sample
    }

    /// This configuration as `StableDiffusionPipeline` runs it: `steps_offset` 1, `clip_sample` false, whatever
    /// the file says.
    pub fn as_in_pipeline(self) -> Self {
        Self { steps_offset: 1, clip_sample: false, ..self }
    }
}

/// The value of a key that names one of a few things; the first is diffusers' default.
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

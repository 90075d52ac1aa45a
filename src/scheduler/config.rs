//! What a `scheduler_config.json` says: the class and its constructor arguments.

mod values;

use super::arguments::{self, ARGUMENTS};
use super::class::Class;
use crate::nn::{ConfigError, ConfigFile};
use serde_json::{Map, Value};
use tr::tr;

pub use values::{
    AlgorithmType, BetaSchedule, FinalSigmasType, InterpolationType, PredictionType, SolverType,
    TimestepSpacing, TimestepType, VarianceType,
};

/// The constructor arguments of diffusers' scheduler classes. An argument that a class lacks has a value without effect.
///
/// [`arguments`] says which class has which argument, and its default.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// The class.
    pub class: Class,
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
    /// Whether betas are rescaled so that the last timestep is pure noise (Lin et al., 2024, section 3.1).
    pub rescale_betas_zero_snr: bool,
    /// What the model predicts.
    pub prediction_type: PredictionType,
    /// Which of the training timesteps a run visits.
    pub timestep_spacing: TimestepSpacing,
    /// Added to every timestep under leading spacing. diffusers' pipeline sets it to 1.
    pub steps_offset: usize,
    /// Whether ᾱ after the last step is 1, or that of timestep 0.
    pub set_alpha_to_one: bool,
    /// Whether `pred_original_sample` is clipped. diffusers' pipeline turns it off.
    pub clip_sample: bool,
    /// The bound of clipping, on either side of 0.
    pub clip_sample_range: f64,
    /// Whether dynamic thresholding applies to `pred_original_sample` (Saharia et al., 2022, section 2.3).
    pub thresholding: bool,
    /// The quantile of dynamic thresholding.
    pub dynamic_thresholding_ratio: f64,
    /// The largest divisor of dynamic thresholding.
    pub sample_max_value: f64,
    /// Whether sigmas are spaced as Karras et al., 2022, equation 5 does.
    pub use_karras_sigmas: bool,
    /// Whether the logarithms of the sigmas are equally spaced.
    pub use_exponential_sigmas: bool,
    /// Whether sigmas are quantiles of a beta distribution (Lee et al., 2024, "Beta Sampling is All You Need").
    pub use_beta_sigmas: bool,
    /// Whether λ = −log σ is equally spaced (Lu et al., 2022, "DPM-Solver").
    pub use_lu_lambdas: bool,
    /// The last sigma of those grids, instead of the schedule's.
    pub sigma_min: Option<f64>,
    /// The first sigma of those grids, instead of the schedule's.
    pub sigma_max: Option<f64>,
    /// How sigmas between training timesteps are found.
    pub interpolation_type: InterpolationType,
    /// Whether the model is given a timestep, or log σ / 4 (with v-prediction).
    pub timestep_type: TimestepType,
    /// The sigma after the last step.
    pub final_sigmas_type: FinalSigmasType,
    /// Whether PNDM begins without Runge-Kutta steps.
    pub skip_prk_steps: bool,
    /// The variance of DDPM's noise.
    pub variance_type: VarianceType,
    /// Which differential equation DPM-Solver solves, and in which variable.
    pub algorithm_type: AlgorithmType,
    /// The highest order of a multistep solver.
    pub solver_order: usize,
    /// The form of the solver's step.
    pub solver_type: SolverType,
    /// Whether the last steps of a short run have a lower order.
    pub lower_order_final: bool,
    /// Whether the last step has order 1.
    pub euler_at_final: bool,
    /// The lowest λ = log(α / σ) at which a run may begin.
    pub lambda_min_clipped: f64,
    /// Whether UniPC works on x₀, or on ε.
    pub predict_x0: bool,
    /// The steps after which UniPC's corrector does not run.
    pub disable_corrector: Vec<usize>,
    /// The number of timesteps of LCM's distillation, of which a run visits some.
    pub original_inference_steps: usize,
    /// The factor of timesteps in LCM's boundary condition.
    pub timestep_scaling: f64,
}

impl SchedulerConfig {
    /// The class with diffusers' defaults.
    pub fn defaults(class: Class) -> Self {
        let mut config = Self::without_effect(class);
        for argument in ARGUMENTS {
            argument.set_default(&mut config);
        }
        config
    }

    /// Reads the file as the class's `from_config` does, even if another class wrote it: absent keys have the class's defaults.
    ///
    /// # Errors
    /// When an argument of the class has a value that is not supported.
    pub fn read(file: &ConfigFile, class: Class) -> Result<Self, ConfigError> {
        let mut config = Self::defaults(class);
        for argument in ARGUMENTS {
            argument.read(file, &mut config)?;
        }
        arguments::check(&config).map_err(|(key, expected)| match file.raw(key) {
            Some(_) => file.wrong(key, &expected),
            // The default does not go with what the file says.
            None => ConfigError::Value {
                file: file.file().into(),
                key: key.into(),
                found: tr!("absent, which means {}", config.value(key).unwrap_or_default()),
                expected,
            },
        })?;
        Ok(config)
    }

    /// This configuration with another value of an argument, which is written as in JSON; quotes may be left out.
    ///
    /// # Errors
    /// What is wrong with the value, after the argument's name.
    pub fn with(&self, name: &str, text: &str) -> Result<Self, String> {
        self.with_all(std::iter::once((name, text.into())))
    }

    /// As [`with`](Self::with), of several arguments, which are checked together.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn with_all<'a>(&self, values: impl Iterator<Item = (&'a str, String)>) -> Result<Self, String> {
        let mut config = self.clone();
        arguments::set(&mut config, values)?;
        Ok(config)
    }

    /// The value of an argument that the class has.
    pub fn value(&self, name: &str) -> Option<Value> {
        ARGUMENTS.iter().find(|argument| argument.name == name).and_then(|argument| argument.value(self))
    }

    /// The class and all its arguments, as in `scheduler_config.json`.
    pub fn json(&self) -> Map<String, Value> {
        let class = ("_class_name".to_string(), self.class.name().into());
        let of = ARGUMENTS.iter().filter_map(|argument| Some((argument.name.into(), argument.value(self)?)));
        std::iter::once(class).chain(of).collect()
    }

    /// This configuration as `StableDiffusionPipeline` overrides it: `steps_offset` 1, `clip_sample` false.
    pub fn as_in_pipeline(mut self) -> Self {
        if self.value("steps_offset").is_some() {
            self.steps_offset = 1;
        }
        self.clip_sample = false;
        self
    }

    /// The number of timesteps that have a beta.
    pub fn num_betas(&self) -> usize {
        self.trained_betas.as_ref().map_or(self.num_train_timesteps, Vec::len)
    }

    /// Whether `pred_original_sample` is clipped or thresholded.
    pub fn is_bounded(&self) -> bool {
        self.thresholding || self.clip_sample
    }

    /// Whether a grid of sigmas takes the place of `timestep_spacing`.
    pub fn has_sigma_grid(&self) -> bool {
        self.use_karras_sigmas || self.use_exponential_sigmas || self.use_beta_sigmas || self.use_lu_lambdas
    }

    fn without_effect(class: Class) -> Self {
        Self {
            class,
            num_train_timesteps: 1000,
            beta_start: 0.,
            beta_end: 0.,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            rescale_betas_zero_snr: false,
            prediction_type: PredictionType::Epsilon,
            timestep_spacing: TimestepSpacing::Leading,
            steps_offset: 0,
            set_alpha_to_one: true,
            clip_sample: false,
            clip_sample_range: 1.,
            thresholding: false,
            dynamic_thresholding_ratio: 0.,
            sample_max_value: 1.,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            use_lu_lambdas: false,
            sigma_min: None,
            sigma_max: None,
            interpolation_type: InterpolationType::Linear,
            timestep_type: TimestepType::Discrete,
            final_sigmas_type: FinalSigmasType::Zero,
            skip_prk_steps: true,
            variance_type: VarianceType::FixedSmall,
            algorithm_type: AlgorithmType::DpmSolverPlusPlus,
            solver_order: 1,
            solver_type: SolverType::Midpoint,
            lower_order_final: true,
            euler_at_final: false,
            lambda_min_clipped: f64::NEG_INFINITY,
            predict_x0: true,
            disable_corrector: vec![],
            original_inference_steps: 50,
            timestep_scaling: 1.,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(class: Class, text: &str) -> Result<SchedulerConfig, String> {
        let file = ConfigFile::parse("scheduler_config.json", text.as_bytes()).map_err(|e| e.to_string())?;
        SchedulerConfig::read(&file, class).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_has_diffusers_defaults() {
        let config = read(Class::Ddim, "{}").unwrap();
        assert_eq!((config.num_train_timesteps, config.steps_offset), (1000, 0));
        assert_eq!((config.beta_start, config.beta_end), (1e-4, 0.02));
        assert!(config.clip_sample && config.set_alpha_to_one);
        let config = config.as_in_pipeline();
        assert_eq!((config.steps_offset, config.clip_sample), (1, false));

        let heun = read(Class::HeunDiscrete, "{}").unwrap();
        assert_eq!((heun.beta_start, heun.timestep_spacing), (0.00085, TimestepSpacing::Linspace));
    }

    #[test]
    fn a_value_that_is_not_supported_is_refused() {
        let error = read(Class::Ddim, r#"{"beta_schedule": "sigmoid"}"#).unwrap_err();
        assert_eq!(
            error,
            r#"scheduler_config.json: `beta_schedule` is "sigmoid"; expected one of "linear", "scaled_linear", "squaredcos_cap_v2""#
        );
        assert!(read(Class::Ddpm, r#"{"beta_schedule": "sigmoid"}"#).is_ok());
        let refused = |class, text| read(class, text).unwrap_err();
        assert!(refused(Class::Ddim, r#"{"trained_betas": []}"#).contains("expected 1 to 1048576 betas"));
        assert!(refused(Class::Ddim, r#"{"trained_betas": [0.1, 1.0]}"#).contains("less than 1"));
        assert!(refused(Class::Ddim, r#"{"beta_start": -1}"#).contains("`beta_start` is -1"));
        assert!(
            refused(Class::Ddpm, r#"{"variance_type": "learned"}"#)
                .contains("`variance_type` is \"learned\"")
        );
        assert!(refused(Class::UniPcMultistep, r#"{"use_flow_sigmas": true}"#).contains("expected false"));
        let two = r#"{"use_karras_sigmas": true, "use_beta_sigmas": true}"#;
        assert!(refused(Class::EulerDiscrete, two).contains("`use_beta_sigmas` is true; expected false"));
        // A class does not read what it does not have.
        assert!(read(Class::Ddim, two).is_ok());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (_, class) in Class::ALL {
            let config = SchedulerConfig::defaults(*class);
            let json = serde_json::to_string(&config.json()).unwrap();
            assert_eq!(read(*class, &json).unwrap(), config, "{json}");
        }
    }
}

//! The scheduler that a run has: the checkpoint's own, or another one with what the checkpoint's file says.

use super::arguments::ARGUMENTS;
use super::class::{Class, KARRAS, SHORT_NAMES, ShortName};
use super::config::SchedulerConfig;
use crate::nn::error::abridged;
use crate::nn::{ConfigError, ConfigFile};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::sync::Arc;
use tr::tr;

/// A class with its arguments, and the file from which another class reads its own.
#[derive(Debug, Clone)]
pub struct SchedulerChoice {
    config: SchedulerConfig,
    own: Arc<Own>,
}

/// The checkpoint's own scheduler.
#[derive(Debug)]
struct Own {
    file: String,
    json: Vec<u8>,
    config: SchedulerConfig,
}

impl SchedulerChoice {
    /// The scheduler of a checkpoint with this class and `scheduler_config.json`, as `StableDiffusionPipeline` overrides it.
    ///
    /// # Errors
    /// When an argument of the class has a value that is not supported.
    pub fn of_file(file: &ConfigFile, class: Class) -> Result<Self, ConfigError> {
        let config = SchedulerConfig::read(file, class)?.as_in_pipeline();
        let own = Own { file: file.file().into(), json: file.json(), config: config.clone() };
        Ok(Self { config, own: Arc::new(own) })
    }

    /// The class and its arguments.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// The same checkpoint's with another configuration.
    pub fn with_config(&self, config: SchedulerConfig) -> Self {
        Self { config, own: Arc::clone(&self.own) }
    }

    /// The scheduler of that name: a short name, perhaps with `-karras`, diffusers' name of a class, or `own`. It reads its
    /// arguments from the checkpoint's file, as `from_config` does, and the pipeline's overrides apply.
    ///
    /// # Errors
    /// What is wrong with the name, or with the file for that class.
    pub fn named(&self, name: &str) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        let plain = lower.strip_suffix(KARRAS).unwrap_or(&lower);
        let short = SHORT_NAMES.iter().find(|short| short.name == plain);
        let class = match short {
            _ if lower == "own" => self.own.config.class,
            Some(short) => short.class,
            None => Class::of_name(name).ok_or_else(|| {
                let known = SHORT_NAMES.iter().map(|short| short.name).collect::<Vec<_>>().join(", ");
                tr!(
                    "scheduler cannot be `{}`; expected {known}, one of them with {KARRAS}, a class of diffusers, or own",
                    abridged(name), known, KARRAS
                )
            })?,
        };
        let file = ConfigFile::parse(self.own.file.clone(), &self.own.json).map_err(|e| e.to_string())?;
        let config = SchedulerConfig::read(&file, class).map_err(|e| e.to_string())?.as_in_pipeline();
        let config = match short {
            Some(short) => short.apply(config, plain.len() < lower.len())?,
            None => config,
        };
        Ok(self.with_config(config))
    }

    /// As [`named`](Self::named), with the arguments that were changed in this one and that the other class has too. `own` has none.
    ///
    /// # Errors
    /// As [`named`](Self::named), and when the other class refuses such a value.
    pub fn renamed(&self, name: &str) -> Result<Self, String> {
        let named = self.named(name)?;
        if name.eq_ignore_ascii_case("own") {
            return Ok(named);
        }
        let kept = self.changed().into_iter().filter(|argument| named.config.value(argument).is_some());
        let values = kept.map(|argument| (argument, self.argument(argument)));
        let config = named.config.with_all(values)?;
        Ok(named.with_config(config))
    }

    /// The short name, with `-karras` where the sigmas are Karras'; diffusers' name of the class where no short name says it.
    pub fn name(&self) -> String {
        let karras = if self.config.use_karras_sigmas { KARRAS } else { "" };
        match ShortName::of(&self.config) {
            Some(short) => format!("{}{karras}", short.name),
            None => self.config.class.name().into(),
        }
    }

    /// The arguments that differ from what the name and the checkpoint's file say.
    pub fn changed(&self) -> Vec<&'static str> {
        let Ok(named) = self.named(&self.name()) else { return vec![] };
        let differs = |name: &&str| self.config.value(name) != named.config.value(name);
        let has = ARGUMENTS.iter().filter(|argument| argument.is_setting_of(self.config.class));
        has.map(|argument| argument.name).filter(differs).collect()
    }

    /// The value of an argument as JSON, a text without quotes; `null` if the class has none of that name.
    pub fn argument(&self, name: &str) -> String {
        match self.config.value(name).unwrap_or_default() {
            Value::String(text) => text,
            value => value.to_string(),
        }
    }

    /// Whether it stands for a checkpoint's scheduler that is not known yet.
    pub fn is_unset(&self) -> bool {
        self.own.file.is_empty()
    }

    /// Whether it is the checkpoint's own, with the arguments that its file says.
    pub fn is_own(&self) -> bool {
        self.config == self.own.config
    }

    /// Whether it is the checkpoint's own class.
    pub fn is_own_class(&self) -> bool {
        self.config.class == self.own.config.class
    }
}

/// DDIM with diffusers' defaults, for as long as the checkpoint's scheduler is not known.
impl Default for SchedulerChoice {
    fn default() -> Self {
        let config = SchedulerConfig::defaults(Class::Ddim).as_in_pipeline();
        let own = Own { file: String::new(), json: b"{}".to_vec(), config: config.clone() };
        Self { config, own: Arc::new(own) }
    }
}

impl PartialEq for SchedulerChoice {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl Serialize for SchedulerChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SchedulerChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Map::<String, Value>::deserialize(deserializer)?;
        let name = object.get("_class_name").and_then(Value::as_str).unwrap_or_default();
        let class = Class::of_name(name)
            .ok_or_else(|| D::Error::custom(tr!("scheduler: no class `{}`", abridged(name))))?;
        let json = serde_json::to_vec(&object).map_err(D::Error::custom)?;
        let file = ConfigFile::parse("scheduler", &json).map_err(D::Error::custom)?;
        let config = SchedulerConfig::read(&file, class).map_err(D::Error::custom)?;
        let own = Own { file: "scheduler".into(), json, config: config.clone() };
        Ok(Self { config, own: Arc::new(own) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::config::TimestepSpacing;

    /// Stable Diffusion 1.5's file.
    const SD15: &str = r#"{"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true,
        "steps_offset": 1, "clip_sample": false}"#;

    fn sd15() -> SchedulerChoice {
        SchedulerChoice::of_file(&ConfigFile::parse("s.json", SD15.as_bytes()).unwrap(), Class::Pndm).unwrap()
    }

    #[test]
    fn another_class_reads_the_checkpoints_file() {
        let own = sd15();
        assert_eq!((own.name().as_str(), own.is_own()), ("pndm", true));
        let euler = own.named("euler").unwrap();
        assert_eq!((euler.name().as_str(), euler.is_own()), ("euler", false));
        // The file does not say a spacing, so that the class's own default holds.
        assert_eq!(euler.config().timestep_spacing, TimestepSpacing::Linspace);
        assert_eq!(euler.config().beta_end, 0.012);
        assert_eq!(euler.named("own").unwrap(), own);
        assert_eq!(own.named("EulerDiscreteScheduler").unwrap(), euler);
    }

    #[test]
    fn changed_arguments_go_along() {
        let choice = sd15();
        let trailing = choice.with_config(choice.config().with("timestep_spacing", "trailing").unwrap());
        assert!(!trailing.is_own() && trailing.is_own_class());
        let euler = trailing.renamed("euler").unwrap();
        assert_eq!(euler.config().timestep_spacing, TimestepSpacing::Trailing);
        assert_eq!(euler.changed(), ["timestep_spacing"]);
        assert!(euler.renamed("own").unwrap().is_own());
        // An argument that the class lacks is left out; a value that it refuses is an error.
        let min = euler.with_config(euler.config().with("sigma_min", "0.1").unwrap());
        assert_eq!(min.renamed("heun").unwrap().changed(), ["timestep_spacing"]);
        let few = choice.with_config(choice.config().with("num_train_timesteps", "30").unwrap());
        let error = few.renamed("lcm").unwrap_err();
        assert!(error.starts_with("original_inference_steps cannot be `50`"), "{error}");
    }

    #[test]
    fn a_short_name_stands_for_arguments() {
        let karras = sd15().named("DPM++2M-SDE-Karras").unwrap();
        assert_eq!(karras.name(), "dpm++2m-sde-karras");
        assert!(karras.config().use_karras_sigmas && karras.config().algorithm_type.is_stochastic());
        assert!(!karras.named("dpm++2m").unwrap().config().use_karras_sigmas);
        let error = sd15().named("ddim-karras").unwrap_err();
        assert!(error.starts_with("DDIMScheduler has no `use_karras_sigmas`"), "{error}");
        assert!(
            sd15()
                .named("eulr")
                .unwrap_err()
                .starts_with("scheduler cannot be `eulr`; expected ddim, ddpm, pndm")
        );
    }

    #[test]
    fn a_choice_is_written_and_read_again() {
        for name in ["pndm", "dpm++3m-sde-karras", "unipc", "lcm", "heun"] {
            let choice = sd15().named(name).unwrap();
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<SchedulerChoice>(&json).unwrap(), choice, "{json}");
        }
        assert!(serde_json::from_str::<SchedulerChoice>(r#"{"_class_name": "X"}"#).is_err());
    }
}

//! Every constructor argument of every class, in one table: which class has it, its default, and what is refused.
//!
//! The table reads `scheduler_config.json`, serves `set scheduler.*`, and is docs/schedulers.md.
//!
//! `table`: the table. `value`: the types of values.

mod table;
mod value;

pub use table::ARGUMENTS;
pub use value::ArgumentValue;

use super::class::Class;
use super::config::{AlgorithmType, FinalSigmasType, SchedulerConfig};
use crate::nn::config::{MAX_COUNT, one_of};
use crate::nn::error::abridged;
use crate::nn::{ConfigError, ConfigFile};
use crate::phrase::Phrase;
use serde_json::Value;
use tr::tr;

/// A constructor argument.
pub struct Argument {
    /// diffusers' name.
    pub name: &'static str,
    /// What it is for.
    pub summary: Phrase,
    /// The classes that have it.
    pub of: &'static [Of],
    /// Where its value is. `None` where only one value is supported.
    field: Option<Field>,
}

type Field = fn(&mut SchedulerConfig) -> &mut dyn ArgumentValue;

/// An argument in some classes.
pub struct Of {
    /// The classes.
    pub classes: &'static [Class],
    /// Their default, as in JSON.
    pub default: &'static str,
    /// The supported values, as in JSON; empty where every value of the type is.
    pub supported: &'static [&'static str],
    /// Values that diffusers replaces, each with what it puts in its place.
    pub aliases: &'static [(&'static str, &'static str)],
}

const fn of(classes: &'static [Class], default: &'static str) -> Of {
    Of { classes, default, supported: &[], aliases: &[] }
}

const fn only(classes: &'static [Class], default: &'static str, supported: &'static [&'static str]) -> Of {
    Of { classes, default, supported, aliases: &[] }
}

impl Argument {
    fn of_class(&self, class: Class) -> Option<&'static Of> {
        self.of.iter().find(|of| of.classes.contains(&class))
    }

    /// Whether the class has the argument and its value can be changed.
    pub fn is_setting_of(&self, class: Class) -> bool {
        self.field.is_some() && self.of_class(class).is_some()
    }

    pub(super) fn set_default(&self, config: &mut SchedulerConfig) {
        if let (Some(of), Some(field)) = (self.of_class(config.class), self.field) {
            // A test reads every default.
            let _ = field(config).assign(&default(of));
        }
    }

    /// The value in a configuration whose class has the argument.
    pub fn value(&self, config: &SchedulerConfig) -> Option<Value> {
        let of = self.of_class(config.class)?;
        Some(match self.field {
            Some(field) => field(&mut config.clone()).json(),
            None => default(of),
        })
    }

    pub(super) fn read(&self, file: &ConfigFile, config: &mut SchedulerConfig) -> Result<(), ConfigError> {
        let Some(of) = self.of_class(config.class) else { return Ok(()) };
        match file.raw(self.name) {
            None | Some(Value::Null) => Ok(()),
            Some(value) => {
                self.assign(of, value, config).map_err(|expected| file.wrong(self.name, &expected))
            }
        }
    }

    /// Gives a configuration a value; the error says what would be right.
    fn assign(&self, of: &Of, value: &Value, config: &mut SchedulerConfig) -> Result<(), String> {
        let text = value.to_string();
        let alias = of.aliases.iter().find(|(found, _)| *found == text).map(|(_, in_place)| in_place);
        let text = alias.map_or(text.as_str(), |in_place| in_place);
        if !of.supported.is_empty() && !of.supported.contains(&text) {
            return Err(match of.supported {
                [one] => (*one).to_string(),
                several => one_of(several.iter()),
            });
        }
        let Some(field) = self.field else { return Ok(()) };
        let value = if alias.is_some() { parsed(text) } else { value.clone() };
        field(config).assign(&value)
    }
}

fn default(of: &Of) -> Value {
    parsed(of.default)
}

/// JSON, a text without quotes, or one of Python's constants.
fn parsed(text: &str) -> Value {
    let text = match text {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        text => text,
    };
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into()))
}

/// Gives arguments values, written as in JSON or as in Python; quotes may be left out.
pub(super) fn set<'a>(
    config: &mut SchedulerConfig,
    mut values: impl Iterator<Item = (&'a str, String)>,
) -> Result<(), String> {
    values.try_for_each(|(name, text)| assign(config, name, &text))?;
    check(config).map_err(|(key, expected)| {
        let found = config.value(key).unwrap_or_default();
        tr!("{key} cannot be `{}`; expected {expected}", abridged(&found.to_string()), key, expected)
    })
}

fn assign(config: &mut SchedulerConfig, name: &str, text: &str) -> Result<(), String> {
    let of_class = |argument: &'static Argument| Some((argument, argument.of_class(config.class)?));
    let Some((argument, of)) = ARGUMENTS.iter().filter(|argument| argument.name == name).find_map(of_class)
    else {
        let has = ARGUMENTS.iter().filter(|argument| argument.is_setting_of(config.class));
        let has: Vec<_> = has.map(|argument| argument.name).collect();
        return Err(tr!("{} has no `{name}`; expected {}", config.class.name(), one_of(has.iter()), name));
    };
    let wrong = |expected| tr!("{name} cannot be `{}`; expected {expected}", abridged(text), name, expected);
    argument.assign(of, &parsed(text), config).map_err(wrong)
}

/// What is wrong with values that are each of the right type: an argument, and what would be right.
pub(super) fn check(config: &SchedulerConfig) -> Result<(), (&'static str, String)> {
    if config.num_train_timesteps == 0 {
        return Err(("num_train_timesteps", tr!("a whole number from 1 to {MAX_COUNT}", MAX_COUNT)));
    }
    if let Some(betas) = &config.trained_betas {
        if !(1..=MAX_COUNT).contains(&betas.len()) {
            return Err(("trained_betas", tr!("1 to {MAX_COUNT} betas", MAX_COUNT)));
        }
        // diffusers accepts others and then computes roots of negative numbers.
        if betas.iter().any(|beta| !(0. ..1.).contains(beta)) {
            return Err(("trained_betas", tr!("betas of at least 0 and less than 1")));
        }
    } else {
        for (key, beta) in [("beta_start", config.beta_start), ("beta_end", config.beta_end)] {
            if !(beta > 0. && beta < 1.) {
                return Err((key, tr!("a number between 0 and 1")));
            }
        }
    }
    if !(0. ..=1.).contains(&config.dynamic_thresholding_ratio) {
        return Err(("dynamic_thresholding_ratio", tr!("a quantile from 0 to 1")));
    }
    if config.steps_offset >= config.num_train_timesteps {
        return Err(("steps_offset", tr!("less than `num_train_timesteps`")));
    }
    for (key, sigma) in [("sigma_min", config.sigma_min), ("sigma_max", config.sigma_max)] {
        if sigma.is_some_and(|sigma| !(sigma > 0. && sigma.is_finite())) {
            return Err((key, tr!("a number above 0, or null")));
        }
    }
    if let (Some(min), Some(max)) = (config.sigma_min, config.sigma_max)
        && min >= max
    {
        return Err(("sigma_min", tr!("less than sigma_max, which is {max}", max)));
    }
    let grids = [
        ("use_karras_sigmas", config.use_karras_sigmas),
        ("use_exponential_sigmas", config.use_exponential_sigmas),
        ("use_beta_sigmas", config.use_beta_sigmas),
    ];
    let mut on = grids.iter().filter(|(_, is_on)| *is_on);
    if let (Some((first, _)), Some((second, _))) = (on.next(), on.next()) {
        return Err((second, tr!("false, because `{first}` is true", first)));
    }
    if config.class == Class::DpmSolverMultistep
        && !config.algorithm_type.predicts_x0()
        && config.final_sigmas_type == FinalSigmasType::Zero
    {
        let algorithm = config.algorithm_type.name();
        return Err(("final_sigmas_type", tr!("\"sigma_min\" with algorithm_type {algorithm}", algorithm)));
    }
    if config.algorithm_type == AlgorithmType::SdeDpmSolver && config.solver_order == 3 {
        return Err(("solver_order", tr!("1 or 2 with algorithm_type sde-dpmsolver")));
    }
    if config.class == Class::Lcm
        && !(1..=config.num_train_timesteps).contains(&config.original_inference_steps)
    {
        return Err(("original_inference_steps", tr!("1 to `num_train_timesteps`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

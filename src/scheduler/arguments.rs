//! Every constructor argument of every class, in one table: which class has it, its default, and what is refused.
//!
//! The table reads `scheduler_config.json`, serves `set scheduler.*`, and is docs/schedulers.md.

use super::class::Class;
use super::config::{
    AlgorithmType, BetaSchedule, FinalSigmasType, InterpolationType, PredictionType, SchedulerConfig,
    SolverType, TimestepSpacing, TimestepType, VarianceType,
};
use crate::nn::config::{MAX_COUNT, one_of};
use crate::nn::error::abridged;
use crate::nn::{ConfigError, ConfigFile};
use serde_json::Value;
use tr::tr;

/// A constructor argument.
pub struct Argument {
    /// diffusers' name.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
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

use Class::{
    Ddim, Ddpm, DpmSolverMultistep, EulerAncestralDiscrete, EulerDiscrete, HeunDiscrete, Lcm, LmsDiscrete,
    Pndm, UniPcMultistep,
};

const ALL: &[Class] = &[
    Ddim,
    Ddpm,
    Pndm,
    EulerDiscrete,
    EulerAncestralDiscrete,
    HeunDiscrete,
    LmsDiscrete,
    DpmSolverMultistep,
    UniPcMultistep,
    Lcm,
];
/// The classes with the betas of DDPM's paper by default.
const OF_DDPM: &[Class] = &[
    Ddim,
    Ddpm,
    Pndm,
    EulerDiscrete,
    EulerAncestralDiscrete,
    LmsDiscrete,
    DpmSolverMultistep,
    UniPcMultistep,
];
const WITH_GRIDS: &[Class] = &[EulerDiscrete, HeunDiscrete, LmsDiscrete, DpmSolverMultistep, UniPcMultistep];
const SOLVERS: &[Class] = &[DpmSolverMultistep, UniPcMultistep];
const BETAS: &[&str] = &[r#""linear""#, r#""scaled_linear""#, r#""squaredcos_cap_v2""#];
const FALSE: &[&str] = &["false"];
const NULL: &[&str] = &["null"];
const SPACINGS: &[&str] = &[r#""leading""#, r#""trailing""#, r#""linspace""#];
const PREDICTIONS: &[&str] = &[r#""epsilon""#, r#""v_prediction""#, r#""sample""#];
const NOT_SAMPLE: &[&str] = &[r#""epsilon""#, r#""v_prediction""#];

/// Every argument of diffusers 0.42.1.
pub const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "num_train_timesteps",
        summary: "number of timesteps in training",
        of: &[of(ALL, "1000")],
        field: Some(|c| &mut c.num_train_timesteps),
    },
    Argument {
        name: "beta_start",
        summary: "the first beta",
        of: &[of(OF_DDPM, "0.0001"), of(&[HeunDiscrete, Lcm], "0.00085")],
        field: Some(|c| &mut c.beta_start),
    },
    Argument {
        name: "beta_end",
        summary: "the last beta",
        of: &[of(OF_DDPM, "0.02"), of(&[HeunDiscrete, Lcm], "0.012")],
        field: Some(|c| &mut c.beta_end),
    },
    Argument {
        name: "beta_schedule",
        summary: "the betas between the first and the last",
        of: &[
            only(
                &[
                    Ddim,
                    Pndm,
                    EulerDiscrete,
                    EulerAncestralDiscrete,
                    LmsDiscrete,
                    DpmSolverMultistep,
                    UniPcMultistep,
                ],
                r#""linear""#,
                BETAS,
            ),
            only(
                &[Ddpm],
                r#""linear""#,
                &[
                    r#""linear""#,
                    r#""scaled_linear""#,
                    r#""squaredcos_cap_v2""#,
                    r#""sigmoid""#,
                    r#""laplace""#,
                ],
            ),
            only(
                &[HeunDiscrete],
                r#""linear""#,
                &[r#""linear""#, r#""scaled_linear""#, r#""squaredcos_cap_v2""#, r#""exp""#],
            ),
            only(&[Lcm], r#""scaled_linear""#, BETAS),
        ],
        field: Some(|c| &mut c.beta_schedule),
    },
    Argument {
        name: "trained_betas",
        summary: "the betas themselves",
        of: &[of(ALL, "null")],
        field: Some(|c| &mut c.trained_betas),
    },
    Argument {
        name: "rescale_betas_zero_snr",
        summary: "the last timestep is pure noise",
        of: &[of(
            &[Ddim, Ddpm, EulerDiscrete, EulerAncestralDiscrete, DpmSolverMultistep, UniPcMultistep, Lcm],
            "false",
        )],
        field: Some(|c| &mut c.rescale_betas_zero_snr),
    },
    Argument {
        name: "prediction_type",
        summary: "what the model predicts",
        of: &[
            only(
                &[
                    Ddim,
                    Ddpm,
                    EulerDiscrete,
                    HeunDiscrete,
                    LmsDiscrete,
                    DpmSolverMultistep,
                    UniPcMultistep,
                    Lcm,
                ],
                r#""epsilon""#,
                PREDICTIONS,
            ),
            only(&[Pndm, EulerAncestralDiscrete], r#""epsilon""#, NOT_SAMPLE),
        ],
        field: Some(|c| &mut c.prediction_type),
    },
    Argument {
        name: "timestep_spacing",
        summary: "which training timesteps a run visits",
        of: &[
            only(&[Ddim, Ddpm, Pndm], r#""leading""#, SPACINGS),
            // Known to LCM, and without effect there.
            only(&[Lcm], r#""leading""#, SPACINGS),
            only(
                &[
                    EulerDiscrete,
                    EulerAncestralDiscrete,
                    HeunDiscrete,
                    LmsDiscrete,
                    DpmSolverMultistep,
                    UniPcMultistep,
                ],
                r#""linspace""#,
                SPACINGS,
            ),
        ],
        field: Some(|c| &mut c.timestep_spacing),
    },
    Argument {
        name: "steps_offset",
        summary: "added to every timestep under leading spacing",
        of: &[of(ALL, "0")],
        field: Some(|c| &mut c.steps_offset),
    },
    Argument {
        name: "set_alpha_to_one",
        summary: "ᾱ after the last step is 1, or that of timestep 0",
        of: &[of(&[Ddim, Lcm], "true"), of(&[Pndm], "false")],
        field: Some(|c| &mut c.set_alpha_to_one),
    },
    Argument {
        name: "clip_sample",
        summary: "pred_original_sample is clipped",
        of: &[of(&[Ddim, Ddpm], "true"), of(&[HeunDiscrete, Lcm], "false")],
        field: Some(|c| &mut c.clip_sample),
    },
    Argument {
        name: "clip_sample_range",
        summary: "the bound of clipping",
        of: &[of(&[Ddim, Ddpm, HeunDiscrete, Lcm], "1.0")],
        field: Some(|c| &mut c.clip_sample_range),
    },
    Argument {
        name: "thresholding",
        summary: "dynamic thresholding of pred_original_sample",
        of: &[of(&[Ddim, Ddpm, DpmSolverMultistep, UniPcMultistep, Lcm], "false")],
        field: Some(|c| &mut c.thresholding),
    },
    Argument {
        name: "dynamic_thresholding_ratio",
        summary: "the quantile of dynamic thresholding",
        of: &[of(&[Ddim, Ddpm, DpmSolverMultistep, UniPcMultistep, Lcm], "0.995")],
        field: Some(|c| &mut c.dynamic_thresholding_ratio),
    },
    Argument {
        name: "sample_max_value",
        summary: "the largest divisor of dynamic thresholding",
        of: &[of(&[Ddim, Ddpm, DpmSolverMultistep, UniPcMultistep, Lcm], "1.0")],
        field: Some(|c| &mut c.sample_max_value),
    },
    Argument {
        name: "use_karras_sigmas",
        summary: "sigmas spaced as Karras et al. do",
        of: &[of(WITH_GRIDS, "false")],
        field: Some(|c| &mut c.use_karras_sigmas),
    },
    Argument {
        name: "use_exponential_sigmas",
        summary: "logarithms of sigmas equally spaced",
        of: &[of(WITH_GRIDS, "false")],
        field: Some(|c| &mut c.use_exponential_sigmas),
    },
    Argument {
        name: "use_beta_sigmas",
        summary: "sigmas at quantiles of a beta distribution",
        of: &[of(WITH_GRIDS, "false")],
        field: Some(|c| &mut c.use_beta_sigmas),
    },
    Argument {
        name: "use_lu_lambdas",
        summary: "log SNR equally spaced",
        of: &[of(&[DpmSolverMultistep], "false")],
        field: Some(|c| &mut c.use_lu_lambdas),
    },
    Argument {
        name: "use_flow_sigmas",
        summary: "the sigmas of flow matching",
        of: &[only(SOLVERS, "false", FALSE)],
        field: None,
    },
    Argument {
        name: "flow_shift",
        summary: "without effect while use_flow_sigmas is false",
        of: &[of(SOLVERS, "1.0")],
        field: None,
    },
    Argument {
        name: "use_dynamic_shifting",
        summary: "sigmas that depend on the size of the image",
        of: &[only(SOLVERS, "false", FALSE)],
        field: None,
    },
    Argument {
        name: "time_shift_type",
        summary: "without effect while use_dynamic_shifting is false",
        of: &[of(SOLVERS, r#""exponential""#)],
        field: None,
    },
    Argument {
        name: "shift_terminal",
        summary: "the last timestep of flow matching",
        of: &[only(&[UniPcMultistep], "null", NULL)],
        field: None,
    },
    Argument {
        name: "sigma_min",
        summary: "the last sigma of a grid",
        of: &[of(&[EulerDiscrete, UniPcMultistep], "null")],
        field: Some(|c| &mut c.sigma_min),
    },
    Argument {
        name: "sigma_max",
        summary: "the first sigma of a grid",
        of: &[of(&[EulerDiscrete, UniPcMultistep], "null")],
        field: Some(|c| &mut c.sigma_max),
    },
    Argument {
        name: "interpolation_type",
        summary: "sigmas between training timesteps",
        of: &[only(&[EulerDiscrete], r#""linear""#, &[r#""linear""#, r#""log_linear""#])],
        field: Some(|c| &mut c.interpolation_type),
    },
    Argument {
        name: "timestep_type",
        summary: "whether the model is given a timestep or log σ / 4",
        of: &[only(&[EulerDiscrete], r#""discrete""#, &[r#""discrete""#, r#""continuous""#])],
        field: Some(|c| &mut c.timestep_type),
    },
    Argument {
        name: "final_sigmas_type",
        summary: "the sigma after the last step",
        of: &[only(
            &[EulerDiscrete, DpmSolverMultistep, UniPcMultistep],
            r#""zero""#,
            &[r#""zero""#, r#""sigma_min""#],
        )],
        field: Some(|c| &mut c.final_sigmas_type),
    },
    Argument {
        name: "skip_prk_steps",
        summary: "no Runge-Kutta steps at the start",
        of: &[of(&[Pndm], "false")],
        field: Some(|c| &mut c.skip_prk_steps),
    },
    Argument {
        name: "variance_type",
        summary: "the variance of the noise that a step draws",
        of: &[only(
            &[Ddpm],
            r#""fixed_small""#,
            &[r#""fixed_small""#, r#""fixed_small_log""#, r#""fixed_large""#],
        )],
        field: Some(|c| &mut c.variance_type),
    },
    Argument {
        name: "variance_type",
        summary: "a variance that the model predicts",
        of: &[only(&[DpmSolverMultistep], "null", NULL)],
        field: None,
    },
    Argument {
        name: "algorithm_type",
        summary: "the equation that is solved",
        of: &[Of {
            aliases: &[(r#""deis""#, r#""dpmsolver++""#)],
            ..only(
                &[DpmSolverMultistep],
                r#""dpmsolver++""#,
                &[r#""dpmsolver""#, r#""dpmsolver++""#, r#""sde-dpmsolver""#, r#""sde-dpmsolver++""#],
            )
        }],
        field: Some(|c| &mut c.algorithm_type),
    },
    Argument {
        name: "solver_order",
        summary: "the highest order of a step",
        of: &[only(SOLVERS, "2", &["1", "2", "3"])],
        field: Some(|c| &mut c.solver_order),
    },
    Argument {
        name: "solver_type",
        summary: "the form of a step of order 2",
        of: &[
            Of {
                aliases: &[
                    (r#""logrho""#, r#""midpoint""#),
                    (r#""bh1""#, r#""midpoint""#),
                    (r#""bh2""#, r#""midpoint""#),
                ],
                ..only(&[DpmSolverMultistep], r#""midpoint""#, &[r#""midpoint""#, r#""heun""#])
            },
            Of {
                aliases: &[
                    (r#""midpoint""#, r#""bh2""#),
                    (r#""heun""#, r#""bh2""#),
                    (r#""logrho""#, r#""bh2""#),
                ],
                ..only(&[UniPcMultistep], r#""bh2""#, &[r#""bh1""#, r#""bh2""#])
            },
        ],
        field: Some(|c| &mut c.solver_type),
    },
    Argument {
        name: "lower_order_final",
        summary: "the last steps of a short run have a lower order",
        of: &[of(SOLVERS, "true")],
        field: Some(|c| &mut c.lower_order_final),
    },
    Argument {
        name: "euler_at_final",
        summary: "the last step has order 1",
        of: &[of(&[DpmSolverMultistep], "false")],
        field: Some(|c| &mut c.euler_at_final),
    },
    Argument {
        name: "lambda_min_clipped",
        summary: "the lowest log(α / σ) at which a run begins",
        of: &[of(&[DpmSolverMultistep], r#""-Infinity""#)],
        field: Some(|c| &mut c.lambda_min_clipped),
    },
    Argument {
        name: "predict_x0",
        summary: "the solver works on x₀, or on ε",
        of: &[of(&[UniPcMultistep], "true")],
        field: Some(|c| &mut c.predict_x0),
    },
    Argument {
        name: "disable_corrector",
        summary: "steps after which the corrector does not run",
        of: &[of(&[UniPcMultistep], "[]")],
        field: Some(|c| &mut c.disable_corrector),
    },
    Argument {
        name: "solver_p",
        summary: "another scheduler as the predictor",
        of: &[only(&[UniPcMultistep], "null", NULL)],
        field: None,
    },
    Argument {
        name: "original_inference_steps",
        summary: "the number of timesteps in distillation",
        of: &[of(&[Lcm], "50")],
        field: Some(|c| &mut c.original_inference_steps),
    },
    Argument {
        name: "timestep_scaling",
        summary: "the factor of timesteps in the boundary condition",
        of: &[of(&[Lcm], "10.0")],
        field: Some(|c| &mut c.timestep_scaling),
    },
];

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

/// JSON, or a text without quotes.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into()))
}

/// Gives an argument a value, written as in JSON; quotes may be left out.
pub(super) fn set(config: &mut SchedulerConfig, name: &str, text: &str) -> Result<(), String> {
    let known =
        ARGUMENTS.iter().find(|argument| argument.name == name && argument.of_class(config.class).is_some());
    let Some((argument, of)) = known.and_then(|known| Some((known, known.of_class(config.class)?))) else {
        let has = ARGUMENTS.iter().filter(|argument| argument.is_setting_of(config.class));
        let has: Vec<_> = has.map(|argument| argument.name).collect();
        return Err(tr!("{} has no `{name}`; expected {}", config.class.name(), one_of(has.iter()), name));
    };
    let wrong = |expected| tr!("{name} cannot be `{}`; expected {expected}", abridged(text), name, expected);
    argument.assign(of, &parsed(text), config).map_err(wrong)?;
    check(config).map_err(|(key, expected)| {
        let found = config.value(key).unwrap_or_default();
        tr!("{key} cannot be `{}`; expected {expected}", abridged(&found.to_string()), key, expected)
    })
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
    let grids = [
        ("use_karras_sigmas", config.use_karras_sigmas),
        ("use_exponential_sigmas", config.use_exponential_sigmas),
        ("use_beta_sigmas", config.use_beta_sigmas),
    ];
    let mut on = grids.iter().filter(|(_, is_on)| *is_on);
    if let (Some((first, _)), Some((second, _))) = (on.next(), on.next()) {
        return Err((second, tr!("false, because `{first}` is true", first)));
    }
    if config.class == DpmSolverMultistep
        && !config.algorithm_type.predicts_x0()
        && config.final_sigmas_type == FinalSigmasType::Zero
    {
        let algorithm = config.algorithm_type.name();
        return Err(("final_sigmas_type", tr!("\"sigma_min\" with algorithm_type {algorithm}", algorithm)));
    }
    if config.algorithm_type == AlgorithmType::SdeDpmSolver && config.solver_order == 3 {
        return Err(("solver_order", tr!("1 or 2 with algorithm_type sde-dpmsolver")));
    }
    if config.class == Lcm && !(1..=config.num_train_timesteps).contains(&config.original_inference_steps) {
        return Err(("original_inference_steps", tr!("1 to `num_train_timesteps`")));
    }
    Ok(())
}

/// A type that an argument's value can have.
pub trait ArgumentValue {
    /// Takes a value from JSON; the error says what would be right.
    ///
    /// # Errors
    /// When it is of another type.
    fn assign(&mut self, value: &Value) -> Result<(), String>;

    /// The value as JSON.
    fn json(&self) -> Value;
}

impl ArgumentValue for bool {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        *self = value.as_bool().ok_or_else(|| tr!("true or false"))?;
        Ok(())
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

impl ArgumentValue for usize {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        let count = value.as_u64().filter(|count| *count <= MAX_COUNT as u64);
        *self = count.ok_or_else(|| tr!("a whole number from 0 to {MAX_COUNT}", MAX_COUNT))? as usize;
        Ok(())
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

impl ArgumentValue for f64 {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        // Python writes -Infinity, which JSON lacks.
        let infinite = || (value.as_str() == Some("-Infinity")).then_some(f64::NEG_INFINITY);
        *self = value.as_f64().or_else(infinite).ok_or_else(|| tr!("a number"))?;
        Ok(())
    }

    fn json(&self) -> Value {
        if *self == f64::NEG_INFINITY { "-Infinity".into() } else { (*self).into() }
    }
}

impl ArgumentValue for Option<f64> {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        *self = match value {
            Value::Null => None,
            value => Some(value.as_f64().ok_or_else(|| tr!("a number, or null"))?),
        };
        Ok(())
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

impl ArgumentValue for Option<Vec<f32>> {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        let expected = |_| tr!("a list of betas, one per training timestep, or null");
        *self = serde_json::from_value(value.clone()).map_err(expected)?;
        Ok(())
    }

    fn json(&self) -> Value {
        self.clone().into()
    }
}

impl ArgumentValue for Vec<usize> {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        *self = serde_json::from_value(value.clone()).map_err(|_| tr!("a list of steps, such as [0, 2]"))?;
        Ok(())
    }

    fn json(&self) -> Value {
        self.clone().into()
    }
}

macro_rules! named_values {
    ($($name:ident)*) => {
        $(impl ArgumentValue for $name {
            fn assign(&mut self, value: &Value) -> Result<(), String> {
                let known = Self::ALL.iter().find(|(name, _)| value.as_str() == Some(name));
                let names = || one_of(Self::ALL.iter().map(|(name, _)| format!("{name:?}")));
                *self = known.map(|(_, known)| *known).ok_or_else(names)?;
                Ok(())
            }

            fn json(&self) -> Value {
                self.name().into()
            }
        })*
    };
}

named_values!(
    BetaSchedule PredictionType TimestepSpacing InterpolationType TimestepType FinalSigmasType VarianceType AlgorithmType
    SolverType
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::class::{SHORT_NAMES, ShortName};

    #[test]
    fn every_default_is_a_value() {
        for argument in ARGUMENTS {
            for of in argument.of {
                for class in of.classes {
                    let mut config = SchedulerConfig::defaults(*class);
                    argument.assign(of, &default(of), &mut config).unwrap();
                    assert_eq!(argument.value(&config), Some(default(of)), "{} of {class:?}", argument.name);
                    for (_, in_place) in of.aliases {
                        assert!(of.supported.contains(in_place));
                    }
                }
            }
        }
    }

    /// The tables of docs/schedulers.md; with `DIFFUSCOPE_WRITE=1` they are written.
    #[test]
    fn the_page_has_every_name_and_argument() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schedulers.md");
        let mut page = std::fs::read_to_string(file).unwrap();
        for (mark, table) in [("<!-- names -->\n", names()), ("<!-- arguments -->\n", arguments())] {
            let start = page.find(mark).unwrap() + mark.len();
            let end = start + page[start..].find("<!-- end -->").unwrap();
            if std::env::var_os("DIFFUSCOPE_WRITE").is_some() {
                page.replace_range(start..end, &table);
            } else {
                assert_eq!(&page[start..end], table, "{mark}");
            }
        }
        if std::env::var_os("DIFFUSCOPE_WRITE").is_some() {
            std::fs::write(file, page).unwrap();
        }
    }

    fn names() -> String {
        let row = |short: &ShortName| {
            format!(
                "| `{}` | `{}` | {} | {} |\n",
                short.name,
                short.class.name(),
                short.sampler,
                short.summary
            )
        };
        let head =
            "| name | class of diffusers | in AUTOMATIC1111 or ComfyUI | what it is |\n|---|---|---|---|\n";
        SHORT_NAMES.iter().fold(head.to_string(), |table, short| table + &row(short))
    }

    fn arguments() -> String {
        let mut table =
            "| argument | classes | default | supported values | what it is |\n|---|---|---|---|---|\n"
                .to_string();
        for argument in ARGUMENTS {
            for of in argument.of {
                let classes: Vec<_> =
                    of.classes.iter().map(|class| class.name().trim_end_matches("Scheduler")).collect();
                let classes =
                    if classes.len() == Class::ALL.len() { "all".into() } else { classes.join(", ") };
                let code = |values: &[&str]| {
                    values
                        .iter()
                        .map(|value| format!("`{}`", value.trim_matches('"')))
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                let supported = match (of.supported, argument.field) {
                    ([], Some(_)) => "any".into(),
                    ([], None) => "any, without effect".into(),
                    ([one], None) => format!("{}; others are refused", code(&[one])),
                    (values, _) => code(values),
                };
                let aliases = of
                    .aliases
                    .iter()
                    .map(|(found, in_place)| format!("; {} is {}", code(&[found]), code(&[in_place])));
                let supported = supported + &aliases.collect::<String>();
                let (name, default, summary) = (argument.name, code(&[of.default]), argument.summary);
                table += &format!("| `{name}` | {classes} | {default} | {supported} | {summary} |\n");
            }
        }
        table
    }

    #[test]
    fn a_class_has_an_argument_once() {
        for (name, class) in Class::ALL {
            let mut names: Vec<_> = ARGUMENTS
                .iter()
                .filter(|argument| argument.of_class(*class).is_some())
                .map(|argument| argument.name)
                .collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{name}");
        }
    }

    #[test]
    fn a_value_is_set_as_it_is_written() {
        let config = SchedulerConfig::defaults(DpmSolverMultistep);
        assert!(config.with("use_karras_sigmas", "true").unwrap().use_karras_sigmas);
        let trailing = config.with("timestep_spacing", "trailing").unwrap();
        assert_eq!(trailing.timestep_spacing, TimestepSpacing::Trailing);
        assert_eq!(config.with("solver_type", "bh2").unwrap().solver_type, SolverType::Midpoint);
        let wrong = |name, text| config.with(name, text).unwrap_err();
        assert_eq!(
            wrong("timestep_spacing", "even"),
            r#"timestep_spacing cannot be `even`; expected one of "leading", "trailing", "linspace""#
        );
        assert_eq!(wrong("solver_order", "4"), "solver_order cannot be `4`; expected one of 1, 2, 3");
        assert!(
            wrong("skip_prk_steps", "true")
                .starts_with("DPMSolverMultistepScheduler has no `skip_prk_steps`")
        );
        assert!(wrong("algorithm_type", "dpmsolver").contains("\"sigma_min\" with algorithm_type dpmsolver"));
    }
}

//! The scheduler classes: their names here, in diffusers and in A1111, and how a run's scheduler is made.

use super::config::{AlgorithmType, SchedulerConfig, SolverType};
use super::ddim::DdimScheduler;
use super::ddpm::DdpmScheduler;
use super::dpmsolver_multistep::DpmSolverMultistepScheduler;
use super::euler::EulerDiscreteScheduler;
use super::euler_ancestral::EulerAncestralDiscreteScheduler;
use super::heun::HeunDiscreteScheduler;
use super::lcm::LcmScheduler;
use super::lms::LmsDiscreteScheduler;
use super::pndm::PndmScheduler;
use super::schedule_error::{self, ScheduleError};
use super::step::Scheduler;
use super::unipc::UniPcMultistepScheduler;
use crate::phrase::{Phrase, phrase};
use std::ops::Range;
use std::sync::Arc;

/// A scheduler class of diffusers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// `DDIMScheduler`.
    Ddim,
    /// `DDPMScheduler`.
    Ddpm,
    /// `PNDMScheduler`.
    Pndm,
    /// `EulerDiscreteScheduler`.
    EulerDiscrete,
    /// `EulerAncestralDiscreteScheduler`.
    EulerAncestralDiscrete,
    /// `HeunDiscreteScheduler`.
    HeunDiscrete,
    /// `LMSDiscreteScheduler`.
    LmsDiscrete,
    /// `DPMSolverMultistepScheduler`.
    DpmSolverMultistep,
    /// `UniPCMultistepScheduler`.
    UniPcMultistep,
    /// `LCMScheduler`.
    Lcm,
}

/// A short name: a class, with the values of the arguments that the name stands for.
#[derive(Debug, Clone, Copy)]
pub struct ShortName {
    /// The name, such as `dpm++2m`.
    pub name: &'static str,
    /// The class.
    pub class: Class,
    /// A1111's name of the sampler; ComfyUI's where A1111 has none.
    pub sampler: &'static str,
    /// ComfyUI's `sampler_name`; empty where it has none.
    pub comfy: &'static str,
    /// A1111's schedule type of the sampler where it is `Automatic`; empty where no schedule type says it.
    pub automatic: &'static str,
    /// What it is, in a line.
    pub summary: Phrase,
    /// The arguments that the name stands for.
    apply: fn(&mut SchedulerConfig),
}

/// Every short name. The first of a class is the class's own.
pub const SHORT_NAMES: &[ShortName] = &[
    ShortName {
        name: "ddim",
        class: Class::Ddim,
        sampler: "DDIM",
        comfy: "ddim",
        automatic: "DDIM",
        summary: phrase("deterministic, one UNet call a step"),
        apply: |_| (),
    },
    ShortName {
        name: "ddpm",
        class: Class::Ddpm,
        sampler: "DDPM",
        comfy: "ddpm",
        automatic: "",
        summary: phrase("the stochastic sampler of training"),
        apply: |_| (),
    },
    ShortName {
        name: "pndm",
        class: Class::Pndm,
        sampler: "PLMS",
        comfy: "",
        automatic: "DDIM",
        summary: phrase("linear multistep, order 4; Stable Diffusion 1's own"),
        apply: |config| config.skip_prk_steps = true,
    },
    ShortName {
        name: "euler",
        class: Class::EulerDiscrete,
        sampler: "Euler",
        comfy: "euler",
        automatic: "Uniform",
        summary: phrase("Euler's method in sigma"),
        apply: |_| (),
    },
    ShortName {
        name: "euler-a",
        class: Class::EulerAncestralDiscrete,
        sampler: "Euler a",
        comfy: "euler_ancestral",
        automatic: "Uniform",
        summary: phrase("Euler's method with new noise in each step"),
        apply: |_| (),
    },
    ShortName {
        name: "heun",
        class: Class::HeunDiscrete,
        sampler: "Heun",
        comfy: "heun",
        automatic: "Uniform",
        summary: phrase("order 2, two UNet calls a step"),
        apply: |_| (),
    },
    ShortName {
        name: "lms",
        class: Class::LmsDiscrete,
        sampler: "LMS",
        comfy: "lms",
        automatic: "Uniform",
        summary: phrase("linear multistep in sigma, order 4"),
        apply: |_| (),
    },
    ShortName {
        name: "dpm++2m",
        class: Class::DpmSolverMultistep,
        sampler: "DPM++ 2M",
        comfy: "dpmpp_2m",
        automatic: "Karras",
        summary: phrase("multistep in log SNR, order 2"),
        apply: |config| dpm(config, AlgorithmType::DpmSolverPlusPlus, 2),
    },
    ShortName {
        name: "dpm++3m",
        class: Class::DpmSolverMultistep,
        sampler: "DPM++ 3M",
        comfy: "",
        automatic: "",
        summary: phrase("multistep in log SNR, order 3"),
        apply: |config| dpm(config, AlgorithmType::DpmSolverPlusPlus, 3),
    },
    ShortName {
        name: "dpm++2m-sde",
        class: Class::DpmSolverMultistep,
        sampler: "DPM++ 2M SDE",
        comfy: "dpmpp_2m_sde",
        automatic: "Exponential",
        summary: phrase("the same with new noise in each step, order 2"),
        apply: |config| dpm(config, AlgorithmType::SdeDpmSolverPlusPlus, 2),
    },
    ShortName {
        name: "dpm++2m-sde-heun",
        class: Class::DpmSolverMultistep,
        sampler: "DPM++ 2M SDE Heun",
        comfy: "dpmpp_2m_sde_heun",
        automatic: "Exponential",
        summary: phrase("the same in Heun's form"),
        apply: |config| {
            dpm(config, AlgorithmType::SdeDpmSolverPlusPlus, 2);
            config.solver_type = SolverType::Heun;
        },
    },
    ShortName {
        name: "dpm++3m-sde",
        class: Class::DpmSolverMultistep,
        sampler: "DPM++ 3M SDE",
        comfy: "dpmpp_3m_sde",
        automatic: "Exponential",
        summary: phrase("the same with new noise in each step, order 3"),
        apply: |config| dpm(config, AlgorithmType::SdeDpmSolverPlusPlus, 3),
    },
    ShortName {
        name: "unipc",
        class: Class::UniPcMultistep,
        sampler: "UniPC",
        comfy: "uni_pc_bh2",
        automatic: "",
        summary: phrase("multistep predictor and corrector in log SNR"),
        apply: |_| (),
    },
    ShortName {
        name: "lcm",
        class: Class::Lcm,
        sampler: "LCM",
        comfy: "lcm",
        automatic: "",
        summary: phrase("for latent consistency models, 1 to 8 steps"),
        apply: |_| (),
    },
];

/// What a short name may end with: the sigmas as Karras et al. space them.
pub const KARRAS: &str = "-karras";

fn dpm(config: &mut SchedulerConfig, algorithm_type: AlgorithmType, solver_order: usize) {
    (config.algorithm_type, config.solver_order) = (algorithm_type, solver_order);
    config.solver_type = SolverType::Midpoint;
}

impl Class {
    /// Every class with diffusers' name of it.
    pub const ALL: &[(&str, Self)] = &[
        ("DDIMScheduler", Self::Ddim),
        ("DDPMScheduler", Self::Ddpm),
        ("PNDMScheduler", Self::Pndm),
        ("EulerDiscreteScheduler", Self::EulerDiscrete),
        ("EulerAncestralDiscreteScheduler", Self::EulerAncestralDiscrete),
        ("HeunDiscreteScheduler", Self::HeunDiscrete),
        ("LMSDiscreteScheduler", Self::LmsDiscrete),
        ("DPMSolverMultistepScheduler", Self::DpmSolverMultistep),
        ("UniPCMultistepScheduler", Self::UniPcMultistep),
        ("LCMScheduler", Self::Lcm),
    ];

    /// diffusers' name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name)
    }

    /// The class of that name in diffusers.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
    }

    /// Whether the sample is x₀ + σ · ε, and not √ᾱ · x₀ + √(1−ᾱ) · ε.
    pub fn works_in_sigma(self) -> bool {
        matches!(
            self,
            Self::EulerDiscrete | Self::EulerAncestralDiscrete | Self::HeunDiscrete | Self::LmsDiscrete
        )
    }

    /// How many times a run of `n` steps calls the model; the number of its `timesteps`.
    pub fn num_calls(self, config: &SchedulerConfig, n: usize) -> usize {
        match self {
            // The second timestep comes twice.
            Self::Pndm if config.skip_prk_steps && n > 1 => n.saturating_add(1),
            // Three Runge-Kutta steps of four calls take the place of three steps.
            Self::Pndm if !config.skip_prk_steps => n.saturating_add(9),
            // Every step but the last has a second call.
            Self::HeunDiscrete => n.saturating_mul(2).saturating_sub(1),
            _ => n,
        }
    }

    /// The calls that belong to one step with a call, counted from where the run begins. The last step of Heun's method has one: the
    /// other is after the end of the run.
    pub fn calls_of_step(self, config: &SchedulerConfig, call: usize) -> Range<usize> {
        match self {
            Self::HeunDiscrete => call / 2 * 2..call / 2 * 2 + 2,
            Self::Pndm if config.skip_prk_steps && call < 2 => 0..2,
            Self::Pndm if !config.skip_prk_steps && call < 12 => call / 4 * 4..call / 4 * 4 + 4,
            _ => call..call + 1,
        }
    }

    /// diffusers' `order`: the calls of the model in a step, by which image to image skips.
    pub fn order(self) -> usize {
        if self == Self::HeunDiscrete { 2 } else { 1 }
    }
}

impl ShortName {
    /// The names that can be typed: this one, and with `-karras` if the class has such sigmas.
    pub fn typed(&self) -> impl Iterator<Item = String> {
        let has_grid = SchedulerConfig::defaults(self.class).value("use_karras_sigmas").is_some();
        let karras = has_grid.then(|| format!("{}{KARRAS}", self.name));
        std::iter::once(self.name.to_string()).chain(karras)
    }

    /// Whether the method draws new noise in its steps.
    pub fn draws_noise(&self) -> bool {
        let drawing = [Class::Ddpm, Class::EulerAncestralDiscrete, Class::Lcm];
        drawing.contains(&self.class) || self.is_stochastic_solver()
    }

    /// Whether the method solves a stochastic equation with DPM-Solver.
    pub fn is_stochastic_solver(&self) -> bool {
        let mut config = SchedulerConfig::defaults(self.class);
        (self.apply)(&mut config);
        config.algorithm_type.is_stochastic()
    }

    /// The configuration with the name's arguments, and with Karras' sigmas or without a grid of sigmas.
    ///
    /// # Errors
    /// When the class has no such sigmas.
    pub fn apply(&self, mut config: SchedulerConfig, karras: bool) -> Result<SchedulerConfig, String> {
        (self.apply)(&mut config);
        for grid in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"] {
            if config.value(grid).is_some() {
                config = config.with(grid, "false")?;
            }
        }
        if karras { config.with("use_karras_sigmas", "true") } else { Ok(config) }
    }

    /// The short name that says what the configuration is.
    pub fn of(config: &SchedulerConfig) -> Option<&'static Self> {
        let says = |name: &&Self| {
            let mut same = config.clone();
            (name.apply)(&mut same);
            name.class == config.class && same == *config
        };
        SHORT_NAMES.iter().find(says)
    }
}

/// Whether a method of that name has an order that a grid of Karras sigmas shows: it has such sigmas and draws no noise.
pub fn has_order(short: &ShortName) -> bool {
    let config = SchedulerConfig::defaults(short.class);
    let named = short.apply(config, false);
    named.is_ok_and(|config| {
        config.value("use_karras_sigmas").is_some() && !config.algorithm_type.is_stochastic()
    })
}

/// The scheduler of a run, without the check that every step's numbers are finite.
///
/// # Errors
/// As [`scheduler`].
pub fn unchecked(
    config: &SchedulerConfig,
    num_inference_steps: usize,
    eta: f64,
) -> Result<Arc<dyn Scheduler>, ScheduleError> {
    if eta != 0. && config.class != Class::Ddim {
        return Err(ScheduleError::NoEta { eta, class: config.class.name() });
    }
    let n = num_inference_steps;
    Ok(match config.class {
        Class::Ddim => Arc::new(DdimScheduler::new(config, n, eta)?),
        Class::Ddpm => Arc::new(DdpmScheduler::new(config, n)?),
        Class::Pndm => Arc::new(PndmScheduler::new(config, n)?),
        Class::EulerDiscrete => Arc::new(EulerDiscreteScheduler::new(config, n)?),
        Class::EulerAncestralDiscrete => Arc::new(EulerAncestralDiscreteScheduler::new(config, n)?),
        Class::HeunDiscrete => Arc::new(HeunDiscreteScheduler::new(config, n)?),
        Class::LmsDiscrete => Arc::new(LmsDiscreteScheduler::new(config, n)?),
        Class::DpmSolverMultistep => Arc::new(DpmSolverMultistepScheduler::new(config, n)?),
        Class::UniPcMultistep => Arc::new(UniPcMultistepScheduler::new(config, n)?),
        Class::Lcm => Arc::new(LcmScheduler::new(config, n)?),
    })
}

/// The scheduler of a run with `num_inference_steps`. `eta` is DDIM's: 0 is deterministic, 1 adds as much noise as DDPM.
///
/// # Errors
/// When the settings are impossible, or diffusers' numbers would mean nothing: [`ScheduleError`] says why.
pub fn scheduler(
    config: &SchedulerConfig,
    num_inference_steps: usize,
    eta: f64,
) -> Result<Arc<dyn Scheduler>, ScheduleError> {
    let scheduler = unchecked(config, num_inference_steps, eta)?;
    schedule_error::check_steps(&*scheduler)?;
    Ok(scheduler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_short_name() {
        for (name, class) in Class::ALL {
            assert_eq!((Class::of_name(name), class.name()), (Some(*class), *name));
            let config = SchedulerConfig::defaults(*class);
            let short = SHORT_NAMES.iter().find(|short| short.class == *class);
            assert!(short.is_some(), "{name}: {config:?}");
        }
        for short in SHORT_NAMES {
            let config = short.apply(SchedulerConfig::defaults(short.class), false).unwrap();
            assert_eq!(ShortName::of(&config).map(|known| known.name), Some(short.name));
        }
    }

    #[test]
    fn a_run_calls_the_model_as_often_as_diffusers_does() {
        let calls = |class: Class, n| class.num_calls(&SchedulerConfig::defaults(class), n);
        assert_eq!((calls(Class::HeunDiscrete, 20), calls(Class::HeunDiscrete, 1)), (39, 1));
        let mut pndm = SchedulerConfig::defaults(Class::Pndm);
        assert_eq!(Class::Pndm.num_calls(&pndm, 4), 13);
        pndm.skip_prk_steps = true;
        assert_eq!([1, 2, 20].map(|n| Class::Pndm.num_calls(&pndm, n)), [1, 3, 21]);
    }
}

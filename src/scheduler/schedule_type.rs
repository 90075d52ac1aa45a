//! The schedule types of A1111 and ComfyUI, as arguments of diffusers' schedulers, and what the samplers of both programs are here.
//!
//! A schedule type says at which noise levels a run stops. diffusers has one argument for each of these:
//!
//! - Karras, exponential and beta: a grid of sigmas, as in the papers that [`SchedulerConfig`] names.
//! - Uniform and normal: timesteps at equal distances from 999 to 0, both ends included (`linspace`).
//! - Simple: every (1000 / n)-th sigma from the last one down (`trailing`). SGM uniform: n + 1 timesteps from 999 to 0 without the last
//!   one. They are those of `trailing`, up to less than one timestep.
//! - DDIM and ddim_uniform: every (1000 / n)-th timestep from 1 on (`leading` with `steps_offset` 1, as in diffusers' pipeline).
//!
//! Sources: <https://github.com/AUTOMATIC1111/stable-diffusion-webui> (`modules/sd_schedulers.py`, `modules/sd_samplers_kdiffusion.py`,
//! `modules/sd_samplers_timesteps.py`, version 1.10), <https://github.com/comfyanonymous/ComfyUI> (`comfy/samplers.py`), and the table in
//! <https://huggingface.co/docs/diffusers/api/schedulers/overview>.

use super::class::{Class, SHORT_NAMES, ShortName};
use super::config::SchedulerConfig;

/// A schedule type: its names, and the argument that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleType {
    /// A1111's name; empty where it has none.
    pub a1111: &'static str,
    /// ComfyUI's `scheduler`; empty where it has none.
    pub comfy: &'static str,
    /// The argument of diffusers' schedulers.
    pub argument: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// Every schedule type that diffusers' schedulers have. Of two for one argument, the first is written.
pub const SCHEDULE_TYPES: &[ScheduleType] = &[
    ScheduleType { a1111: "Karras", comfy: "karras", argument: "use_karras_sigmas", value: "true" },
    ScheduleType {
        a1111: "Exponential",
        comfy: "exponential",
        argument: "use_exponential_sigmas",
        value: "true",
    },
    ScheduleType { a1111: "Beta", comfy: "beta", argument: "use_beta_sigmas", value: "true" },
    ScheduleType { a1111: "Uniform", comfy: "normal", argument: "timestep_spacing", value: "linspace" },
    ScheduleType { a1111: "Normal", comfy: "", argument: "timestep_spacing", value: "linspace" },
    ScheduleType { a1111: "Simple", comfy: "simple", argument: "timestep_spacing", value: "trailing" },
    ScheduleType {
        a1111: "SGM Uniform",
        comfy: "sgm_uniform",
        argument: "timestep_spacing",
        value: "trailing",
    },
    ScheduleType { a1111: "DDIM", comfy: "ddim_uniform", argument: "timestep_spacing", value: "leading" },
];

/// A1111's schedule type that means the sampler's own.
pub const AUTOMATIC: &str = "Automatic";

impl ScheduleType {
    /// That of a configuration with sigmas; `None` where none of them says it.
    pub fn of(config: &SchedulerConfig) -> Option<&'static Self> {
        let has_sigmas =
            config.value("use_karras_sigmas").is_some() || config.class == Class::EulerAncestralDiscrete;
        let says = |entry: &&Self| {
            let value = config.value(entry.argument);
            value.is_some_and(|value| value.to_string().trim_matches('"') == entry.value)
        };
        SCHEDULE_TYPES.iter().find(says).filter(|_| has_sigmas && !config.use_lu_lambdas)
    }

    /// The one with this name in A1111.
    pub fn of_a1111(name: &str) -> Option<&'static Self> {
        SCHEDULE_TYPES.iter().find(|entry| !name.is_empty() && entry.a1111.eq_ignore_ascii_case(name))
    }

    /// The one with this name in ComfyUI.
    pub fn of_comfy(name: &str) -> Option<&'static Self> {
        SCHEDULE_TYPES.iter().find(|entry| !name.is_empty() && entry.comfy == name)
    }

    /// Whether a class has its argument.
    pub fn is_of(&self, class: Class) -> bool {
        SchedulerConfig::defaults(class).value(self.argument).is_some()
    }
}

/// A sampler of another program.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    /// What it is here.
    pub short: &'static ShortName,
    /// The schedule type that is part of its name, as in `DPM++ 2M Karras` before version 1.9 of A1111.
    pub schedule: Option<&'static ScheduleType>,
    /// An argument that its name stands for, beside those of the short name.
    pub argument: Option<(&'static str, &'static str)>,
}

impl Sampler {
    /// The sampler with this name in A1111.
    pub fn of_a1111(name: &str) -> Option<Self> {
        let named = |name: &str| SHORT_NAMES.iter().find(|short| short.sampler.eq_ignore_ascii_case(name));
        let plain = |short| Self { short, schedule: None, argument: None };
        let with_type = || {
            let (sampler, last) = name.rsplit_once(' ')?;
            let schedule = Some(ScheduleType::of_a1111(last)?);
            Some(Self { schedule, ..plain(named(sampler)?) })
        };
        named(name).map(plain).or_else(with_type)
    }

    /// The sampler with this `sampler_name` in ComfyUI. Those with `_gpu` draw the noise of their steps on the GPU.
    pub fn of_comfy(name: &str) -> Option<Self> {
        let name = name.strip_suffix("_gpu").unwrap_or(name);
        // UniPC in both of its forms: `bh2` is diffusers' default.
        let (name, argument) = match name {
            "uni_pc" => ("uni_pc_bh2", Some(("solver_type", "bh1"))),
            "uni_pc_bh2" => (name, Some(("solver_type", "bh2"))),
            _ => (name, None),
        };
        let short = SHORT_NAMES.iter().find(|short| !name.is_empty() && short.comfy == name)?;
        Some(Self { short, schedule: None, argument })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::SchedulerChoice;

    /// The names that A1111 1.10 lists, old ones with their schedule type, and ours where it has none.
    #[test]
    fn samplers_of_a1111() {
        for (name, expected) in [
            ("DPM++ 2M", Some("dpm++2m")),
            ("DPM++ SDE", None),
            ("DPM++ 2M SDE", Some("dpm++2m-sde")),
            ("DPM++ 2M SDE Heun", Some("dpm++2m-sde-heun")),
            ("DPM++ 2S a", None),
            ("DPM++ 3M SDE", Some("dpm++3m-sde")),
            ("Euler a", Some("euler-a")),
            ("Euler", Some("euler")),
            ("LMS", Some("lms")),
            ("Heun", Some("heun")),
            ("DPM2", None),
            ("DPM2 a", None),
            ("DPM fast", None),
            ("DPM adaptive", None),
            ("Restart", None),
            ("DDIM", Some("ddim")),
            ("DDIM CFG++", None),
            ("PLMS", Some("pndm")),
            ("UniPC", Some("unipc")),
            ("LCM", Some("lcm")),
            ("DDPM", Some("ddpm")),
            ("DPM++ 3M", Some("dpm++3m")),
            ("", None),
            (" ", None),
            ("Karras", None),
        ] {
            assert_eq!(Sampler::of_a1111(name).map(|found| found.short.name), expected, "{name}");
        }
        for (name, short, schedule) in [
            ("DPM++ 2M Karras", "dpm++2m", "Karras"),
            ("LMS Karras", "lms", "Karras"),
            ("DPM++ 2M SDE Exponential", "dpm++2m-sde", "Exponential"),
            ("DPM++ 2M SDE Heun Karras", "dpm++2m-sde-heun", "Karras"),
            ("DPM++ 3M SDE Karras", "dpm++3m-sde", "Karras"),
        ] {
            let found = Sampler::of_a1111(name).unwrap();
            assert_eq!((found.short.name, found.schedule.unwrap().a1111), (short, schedule), "{name}");
        }
    }

    /// The names that ComfyUI lists.
    #[test]
    fn samplers_of_comfyui() {
        for (name, expected) in [
            ("euler", Some("euler")),
            ("euler_cfg_pp", None),
            ("euler_ancestral", Some("euler-a")),
            ("euler_ancestral_cfg_pp", None),
            ("heun", Some("heun")),
            ("heunpp2", None),
            ("dpm_2", None),
            ("dpm_2_ancestral", None),
            ("lms", Some("lms")),
            ("dpm_fast", None),
            ("dpm_adaptive", None),
            ("dpmpp_2s_ancestral", None),
            ("dpmpp_sde", None),
            ("dpmpp_sde_gpu", None),
            ("dpmpp_2m", Some("dpm++2m")),
            ("dpmpp_2m_cfg_pp", None),
            ("dpmpp_2m_sde", Some("dpm++2m-sde")),
            ("dpmpp_2m_sde_gpu", Some("dpm++2m-sde")),
            ("dpmpp_2m_sde_heun", Some("dpm++2m-sde-heun")),
            ("dpmpp_3m_sde", Some("dpm++3m-sde")),
            ("dpmpp_3m_sde_gpu", Some("dpm++3m-sde")),
            ("ddpm", Some("ddpm")),
            ("lcm", Some("lcm")),
            ("ipndm", None),
            ("deis", None),
            ("res_multistep", None),
            ("ddim", Some("ddim")),
            ("uni_pc", Some("unipc")),
            ("uni_pc_bh2", Some("unipc")),
            ("", None),
            ("_gpu", None),
        ] {
            assert_eq!(Sampler::of_comfy(name).map(|found| found.short.name), expected, "{name}");
        }
        assert_eq!(Sampler::of_comfy("uni_pc").unwrap().argument, Some(("solver_type", "bh1")));
    }

    #[test]
    fn every_short_name_and_schedule_type_is_found_by_its_own_names() {
        for short in SHORT_NAMES {
            assert_eq!(Sampler::of_a1111(short.sampler).unwrap().short.name, short.name);
            if !short.comfy.is_empty() {
                assert_eq!(Sampler::of_comfy(short.comfy).unwrap().short.name, short.name);
            }
            if !short.automatic.is_empty() {
                let schedule = ScheduleType::of_a1111(short.automatic).unwrap();
                assert!(schedule.is_of(short.class) && !short.automatic.is_empty(), "{}", short.name);
            }
        }
        for schedule in SCHEDULE_TYPES {
            assert_eq!(ScheduleType::of_a1111(schedule.a1111), Some(schedule));
            if !schedule.comfy.is_empty() {
                assert_eq!(ScheduleType::of_comfy(schedule.comfy), Some(schedule));
            }
            assert!(schedule.is_of(Class::EulerDiscrete), "{schedule:?}");
        }
        for name in ["Polyexponential", "KL Optimal", "Align Your Steps", "Turbo", AUTOMATIC, ""] {
            assert_eq!(ScheduleType::of_a1111(name), None, "{name}");
        }
        for name in ["linear_quadratic", "kl_optimal", ""] {
            assert_eq!(ScheduleType::of_comfy(name), None, "{name}");
        }
    }

    #[test]
    fn a_configuration_has_the_schedule_type_that_it_was_given() {
        let euler = SchedulerChoice::default().named("euler").unwrap();
        for schedule in SCHEDULE_TYPES {
            let config = euler.config().with(schedule.argument, schedule.value).unwrap();
            let found = ScheduleType::of(&config).unwrap();
            assert_eq!((found.argument, found.value), (schedule.argument, schedule.value));
        }
        let ddim = SchedulerChoice::default().named("ddim").unwrap();
        assert_eq!(ScheduleType::of(ddim.config()), None);
    }
}

//! The source of each scheduler, with its counterpart in diffusers and its paper.

use crate::scheduler::Class;

/// A scheduler's file, and what its functions are elsewhere.
pub struct SchedulerSource {
    /// The class.
    pub class: Class,
    /// The file's path in the program.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
    /// diffusers' step.
    pub step: &'static str,
    /// diffusers' `add_noise`.
    pub add_noise: &'static str,
    /// What was published about it.
    pub paper: &'static str,
}

macro_rules! source {
    ($class:ident, $file:literal, $name:literal, $paper:literal) => {
        SchedulerSource {
            class: Class::$class,
            path: concat!("src/scheduler/", $file, ".rs"),
            text: include_str!(concat!("../../scheduler/", $file, ".rs")),
            step: concat!($name, ".step"),
            add_noise: concat!($name, ".add_noise"),
            paper: $paper,
        }
    };
}

/// Every scheduler.
const SOURCES: &[SchedulerSource] = &[
    source!(Ddim, "ddim", "DDIMScheduler", "DDIM: Song et al., 2021, formulas 12 and 16"),
    source!(Ddpm, "ddpm", "DDPMScheduler", "DDPM: Ho et al., 2020, equations 7 and 15"),
    source!(Pndm, "pndm", "PNDMScheduler", "PNDM: Liu et al., 2022, equations 11 to 13"),
    source!(EulerDiscrete, "euler", "EulerDiscreteScheduler", "Karras et al., 2022, algorithm 2"),
    source!(
        EulerAncestralDiscrete,
        "euler_ancestral",
        "EulerAncestralDiscreteScheduler",
        "k-diffusion: sample_euler_ancestral"
    ),
    source!(HeunDiscrete, "heun", "HeunDiscreteScheduler", "Karras et al., 2022, algorithm 1"),
    source!(LmsDiscrete, "lms", "LMSDiscreteScheduler", "k-diffusion: sample_lms"),
    source!(
        DpmSolverMultistep,
        "dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        "DPM-Solver++: Lu et al., 2022, algorithm 2"
    ),
    source!(
        UniPcMultistep,
        "unipc",
        "UniPCMultistepScheduler",
        "UniPC: Zhao et al., 2023, algorithms 1 and 2"
    ),
    source!(Lcm, "lcm", "LCMScheduler", "LCM: Luo et al., 2023, algorithm 3"),
];

/// What a call in a scheduler's file looks like, and the name of the function in the same file.
pub const CALLS: &[(&str, &str)] = &[
    ("scheduler.step(", "step"),
    ("scheduler.add_noise(", "add_noise"),
    ("scheduler.scale_model_input(", "scale_model_input"),
    ("self.coefficients(", "coefficients"),
    ("self.first_call(", "first_call"),
    ("self.second_call(", "second_call"),
    ("self.step_plms(", "step_plms"),
    ("self.step_prk(", "step_prk"),
    ("self.prev_sample(", "prev_sample_of"),
    ("self.prev_sample_of(", "prev_sample_of"),
    ("self.lms_coefficient(", "lms_coefficient"),
    ("self.correct(", "correct"),
    ("self.update(", "update"),
    ("self.terms(", "terms"),
    ("differences(", "differences"),
    ("self.order(", "order"),
];

/// The source of a class.
pub fn of(class: Class) -> &'static SchedulerSource {
    SOURCES.iter().find(|source| source.class == class).unwrap_or(&SOURCES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_source() {
        for (name, class) in Class::ALL {
            assert_eq!((of(*class).class, of(*class).step), (*class, &*format!("{name}.step")));
        }
        for (_, function) in CALLS {
            let head = format!("fn {function}(");
            assert!(SOURCES.iter().any(|source| source.text.contains(&head)), "{function}");
        }
    }
}

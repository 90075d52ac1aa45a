//! Why a schedule cannot be run, and the check of a whole schedule before a run begins.

use super::config::SchedulerConfig;
use super::step::{History, Scheduler, StepInput};
use crate::nn::config::one_of;
use candle_core::{Device, Tensor};
use tr::tr;

/// Why a schedule cannot be run.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ScheduleError {
    /// The number of steps is impossible.
    #[error(transparent)]
    Spacing(#[from] SpacingError),
    /// A step would divide by 0.
    #[error(
        "{}", tr!(
            "timestep {timestep} is pure noise (rescale_betas_zero_snr), at which prediction_type epsilon divides by 0; \
         expected v_prediction or sample, or leading spacing, which does not visit it",
            timestep = .timestep
        ))]
    PureNoise {
        /// The timestep.
        timestep: usize,
    },
    /// A step from pure noise would have a direction of exactly 0, which `f32` rounds to either side.
    #[error(
        "{}", tr!(
            "eta is {eta}: timestep {timestep} is pure noise (rescale_betas_zero_snr), at which new noise would be all of the \
         step; expected less than 1, or leading spacing, which does not visit it",
            eta = .eta, timestep = .timestep
        ))]
    NoDirection {
        /// The eta asked for.
        eta: f64,
        /// The timestep.
        timestep: usize,
    },
    /// A step would take the root of a negative number.
    #[error(
        "{}", tr!(
            "eta is {eta}: at timestep {timestep} the new noise would exceed the noise level; expected 0 to 1",
            eta = .eta, timestep = .timestep
        ))]
    Eta {
        /// The eta asked for.
        eta: f64,
        /// The timestep.
        timestep: usize,
    },
    /// Only DDIM has an eta.
    #[error("{}", tr!(
        "eta is {eta}: {class} has none; expected 0, or scheduler ddim",
        eta = .eta, class = .class
    ))]
    NoEta {
        /// The eta asked for.
        eta: f64,
        /// The class.
        class: &'static str,
    },
    /// PNDM's Runge-Kutta steps take the place of three steps, and need a fourth.
    #[error("{}", tr!(
        "num_inference_steps is {found}: PNDMScheduler with skip_prk_steps false needs at least 4",
        found = .found
    ))]
    TooFewForRungeKutta {
        /// The number of steps asked for.
        found: usize,
    },
    /// A step's numbers are not finite.
    #[error(
        "{}", tr!(
            "{class}: step {step} of {steps} (timestep {timestep}) divides by 0, and diffusers' result is NaN; expected another \
         number of steps, or another {arguments}",
            class = .class, step = .step, steps = .steps, timestep = .timestep, arguments = .arguments
        ))]
    NotFinite {
        /// The class.
        class: &'static str,
        /// The step, from 0.
        step: usize,
        /// The number of steps.
        steps: usize,
        /// Its timestep.
        timestep: f64,
        /// The arguments of the class that may be the reason.
        arguments: String,
    },
    /// diffusers begins such a run at the second entry, and reads past the end of its sigmas.
    #[error(
        "{}", tr!(
            "{class}: the first two timesteps are both {timestep}, and diffusers fails at the end of such a run; expected fewer \
         steps than {steps}",
            class = .class, timestep = .timestep, steps = .steps
        ))]
    RepeatedStart {
        /// The class.
        class: &'static str,
        /// The timestep.
        timestep: f64,
        /// The number of steps.
        steps: usize,
    },
}

/// Why a number of steps is impossible.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpacingError {
    /// No steps, or more than there are training timesteps.
    #[error(
        "{}", tr!(
            "num_inference_steps is {found}; expected 1 to {most}, the timesteps that the model was trained on",
            found = .found, most = .most
        ))]
    Count {
        /// The number asked for.
        found: usize,
        /// `num_train_timesteps`; LCM's `original_inference_steps`.
        most: usize,
    },
    /// A timestep has no beta.
    #[error(
        "{}", tr!(
            "{spacing} spacing with {steps} steps visits timestep {timestep}, and the last that has a beta is {last}; expected fewer \
         steps, or a beta for every timestep in `trained_betas`",
            spacing = .spacing, steps = .steps, timestep = .timestep, last = .last
        ))]
    OutOfRange {
        /// The spacing.
        spacing: &'static str,
        /// The number of steps asked for.
        steps: usize,
        /// The timestep.
        timestep: f64,
        /// The last timestep.
        last: usize,
    },
    /// Rounding gives a different number of timesteps.
    #[error("{}", tr!(
        "{spacing} spacing with {steps} steps rounds to {found} timesteps instead of {expected}; take one step more or fewer",
        spacing = .spacing, steps = .steps, found = .found, expected = .expected
    ))]
    Rounding {
        /// The spacing.
        spacing: &'static str,
        /// The number of steps asked for.
        steps: usize,
        /// The number of timesteps.
        found: usize,
        /// The number of timesteps that the class should have.
        expected: usize,
    },
    /// More than LCM's distillation had.
    #[error("{}", tr!(
        "num_inference_steps is {found}; expected 1 to {most}, LCM's original_inference_steps",
        found = .found, most = .most
    ))]
    Distillation {
        /// The number asked for.
        found: usize,
        /// `original_inference_steps`.
        most: usize,
    },
    /// The noise does not fall.
    #[error("{}", tr!(
        "sigma rises from {from} to {to} in the run; expected sigma_min below sigma_max, and both within the schedule's own",
        from = .from, to = .to
    ))]
    Rising {
        /// A sigma.
        from: f32,
        /// The next one.
        to: f32,
    },
    /// All timesteps are the same.
    #[error("{}", tr!(
        "{spacing} spacing with {steps} steps visits timestep {timestep} every time: nothing would be denoised; expected fewer steps",
        spacing = .spacing, steps = .steps, timestep = .timestep
    ))]
    Repeats {
        /// The spacing.
        spacing: &'static str,
        /// The number of steps asked for.
        steps: usize,
        /// The timestep.
        timestep: f64,
    },
}

/// The arguments that decide whether a step divides by 0, of those that the class has.
fn reasons(config: &SchedulerConfig) -> String {
    let all = [
        "timestep_spacing",
        "solver_order",
        "solver_type",
        "lower_order_final",
        "predict_x0",
        "final_sigmas_type",
        "rescale_betas_zero_snr",
        "num_train_timesteps",
    ];
    let has: Vec<_> = all.into_iter().filter(|argument| config.value(argument).is_some()).collect();
    one_of(has.iter())
}

/// Takes every step of a schedule once, with a single number instead of latents.
///
/// # Errors
/// When the numbers of a step are not finite: diffusers divides by 0 there and returns NaN.
pub fn check_steps(scheduler: &dyn Scheduler) -> Result<(), ScheduleError> {
    let timesteps = scheduler.timesteps();
    let class = scheduler.config().class.name();
    let mut history = History::default();
    for (index, timestep) in timesteps.iter().enumerate() {
        let not_finite = || ScheduleError::NotFinite {
            class,
            step: index,
            steps: timesteps.len(),
            timestep: *timestep,
            arguments: reasons(scheduler.config()),
        };
        let one = Tensor::ones((1, 1, 1, 1), candle_core::DType::F32, &Device::Cpu);
        let one = one.map_err(|_| not_finite())?;
        let noise = scheduler.draws_noise(index).then_some(&one);
        let input = StepInput { index, model_output: &one, sample: &one, noise };
        history = scheduler.step(input, &history).map_err(|_| not_finite())?.history;
    }
    Ok(())
}

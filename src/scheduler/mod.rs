//! The forward process, which adds noise, and the schedulers of diffusers, which remove it; independent of any model.
//!
//! - [`step`]: what every scheduler has in common: its schedule, and one step as data. [`working`]: a step in the making. [`names`]: the names
//!   of its tensors and numbers.
//! - One file a scheduler: [`ddim`], [`ddpm`], [`pndm`] and [`lcm`] work in ᾱ; [`euler`], [`euler_ancestral`], [`heun`] and [`lms`]
//!   in σ; [`dpmsolver_multistep`] and [`unipc`] in log(α / σ).
//! - [`class`]: the classes and their names. [`arguments`]: the constructor arguments of all classes, in one table.
//! - [`config`]: `scheduler/scheduler_config.json`. [`choice`]: the scheduler that a run has.
//! - [`betas`]: the noise of the training timesteps. [`spacing`]: the timesteps of a run. [`alpha_bar`] and [`sigmas`]: a run's
//!   schedule in ᾱ and in σ. `solver`: what DPM-Solver and UniPC share.
//! - [`schedule_type`]: samplers and schedule types of A1111 and ComfyUI.
//! - [`schedule_error`]: why a schedule cannot be run.

pub mod alpha_bar;
pub mod arguments;
pub mod betas;
pub mod choice;
pub mod class;
pub mod config;
pub mod ddim;
pub mod ddpm;
pub mod dpmsolver_multistep;
pub mod euler;
pub mod euler_ancestral;
pub mod heun;
pub mod lcm;
pub mod lms;
pub mod names;
pub mod pndm;
pub mod schedule_error;
pub mod schedule_type;
pub mod sigmas;
mod solver;
pub mod spacing;
pub mod step;
pub mod unipc;
pub mod working;

pub use choice::SchedulerChoice;
pub use class::{Class, ShortName, scheduler};
pub use config::{PredictionType, SchedulerConfig, TimestepSpacing};
pub use ddim::DdimScheduler;
pub use schedule_error::ScheduleError;
pub use step::{Formula, History, Number, Scheduler, Step, StepFormulas, StepInput};

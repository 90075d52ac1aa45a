//! The forward process, which adds noise, and the DDIM sampler, which removes it; independent of any model.
//!
//! - [`config`]: reads `scheduler/scheduler_config.json`.
//! - [`tables`]: betas and alphas of the 1000 training timesteps, and the timesteps of a run.
//! - [`ddim`]: `DDIMScheduler`: one step, with every intermediate value.

pub mod config;
pub mod ddim;
pub mod tables;

pub use config::{BetaSchedule, DdimConfig, PredictionType, TimestepSpacing};
pub use ddim::{DdimScheduler, DdimStep, ScheduleError};

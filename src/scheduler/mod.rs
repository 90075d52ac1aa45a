//! How noise is put on and taken off, apart from any model.
//!
//! - [`config`]: what `scheduler/scheduler_config.json` says.
//! - [`tables`]: the betas and alphas of the 1000 training timesteps, and which of them a run visits.
//! - [`ddim`]: `DDIMScheduler`: one step, with every intermediate that it computed.

pub mod config;
pub mod ddim;
pub mod tables;

pub use config::{BetaSchedule, DdimConfig, PredictionType, TimestepSpacing};
pub use ddim::{DdimScheduler, DdimStep, ScheduleError};

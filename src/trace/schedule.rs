//! The timesteps of a recorded run whose scheduler this program does not have, or does not agree with: what was recorded, and no formulas.

use super::Trace;
use crate::pipeline::Stage;
use crate::scheduler::{Class, History, Scheduler, SchedulerConfig, Step, StepInput};
use candle_core::{Error, Result, Tensor};
use tr::tr;

/// A recorded schedule.
#[derive(Debug)]
pub struct RecordedSchedule {
    config: SchedulerConfig,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
}

impl RecordedSchedule {
    /// The schedule of the recorded steps. A timestep that is not recorded is NaN, as all sigmas are.
    pub fn of(trace: &Trace) -> Self {
        let mut timesteps = vec![];
        for stage in trace.stages() {
            if let Stage::Denoise { step } = stage.stage {
                // A step's number has any size, and the run is as long as its last one.
                timesteps.resize(timesteps.len().max(step.min(MOST) + 1), f64::NAN);
                if let Some(known) = timesteps.get_mut(step) {
                    *known = stage.timestep.unwrap_or(f64::NAN);
                }
            }
        }
        timesteps.resize(timesteps.len().max(1), f64::NAN);
        let sigmas = vec![f32::NAN; timesteps.len() + 1];
        Self { config: SchedulerConfig::defaults(Class::Ddim), timesteps, sigmas }
    }
}

/// The most calls of a recorded run.
pub const MOST: usize = 10_000;

impl Scheduler for RecordedSchedule {
    fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn add_noise(&self, _: &Tensor, _: &Tensor, _: usize) -> Result<Tensor> {
        Err(unknown())
    }

    fn step(&self, _: StepInput<'_>, _: &History) -> Result<Step> {
        Err(unknown())
    }
}

fn unknown() -> Error {
    Error::Msg(tr!("the formulas of a recorded schedule are not known"))
}

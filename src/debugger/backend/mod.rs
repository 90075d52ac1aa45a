//! What a session runs on: loaded models, or a recorded run.
//!
//! - [`info`]: what is known of the models besides their weights. [`recorded`]: a recorded run.

pub mod info;
pub mod recorded;

pub use info::ModelInfo;
pub use recorded::Recording;

use crate::nn::Probe;
use crate::pipeline;
use crate::pipeline::{Models, Request, Snapshot, Stage, advance};
use crate::trace::{RecordedRun, Trace, TraceError};
use std::path::Path;
use std::sync::Arc;

/// What a session runs on.
#[derive(Debug)]
pub struct Backend {
    info: ModelInfo,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    /// Stages are computed.
    Models(Arc<Models>),
    /// Stages are those of a trace.
    Recording(Box<Recording>),
}

impl From<Arc<Models>> for Backend {
    fn from(models: Arc<Models>) -> Self {
        Self { info: ModelInfo::from(&*models), runs: Runs::Models(models) }
    }
}

impl Backend {
    /// The recorded run in `folder`, and its snapshots.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub fn recorded(folder: &Path) -> Result<(Self, Vec<Snapshot>), TraceError> {
        let trace = Trace::open(folder)?;
        let run = RecordedRun::of(&trace)?;
        let info = ModelInfo::of_trace(&trace, &run);
        let snapshots = run.snapshots.clone();
        Ok((Self { info, runs: Runs::Recording(Recording::new(trace, run.snapshots).into()) }, snapshots))
    }

    /// What is known of the models besides their weights.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The loaded models.
    ///
    /// # Errors
    /// [`NoWeights`](pipeline::Error::NoWeights) for a recorded run.
    pub fn models(&self) -> Result<&Arc<Models>, pipeline::Error> {
        match &self.runs {
            Runs::Models(models) => Ok(models),
            Runs::Recording(_) => Err(pipeline::Error::NoWeights),
        }
    }

    /// The recorded run; `None` for loaded models.
    pub fn recording(&self) -> Option<&Recording> {
        match &self.runs {
            Runs::Models(_) => None,
            Runs::Recording(recording) => Some(recording),
        }
    }

    /// Runs the stage that follows `before`, or plays it as it was recorded.
    ///
    /// # Errors
    /// As [`advance`]; [`NotRecorded`](pipeline::Error::NotRecorded) after the last stage of an incomplete trace.
    pub fn advance(&self, before: &Snapshot, probe: &mut dyn Probe) -> Result<Snapshot, pipeline::Error> {
        match &self.runs {
            Runs::Models(models) => advance(before, models, probe),
            Runs::Recording(recording) => {
                recording.play(before, &|attention| self.info.heads_at(attention), probe)
            }
        }
    }

    /// The run with other settings.
    ///
    /// # Errors
    /// As [`Snapshot::with_request`]; a recorded run has its own settings alone.
    pub fn with_request(&self, at: &Snapshot, request: Request) -> Result<Snapshot, pipeline::Error> {
        if *at.request() == request {
            return Ok(at.clone());
        }
        Ok(at.with_request(request, self.models()?)?)
    }

    /// The run with embeddings of its prompts.
    ///
    /// # Errors
    /// As [`Snapshot::encoded`].
    pub fn encoded(&self, at: &Snapshot, probe: &mut dyn Probe) -> Result<Snapshot, pipeline::Error> {
        if at.records().is_empty() || at.is_encoded() {
            return Ok(at.clone());
        }
        at.encoded(self.models()?, probe)
    }

    /// The number of module runs in a stage, for a progress gauge.
    pub fn modules_in(&self, stage: Stage, request: &Request) -> usize {
        match &self.runs {
            Runs::Models(models) => models.modules_in(stage, request),
            Runs::Recording(recording) => recording.stage(stage).map_or(0, |stage| stage.calls.len()),
        }
    }
}

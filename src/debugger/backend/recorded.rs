//! A recorded run: its stages are played, not computed.

use crate::nn::Probe;
use crate::pipeline;
use crate::pipeline::{Snapshot, Stage};
use crate::trace::playback::Playback;
use crate::trace::{RecordedCall, Trace, TraceStage};
use tr::tr;

/// A recorded run.
#[derive(Debug)]
pub struct Recording {
    trace: Trace,
    snapshots: Vec<Snapshot>,
}

impl Recording {
    pub(super) fn new(trace: Trace, snapshots: Vec<Snapshot>) -> Self {
        Self { trace, snapshots }
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// A recorded stage.
    pub fn stage(&self, stage: Stage) -> Option<&TraceStage> {
        self.trace.stage(stage)
    }

    /// The last recorded call of the module at `path` in a stage.
    ///
    /// # Errors
    /// [`NotRecorded`](pipeline::Error::NotRecorded).
    pub fn call(&self, stage: Stage, path: &str) -> Result<(&TraceStage, &RecordedCall), pipeline::Error> {
        let recorded = self.trace.stage(stage);
        let call = recorded.and_then(|recorded| {
            let of_path = |call: &&RecordedCall| call.path == path && call.has_output;
            recorded.calls.iter().rev().find(of_path)
        });
        recorded.zip(call).ok_or_else(|| not_recorded(stage, path))
    }

    /// Checks that any module of a stage is recorded.
    ///
    /// # Errors
    /// [`NotRecorded`](pipeline::Error::NotRecorded).
    pub fn require_any(&self, stage: Stage) -> Result<(), pipeline::Error> {
        let is_any = self.trace.stage(stage).is_some_and(|stage| !stage.calls.is_empty());
        if is_any { Ok(()) } else { Err(not_recorded(stage, &tr!("its modules"))) }
    }

    /// Checks that the modules that `wanted` names by their last names, below paths for which `is_wanted` is true, are recorded.
    ///
    /// # Errors
    /// [`NotRecorded`](pipeline::Error::NotRecorded).
    pub fn require(
        &self,
        stage: Stage,
        is_wanted: &dyn Fn(&str) -> bool,
        names: &[&str],
    ) -> Result<(), pipeline::Error> {
        let calls = self.trace.stage(stage).map_or(&[][..], |stage| &stage.calls);
        let has = |name: &&str| {
            calls.iter().any(|call| {
                let parent = call.path.strip_suffix(*name).and_then(|path| path.strip_suffix('.'));
                parent.is_some_and(is_wanted)
            })
        };
        match names.iter().all(has) {
            true => Ok(()),
            false => Err(not_recorded(stage, &names.join(" and "))),
        }
    }

    /// Plays the stage that follows `before` into `probe`; the run after it.
    pub(super) fn play(
        &self,
        before: &Snapshot,
        heads: &dyn Fn(&str) -> Option<usize>,
        probe: &mut dyn Probe,
    ) -> Result<Snapshot, pipeline::Error> {
        let stage = before.position().ok_or(pipeline::Error::Complete)?;
        let Some(after) = self.snapshots.get(before.records().len() + 1) else {
            return Err(pipeline::Error::NotRecorded(tr!(
                "not recorded: the trace ends before {stage}",
                stage
            )));
        };
        if let (Some(recorded), Some(made)) = (self.trace.stage(stage), after.last()) {
            let scaling_factor = self.trace.manifest().vae.as_ref().map(|vae| vae.scaling_factor);
            Playback { stage: recorded, before, made, scaling_factor, heads }.play(probe)?;
        }
        Ok(after.clone())
    }
}

/// What is missing in a stage, and how it would be recorded.
fn not_recorded(stage: Stage, what: &str) -> pipeline::Error {
    pipeline::Error::NotRecorded(tr!(
        "not recorded in {stage}: {what}; record with --modules and --record-steps, in Python with modules= and steps=",
        what,
        stage
    ))
}

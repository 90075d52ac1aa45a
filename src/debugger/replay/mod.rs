//! A recorded stage run again. [`outputs`]: the output of a module in it.

pub mod outputs;

use super::backend::Backend;
use super::timeline::tree::TimelineTree;
use crate::nn::{Path, Probe, Result};
use crate::pipeline;
use crate::pipeline::{Snapshot, StageRecord};
use candle_core::Tensor;
use std::cell::Cell;
use std::sync::Arc;

/// The run before the stage that made `record`, of whichever timeline has it: running its next stage is running that
/// stage again, with its settings, the generator's state and the mistakes that were made on purpose. `None` when no
/// timeline has the record any more.
///
/// What was changed by hand afterwards is not in it: the stage makes what it made before that.
pub fn before(timelines: &TimelineTree, record: &Arc<StageRecord>, backend: &Backend) -> Option<Snapshot> {
    timelines.list().iter().find_map(|branch| {
        let snapshots = branch.timeline.snapshots();
        let index =
            |snapshot: &Arc<Snapshot>| snapshot.records().iter().position(|known| Arc::ptr_eq(known, record));
        let (done, index) =
            snapshots.iter().enumerate().find_map(|(done, at)| index(at).map(|index| (done, index)))?;
        let before: &Snapshot = snapshots.get(index)?;
        if done == index + 1 {
            return Some(before.clone());
        }
        // A prompt that was changed on the way and encoded again: under the settings of then, which are those before the
        // stage that it was encoded for; of embeddings that were changed by hand, those that they were changed under.
        let then = if record.edited.is_empty() { done.saturating_sub(1) } else { done };
        backend.with_request(before, snapshots.get(then)?.request().clone()).ok()
    })
}

/// Runs the stage that follows `before`, or plays it as it was recorded, watched by `own`; `host` is asked at every module whether that shall stop.
///
/// # Errors
/// The stage's, or a probe's.
pub fn run(
    backend: &Backend,
    before: &Snapshot,
    own: &mut dyn Probe,
    host: &mut dyn Probe,
) -> std::result::Result<Snapshot, pipeline::Error> {
    backend.advance(before, &mut Both { own, host, host_wants: Cell::new(false), wanted: vec![] })
}

/// Two probes: the host's, which interrupts, and the one that asks.
struct Both<'a> {
    own: &'a mut dyn Probe,
    host: &'a mut dyn Probe,
    /// Whether the host wanted the piece that was asked for last: a host that counts is asked once.
    host_wants: Cell<bool>,
    /// Of every piece that was entered, whether the host wanted it.
    wanted: Vec<bool>,
}

impl Probe for Both<'_> {
    fn wants(&self, path: &Path) -> bool {
        self.host_wants.set(self.host.wants(path));
        self.host_wants.get() || self.own.wants(path)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        let host = self.host_wants.get();
        self.wanted.push(host);
        if host {
            self.host.enter(path, inputs)?;
        }
        if self.own.wants(path) { self.own.enter(path, inputs) } else { Ok(()) }
    }

    fn intercept(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        if self.own.wants(path) { self.own.intercept(path, inputs) } else { Ok(None) }
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let output = if self.own.wants(path) { self.own.exit(path, output)? } else { output };
        match self.wanted.pop() {
            Some(true) => self.host.exit(path, output),
            _ => Ok(output),
        }
    }
}

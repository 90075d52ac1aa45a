//! What is recorded of a run, and the cursor on it.
//!
//! - [`tree`]: all timelines, each with the one that it branched off. [`comparison`]: several that advance together.

pub mod comparison;
pub mod tree;

use crate::pipeline::settings::Value;
use crate::pipeline::{Request, Setting, Snapshot, Stage, StageRecord};
use std::sync::Arc;

/// The snapshots of one run, one after each stage, and the cursor on them.
///
/// Stages run at the tip only; before it the cursor moves over what is recorded.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The first is the run before its first stage; there is always one. Timelines that had the same beginning share it.
    snapshots: Vec<Arc<Snapshot>>,
    cursor: usize,
}

impl Timeline {
    /// A timeline that begins with `start`.
    pub fn new(start: Snapshot) -> Self {
        Self { snapshots: vec![Arc::new(start)], cursor: 0 }
    }

    /// The snapshot at the cursor.
    pub fn here(&self) -> &Snapshot {
        &self.snapshots[self.cursor]
    }

    /// The newest snapshot.
    pub fn tip(&self) -> &Snapshot {
        &self.snapshots[self.snapshots.len() - 1]
    }

    /// Where the cursor is: how many stages are done there.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// How many stages are recorded.
    pub fn recorded(&self) -> usize {
        self.snapshots.len() - 1
    }

    /// Whether the cursor is at the newest snapshot.
    pub fn at_tip(&self) -> bool {
        self.cursor == self.recorded()
    }

    /// Moves the cursor on by one recorded stage. False at the tip.
    pub fn forward(&mut self) -> bool {
        let moves = !self.at_tip();
        self.cursor += usize::from(moves);
        moves
    }

    /// Moves the cursor back by one stage. False at the start.
    pub fn backward(&mut self) -> bool {
        let moves = self.cursor > 0;
        self.cursor -= usize::from(moves);
        moves
    }

    /// Moves the cursor to where `done` stages are done, or to the tip.
    pub fn look(&mut self, done: usize) {
        self.cursor = done.min(self.recorded());
    }

    /// Records what the stage at the tip made, and moves the cursor there.
    pub fn push(&mut self, next: Snapshot) {
        self.snapshots.push(Arc::new(next));
        self.cursor = self.recorded();
    }

    /// Replaces the snapshot at the cursor, and drops what follows.
    pub fn replace_here(&mut self, here: Snapshot) {
        self.snapshots.truncate(self.cursor);
        self.snapshots.push(Arc::new(here));
    }

    /// A timeline of what is recorded up to the cursor. Nothing is copied.
    pub fn branch(&self) -> Self {
        Self { snapshots: self.snapshots[..=self.cursor].to_vec(), cursor: self.cursor }
    }

    /// Every snapshot, the first before the first stage.
    pub fn snapshots(&self) -> &[Arc<Snapshot>] {
        &self.snapshots
    }

    /// The records of all recorded stages, in order.
    ///
    /// A prompt that was changed since is encoded anew at the tip; up to the cursor it is still the old one.
    pub fn records(&self) -> Vec<Arc<StageRecord>> {
        let ahead = self.tip().records().get(self.cursor..).unwrap_or_default();
        [self.here().records(), ahead].concat()
    }

    /// The settings that changed on the way and the tensors that were changed by hand, with how many stages were done
    /// then.
    pub fn changes(&self) -> Vec<(usize, Vec<Change>, Vec<Arc<str>>)> {
        let pairs = self.snapshots.iter().zip(&self.snapshots[1..]).enumerate();
        let changes = pairs.map(|(done, (old, new))| {
            (done + 1, changes(old.request(), new.request()), edited(old.edits(), new.edits()))
        });
        changes.filter(|(_, changes, edits)| !changes.is_empty() || !edits.is_empty()).collect()
    }

    /// What was done to tensors by hand at the cursor.
    pub fn edited_here(&self) -> Vec<Arc<str>> {
        let before = self.cursor.checked_sub(1).map(|before| &self.snapshots[before]);
        edited(before.map_or(&[], |before| before.edits()), self.here().edits())
    }

    /// The stage that runs next at the cursor; `None` when the run is complete there.
    pub fn position(&self) -> Option<Stage> {
        self.here().position()
    }
}

/// A setting with another value than before.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Change {
    /// The setting.
    pub setting: Setting,
    /// What it was.
    pub from: Value,
    /// What it is.
    pub to: Value,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} → {}", self.setting, self.from.in_message(), self.to.in_message())
    }
}

/// The edits of `new` that `old` has not. An edit of an embedding is gone once a new prompt is encoded.
pub fn edited(old: &[Arc<str>], new: &[Arc<str>]) -> Vec<Arc<str>> {
    let is_new = |edit: &&Arc<str>| !old.iter().any(|known| Arc::ptr_eq(known, edit));
    new.iter().filter(is_new).cloned().collect()
}

/// The settings that differ between two requests, in the order of the table.
pub fn changes(old: &Request, new: &Request) -> Vec<Change> {
    let change = |setting: Setting| Change { from: setting.get(old), to: setting.get(new), setting };
    let mut settings = Setting::of(new);
    // An argument of the scheduler that is as in the checkpoint's file again.
    let has = |setting: &Setting| {
        let argument = setting.name().strip_prefix("scheduler.");
        argument.is_some_and(|argument| new.scheduler.config().value(argument).is_some())
    };
    let gone = Setting::of(old).into_iter().filter(|setting| has(setting) && !settings.contains(setting));
    let gone: Vec<_> = gone.collect();
    settings.extend(gone);
    settings.into_iter().map(change).filter(|change| change.from != change.to).collect()
}

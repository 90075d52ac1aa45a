//! What is recorded, and where on it its reader looks.

use crate::pipeline::{Snapshot, Stage};

/// The snapshots of one run, one after each stage, and the cursor on them.
///
/// Behind the tip nothing is computed: the cursor walks. Only at the tip does anything run.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The first is the run before its first stage; there is always one.
    snapshots: Vec<Snapshot>,
    cursor: usize,
}

impl Timeline {
    /// A timeline that begins with `start`.
    pub fn new(start: Snapshot) -> Self {
        Self { snapshots: vec![start], cursor: 0 }
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
        self.snapshots.push(next);
        self.cursor = self.recorded();
    }

    /// Puts `here` in the place of the snapshot at the cursor and drops what follows; how many stages that were.
    pub fn replace_here(&mut self, here: Snapshot) -> usize {
        let dropped = self.recorded() - self.cursor;
        self.snapshots.truncate(self.cursor);
        self.snapshots.push(here);
        dropped
    }

    /// The stage that runs next at the cursor; `None` when the run is complete there.
    pub fn position(&self) -> Option<Stage> {
        self.here().position()
    }
}

//! The program around a run: it watches what is computed, shows progress, and may interrupt.

use crate::nn::{Probe, Unwatched};
use crate::pipeline::Stage;

/// A probe that is also told how a stage progresses.
pub trait Host: Probe {
    /// `stage` is about to run `modules` modules; `None` where their number is unknown, as when several runs advance
    /// together.
    fn stage_begins(&mut self, stage: Stage, modules: Option<usize>) {
        let _ = (stage, modules);
    }

    /// A stage on a thread of its own has run `count` modules and lines; the current line is `line`.
    fn pieces_ran(&mut self, count: usize, line: &'static str) {
        let _ = (count, line);
    }

    /// Whether the run must stop. A stage on a thread of its own asks this, since no probe is called on this thread.
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl Host for Unwatched {}

//! `undo` and `redo`: what commands changed, and what `restart` and `delete` dropped, comes back.
//!
//! Snapshots are shared, so a state of the session holds references. Stages that ran and can run again are no reason to
//! remember a state: `back` goes over them.

use super::breakpoints::Breakpoints;
use super::{Session, SessionError};
use crate::debugger::language::command::Command;
use crate::debugger::language::preview::PreviewPolicy;
use crate::debugger::language::verb::Class;
use crate::debugger::outcome::Outcome;
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::tree::TimelineTree;
use crate::pipeline::memory;
use std::collections::VecDeque;
use tr::tr;

/// How many commands can be undone.
const MOST: usize = 10;

/// A session as it was before a command.
#[derive(Debug, Clone)]
struct State {
    timelines: TimelineTree,
    comparison: Option<Comparison>,
    comparing: bool,
    breakpoints: Breakpoints,
    previewing: PreviewPolicy,
}

/// The states that a session can return to, each with the command that left it.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Before each command, the newest last.
    done: VecDeque<(String, State)>,
    /// After each command that was undone, the next to redo last.
    undone: Vec<(String, State)>,
}

/// Whether a command changes what `undo` brings back.
fn is_undoable(command: &Command) -> bool {
    command.class() == Class::Edits || matches!(command, Command::Restart(_))
}

impl Session {
    fn state(&self) -> State {
        State {
            timelines: self.timelines.clone(),
            comparison: self.comparison.clone(),
            comparing: self.comparing,
            breakpoints: self.breakpoints.clone(),
            previewing: self.previewing,
        }
    }

    /// Makes the session what it was; returns what it is now.
    fn exchange(&mut self, state: State) -> State {
        self.leave();
        let now = self.state();
        State {
            timelines: self.timelines,
            comparison: self.comparison,
            comparing: self.comparing,
            breakpoints: self.breakpoints,
            previewing: self.previewing,
        } = state;
        now
    }

    /// Carries out `command` with `run`, and remembers the state before it if it can be undone.
    pub(super) fn remembering(
        &mut self,
        command: &Command,
        run: impl FnOnce(&mut Self) -> Result<Outcome, SessionError>,
    ) -> Result<Outcome, SessionError> {
        let before = is_undoable(command).then(|| self.state());
        let mut outcome = run(self)?;
        if let Some(before) = before {
            self.history.undone.clear();
            self.history.done.push_back((command.to_string(), before));
            if self.history.done.len() > MOST {
                self.history.done.pop_front();
            }
        }
        let dropped = self.history.make_room(self.is_short_of_memory());
        if dropped > 0 {
            outcome.warnings.push(tr!(
                "memory is short: the {dropped} oldest states that `undo` could return to are dropped",
                dropped
            ));
        }
        Ok(outcome)
    }

    /// Whether the main memory has no room for the records of another run like this one.
    fn is_short_of_memory(&self) -> bool {
        if self.history.done.is_empty() && self.history.undone.is_empty() {
            return false;
        }
        let (Ok(models), Some(available)) = (self.backend.models(), memory::available()) else {
            return false;
        };
        memory::needed_by_records(models, self.timeline().here().request(), 0) > u128::from(available)
    }

    /// `undo`: returns to before the last command that changed something.
    pub(super) fn undo(&mut self) -> Result<Outcome, SessionError> {
        let Some((command, before)) = self.history.done.pop_back() else {
            return Err(SessionError::Refused(tr!(
                "nothing to undo; set, patch, break, delete, rename and restart can be undone"
            )));
        };
        let now = self.exchange(before);
        let mut outcome = self.moved(None, vec![])?;
        outcome.messages.insert(0, tr!("undone: `{command}`; `redo` does it again", command));
        self.history.undone.push((command, now));
        Ok(outcome)
    }

    /// `redo`: returns to where the last `undo` was given.
    pub(super) fn redo(&mut self) -> Result<Outcome, SessionError> {
        let Some((command, after)) = self.history.undone.pop() else {
            return Err(SessionError::Refused(tr!("nothing to redo; expected `undo` before it")));
        };
        let now = self.exchange(after);
        let mut outcome = self.moved(None, vec![])?;
        outcome.messages.insert(0, tr!("done again: `{command}`", command));
        self.history.done.push_back((command, now));
        Ok(outcome)
    }
}

impl History {
    /// Drops the older half of the states if memory is short; returns how many.
    fn make_room(&mut self, is_short: bool) -> usize {
        if !is_short {
            return 0;
        }
        let count = self.done.len().div_ceil(2) + self.undone.len();
        self.done.drain(..self.done.len().div_ceil(2));
        self.undone.clear();
        count
    }
}

#[cfg(all(test, feature = "bundled"))]
mod tests;

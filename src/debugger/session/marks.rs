//! A place to come back to, whatever was done meanwhile.

use super::breakpoints::Breakpoints;
use super::{Session, SessionError, SessionHost};
use crate::debugger::outcome::Outcome;
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::tree::TimelineTree;

/// Where a session stood: its timelines and comparison, its breakpoints, the line of a stage that was stepped through.
/// Cheap: what was recorded is shared.
#[derive(Debug)]
pub struct Mark {
    timelines: TimelineTree,
    comparison: Option<Comparison>,
    comparing: bool,
    breakpoints: Breakpoints,
    line: Option<&'static str>,
}

impl Session {
    /// Where the session stands.
    pub fn mark(&self) -> Mark {
        Mark {
            timelines: self.timelines.clone(),
            comparison: self.comparison.clone(),
            comparing: self.comparing,
            breakpoints: self.breakpoints.clone(),
            line: self.inside.as_ref().map(|inside| inside.line),
        }
    }

    /// Back to where the session stood; what was done since is kept on other timelines. A stage that was stepped
    /// through then is stepped through again, up to its line.
    ///
    /// # Errors
    /// When that stage does not run, or a tensor cannot be copied from its device.
    pub fn come_back(&mut self, mark: &Mark, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        self.leave();
        let kept = self.timelines.come_back(&mark.timelines);
        self.comparison.clone_from(&mark.comparison);
        self.comparing = mark.comparing;
        self.breakpoints.clone_from(&mark.breakpoints);
        let mut outcome = self.moved(None, vec![])?;
        if let Some(line) = mark.line {
            // A stage has fewer lines.
            const MOST: usize = 100;
            for _ in 0..MOST {
                outcome = self.step(1, host)?;
                if self.inside.as_ref().is_none_or(|inside| inside.line == line) {
                    break;
                }
            }
        }
        outcome.messages.insert(0, format!("back on {}", self.timelines.current().name));
        if !kept.is_empty() {
            outcome.messages.push(format!("what you did is kept: {}", kept.join(", ")));
        }
        outcome.position = self.position_name();
        outcome.moved = true;
        Ok(outcome)
    }
}

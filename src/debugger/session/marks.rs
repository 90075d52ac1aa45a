//! A place to come back to, whatever was done meanwhile.

use super::{Answered, Host, Session, SessionError};
use crate::debugger::breakpoint::Breakpoints;
use crate::debugger::comparison::Comparison;
use crate::debugger::timelines::Timelines;

/// Where a session stood: its timelines and comparison, its breakpoints, the line of a stage that was stepped through.
/// Cheap: what was recorded is shared.
#[derive(Debug)]
pub struct Mark {
    timelines: Timelines,
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

    /// Back to where the session stood; what was done since is kept on timelines of its own. A stage that was stepped
    /// through then is stepped through again, up to its line.
    ///
    /// # Errors
    /// When that stage does not run, or a tensor cannot be copied from its device.
    pub fn come_back(&mut self, mark: &Mark, host: &mut dyn Host) -> Result<super::Outcome, SessionError> {
        self.leave();
        let kept = self.timelines.come_back(&mark.timelines);
        self.comparison.clone_from(&mark.comparison);
        self.comparing = mark.comparing;
        self.breakpoints.clone_from(&mark.breakpoints);
        let mut answered = self.moved(None, vec![])?;
        if let Some(line) = mark.line {
            // A stage has fewer lines.
            const MOST: usize = 100;
            for _ in 0..MOST {
                answered = self.step(1, host)?;
                if self.inside.as_ref().is_none_or(|inside| inside.line == line) {
                    break;
                }
            }
        }
        let Answered { mut messages, warnings, stopped, tensors, variants, displays, .. } = answered;
        messages.insert(0, format!("back on {}", self.timelines.current().name));
        if !kept.is_empty() {
            messages.push(format!("what you did is kept: {}", kept.join(", ")));
        }
        let position = self.position_name();
        Ok(super::Outcome {
            position,
            messages,
            warnings,
            stopped,
            tensors,
            variants,
            displays,
            ..Default::default()
        })
    }
}

//! Stepping into a stage.

use super::{Answered, Host, Session, SessionError, said};
use crate::debugger::inside::{Inside, Stepped};
use crate::debugger::report::TensorRow;
use crate::debugger::source::Function;
use crate::pipeline::{self, Snapshot};
use crate::tensor::PlainTensor;

/// Lines of source that `list` shows before and behind the line at hand.
const AROUND: usize = 8;

/// What is said where a stage was left before its end.
pub(super) const LEFT: &str = "left the stage: what it did so far is dropped";

impl Session {
    /// Into the stage, to before its first line; inside, over `count` lines. Behind the tip the stage runs again.
    pub(super) fn step(&mut self, count: usize, host: &mut dyn Host) -> Result<Answered, SessionError> {
        for _ in 0..count {
            let stepped = match &mut self.inside {
                Some(inside) => inside.step(host),
                None => {
                    let (models, here) =
                        (std::sync::Arc::clone(&self.models), self.timeline().here().clone());
                    match Inside::enter(models, here, host) {
                        Ok(inside) => {
                            self.inside = Some(inside);
                            Ok(Stepped::Waits)
                        }
                        Err(e) => Err(e),
                    }
                }
            };
            match stepped {
                Ok(Stepped::Waits) => {}
                Ok(Stepped::Done(next)) => return self.stepped_out(*next, host),
                Err(e) => return self.stepped_wrong(e),
            }
        }
        self.frame()
    }

    /// Out of the stage, over what is left of it.
    pub(super) fn finish(&mut self, host: &mut dyn Host) -> Result<Answered, SessionError> {
        if self.inside.is_none() {
            return Err(SessionError::Refused("not inside a stage; `step` goes into the next one".into()));
        }
        self.step(usize::MAX, host)
    }

    fn stepped_out(&mut self, next: Snapshot, host: &mut dyn Host) -> Result<Answered, SessionError> {
        let warnings = self.record_step(next, host);
        let hit = self.stop_here();
        self.moved(hit, warnings)
    }

    /// The stage that was stepped through is done: it is recorded, unless it was recorded before. Its warnings.
    fn record_step(&mut self, next: Snapshot, host: &mut dyn Host) -> Vec<String> {
        self.inside = None;
        if self.timeline_mut().forward() {
            return vec![];
        }
        self.timeline_mut().push(next);
        host.stage_done(self);
        self.timeline().here().last().map_or(vec![], |record| record.warnings.clone())
    }

    /// Runs what is left of the stage that is stepped through; its warnings. `None` when there is none.
    pub(super) fn run_out(&mut self, host: &mut dyn Host) -> Result<Option<Vec<String>>, pipeline::Error> {
        loop {
            let Some(inside) = &mut self.inside else { return Ok(None) };
            match inside.step(host) {
                Ok(Stepped::Waits) => {}
                Ok(Stepped::Done(next)) => return Ok(Some(self.record_step(*next, host))),
                Err(e) => {
                    self.inside = None;
                    return Err(e);
                }
            }
        }
    }

    fn stepped_wrong(&mut self, error: pipeline::Error) -> Result<Answered, SessionError> {
        self.inside = None;
        match error {
            pipeline::Error::Forward(interrupted @ crate::nn::Error::Interrupted(_)) => {
                self.moved(Some(interrupted.to_string()), vec![])
            }
            other => Err(other.into()),
        }
    }

    /// Leaves a stage that is stepped through: what it did so far is dropped. Whether there was one.
    pub(super) fn leave(&mut self) -> bool {
        self.inside.take().is_some()
    }

    /// Where a stage that is stepped through waits, with what is known there.
    pub(super) fn frame(&self) -> Result<Answered, SessionError> {
        let Some(inside) = &self.inside else {
            return Ok(said(format!("not inside a stage; next: {}", self.position_name())));
        };
        let mut answered = said(self.place());
        if !self.timeline().at_tip() {
            answered.warnings.push("the stage is recorded already: it runs again, and makes the same".into());
        }
        for (name, tensor) in inside.values() {
            answered.tensors.push(TensorRow::new(name, None, &PlainTensor::of(&tensor)?));
        }
        answered.displays = self.displayed();
        Ok(answered)
    }

    /// `denoise 3 › unet (src/pipeline/stages.rs:118)`.
    fn place(&self) -> String {
        let Some(inside) = &self.inside else { return self.position_name() };
        let line = inside.line.rsplit('.').next().unwrap_or(inside.line);
        let function = Function::of(inside.stage);
        let at = function.line_of(inside.line).map(|line| format!(" ({}:{line})", function.path()));
        format!("{} › {line}{}", inside.stage, at.unwrap_or_default())
    }

    /// The frames, the innermost first.
    pub(super) fn backtrace(&self) -> Answered {
        let mut messages = vec![format!("#0 {}", self.place())];
        if self.inside.is_some() {
            messages.push(format!("#1 {}", self.position_name()));
        }
        Answered { messages, ..Answered::default() }
    }

    /// The source of the stage that runs next, with the line at hand marked; without one, its beginning.
    pub(super) fn list(&self) -> Result<Answered, SessionError> {
        let stage = self.timeline().position().ok_or(pipeline::Error::Complete)?;
        let function = Function::of(stage);
        let (first, text) = function.text();
        let here = self.inside.as_ref().and_then(|inside| function.row_of(inside.line));
        let (from, to) = here.map_or((0, text.len()), |row| (row.saturating_sub(AROUND), row + AROUND + 1));
        let lines = text.iter().enumerate().take(to).skip(from);
        let messages = lines.map(|(row, line)| {
            let mark = if Some(row) == here { "▶" } else { " " };
            format!("{mark}{:>4} {line}", first + row)
        });
        Ok(Answered { messages: messages.collect(), ..Answered::default() })
    }
}

//! Stepping into a stage, line by line and module by module, and stopping in one.

use super::moves::stop_message;
use super::scope::Scope;
use super::{Session, SessionError, SessionHost};
use crate::debugger::outcome::Outcome;
use crate::debugger::source::module;
use crate::debugger::stepping::{Catch, HookPhase, PausedStage, Reason, ResumeUntil, Stepped, Until};
use crate::pipeline::{self, Snapshot, Stage, lines};
use std::sync::Arc;
use tr::tr;

/// What became of a stage that was let run on.
pub(super) enum Walked {
    /// It waits inside; why, where a breakpoint stopped it.
    Halted(Option<String>),
    /// It is done and recorded; what a reader should know.
    Done(Vec<String>),
}

impl Session {
    /// Into the stage, to before its first line; inside, into the current line or module, `count` times. A recorded
    /// stage runs again.
    pub(super) fn step(&mut self, count: usize, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        self.walk(count, host, |_| ResumeUntil::until(Until::Next))
    }

    /// Over `count` lines or modules; a breakpoint within one stops.
    pub(super) fn next_inside(
        &mut self,
        count: usize,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        self.walk(count, host, |session| {
            let module = session.inside.as_ref().and_then(|inside| inside.module.as_ref());
            session.watching(match module {
                Some(module) => Until::OutOf(module.to_string()),
                None => Until::Line,
            })
        })
    }

    /// Out of the module that the current one is part of; of a line's own modules, out of the line; at a line, out of the
    /// stage.
    pub(super) fn finish(&mut self, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        let Some(inside) = &self.inside else {
            return Err(SessionError::Refused(tr!("not inside a stage; `step` goes into the next one")));
        };
        let until = match inside.module.as_ref().map(|module| module::parent(module.as_str())) {
            Some(Some(parent)) if parent.contains('.') => Until::OutOf(parent.into()),
            Some(_) => Until::Line,
            None => Until::End,
        };
        let watch = self.watching(until);
        self.walk(1, host, |_| watch.clone())
    }

    /// Lets the stage run on `count` times, each until where `watch` says.
    fn walk(
        &mut self,
        count: usize,
        host: &mut dyn SessionHost,
        watch: impl Fn(&Self) -> ResumeUntil,
    ) -> Result<Outcome, SessionError> {
        for left in (0..count).rev() {
            let watch = watch(self);
            match self.run_inside(&watch, host) {
                Ok(Walked::Halted(None)) if left > 0 => {}
                Ok(Walked::Halted(stopped)) => return self.frame(stopped),
                Ok(Walked::Done(warnings)) => {
                    let hit = self.stop_here(host)?;
                    return self.stopped(hit, warnings);
                }
                Err(pipeline::Error::Forward(interrupted @ crate::nn::Error::Interrupted(_))) => {
                    return self.moved(Some(interrupted.to_string()), vec![]);
                }
                Err(other) => return Err(other.into()),
            }
        }
        self.frame(None)
    }

    /// On to before `until`, unless a breakpoint comes first.
    fn watching(&self, until: Until) -> ResumeUntil {
        ResumeUntil {
            until,
            breaks: self.breakpoints.of_modules(),
            catch: if self.breakpoints.look_at_all() { Catch::All } else { Catch::Nothing },
            keep: self.breakpoints.asked_for(),
        }
    }

    /// Whether a breakpoint may stop `stage` at one of its modules.
    pub(super) fn may_halt_in(&self, stage: Stage) -> bool {
        let patterns = self.breakpoints.of_modules();
        let is_stopped_at = |path: &str| {
            lines::running(stage, path).is_some() && patterns.iter().any(|(pattern, _)| pattern.matches(path))
        };
        self.breakpoints.look_at_all()
            || !patterns.is_empty()
                && crate::debugger::replay::outputs::has(self.backend.info(), is_stopped_at)
    }

    /// Runs what is left of the stage that is stepped through, or all of the next one, to where a breakpoint stops it.
    pub(super) fn run_watched(&mut self, host: &mut dyn SessionHost) -> Result<Walked, pipeline::Error> {
        let watch = self.watching(Until::End);
        self.run_inside(&watch, host)
    }

    /// Lets the current stage run on, or goes into the next one.
    fn run_inside(
        &mut self,
        watch: &ResumeUntil,
        host: &mut dyn SessionHost,
    ) -> Result<Walked, pipeline::Error> {
        loop {
            let stepped = match &mut self.inside {
                Some(inside) => inside.go_on(watch.clone(), host),
                None => self.go_into(watch.clone(), host),
            };
            match stepped {
                Ok(Stepped::Waits(Reason::Arrived)) => return Ok(Walked::Halted(None)),
                Ok(Stepped::Waits(_)) => {
                    if let Some(hit) = self.hit_inside(watch) {
                        return Ok(Walked::Halted(Some(hit)));
                    }
                }
                Ok(Stepped::Done(next)) => return Ok(Walked::Done(self.record_step(*next, host))),
                Err(e) => {
                    self.inside = None;
                    return Err(e);
                }
            }
        }
    }

    fn go_into(
        &mut self,
        watch: ResumeUntil,
        host: &mut dyn SessionHost,
    ) -> Result<Stepped, pipeline::Error> {
        let (backend, here) = (Arc::clone(&self.backend), self.timeline().here().clone());
        if let Some(stage) = here.position() {
            host.stage_begins(stage, Some(self.backend.modules_in(stage, here.request())));
        }
        let (inside, stepped) = PausedStage::enter(backend, here, watch, host)?;
        self.inside = inside;
        Ok(stepped)
    }

    /// Why the stage is stopped at the current module or line, when it is.
    fn hit_inside(&mut self, watch: &ResumeUntil) -> Option<String> {
        let inside = self.inside.as_ref()?;
        let path = inside.path().to_string();
        if watch.catch == Catch::NotFinite && inside.moment == HookPhase::After {
            return Some(tr!("{path} made what is not finite, of {}", self.given(), path));
        }
        let scope = Scope::new(&self.timelines, Some(inside), &self.backend, &self.texts, &self.outputs);
        let hit = self.breakpoints.hit_inside(&scope, &path, inside.moment);
        hit.as_ref().map(stop_message)
    }

    /// The inputs of the current module or line, in a few words: whether they are finite.
    fn given(&self) -> &'static str {
        let inputs = self.inside.as_ref().map_or(&[][..], |inside| &inside.inputs);
        let is_broken = |tensor| crate::tensor::PlainTensor::of(tensor).is_ok_and(|plain| !plain.is_finite());
        match inputs.iter().any(|(_, input)| is_broken(input)) {
            true => "what is not finite already",
            false => "finite inputs",
        }
    }

    /// Runs the stage before the cursor, which made `what` is not finite, again with every module and line watched, and stops after the
    /// first that did. Where none is found the run stands where it stood. Why it stopped.
    pub(super) fn find_not_finite(
        &mut self,
        told: String,
        host: &mut dyn SessionHost,
    ) -> Result<String, SessionError> {
        if !self.timeline_mut().backward() {
            return Ok(told);
        }
        let watch = ResumeUntil { until: Until::End, catch: Catch::NotFinite, ..ResumeUntil::default() };
        match self.run_inside(&watch, host) {
            Ok(Walked::Halted(found)) => Ok(match found {
                Some(found) => format!("{told}; {found}"),
                None => told,
            }),
            // The stage is recorded: the cursor is where it was.
            Ok(Walked::Done(_)) => Ok(told),
            Err(pipeline::Error::Forward(crate::nn::Error::Interrupted(_))) => {
                self.timeline_mut().forward();
                Ok(told)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The stage that was stepped through is done: it is recorded, unless it was recorded before. Its warnings.
    fn record_step(&mut self, next: Snapshot, host: &mut dyn SessionHost) -> Vec<String> {
        self.inside = None;
        if self.timeline_mut().forward() {
            return vec![];
        }
        self.timeline_mut().push(next);
        host.stage_done(self);
        self.timeline().here().last().map_or(vec![], |record| record.warnings.clone())
    }

    /// Leaves a stage that is stepped through: what it did so far is dropped. Whether there was one.
    pub(super) fn leave(&mut self) -> bool {
        let left = self.inside.take().is_some();
        self.left |= left;
        left
    }

    /// Where the run stands: inside of a stage, or between two.
    pub(super) fn stopped(
        &self,
        stopped: Option<String>,
        warnings: Vec<String>,
    ) -> Result<Outcome, SessionError> {
        match self.inside {
            Some(_) => self.frame(stopped),
            None => self.moved(stopped, warnings),
        }
    }
}

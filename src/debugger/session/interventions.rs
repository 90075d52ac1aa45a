//! Changing what modules make, from here on or in one step.

use super::{Session, SessionError, SessionHost};
use crate::debugger::language::intervention::ModuleEdit;
use crate::debugger::language::place::Stop;
use crate::debugger::outcome::Outcome;
use crate::debugger::replay::outputs;
use crate::debugger::text::shape;
use crate::nn::Error;
use crate::nn::pattern::Pattern;
use crate::pipeline::{self, Intervention, Stage, lines};
use std::sync::Arc;
use tr::tr;

impl Session {
    /// Refuses a stage that the run does not have, and a module that the models do not.
    pub(super) fn check_stop(&self, stop: &Stop) -> Result<(), SessionError> {
        match stop {
            Stop::Before(place) => self.check_place(*place),
            Stop::Module(pattern) => self.check_modules(pattern),
            Stop::Condition | Stop::NotFinite => Ok(()),
        }
    }

    fn check_modules(&self, pattern: &Pattern) -> Result<(), SessionError> {
        match outputs::has(self.backend.info(), |path| pattern.matches(path)) {
            true => Ok(()),
            false => Err(SessionError::Refused(outputs::unknown(self.backend.info(), pattern.as_str()))),
        }
    }

    /// Changes the outputs of modules from here on, on a new timeline.
    pub(super) fn intervene(&mut self, edit: &ModuleEdit) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("set")?;
        self.backend.models()?;
        self.check_modules(edit.modules())?;
        let here = self.timeline().here();
        let steps = here.request().steps();
        let to_come: Vec<Stage> =
            (here.records().len()..).map_while(|index| Stage::at(index, &steps)).collect();
        let runs = |path: &str| to_come.iter().any(|stage| lines::running(*stage, path).is_some());
        if !outputs::has(self.backend.info(), |path| edit.modules().matches(path) && runs(path)) {
            return Err(SessionError::Refused(tr!(
                "{} runs in no stage that is to come; `back` first",
                edit.modules()
            )));
        }
        let intervention = edit.intervention(&self.here())?;
        Ok(self.go_on_with(intervention, &format!("{}-edited", short(edit.modules()))))
    }

    /// Runs the next stage on a new timeline, with the output that a module has in it on another timeline.
    pub(super) fn patch(
        &mut self,
        pattern: &Pattern,
        from: &str,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("patch")?;
        self.backend.models()?;
        self.check_modules(pattern)?;
        if !pattern.is_one() {
            return Err(SessionError::Refused(tr!(
                "patch wants one module; `{pattern}` may be several",
                pattern
            )));
        }
        let stage = self.timeline().position().ok_or(pipeline::Error::Complete)?;
        let path = pattern.as_str().to_string();
        if lines::running(stage, &path).is_none() {
            let runs = outputs::stage_of(&path);
            return Err(SessionError::Refused(tr!(
                "{path} does not run in {stage}, which is next; it runs in {runs}",
                path,
                stage,
                runs
            )));
        }
        let other = self.timelines.named(from)?;
        let is_there = |run: &&Arc<crate::pipeline::Snapshot>| run.position() == Some(stage);
        let Some(before) = other.timeline.snapshots().iter().find(is_there).cloned() else {
            return Err(SessionError::Refused(tr!(
                "{from} has not come to {stage}; `switch {from}` and run it until there",
                from,
                stage
            )));
        };
        let theirs = outputs::output_of(&self.backend, &before, &path, host)?;
        let shape = shape(theirs.dims());
        let text: Arc<str> = format!("patch {path} from {from}").into();
        let (at, told) = (path.clone(), Arc::clone(&text));
        let intervention = Intervention {
            text,
            only: Some(stage),
            is_at: Arc::new(move |path| path.as_str() == at),
            change: Arc::new(move |_, output| match output.dims() == theirs.dims() {
                true => Ok(theirs.clone()),
                false => Err(Error::Input(tr!(
                    "`{told}`: there it makes {}, here {}",
                    format_args!("{:?}", theirs.dims()),
                    format_args!("{:?}", output.dims()),
                    told
                ))),
            }),
        };
        let mut outcome = self.go_on_with(intervention, &format!("{}-patched", short(pattern)));
        outcome.messages.insert(
            1,
            tr!("{stage} runs with what {path} makes on {from}: {shape}", stage, path, from, shape),
        );
        Ok(outcome)
    }

    fn go_on_with(&mut self, intervention: Intervention, wish: &str) -> Outcome {
        self.leave();
        let mut outcome = Outcome::message(intervention.text.to_string());
        let forked = self.fork_off(wish);
        let next = self.timeline().here().with_intervention(intervention);
        self.timeline_mut().replace_here(next);
        outcome.messages.push(forked);
        outcome
    }
}

/// The last names of a pattern, as a timeline can be called.
fn short(pattern: &Pattern) -> String {
    let names: Vec<&str> = pattern.as_str().split('.').filter(|name| !name.contains('*')).collect();
    let from = names.len().saturating_sub(2);
    names[from..].join("-")
}

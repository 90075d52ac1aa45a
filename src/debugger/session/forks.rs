//! Timelines: branching off, and going from one to another.

use super::settings::check_changeable;
use super::{Session, SessionError};
use crate::debugger::language::place::Place;
use crate::debugger::outcome::{Outcome, Shown};
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::tree::Branch;
use crate::pipeline::Setting;
use crate::pipeline::Stage;
use crate::pipeline::dump::write_beside;
use serde_json::json;
use std::path::Path;
use tr::tr;

impl Session {
    /// A new timeline from here, or from before an earlier stage; it becomes the current one.
    pub(super) fn fork(&mut self, name: Option<&str>, at: Option<Place>) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("fork")?;
        self.backend.models()?;
        self.leave();
        if let Some(name) = name {
            self.timelines.check_name(name)?;
        }
        if let Some(place) = at {
            self.check_place(place)?;
            let stage = self.stage_at(place)?;
            let done = stage.index(&self.timeline().here().request().steps());
            if done > self.timeline().recorded() {
                return Err(SessionError::Refused(tr!(
                    "{stage} is not reached yet: the run is before {}; `goto {stage}` runs up to it",
                    self.timelines
                        .current()
                        .timeline
                        .tip()
                        .position()
                        .map_or(tr!("its end"), |s| s.to_string()),
                    stage
                )));
            }
            // The timeline that is left keeps its cursor.
            let kept = self.timeline().cursor();
            let parent = self.timelines.current().id;
            self.timeline_mut().look(done);
            let message = self.fork_off(name.unwrap_or("fork"));
            if let Some(parent) = self.timelines.get_mut(parent) {
                parent.timeline.look(kept);
            }
            return Ok(Outcome::message(message));
        }
        Ok(Outcome::message(self.fork_off(name.unwrap_or("fork"))))
    }

    /// Looks at another timeline, alone.
    pub(super) fn switch(&mut self, name: &str) -> Result<Outcome, SessionError> {
        let id = self.timelines.named(name)?.id;
        self.leave();
        self.comparing = false;
        self.timelines.switch(id);
        let mut outcome = self.moved(None, vec![])?;
        outcome.messages.insert(0, format!("on {name}"));
        Ok(outcome)
    }

    pub(super) fn rename(&mut self, old: Option<&str>, new: &str) -> Result<Outcome, SessionError> {
        let old = old.map_or_else(|| self.timelines.current().name.clone(), String::from);
        self.timelines.rename(&old, new)?;
        Ok(Outcome::message(tr!("{old} is called {new} now", old, new)))
    }

    pub(super) fn delete_timeline(&mut self, name: &str) -> Result<Outcome, SessionError> {
        let gone = self.timelines.named(name)?.id;
        let was_here = self.timelines.current().id == gone;
        self.timelines.delete(name)?;
        if was_here {
            self.leave();
        }
        if self.comparison.as_mut().is_some_and(|comparison| !comparison.forget(gone)) {
            self.comparison = None;
            self.comparing = false;
        }
        if let Some(tick) = self.comparison().map(Comparison::tick) {
            // The same place, which other ticks may lead to now.
            self.look_tick(tick);
        }
        self.look_at_base();
        let mut outcome = Outcome::message(tr!("timeline {name} deleted", name));
        if was_here {
            outcome.messages.push(tr!("on {} now", self.timelines.current().name));
        }
        Ok(outcome)
    }

    /// The tree of timelines.
    pub(super) fn info_timelines(&self) -> Outcome {
        let tree = self.timelines.tree();
        let line = |(depth, branch): &(usize, &Branch)| {
            let mark = if branch.id == self.timelines.current().id { "*" } else { " " };
            let from =
                branch.origin.as_ref().map_or(String::new(), |origin| self.branched(branch, origin.done));
            format!("{mark} {}{}: {}{from}", "  ".repeat(*depth), branch.name, branch.place())
        };
        let mut messages: Vec<String> = tree.iter().map(line).collect();
        messages.push(tr!(
            "{} MB of tensors, shared ones once",
            format_args!("{:.1}", self.timelines.bytes() as f64 / 1e6)
        ));
        let value = |(_, branch): &(usize, &Branch)| {
            let parent = branch.origin.as_ref().and_then(|origin| self.timelines.get(origin.parent));
            json!({
                "name": branch.name,
                "position": branch.timeline.position().map_or("complete".into(), |stage| stage.to_string()),
                "recorded": branch.timeline.recorded(),
                "parent": parent.map(|parent| &parent.name),
                "branched_at": branch.origin.as_ref().map(|origin| origin.done),
                "changes": self.timelines.changed(branch),
                "edits": self.timelines.edited(branch).iter().map(|edit| &**edit).collect::<Vec<_>>(),
            })
        };
        Outcome::lines(messages).showing(Shown::Value(json!({
            "timelines": tree.iter().map(value).collect::<Vec<_>>(),
            "bytes": self.timelines.bytes(),
        })))
    }

    /// `, from main before denoise 3: guidance_scale 7.5 → 12`.
    fn branched(&self, branch: &Branch, done: usize) -> String {
        let parent = branch.origin.as_ref().and_then(|origin| self.timelines.get(origin.parent));
        let parent = parent.map_or("a timeline that is gone", |parent| &parent.name);
        let steps = branch.timeline.here().request().steps();
        let place = Stage::at(done, &steps).map_or(tr!("its end"), |stage| stage.to_string());
        let changes = self.timelines.changed(branch);
        let edits = self.timelines.edited(branch);
        let changes = changes.iter().map(ToString::to_string).chain(edits.iter().map(ToString::to_string));
        let changes = changes.collect::<Vec<_>>().join(", ");
        let changes = if changes.is_empty() { tr!("nothing changed") } else { changes };
        tr!(", from {parent} before {place}: {changes}", parent, place, changes)
    }

    /// Writes the timeline as lines of the command language, which `debug --batch -x FILE` carries out.
    pub(super) fn save_timeline(&self, file: &Path) -> Result<Outcome, SessionError> {
        let branch = self.timelines.current();
        if branch.timeline.tip().edits().iter().any(|edit| edit.starts_with("patch ")) {
            return Err(SessionError::Refused(
                "a patch takes what another timeline made, which lines of commands cannot hold; save `all` keeps the tensors"
                    .into(),
            ));
        }
        let lines = branch.commands().map_err(|setting| {
            SessionError::Refused(tr!(
                "the {setting} has a line break or another control character, which no command line can hold; \
                 `set {setting}` to one without first",
                setting
            ))
        })?;
        let head = format!("# {}: diffuscope debug --batch -x FILE makes it again", branch.name);
        let text: String = std::iter::once(head).chain(lines).map(|line| line + "\n").collect();
        write_beside(file, text.as_bytes())?;
        Ok(Outcome::message(tr!("timeline {} saved to {}", branch.name, file.display())))
    }

    /// Refuses a change while several timelines are compared.
    pub(super) fn refuse_while_comparing(&self, verb: &str) -> Result<(), SessionError> {
        match self.comparing {
            true => Err(SessionError::Refused(tr!(
                "{verb}: several timelines are compared; `switch NAME` opens one of them, then `{verb}` is its own",
                verb
            ))),
            false => Ok(()),
        }
    }

    /// Refuses a setting that cannot change at the cursor any more.
    pub(super) fn check_setting_here(&self, setting: &Setting, value: &str) -> Result<(), SessionError> {
        check_changeable(setting, self.timeline().here(), value)
    }
}

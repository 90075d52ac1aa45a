//! One command carried out.
//!
//! - `moves`: moving the cursor, running stages. `steps`: stepping inside a stage. `frame`: where it is paused.
//! - [`breakpoints`]: where a run stops. [`scope`]: the names in an expression, resolved on the run.
//! - `interventions`: changing the outputs of modules. `settings`: changing settings and tensors.
//! - `forks`: timelines. `compare`: several of them in lockstep. `sweep`: from which step on a setting no longer matters. `diff`: how two of them differ.
//! - `displays`: values shown after every stop. `examine`: queries about the last stage. `attention`: words and points. `lora`: what LoRAs do.
//! - `marks`: a place to come back to. `undo`: what commands changed comes back. `answers`: `info`, `print`, `show`, `save`, `help`.

pub mod breakpoints;
pub mod scope;

mod answers;
mod attention;
mod compare;
mod convergence;
mod diff;
mod displays;
mod examine;
mod forks;
pub(super) mod frame;
mod interventions;
mod lora;
mod marks;
mod moves;
mod schedules;
mod settings;
mod steps;
mod sweep;
mod undo;

use super::backend::Backend;
use super::expr::{Expression, ExpressionError};
use super::host::Host;
use super::inspect::difference::Difference;
use super::inspect::features::Kept;
use super::language::arguments::{
    BreakAt, Catch, Compare, Count, Delete, Diff, Display, Fork, Info, Look, Nothing, Patch, Print, Rename,
    Save, Schedulers, Set, Sweep, TimelineName, Undisplay,
};
use super::language::command::{Command, CommandError, CommandLine};
use super::language::edit::EditError;
use super::language::place::Stop;
use super::language::preview::PreviewPolicy;
use super::outcome::Outcome;
use super::replay::outputs::Outputs;
use super::stepping::PausedStage;
use super::text::counted;
use super::timeline::Timeline;
use super::timeline::comparison::Comparison;
use super::timeline::tree::{TimelineError, TimelineTree};
use breakpoints::{Breakpoints, CATCHPOINT};
use diff::trace_of;
pub use marks::Mark;
use scope::{EmbeddingCache, Scope};
use tr::tr;

use crate::nn::Unwatched;
use crate::nn::error::without_backtrace;
use crate::pipeline::dump::WriteError;
use crate::pipeline::{self, Models, Request, RequestError, Snapshot, StageRecord};
use crate::trace::TraceError;
use displays::Displays;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use undo::History;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The line is no command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An expression has no value.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// A tensor was not changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A stage could not run.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A setting is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no such timeline, or it cannot be called that.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// A file was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An animation was not made.
    #[error("{}", tr!("the animation: {0}", .0))]
    Animation(#[from] image::ImageError),
    /// A tensor could not be copied from its device.
    #[error("{}", tr!("a tensor could not be copied from its device: {0}", .0))]
    Device(candle_core::Error),
    /// The command makes no sense here: what was found, and what would be right.
    #[error("{0}")]
    Refused(String),
}

impl From<candle_core::Error> for SessionError {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(without_backtrace(error))
    }
}

/// A [`Host`] that a session reports to in the middle of a command.
pub trait SessionHost: Host {
    /// A stage has run and is recorded.
    fn stage_done(&mut self, session: &Session) {
        let _ = session;
    }
}

impl SessionHost for Unwatched {}

/// A timeline, its breakpoints, and the models that it runs on.
#[derive(Debug)]
pub struct Session {
    backend: Arc<Backend>,
    timelines: TimelineTree,
    /// Timelines that go on together, while there are any.
    comparison: Option<Comparison>,
    /// Whether the comparison is what commands are about.
    comparing: bool,
    /// The stage that is stepped through.
    inside: Option<PausedStage>,
    /// Whether the current command left one, which its messages say.
    left: bool,
    breakpoints: Breakpoints,
    displays: Displays,
    previewing: PreviewPolicy,
    /// Why `save` is refused, when it is.
    unsaved: Option<&'static str>,
    /// Embeddings that expressions used.
    texts: Arc<EmbeddingCache>,
    /// Outputs of modules that expressions used.
    outputs: Arc<Outputs>,
    /// The record whose NaN stopped the run last.
    caught: Option<Arc<StageRecord>>,
    /// The module output that was drawn last.
    drawn: Option<Kept>,
    /// The recorded run that was compared last.
    difference: Option<Arc<Difference>>,
    /// What `undo` returns to.
    history: History,
}

impl Session {
    /// A session before its first stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn new(models: Arc<Models>, request: Request) -> Result<Self, RequestError> {
        let timeline = Timeline::new(Snapshot::start(request, &models)?);
        Ok(Self::on(models.into(), timeline))
    }

    /// A session on the run that was recorded in `folder`, before its first stage, with every stage recorded ahead.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub fn open(folder: &Path) -> Result<Self, TraceError> {
        let (backend, mut snapshots) = Backend::recorded(folder)?;
        let mut timeline = Timeline::new(snapshots.remove(0));
        snapshots.into_iter().for_each(|snapshot| timeline.push(snapshot));
        timeline.look(0);
        Ok(Self::on(backend, timeline))
    }

    fn on(backend: Backend, timeline: Timeline) -> Self {
        Self {
            backend: Arc::new(backend),
            timelines: TimelineTree::new(timeline),
            comparison: None,
            comparing: false,
            inside: None,
            left: false,
            breakpoints: Breakpoints::default(),
            displays: Displays::default(),
            previewing: PreviewPolicy::default(),
            unsaved: None,
            texts: Arc::default(),
            outputs: Arc::default(),
            caught: None,
            drawn: None,
            difference: None,
            history: History::default(),
        }
    }

    /// A session in which `records` were recorded, for tests of what shows them.
    #[cfg(test)]
    pub(crate) fn after(
        models: Arc<Models>,
        request: Request,
        records: &[Arc<pipeline::StageRecord>],
    ) -> Self {
        let mut session = Self::new(models, request).unwrap();
        for done in 1..=records.len() {
            let next = session.timeline().tip().after(&records[..done]);
            session.timeline_mut().push(next);
        }
        session
    }

    /// Adds to a timeline what stages made elsewhere, ahead of its cursor, for tests of what shows them.
    #[cfg(test)]
    pub(crate) fn record(&mut self, name: &str, records: &[Arc<pipeline::StageRecord>]) {
        let id = self.timelines.named(name).unwrap().id;
        let timeline = &mut self.timelines.get_mut(id).unwrap().timeline;
        let kept = timeline.cursor();
        timeline.look(usize::MAX);
        for done in timeline.recorded() + 1..=records.len() {
            let next = timeline.tip().after(&records[..done]);
            timeline.push(next);
        }
        timeline.look(kept);
    }

    /// The recorded run that was compared last.
    pub fn difference(&self) -> Option<&Arc<Difference>> {
        self.difference.as_ref()
    }

    /// What the session runs on.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The current timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.timelines.current().timeline
    }

    fn timeline_mut(&mut self) -> &mut Timeline {
        &mut self.timelines.current_mut().timeline
    }

    /// Refuses `save` from now on, for this reason.
    pub fn refuse_save(&mut self, why: &'static str) {
        self.unsaved = Some(why);
    }

    /// Every timeline.
    pub fn timelines(&self) -> &TimelineTree {
        &self.timelines
    }

    /// Moves the cursor to where `place` stages are done, of a comparison `place` ticks, as far as that is recorded. While a
    /// stage is stepped through it stays: a look shall not drop what that did.
    pub fn look(&mut self, place: usize) {
        if self.inside.is_some() {
            return;
        }
        match self.comparing {
            true => self.look_tick(place),
            false => self.timeline_mut().look(place),
        }
    }

    /// Of which steps the VAE shall make pictures.
    pub fn previewing(&self) -> PreviewPolicy {
        self.previewing
    }

    /// The stage that is stepped through, when there is one.
    pub fn inside(&self) -> Option<&PausedStage> {
        self.inside.as_ref()
    }

    /// The names in an expression: those at the cursor, and inside a stage what it made so far.
    pub fn here(&self) -> Scope<'_> {
        Scope::new(&self.timelines, self.inside.as_ref(), &self.backend, &self.texts, &self.outputs)
    }

    /// The breakpoints.
    pub fn breakpoints(&self) -> &Breakpoints {
        &self.breakpoints
    }

    /// Carries out a command. What it shows names the command as it is written; who read a line may put that there instead.
    ///
    /// # Errors
    /// [`SessionError`]; the cursor is then where the command got to.
    pub fn run(&mut self, command: &Command, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        self.left = false;
        let mut outcome = self.remembering(command, |session| session.carry_out(command, host))?;
        if self.left {
            outcome.messages.insert(0, tr!("left the stage: what it did so far is dropped"));
        }
        outcome.command = command.to_string();
        outcome.position = self.position_name();
        outcome.moved = command.moves_cursor();
        Ok(outcome)
    }

    /// As [`run`](Self::run) for a program that reads lines and no console: parses one, and carries it out. `None` for an empty one.
    ///
    /// # Errors
    /// As that, or when the line is no command.
    pub fn run_line(
        &mut self,
        line: &str,
        host: &mut dyn SessionHost,
    ) -> Result<Option<Outcome>, SessionError> {
        let Some(CommandLine { command, text }) = CommandLine::parse(line)? else { return Ok(None) };
        let outcome = self.run(&command, host)?;
        Ok(Some(Outcome { command: text, ..outcome }))
    }

    /// The stage that runs next at the cursor, or `complete`.
    pub fn position_name(&self) -> String {
        self.timeline().position().map_or("complete".into(), |stage| stage.to_string())
    }

    fn carry_out(&mut self, command: &Command, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        match command {
            Command::Next(Count(count)) => self.next(*count, host),
            Command::Step(Count(count)) => {
                self.refuse_while_comparing("step")?;
                self.step(*count, host)
            }
            Command::Finish(Nothing) => self.finish(host),
            Command::Back(Count(count)) => self.back(*count),
            Command::Continue(Nothing) => self.go_on(host, |_| false),
            Command::ReverseContinue(Nothing) => self.reverse_continue(),
            Command::Until(place) => self.until(*place, host),
            Command::Goto(place) => self.goto(*place, host),
            Command::Restart(Nothing) => self.restart(),
            Command::Undo(Nothing) => self.undo(),
            Command::Redo(Nothing) => self.redo(),
            Command::Break(at) => self.add_breakpoint(at, false),
            Command::Tbreak(at) => self.add_breakpoint(at, true),
            Command::Catch(Catch::NotFinite) => Ok(self.add_catchpoint(Stop::NotFinite, None)),
            Command::Catch(Catch::If(condition)) => {
                Ok(self.add_catchpoint(Stop::Condition, Some(condition.clone())))
            }
            Command::Delete(Delete::Breakpoint(id)) => self.delete(*id),
            Command::Delete(Delete::Timeline(name)) => self.delete_timeline(name),
            Command::Info(Info::About(topic)) => self.info(*topic),
            Command::Info(Info::Schedules(names)) => self.info_schedules(names),
            Command::Info(Info::Loras(name)) => self.info_loras(name.as_deref()),
            Command::Info(Info::Modules(pattern)) => self.info_modules(pattern.as_ref(), host),
            Command::Backtrace(Nothing) => Ok(self.backtrace()),
            Command::List(Nothing) => self.list(),
            Command::Print(Print(text)) => self.print(text),
            Command::Display(Display(expression)) => Ok(self.display(expression.clone())),
            Command::Undisplay(Undisplay(id)) => self.undisplay(*id),
            Command::Show(look) => self.show_or_save(look, None, host),
            Command::Save(Save { what, file }) => self.show_or_save(what, Some(file), host),
            Command::Set(Set::Setting { setting, value }) => self.set(setting, value),
            Command::Set(Set::Fault(fault)) => self.set_fault(*fault),
            Command::Set(Set::Preview(previewing)) => {
                self.previewing = *previewing;
                Ok(Outcome::message(format!("preview = {previewing}")))
            }
            Command::Set(Set::Tensor(edit)) => self.edit(edit, host),
            Command::Set(Set::Module(edit)) => self.intervene(edit),
            Command::Patch(Patch { module, timeline }) => self.patch(module, timeline, host),
            Command::Fork(Fork { name, at }) => self.fork(name.as_deref(), *at),
            Command::Switch(TimelineName(name)) => self.switch(name),
            Command::Rename(Rename { old, new }) => self.rename(old.as_deref(), new),
            Command::Compare(Compare::Variants(plan)) => self.compare(plan),
            Command::Compare(Compare::Again) => self.compare_again(),
            Command::Compare(Compare::Off) => self.compare_off(),
            Command::Compare(Compare::Base(name)) => self.compare_base(name),
            Command::Convergence(Schedulers(names)) => self.convergence(names, host),
            Command::Sweep(Sweep { setting, value }) => self.sweep(setting, value, host),
            Command::Diff(Diff { a, b, tolerance }) => match (trace_of(a), b) {
                (Some(folder), None) => self.diff_modules(folder, *tolerance, host),
                _ => self.diff(a, b.as_ref(), *tolerance),
            },
            Command::Help(help) => Ok(answers::help(help)),
            Command::Quit(Nothing) => Ok(Outcome { quit: true, ..Outcome::default() }),
        }
    }

    /// `show`, or with a file `save`.
    fn show_or_save(
        &mut self,
        look: &Look,
        file: Option<&PathBuf>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        let file = file.map(PathBuf::as_path);
        match (look, file) {
            (Look::Named(name), None) => self.show(name),
            (Look::Named(name), Some(file)) => self.save(name, file),
            (Look::Features(asked), _) => self.features(asked, file, host),
            (Look::TimeMap { within }, _) => self.time_map(*within, file),
            (Look::Attention(asked), _) => self.attention(asked, file, host),
            (Look::Effect(asked), _) => self.effect(&asked.word, asked.step, file, host),
            (Look::Lora(asked), _) => self.lora(asked, file, host),
        }
    }

    fn add_breakpoint(&mut self, at: &BreakAt, temporary: bool) -> Result<Outcome, SessionError> {
        let BreakAt { stop, condition } = at;
        self.check_stop(stop)?;
        let made = self.breakpoints.add(stop.clone(), condition.clone(), temporary);
        let mut outcome = Outcome::message(made.to_string());
        if self.comparing && matches!(stop, Stop::Module(_)) {
            let alone = "it stops a timeline that runs alone, not those that are compared";
            outcome.messages.push(alone.into());
        }
        Ok(outcome)
    }

    fn add_catchpoint(&mut self, stop: Stop, condition: Option<Expression>) -> Outcome {
        Outcome::message(self.breakpoints.add(stop, condition, false).to_string())
    }

    fn delete(&mut self, id: Option<usize>) -> Result<Outcome, SessionError> {
        match id {
            None => {
                let deleted = self.breakpoints.clear();
                let caught = deleted.iter().all(|one| one.kind() == CATCHPOINT) && !deleted.is_empty();
                let noun = if caught { CATCHPOINT } else { "breakpoint" };
                Ok(Outcome::message(format!("{} deleted", counted(deleted.len(), noun))))
            }
            Some(id) => match self.breakpoints.delete(id) {
                Some(deleted) => Ok(Outcome::message(format!("{} {id} deleted", deleted.kind()))),
                None => Err(SessionError::Refused(tr!(
                    "there is no breakpoint {id}; `info breakpoints` lists them",
                    id
                ))),
            },
        }
    }
}

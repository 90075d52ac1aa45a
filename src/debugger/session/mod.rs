//! A command carried out.
//!
//! - `moves`: moving the cursor, running stages at the tip.
//! - `steps`: stepping into a stage, and stopping there. `frame`: where that is.
//! - `meddling`: changing what modules make.
//! - `settings`: changing what comes next.
//! - `forks`: timelines. `compare`: several of them in lockstep. `diff`: what is other in one than in another.
//! - `displays`: what is shown after every stop.
//! - `examine`: looking inside of the stage before the cursor.
//! - `marks`: a place to come back to.
//! - `attention`: what words and points look at, and what words do.
//! - `answers`: looking, and saving what was seen.

mod answers;
mod attention;
mod compare;
mod diff;
mod displays;
mod examine;
mod forks;
pub(super) mod frame;
mod marks;
mod meddling;
mod moves;
mod settings;
mod steps;

use super::attended::{AttentionReport, EffectReport};
use super::breakpoint::{Breakpoints, Stop};
use super::command::{Command, CommandError, Previewing};
use super::comparison::{Comparison, VariantRow};
use super::edit::EditError;
use super::examine::ModuleRow;
use super::examine::features::Kept;
use super::expression::ExpressionError;
use super::inside::Inside;
use super::report::{DiffRow, Displayed, Outcome, ShownPicture, TensorRow};
use super::rerun::Outputs;
use super::scope::{Scope, Texts};
use super::timeline::Timeline;
use super::timelines::{TimelineError, Timelines};
use super::view::{self, RecordId, RecordViews, View};
pub use marks::Mark;

use crate::nn::error::without_backtrace;
use crate::nn::{Probe, Unwatched};
use crate::pipeline::dump::WriteError;
use crate::pipeline::{self, Models, Request, RequestError, Snapshot, Stage, StageRecord};
use candle_core::Tensor;
use displays::Displays;
use std::cell::RefCell;
use std::sync::Arc;

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
    #[error("the animation: {0}")]
    Animation(#[from] image::ImageError),
    /// A tensor could not be copied from its device.
    #[error("a tensor could not be copied from its device: {0}")]
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

/// Who runs a session: watches what is computed, and is told of every stage that is done.
pub trait Host: Probe {
    /// `stage` is about to run, and with it so many modules; `None` where their number is not known, as of several runs that
    /// go on together.
    fn stage_begins(&mut self, stage: Stage, modules: Option<usize>) {
        let _ = (stage, modules);
    }

    /// A stage ran, and is recorded. Called in the middle of a command that runs several.
    fn stage_done(&mut self, session: &Session) {
        let _ = session;
    }

    /// So many pieces of a stage ran that runs on a thread of its own; the line at hand is `line`.
    fn pieces_ran(&mut self, pieces: usize, line: &'static str) {
        let _ = (pieces, line);
    }

    /// Whether what runs shall stop: asked while a stage runs on a thread of its own, which asks no one.
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl Host for Unwatched {}

/// A timeline, its breakpoints, and the models that it runs on.
#[derive(Debug)]
pub struct Session {
    models: Arc<Models>,
    timelines: Timelines,
    /// Timelines that go on together, while there are any.
    comparison: Option<Comparison>,
    /// Whether they are what is looked at.
    comparing: bool,
    /// The stage that is stepped through.
    inside: Option<Inside>,
    /// Whether the command at hand left one, which is told.
    left: bool,
    breakpoints: Breakpoints,
    displays: Displays,
    previewing: Previewing,
    /// Why nothing is saved, when nothing is.
    unsaved: Option<&'static str>,
    /// Embeddings that expressions asked for.
    texts: Arc<Texts>,
    /// What modules made that expressions asked for.
    outputs: Arc<Outputs>,
    /// The record whose NaN stopped the run last.
    caught: Option<Arc<StageRecord>>,
    /// What an interface was shown, so that it is made once.
    views: RefCell<RecordViews>,
    /// What a module made that was drawn last.
    drawn: RefCell<Option<Kept>>,
}

/// What a command did beside moving: becomes the [`Outcome`].
#[derive(Default)]
struct Answered {
    messages: Vec<String>,
    warnings: Vec<String>,
    stopped: Option<String>,
    value: Option<serde_json::Value>,
    tensors: Vec<TensorRow>,
    modules: Vec<ModuleRow>,
    variants: Vec<VariantRow>,
    diffs: Vec<DiffRow>,
    attention: Option<AttentionReport>,
    effect: Option<EffectReport>,
    picture: Option<ShownPicture>,
    displays: Vec<Displayed>,
    quit: bool,
}

impl Session {
    /// A session before its first stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn new(models: Arc<Models>, request: Request) -> Result<Self, RequestError> {
        let timeline = Timeline::new(Snapshot::start(request, &models)?);
        Ok(Self {
            models,
            timelines: Timelines::new(timeline),
            comparison: None,
            comparing: false,
            inside: None,
            left: false,
            breakpoints: Breakpoints::default(),
            displays: Displays::default(),
            previewing: Previewing::default(),
            unsaved: None,
            texts: Arc::default(),
            outputs: Arc::default(),
            caught: None,
            views: RefCell::default(),
            drawn: RefCell::default(),
        })
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

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The timeline that is looked at.
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
    pub fn timelines(&self) -> &Timelines {
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
    pub fn previewing(&self) -> Previewing {
        self.previewing
    }

    /// The stage that is stepped through, when there is one.
    pub fn inside(&self) -> Option<&Inside> {
        self.inside.as_ref()
    }

    /// What is known here: inside a stage, with what it made so far.
    pub fn here(&self) -> Scope<'_> {
        Scope::new(&self.timelines, self.inside.as_ref(), &self.models, &self.texts, &self.outputs)
    }

    /// The breakpoints.
    pub fn breakpoints(&self) -> &Breakpoints {
        &self.breakpoints
    }

    /// All that an interface shows of the moment.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn view(&self) -> candle_core::Result<View> {
        view::of(self, &mut self.views.borrow_mut())
    }

    /// A tensor of a record by the number that that has in a [`View`] of this session, or one of its futures; `None`
    /// when it is not recorded any more.
    ///
    /// # Errors
    /// The device's.
    pub fn recorded_tensor(&self, id: RecordId, name: &str) -> candle_core::Result<Option<Tensor>> {
        let Some((record, before)) = self.views.borrow().find(id) else { return Ok(None) };
        if let Some(tensor) = record.tensor(name) {
            return Ok(Some(tensor.clone()));
        }
        let before = before.as_ref().and_then(|before| before.tensor("latents"));
        let futures = view::pictures::futures(&record, before)?;
        Ok(futures.into_iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor))
    }

    /// What a module made that was drawn last.
    pub(super) fn drawn(&self) -> &RefCell<Option<Kept>> {
        &self.drawn
    }

    /// The record that has that number in a [`View`] of this session; `None` when it is not recorded any more.
    pub fn recorded(&self, id: RecordId) -> Option<Arc<StageRecord>> {
        self.views.borrow().find(id).map(|(record, _)| record)
    }

    /// Parses and carries out a line; `None` for an empty one.
    ///
    /// # Errors
    /// [`SessionError`]; the cursor is then where the command got to.
    pub fn run_line(&mut self, line: &str, host: &mut dyn Host) -> Result<Option<Outcome>, SessionError> {
        let Some(command) = Command::parse(line)? else { return Ok(None) };
        self.left = false;
        let Answered {
            mut messages,
            warnings,
            stopped,
            value,
            tensors,
            modules,
            variants,
            diffs,
            attention,
            effect,
            picture,
            displays,
            quit,
        } = self.carry_out(&command, host)?;
        if self.left {
            messages.insert(0, "left the stage: what it did so far is dropped".into());
        }
        Ok(Some(Outcome {
            command: line.trim().into(),
            position: self.position_name(),
            messages,
            warnings,
            stopped,
            value,
            tensors,
            modules,
            variants,
            diffs,
            attention,
            effect,
            picture,
            displays,
            quit,
        }))
    }

    /// The stage that runs next at the cursor, or `complete`.
    pub fn position_name(&self) -> String {
        self.timeline().position().map_or("complete".into(), |stage| stage.to_string())
    }

    fn carry_out(&mut self, command: &Command, host: &mut dyn Host) -> Result<Answered, SessionError> {
        match command {
            Command::Step(count) => {
                self.refuse_while_comparing("step")?;
                self.step(*count, host)
            }
            Command::Finish => self.finish(host),
            Command::Backtrace => Ok(self.backtrace()),
            Command::List => self.list(),
            Command::Next(count) => self.next(*count, host),
            Command::Back(count) => self.back(*count),
            Command::Continue => self.go_on(host, |_| false),
            Command::ReverseContinue => self.reverse_continue(),
            Command::Until(place) => self.until(*place, host),
            Command::Goto(place) => self.goto(*place, host),
            Command::Restart => self.restart(),
            Command::Break { stop, condition, temporary } => {
                self.check_stop(stop)?;
                let made = self.breakpoints.add(stop.clone(), condition.clone(), *temporary);
                let mut answered = said(made.to_string());
                if self.comparing && matches!(stop, Stop::Module(_)) {
                    let alone = "it stops a timeline that runs alone, not those that are compared";
                    answered.messages.push(alone.into());
                }
                Ok(answered)
            }
            Command::CatchIf(condition) => {
                let made = self.breakpoints.add(Stop::Condition, Some(condition.clone()), false);
                Ok(said(made.to_string()))
            }
            Command::Patch { module, timeline } => self.patch(module, timeline, host),
            Command::Meddle(edit) => self.meddle(edit),
            Command::CatchNan => Ok(said(self.breakpoints.add(Stop::NotFinite, None, false).to_string())),
            Command::Display(expression) => Ok(self.display(expression.clone())),
            Command::Undisplay(id) => self.undisplay(*id),
            Command::Show(name) => self.show(name),
            Command::Attention { looking, file } => self.attention(looking, file.as_deref(), host),
            Command::Effect { word, step, file } => self.effect(word, *step, file.as_deref(), host),
            Command::SetFault(fault) => self.set_fault(*fault),
            Command::Edit(edit) => self.edit(edit, host),
            Command::SetPreview(previewing) => {
                self.previewing = *previewing;
                Ok(said(format!("preview = {previewing}")))
            }
            Command::Delete(id) => self.delete(*id),
            Command::Modules(pattern) => self.info_modules(pattern.as_ref(), host),
            Command::Features { asked, file } => self.features(asked, file.as_deref(), host),
            Command::TimeMap { within, file } => self.time_map(*within, file.as_deref()),
            Command::Info(topic) => self.info(*topic),
            Command::Print(text) => self.print(text),
            Command::Set { setting, value } => self.set(*setting, value),
            Command::Save { what, file } => self.save(what, file),
            Command::Fork { name, at } => self.fork(name.as_deref(), *at),
            Command::Switch(name) => self.switch(name),
            Command::Rename { old, new } => self.rename(old.as_deref(), new),
            Command::DeleteTimeline(name) => self.delete_timeline(name),
            Command::Compare(plan) => self.compare(plan),
            Command::CompareAgain => self.compare_again(),
            Command::CompareOff => self.compare_off(),
            Command::CompareBase(name) => self.compare_base(name),
            Command::Sweep { setting, value } => self.sweep(*setting, value, host),
            Command::Diff { a, b, tolerance } => self.diff(a, b.as_ref(), *tolerance),
            Command::Help(verb) => Ok(answers::help(*verb)),
            Command::Quit => Ok(Answered { quit: true, ..Answered::default() }),
        }
    }

    fn delete(&mut self, id: Option<usize>) -> Result<Answered, SessionError> {
        match id {
            None => Ok(said(format!("{} breakpoints deleted", self.breakpoints.clear()))),
            Some(id) if self.breakpoints.delete(id) => Ok(said(format!("breakpoint {id} deleted"))),
            Some(id) => Err(SessionError::Refused(format!(
                "there is no breakpoint {id}; `info breakpoints` lists them"
            ))),
        }
    }
}

fn said(message: String) -> Answered {
    Answered { messages: vec![message], ..Answered::default() }
}

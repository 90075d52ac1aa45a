//! The session's state as the worker reported it, apart from how it is shown.

use super::findings::Findings;
use super::previews::Previews;
use super::text;
use crate::debugger::language::complete;
use crate::debugger::outcome::Form;
use crate::debugger::record::pictures::all;
use crate::debugger::record::{NamedPicture, RecordView};
use crate::debugger::view::ModelLine;
use crate::debugger::{CommandLine, Event, Outcome, View};
use crate::lesson::Reading;
use crate::pipeline::Stage;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tr::tr;

/// The session's state.
#[derive(Debug, Default)]
pub struct State {
    /// The model; `None` while it loads.
    pub model: Option<ModelLine>,
    /// The session's view; `None` while the model loads.
    pub view: Option<Box<View>>,
    /// The place that the user looks at when the worker has no time to move its cursor there: a place of the view.
    pub look: Option<usize>,
    /// When the running line of a stage began, as far as observed.
    line_began: Option<Instant>,
    /// The progress of what runs.
    pub gauge: Option<Gauge>,
    /// When the running command was first observed, and the current time.
    pub clock: Option<[Instant; 2]>,
    /// Pictures that the VAE decoded.
    pub previews: Previews,
    /// Inspection results.
    pub findings: Findings,
    /// The worker's activity.
    pub activity: Activity,
    /// Commands that wait for the running one, the next one first.
    pub waiting: VecDeque<CommandLine>,
    /// The open lesson.
    pub lesson: Option<Reading>,
    /// The messages of the last command.
    pub messages: Vec<Message>,
}

/// The worker's activity.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// It loads the model.
    #[default]
    Loading,
    /// It waits for a command.
    Idle,
    /// It runs a command.
    Running {
        /// The command.
        command: String,
        /// The stage and the line of it that runs.
        line: Option<(Stage, &'static str)>,
    },
}

/// The progress of a long operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// From 0 to 1; `None` while the total is unknown.
    pub share: Option<f64>,
    /// The current module.
    pub path: Option<String>,
}

fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 0. } else { done as f64 / total as f64 }
}

/// A message, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The severity.
    pub kind: Kind,
    /// The text.
    pub text: String,
}

/// The severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Information.
    Info,
    /// A warning.
    Warning,
    /// A command failed.
    Error,
    /// The command, and below it a marker at the error.
    Pointer,
}

impl Message {
    /// A message of arbitrary text.
    pub fn new(kind: Kind, text: &str) -> Self {
        Self { kind, text: text::clean(text) }
    }
}

/// What follows from an event, apart from new state.
#[derive(Debug, Default)]
pub struct News {
    /// The worker waits for a command now.
    pub idle: bool,
    /// The last command was `quit`.
    pub quit: bool,
    /// A picture to show.
    pub picture: Option<NamedPicture>,
    /// Output of more than a line.
    pub output: Option<Output>,
    /// Why the model could not be loaded.
    pub load_failed: Option<String>,
}

/// A command's output of more than a line.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command.
    pub title: String,
    /// The output.
    pub lines: Vec<String>,
    /// The number of leading lines that are prose, not tables or code.
    pub prose: usize,
    /// The picture that the output describes.
    pub picture: Option<NamedPicture>,
}

impl State {
    /// Updates the state after `event`.
    pub fn learn(&mut self, event: Event) -> News {
        let mut news = News::default();
        let compared = self.is_comparing();
        match event {
            Event::Ready(model, view) => {
                self.messages.extend(model.notes.iter().map(|note| Message::new(Kind::Warning, note)));
                self.messages.extend(model.remarks.iter().map(|remark| Message::new(Kind::Info, remark)));
                self.model = Some(model);
                self.view = Some(view);
                news.idle = true;
            }
            Event::LoadFailed(error) => news.load_failed = Some(error),
            Event::Started(command) => self.activity = Activity::Running { command, line: None },
            Event::Progress(stage, path) => {
                self.gauge = None;
                self.line_began = None;
                if let Activity::Running { line, .. } = &mut self.activity {
                    *line = Some((stage, path));
                }
            }
            Event::Loading { read, total } => {
                self.gauge = Some(Gauge { share: Some(share(read, total)), path: None })
            }
            Event::Modules { done, total, path } => {
                let share = total.map(|total| share(done as u64, total as u64));
                self.gauge = Some(Gauge { share, path: Some(text::clean(&path)) });
            }
            Event::StageDone(view) => self.view = Some(view),
            Event::Looked(view) => {
                if self.look == Some(view.place()) {
                    self.look = None;
                }
                self.view = Some(view);
            }
            Event::Done(outcome, view) => {
                self.view = Some(view);
                let picture = outcome
                    .picture()
                    .map(|shown| NamedPicture { name: known(&shown.name), picture: shown.picture.clone() });
                let output = output(&outcome, picture.as_ref());
                news = News { idle: true, quit: outcome.quit, output, picture, ..news };
                self.show_outcome(&outcome, news.output.is_some());
            }
            Event::Failed { command, error, view } => {
                self.view = view.or(self.view.take());
                self.refuse(&command, &error);
                // The waiting commands assumed that this one succeeds.
                self.waiting.clear();
                news.idle = true;
            }
            // The lesson takes these.
            Event::Evaluated(..) => {}
            Event::Inspected(query, result) => self.findings.put(query, result),
            Event::Preview { record, picture } => self.previews.put(record, picture),
        }
        if compared != self.is_comparing() {
            // A place was a tick and is a stage now, or the reverse.
            self.look = None;
        }
        if news.idle {
            (self.clock, self.gauge) = (None, None);
            self.activity = Activity::Idle;
        }
        news
    }

    /// The place that the user looks at: the number of finished stages there; in a comparison, of ticks.
    pub fn place(&self) -> usize {
        let Some(view) = &self.view else { return 0 };
        self.look.unwrap_or(view.place()).min(view.last_place().max(view.place()))
    }

    /// The number of finished stages where the user looks; in a comparison, of its base.
    pub fn cursor(&self) -> usize {
        self.view.as_ref().map_or(0, |view| view.done_at(self.place()))
    }

    /// Whether the session is paused inside a stage.
    pub fn is_inside(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.inside.is_some())
    }

    /// Whether a comparison is shown.
    pub fn is_comparing(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.comparison.is_some())
    }

    /// The record of the last finished stage.
    pub fn record(&self) -> Option<&Arc<RecordView>> {
        self.view.as_ref()?.records.get(self.cursor().checked_sub(1)?)
    }

    /// The last `denoise` step before the cursor, and the record of the stage before it.
    pub fn step(&self) -> Option<(&RecordView, &RecordView)> {
        let records = self.view.as_ref()?.records.get(..self.cursor())?;
        let last = records.iter().rposition(|record| matches!(record.stage, Stage::Denoise { .. }))?;
        Some((&records[last], records.get(last.checked_sub(1)?)?))
    }

    /// The next stage where the user looks; `None` when the run is complete there.
    pub fn position(&self) -> Option<Stage> {
        self.view.as_ref()?.stages.get(self.cursor()).map(|line| line.stage)
    }

    /// The VAE's picture instead of `picture`, when there is one.
    pub fn best<'a>(&'a self, record: &RecordView, picture: &'a NamedPicture) -> &'a NamedPicture {
        self.previews.get(record.id, picture.name).unwrap_or(picture)
    }

    /// Updates the current time.
    pub fn tick(&mut self, now: Instant) {
        self.clock = match (&self.activity, self.clock) {
            (Activity::Idle, _) => None,
            (_, Some([since, _])) => Some([since, now]),
            (_, None) => Some([now, now]),
        };
        self.line_began = self.clock.map(|_| self.line_began.unwrap_or(now));
    }

    /// How long the running line of a stage, or loading, has taken so far.
    pub fn stage_elapsed(&self) -> Option<Duration> {
        let [_, now] = self.clock?;
        self.line_began.map(|began| now.duration_since(began))
    }

    /// How long the running command has taken so far.
    pub fn elapsed(&self) -> Option<Duration> {
        self.clock.map(|[since, now]| now.duration_since(since))
    }

    /// A command failed, or a line is not a command: the messages give the reason.
    pub fn refuse(&mut self, line: &str, error: &str) {
        self.messages = self.pointed_at(line, error);
        self.messages.push(Message::new(Kind::Error, error));
    }

    /// The line with the word that `error` names underlined; nothing when it names none, or the whole line.
    fn pointed_at(&self, command: &str, error: &str) -> Vec<Message> {
        let command = text::clean(command);
        let Some(range) = complete::error_span(&command, error).filter(|range| range.len() < command.len())
        else {
            return vec![];
        };
        let before = text::width(&command[..range.start]);
        let under = "^".repeat(text::width(&command[range]).max(1));
        // The console shows a colon before a line.
        let lines = [format!(":{command}"), format!(" {}{under}", " ".repeat(before))];
        lines.map(|line| Message { kind: Kind::Pointer, text: line }).into()
    }

    fn show_outcome(&mut self, outcome: &Outcome, has_page: bool) {
        let message = |text: &String| Message::new(Kind::Info, text);
        self.messages = if has_page {
            vec![Message::new(Kind::Info, &tr!("{}: o shows it again", outcome.command))]
        } else {
            outcome.messages.iter().chain(&outcome.stopped).map(message).collect()
        };
        let warnings = outcome.warnings.iter().map(|warning| Message::new(Kind::Warning, warning));
        self.messages.extend(warnings);
    }
}

/// The name of a picture as a static text.
fn known(name: &str) -> &'static str {
    let stages = [Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
    let names = stages.into_iter().flat_map(|stage| all(stage).iter().copied());
    let known = names.into_iter().find(|known| *known == name);
    known.unwrap_or(match name {
        _ if name.starts_with("difference of") => "difference",
        // A module's path.
        _ if name.starts_with("unet") || name.starts_with("vae") => "features",
        _ => "picture",
    })
}

/// At most this many lines of prose are shown as messages.
const SENTENCES: usize = 3;

/// A command's output, when it is more than a line. The screen shows the result of a move already.
fn output(outcome: &Outcome, picture: Option<&NamedPicture>) -> Option<Output> {
    let lines: Vec<String> = outcome.text().lines().map(text::clean).collect();
    let prose = match outcome.form {
        Form::Code => 0,
        Form::Sentences | Form::Page => {
            outcome.messages.iter().chain(&outcome.stopped).map(|message| message.lines().count()).sum()
        }
    };
    let sentences = lines.len() == prose && outcome.form == Form::Sentences;
    let fit = if sentences { SENTENCES } else { 1 };
    (!outcome.moved && lines.len() > fit).then(|| Output {
        title: text::clean(&outcome.command),
        lines,
        prose,
        picture: picture.cloned(),
    })
}

//! What is known: all that the worker told, and nothing of how it is shown.

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

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    /// The models; `None` while they are loaded.
    pub model: Option<ModelLine>,
    /// Where the session stands; `None` while the models are loaded.
    pub view: Option<Box<View>>,
    /// Where the reader looks meanwhile, when the worker has no time to move its cursor there: a place of the view.
    pub look: Option<usize>,
    /// When the line that runs began, as far as that was seen.
    line_began: Option<Instant>,
    /// How far what runs is.
    pub gauge: Option<Gauge>,
    /// When the command that runs was first seen to run, and how late it is now.
    pub clock: Option<[Instant; 2]>,
    /// Pictures that the VAE made.
    pub previews: Previews,
    /// What was found inside of stages.
    pub findings: Findings,
    /// What the worker does.
    pub activity: Activity,
    /// Commands that wait for the one that runs, the next one first.
    pub waiting: VecDeque<CommandLine>,
    /// The lesson that is read.
    pub lesson: Option<Reading>,
    /// What the last command said.
    pub messages: Vec<Message>,
}

/// What the worker does.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// It loads the models.
    #[default]
    Loading,
    /// It waits for a command.
    Idle,
    /// It carries one out.
    Running {
        /// The command.
        command: String,
        /// The line of a stage that runs.
        line: Option<(Stage, &'static str)>,
    },
}

/// How far something is that takes long.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// From 0 to 1; `None` where it is not known how much there is.
    pub share: Option<f64>,
    /// The module at hand.
    pub path: Option<String>,
}

fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 0. } else { done as f64 / total as f64 }
}

/// A message, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How grave it is.
    pub kind: Kind,
    /// What it says.
    pub text: String,
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something is told.
    Said,
    /// A reader should know this.
    Warning,
    /// A command was not carried out.
    Error,
    /// The command, and below it where the error is.
    Pointer,
}

impl Message {
    /// A message of text that may hold anything.
    pub fn new(kind: Kind, text: &str) -> Self {
        Self { kind, text: text::clean(text) }
    }
}

/// What follows from an event beside knowing more.
#[derive(Debug, Default)]
pub struct News {
    /// The worker waits for a command now.
    pub idle: bool,
    /// The last command was `quit`.
    pub quit: bool,
    /// A picture to be shown.
    pub picture: Option<NamedPicture>,
    /// More than a line to read.
    pub output: Option<Output>,
    /// The models could not be loaded.
    pub load_failed: Option<String>,
}

/// What a command had to say, when that is more than a line.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command.
    pub title: String,
    /// What it said.
    pub lines: Vec<String>,
    /// So many of the first lines are prose, not tables or code.
    pub prose: usize,
    /// What it is about.
    pub picture: Option<NamedPicture>,
}

impl State {
    /// What is known after `event`.
    pub fn learn(&mut self, event: Event) -> News {
        let mut news = News::default();
        let compared = self.is_comparing();
        match event {
            Event::Ready(model, view) => {
                self.messages.extend(model.notes.iter().map(|note| Message::new(Kind::Warning, note)));
                self.messages.extend(model.remarks.iter().map(|remark| Message::new(Kind::Said, remark)));
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
                self.hear(&outcome, news.output.is_some());
            }
            Event::Failed { command, error, view } => {
                self.view = view.or(self.view.take());
                self.refuse(&command, &error);
                // What was to follow was meant for the case that this worked.
                self.waiting.clear();
                news.idle = true;
            }
            // That is the lesson's.
            Event::Evaluated(..) => {}
            Event::Inspected(asked, told) => self.findings.put(asked, told),
            Event::Preview { record, picture } => self.previews.put(record, picture),
        }
        if compared != self.is_comparing() {
            // A place was a tick, and is a stage now, or the other way round.
            self.look = None;
        }
        if news.idle {
            (self.clock, self.gauge) = (None, None);
            self.activity = Activity::Idle;
        }
        news
    }

    /// Where the reader looks: how many stages are done there, of a comparison how many ticks.
    pub fn place(&self) -> usize {
        let Some(view) = &self.view else { return 0 };
        self.look.unwrap_or(view.place()).min(view.last_place().max(view.place()))
    }

    /// How many stages are done where the reader looks; of a comparison, of its base.
    pub fn cursor(&self) -> usize {
        self.view.as_ref().map_or(0, |view| view.done_at(self.place()))
    }

    /// Whether a stage is stepped through.
    pub fn is_inside(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.inside.is_some())
    }

    /// Whether several timelines are looked at.
    pub fn is_comparing(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.comparison.is_some())
    }

    /// What the stage before the cursor made.
    pub fn record(&self) -> Option<&Arc<RecordView>> {
        self.view.as_ref()?.records.get(self.cursor().checked_sub(1)?)
    }

    /// The last step of `denoise` before the cursor, and what the stage before it made.
    pub fn step(&self) -> Option<(&RecordView, &RecordView)> {
        let records = self.view.as_ref()?.records.get(..self.cursor())?;
        let last = records.iter().rposition(|record| matches!(record.stage, Stage::Denoise { .. }))?;
        Some((&records[last], records.get(last.checked_sub(1)?)?))
    }

    /// The stage that runs next where the reader looks; `None` when the run is complete there.
    pub fn position(&self) -> Option<Stage> {
        self.view.as_ref()?.stages.get(self.cursor()).map(|line| line.stage)
    }

    /// The VAE's own picture in the place of `picture`, when there is one.
    pub fn best<'a>(&'a self, record: &RecordView, picture: &'a NamedPicture) -> &'a NamedPicture {
        self.previews.get(record.id, picture.name).unwrap_or(picture)
    }

    /// It is now so late.
    pub fn tick(&mut self, now: Instant) {
        self.clock = match (&self.activity, self.clock) {
            (Activity::Idle, _) => None,
            (_, Some([since, _])) => Some([since, now]),
            (_, None) => Some([now, now]),
        };
        self.line_began = self.clock.map(|_| self.line_began.unwrap_or(now));
    }

    /// How long the stage's line that runs has been running; of loading, how long that is.
    pub fn stage_elapsed(&self) -> Option<Duration> {
        let [_, now] = self.clock?;
        self.line_began.map(|began| now.duration_since(began))
    }

    /// How long the command that runs has been running.
    pub fn elapsed(&self) -> Option<Duration> {
        self.clock.map(|[since, now]| now.duration_since(since))
    }

    /// A command was not carried out, or a line is no command: the messages say why.
    pub fn refuse(&mut self, line: &str, error: &str) {
        self.messages = self.pointed_at(line, error);
        self.messages.push(Message::new(Kind::Error, error));
    }

    /// The line with the word that `error` complains of underlined, when it names one and the line is more than that.
    fn pointed_at(&self, command: &str, error: &str) -> Vec<Message> {
        let command = text::clean(command);
        let Some(range) = complete::error_span(&command, error).filter(|range| range.len() < command.len())
        else {
            return vec![];
        };
        let before = text::width(&command[..range.start]);
        let under = "^".repeat(text::width(&command[range]).max(1));
        // A colon stands before a line in the console.
        let lines = [format!(":{command}"), format!(" {}{under}", " ".repeat(before))];
        lines.map(|line| Message { kind: Kind::Pointer, text: line }).into()
    }

    fn hear(&mut self, outcome: &Outcome, has_page: bool) {
        let said = |text: &String| Message::new(Kind::Said, text);
        self.messages = if has_page {
            vec![Message::new(Kind::Said, &format!("{}: o shows it once more", outcome.command))]
        } else {
            outcome.messages.iter().chain(&outcome.stopped).map(said).collect()
        };
        // What stands at the stage itself need not be said twice.
        let at_stage = self.record().map_or(&[][..], |record| &record.warnings);
        let new = outcome.warnings.iter().filter(|warning| !at_stage.contains(warning));
        let new: Vec<Message> = new.map(|warning| Message::new(Kind::Warning, warning)).collect();
        self.messages.extend(new);
    }
}

/// The name of a picture; the program knows all of them.
fn known(name: &str) -> &'static str {
    let stages = [Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
    let names = stages.into_iter().flat_map(|stage| all(stage).iter().copied());
    let known = names.into_iter().find(|known| *known == name);
    known.unwrap_or(match name {
        _ if name.starts_with("difference of") => "difference",
        // The path of a module.
        _ if name.starts_with("unet") || name.starts_with("vae") => "features",
        _ => "picture",
    })
}

/// So many lines of prose are told where messages are.
const SENTENCES: usize = 3;

/// What a command has to say, when that is more than a line. What a move made is on the screen already.
fn output(outcome: &Outcome, picture: Option<&NamedPicture>) -> Option<Output> {
    let lines: Vec<String> = outcome.text().lines().map(text::clean).collect();
    let prose = match outcome.form {
        Form::Code => 0,
        Form::Sentences | Form::Page => {
            outcome.messages.iter().chain(&outcome.stopped).map(|said| said.lines().count()).sum()
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

//! A command carried out: moves the cursor, runs stages at the tip, answers questions.

use super::breakpoint::{Breakpoints, Hit};
use super::command::{Command, CommandError, Place, Setting, Topic, VERBS, Verb};
use super::expression::{Answer, Expression, ExpressionError};
use super::report::{Outcome, TensorRow};
use super::timeline::Timeline;
use super::view::{self, View};
use crate::nn::{Probe, Unwatched};
use crate::picture::png;
use crate::pipeline::dump::{self, WriteError};
use crate::pipeline::{self, Models, Request, RequestError, Snapshot, Stage, advance};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::path::Path;
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
    /// A stage could not run.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A setting is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A file was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A tensor could not be copied from its device.
    #[error("a tensor could not be copied from its device: {0}")]
    Device(#[from] candle_core::Error),
    /// The command makes no sense here: what was found, and what would be right.
    #[error("{0}")]
    Refused(String),
}

/// Who runs a session: watches what is computed, and is told of every stage that is done.
pub trait Host: Probe {
    /// A stage ran, and is recorded. Called in the middle of a command that runs several.
    fn stage_done(&mut self, session: &Session) {
        let _ = session;
    }
}

impl Host for Unwatched {}

/// A timeline, its breakpoints, and the models that it runs on.
#[derive(Debug)]
pub struct Session {
    models: Arc<Models>,
    timeline: Timeline,
    breakpoints: Breakpoints,
}

/// What a command did beside moving: becomes the [`Outcome`].
#[derive(Default)]
struct Answered {
    messages: Vec<String>,
    warnings: Vec<String>,
    stopped: Option<String>,
    value: Option<serde_json::Value>,
    tensors: Vec<TensorRow>,
    quit: bool,
}

impl Session {
    /// A session before its first stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn new(models: Arc<Models>, request: Request) -> Result<Self, RequestError> {
        let timeline = Timeline::new(Snapshot::start(request, &models)?);
        Ok(Self { models, timeline, breakpoints: Breakpoints::default() })
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
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
        view::of(self)
    }

    /// Parses and carries out a line; `None` for an empty one.
    ///
    /// # Errors
    /// [`SessionError`]; the cursor is then where the command got to.
    pub fn run_line(&mut self, line: &str, host: &mut dyn Host) -> Result<Option<Outcome>, SessionError> {
        let Some(command) = Command::parse(line)? else { return Ok(None) };
        let Answered { messages, warnings, stopped, value, tensors, quit } =
            self.carry_out(&command, host)?;
        Ok(Some(Outcome {
            command: line.trim().into(),
            position: self.position_name(),
            messages,
            warnings,
            stopped,
            value,
            tensors,
            quit,
        }))
    }

    /// The stage that runs next at the cursor, or `complete`.
    pub fn position_name(&self) -> String {
        self.timeline.position().map_or("complete".into(), |stage| stage.to_string())
    }

    fn carry_out(&mut self, command: &Command, host: &mut dyn Host) -> Result<Answered, SessionError> {
        match command {
            Command::Next(count) => {
                let mut left = *count;
                self.go_on(host, |_| {
                    left -= 1;
                    left == 0
                })
            }
            Command::Back(count) => {
                let mut left = *count;
                self.go_back(|_, _| {
                    left -= 1;
                    Ok(left == 0)
                })
            }
            Command::Continue => self.go_on(host, |_| false),
            Command::ReverseContinue => self.reverse_continue(),
            Command::Until(place) => self.until(*place, host),
            Command::Goto(place) => self.goto(*place, host),
            Command::Restart => self.restart(),
            Command::Break { place, condition, temporary } => {
                self.check_place(*place)?;
                let made = self.breakpoints.add(*place, condition.clone(), *temporary);
                Ok(said(made.to_string()))
            }
            Command::Delete(id) => self.delete(*id),
            Command::Info(topic) => self.info(*topic),
            Command::Print(text) => self.print(text),
            Command::Set { setting, value } => self.set(*setting, value),
            Command::Save { what, file } => self.save(what, file),
            Command::Help(verb) => Ok(help(*verb)),
            Command::Quit => Ok(Answered { quit: true, ..Answered::default() }),
        }
    }

    /// Goes on stage by stage, over recorded ones and at the tip by running them, until `arrived`, a breakpoint, or
    /// the end.
    fn go_on(
        &mut self,
        host: &mut dyn Host,
        mut arrived: impl FnMut(&Timeline) -> bool,
    ) -> Result<Answered, SessionError> {
        if self.timeline.position().is_none() {
            return Err(pipeline::Error::Complete.into());
        }
        let mut warnings = vec![];
        loop {
            if !self.timeline.forward() {
                match advance(self.timeline.tip(), &self.models, host) {
                    Ok(next) => self.timeline.push(next),
                    Err(pipeline::Error::Forward(interrupted @ crate::nn::Error::Interrupted(_))) => {
                        return self.moved(Some(interrupted.to_string()), warnings);
                    }
                    Err(other) => return Err(other.into()),
                }
                let ran = self.timeline.here().last();
                warnings.extend(ran.into_iter().flat_map(|record| record.warnings.iter().cloned()));
                host.stage_done(self);
            }
            let arrived = arrived(&self.timeline);
            let hit = self.breakpoints.hit(self.timeline.here()).map(|hit| stop_message(&hit));
            if arrived || hit.is_some() || self.timeline.position().is_none() {
                return self.moved(hit, warnings);
            }
        }
    }

    /// Goes back stage by stage until `arrived` or the start.
    fn go_back(
        &mut self,
        mut arrived: impl FnMut(&mut Breakpoints, &Snapshot) -> Result<bool, String>,
    ) -> Result<Answered, SessionError> {
        if self.timeline.cursor() == 0 {
            return Err(SessionError::Refused("nothing is before encode_prompt; `next` goes on".into()));
        }
        while self.timeline.backward() {
            match arrived(&mut self.breakpoints, self.timeline.here()) {
                Ok(true) => break,
                Ok(false) => {}
                Err(why) => return self.moved(Some(why), vec![]),
            }
        }
        self.moved(None, vec![])
    }

    fn reverse_continue(&mut self) -> Result<Answered, SessionError> {
        self.go_back(|breakpoints, here| match breakpoints.hit(here) {
            Some(hit) => Err(stop_message(&hit)),
            None => Ok(false),
        })
    }

    fn until(&mut self, place: Place, host: &mut dyn Host) -> Result<Answered, SessionError> {
        self.check_place(place)?;
        let behind = match (place, self.timeline.position()) {
            (_, None) => true,
            (Place::Stage(stage), Some(next)) => stage <= next,
            (Place::AnyStep, Some(next)) => next == Stage::VaeDecode,
        };
        if behind {
            let here = self.position_name();
            return Err(SessionError::Refused(format!(
                "{place} does not lie ahead: {here} is where the run stands; `goto {place}` goes back"
            )));
        }
        self.go_on(host, |timeline| timeline.position().is_some_and(|next| place.is_at(next)))
    }

    fn goto(&mut self, place: Place, host: &mut dyn Host) -> Result<Answered, SessionError> {
        self.check_place(place)?;
        let stage = match place {
            Place::Stage(stage) => stage,
            Place::AnyStep => Stage::Denoise { step: 0 },
        };
        let target = stage.index(self.timeline.here().request().num_inference_steps);
        if target == self.timeline.cursor() {
            return self.moved(None, vec![]);
        }
        if target > self.timeline.cursor() {
            return self.go_on(host, |timeline| timeline.cursor() == target);
        }
        while self.timeline.cursor() > target && self.timeline.backward() {}
        self.moved(None, vec![])
    }

    fn restart(&mut self) -> Result<Answered, SessionError> {
        let request = self.timeline.here().request().clone();
        self.timeline = Timeline::new(Snapshot::start(request, &self.models)?);
        self.moved(None, vec![])
    }

    /// Refuses a step that the run does not have.
    fn check_place(&self, place: Place) -> Result<(), SessionError> {
        let steps = self.timeline.here().request().num_inference_steps;
        match place {
            Place::Stage(Stage::Denoise { step }) if step >= steps => Err(SessionError::Refused(format!(
                "denoise {step} is not in this run of {steps} steps; expected denoise 0 to {}",
                steps - 1
            ))),
            _ => Ok(()),
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

    /// What a move shows: where it came to, and what the stage before made.
    fn moved(&self, stopped: Option<String>, warnings: Vec<String>) -> Result<Answered, SessionError> {
        let here = self.timeline.here();
        let next = match here.position() {
            Some(stage) => format!("next: {stage}"),
            None => "the run is complete".into(),
        };
        let mut message = match here.last() {
            Some(record) => {
                let timestep =
                    record.coefficients.map(|c| format!("t = {}, ", c.timestep)).unwrap_or_default();
                let ms = record.took.as_secs_f64() * 1e3;
                format!("{} done ({timestep}{ms:.0} ms); {next}", record.stage)
            }
            None => format!("at the start; {next}"),
        };
        if !self.timeline.at_tip() {
            let behind = self.timeline.recorded() - self.timeline.cursor();
            message.push_str(&format!("; {behind} recorded ahead"));
        }
        let tensors = here.last().map(TensorRow::of_record).transpose()?.unwrap_or_default();
        Ok(Answered { messages: vec![message], warnings, stopped, tensors, ..Answered::default() })
    }

    fn info(&self, topic: Topic) -> Result<Answered, SessionError> {
        let here = self.timeline.here();
        match topic {
            Topic::Breakpoints if self.breakpoints.list().is_empty() => Ok(said("no breakpoints".into())),
            Topic::Breakpoints => {
                let line = |b: &super::breakpoint::Breakpoint| format!("{b} (stopped {} times)", b.hits);
                Ok(Answered {
                    messages: self.breakpoints.list().iter().map(line).collect(),
                    ..Answered::default()
                })
            }
            Topic::Request => {
                let value = serde_json::to_value(here.request()).unwrap_or_default();
                let line = |(name, _): &(&str, Setting)| format!("{name} = {}", value[*name]);
                Ok(Answered {
                    messages: Setting::ALL.iter().map(line).collect(),
                    value: Some(value.clone()),
                    ..Answered::default()
                })
            }
            Topic::Tensors => {
                let mut tensors = vec![];
                for record in here.records() {
                    tensors.extend(TensorRow::of_record(record)?);
                }
                let none = tensors.is_empty().then(|| "no tensors yet; `next` makes some".to_string());
                Ok(Answered { messages: none.into_iter().collect(), tensors, ..Answered::default() })
            }
        }
    }

    fn print(&self, text: &str) -> Result<Answered, SessionError> {
        let here = self.timeline.here();
        // A key such as denoise.003/latents is no expression; a name alone is one, but needs no evaluation.
        if let Some((stage, tensor)) = here.tensor(text) {
            let name = text.rsplit('/').next().unwrap_or(text);
            let plain = PlainTensor::of(tensor)?;
            return Ok(Answered {
                messages: vec![first_values(&plain)],
                tensors: vec![TensorRow::new(name, Some(stage), &plain)],
                ..Answered::default()
            });
        }
        Ok(match Expression::compile(text)?.evaluate(here)? {
            Answer::Tensor(value) => Answered {
                messages: vec![first_values(value.tensor())],
                tensors: vec![TensorRow::of_value(text, &value)],
                ..Answered::default()
            },
            Answer::Bool(truth) => valued(truth.to_string(), truth.into()),
            Answer::Number(number) => valued(number.to_string(), number.into()),
            Answer::Text(text) => valued(text.clone(), text.into()),
        })
    }

    fn set(&mut self, setting: Setting, value: &str) -> Result<Answered, SessionError> {
        use Setting::{Eta, GuidanceScale, Height, NegativePrompt, NumInferenceSteps, Prompt, Seed, Width};
        let here = self.timeline.here();
        let name = setting.name();
        if matches!(setting, Seed | Height | Width | NumInferenceSteps) && !here.records().is_empty() {
            let get_latent_ran = here.records().len() > Stage::GetLatent.index(0);
            if get_latent_ran {
                return Err(SessionError::Refused(format!(
                    "{name} cannot change once get_latent has run: its noise is drawn; `goto get_latent` first"
                )));
            }
        }
        let mut request = here.request().clone();
        match setting {
            Prompt => request.prompt = value.into(),
            NegativePrompt => request.negative_prompt = value.into(),
            Height => request.height = parsed(name, value, "a number of pixels")?,
            Width => request.width = parsed(name, value, "a number of pixels")?,
            NumInferenceSteps => request.num_inference_steps = parsed(name, value, "a number of steps")?,
            GuidanceScale => request.guidance_scale = parsed(name, value, "a number")?,
            Seed => request.seed = parsed(name, value, "a whole number")?,
            Eta => request.eta = parsed(name, value, "a number from 0 to 1")?,
        }
        let next = here.with_request(request, &self.models)?;
        let again = matches!(setting, Prompt | NegativePrompt) && !here.records().is_empty();
        let complete = next.position().is_none();
        let dropped = self.timeline.replace_here(next);

        let mut answered = said(format!("{name} = {value}"));
        if complete {
            answered.messages.push("the run is complete; `restart` runs it again with this".into());
        } else if again {
            answered.messages.push("it is encoded before the next stage runs".into());
        }
        if dropped > 0 {
            let stages = if dropped == 1 { "stage".into() } else { format!("{dropped} stages") };
            answered.warnings.push(format!(
                "the recorded {stages} after this point were made with other settings and are dropped"
            ));
        }
        Ok(answered)
    }

    fn save(&self, what: &str, file: &Path) -> Result<Answered, SessionError> {
        let here = self.timeline.here();
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let found = || match here.tensor(what) {
            Some((_, tensor)) => Ok(tensor),
            None => Err(SessionError::Refused(format!(
                "`{what}` is not there; expected `all` or one of {}",
                names(here).join(", ")
            ))),
        };
        match extension {
            "safetensors" if what == "all" => {
                dump::write(here, &self.models.source.to_string(), file)?;
            }
            "safetensors" => dump::write_one(what, found()?, file)?,
            "png" => self.save_picture(what, found()?, file)?,
            _ => {
                return Err(SessionError::Refused(format!(
                    "{}: nothing is known of its ending; expected .safetensors for numbers or .png for a picture",
                    file.display()
                )));
            }
        }
        Ok(said(format!("{what} saved to {}", file.display())))
    }

    fn save_picture(&self, what: &str, tensor: &Tensor, file: &Path) -> Result<(), SessionError> {
        let name = what.rsplit('/').next().unwrap_or(what);
        let picture = view::picture(name, &PlainTensor::of(tensor)?, &self.models);
        let Some(picture) = picture else {
            return Err(SessionError::Refused(format!(
                "{what} is no picture: its shape is {:?}; expected one of four dimensions, or a .safetensors file",
                tensor.dims()
            )));
        };
        let request = self.timeline.here().request();
        let parameters = (name == "image").then(|| png::parameters(request, &self.models.source.to_string()));
        let bytes = png::encode(&picture.image, parameters.as_deref())
            .map_err(|e| SessionError::Refused(format!("{}: {e}", file.display())))?;
        Ok(dump::write_beside(file, &bytes)?)
    }
}

/// The names of all tensors so far, each once.
fn names(snapshot: &Snapshot) -> Vec<&'static str> {
    let mut names = vec![];
    for (name, _) in snapshot.records().iter().flat_map(|record| &record.tensors) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

/// The beginning of a tensor's values.
fn first_values(tensor: &PlainTensor) -> String {
    const SHOWN: usize = 8;
    let values = tensor.data().iter().take(SHOWN).map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(", ");
    let more = if tensor.data().len() > SHOWN { ", …" } else { "" };
    format!("[{values}{more}]")
}

fn said(message: String) -> Answered {
    Answered { messages: vec![message], ..Answered::default() }
}

fn valued(message: String, value: serde_json::Value) -> Answered {
    Answered { value: Some(value), ..said(message) }
}

fn stop_message(hit: &Hit) -> String {
    match hit {
        Hit::Reached(breakpoint) => format!("stopped at {breakpoint}"),
        Hit::Undecided(breakpoint, why) => {
            format!("stopped at {breakpoint}: its condition cannot be told: {why}")
        }
    }
}

fn parsed<T: std::str::FromStr>(name: &str, value: &str, expected: &str) -> Result<T, SessionError> {
    value
        .parse()
        .map_err(|_| SessionError::Refused(format!("{name} cannot be `{value}`; expected {expected}")))
}

fn help(verb: Option<&Verb>) -> Answered {
    let heading = |verb: &Verb| {
        let short = if verb.short.is_empty() { String::new() } else { format!(" ({})", verb.short) };
        format!("{}{short} {}", verb.name, verb.usage)
    };
    let messages = match verb {
        Some(verb) => {
            vec![heading(verb), format!("  {}", verb.summary), format!("  example: {}", verb.example)]
        }
        None => VERBS.iter().map(|verb| format!("{:44} {}", heading(verb), verb.summary)).collect(),
    };
    Answered { messages, ..Answered::default() }
}

//! Looking: questions outcome, tensors and pictures saved.

use super::breakpoints::Breakpoint;
use super::scope;
use super::{Session, SessionError};
use crate::debugger::expr::names;
use crate::debugger::expr::value::FIELDS;
use crate::debugger::expr::{Answer, Expression, FUNCTIONS};
use crate::debugger::language::arguments::{Help, Topic};
use crate::debugger::language::glossary;
use crate::debugger::language::verb::{Group, Verb};
use crate::debugger::language::verbs::{COMMENTS, VERBS};
use crate::debugger::outcome::{Form, Outcome, Shown, ShownPicture};
use crate::debugger::record::TensorRow;
use crate::debugger::record::{RecordId, RecordView, pictures};
use crate::phrase::Phrase;
use crate::picture::{Picture, png};
use crate::pipeline::{Setting, dump};
use crate::tensor::PlainTensor;
use crate::trace::{Recorded, TraceError, TraceWriter};
use candle_core::Tensor;
use std::path::Path;
use tr::tr;

impl Session {
    /// Reports the breakpoints, the settings, or every tensor so far.
    pub(super) fn info(&self, topic: Topic) -> Result<Outcome, SessionError> {
        let here = self.here();
        match topic {
            Topic::Breakpoints if self.breakpoints.list().is_empty() => {
                Ok(Outcome::message("no breakpoints"))
            }
            Topic::Breakpoints => {
                let line = |b: &Breakpoint| tr!("{b} (stopped {} times)", b.hits, b);
                Ok(Outcome::lines(self.breakpoints.list().iter().map(line).collect()))
            }
            Topic::Frame => self.info_frame(),
            Topic::Timelines => Ok(self.info_timelines()),
            Topic::Display if self.displayed().is_empty() => Ok(Outcome::message("nothing is displayed")),
            Topic::Display => Ok(Outcome::default().showing(Shown::Displays(self.displayed()))),
            Topic::Request => {
                let value = serde_json::to_value(here.request()).unwrap_or_default();
                let line =
                    |setting: &Setting| format!("{setting} = {}", setting.get(here.request()).in_message());
                let lines = Setting::of(here.request()).iter().map(line).collect();
                Ok(Outcome::lines(lines).showing(Shown::Value(value)))
            }
            Topic::Scheduler => Ok(self.info_scheduler()),
            Topic::Tensors => {
                let mut tensors = vec![];
                for record in here.records() {
                    tensors.extend(TensorRow::of_record(record)?);
                }
                let none = tensors.is_empty().then(|| tr!("no tensors yet; `next` makes some"));
                Ok(Outcome::lines(none.into_iter().collect()).showing(Shown::Tensors(tensors)))
            }
        }
    }

    /// A tensor by its name or key, or the value of an expression.
    pub(super) fn print(&self, text: &str) -> Result<Outcome, SessionError> {
        let here = self.here();
        // A key such as denoise.003/latents is no expression; a name alone is one, but needs no evaluation.
        if let Some((stage, tensor)) = here.tensor(text) {
            let name = text.rsplit('/').next().unwrap_or(text);
            let plain = PlainTensor::of(tensor)?;
            let row = TensorRow::new(name, Some(stage), &plain);
            return Ok(Outcome::message(first_values(&plain)).showing(Shown::Tensors(vec![row])));
        }
        Ok(match Expression::compile(text)?.evaluate(&here)? {
            Answer::Tensor(value) => Outcome::message(first_values(value.tensor()))
                .showing(Shown::Tensors(vec![TensorRow::of_value(text, &value)])),
            Answer::Bool(truth) => valued(truth.to_string(), truth.into()),
            Answer::Number(number) => valued(number.to_string(), number.into()),
            Answer::List(text) | Answer::Text(text) => valued(text.clone(), text.into()),
        })
    }

    /// A picture, to be shown as large as there is room.
    pub(super) fn show(&self, name: &str) -> Result<Outcome, SessionError> {
        let here = self.here();
        let picture = match here.tensor(name) {
            Some((_, tensor)) => pictures::picture(
                name.rsplit('/').next().unwrap_or(name),
                &PlainTensor::of(tensor)?,
                self.backend.info(),
            ),
            // A picture that is made of several tensors, such as `difference`.
            None => self.drawn_picture(name)?,
        };
        let Some(picture) = picture else {
            let pictures = here.last().map_or(&[][..], |record| pictures::all(record.stage));
            let there = if pictures.is_empty() { tr!("none here") } else { pictures.join(", ") };
            return Err(SessionError::Refused(tr!(
                "`{name}` is no picture; expected one of: {there}",
                name,
                there
            )));
        };
        let (width, height) = picture.image.dimensions();
        let message = format!("{name}: {width}×{height} pixels, {}", picture.label);
        let picture =
            ShownPicture { name: name.into(), label: picture.label.clone(), width, height, picture };
        Ok(Outcome::message(message).showing(Shown::Picture(picture)))
    }

    /// A picture of the record before the cursor, by its name.
    fn drawn_picture(&self, name: &str) -> Result<Option<Picture>, SessionError> {
        let mut before = self.timeline().here().records().iter().rev();
        let Some(record) = before.next() else { return Ok(None) };
        let latents = before.next().and_then(|record| record.tensor("latents"));
        let view = RecordView::of(record, latents, RecordId(0), self.backend.info())?;
        Ok(view.picture(name).map(|picture| picture.picture.clone()))
    }

    /// Writes every stage so far as a trace.
    fn save_trace(&self, folder: &Path) -> Result<Outcome, SessionError> {
        let refused = |e: TraceError| SessionError::Refused(e.to_string());
        let models = self.backend.models()?;
        let here = self.here();
        let mut trace = TraceWriter::begin(folder, &here, models).map_err(refused)?;
        for record in here.records() {
            trace.stage(record, Recorded::default()).map_err(refused)?;
        }
        let count = here.records().len();
        Ok(Outcome::message(tr!("{count} stages saved to {}", folder.display(), count)))
    }

    /// Writes a tensor, its picture, or everything so far.
    pub(super) fn save(&self, what: &str, file: &Path) -> Result<Outcome, SessionError> {
        if let Some(why) = self.unsaved {
            return Err(SessionError::Refused(format!("save: {why}")));
        }
        if what == "timeline" {
            return self.save_timeline(file);
        }
        if what == "trace" {
            return self.save_trace(file);
        }
        let here = self.here();
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let found = || match here.tensor(what) {
            Some((_, tensor)) => Ok(tensor),
            None => Err(SessionError::Refused(tr!(
                "`{what}` is not there; expected `all` or one of {}",
                scope::tensors(&here).join(", "),
                what
            ))),
        };
        match extension {
            "safetensors" if what == "all" => {
                dump::write(&here, &self.backend.info().file_name, file)?;
            }
            "safetensors" => dump::write_one(what, found()?, file)?,
            "png" => {
                let warnings = self.save_picture(what, found()?, file)?.into_iter().collect();
                return Ok(Outcome {
                    warnings,
                    ..Outcome::message(tr!("{what} saved to {}", file.display(), what))
                });
            }
            _ => {
                return Err(SessionError::Refused(tr!(
                    "{}: nothing is known of its ending; expected .safetensors for numbers or .png for a picture",
                    file.display()
                )));
            }
        }
        Ok(Outcome::message(tr!("{what} saved to {}", file.display(), what)))
    }

    /// Writes a tensor's picture; a warning where the settings in it may be misread.
    fn save_picture(&self, what: &str, tensor: &Tensor, file: &Path) -> Result<Option<String>, SessionError> {
        let name = what.rsplit('/').next().unwrap_or(what);
        let picture = pictures::picture(name, &PlainTensor::of(tensor)?, self.backend.info());
        let Some(picture) = picture else {
            return Err(SessionError::Refused(tr!(
                "{what} is not a picture: its shape is {}; expected one of four dimensions, or a .safetensors file",
                format_args!("{:?}", tensor.dims()),
                what
            )));
        };
        let (texts, warning) = match name {
            "image" => png::texts(self.timeline().here(), &self.backend.info().file_name, None),
            _ => (vec![], None),
        };
        let bytes = png::encode(&picture.image, &texts)
            .map_err(|e| SessionError::Refused(format!("{}: {e}", file.display())))?;
        dump::write_beside(file, &bytes)?;
        Ok(warning)
    }
}

/// The beginning of a tensor's values.
fn first_values(tensor: &PlainTensor) -> String {
    const SHOWN: usize = 8;
    let values = tensor.data().iter().take(SHOWN).map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(", ");
    let more = if tensor.data().len() > SHOWN { ", …" } else { "" };
    format!("[{values}{more}]")
}

/// All commands, one, or a word of the glossary.
pub(super) fn help(help: &Help) -> Outcome {
    let heading = |verb: &Verb| {
        let short = if verb.short.is_empty() { String::new() } else { format!(" ({})", verb.short) };
        format!("{}{short} {}", verb.name, verb.usage).trim_end().into()
    };
    let messages = match help {
        Help::Word(word) => return Outcome::lines(glossary::explained(word).unwrap_or_default()),
        Help::Verb(verb) => {
            let mut lines = vec![
                heading(verb),
                format!("      {}", verb.summary),
                tr!("      such as `{}`", verb.example),
            ];
            if verb.usage.contains("EXPR") {
                lines.push(tr!("  in an expression (CEL):"));
                lines.extend(FUNCTIONS.map(|(call, gives)| format!("    {call:32} {gives}")));
                lines.push(format!("    TENSOR.{}", FIELDS.replace(", ", ", .")));
                lines.push(tr!("    TENSOR[0,2..5,:]                 a part of it"));
                lines.push(format!("    {}", names::plain().join(", ")));
            }
            lines
        }
        Help::All => {
            let mut lines = vec![];
            for (group, heading) in Group::ALL {
                let verbs = VERBS.iter().filter(|verb| verb.group == group);
                for (index, verb) in verbs.enumerate() {
                    let heading = if index == 0 { heading } else { Phrase::NONE };
                    let short =
                        if verb.short.is_empty() { String::new() } else { format!(" ({})", verb.short) };
                    lines.push(format!(
                        "{heading:<11}{:<22} {}",
                        format!("{}{short}", verb.name),
                        verb.brief
                    ));
                }
            }
            lines.push(tr!("`help VERB` explains one; `help WORD` a tensor, a setting, a symbol or a view."));
            lines.push(COMMENTS.into());
            lines
        }
    };
    Outcome { form: Form::Page, ..Outcome::lines(messages) }
}

fn valued(message: String, value: serde_json::Value) -> Outcome {
    Outcome::message(message).showing(Shown::Value(value))
}

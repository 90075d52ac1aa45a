//! What words and points look at, and what words do: asked, and saved.

use super::{Session, SessionError, SessionHost};
use crate::debugger::inspect::{InspectError, attention};
use crate::debugger::language::attention::{AttentionQuery, Subject};
use crate::debugger::outcome::attention::{AttentionReport, EffectReport};
use crate::debugger::outcome::{Outcome, Shown, ShownPicture};
use crate::debugger::prompt::word;
use crate::debugger::replay;
use crate::picture::sheet::{Row, Sheet};
use crate::picture::{Picture, animation, heat, png};
use crate::pipeline::attention::{Size, Split};
use crate::pipeline::{Snapshot, Stage, StageRecord, dump};
use candle_core::{Device, Tensor};
use image::RgbImage;
use image::imageops::{FilterType, resize};
use std::path::Path;
use std::sync::Arc;
use tr::tr;

/// The shorter side that a saved picture has at least, in pixels.
const LEAST: u32 = 256;

/// A map that is to be shown.
struct Mapped {
    report: AttentionReport,
    /// None where every token is asked for.
    map: Option<Vec<f32>>,
    size: Size,
}

impl Session {
    /// What words or a point look at; with a file, saved there.
    pub(super) fn attention(
        &mut self,
        looking: &AttentionQuery,
        file: Option<&Path>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        let ending = file.map(|file| self.ending(file, &["png", "gif", "safetensors"])).transpose()?;
        if file.is_some() && looking.subject == Subject::All {
            return Err(SessionError::Refused(tr!("save attention: no word named")));
        }
        if let (Some(file), Some("gif")) = (file, ending) {
            return self.save_attention_steps(looking, file, host);
        }
        let records = match looking.over_steps {
            true => self.recorded_steps()?,
            false => vec![self.step_asked(looking.step)?],
        };
        let mapped = self.mapped(looking, &records, host)?;
        let mut outcome = Outcome::message(mapped.report.line());
        if let Some(map) = &mapped.map {
            // Over the picture of the last of the steps.
            let last = &records[records.len() - 1];
            match (file, ending) {
                (Some(file), Some("safetensors")) => {
                    let (height, width) = mapped.size;
                    let tensor = Tensor::from_slice(map, (height, width), &Device::Cpu)?;
                    dump::write_one("attention", &tensor, file)?;
                }
                _ => {
                    let below = self.picture_of(last, host)?;
                    let scale = heat::scale([&map[..]]);
                    let picture =
                        heat::over(&enlarged(&below), map, mapped.size, &scale).ok_or_else(no_map)?;
                    match file {
                        Some(file) => self.write_png(&picture.image, &mapped.report.line(), file)?,
                        None => outcome.show(Shown::Picture(shown(mapped.report.subject.clone(), picture))),
                    }
                }
            }
        }
        if let Some(file) = file {
            outcome.messages.push(tr!("attention saved to {}", file.display()));
        }
        let is_listed = mapped.report.is_listed && file.is_none();
        outcome.show(Shown::Attention(AttentionReport { is_listed, ..mapped.report }));
        Ok(outcome)
    }

    /// What a word does; with a file, saved there.
    pub(super) fn effect(
        &mut self,
        text: &str,
        step: Option<usize>,
        file: Option<&Path>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        if let Some(file) = file {
            self.ending(file, &["png"])?;
        }
        let record = self.step_asked(step)?;
        let before = self.before(&record)?;
        let positions = self.positions(text, &before, host)?;
        self.begins(&before, host);
        let run = attention::effect(&self.backend, &before, &positions, true, host).map_err(refused)?;
        let report = EffectReport::of(text, &run);
        let mut outcome = Outcome::lines(report.lines());
        if !run.by_padding {
            outcome.warnings.push(tr!(
                "the prompt fills all {} tokens: the last one's embedding stands for the padding's",
                run.replaced_by + 1
            ));
        }
        let affected = run.effects.iter().find(|effect| effect.name == "pred_original_sample");
        let affected = affected.ok_or_else(no_map)?;
        let [was, without] = run.pictures.each_ref().map(enlarged);
        let over = |below: &Picture, map: &[f32]| {
            heat::over(below, map, run.size, &heat::scale([map])).ok_or_else(no_map)
        };
        let (looked, does) = (over(&was, &run.attention)?, over(&was, &affected.map.values)?);
        let tile = |caption: &str, picture: &Picture| (caption.to_string(), Some((*picture.image).clone()));
        let sheet = Sheet {
            title: report.lines(),
            rows: vec![Row {
                heading: String::new(),
                tiles: vec![
                    tile("with", &was),
                    tile("looked at from", &looked),
                    tile("what it changes", &does),
                    tile("without", &without),
                ],
            }],
            ..Sheet::default()
        };
        let label = tr!("with {text}, where the picture attends to it, what it changes, without it", text);
        let picture = Picture { image: Arc::new(sheet.draw()), label };
        match file {
            Some(file) => {
                self.write_png(&picture.image, &report.lines().join("\n"), file)?;
                outcome.messages.push(tr!("effect saved to {}", file.display()));
            }
            None => outcome.show(Shown::Picture(shown(text.into(), picture))),
        }
        outcome.show(Shown::Effect(report));
        Ok(outcome)
    }

    /// A frame for each recorded step, all on one scale.
    fn save_attention_steps(
        &mut self,
        looking: &AttentionQuery,
        file: &Path,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        if looking.step.is_some() {
            return Err(SessionError::Refused(tr!(
                "save attention: a GIF is of every recorded step; expected no `step`, or a .png file"
            )));
        }
        let records = self.recorded_steps()?;
        let (mut maps, mut below, mut size) = (vec![], vec![], (0, 0));
        for record in &records {
            let mapped = self.mapped(looking, std::slice::from_ref(record), host)?;
            size = mapped.size;
            maps.push(mapped.map.ok_or_else(no_map)?);
            below.push(enlarged(&self.picture_of(record, host)?));
        }
        let scale = heat::scale(maps.iter().map(|map| &map[..]));
        let bytes = animation::gif(maps.len(), |frame| {
            let drawn = heat::over(&below[frame], &maps[frame], size, &scale).ok_or_else(no_map)?;
            Ok::<RgbImage, SessionError>((*drawn.image).clone())
        })?;
        dump::write_beside(file, &bytes)?;
        Ok(Outcome::message(tr!("attention of {} steps saved to {}", maps.len(), file.display())))
    }

    /// The map that is asked for, of these steps.
    fn mapped(
        &self,
        looking: &AttentionQuery,
        records: &[Arc<StageRecord>],
        host: &mut dyn SessionHost,
    ) -> Result<Mapped, SessionError> {
        let before = records.iter().map(|record| self.before(record)).collect::<Result<Vec<_>, _>>()?;
        let positions = match &looking.subject {
            Subject::Word(text) => {
                // The prompt may be another in another step: the word must stand where it stood.
                let all = before.iter().map(|before| self.positions(text, before, host));
                let all = all.collect::<Result<Vec<_>, _>>()?;
                if all.windows(2).any(|pair| pair[0] != pair[1]) {
                    return Err(SessionError::Refused(tr!(
                        "`{text}` is not the same tokens in every step: the prompt was changed on the way; expected one step",
                        text
                    )));
                }
                all.into_iter().next().unwrap_or_default()
            }
            Subject::All | Subject::Point(..) => vec![],
        };
        if let Some(before) = before.first() {
            self.begins(before, host);
        }
        let focus = &looking.focus;
        let mut mapped = match &looking.subject {
            Subject::Point(x, y) => {
                let run = attention::point(&self.backend, &before, (*x, *y), focus, host).map_err(refused)?;
                let report = AttentionReport::of_point(&tr!("the point {x},{y}", x, y), &run);
                Mapped { report, map: Some(run.map), size: run.size }
            }
            subject => {
                let run = attention::attention(&self.backend, &before, focus, Split::Whole, host);
                let run = run.map_err(refused)?;
                let name = match subject {
                    Subject::Word(text) => text,
                    _ => "every token",
                };
                let report = AttentionReport::of_words(name, &positions, &run);
                let maps = run.maps.first().filter(|_| !positions.is_empty());
                Mapped { report, map: maps.map(|maps| maps.of(&positions)), size: run.size }
            }
        };
        if focus.head.is_some() {
            // One head of each layer was read.
            mapped.report.layers.iter_mut().for_each(|layer| layer.heads = 1);
        }
        Ok(mapped)
    }

    pub(super) fn begins(&self, before: &Snapshot, host: &mut dyn SessionHost) {
        if let Some(stage) = before.position() {
            host.stage_begins(stage, None);
        }
    }

    fn positions(
        &self,
        text: &str,
        before: &Snapshot,
        host: &mut dyn SessionHost,
    ) -> Result<Vec<usize>, SessionError> {
        let before = self.backend.encoded(before, host)?;
        let tokens = attention::tokens(&before, self.backend.info().tokenizer.as_deref())?;
        word::resolve(text, &tokens).map_err(|e| SessionError::Refused(e.to_string()))
    }

    pub(super) fn before(&self, record: &Arc<StageRecord>) -> Result<Snapshot, SessionError> {
        replay::before(&self.timelines, record, &self.backend).ok_or_else(|| refused(InspectError::Gone))
    }

    /// Every step that is recorded.
    fn recorded_steps(&self) -> Result<Vec<Arc<StageRecord>>, SessionError> {
        let mut records = self.timeline().records();
        records.retain(|record| matches!(record.stage, Stage::Denoise { .. }));
        if records.is_empty() { Err(none_recorded()) } else { Ok(records) }
    }

    /// The record of a step, or of the one before the cursor.
    pub(super) fn step_asked(&self, step: Option<usize>) -> Result<Arc<StageRecord>, SessionError> {
        let Some(step) = step else {
            let here = self.timeline().here().records();
            let last = here.iter().rev().find(|record| matches!(record.stage, Stage::Denoise { .. }));
            return last.cloned().ok_or_else(none_recorded);
        };
        let records = self.recorded_steps()?;
        let found = records.iter().find(|record| record.stage == Stage::Denoise { step }).cloned();
        found.ok_or_else(|| {
            let [first, last] = [records.first(), records.last()]
                .map(|record| record.map_or(String::new(), |record| record.stage.to_string()));
            SessionError::Refused(tr!(
                "denoise {step} is not recorded; expected one of {first} to {last}, or run it first: `goto denoise {}`",
                step.saturating_add(1), step, first, last))
        })
    }

    /// The VAE's picture of what a step takes for the picture; of a recorded run, the linear estimate.
    fn picture_of(&self, record: &StageRecord, host: &mut dyn SessionHost) -> Result<Picture, SessionError> {
        let sample = record.tensor("pred_original_sample").ok_or_else(no_map)?;
        let decodes = self.backend.models().is_ok();
        attention::picture(&self.backend, sample, decodes, host).map_err(refused)
    }

    /// A file's ending, which must be one of those; none where nothing is saved.
    pub(super) fn ending<'a>(&self, file: &Path, known: &[&'a str]) -> Result<&'a str, SessionError> {
        if let Some(why) = self.unsaved {
            return Err(SessionError::Refused(format!("save: {why}")));
        }
        let found = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        known.iter().copied().find(|ending| *ending == found).ok_or_else(|| {
            SessionError::Refused(tr!(
                "{}: nothing is known of its ending; expected .{}",
                file.display(),
                known.join(", .")
            ))
        })
    }

    pub(super) fn write_png(&self, image: &RgbImage, told: &str, file: &Path) -> Result<(), SessionError> {
        let (texts, _) = png::texts(self.timeline().here(), &self.backend.info().file_name, Some(told));
        let bytes = png::encode(image, &texts)
            .map_err(|e| SessionError::Refused(format!("{}: {e}", file.display())))?;
        Ok(dump::write_beside(file, &bytes)?)
    }
}

/// A picture as large as is needed to see something: enlarged without edges by a whole number.
pub(super) fn enlarged(picture: &Picture) -> Picture {
    let (width, height) = picture.image.dimensions();
    let times = LEAST.div_ceil(width.min(height).max(1));
    if times <= 1 {
        return picture.clone();
    }
    let image = resize(&*picture.image, width * times, height * times, FilterType::CatmullRom);
    Picture { image: Arc::new(image), label: picture.label.clone() }
}

pub(super) fn shown(name: String, picture: Picture) -> ShownPicture {
    let (width, height) = picture.image.dimensions();
    ShownPicture { name, label: picture.label.clone(), width, height, picture }
}

pub(super) fn refused(error: InspectError) -> SessionError {
    match error {
        InspectError::Pipeline(error) => error.into(),
        other => SessionError::Refused(other.to_string()),
    }
}

pub(super) fn no_map() -> SessionError {
    SessionError::Refused(tr!("the step made no map"))
}

fn none_recorded() -> SessionError {
    SessionError::Refused(
        "no step of denoise is recorded here; `goto denoise 1` runs the first one, `continue` all of them"
            .into(),
    )
}

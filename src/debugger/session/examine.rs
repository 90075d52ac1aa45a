//! Looking inside of the stage before the cursor, and at how pixels settled.

use super::{Session, SessionError, SessionHost};
use crate::debugger::inspect::{InspectError, InspectQuery, Inspection, ModuleRow};
use crate::debugger::language::features::FeatureQuery;
use crate::debugger::outcome::{Outcome, Shown, ShownPicture};
use crate::debugger::replay::outputs;
use crate::nn::pattern::Pattern;
use crate::picture::timemap::{TOLERANCE, TimeMap};
use crate::picture::{Picture, png};
use crate::pipeline::models::runs_in;
use crate::pipeline::{Stage, StageRecord, dump};
use crate::tensor::PlainTensor;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tr::tr;

impl From<InspectError> for SessionError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Pipeline(error) => Self::Pipeline(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl Session {
    /// The stage before the cursor, or why there is nothing to look into.
    fn last_record(&self) -> Result<&Arc<StageRecord>, SessionError> {
        let none = || SessionError::Refused(tr!("no stage has run yet; `next` runs one"));
        self.timeline().here().records().last().ok_or_else(none)
    }

    fn look_into(
        &mut self,
        asked: &InspectQuery,
        host: &mut dyn SessionHost,
    ) -> Result<Inspection, SessionError> {
        let record = Arc::clone(self.last_record()?);
        host.stage_begins(
            record.stage,
            Some(self.backend.modules_in(record.stage, self.timeline().here().request())),
        );
        Ok(asked.carry_out(&self.timelines, &self.backend, &record, &mut self.drawn, host)?)
    }

    /// The modules that `pattern` matches; without one, those of the stage before the cursor. With what they made there,
    /// where they ran.
    pub(super) fn info_modules(
        &mut self,
        pattern: Option<&Pattern>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        let here = self.timeline().here().clone();
        let last = here.records().last();
        let runs = |path: &str| last.is_some_and(|last| runs_in(last.stage, here.request(), path));
        let anatomy = Arc::clone(&self.backend.info().anatomy);
        let any_runs = anatomy.iter().any(|module| runs(&module.path));
        let matches = |path: &str| pattern.map_or(!any_runs || runs(path), |pattern| pattern.matches(path));
        let mut listed: Vec<ModuleRow> =
            anatomy.iter().filter(|module| matches(&module.path)).map(ModuleRow::from).collect();
        let mut messages = vec![];
        if any_runs && (listed.iter().any(|row| runs(&row.path)) || listed.is_empty()) {
            if let Inspection::Modules(run) = self.look_into(&InspectQuery::Modules, host)? {
                let took = run.modules.last().and_then(|whole| whole.took);
                messages.push(match took.map(|took| took.as_secs_f64() * 1e3) {
                    Some(took) => tr!(
                        "{} re-run with its {} modules watched, without fused kernels: {took} ms",
                        run.stage,
                        run.modules.len(),
                        took = format_args!("{:.1}", took)
                    ),
                    None => tr!("{} modules are recorded in {}", run.modules.len(), run.stage),
                });
                for module in run.modules.iter().filter(|module| matches(&module.path)) {
                    match listed.iter_mut().find(|row| row.path == module.path) {
                        Some(row) => row.ran(module),
                        None => listed.push(ModuleRow::of_run(module)),
                    }
                }
            }
        } else if !listed.is_empty() {
            let stage = last.map_or(tr!("no stage"), |last| last.stage.to_string());
            messages.push(tr!("none of them ran: {stage} is before the cursor", stage));
        }
        if listed.is_empty() {
            let pattern = pattern.map_or("*", Pattern::as_str);
            return Err(SessionError::Refused(outputs::unknown(self.backend.info(), pattern)));
        }
        Ok(Outcome::lines(messages).showing(Shown::Modules(listed)))
    }

    /// What a module of the stage before the cursor made, as a picture; into a file, or to be shown.
    pub(super) fn features(
        &mut self,
        asked: &FeatureQuery,
        file: Option<&Path>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        self.check_png("features", file)?;
        match self.look_into(&InspectQuery::Features(asked.clone()), host)? {
            Inspection::Picture(picture) => self.pictured(&asked.path, picture, file, None),
            _ => Ok(Outcome::default()),
        }
    }

    /// From which step on each pixel stays as it is in the last one before the cursor.
    pub(super) fn time_map(&self, within: Option<f64>, file: Option<&Path>) -> Result<Outcome, SessionError> {
        self.check_png("timemap", file)?;
        let tolerance = within.unwrap_or(TOLERANCE);
        let (mut steps, mut predicted) = (vec![], vec![]);
        for record in self.timeline().here().records() {
            if let (Stage::Denoise { step }, Some(tensor)) =
                (record.stage, record.tensor("pred_original_sample"))
            {
                steps.push(step);
                predicted.push(PlainTensor::of(tensor)?);
            }
        }
        let map = TimeMap::of(&predicted.iter().collect::<Vec<_>>(), tolerance);
        let Some(map) = map else {
            return Err(SessionError::Refused(tr!(
                "a time map needs two steps of denoise before the cursor; {} there",
                if steps.len() == 1 { tr!("one is") } else { format!("{} are", steps.len()) }
            )));
        };
        let numbered = |settled: &Option<usize>| settled.map(|at| steps[at]);
        let rows: Vec<Vec<Option<usize>>> =
            map.settled.chunks(map.width.max(1)).map(|row| row.iter().map(numbered).collect()).collect();
        let value = json!({ "within": tolerance, "steps": steps, "shares": map.shares, "settled": rows });
        let told = steps.iter().zip(&map.shares).map(|(step, share)| format!("{step} {:.0} %", share * 100.));
        let told = told.collect::<Vec<_>>().join(", ");
        let mut outcome = self.pictured("timemap", map.picture(&steps), file, Some(value))?;
        outcome.messages.push(tr!("settled after each step: {told}", told));
        Ok(outcome)
    }

    /// Refuses a file that is not a picture's before anything is computed.
    fn check_png(&self, what: &str, file: Option<&Path>) -> Result<(), SessionError> {
        let Some(file) = file else { return Ok(()) };
        if let Some(why) = self.unsaved {
            return Err(SessionError::Refused(format!("save: {why}")));
        }
        match file.extension().and_then(|e| e.to_str()) {
            Some("png") => Ok(()),
            _ => Err(SessionError::Refused(tr!(
                "save {what}: {} is no name of a picture; expected one that ends with .png",
                file.display(),
                what
            ))),
        }
    }

    fn pictured(
        &self,
        name: &str,
        picture: Picture,
        file: Option<&Path>,
        value: Option<serde_json::Value>,
    ) -> Result<Outcome, SessionError> {
        let (width, height) = picture.image.dimensions();
        let label = picture.label.clone();
        let message = match file {
            Some(file) => {
                let bytes = png::encode(&picture.image, &[])
                    .map_err(|e| SessionError::Refused(format!("{}: {e}", file.display())))?;
                dump::write_beside(file, &bytes)?;
                tr!(
                    "{name} saved to {}: {width}×{height} pixels, {label}",
                    file.display(),
                    name,
                    width,
                    height,
                    label
                )
            }
            None => format!("{name}: {width}×{height} pixels, {label}"),
        };
        let shown = ShownPicture { name: name.into(), label, width, height, picture };
        let mut outcome = Outcome::message(message);
        if file.is_none() {
            outcome.show(Shown::Picture(shown));
        }
        value.into_iter().for_each(|value| outcome.show(Shown::Value(value)));
        Ok(outcome)
    }
}

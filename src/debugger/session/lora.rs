//! What LoRAs cover, and what they do in a step: asked, and saved.

use super::attention::{enlarged, no_map, refused, shown};
use super::{Session, SessionError, SessionHost};
use crate::debugger::inspect::lora::change;
use crate::debugger::language::lora::LoraQuery;
use crate::debugger::outcome::lora::{LoraEffect, LoraReport};
use crate::debugger::outcome::{Form, Outcome, Shown};
use crate::picture::sheet::{Row, Sheet};
use crate::picture::{Picture, heat};
use crate::pipeline::loras::LoraScale;
use std::path::Path;
use std::sync::Arc;
use tr::tr;

impl Session {
    /// The LoRAs of the run, or one with every module.
    pub(super) fn info_loras(&self, name: Option<&str>) -> Result<Outcome, SessionError> {
        let here = self.here();
        let Ok(models) = self.backend.models() else {
            let is_asked = |lora: &&LoraScale| name.is_none_or(|name| name == lora.name);
            let asked = here.request().loras.iter().filter(is_asked);
            let mut lines: Vec<String> =
                asked.map(|lora| tr!("{}: scale {}, as recorded", lora.name, lora.scale)).collect();
            if lines.is_empty() {
                lines.push(tr!("the trace names no such LoRA"));
            }
            return Ok(Outcome::lines(lines));
        };
        let scale = |name: &str| here.request().lora(name).map_or(0., |lora| lora.scale);
        let is_asked = |name_of: &str| name.is_none_or(|name| name == name_of);
        let asked = models.loras.iter().filter(|lora| is_asked(&lora.name));
        let reports: Vec<LoraReport> = asked.map(|lora| LoraReport::of(lora, scale(&lora.name))).collect();
        if reports.is_empty() {
            let known: Vec<&str> = models.loras.iter().map(|lora| lora.name.as_str()).collect();
            return match (name, known.is_empty()) {
                (Some(name), false) => Err(SessionError::Refused(tr!(
                    "the run has no LoRA `{name}`; expected one of {}",
                    known.join(", "),
                    name
                ))),
                _ => Ok(Outcome::message(tr!("the run has no LoRA; `--lora FILE` adds one"))),
            };
        }
        let lines = reports.iter().flat_map(|report| report.lines(name.is_some())).collect();
        let value = serde_json::to_value(&reports).unwrap_or_default();
        Ok(Outcome { form: Form::Page, ..Outcome::lines(lines) }.showing(Shown::Value(value)))
    }

    /// What a LoRA does in a step; with a file, saved there.
    pub(super) fn lora(
        &mut self,
        asked: &LoraQuery,
        file: Option<&Path>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        if let Some(file) = file {
            self.ending(file, &["png"])?;
        }
        let record = self.step_asked(asked.step)?;
        let before = self.before(&record)?;
        self.begins(&before, host);
        let run = change(&self.backend, &before, asked.name.as_deref(), true, host).map_err(refused)?;
        let report = LoraEffect::of(&run);
        let mut outcome = Outcome::lines(report.lines());
        let [with, without] = run.pictures.as_ref().ok_or_else(no_map)?.each_ref().map(enlarged);
        let map = |name: &str| {
            let change = run.changes.iter().find(|change| change.name == name).ok_or_else(no_map)?;
            let values = &change.map.values;
            heat::over(&with, values, change.map.size, &heat::scale([&values[..]])).ok_or_else(no_map)
        };
        let (residual, sample) = (map("guided_noise_residual")?, map("pred_original_sample")?);
        let tile = |caption: &str, picture: &Picture| (caption.to_string(), Some((*picture.image).clone()));
        let tiles = vec![
            tile("with", &with),
            tile("residual changes", &residual),
            tile("picture changes", &sample),
            tile("without", &without),
        ];
        let rows = vec![Row { heading: String::new(), tiles }];
        let sheet = Sheet { title: report.lines(), rows, ..Sheet::default() };
        let label = tr!("with | change of the guided residual | change of pred_original_sample | without");
        let picture = Picture { image: Arc::new(sheet.draw()), label };
        match file {
            Some(file) => {
                self.write_png(&picture.image, &report.lines().join("\n"), file)?;
                outcome.messages.push(tr!("saved to {}", file.display()));
            }
            None => {
                let name = asked.name.clone().unwrap_or_else(|| "lora".into());
                outcome.show(Shown::Picture(shown(name, picture)));
            }
        }
        outcome.show(Shown::Lora(report));
        Ok(outcome)
    }
}

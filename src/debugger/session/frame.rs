//! Where a stage is paused, with its source and its weights.

use super::{Session, SessionError};
use crate::checkpoint::layout::Precision;
use tr::tr;

use crate::debugger::outcome::{Form, Outcome, Shown};
use crate::debugger::record::TensorRow;
use crate::debugger::source::Function;
use crate::debugger::source::module;
use crate::debugger::stepping::HookPhase;
use crate::debugger::stepping::PausedStage;
use crate::nn::Weights;
use crate::nn::load_report::Parameter;
use crate::pipeline::{self, Stage};
use crate::scheduler::step::timestep_text;
use crate::tensor::PlainTensor;
use candle_core::{DType, Device};
use serde_json::json;

/// Lines of source that `list` shows before and after the current line.
const AROUND: usize = 8;
/// Tensors of weights that a frame tells the statistics of.
const MOST_WEIGHTS: usize = 24;

impl Session {
    /// Where a stage that is stepped through waits, with the inputs of the current module or line.
    pub(super) fn frame(&self, stopped: Option<String>) -> Result<Outcome, SessionError> {
        let Some(inside) = &self.inside else {
            return Ok(Outcome::message(tr!("not inside a stage; next: {}", self.position_name())));
        };
        let mut outcome = Outcome { stopped, ..Outcome::message(self.place()) };
        // The input of time_proj is a number, not a tensor.
        if inside.module.as_ref().is_some_and(|module| module.as_str() == "unet.time_proj")
            && let Some(t) = self.timestep_of(inside.stage)
        {
            outcome.messages.push(tr!("input: t = {t}", t));
        }
        if !self.timeline().at_tip() && self.backend.recording().is_none() {
            outcome
                .warnings
                .push(tr!("already recorded; the stage is re-run to look inside, with the same result"));
        }
        let tensors = match &inside.module {
            None => {
                let row = |(name, tensor)| Ok(TensorRow::new(name, None, &PlainTensor::of(&tensor)?));
                inside.values().into_iter().map(row).collect::<candle_core::Result<_>>()?
            }
            Some(_) => given(inside)?,
        };
        outcome.show(Shown::Tensors(tensors));
        outcome.show(Shown::Displays(self.displayed()));
        outcome.show(Shown::Value(self.frame_value(inside)));
        Ok(outcome)
    }

    /// The same with all that is known of the current module: its class and its weights.
    pub(super) fn info_frame(&self) -> Result<Outcome, SessionError> {
        let mut outcome = self.frame(None)?;
        let Some(inside) = &self.inside else { return Ok(outcome) };
        if self.backend.recording().is_some() {
            return Ok(outcome);
        }
        if inside.is_watched {
            let plainly =
                "modules are watched: they run without fused kernels, within 1e-5 of an unwatched run";
            outcome.messages.push(plainly.into());
        }
        let Some(module) = &inside.module else { return Ok(outcome) };
        let path = module.as_str();
        let weights: Vec<&Parameter> = self.weights_of(path).collect();
        let count: usize = weights.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        let class = self.class_of(path).unwrap_or("a layer");
        outcome.messages.push(tr!(
            "{path}: {class}, {count} parameters in {} tensors",
            weights.len(),
            path,
            class,
            count
        ));
        let mut tensors = outcome.tensors().to_vec();
        for parameter in weights.iter().take(MOST_WEIGHTS) {
            tensors.push(self.weights_row(path, parameter)?);
        }
        outcome.show(Shown::Tensors(tensors));
        if let Some(more) = weights.len().checked_sub(MOST_WEIGHTS).filter(|more| *more > 0) {
            outcome
                .messages
                .push(tr!("{more} more tensors of weights; `step` goes to the parts they are of", more));
        }
        Ok(outcome)
    }

    /// The timestep of a step of denoise, as diffusers prints it.
    fn timestep_of(&self, stage: Stage) -> Option<String> {
        let Stage::Denoise { step } = stage else { return None };
        let here = self.timeline().here();
        let first = here.request().steps().start;
        here.timesteps().get(step.checked_sub(first)?).map(|t| timestep_text(*t))
    }

    /// What diffusers, transformers or torch call a module's class.
    fn class_of(&self, path: &str) -> Option<&'static str> {
        let module = self.backend.info().anatomy.iter().find(|module| module.path == path)?;
        Some(module.class).filter(|class| !class.is_empty())
    }

    /// The weights of a module and its parts.
    fn weights_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Parameter> {
        self.backend
            .info()
            .parameters
            .iter()
            .filter(move |parameter| module::is_within(parameter.module.as_str(), path))
    }

    /// A row of weights, as the file holds them.
    fn weights_row(&self, path: &str, parameter: &Parameter) -> Result<TensorRow, SessionError> {
        let component = path.split('.').next().unwrap_or(path);
        let read = || -> Result<PlainTensor, String> {
            let models = self.backend.models().map_err(|e| e.to_string())?;
            let precision = Precision::of(models.dtype);
            let files = models.source.weights(component, precision).map_err(|e| e.to_string())?;
            let weights = Weights::new(files, component, DType::F32, &Device::Cpu);
            let tensor = weights.get(&parameter.shape, &parameter.key).map_err(|e| e.to_string())?;
            PlainTensor::of(&tensor).map_err(|e| e.to_string())
        };
        let plain = read().map_err(SessionError::Refused)?;
        let part = parameter.module.as_str().strip_prefix(path).unwrap_or_default().trim_start_matches('.');
        let name = match part {
            "" => parameter.name.clone(),
            _ => format!("{part}.{}", parameter.name),
        };
        Ok(TensorRow::new(&name, None, &plain))
    }

    fn frame_value(&self, inside: &PausedStage) -> serde_json::Value {
        let at = call(inside);
        json!({
            "stage": inside.stage.to_string(),
            "line": inside.line,
            "module": inside.module.as_ref().map(|module| module.as_str()),
            "class": inside.module.as_ref().and_then(|module| self.class_of(module.as_str())),
            "ran": inside.moment == HookPhase::After,
            "frames": frames(inside),
            "source": at.map(|(function, row)| json!({ "file": function.path(), "line": function.text().0 + row })),
        })
    }

    /// `denoise 3 › unet › mid_block › resnets.0 (src/model/unet/blocks.rs:121)`.
    fn place(&self) -> String {
        let Some(inside) = &self.inside else { return self.position_name() };
        let at =
            call(inside).map(|(function, row)| format!(" ({}:{})", function.path(), function.text().0 + row));
        let ran = if inside.moment == HookPhase::After { ", finished" } else { "" };
        format!("{}{ran}{}", frames(inside).join(" › "), at.unwrap_or_default())
    }

    /// The frames, the innermost first.
    pub(super) fn backtrace(&self) -> Outcome {
        let mut messages = vec![format!("#0 {}", self.place())];
        if let Some(inside) = &self.inside {
            let frames = frames(inside);
            let outer = (1..frames.len()).rev().enumerate();
            messages.extend(
                outer.map(|(number, depth)| format!("#{} {}", number + 1, frames[..depth].join(" › "))),
            );
        }
        Outcome::lines(messages)
    }

    /// The source of the stage that runs next, with the current line marked; without one, its beginning. Inside a line the
    /// source of the current module.
    pub(super) fn list(&self) -> Result<Outcome, SessionError> {
        let stage = self.timeline().position().ok_or(pipeline::Error::Complete)?;
        let at = self.inside.as_ref().and_then(call);
        let function = at.map_or(Function::of(stage), |(function, _)| function);
        let here = at.map(|(_, row)| row);
        let (first, text) = function.text();
        let (from, to) = here.map_or((0, text.len()), |row| (row.saturating_sub(AROUND), row + AROUND + 1));
        let lines = text.iter().enumerate().take(to).skip(from);
        let messages = lines.map(|(row, line)| {
            let mark = if Some(row) == here { "▶" } else { " " };
            format!("{mark}{:>4} {line}", first + row)
        });
        Ok(Outcome { form: Form::Code, ..Outcome::lines(messages.collect()) })
    }
}

/// The inputs of the current module, after the output of the last one: its own output where it ran. Nothing at a line.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub(in crate::debugger) fn given(inside: &PausedStage) -> candle_core::Result<Vec<TensorRow>> {
    let Some(module) = &inside.module else { return Ok(vec![]) };
    let passed = inside.passed.iter().map(|(path, output)| {
        let is_own = path == module && inside.moment == HookPhase::After;
        (if is_own { "output" } else { path.as_str() }, output)
    });
    let inputs = inside.inputs.iter().map(|(name, input)| (*name, input));
    passed
        .chain(inputs)
        .map(|(name, tensor)| Ok(TensorRow::new(name, None, &PlainTensor::of(tensor)?)))
        .collect()
}

/// Where a stage is paused, from the outside in: the stage, the line, and the modules down to the current one.
pub(in crate::debugger) fn frames(inside: &PausedStage) -> Vec<String> {
    let line = inside.line.rsplit('.').next().unwrap_or(inside.line);
    let modules = inside.module.as_ref().map_or(vec![], |module| module::crumbs(module.as_str()));
    let outer = [inside.stage.to_string(), line.to_string()];
    outer.into_iter().chain(modules.into_iter().map(String::from)).collect()
}

/// Where the current module or line is called: the function, and the row in it.
pub(in crate::debugger) fn call(inside: &PausedStage) -> Option<(Function, usize)> {
    let of_stage = || {
        let function = Function::of(inside.stage);
        Some((function, function.row_of(inside.line)?))
    };
    match &inside.module {
        Some(module) => module::call(module.as_str()).or_else(of_stage),
        None => of_stage(),
    }
}

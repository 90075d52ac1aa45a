//! A trace against models: every recorded stage runs again here, on recorded inputs, with the trace's settings, scheduler, noise
//! and embeddings.
//!
//! Each line of a stage is compared on its own, as each module is.
//!
//! - `ends`: `encode_prompt`, `get_latent` and `vae_decode`. `denoise`: the UNet, guidance, the scheduler's step.

mod denoise;
mod ends;

use super::causes::evidence::ModuleEvidence;
use super::causes::{self, Case, Cause, Causes, Observed, Place};
use super::forced::{Evidence, Forced, Watch};
use super::{Comparison, DiffError, Kind, Row, Sides, tolerance};
use crate::model::classes;
use crate::nn::Path;
use crate::pipeline::{Models, Request, Stage};
use crate::scheduler::{History, Scheduler, scheduler};
use crate::tensor::{PlainTensor, Summary};
use crate::trace::{RecordedCall, Trace, TraceStage, run};
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tr::tr;

/// Compares a trace, which is judged, with what `models` compute. `given` replaces the tolerances.
///
/// # Errors
/// When a file cannot be read, the settings are wrong, or the models fail.
pub fn judge(trace: &Trace, models: &Models, given: Option<f64>) -> Result<Comparison, DiffError> {
    judge_watched(trace, models, given, &Watch::NONE).map(|(made, _)| made)
}

/// The recorded tensor of a row, and the one that `models` compute. `None` if the row has none.
///
/// # Errors
/// As [`judge`].
pub fn sides(
    trace: &Trace,
    models: &Models,
    row: &Row,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<Option<Sides>, DiffError> {
    let watch = Watch { is_interrupted, wanted: Some(row) };
    judge_watched(trace, models, None, &watch).map(|(_, seen)| seen)
}

/// As [`judge`], with the tensors of a wanted row; then its stage alone runs.
///
/// # Errors
/// As [`judge`], and [`Interrupted`](crate::nn::Error::Interrupted).
pub fn judge_watched(
    trace: &Trace,
    models: &Models,
    given: Option<f64>,
    watch: &Watch<'_>,
) -> Result<(Comparison, Option<Sides>), DiffError> {
    // What the trace does not say is the model's default.
    let mut request = Request::for_models(models, "");
    run::settings(trace, &mut request)?;
    let mut judge = Judge {
        trace,
        models,
        scheduler: None,
        request,
        history: Some(History::default()),
        given,
        dtype: dtype(trace),
        watch,
        seen: None,
        made: Comparison::of(&[trace]),
    };
    judge.note_unknown();
    judge.note_loras();
    judge.scheduler = judge.scheduler_of_trace()?;
    for stage in trace.stages() {
        let wanted = watch.wanted.map(|row| row.stage);
        if wanted.is_some_and(|wanted| wanted < stage.stage) {
            break;
        }
        match stage.stage {
            // The scheduler may remember earlier steps; of other stages nothing is needed.
            Stage::Denoise { step } if wanted.is_some_and(|wanted| wanted != stage.stage) => {
                judge.step_alone(stage, step)?;
            }
            _ if wanted.is_some_and(|wanted| wanted != stage.stage) => {}
            Stage::EncodePrompt => judge.encode_prompt(stage)?,
            Stage::GetLatent => judge.get_latent(stage)?,
            Stage::Denoise { step } => judge.denoise(stage, step)?,
            Stage::VaeDecode => judge.vae_decode(stage)?,
        }
    }
    if watch.wanted.is_some() {
        return Ok((judge.made, judge.seen));
    }
    if judge.made.rows.is_empty() {
        let why = judge.made.notes.join("; ");
        return Err(DiffError::Refused(tr!("{}: nothing could be compared; {why}", trace.name(), why)));
    }
    Ok((judge.made, None))
}

struct Judge<'a> {
    trace: &'a Trace,
    models: &'a Models,
    request: Request,
    /// The trace's own; `None` if it is none of this program's.
    scheduler: Option<Arc<dyn Scheduler>>,
    /// What the scheduler remembers of recorded steps; `None` once a step is missing.
    history: Option<History>,
    given: Option<f64>,
    dtype: DType,
    watch: &'a Watch<'a>,
    /// The tensors of the wanted row.
    seen: Option<Sides>,
    made: Comparison,
}

/// The lowest precision of the run.
fn dtype(trace: &Trace) -> DType {
    match trace.manifest().dtype.as_deref() {
        Some("float16") => DType::F16,
        Some("bfloat16") => DType::BF16,
        _ => DType::F32,
    }
}

impl<'a> Judge<'a> {
    fn note(&mut self, note: String) {
        if !self.made.notes.contains(&note) {
            self.made.notes.push(note);
        }
    }

    /// Notes that a part of the run is not compared, and why.
    fn note_uncompared(&mut self, part: String, why: String) {
        if !self.made.uncompared.contains(&part) {
            self.made.uncompared.push(part);
        }
        self.note(why);
    }

    /// Notes the recorded modules that the checkpoint does not have.
    fn note_unknown(&mut self) {
        let known: HashSet<&str> = self.models.modules.iter().map(Path::as_str).collect();
        let calls = self.trace.stages().iter().flat_map(|stage| &stage.calls);
        // Dropout does nothing here, so that it is no module where it runs in diffusers.
        let is_dropout =
            |path: &str| classes::Class::of(path, None).is_some_and(|class| class.name == "Dropout");
        let unknown: BTreeSet<&str> = calls
            .map(|call| call.path.as_str())
            .filter(|path| !known.contains(path) && !is_dropout(path))
            .collect();
        if let Some(first) = unknown.first() {
            let why = tr!(
                "{} recorded modules are not compared, because {} has no modules with their names, such as {first}",
                unknown.len(),
                self.models.source.name(),
                first
            );
            self.note_uncompared(tr!("{} modules", unknown.len()), why);
        }
    }

    /// Notes the LoRAs of the run that are not loaded here.
    fn note_loras(&mut self) {
        let is_loaded = |name: &str| self.models.loras.iter().any(|lora| lora.name == name);
        let missing = self.request.loras.iter().filter(|lora| lora.scale != 0. && !is_loaded(&lora.name));
        let notes: Vec<String> = missing
            .map(|lora| {
                let (name, scale) = (&lora.name, lora.scale);
                tr!("the run had the LoRA {name} at scale {scale}, which is not loaded here; `--lora FILE:{scale}` adds it", name, scale)
            })
            .collect();
        notes.into_iter().for_each(|note| self.note(note));
        let recorded = &self.trace.manifest().settings;
        let notes: Vec<String> = self
            .models
            .loras
            .iter()
            .filter_map(|lora| {
                let (name, flag) = (&lora.name, lora.scale);
                match recorded.get(&format!("lora.{name}")).and_then(serde_json::Value::as_f64) {
                    Some(scale) if lora.has_scale && scale != flag => Some(tr!(
                        "the LoRA {name} runs at the recorded scale {scale}, not at {flag}",
                        name,
                        scale,
                        flag
                    )),
                    None => {
                        Some(tr!("the trace names no LoRA {name}; it runs here at scale {flag}", name, flag))
                    }
                    _ => None,
                }
            })
            .collect();
        notes.into_iter().for_each(|note| self.note(note));
    }

    fn scheduler_of_trace(&mut self) -> Result<Option<Arc<dyn Scheduler>>, DiffError> {
        let Some(entry) = &self.trace.manifest().scheduler else {
            let why = tr!("the trace does not say which scheduler ran: its steps are not compared");
            self.note_uncompared(tr!("the scheduler's steps"), why);
            return Ok(None);
        };
        let Some(choice) = run::scheduler_choice(self.trace)? else {
            let why =
                tr!("{} is not one of this program's schedulers: its steps are not compared", entry.class);
            self.note_uncompared(tr!("the scheduler's steps"), why);
            return Ok(None);
        };
        let made = scheduler(choice.config(), self.request.num_inference_steps, self.request.eta);
        let made = made.map_err(|e| DiffError::Refused(tr!("{}: {}", self.trace.name(), e)))?;
        let ours = made.timesteps();
        let theirs = &entry.timesteps;
        // With a start image, a trace has the last timesteps alone.
        let tail = ours.len().checked_sub(theirs.len()).map(|start| &ours[start..]);
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3;
        if !theirs.is_empty() && !tail.is_some_and(|tail| tail.iter().zip(theirs).all(is_near)) {
            self.note(tr!(
                "the timesteps are {found} and not {expected}",
                found = run::abridged(theirs),
                expected = run::abridged(ours)
            ));
        }
        Ok(Some(made))
    }

    fn tensor(&self, found: &PlainTensor) -> Result<Tensor, DiffError> {
        Ok(found.to_device(&self.models.device, DType::F32)?)
    }

    /// A tensor of a recorded stage, on the device.
    fn recorded(&self, stage: &TraceStage, name: &str) -> Result<Option<Tensor>, DiffError> {
        stage.tensor(name)?.map(|found| self.tensor(&found)).transpose()
    }

    /// Adds the row of a line: what this program made against what was recorded.
    fn line(
        &mut self,
        stage: &TraceStage,
        line: &str,
        made: &Tensor,
        name: &str,
        bound: impl FnOnce(DType) -> f64,
    ) -> Result<(), DiffError> {
        let Some(expected) = stage.tensor(name)? else { return Ok(()) };
        let ours = PlainTensor::of(made)?;
        let bound = self.given.unwrap_or_else(|| bound(tolerance::lower(self.dtype, expected.dtype())));
        let row = Row::of((stage.stage, line, 0), (&ours, &expected), bound, true);
        if self.watch.wants(&row) && (self.seen.is_none() || row.is_beyond()) {
            self.seen = Some(Sides { found: expected, reference: ours });
        }
        self.made.rows.push(row);
        Ok(())
    }

    /// Takes the rows of a forced pass, and explains the first difference of the run. Returns how many modules are not recorded.
    fn take(&mut self, stage: &TraceStage, forced: Forced<'_>) -> Result<usize, DiffError> {
        let Forced { rows, unrecorded, evidence, seen, .. } = forced;
        if self.watch.wanted.is_some() {
            self.seen = self.seen.take().or(seen);
            return Ok(unrecorded);
        }
        let is_first = self.made.first().is_none();
        let first = rows.iter().position(Row::is_beyond).map(|at| self.made.rows.len() + at);
        self.made.rows.extend(rows);
        if let (true, Some(first), Some(evidence)) = (is_first, first, evidence) {
            self.explain(stage, first, evidence)?;
        }
        Ok(unrecorded)
    }

    /// Looks for the reason of the difference in the row `at`. A mistake of the container makes the row the container's.
    fn explain(&mut self, stage: &TraceStage, at: usize, evidence: Evidence) -> Result<(), DiffError> {
        let Evidence { path, inputs, containers, skips, observed, ours } = evidence;
        let plain = |tensors: Vec<Tensor>| -> Result<Vec<Tensor>, DiffError> {
            let plain =
                |tensor: Tensor| Ok(tensor.to_device(&Device::Cpu)?.to_dtype(float(tensor.dtype()))?);
            tensors.into_iter().map(plain).collect()
        };
        let containers = containers.into_iter().map(|(path, inputs)| Ok((path, plain(inputs)?)));
        let (Observed::Output(recorded) | Observed::Input(recorded)) = &observed;
        let statistics = (Summary::of_values(recorded.data()), Summary::of_values(ours.data()));
        let row = &self.made.rows[at];
        let known = &self.trace.manifest().modules;
        // transformers 4 has a module `text_model`, which paths here lack.
        let of_transformers_4 = path.replacen("text_encoder.", "text_encoder.text_model.", 1);
        let entry = known.get(&path).or_else(|| known.get(&of_transformers_4));
        let case = Case {
            evidence: entry.map(|entry| ModuleEvidence::of(self.models, &path, entry)).unwrap_or_default(),
            models: self.models,
            stage,
            inputs: plain(inputs)?,
            containers: containers.collect::<Result<_, DiffError>>()?,
            skips: skips
                .into_iter()
                .map(|(path, skip)| Ok((path, plain(vec![skip])?.remove(0))))
                .collect::<Result<_, DiffError>>()?,
            observed,
            without: row.relative.unwrap_or(f64::INFINITY),
            tolerance: row.tolerance,
            path,
        };
        self.made.causes = Causes { statistics: Some(statistics), ..causes::find(&case)? };
        // The first layer of a residual block has the input that the up block gave to the block.
        let is_first = case.path.ends_with(".norm1");
        let is_of_block = |cause: &Cause| is_first && cause.name == "skip_order";
        let above = usize::from(self.made.causes.found.first().is_some_and(is_of_block));
        let container = case.containers.iter().rev().nth(above).map(|(path, _)| path.clone());
        let row = &mut self.made.rows[at];
        if let (Some(best), Some(container), Kind::Module) =
            (self.made.causes.found.first(), container, &row.kind)
            && best.place == Place::Wiring
        {
            let input = classes::inputs(&case.path, 1).first().copied().unwrap_or_default().to_string();
            row.kind = Kind::Wiring { child: std::mem::replace(&mut row.path, container), input };
        }
        Ok(())
    }

    fn forced<'t>(&self, stage: &'t TraceStage, calls: impl Iterator<Item = &'t RecordedCall>) -> Forced<'t>
    where
        'a: 't,
    {
        Forced::new(self.models, stage, calls, self.dtype, self.given, self.watch)
    }
}

/// The type in which tensors of a case are: ids stay whole numbers.
fn float(dtype: DType) -> DType {
    if dtype.is_int() { dtype } else { DType::F32 }
}

//! A trace as a run: its settings, its scheduler, and a snapshot after each recorded stage.

use super::manifest::FILE;
use super::reduced::count;
use super::{Trace, TraceError, TraceStage};
use crate::nn::ConfigFile;
use crate::pipeline::snapshot::tensor_names;
use crate::pipeline::{InitImage, Request, Setting, Snapshot, Stage};
use crate::scheduler::config::SchedulerConfig;
use crate::scheduler::{Class, History, Scheduler, SchedulerChoice, StepFormulas, StepInput, scheduler};
use crate::tensor::PlainTensor;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::sync::Arc;
use tr::tr;

/// The most numbers of a tensor of a stage that is kept in memory: an image of 2048×2048 pixels has fewer.
const MOST: usize = 1 << 24;

/// A recorded run.
#[derive(Debug)]
pub struct RecordedRun {
    /// The first is the run before its first stage; then one after each stage up to the last recorded one.
    pub snapshots: Vec<Snapshot>,
    /// The scheduler's class if this program has none such, or the trace does not say: DDIM stands in for it.
    pub stands_in_for: Option<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Reads the settings of a trace into `request`. A setting that the trace lacks keeps its value.
///
/// # Errors
/// [`TraceError::Value`] for a value that the setting cannot have.
pub fn settings(trace: &Trace, request: &mut Request) -> Result<(), TraceError> {
    for (name, value) in &trace.manifest().settings {
        let setting = Setting::find(name).filter(|setting| !setting.is_file());
        let Some(setting) = setting else { continue };
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        setting.set(&text, request).map_err(|reason| wrong(trace, "settings", text, reason.to_string()))?;
    }
    Ok(())
}

/// The scheduler of a trace: its class and its configuration. `None` if the trace does not say, or if the class is not one of this
/// program's.
///
/// # Errors
/// [`TraceError::Value`] for an argument that the class cannot have.
pub fn scheduler_choice(trace: &Trace) -> Result<Option<SchedulerChoice>, TraceError> {
    let Some(entry) = &trace.manifest().scheduler else { return Ok(None) };
    let Some(class) = Class::of_name(&entry.class) else { return Ok(None) };
    let name = [trace.name(), "/", FILE, ": scheduler.config"].concat();
    let refused = |e: crate::nn::ConfigError| {
        wrong(trace, "scheduler.config", e.to_string(), tr!("arguments of {}", entry.class))
    };
    let file = ConfigFile::parse(name, Value::Object(entry.config.clone()).to_string().as_bytes());
    let file = file.map_err(refused)?;
    let config = SchedulerConfig::read(&file, class).map_err(refused)?;
    // What ran is what the trace says, without the pipeline's own changes.
    Ok(Some(SchedulerChoice::of_file(&file, class).map_err(refused)?.with_config(config)))
}

fn wrong(trace: &Trace, key: &str, found: String, expected: String) -> TraceError {
    let file = [trace.name(), "/", FILE].concat();
    TraceError::Value { file, key: key.into(), found, expected }
}

impl RecordedRun {
    /// The run of `trace`. Its stages' own tensors are read, those of modules are not.
    ///
    /// # Errors
    /// When a file cannot be read, or the settings contradict the stages.
    pub fn of(trace: &Trace) -> Result<Self, TraceError> {
        let mut run = Self { snapshots: vec![], stands_in_for: None, notes: vec![] };
        if let Some(reason) = &trace.manifest().stopped {
            run.notes.push(tr!("the record ended early: {reason}", reason));
        }
        let (request, scheduler) = run.begin(trace)?;
        let first = Snapshot::start_of_recorded(request, scheduler);
        let steps = first.request().steps();
        let last = trace.stages().last().map(|last| last.stage);
        if let Some(Stage::Denoise { step }) = trace.stages().iter().map(|stage| stage.stage).rfind(is_step)
            && !steps.contains(&step)
        {
            let found = tr!("{} in a run of {} calls", Stage::Denoise { step }.key(), steps.end);
            let expected =
                tr!("settings of which the recorded steps are a part: {} to {}", steps.start, steps.end);
            return Err(wrong(trace, "stages", found, expected));
        }
        let mut here = first.clone();
        run.snapshots.push(first);
        while let (Some(stage), Some(last)) = (here.position(), last)
            && stage <= last
        {
            here = match trace.stage(stage) {
                Some(recorded) => run.stage(&here, recorded)?,
                None => {
                    run.notes.push(tr!("{stage} is not recorded", stage));
                    here.with_recorded(stage, vec![], None, [None, None])
                }
            };
            run.snapshots.push(here.clone());
        }
        Ok(run)
    }

    fn begin(&mut self, trace: &Trace) -> Result<(Request, Arc<dyn Scheduler>), TraceError> {
        let calls = trace.stages().iter().filter(|stage| is_step(&stage.stage)).count();
        let manifest = trace.manifest();
        let image = trace.tensor(Stage::GetLatent, "init_image")?;
        let init_image = image.and_then(|image| InitImage::of_recorded("recorded", &image));
        let mut request = Request { num_inference_steps: calls.max(1), init_image, ..Request::default() };
        settings(trace, &mut request)?;
        if !manifest.settings.contains_key("guidance_scale")
            && !trace.stages().iter().any(|stage| stage.shape("uncond_residual").is_some())
        {
            request.guidance_scale = 1.;
        }
        match scheduler_choice(trace)? {
            Some(choice) => request.scheduler = choice,
            None => {
                let class = manifest.scheduler.as_ref().map(|entry| entry.class.clone());
                let class = class.unwrap_or_else(|| tr!("an unknown scheduler"));
                self.notes.push(tr!(
                    "{class} is not one of this program's schedulers: DDIM's schedule is shown in its place, and no formulas",
                    class
                ));
                self.stands_in_for = Some(class);
                request.num_inference_steps = calls.max(1);
            }
        }
        let config = request.scheduler.config();
        let made = scheduler(config, request.num_inference_steps, request.eta)
            .map_err(|e| wrong(trace, "scheduler", e.to_string(), tr!("a schedule that can be made")))?;
        self.check_timesteps(trace, made.timesteps());
        Ok((request, made))
    }

    /// Notes timesteps of the trace that are not the scheduler's.
    fn check_timesteps(&mut self, trace: &Trace, ours: &[f64]) {
        let Some(entry) = trace.manifest().scheduler.as_ref().filter(|_| self.stands_in_for.is_none()) else {
            return;
        };
        // With a start image, a trace has the last timesteps alone.
        let tail = ours.len().checked_sub(entry.timesteps.len()).map(|start| &ours[start..]);
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3;
        if !entry.timesteps.is_empty()
            && !tail.is_some_and(|tail| tail.iter().zip(&entry.timesteps).all(is_near))
        {
            self.notes.push(tr!(
                "the timesteps are {found} and not {expected}, which {} makes of these settings",
                entry.class,
                found = abridged(&entry.timesteps),
                expected = abridged(ours)
            ));
        }
    }

    /// The run after a recorded stage.
    fn stage(&mut self, before: &Snapshot, recorded: &TraceStage) -> Result<Snapshot, TraceError> {
        let mut tensors = vec![];
        for name in recorded.names() {
            let Some(known) = tensor_names().find(|known| *known == name) else { continue };
            let count = recorded.shape(&name).map_or(0, |(shape, _)| count(&shape));
            if count > MOST {
                let key = recorded.key();
                self.notes.push(tr!(
                    "{key}/{name} has {count} numbers and is not shown; at most {MOST} are",
                    key,
                    name,
                    count,
                    MOST
                ));
                continue;
            }
            if let Some(plain) = recorded.tensor(&name)? {
                tensors.push((known, on_host(&plain).map_err(|e| self::failed(recorded, &name, &e))?));
            }
        }
        let step = match recorded.stage {
            Stage::Denoise { step } if self.stands_in_for.is_none() => self.step(before, step, &mut tensors),
            _ => None,
        };
        Ok(before.with_recorded(recorded.stage, tensors, step, [None, None]))
    }

    /// The numbers and formulas of a recorded step, from the scheduler's configuration. Values of the step that the trace lacks are
    /// added to `tensors`. `None` if what the step works on is not recorded.
    fn step(
        &mut self,
        before: &Snapshot,
        index: usize,
        tensors: &mut Vec<(&'static str, Tensor)>,
    ) -> Option<(StepFormulas, History)> {
        let of = |name: &str| {
            let found = tensors.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, tensor)| tensor.to_dtype(DType::F32).ok())
        };
        let (_, sample) = before.tensor("latents")?;
        let sample = sample.to_dtype(DType::F32).ok()?;
        let (model_output, noise) = (of("guided_noise_residual")?, of("variance_noise"));
        let input = StepInput { index, model_output: &model_output, sample: &sample, noise: noise.as_ref() };
        let made = before.scheduler().step(input, before.history()).ok()?;
        let missing: Vec<_> = made
            .tensors
            .into_iter()
            .filter(|(name, _)| !tensors.iter().any(|(known, _)| known == name))
            .collect();
        // Before the latents, which are the step's result.
        let at = tensors.iter().position(|(name, _)| *name == "latents").unwrap_or(tensors.len());
        if missing.iter().any(|(name, _)| *name == "pred_original_sample") {
            let note = tr!(
                "pred_original_sample is not recorded, and computed from the latents and the guided residual"
            );
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        tensors.splice(at..at, missing);
        Some((made.formulas, made.history))
    }
}

fn is_step(stage: &Stage) -> bool {
    matches!(stage, Stage::Denoise { .. })
}

/// A tensor in its own dtype, if a tensor in memory can have that.
pub fn on_host(plain: &PlainTensor) -> candle_core::Result<Tensor> {
    let dtype = match plain.dtype() {
        DType::I32 => DType::I64,
        dtype => dtype,
    };
    plain.to_device(&Device::Cpu, dtype)
}

fn failed(stage: &TraceStage, name: &str, e: &candle_core::Error) -> TraceError {
    TraceError::Unreadable { file: [stage.key(), "/", name].concat(), reason: e.to_string() }
}

/// The first of many timesteps.
pub fn abridged(timesteps: &[f64]) -> String {
    let shown: Vec<String> = timesteps.iter().take(4).map(f64::to_string).collect();
    let more = if timesteps.len() > 4 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

//! A trace as a run: its settings, its scheduler, and a snapshot after each recorded stage.

use super::contradictions::{SAME, apart, contradiction, guidance, is_part};
use super::manifest::FILE;
use super::schedule::RecordedSchedule;
use super::{Trace, TraceError, TraceStage};
use crate::nn::ConfigFile;
use crate::pipeline::loras::LoraScale;
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
        set(name, value, request)
            .map_err(|reason| wrong(trace, &["settings.", name].concat(), value.to_string(), reason))?;
    }
    Ok(())
}

/// Sets one setting; a name that is no setting's is passed over. What would be right, if the setting cannot have the value.
fn set(name: &str, value: &Value, request: &mut Request) -> Result<(), String> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Which LoRAs there are, the trace says alone.
    if let (Some(lora), Some(scale)) = (name.strip_prefix("lora."), value.as_f64())
        && request.lora(lora).is_none()
    {
        request.loras.push(LoraScale::recorded(lora, scale));
        return Ok(());
    }
    match Setting::find(name).filter(|setting| !setting.is_file()) {
        Some(setting) => setting.set(&text, request).map_err(|reason| reason.to_string()),
        None => Ok(()),
    }
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
    /// The run of `trace`. Its stages' own tensors are read, those of modules are not. What contradicts itself is noted, and not
    /// shown.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(trace: &Trace) -> Result<Self, TraceError> {
        let mut run = Self { snapshots: vec![], stands_in_for: None, notes: vec![] };
        if let Some(reason) = &trace.manifest().stopped {
            run.notes.push(tr!("the record ended early: {reason}", reason));
        }
        let (request, scheduler) = run.begin(trace)?;
        let mut here = Snapshot::start_of_recorded(request, scheduler);
        run.snapshots.push(here.clone());
        let last = trace.stages().last().map(|last| last.stage);
        let mut missing = vec![];
        while let (Some(stage), Some(last)) = (here.position(), last)
            && stage <= last
        {
            here = match trace.stage(stage) {
                Some(recorded) => run.stage(&here, recorded)?,
                None => {
                    missing.push(stage.to_string());
                    here.with_recorded(stage, vec![], None, here.request().guidance_scale, vec![])
                }
            };
            run.snapshots.push(here.clone());
        }
        if trace.manifest().complete {
            let steps = here.request().steps();
            let rest = (here.records().len()..).map_while(|index| Stage::at(index, &steps));
            missing.extend(rest.map(|stage| stage.to_string()));
        }
        match &missing[..] {
            [] => {}
            [one] => run.notes.push(tr!("{one} is not recorded", one)),
            [first, .., last] => {
                run.notes.push(tr!(
                    "{} stages are not recorded, from {first} to {last}",
                    missing.len(),
                    first,
                    last
                ));
            }
        }
        Ok(run)
    }

    fn begin(&mut self, trace: &Trace) -> Result<(Request, Arc<dyn Scheduler>), TraceError> {
        let recorded = RecordedSchedule::of(trace);
        let image = trace.tensor(Stage::GetLatent, "init_image")?;
        let init_image = image.and_then(|image| InitImage::of_recorded("recorded", &image));
        let calls = recorded.timesteps().len();
        let mut request = Request { num_inference_steps: calls, init_image, ..Request::default() };
        self.settings(trace, &mut request);
        let choice = match scheduler_choice(trace) {
            Ok(choice) => choice.ok_or_else(|| tr!("is not one of this program's schedulers")),
            Err(e) => Err(e.to_string()),
        };
        let made = choice.and_then(|choice| {
            request.scheduler = choice;
            let made = scheduler(request.scheduler.config(), request.num_inference_steps, request.eta);
            let made = made.map_err(|e| e.to_string())?;
            contradiction(trace, &request, made.timesteps()).map_or(Ok(made), Err)
        });
        Ok(match made {
            Ok(made) => (request, made),
            Err(why) => {
                let class = trace.manifest().scheduler.as_ref().map(|entry| entry.class.clone());
                self.notes.push(match &class {
                    Some(class) => tr!("{class}: {why}; its timesteps are shown as recorded, without formulas", class, why),
                    None => tr!("the trace does not say which scheduler ran: timesteps are shown as recorded, without formulas"),
                });
                self.stands_in_for = Some(class.unwrap_or_else(|| tr!("unknown")));
                // Every call that was recorded has its place.
                (request.scheduler, request.num_inference_steps) = (SchedulerChoice::default(), calls);
                if !is_part(trace, &request) {
                    request.init_image = None;
                }
                (request, Arc::new(recorded))
            }
        })
    }

    /// Reads the settings. Those that the trace lacks, or that are wrong, are noted.
    fn settings(&mut self, trace: &Trace, request: &mut Request) {
        let manifest = trace.manifest();
        for (name, value) in &manifest.settings {
            let is_text = !matches!(name.as_str(), "prompt" | "negative_prompt")
                || value.is_string()
                || value.is_null();
            match set(name, value, request) {
                Err(reason) => self.notes.push(tr!("settings: {reason}; the default is shown", reason)),
                Ok(()) if !is_text => {
                    self.notes.push(tr!("settings: {name} is {value}, which is no text", name, value))
                }
                Ok(()) => {}
            }
        }
        let shape = |name: &str| {
            let found = trace.stages().iter().rev().find_map(|stage| stage.on_disk(name));
            found.map(|tensor| tensor.shape)
        };
        let has_guidance = shape("uncond_residual").is_some();
        let is_known = |name: &str| manifest.settings.get(name).is_some_and(|value| !value.is_null());
        if !is_known("guidance_scale") && !has_guidance {
            request.guidance_scale = 1.;
        }
        // A size in pixels follows from the picture, or from the latents of Stable Diffusion.
        let size = match (shape("image").as_deref(), shape("latents").as_deref()) {
            (Some(&[_, _, height, width]), _) => Some((height, width)),
            (None, Some(&[_, _, height, width])) => Some((height.saturating_mul(8), width.saturating_mul(8))),
            _ => None,
        };
        match size {
            Some(size)
                if is_known("height") && is_known("width") && size != (request.height, request.width) =>
            {
                self.notes.push(tr!(
                    "height and width are {} and {}, and the picture is {} and {}",
                    request.height,
                    request.width,
                    size.0,
                    size.1
                ));
            }
            Some(size) => (request.height, request.width) = size,
            None => {}
        }
        let mut missing: Vec<&str> = ["prompt", "seed"].into_iter().filter(|name| !is_known(name)).collect();
        missing.extend((!is_known("guidance_scale") && has_guidance).then_some("guidance_scale"));
        if !missing.is_empty() {
            let missing = missing.join(", ");
            self.notes.push(tr!("not recorded, and shown with a default: {missing}", missing));
        }
        if let Some(rescale) =
            manifest.settings.get("guidance_rescale").filter(|value| value.as_f64() != Some(0.))
        {
            self.notes.push(tr!("guidance_rescale is {rescale}, which this program does not have", rescale));
        }
    }

    /// The run after a recorded stage.
    fn stage(&mut self, before: &Snapshot, recorded: &TraceStage) -> Result<Snapshot, TraceError> {
        let mut tensors = vec![];
        for name in recorded.names() {
            let Some(known) = tensor_names().find(|known| *known == name) else { continue };
            let count = recorded.on_disk(&name).map_or(0, |tensor| tensor.count);
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
        let (mut step, mut warnings) = (None, vec![]);
        let mut guidance_scale = before.request().guidance_scale;
        if let Stage::Denoise { step: index } = recorded.stage {
            (guidance_scale, warnings) = guidance(&tensors, guidance_scale);
            if self.stands_in_for.is_none() {
                step = self.step(before, index, &mut tensors, &mut warnings);
            }
        }
        Ok(before.with_recorded(recorded.stage, tensors, step, guidance_scale, warnings))
    }

    /// The numbers and formulas of a recorded step, from the scheduler's configuration. Values of the step that the trace lacks are
    /// added to `tensors`. `None` if what the step works on is not recorded.
    fn step(
        &mut self,
        before: &Snapshot,
        index: usize,
        tensors: &mut Vec<(&'static str, Tensor)>,
        warnings: &mut Vec<String>,
    ) -> Option<(Option<StepFormulas>, History)> {
        let of = |name: &str| {
            let found = tensors.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, tensor)| tensor.to_dtype(DType::F32).ok())
        };
        let (_, sample) = before.tensor("latents")?;
        let sample = sample.to_dtype(DType::F32).ok()?;
        let (model_output, noise) = (of("guided_noise_residual")?, of("variance_noise"));
        let input = StepInput { index, model_output: &model_output, sample: &sample, noise: noise.as_ref() };
        let made = before.scheduler().step(input, before.history()).ok()?;
        if let Some(latents) = of("latents")
            && let Some(apart) = apart(&latents, &made.prev_sample)
            && apart > SAME
        {
            warnings.push(tr!(
                "the recorded latents are not what the scheduler computes from the recorded residual: {apart} relative; `diff` looks for the reason",
                apart = format_args!("{apart:.1e}")
            ));
            // Its formulas would not give what was recorded.
            return Some((None, made.history));
        }
        let missing: Vec<_> = made
            .tensors
            .into_iter()
            .filter(|(name, _)| !tensors.iter().any(|(known, _)| known == name))
            .collect();
        for (name, _) in &missing {
            let note = tr!("computed here from the recorded latents and residuals: {name}", name);
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        // Before the latents, which are the step's result.
        let at = tensors.iter().position(|(name, _)| *name == "latents").unwrap_or(tensors.len());
        tensors.splice(at..at, missing);
        Some((Some(made.formulas), made.history))
    }
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

//! A trace against models: every recorded stage runs again here, on recorded inputs, with the trace's settings, scheduler, noise
//! and embeddings.
//!
//! One function a stage. Each line of a stage is compared on its own, as each module is.

use super::causes::{self, Case, Cause, Causes, Observed, Place};
use super::forced::{Evidence, Forced};
use super::{Comparison, DiffError, Kind, Row, tolerance};
use crate::model::classes;
use crate::nn::ConfigFile;
use crate::pipeline::{Models, Request, Setting, Stage, lines, stages};
use crate::scheduler::config::SchedulerConfig;
use crate::scheduler::{Class, History, Scheduler, StepInput, scheduler};
use crate::tensor::{PlainTensor, Summary};
use crate::trace::manifest::{FILE, Row as BatchRow};
use crate::trace::{RecordedCall, Trace, TraceStage};
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::sync::Arc;
use tr::tr;

/// Compares a trace, which is judged, with what `models` compute. `given` replaces the tolerances.
///
/// # Errors
/// When a file cannot be read, the settings are wrong, or the models fail.
pub fn judge(trace: &Trace, models: &Models, given: Option<f64>) -> Result<Comparison, DiffError> {
    let request = request(trace, models)?;
    let mut judge = Judge {
        trace,
        models,
        scheduler: None,
        request,
        history: Some(History::default()),
        calls: 0,
        given,
        dtype: dtype(trace),
        made: Comparison::default(),
    };
    if let Some(reason) = &trace.manifest().stopped {
        judge.note(tr!("the record ended early: {reason}", reason));
    }
    judge.scheduler = judge.scheduler_of_trace()?;
    for stage in trace.stages() {
        match stage.stage {
            Stage::EncodePrompt => judge.encode_prompt(stage)?,
            Stage::GetLatent => judge.get_latent(stage)?,
            Stage::Denoise { step } => judge.denoise(stage, step)?,
            Stage::VaeDecode => judge.vae_decode(stage)?,
        }
    }
    if judge.made.rows.is_empty() {
        let why = judge.made.notes.first().cloned().unwrap_or_default();
        return Err(DiffError::Refused(tr!("{}: nothing could be compared; {why}", trace.name(), why)));
    }
    Ok(judge.made)
}

struct Judge<'a> {
    trace: &'a Trace,
    models: &'a Models,
    request: Request,
    /// The trace's own; `None` if it is none of this program's.
    scheduler: Option<Arc<dyn Scheduler>>,
    /// What the scheduler remembers of recorded steps; `None` once a step is missing.
    history: Option<History>,
    /// Steps of the run so far.
    calls: usize,
    given: Option<f64>,
    dtype: DType,
    made: Comparison,
}

/// The settings of the trace; what it does not say is the model's default.
fn request(trace: &Trace, models: &Models) -> Result<Request, DiffError> {
    let mut request = Request::for_models(models, "");
    for (name, value) in &trace.manifest().settings {
        let Some(setting) = Setting::find(name).filter(|setting| !setting.is_file()) else { continue };
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        setting.set(&text, &mut request).map_err(|reason| {
            DiffError::Refused(tr!("{}/{FILE}: settings: {reason}", trace.name(), FILE, reason))
        })?;
    }
    Ok(request)
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

    fn scheduler_of_trace(&mut self) -> Result<Option<Arc<dyn Scheduler>>, DiffError> {
        let Some(entry) = &self.trace.manifest().scheduler else {
            self.note(tr!("the trace does not say which scheduler ran: its steps are not compared"));
            return Ok(None);
        };
        let Some(class) = Class::of_name(&entry.class) else {
            self.note(tr!(
                "{} is not one of this program's schedulers: its steps are not compared",
                entry.class
            ));
            return Ok(None);
        };
        let refused = |reason: String| DiffError::Refused(reason);
        let name = [self.trace.name(), "/", FILE, ": scheduler.config"].concat();
        let file = ConfigFile::parse(name, Value::Object(entry.config.clone()).to_string().as_bytes());
        let file = file.map_err(|e| refused(e.to_string()))?;
        let config = SchedulerConfig::read(&file, class).map_err(|e| refused(e.to_string()))?;
        let made = scheduler(&config, self.request.num_inference_steps, self.request.eta);
        let made = made.map_err(|e| refused(tr!("{}: {}", self.trace.name(), e)))?;
        let ours = made.timesteps();
        let theirs = &entry.timesteps;
        // With a start image, a trace has the last timesteps alone.
        let tail = ours.len().checked_sub(theirs.len()).map(|start| &ours[start..]);
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3;
        if !theirs.is_empty() && !tail.is_some_and(|tail| tail.iter().zip(theirs).all(is_near)) {
            self.note(tr!(
                "the timesteps are {found} and not {expected}",
                found = abridged(theirs),
                expected = abridged(ours)
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
        self.made.rows.push(Row::of((stage.stage, line, 0), (&ours, &expected), bound, true));
        Ok(())
    }

    /// Takes the rows of a forced pass, and explains the first difference of the run. Returns how many modules are not recorded.
    fn take(&mut self, stage: &TraceStage, forced: Forced<'_>) -> Result<usize, DiffError> {
        let Forced { rows, unrecorded, evidence, .. } = forced;
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
        let case = Case {
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
        Forced::new(self.models, stage, calls, self.dtype, self.given)
    }

    /// The text encoder on the recorded ids, once for each batch that was recorded.
    fn encode_prompt(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
        let Request { prompt, negative_prompt, .. } = self.request.clone();
        let names = |row: BatchRow| match row {
            BatchRow::Uncond => ("negative_input_ids", "negative_prompt_embeds", &negative_prompt),
            BatchRow::Text => ("input_ids", "prompt_embeds", &prompt),
        };
        let mut batches: Vec<Vec<BatchRow>> = vec![];
        for call in stage.calls.iter().filter(|call| !call.rows.is_empty()) {
            if !batches.contains(&call.rows) {
                batches.push(call.rows.clone());
            }
        }
        if stage.calls.is_empty() {
            batches = vec![vec![BatchRow::Text], vec![BatchRow::Uncond]];
        }
        for rows in batches {
            let (mut ids, mut masks, mut embeds_of) = (vec![], vec![], vec![]);
            for row in &rows {
                let (ids_of, embeds, text) = names(*row);
                let Some(recorded) = stage.tensor(ids_of)? else { continue };
                let row: Vec<i64> = recorded.data().iter().map(|id| *id as i64).collect();
                let encoded = self.models.tokenizer.encode(text).ok();
                let known = encoded
                    .filter(|encoded| encoded.input_ids.iter().map(|&id| i64::from(id)).eq(row.clone()));
                masks.push(match known {
                    Some(encoded) => encoded.attention_mask.iter().map(|&m| i64::from(m)).collect(),
                    None => vec![1; row.len()],
                });
                ids.push(row);
                embeds_of.push(embeds);
            }
            if ids.len() < rows.len() {
                continue;
            }
            let (ids, mask) =
                (Tensor::new(ids, &self.models.device)?, Tensor::new(masks, &self.models.device)?);
            let mut forced = self.forced(stage, stage.calls.iter().filter(|call| call.rows == rows));
            let embeds = self.models.text_encoder.forward(&ids, &mask, &mut forced)?;
            let chained = self.take(stage, forced)? > 0;
            for (i, name) in embeds_of.iter().enumerate() {
                let bound = |dtype| tolerance::isolated("", dtype, None, chained);
                self.line(stage, lines::TEXT_ENCODER.as_str(), &embeds.narrow(0, i, 1)?, name, bound)?;
            }
        }
        Ok(())
    }

    /// The VAE's encoder on the recorded start image, and the noise of the first step.
    fn get_latent(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
        if let Some(image) = self.recorded(stage, "init_image")? {
            let calls = stage.calls.iter().filter(|call| call.path.starts_with("vae"));
            let mut forced = self.forced(stage, calls);
            let x = ((image * 2.)? - 1.)?.to_dtype(self.models.dtype)?;
            self.models.vae.encode(&x, &mut forced)?;
            self.take(stage, forced)?;
        }
        let Some(scheduler) = self.scheduler.clone() else { return Ok(()) };
        let Some(noise) = self.recorded(stage, "noise")? else { return Ok(()) };
        let init_latents = self.recorded(stage, "init_latents")?;
        let first = self.trace.stages().iter().find_map(|stage| match stage.stage {
            Stage::Denoise { step } => Some(step),
            _ => None,
        });
        match (init_latents, first) {
            (Some(init_latents), Some(first)) if first < scheduler.timesteps().len() => {
                let made = scheduler.add_noise(&init_latents, &noise, first)?;
                self.line(stage, lines::ADD_NOISE.as_str(), &made, "latents", tolerance::scheduler_step)
            }
            (None, _) => {
                let made = (noise * scheduler.init_noise_sigma())?;
                self.line(stage, lines::RANDN.as_str(), &made, "latents", tolerance::scheduler_step)
            }
            _ => Ok(()),
        }
    }

    /// The latents before a recorded step.
    fn latents_before(&self, stage: &TraceStage) -> Result<Option<Tensor>, DiffError> {
        let Stage::Denoise { step } = stage.stage else { return Ok(None) };
        match self.trace.stages().iter().take_while(|known| known.stage != stage.stage).last() {
            Some(last) if last.stage == Stage::GetLatent => self.recorded(last, "latents"),
            Some(last) if step > 0 && last.stage == (Stage::Denoise { step: step - 1 }) => {
                self.recorded(last, "latents")
            }
            _ => Ok(None),
        }
    }

    /// What the UNet was given in a recorded step, by the name of the input.
    fn input_of_unet(&self, stage: &TraceStage, name: &str) -> Result<Option<Tensor>, DiffError> {
        let Some(call) = stage.calls.iter().find(|call| call.path == "unet") else { return Ok(None) };
        stage.input(call, name)?.map(|found| self.tensor(&found)).transpose()
    }

    /// The embeddings of the rows.
    fn embeds(&self, rows: &[BatchRow]) -> Result<Option<Tensor>, DiffError> {
        let mut parts = vec![];
        for row in rows {
            let name = match row {
                BatchRow::Uncond => "negative_prompt_embeds",
                BatchRow::Text => "prompt_embeds",
            };
            match self.trace.tensor(Stage::EncodePrompt, name)? {
                Some(found) => parts.push(self.tensor(&found)?),
                None => return Ok(None),
            }
        }
        Ok(Some(Tensor::cat(&parts, 0)?))
    }

    /// One call of the UNet, guidance, and the scheduler's step.
    fn denoise(&mut self, stage: &TraceStage, step: usize) -> Result<(), DiffError> {
        let sample = self.latents_before(stage)?;
        self.unet(stage, step, sample.as_ref())?;
        self.guidance(stage)?;
        self.scheduler_step(stage, step, sample.as_ref())
    }

    fn unet(&mut self, stage: &TraceStage, step: usize, sample: Option<&Tensor>) -> Result<(), DiffError> {
        let rows = match &stage.rows[..] {
            [] if stage.shape("uncond_residual").is_some() => vec![BatchRow::Uncond, BatchRow::Text],
            [] => vec![BatchRow::Text],
            rows => rows.to_vec(),
        };
        let scheduled =
            self.scheduler.as_ref().and_then(|scheduler| scheduler.timesteps().get(step).copied());
        let Some(timestep) = stage.timestep.or(scheduled) else {
            let why = tr!("{}: the UNet is not compared, because no timestep is recorded", stage.stage);
            self.note(why);
            return Ok(());
        };
        if let Some(scheduled) = scheduled.filter(|scheduled| (scheduled - timestep).abs() > 1e-3) {
            let at = (stage.stage, lines::UNET.as_str(), 0);
            let plain = |t: f64| PlainTensor::from_values(&[1], vec![t as f32]);
            if let (Some(found), Some(expected)) = (plain(timestep), plain(scheduled)) {
                let mut row = Row::of(at, (&found, &expected), 0., true);
                row.kind = Kind::Wiring { child: "unet".into(), input: "timestep".into() };
                self.made.rows.push(row);
            }
        }
        let ours = match (sample, &self.scheduler) {
            (Some(sample), Some(scheduler)) => {
                let scaled = scheduler.scale_model_input(sample, step)?;
                Some(Tensor::cat(&vec![&scaled; rows.len()], 0)?)
            }
            _ => None,
        };
        let theirs = self.input_of_unet(stage, "sample")?;
        if let (Some(ours), Some(theirs)) = (&ours, &theirs) {
            let bound = self.given.unwrap_or_else(|| tolerance::scheduler_step(self.dtype));
            let at = (stage.stage, lines::UNET.as_str(), 0);
            let mut row = Row::of(at, (&PlainTensor::of(ours)?, &PlainTensor::of(theirs)?), bound, true);
            row.kind = Kind::Wiring { child: "unet".into(), input: "sample".into() };
            self.made.rows.push(row);
        }
        let embeds = match self.input_of_unet(stage, "encoder_hidden_states")? {
            Some(embeds) => Some(embeds),
            None => self.embeds(&rows)?,
        };
        let (Some(input), Some(embeds)) = (theirs.or(ours), embeds) else {
            let why = tr!(
                "{}: the UNet is not compared, because its latents or embeddings are not recorded",
                stage.stage
            );
            self.note(why);
            return Ok(());
        };
        let dtype = self.models.dtype;
        let (input, embeds) = (input.to_dtype(dtype)?, embeds.to_dtype(dtype)?);
        let timestep_cond = stages::timestep_cond(self.models, self.request.guidance_scale)?;
        let mut forced = self.forced(stage, stage.calls.iter());
        let residual =
            self.models.unet.forward(&input, timestep, &embeds, timestep_cond.as_ref(), &mut forced)?;
        let chained = self.take(stage, forced)? > 0;
        let residual = residual.to_dtype(DType::F32)?;
        for (i, row) in rows.iter().enumerate() {
            let name = match row {
                BatchRow::Uncond => "uncond_residual",
                BatchRow::Text => "text_cond_residual",
            };
            let bound = |dtype| tolerance::isolated("", dtype, None, chained);
            let is_first = self.made.first().is_none();
            let own = residual.narrow(0, i, 1)?;
            self.line(stage, lines::UNET.as_str(), &own, name, bound)?;
            let expected = stage.tensor(name)?;
            if let (true, 2, Some(expected)) = (is_first && self.made.first().is_some(), rows.len(), expected)
            {
                let evidence = Evidence {
                    path: lines::UNET.to_string(),
                    inputs: vec![own.clone(), residual.narrow(0, 1 - i, 1)?],
                    containers: vec![],
                    skips: vec![],
                    observed: Observed::Output(expected),
                    ours: PlainTensor::of(&own)?,
                };
                self.explain(stage, self.made.rows.len() - 1, evidence)?;
            }
        }
        Ok(())
    }

    fn guidance(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
        let Some(text) = self.recorded(stage, "text_cond_residual")? else { return Ok(()) };
        let uncond = self.recorded(stage, "uncond_residual")?;
        let scale = self.request.guidance_scale;
        let is_lcm = self.models.unet.config().time_cond_proj_dim.is_some();
        let made = match &uncond {
            Some(uncond) if !is_lcm => (uncond + ((&text - uncond)? * scale)?)?,
            _ => text.clone(),
        };
        let norm = |tensor: &Tensor| -> Result<f64, DiffError> {
            Ok(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?.into())
        };
        let norms = [norm(uncond.as_ref().unwrap_or(&text))?, norm(&text)?, norm(&made)?].map(f64::sqrt);
        let bound = |dtype| tolerance::guided(tolerance::isolated("", dtype, None, false), scale, norms);
        let is_first = self.made.first().is_none();
        self.line(stage, lines::GUIDANCE.as_str(), &made, "guided_noise_residual", bound)?;
        let at = self.made.rows.len().saturating_sub(1);
        let expected = stage.tensor("guided_noise_residual")?;
        if let (true, Some(uncond), Some(expected)) =
            (is_first && self.made.first().is_some(), uncond, expected)
        {
            let scale = Tensor::new(&[scale as f32], &Device::Cpu)?;
            let evidence = Evidence {
                path: lines::GUIDANCE.to_string(),
                inputs: vec![uncond, text, scale],
                containers: vec![],
                skips: vec![],
                observed: Observed::Output(expected),
                ours: PlainTensor::of(&made)?,
            };
            self.explain(stage, at, evidence)?;
        }
        Ok(())
    }

    fn scheduler_step(
        &mut self,
        stage: &TraceStage,
        step: usize,
        sample: Option<&Tensor>,
    ) -> Result<(), DiffError> {
        let Some(scheduler) = self.scheduler.clone() else { return Ok(()) };
        let Some(history) = self.history.take() else { return Ok(()) };
        let output = self.recorded(stage, "guided_noise_residual")?;
        let noise = self.recorded(stage, "variance_noise")?;
        let is_known = step < scheduler.timesteps().len();
        let (Some(sample), Some(output), true) = (sample, output, is_known) else {
            let why = tr!(
                "{}: the scheduler is not compared from here on, because its inputs are not recorded",
                stage.stage
            );
            self.note(why);
            return Ok(());
        };
        if scheduler.draws_noise(step) && noise.is_none() {
            let why = tr!(
                "{}: the scheduler is not compared from here on, because the noise that it drew is not recorded",
                stage.stage
            );
            self.note(why);
            return Ok(());
        }
        let input = StepInput { index: step, model_output: &output, sample, noise: noise.as_ref() };
        let made = scheduler.step(input, &history)?;
        for (name, tensor) in &made.tensors {
            if *name == "pred_original_sample" {
                let bound = tolerance::scheduler_step;
                self.line(stage, lines::SCHEDULER_STEP.as_str(), tensor, name, bound)?;
            }
        }
        let bound = tolerance::scheduler_step;
        self.line(stage, lines::SCHEDULER_STEP.as_str(), &made.prev_sample, "latents", bound)?;
        self.calls += 1;
        self.history = Some(made.history);
        Ok(())
    }

    /// The VAE's decoder on the last latents.
    fn vae_decode(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
        let before = self.trace.stages().iter().rev().find(|known| known.stage != Stage::VaeDecode);
        let last = self.scheduler.as_ref().map(|scheduler| scheduler.timesteps().len().saturating_sub(1));
        let is_last = |known: &TraceStage| match (known.stage, last) {
            (Stage::Denoise { step }, Some(last)) => step == last,
            (Stage::Denoise { .. }, None) => self.trace.manifest().complete,
            _ => false,
        };
        let latents = match before.filter(|known| is_last(known)) {
            Some(before) => self.recorded(before, "latents")?,
            None => None,
        };
        let first = stage.calls.iter().find(|call| call.path == "vae.post_quant_conv");
        let z = match (latents, first) {
            (Some(latents), _) => Some((latents / self.models.vae.config().scaling_factor)?),
            (None, Some(call)) => {
                let name = call.inputs.first().map_or("input", String::as_str);
                stage.input(call, name)?.map(|found| self.tensor(&found)).transpose()?
            }
            (None, None) => None,
        };
        let Some(z) = z else {
            self.note(tr!("the VAE is not compared, because the last latents are not recorded"));
            return Ok(());
        };
        let mut forced = self.forced(stage, stage.calls.iter());
        let decoded = self.models.vae.decode(&z.to_dtype(self.models.dtype)?, &mut forced)?;
        let chained = self.take(stage, forced)? > 0;
        let image = ((decoded.to_dtype(DType::F32)? / 2.)? + 0.5)?.clamp(0., 1.)?;
        let bound = |dtype| tolerance::isolated("", dtype, None, chained);
        self.line(stage, lines::DENORMALIZE.as_str(), &image, "image", bound)
    }
}

/// The type in which tensors of a case are: ids stay whole numbers.
fn float(dtype: DType) -> DType {
    if dtype.is_int() { dtype } else { DType::F32 }
}

fn abridged(timesteps: &[f64]) -> String {
    let shown: Vec<String> = timesteps.iter().take(4).map(f64::to_string).collect();
    let more = if timesteps.len() > 4 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

//! A step of denoising: the UNet, guidance, the scheduler's step.

use super::Judge;
use crate::pipeline::loras::Adapted;
use crate::pipeline::{Stage, lines, stages};
use crate::scheduler::StepInput;
use crate::tensor::PlainTensor;
use crate::trace::TraceStage;
use crate::trace::diff::causes::Observed;
use crate::trace::diff::forced::Evidence;
use crate::trace::diff::{DiffError, Kind, Row, tolerance};
use crate::trace::manifest::Row as BatchRow;
use candle_core::{DType, Tensor};
use tr::tr;

impl Judge<'_> {
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
    pub(super) fn denoise(&mut self, stage: &TraceStage, step: usize) -> Result<(), DiffError> {
        let sample = self.latents_before(stage)?;
        self.unet(stage, step, sample.as_ref())?;
        self.guidance(stage)?;
        self.scheduler_step(stage, step, sample.as_ref())
    }

    /// The scheduler's step alone.
    pub(super) fn step_alone(&mut self, stage: &TraceStage, step: usize) -> Result<(), DiffError> {
        let sample = self.latents_before(stage)?;
        self.scheduler_step(stage, step, sample.as_ref())
    }

    /// What the rows of the UNet's batch are.
    fn rows(stage: &TraceStage) -> Vec<BatchRow> {
        match &stage.rows[..] {
            [] if stage.on_disk("uncond_residual").is_some() => vec![BatchRow::Uncond, BatchRow::Text],
            [] => vec![BatchRow::Text],
            rows => rows.to_vec(),
        }
    }

    /// The timestep that the UNet got. Another one than the schedule's is the line's fault.
    fn timestep(&mut self, stage: &TraceStage, step: usize) -> Option<f64> {
        let scheduled =
            self.scheduler.as_ref().and_then(|scheduler| scheduler.timesteps().get(step).copied());
        if let (Some(found), Some(scheduled)) = (stage.timestep, scheduled)
            && (found - scheduled).abs() > 1e-3
        {
            self.made.rows.push(Row {
                stage: stage.stage,
                path: lines::UNET.to_string(),
                call: 0,
                relative: Some((found - scheduled).abs() / scheduled.abs()),
                tolerance: 0.,
                isolated: true,
                kind: Kind::Wiring { child: "unet".into(), input: "timestep".into() },
                shapes: None,
            });
        }
        stage.timestep.or(scheduled)
    }

    /// The latents that the UNet got, as recorded or as scaled here. If both are known, they are compared.
    fn sample(
        &mut self,
        stage: &TraceStage,
        step: usize,
        latents: Option<&Tensor>,
        rows: usize,
    ) -> Result<Option<Tensor>, DiffError> {
        let ours = match (latents, &self.scheduler) {
            (Some(latents), Some(scheduler)) => {
                let scaled = scheduler.scale_model_input(latents, step)?;
                Some(Tensor::cat(&vec![&scaled; rows], 0)?)
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
        Ok(theirs.or(ours))
    }

    /// The UNet on the recorded latents, timestep and embeddings.
    fn unet(&mut self, stage: &TraceStage, step: usize, latents: Option<&Tensor>) -> Result<(), DiffError> {
        let rows = Self::rows(stage);
        let timestep = self.timestep(stage, step);
        let sample = self.sample(stage, step, latents, rows.len())?;
        let embeds = match self.input_of_unet(stage, "encoder_hidden_states")? {
            Some(embeds) => Some(embeds),
            None => self.embeds(&rows)?,
        };
        let (Some(timestep), Some(sample), Some(embeds)) = (timestep, sample, embeds) else {
            let why = tr!(
                "{}: the UNet is not compared, because its latents, timestep or embeddings are not recorded",
                stage.stage
            );
            self.note_uncompared(tr!("the UNet"), why);
            return Ok(());
        };
        let dtype = self.models.dtype;
        let (sample, embeds) = (sample.to_dtype(dtype)?, embeds.to_dtype(dtype)?);
        let timestep_cond = stages::timestep_cond(self.models, self.request.guidance_scale)?;
        let mut forced = self.forced(stage, stage.calls.iter());
        let mut adapted = Adapted::new(self.models, &self.request, &mut forced);
        let unet = &self.models.unet;
        let residual = unet.forward(&sample, timestep, &embeds, timestep_cond.as_ref(), &mut adapted)?;
        let chained = self.take(stage, forced)? > 0;
        let residual = residual.to_dtype(DType::F32)?;
        for (i, row) in rows.iter().enumerate() {
            let name = match row {
                BatchRow::Uncond => "uncond_residual",
                BatchRow::Text => "text_cond_residual",
            };
            let mut inputs = vec![residual.narrow(0, i, 1)?];
            if let [_, _] = rows[..] {
                inputs.push(residual.narrow(0, 1 - i, 1)?);
            }
            let bound = |dtype| tolerance::isolated("", dtype, None, chained);
            self.explained_line(stage, lines::UNET.as_str(), inputs, name, bound)?;
        }
        Ok(())
    }

    /// As [`line`](Self::line) for the first of `inputs`; a first difference is explained with all of them.
    fn explained_line(
        &mut self,
        stage: &TraceStage,
        line: &str,
        inputs: Vec<Tensor>,
        name: &str,
        bound: impl FnOnce(DType) -> f64,
    ) -> Result<(), DiffError> {
        let (Some(made), Some(expected)) = (inputs.first(), stage.tensor(name)?) else { return Ok(()) };
        let was_right = self.made.first().is_none() && self.watch.wanted.is_none();
        let ours = PlainTensor::of(made)?;
        self.line(stage, line, made, name, bound)?;
        if was_right && self.made.first().is_some() {
            let evidence = Evidence {
                path: line.into(),
                inputs,
                containers: vec![],
                skips: vec![],
                observed: Observed::Output(expected),
                ours,
            };
            self.explain(stage, self.made.rows.len() - 1, evidence)?;
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
        let mut inputs = vec![made];
        if let Some(uncond) = uncond {
            inputs.extend([uncond, text, Tensor::new(&[scale as f32], &self.models.device)?]);
        }
        self.explained_line(stage, lines::GUIDANCE.as_str(), inputs, "guided_noise_residual", bound)
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
            self.note_uncompared(tr!("the scheduler's steps"), why);
            return Ok(());
        };
        if scheduler.draws_noise(step) && noise.is_none() {
            let why = tr!(
                "{}: the scheduler is not compared from here on, because the noise that it drew is not recorded",
                stage.stage
            );
            self.note_uncompared(tr!("the scheduler's steps"), why);
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
        self.history = Some(made.history);
        Ok(())
    }
}

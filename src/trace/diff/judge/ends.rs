//! The stages before and after denoising.

use super::Judge;
use crate::model::prompt_syntax::PromptSyntax;
use crate::nn::Unwatched;
use crate::pipeline::loras::Adapted;
use crate::pipeline::{Request, Stage, lines};
use crate::trace::TraceStage;
use crate::trace::diff::{DiffError, tolerance};
use crate::trace::manifest::Row as BatchRow;
use candle_core::{DType, Tensor};
use tr::tr;

impl Judge<'_> {
    /// The text encoder on the recorded ids, once for each batch that was recorded.
    pub(super) fn encode_prompt(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
        if self.request.prompt_syntax != PromptSyntax::Plain {
            return self.encode_chunks(stage);
        }
        let Request { prompt, negative_prompt, clip_skip, .. } = self.request.clone();
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
            let text_encoder = &self.models.text_encoder;
            let mask = text_encoder.config().use_attention_mask.then_some(&mask);
            let mut adapted = Adapted::new(self.models, &self.request, &mut forced);
            let mut embeds = text_encoder.forward(&ids, mask, &[], &mut adapted)?;
            let mut chained = self.take(stage, forced)? > 0;
            // transformers' modules run whole, and diffusers takes an earlier layer's output afterwards.
            if clip_skip > 0 && rows.contains(&BatchRow::Text) {
                let skips = rows.iter().map(|row| if *row == BatchRow::Text { clip_skip } else { 0 });
                let skips: Vec<usize> = skips.collect();
                let mut unwatched = Unwatched;
                let mut adapted = Adapted::new(self.models, &self.request, &mut unwatched);
                embeds = text_encoder.forward(&ids, mask, &skips, &mut adapted)?;
                chained = true;
            }
            for (i, name) in embeds_of.iter().enumerate() {
                let bound = |dtype| tolerance::isolated("", dtype, None, chained);
                self.line(stage, lines::TEXT_ENCODER.as_str(), &embeds.narrow(0, i, 1)?, name, bound)?;
            }
        }
        Ok(())
    }

    /// The text encoder on the recorded ids of prompts in chunks, which this program recorded.
    fn encode_chunks(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
        let Request { prompt_syntax, clip_skip, .. } = self.request;
        let texts = [&*self.request.negative_prompt, &*self.request.prompt];
        let prompts = match prompt_syntax.tokenize(texts, &self.models.tokenizer) {
            Ok(prompts) => prompts,
            Err(e) => {
                self.note(tr!("the prompts are not compared: {e}", e));
                return Ok(());
            }
        };
        for (name, of) in ["negative_input_ids", "input_ids"].into_iter().zip(&prompts.of_both) {
            let Some(recorded) = stage.tensor(name)? else { return Ok(()) };
            if !recorded.data().iter().map(|id| *id as u32).eq(of.input_ids.iter().copied()) {
                self.note(tr!(
                    "the prompts are not compared: {name} are not the ids of that prompt in the syntax {prompt_syntax}",
                    name, prompt_syntax
                ));
                return Ok(());
            }
        }
        let text_encoder = &self.models.text_encoder;
        let rows = prompts.rows(&prompts.input_ids(&self.models.device)?, clip_skip, text_encoder)?;
        let mut forced = self.forced(stage, stage.calls.iter());
        let (input_ids, mask, clip_skip) = rows.inputs();
        let mut adapted = Adapted::new(self.models, &self.request, &mut forced);
        let hidden_states = text_encoder.forward(input_ids, mask, clip_skip, &mut adapted)?;
        let chained = self.take(stage, forced)? > 0;
        let embeds = rows.embeddings(&hidden_states)?;
        for (row, name) in ["negative_prompt_embeds", "prompt_embeds"].into_iter().enumerate() {
            let bound = |dtype| tolerance::isolated("", dtype, None, chained);
            self.line(stage, lines::TEXT_ENCODER.as_str(), &embeds.narrow(0, row, 1)?, name, bound)?;
        }
        Ok(())
    }

    /// The VAE's encoder on the recorded start image, and the noise of the first step.
    pub(super) fn get_latent(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
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

    /// The VAE's decoder on the last latents.
    pub(super) fn vae_decode(&mut self, stage: &TraceStage) -> Result<(), DiffError> {
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
            let why = tr!("the VAE is not compared, because the last latents are not recorded");
            self.note_uncompared(tr!("the VAE"), why);
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

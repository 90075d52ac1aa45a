//! One stage: from a snapshot to the next.

use super::{Snapshot, Stage, StageRecord, is_of_embeddings};
use crate::model::prompt_syntax::PromptSyntax;
use crate::nn::Probe;
use crate::pipeline::fault::Faulty;
use crate::pipeline::intervention::Intervening;
use crate::pipeline::loras::Adapted;
use crate::pipeline::stages::{self, Denoised, EncodedPrompt, FirstLatents, Run};
use crate::pipeline::{Error, Models, Request, lints, memory};
use crate::scheduler::{History, StepFormulas};
use candle_core::Tensor;
use std::sync::Arc;
use std::time::Instant;
use tr::tr;

impl Snapshot {
    /// This snapshot with embeddings of its current prompts. Encoding a changed prompt again discards the edits of its old
    /// embeddings.
    ///
    /// # Errors
    /// When a prompt cannot be tokenized, or the text encoder fails.
    pub fn encoded(&self, models: &Models, probe: &mut dyn Probe) -> Result<Self, Error> {
        let mut next = self.clone();
        let request = self.request();
        if !self.records.is_empty() && !self.is_encoded() {
            let run = Run { models, request, scheduler: self.scheduler() };
            let interventions =
                self.interventions.iter().filter(|intervention| intervention.only.is_none()).collect();
            let probe = &mut Intervening { interventions, probe };
            let probe = &mut Adapted::new(models, request, probe);
            let probe = &mut Faulty { fault: request.fault, stage: Stage::EncodePrompt, models, probe };
            let start = Instant::now();
            next.records[0] = record(self, Stage::EncodePrompt, start, encode(run, probe)?);
            next.encoded = Some(request.texts());
            next.edits.retain(|edit| !is_of_embeddings(edit));
        }
        Ok(next)
    }
}

/// Runs exactly one stage: the snapshot before it → the snapshot after it. Deterministic on its device.
///
/// # Errors
/// [`Error::Complete`] after the last stage; otherwise those of the stage.
pub fn advance(snapshot: &Snapshot, models: &Models, probe: &mut dyn Probe) -> Result<Snapshot, Error> {
    let stage = snapshot.position().ok_or(Error::Complete)?;
    let request = snapshot.request();
    let run = Run { models, request, scheduler: snapshot.scheduler() };
    let mut next = snapshot.encoded(models, probe)?;
    let probe = &mut Intervening { interventions: snapshot.interventions().collect(), probe };
    let probe = &mut Adapted::new(models, request, probe);
    let probe = &mut Faulty { fault: request.fault, stage, models, probe };

    let start = Instant::now();
    let made = run_stage(stage, run, snapshot, &mut next, probe)
        .map_err(|error| memory::explained(error, stage, models, request))?;
    let mut record = record(snapshot, stage, start, made);
    let found = lints::findings(snapshot.records(), &record)?;
    if let Some(record) = Arc::get_mut(&mut record) {
        record.warnings.extend(found);
    }
    next.records.push(record);
    Ok(next)
}

/// Runs a stage on `snapshot`. Stores the generator and the encoded prompts in `next`, and returns the rest.
fn run_stage(
    stage: Stage,
    run: Run<'_>,
    snapshot: &Snapshot,
    next: &mut Snapshot,
    probe: &mut dyn Probe,
) -> Result<StageOutput, Error> {
    let Run { models, request, .. } = run;
    Ok(match stage {
        Stage::EncodePrompt => {
            next.encoded = Some(request.texts());
            encode(run, probe)?
        }
        Stage::GetLatent => {
            let made = stages::get_latent(run, probe)?;
            next.generator = made.generator.clone();
            next.history = History::default();
            StageOutput { tensors: first_latents(made, request), ..StageOutput::default() }
        }
        Stage::Denoise { step } => {
            let embeds = (next.require("negative_prompt_embeds")?, next.require("prompt_embeds")?);
            let (latents, mut generator) = (snapshot.require("latents")?, snapshot.generator.clone());
            let history = &snapshot.history;
            let denoised = stages::denoise(run, step, latents, embeds, history, &mut generator, probe)?;
            next.generator = generator;
            next.history = denoised.step.history.clone();
            denoised.into()
        }
        Stage::VaeDecode => {
            let image = stages::vae_decode(models, snapshot.require("latents")?, probe)?;
            StageOutput { tensors: vec![("image", image)], ..StageOutput::default() }
        }
    })
}

/// The output of a stage, for its record.
#[derive(Default)]
struct StageOutput {
    tensors: Vec<(&'static str, Tensor)>,
    step: Option<Arc<StepFormulas>>,
    warnings: Vec<String>,
    cut: [Option<String>; 2],
}

fn record(before: &Snapshot, stage: Stage, start: Instant, made: StageOutput) -> Arc<StageRecord> {
    let StageOutput { tensors, step, warnings, cut } = made;
    let guidance_scale = before.request.guidance_scale;
    Arc::new(StageRecord {
        stage,
        tensors,
        step,
        guidance_scale,
        scheduler: Arc::clone(&before.scheduler),
        sigma: before.sigma_after(stage),
        edited: vec![],
        warnings,
        cut,
        took: start.elapsed(),
    })
}

/// A text, abridged to 1000 characters.
fn beginning(text: &str) -> String {
    const LENGTH: usize = 1000;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// The tensors of `get_latent`. Without a start image the noise is left out, as it equals the latents.
fn first_latents(made: FirstLatents, request: &Request) -> Vec<(&'static str, Tensor)> {
    let FirstLatents { init_image, init_latents, noise, latents, .. } = made;
    let noise = (init_image.is_some() && !request.steps().is_empty()).then_some(noise);
    let parts = [("init_image", init_image), ("init_latents", init_latents), ("noise", noise)];
    let parts = parts.into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
    parts.chain([("latents", latents)]).collect()
}

fn encode(run: Run<'_>, probe: &mut dyn Probe) -> Result<StageOutput, Error> {
    let made = stages::encode_prompt(run, probe)?;
    let EncodedPrompt { input_ids, negative_input_ids, prompt_embeds, negative_prompt_embeds, .. } = made;
    let EncodedPrompt { weights, cut, warnings, .. } = made;
    let names = ["prompt", "negative_prompt"];
    let mut warnings: Vec<String> = names
        .iter()
        .zip(warnings)
        .flat_map(|(name, warnings)| {
            warnings.into_iter().map(move |warning| format!("the {name}: {warning}"))
        })
        .collect();
    warnings.extend(names.iter().zip(&cut).filter_map(|(name, cut)| {
        cut.as_ref().map(|cut| {
            tr!(
                "the {name} is longer than 77 tokens; this was cut from its end: \"{}\"",
                beginning(cut),
                name
            )
        })
    }));
    let syntax = run.request.prompt_syntax;
    if syntax != PromptSyntax::A1111 && run.request.prompt.contains("<lora:") {
        warnings.push(tr!(
            "`<lora:…>` in the prompt is text in the syntax {syntax}; `--prompt-syntax a1111` reads it as a LoRA",
            syntax
        ));
    }
    let named = run.request.loras_of_prompt();
    warnings.extend(named.iter().filter(|named| run.request.lora(&named.name).is_none()).map(|named| {
        let name = &named.name;
        tr!("the prompt names the LoRA {name}, which is not loaded; expected `--lora FILE`, or `--lora-dir FOLDER` with {name}.safetensors", name)
    }));
    let ids = [("input_ids", input_ids), ("negative_input_ids", negative_input_ids)];
    let weights =
        ["prompt_weights", "negative_prompt_weights"].into_iter().zip(weights.into_iter().flatten());
    let embeds = [("prompt_embeds", prompt_embeds), ("negative_prompt_embeds", negative_prompt_embeds)];
    Ok(StageOutput {
        tensors: ids.into_iter().chain(weights).chain(embeds).collect(),
        step: None,
        warnings,
        cut,
    })
}

impl From<Denoised> for StageOutput {
    fn from(denoised: Denoised) -> Self {
        let Denoised { uncond_residual, text_cond_residual, guided_noise_residual, step } = denoised;
        let mut tensors = vec![
            ("uncond_residual", uncond_residual),
            ("text_cond_residual", text_cond_residual),
            ("guided_noise_residual", guided_noise_residual),
        ];
        tensors.extend(step.tensors);
        tensors.push(("latents", step.prev_sample));
        Self { tensors, step: Some(Arc::new(step.formulas)), ..Self::default() }
    }
}

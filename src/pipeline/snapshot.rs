//! A run between two stages.
//!
//! A [`Snapshot`] is immutable and cheap to clone; [`advance`] makes the next one. Going back is looking at an older
//! snapshot, forking is advancing with a changed request, comparing is holding two.

use super::fault::Faulty;
use super::intervention::{Intervening, Intervention};
use super::stages::{self, Denoised, EncodedPrompt, FirstLatents, Run};
use super::{Error, Models, Request, RequestError, memory};
use crate::nn::Probe;
use crate::scheduler::DdimScheduler;
use crate::scheduler::ddim::Coefficients;
use crate::tensor::Generator;
use candle_core::Tensor;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names of the tensors that stages make, in the order of the run: each stage makes its own in this order.
pub const TENSORS: [&str; 15] = [
    "input_ids",
    "negative_input_ids",
    "prompt_embeds",
    "negative_prompt_embeds",
    "init_image",
    "init_latents",
    "noise",
    "uncond_residual",
    "text_cond_residual",
    "guided_noise_residual",
    "pred_original_sample",
    "pred_epsilon",
    "pred_sample_direction",
    "latents",
    "image",
];

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Prompts to embeddings.
    EncodePrompt,
    /// A seed to noise.
    GetLatent,
    /// One step from noise to picture.
    Denoise {
        /// Which, from 0.
        step: usize,
    },
    /// Latents to a picture.
    VaeDecode,
}

impl Stage {
    /// The stage's name: the article's function.
    pub fn name(self) -> &'static str {
        match self {
            Self::EncodePrompt => "encode_prompt",
            Self::GetLatent => "get_latent",
            Self::Denoise { .. } => "denoise",
            Self::VaeDecode => "vae_decode",
        }
    }

    /// The stage's name in a dump's keys: `denoise.012`.
    pub fn key(self) -> String {
        match self {
            Self::Denoise { step } => format!("denoise.{step:03}"),
            _ => self.name().into(),
        }
    }

    /// The stage of that name in a dump's keys: the inverse of [`key`](Self::key).
    pub fn of_key(key: &str) -> Option<Self> {
        match key.split_once('.') {
            Some(("denoise", step)) => step.parse().ok().map(|step| Self::Denoise { step }),
            _ => [Self::EncodePrompt, Self::GetLatent, Self::VaeDecode]
                .into_iter()
                .find(|stage| stage.name() == key),
        }
    }

    /// The stage at `index` of a run of these [`steps`](Request::steps); `None` behind the last.
    pub fn at(index: usize, steps: &Range<usize>) -> Option<Self> {
        match index {
            0 => Some(Self::EncodePrompt),
            1 => Some(Self::GetLatent),
            i if i < steps.len() + 2 => Some(Self::Denoise { step: steps.start + i - 2 }),
            i if i == steps.len() + 2 => Some(Self::VaeDecode),
            _ => None,
        }
    }

    /// Where the stage comes in a run of these steps: the inverse of [`at`](Self::at). A step that the run does not have
    /// comes where the nearest stage does that it has.
    pub fn index(self, steps: &Range<usize>) -> usize {
        match self {
            Self::EncodePrompt => 0,
            Self::GetLatent => 1,
            Self::Denoise { step } => step.clamp(steps.start, steps.end.max(steps.start)) - steps.start + 2,
            Self::VaeDecode => steps.len() + 2,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denoise { step } => write!(f, "denoise {step}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// What a stage left behind.
#[derive(Debug)]
pub struct StageRecord {
    /// The stage.
    pub stage: Stage,
    /// Its tensors by diffusers' names, in the order in which they were made.
    pub tensors: Vec<(&'static str, Tensor)>,
    /// The numbers of a step of `denoise`.
    pub coefficients: Option<Coefficients>,
    /// The setting of that name when the stage ran.
    pub guidance_scale: f64,
    /// The scheduler that the stage ran under.
    pub scheduler: Arc<DdimScheduler>,
    /// Its tensors that were changed by hand afterwards.
    pub edited: Vec<&'static str>,
    /// What a reader should know: a prompt that was cut.
    pub warnings: Vec<String>,
    /// Of `encode_prompt`, what did not fit of the prompt and of the negative prompt.
    pub cut: [Option<String>; 2],
    /// How long it took.
    pub took: Duration,
}

impl StageRecord {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor)
    }
}

/// A run between two stages: the request, what the stages so far left behind, and the generator's state.
#[derive(Debug, Clone)]
pub struct Snapshot {
    request: Arc<Request>,
    scheduler: Arc<DdimScheduler>,
    records: Vec<Arc<StageRecord>>,
    /// What the stage that runs next made so far, when it is stepped through: found first.
    partial: Option<Arc<StageRecord>>,
    /// The prompt and the negative prompt that the embeddings are of.
    encoded: Option<(String, String)>,
    generator: Generator,
    /// What was done to its tensors by hand.
    edits: Vec<Arc<str>>,
    /// What is done to what modules make, from here on.
    interventions: Vec<Intervention>,
}

impl Snapshot {
    /// The run before its first stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn start(request: Request, models: &Models) -> Result<Self, RequestError> {
        let scheduler = Arc::new(request.check(models)?);
        let generator = Generator::manual_seed(request.seed.folded());
        Ok(Self {
            request: Arc::new(request),
            scheduler,
            records: vec![],
            partial: None,
            encoded: None,
            generator,
            edits: vec![],
            interventions: vec![],
        })
    }

    /// This snapshot going on under other settings. A changed prompt is encoded again before the next stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn with_request(&self, request: Request, models: &Models) -> Result<Self, RequestError> {
        let scheduler = Arc::new(request.check(models)?);
        Ok(Self { request: Arc::new(request), scheduler, ..self.clone() })
    }

    /// The run after as many stages as there are records, for tests of what shows them.
    #[cfg(test)]
    pub(crate) fn after(&self, records: &[Arc<StageRecord>]) -> Self {
        let encoded = Some((self.request.prompt.clone(), self.request.negative_prompt.clone()));
        Self { records: records.to_vec(), encoded, ..self.clone() }
    }

    /// This snapshot with what `stage`, which runs next, made so far.
    pub fn with_partial(&self, stage: Stage, tensors: Vec<(&'static str, Tensor)>) -> Self {
        let record = StageRecord {
            stage,
            tensors,
            coefficients: None,
            guidance_scale: self.request.guidance_scale,
            scheduler: Arc::clone(&self.scheduler),
            edited: vec![],
            warnings: vec![],
            cut: [None, None],
            took: Duration::ZERO,
        };
        Self { partial: Some(Arc::new(record)), ..self.clone() }
    }

    /// This snapshot with another tensor in the place of the newest of that name; `edit` says what was done. `None` where
    /// there is no such tensor.
    pub fn with_tensor(&self, name: &str, tensor: Tensor, edit: &str) -> Option<Self> {
        let index = self.records.iter().rposition(|record| record.tensor(name).is_some())?;
        let known = &self.records[index];
        let tensors = known
            .tensors
            .iter()
            .map(|(own, kept)| (*own, if *own == name { tensor.clone() } else { kept.clone() }));
        let mut edited = known.edited.clone();
        let new = known.tensors.iter().map(|(own, _)| *own).find(|own| *own == name);
        edited.extend(new.filter(|new| !known.edited.contains(new)));
        let mut next = self.clone();
        next.records[index] = Arc::new(StageRecord {
            tensors: tensors.collect(),
            edited,
            scheduler: Arc::clone(&known.scheduler),
            warnings: known.warnings.clone(),
            cut: known.cut.clone(),
            ..**known
        });
        next.edits.push(edit.into());
        Some(next)
    }

    /// This snapshot going on with something done to what modules make.
    pub fn with_intervention(&self, intervention: Intervention) -> Self {
        let mut next = self.clone();
        next.edits.push(Arc::clone(&intervention.text));
        next.interventions.push(intervention);
        next
    }

    /// What is done to what modules make in the stage that runs next.
    pub fn interventions(&self) -> impl Iterator<Item = &Intervention> {
        let next = self.position();
        self.interventions
            .iter()
            .filter(move |intervention| next.is_some_and(|stage| intervention.is_in(stage)))
    }

    /// What was done by hand to its tensors and to what modules make, the first first.
    pub fn edits(&self) -> &[Arc<str>] {
        &self.edits
    }

    /// The settings.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The scheduler of the run.
    pub fn scheduler(&self) -> &DdimScheduler {
        &self.scheduler
    }

    /// The timesteps that the run visits, from noise to picture: of one that starts from a picture the last.
    pub fn timesteps(&self) -> &[usize] {
        &self.scheduler.timesteps()[self.request.steps()]
    }

    /// The scheduler of the run, to be kept.
    pub fn shared_scheduler(&self) -> &Arc<DdimScheduler> {
        &self.scheduler
    }

    /// What the stages so far left behind, the first first.
    pub fn records(&self) -> &[Arc<StageRecord>] {
        &self.records
    }

    /// What the last stage left behind.
    pub fn last(&self) -> Option<&StageRecord> {
        self.records.last().map(|record| &**record)
    }

    /// The stage that runs next; `None` when the run is complete.
    pub fn position(&self) -> Option<Stage> {
        Stage::at(self.records.len(), &self.request.steps())
    }

    /// The newest tensor of that name, or of a key such as `denoise.003/latents`, with the stage that made it.
    pub fn tensor(&self, name: &str) -> Option<(Stage, &Tensor)> {
        let (stage, name) = match name.split_once('/') {
            Some((stage, name)) => (Some(stage), name),
            None => (None, name),
        };
        // The scheduler's word for what the loop then calls latents.
        let name = if name == "prev_sample" { "latents" } else { name };
        let records = self
            .partial
            .iter()
            .chain(self.records.iter().rev())
            .filter(|record| stage.is_none_or(|key| record.stage.key() == key));
        records.into_iter().find_map(|record| record.tensor(name).map(|tensor| (record.stage, tensor)))
    }

    /// Whether the embeddings are of the prompts as they are.
    pub fn is_encoded(&self) -> bool {
        let request = self.request();
        self.encoded.as_ref().is_some_and(|(prompt, negative_prompt)| {
            (prompt, negative_prompt) == (&request.prompt, &request.negative_prompt)
        })
    }

    /// What was done by hand to embeddings, and is lost when a prompt is encoded anew.
    pub fn edits_of_embeddings(&self) -> Vec<Arc<str>> {
        self.edits.iter().filter(|edit| is_of_embeddings(edit)).cloned().collect()
    }

    /// This snapshot with embeddings of its prompts: those of a prompt that was changed since are made again, and what was done
    /// to the old ones by hand is gone with them.
    ///
    /// # Errors
    /// The text encoder's, or the probe's.
    pub fn encoded(&self, models: &Models, probe: &mut dyn Probe) -> Result<Self, Error> {
        let mut next = self.clone();
        let request = self.request();
        if !self.records.is_empty() && !self.is_encoded() {
            let run = Run { models, request, scheduler: self.scheduler() };
            let interventions =
                self.interventions.iter().filter(|intervention| intervention.only.is_none()).collect();
            let probe = &mut Intervening { interventions, probe };
            let probe = &mut Faulty { fault: request.fault, stage: Stage::EncodePrompt, models, probe };
            let start = Instant::now();
            next.records[0] = record(self, Stage::EncodePrompt, start, encode(run, probe)?);
            next.encoded = Some((request.prompt.clone(), request.negative_prompt.clone()));
            next.edits.retain(|edit| !is_of_embeddings(edit));
        }
        Ok(next)
    }

    /// Adds to the time that the last stage took what was computed for it elsewhere.
    pub(super) fn add_time(&mut self, took: Duration) {
        // A record that others hold is not the one that was just made.
        if let Some(record) = self.records.last_mut().and_then(Arc::get_mut) {
            record.took += took;
        }
    }

    /// Takes off the time that the last stage took what it waited for a reader.
    pub fn take_off_time(&mut self, waited: Duration) {
        // A record that others hold is not the one that was just made.
        if let Some(record) = self.records.last_mut().and_then(Arc::get_mut) {
            record.took = record.took.saturating_sub(waited);
        }
    }

    fn require(&self, name: &str) -> Result<&Tensor, Error> {
        let missing = || crate::nn::Error::Input(format!("{name} is not there yet")).into();
        self.tensor(name).map(|(_, tensor)| tensor).ok_or_else(missing)
    }
}

/// An edit begins with the name of its tensor.
fn is_of_embeddings(edit: &str) -> bool {
    ["prompt_embeds", "negative_prompt_embeds"].iter().any(|name| edit.starts_with(name))
}

/// Runs exactly one stage: the snapshot before it → the snapshot after it. Deterministic on its device.
///
/// # Errors
/// [`Error::Complete`] behind the last stage; else the stage's, or the probe's.
pub fn advance(snapshot: &Snapshot, models: &Models, probe: &mut dyn Probe) -> Result<Snapshot, Error> {
    let stage = snapshot.position().ok_or(Error::Complete)?;
    let request = snapshot.request();
    let run = Run { models, request, scheduler: snapshot.scheduler() };
    let mut next = snapshot.encoded(models, probe)?;
    let probe = &mut Intervening { interventions: snapshot.interventions().collect(), probe };
    let probe = &mut Faulty { fault: request.fault, stage, models, probe };

    let start = Instant::now();
    let made = run_stage(stage, run, snapshot, &mut next, probe)
        .map_err(|error| memory::explained(error, stage, models, request))?;
    next.records.push(record(snapshot, stage, start, made));
    Ok(next)
}

/// Runs a stage on what is in `snapshot`; what is remembered beside tensors is put into `next`.
fn run_stage(
    stage: Stage,
    run: Run<'_>,
    snapshot: &Snapshot,
    next: &mut Snapshot,
    probe: &mut dyn Probe,
) -> Result<Made, Error> {
    let Run { models, request, .. } = run;
    Ok(match stage {
        Stage::EncodePrompt => {
            next.encoded = Some((request.prompt.clone(), request.negative_prompt.clone()));
            encode(run, probe)?
        }
        Stage::GetLatent => {
            let made = stages::get_latent(run, probe)?;
            next.generator = made.generator.clone();
            Made { tensors: first_latents(made, request), ..Made::default() }
        }
        Stage::Denoise { step } => {
            let embeds = (next.require("negative_prompt_embeds")?, next.require("prompt_embeds")?);
            let (latents, mut generator) = (snapshot.require("latents")?, snapshot.generator.clone());
            let denoised = stages::denoise(run, step, latents, embeds, &mut generator, probe)?;
            next.generator = generator;
            denoised.into()
        }
        Stage::VaeDecode => {
            let image = stages::vae_decode(models, snapshot.require("latents")?, probe)?;
            Made { tensors: vec![("image", image)], ..Made::default() }
        }
    })
}

/// What a stage hands to its record.
#[derive(Default)]
struct Made {
    tensors: Vec<(&'static str, Tensor)>,
    coefficients: Option<Coefficients>,
    warnings: Vec<String>,
    cut: [Option<String>; 2],
}

fn record(before: &Snapshot, stage: Stage, start: Instant, made: Made) -> Arc<StageRecord> {
    let Made { tensors, coefficients, warnings, cut } = made;
    let guidance_scale = before.request.guidance_scale;
    Arc::new(StageRecord {
        stage,
        tensors,
        coefficients,
        guidance_scale,
        scheduler: Arc::clone(&before.scheduler),
        edited: vec![],
        warnings,
        cut,
        took: start.elapsed(),
    })
}

/// A text, or of one that nobody reads to its end the beginning.
fn beginning(text: &str) -> String {
    const MOST: usize = 1000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Of noise alone only the latents, which are that; with a picture to start from all that they are made of.
fn first_latents(made: FirstLatents, request: &Request) -> Vec<(&'static str, Tensor)> {
    let FirstLatents { init_image, init_latents, noise, latents, .. } = made;
    let noise = (init_image.is_some() && !request.steps().is_empty()).then_some(noise);
    let parts = [("init_image", init_image), ("init_latents", init_latents), ("noise", noise)];
    let parts = parts.into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
    parts.chain([("latents", latents)]).collect()
}

fn encode(run: Run<'_>, probe: &mut dyn Probe) -> Result<Made, Error> {
    let EncodedPrompt { input_ids, negative_input_ids, prompt_embeds, negative_prompt_embeds, cut, warnings } =
        stages::encode_prompt(run, probe)?;
    let names = ["prompt", "negative_prompt"];
    let mut warnings: Vec<String> = names
        .iter()
        .zip(warnings)
        .flat_map(|(name, warnings)| warnings.into_iter().map(move |said| format!("the {name}: {said}")))
        .collect();
    warnings.extend(names.iter().zip(&cut).filter_map(|(name, cut)| {
        cut.as_ref().map(|cut| {
            format!("the {name} is longer than 77 tokens; this was cut from its end: \"{}\"", beginning(cut))
        })
    }));
    Ok(Made {
        tensors: vec![
            ("input_ids", input_ids),
            ("negative_input_ids", negative_input_ids),
            ("prompt_embeds", prompt_embeds),
            ("negative_prompt_embeds", negative_prompt_embeds),
        ],
        coefficients: None,
        warnings,
        cut,
    })
}

impl From<Denoised> for Made {
    fn from(denoised: Denoised) -> Self {
        let Denoised { uncond_residual, text_cond_residual, guided_noise_residual, step } = denoised;
        Self {
            tensors: vec![
                ("uncond_residual", uncond_residual),
                ("text_cond_residual", text_cond_residual),
                ("guided_noise_residual", guided_noise_residual),
                ("pred_original_sample", step.pred_original_sample),
                ("pred_epsilon", step.pred_epsilon),
                ("pred_sample_direction", step.pred_sample_direction),
                ("latents", step.prev_sample),
            ],
            coefficients: Some(step.coefficients),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn at_and_index_are_inverse(index in 0usize..2000, first in 0usize..50, steps in 0usize..1000) {
            let steps = first..first + steps;
            match Stage::at(index, &steps) {
                Some(stage) => prop_assert_eq!(stage.index(&steps), index),
                None => prop_assert!(index > steps.len() + 2),
            }
        }

        #[test]
        fn every_step_has_a_place(step in 0usize..2000, first in 0usize..50, steps in 0usize..1000) {
            let place = Stage::Denoise { step }.index(&(first..first + steps));
            prop_assert!((2..=steps + 2).contains(&place));
        }
    }

    #[test]
    fn keys_sort_as_steps_do() {
        assert_eq!(Stage::Denoise { step: 7 }.key(), "denoise.007");
        assert_eq!(Stage::Denoise { step: 7 }.to_string(), "denoise 7");
        assert_eq!(Stage::VaeDecode.key(), "vae_decode");
        for stage in [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 1234 }, Stage::VaeDecode]
        {
            assert_eq!(Stage::of_key(&stage.key()), Some(stage));
        }
        assert_eq!((Stage::of_key("denoise"), Stage::of_key("latents")), (None, None));
    }
}

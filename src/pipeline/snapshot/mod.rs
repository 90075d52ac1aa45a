//! A run between two stages.
//!
//! A [`Snapshot`] is immutable and cheap to clone; [`advance`] returns the next one. To go back is to read an older snapshot, to
//! fork is to advance with a changed request.
//!
//! - `stage`: the stages and their order. `advance`: one stage.

mod advance;
mod stage;

pub use advance::advance;
pub use stage::{Stage, tensor_names};

use super::intervention::Intervention;
use super::request::Texts;
use super::{Error, Models, Request, RequestError};
use crate::scheduler::{History, Scheduler, StepFormulas};
use crate::tensor::Generator;
use candle_core::Tensor;
use std::sync::Arc;
use std::time::Duration;
use tr::tr;

/// The record of a finished stage.
#[derive(Debug)]
pub struct StageRecord {
    /// The stage.
    pub stage: Stage,
    /// Its tensors under diffusers' names, in the order of computation.
    pub tensors: Vec<(&'static str, Tensor)>,
    /// The numbers and formulas of a step of `denoise`.
    pub step: Option<Arc<StepFormulas>>,
    /// The `guidance_scale` with which the stage ran.
    pub guidance_scale: f64,
    /// The scheduler with which the stage ran.
    pub scheduler: Arc<dyn Scheduler>,
    /// Sigma of its latents, if its scheduler works on x₀ + σ · ε.
    pub sigma: Option<f32>,
    /// Its tensors that were edited afterwards.
    pub edited: Vec<&'static str>,
    /// Warnings, such as a truncated prompt.
    pub warnings: Vec<String>,
    /// For `encode_prompt`: the text of the prompt and of the negative prompt that did not fit.
    pub cut: [Option<String>; 2],
    /// Its duration; zero for a stage that ran elsewhere and was recorded.
    pub took: Duration,
}

impl StageRecord {
    /// The factor that turns its latents into √ᾱ · x₀ + √(1−ᾱ) · ε, so that those of all schedulers compare.
    pub fn latents_scale(&self) -> f64 {
        self.sigma.map_or(1., |sigma| 1. / f64::from(sigma * sigma + 1.).sqrt())
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor)
    }
}

/// A run between two stages: the request, the records of finished stages, and the generator's state.
#[derive(Debug, Clone)]
pub struct Snapshot {
    request: Arc<Request>,
    scheduler: Arc<dyn Scheduler>,
    records: Vec<Arc<StageRecord>>,
    /// The tensors so far of a stage that is stepped through. They precede `records` in lookups.
    partial: Option<Arc<StageRecord>>,
    /// What the embeddings were made of.
    encoded: Option<Texts>,
    generator: Generator,
    /// What the scheduler remembers of the last steps.
    history: History,
    /// The edits of tensors and module outputs.
    edits: Vec<Arc<str>>,
    /// Changes of module outputs in later stages.
    interventions: Vec<Intervention>,
}

impl Snapshot {
    /// The run before its first stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn start(request: Request, models: &Models) -> Result<Self, RequestError> {
        let request = request.completed(models);
        let scheduler = request.check(models)?;
        Ok(Self::start_of_recorded(request, scheduler))
    }

    /// The run before its first stage, of a run that was recorded elsewhere: nothing is checked, as nothing runs.
    pub fn start_of_recorded(request: Request, scheduler: Arc<dyn Scheduler>) -> Self {
        let generator = Generator::manual_seed(request.seed.folded());
        Self {
            request: Arc::new(request),
            scheduler,
            records: vec![],
            partial: None,
            encoded: None,
            generator,
            history: History::default(),
            edits: vec![],
            interventions: vec![],
        }
    }

    /// This snapshot after its next stage, which ran elsewhere and made `tensors`. `step` has the numbers of a step of `denoise`, if
    /// they are known, and what the scheduler remembers of it.
    pub fn with_recorded(
        &self,
        stage: Stage,
        tensors: Vec<(&'static str, Tensor)>,
        step: Option<(Option<StepFormulas>, History)>,
        guidance_scale: f64,
        warnings: Vec<String>,
    ) -> Self {
        let mut next = self.clone();
        let (formulas, history) = step.unzip();
        next.history = history.unwrap_or_default();
        next.encoded = Some(self.request.texts());
        next.records.push(Arc::new(StageRecord {
            stage,
            tensors,
            step: formulas.flatten().map(Arc::new),
            guidance_scale,
            scheduler: Arc::clone(&self.scheduler),
            sigma: self.sigma_after(stage),
            edited: vec![],
            warnings,
            cut: [None, None],
            took: Duration::ZERO,
        }));
        next
    }

    /// What the scheduler remembers of the last steps.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// This snapshot with other settings. A changed prompt is encoded again before the next stage.
    ///
    /// # Errors
    /// When `models` cannot run `request`.
    pub fn with_request(&self, request: Request, models: &Models) -> Result<Self, RequestError> {
        let request = request.completed(models);
        let scheduler = request.check(models)?;
        Ok(Self { request: Arc::new(request), scheduler, ..self.clone() })
    }

    /// The run after these records, for tests of views.
    #[cfg(test)]
    pub(crate) fn after(&self, records: &[Arc<StageRecord>]) -> Self {
        let encoded = Some(self.request.texts());
        Self { records: records.to_vec(), encoded, ..self.clone() }
    }

    /// This snapshot with the tensors so far of the next stage.
    pub fn with_partial(&self, stage: Stage, tensors: Vec<(&'static str, Tensor)>) -> Self {
        let record = StageRecord {
            stage,
            tensors,
            step: None,
            guidance_scale: self.request.guidance_scale,
            scheduler: Arc::clone(&self.scheduler),
            sigma: self.sigma_after(stage),
            edited: vec![],
            warnings: vec![],
            cut: [None, None],
            took: Duration::ZERO,
        };
        Self { partial: Some(Arc::new(record)), ..self.clone() }
    }

    /// This snapshot with the newest tensor of that name replaced; `edit` describes the change. `None` if there is no such tensor.
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
            stage: known.stage,
            guidance_scale: known.guidance_scale,
            took: known.took,
            tensors: tensors.collect(),
            edited,
            step: known.step.clone(),
            scheduler: Arc::clone(&known.scheduler),
            sigma: known.sigma,
            warnings: known.warnings.clone(),
            cut: known.cut.clone(),
        });
        next.edits.push(edit.into());
        Some(next)
    }

    /// This snapshot with one more intervention.
    pub fn with_intervention(&self, intervention: Intervention) -> Self {
        let mut next = self.clone();
        next.edits.push(Arc::clone(&intervention.text));
        next.interventions.push(intervention);
        next
    }

    /// The interventions that apply to the next stage.
    pub fn interventions(&self) -> impl Iterator<Item = &Intervention> {
        let next = self.position();
        self.interventions
            .iter()
            .filter(move |intervention| next.is_some_and(|stage| intervention.is_in(stage)))
    }

    /// The edits of tensors and module outputs, in order.
    pub fn edits(&self) -> &[Arc<str>] {
        &self.edits
    }

    /// The settings.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The scheduler of the run.
    pub fn scheduler(&self) -> &dyn Scheduler {
        &*self.scheduler
    }

    /// The timesteps of the run, from noise to image. With a start image, only the last ones.
    pub fn timesteps(&self) -> &[f64] {
        &self.scheduler.timesteps()[self.request.steps()]
    }

    /// Sigma at each of these timesteps.
    pub fn sigmas(&self) -> &[f32] {
        &self.scheduler.sigmas()[self.request.steps()]
    }

    /// Sigma of the latents that a stage makes, if the scheduler works on x₀ + σ · ε.
    fn sigma_after(&self, stage: Stage) -> Option<f32> {
        let next = match stage {
            Stage::GetLatent => self.request.steps().start,
            Stage::Denoise { step } => step + 1,
            Stage::EncodePrompt | Stage::VaeDecode => return None,
        };
        let is_in_sigma = self.scheduler.config().class.works_in_sigma();
        self.scheduler.sigmas().get(next).copied().filter(|_| is_in_sigma)
    }

    /// The scheduler of the run, shared.
    pub fn shared_scheduler(&self) -> &Arc<dyn Scheduler> {
        &self.scheduler
    }

    /// The records of finished stages, in order.
    pub fn records(&self) -> &[Arc<StageRecord>] {
        &self.records
    }

    /// The record of the last finished stage.
    pub fn last(&self) -> Option<&StageRecord> {
        self.records.last().map(|record| &**record)
    }

    /// The next stage; `None` when the run is complete.
    pub fn position(&self) -> Option<Stage> {
        Stage::at(self.records.len(), &self.request.steps())
    }

    /// The newest tensor of that name, or of a key such as `denoise.003/latents`, with its stage.
    pub fn tensor(&self, name: &str) -> Option<(Stage, &Tensor)> {
        let (stage, name) = match name.split_once('/') {
            Some((stage, name)) => (Some(stage), name),
            None => (None, name),
        };
        // The loop assigns the scheduler's `prev_sample` to `latents`.
        let name = if name == "prev_sample" { "latents" } else { name };
        let records = self
            .partial
            .iter()
            .chain(self.records.iter().rev())
            .filter(|record| stage.is_none_or(|key| record.stage.key() == key));
        records.into_iter().find_map(|record| record.tensor(name).map(|tensor| (record.stage, tensor)))
    }

    /// Whether the embeddings match the current prompts and `clip_skip`.
    pub fn is_encoded(&self) -> bool {
        self.encoded.as_ref().is_some_and(|encoded| *encoded == self.request().texts())
    }

    /// The edits of embeddings, which are lost when a prompt is encoded again.
    pub fn edits_of_embeddings(&self) -> Vec<Arc<str>> {
        self.edits.iter().filter(|edit| is_of_embeddings(edit)).cloned().collect()
    }

    /// Adds to the last stage's duration the time of computations that it shares with other runs.
    pub(in crate::pipeline) fn add_time(&mut self, took: Duration) {
        // A shared record is not that of the stage that just ran.
        if let Some(record) = self.records.last_mut().and_then(Arc::get_mut) {
            record.took += took;
        }
    }

    /// Subtracts from the last stage's duration the time that it waited for the user.
    pub fn subtract_time(&mut self, waited: Duration) {
        // A shared record is not that of the stage that just ran.
        if let Some(record) = self.records.last_mut().and_then(Arc::get_mut) {
            record.took = record.took.saturating_sub(waited);
        }
    }

    fn require(&self, name: &str) -> Result<&Tensor, Error> {
        let missing = || crate::nn::Error::Input(tr!("{name} does not exist yet", name)).into();
        self.tensor(name).map(|(_, tensor)| tensor).ok_or_else(missing)
    }
}

/// An edit begins with the name of its tensor.
fn is_of_embeddings(edit: &str) -> bool {
    ["prompt_embeds", "negative_prompt_embeds"].iter().any(|name| edit.starts_with(name))
}

//! A recorded stage as an interface shows it: plain numbers and pictures.
//!
//! - [`row`]: the row of a tensor in a table.
//! - [`prompts`]: the prompts of `encode_prompt`, as tokens.
//! - [`pictures`]: which tensors of a stage have pictures, and how those are made.

pub mod pictures;
pub mod prompts;
pub mod row;

pub use pictures::{ResidualScales, decodable, picture, shown};
pub use prompts::PromptView;
pub use row::TensorRow;

use super::backend::ModelInfo;
use crate::picture::Picture;
use crate::pipeline::{Stage, StageRecord};
use crate::scheduler::StepFormulas;
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// What a stage made.
#[derive(Debug)]
pub struct RecordView {
    /// No other record has this number.
    pub id: RecordId,
    /// The stage.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
    /// The scale that a step of `denoise` was guided with.
    pub guidance_scale: f64,
    /// Whether the scale was an input of the UNet, as in a latent consistency model, and is no factor.
    pub is_scale_input: bool,
    /// What the scheduler took a residual for: `epsilon`, `v_prediction`, `sample`.
    pub prediction_type: &'static str,
    /// Whether the scheduler keeps `pred_original_sample` within bounds.
    pub is_bounded: bool,
    /// Its tensors that were changed by hand afterwards.
    pub edited: Vec<&'static str>,
    /// The numbers and formulas of a step of `denoise`.
    pub step: Option<Arc<StepFormulas>>,
    /// The factor that brings its latents to the scale of all schedulers: see [`StageRecord::latents_scale`].
    pub latents_scale: f64,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// Its tensors, with their values.
    pub tensors: Vec<TensorView>,
    /// Of a step of `denoise`, `pred_original_sample` as it would be from one residual alone:
    /// `pred_original_sample.uncond` and `pred_original_sample.text`.
    pub x0_predictions: Vec<TensorView>,
    /// Of `encode_prompt`, the prompt and the negative prompt.
    pub prompts: Vec<PromptView>,
    /// Pictures of them that need no model.
    pub pictures: Vec<NamedPicture>,
    /// The residuals again, on the scale of the largest.
    pub on_one_scale: Vec<NamedPicture>,
    /// The scales of the residuals.
    pub residual_scales: ResidualScales,
}

/// The number of a record: a record of a stage that ran again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId(pub usize);

impl RecordView {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorView> {
        self.tensors.iter().chain(&self.x0_predictions).find(|tensor| tensor.row.name == name)
    }

    /// What a comparison of runs looks at: the latents, brought to one scale, or the image, or before both the embeddings.
    pub fn compared(&self) -> Option<Cow<'_, PlainTensor>> {
        let Some(latents) = self.tensor("latents") else {
            let made = self.tensor("image").or_else(|| self.tensor("prompt_embeds"));
            return made.map(|made| Cow::Borrowed(&made.values));
        };
        if self.latents_scale == 1. {
            return Some(Cow::Borrowed(&latents.values));
        }
        let scaled = latents.values.data().iter().map(|value| value * self.latents_scale as f32).collect();
        PlainTensor::from_values(latents.values.shape(), scaled).map(Cow::Owned)
    }

    /// The picture of that name.
    pub fn picture(&self, name: &str) -> Option<&NamedPicture> {
        self.pictures.iter().find(|picture| picture.name == name)
    }
}

/// A tensor with its row in the table.
#[derive(Debug, Clone)]
pub struct TensorView {
    /// Name, shape and statistics.
    pub row: TensorRow,
    /// The values.
    pub values: PlainTensor,
}

/// A picture of a tensor.
#[derive(Debug, Clone)]
pub struct NamedPicture {
    /// The tensor's name: one of [`shown`] or [`decodable`].
    pub name: &'static str,
    /// The picture.
    pub picture: Picture,
}

impl RecordView {
    /// The view of a record; `before` are the latents that its stage began with.
    pub(in crate::debugger) fn of(
        record: &StageRecord,
        before: Option<&Tensor>,
        id: RecordId,
        models: &ModelInfo,
    ) -> candle_core::Result<Self> {
        let tensors = record.tensors.iter().map(|(name, tensor)| TensorView::of(name, record.stage, tensor));
        let tensors = tensors.collect::<candle_core::Result<Vec<_>>>()?;
        let mut x0_predictions = vec![];
        for (name, tensor) in pictures::x0_predictions(record, before)? {
            x0_predictions.push(TensorView::of(name, record.stage, &tensor)?);
        }
        let pictures = pictures::of(record.stage, &tensors, &x0_predictions, models);
        let (on_one_scale, residual_scales) = pictures::on_one_scale(&tensors);
        Ok(Self {
            id,
            stage: record.stage,
            took: record.took,
            guidance_scale: record.guidance_scale,
            is_scale_input: models.takes_guidance_scale,
            prediction_type: record.scheduler.config().prediction_type.name(),
            is_bounded: record.scheduler.config().is_bounded(),
            edited: record.edited.clone(),
            step: record.step.clone(),
            latents_scale: record.latents_scale(),
            warnings: record.warnings.clone(),
            prompts: prompts::of(record, &tensors, models.tokenizer.as_deref()),
            tensors,
            x0_predictions,
            pictures,
            on_one_scale,
            residual_scales,
        })
    }
}

impl TensorView {
    fn of(name: &str, stage: Stage, tensor: &Tensor) -> candle_core::Result<Self> {
        let values = PlainTensor::of(tensor)?;
        Ok(Self { row: TensorRow::new(name, Some(stage), &values), values })
    }
}

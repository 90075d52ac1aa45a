//! The metrics of a variant's step.

use crate::pipeline::StageRecord;
use crate::tensor::PlainTensor;
use crate::tensor::compare::{cosine, relative_difference};
use candle_core::Tensor;
use serde::Serialize;

/// The numbers of what a stage made; those that the stage has not are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StepMetrics {
    /// The standard deviation of the latents; of `vae_decode`, of the picture.
    pub std: Option<f64>,
    /// ‖`uncond_residual`‖.
    pub uncond_norm: Option<f64>,
    /// ‖`text_cond_residual`‖.
    pub text_norm: Option<f64>,
    /// The cosine of the angle between both residuals.
    pub cosine: Option<f64>,
}

/// A variant after a tick, as a table has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantRow {
    /// Its timeline.
    pub timeline: String,
    /// Its value of each axis.
    pub values: Vec<String>,
    /// The stage that it did last; empty at the start.
    pub stage: String,
    /// The numbers of that stage.
    #[serde(flatten)]
    pub figures: StepMetrics,
    /// ‖latents − the base's‖ / ‖the base's‖, of the picture after `vae_decode`.
    pub difference: Option<f64>,
}

impl StepMetrics {
    /// The figures of tensors that `values` finds by their names.
    pub fn of(values: impl Fn(&str) -> Option<PlainTensor>) -> Self {
        let made = values("latents").or_else(|| values("image"));
        let (uncond, text) = (values("uncond_residual"), values("text_cond_residual"));
        let norm = |tensor: &PlainTensor| {
            tensor.data().iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
        };
        Self {
            std: made.map(|made| crate::tensor::Summary::from(&made).std),
            uncond_norm: uncond.as_ref().map(norm),
            text_norm: text.as_ref().map(norm),
            cosine: uncond.zip(text).map(|(uncond, text)| cosine(text.data(), uncond.data())),
        }
    }

    /// The figures of a record.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn of_record(record: &StageRecord) -> candle_core::Result<Self> {
        let mut tensors = vec![];
        for (name, tensor) in &record.tensors {
            if ["latents", "image", "uncond_residual", "text_cond_residual"].contains(name) {
                tensors.push((*name, PlainTensor::of(tensor)?));
            }
        }
        Ok(Self::of(|name| tensors.iter().find(|(known, _)| *known == name).map(|(_, t)| t.clone())))
    }
}

/// How far what a record made is from what the base's made: of pictures, of latents, brought to one scale, or of the embeddings. `None`
/// where they have not the same shape, or none.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub fn difference(record: &StageRecord, base: &StageRecord) -> candle_core::Result<Option<f64>> {
    for name in ["latents", "image", "prompt_embeds"] {
        if let (Some(ours), Some(theirs)) = (record.tensor(name), base.tensor(name)) {
            if ours.dims() != theirs.dims() {
                return Ok(None);
            }
            let scaled = |tensor: &Tensor, record: &StageRecord| match name {
                "latents" if record.sigma.is_some() => PlainTensor::of(&(tensor * record.latents_scale())?),
                _ => PlainTensor::of(tensor),
            };
            let (ours, theirs) = (scaled(ours, record)?, scaled(theirs, base)?);
            return Ok(Some(relative_difference(ours.data(), theirs.data())));
        }
    }
    Ok(None)
}

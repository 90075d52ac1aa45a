//! Of which tensors a stage has pictures, and how they are made.

use super::{NamedPicture, RecordView, TensorView};
use crate::debugger::backend::ModelInfo;
use crate::picture::timemap::{TOLERANCE, TimeMap};
use crate::picture::{Picture, decoded, latents, residual};
use crate::pipeline::{Stage, StageRecord};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::sync::Arc;
use tr::tr;

/// The residuals of a step, with what is between them.
const RESIDUALS: [&str; 4] = ["uncond_residual", "text_cond_residual", "difference", "guided_noise_residual"];

/// The names of the pictures that a stage is shown by at a glance, in order.
pub fn shown(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::EncodePrompt => &[],
        Stage::GetLatent => &["init_image", "latents"],
        Stage::Denoise { .. } => {
            &["latents", "pred_original_sample", "uncond_residual", "text_cond_residual"]
        }
        Stage::VaeDecode => &["image", "timemap"],
    }
}

/// The names of all pictures of a stage. `timemap` is from which step on each pixel stays; `latents.channels` is the channels in gray, `difference` is
/// `text_cond_residual` − `uncond_residual`.
pub fn all(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::EncodePrompt => &[],
        Stage::GetLatent => &["init_image", "init_latents", "noise", "latents", "latents.channels"],
        Stage::Denoise { .. } => &[
            "latents",
            "latents.channels",
            "pred_original_sample",
            "pred_original_sample.uncond",
            "pred_original_sample.text",
            "uncond_residual",
            "text_cond_residual",
            "difference",
            "guided_noise_residual",
        ],
        Stage::VaeDecode => &["image", "timemap"],
    }
}

/// The pictures that the VAE can make better, once there is time.
pub fn decodable(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::GetLatent => &["latents", "init_latents"],
        Stage::Denoise { .. } => {
            &["pred_original_sample", "latents", "pred_original_sample.uncond", "pred_original_sample.text"]
        }
        Stage::EncodePrompt | Stage::VaeDecode => &[],
    }
}

/// `pred_original_sample` (x̂₀) of a step from each residual alone; that of the guided residual is recorded. `before` are the
/// latents before the step. Empty for other stages.
///
/// # Errors
/// The device's.
pub fn x0_predictions(
    record: &StageRecord,
    before: Option<&Tensor>,
) -> candle_core::Result<Vec<(&'static str, Tensor)>> {
    let (Some(step), Some(before)) = (&record.step, before) else { return Ok(vec![]) };
    let mut x0_predictions = vec![];
    for (name, residual) in [
        ("pred_original_sample.uncond", "uncond_residual"),
        ("pred_original_sample.text", "text_cond_residual"),
    ] {
        if let Some(residual) = record.tensor(residual) {
            let config = record.scheduler.config();
            let predicted = step.pred_original_sample(config, before, residual)?;
            x0_predictions.extend(predicted.map(|predicted| (name, predicted)));
        }
    }
    Ok(x0_predictions)
}

/// Every picture of a stage that needs no model.
pub(in crate::debugger) fn of(
    stage: Stage,
    tensors: &[TensorView],
    x0_predictions: &[TensorView],
    models: &ModelInfo,
) -> Vec<NamedPicture> {
    let difference = difference(tensors);
    let values = |name: &str| match name {
        "difference" => difference.as_ref(),
        "latents.channels" => find(tensors, "latents"),
        _ => find(tensors, name).or_else(|| find(x0_predictions, name)),
    };
    let scales = ResidualScales::of(&values);
    let draw = |name: &&'static str| {
        let values = values(name)?;
        let picture = match *name {
            "latents.channels" => latents::channels(values),
            name if RESIDUALS.contains(&name) => scales.draw(name, values),
            name => picture(name, values, models),
        };
        picture.map(|picture| NamedPicture { name, picture })
    };
    all(stage).iter().filter_map(draw).collect()
}

/// The residuals of a step and their difference, all on the scale of the largest, and the scale of each.
pub(in crate::debugger) fn on_one_scale(tensors: &[TensorView]) -> (Vec<NamedPicture>, ResidualScales) {
    let difference = difference(tensors);
    let values = |name: &str| match name {
        "difference" => difference.as_ref(),
        _ => find(tensors, name),
    };
    let scales = ResidualScales::of(&values);
    let draw = |name: &&'static str| {
        let picture = residual::diverging(values(name)?, scales.largest())?;
        Some(NamedPicture { name, picture })
    };
    (RESIDUALS.iter().filter_map(draw).collect(), scales)
}

/// How far the residuals of a step reach from zero: the ends of the scales that they are drawn on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ResidualScales {
    /// `uncond_residual` and `text_cond_residual` together, so that the two can be compared.
    pub pair: f32,
    /// `text_cond_residual` − `uncond_residual`.
    pub difference: f32,
    /// `guided_noise_residual`.
    pub guided: f32,
}

impl ResidualScales {
    fn of<'a>(values: &impl Fn(&str) -> Option<&'a PlainTensor>) -> Self {
        let reach = |name: &str| values(name).map_or(0., residual::reach);
        let pair = reach("uncond_residual").max(reach("text_cond_residual"));
        Self { pair, difference: reach("difference"), guided: reach("guided_noise_residual") }
    }

    /// The scale of the residual of that name.
    pub fn reach(&self, name: &str) -> f32 {
        match name {
            "difference" => self.difference,
            "guided_noise_residual" => self.guided,
            _ => self.pair,
        }
    }

    /// The scale that all of them fit on.
    pub fn largest(&self) -> f32 {
        self.pair.max(self.difference).max(self.guided)
    }

    /// How many times as far as `reach` the guided residual reaches; `None` where that is no number.
    pub fn guided_to(&self, reach: f32) -> Option<f32> {
        Some(self.guided / reach).filter(|factor| factor.is_finite() && *factor > 0.)
    }

    /// A residual on its own scale. The label has the end of the scale, and the factor to the guided residual.
    fn draw(&self, name: &str, values: &PlainTensor) -> Option<Picture> {
        let reach = self.reach(name);
        let picture = residual::diverging(values, reach)?;
        let label = match self.guided_to(reach) {
            Some(factor) if name != "guided_noise_residual" => {
                tr!("{reach}; guided {factor} × that", reach = end(reach), factor = format!("{factor:.1}"))
            }
            _ => return Some(picture),
        };
        Some(Picture { label, ..picture })
    }
}

/// The end of a scale: `±2.31`, and `±1.2e-3` where two decimals say too little.
pub fn end(reach: f32) -> String {
    if reach == 0. || reach >= 0.1 { format!("±{reach:.2}") } else { format!("±{reach:.1e}") }
}

/// From which step on each pixel stays as the last of `records` predicts it: the steps of `denoise`, in order.
pub(in crate::debugger) fn timemap(records: &[Arc<RecordView>]) -> Option<NamedPicture> {
    let predicted = |record: &'_ Arc<RecordView>| match record.stage {
        Stage::Denoise { step } => Some((step, record.tensor("pred_original_sample")?.values.clone())),
        _ => None,
    };
    let (steps, predicted): (Vec<usize>, Vec<PlainTensor>) = records.iter().filter_map(predicted).unzip();
    let map = TimeMap::of(&predicted.iter().collect::<Vec<_>>(), TOLERANCE)?;
    Some(NamedPicture { name: "timemap", picture: map.picture(&steps) })
}

/// The instant picture of the tensor `name`; `None` where its shape is no picture's.
pub fn picture(name: &str, values: &PlainTensor, models: &ModelInfo) -> Option<Picture> {
    match name.split('.').next() {
        Some("image") => decoded::picture(values),
        Some("init_image") => decoded::picture(values)
            .map(|picture| Picture { label: tr!("what the run starts from"), ..picture }),
        Some("latents" | "init_latents" | "noise" | "pred_original_sample") => {
            latents::estimate(values, models.latent_rgb_factors.as_ref())
        }
        _ => residual::diverging(values, residual::reach(values)),
    }
}

fn find<'a>(tensors: &'a [TensorView], name: &str) -> Option<&'a PlainTensor> {
    tensors.iter().find(|tensor| tensor.row.name == name).map(|tensor| &tensor.values)
}

/// How far the prompt moved the prediction: `text_cond_residual` − `uncond_residual`.
fn difference(tensors: &[TensorView]) -> Option<PlainTensor> {
    let (text, uncond) = (find(tensors, "text_cond_residual")?, find(tensors, "uncond_residual")?);
    let values = text.data().iter().zip(uncond.data()).map(|(text, uncond)| text - uncond).collect();
    PlainTensor::from_values(text.shape(), values)
}

//! All that an interface shows of the moment, as plain numbers and pictures.

use super::report::TensorRow;
use super::session::Session;
use crate::nn::device;
use crate::picture::{Picture, decoded, latents, residual};
use crate::pipeline::{Models, Request, Stage, StageRecord};
use crate::scheduler::ddim::Coefficients;
use crate::tensor::PlainTensor;
use std::time::Duration;

/// The state of a session, for an interface.
#[derive(Debug, Clone)]
pub struct View {
    /// The settings at the cursor.
    pub request: Request,
    /// Every stage of the run.
    pub stages: Vec<StageLine>,
    /// How many stages are done at the cursor: the index in `stages` of the one that runs next.
    pub cursor: usize,
    /// How many stages are recorded.
    pub recorded: usize,
    /// The stage that runs next at the cursor; `None` when the run is complete there.
    pub position: Option<Stage>,
    /// What the stage before the cursor made.
    pub record: Option<RecordView>,
}

/// A stage of the run.
#[derive(Debug, Clone)]
pub struct StageLine {
    /// Which.
    pub stage: Stage,
    /// How long it took; `None` when it has not run.
    pub took: Option<Duration>,
    /// Whether a breakpoint is there.
    pub has_breakpoint: bool,
}

/// What a stage made.
#[derive(Debug, Clone)]
pub struct RecordView {
    /// The stage.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
    /// The numbers of a step of `denoise`.
    pub coefficients: Option<Coefficients>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// Its tensors, with their values.
    pub tensors: Vec<TensorView>,
    /// Pictures of some of them, at once.
    pub pictures: Vec<NamedPicture>,
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
    /// The tensor's name.
    pub name: &'static str,
    /// The picture.
    pub picture: Picture,
}

/// What a title line says of the models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLine {
    /// Where they came from: `pocket`, or a folder.
    pub name: String,
    /// `cpu`, `cuda:0`, `metal`.
    pub device: String,
    /// The dtype that they compute in.
    pub dtype: &'static str,
    /// What a residual is: `epsilon`, `v_prediction`, `sample`.
    pub prediction_type: &'static str,
    /// What a reader should know of the checkpoint.
    pub notes: Vec<String>,
}

impl From<&Models> for ModelLine {
    fn from(models: &Models) -> Self {
        Self {
            name: models.source.to_string(),
            device: device::name(&models.device),
            dtype: models.dtype.as_str(),
            prediction_type: models.scheduler.prediction_type.name(),
            notes: models.notes.clone(),
        }
    }
}

/// The view of a session.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub(super) fn of(session: &Session) -> candle_core::Result<View> {
    let timeline = session.timeline();
    let here = timeline.here();
    let steps = here.request().num_inference_steps;
    let ran = timeline.tip().records();
    let line = |index: usize| {
        let stage = Stage::at(index, steps)?;
        let has_breakpoint = session.breakpoints().list().iter().any(|b| b.place.is_at(stage));
        Some(StageLine { stage, took: ran.get(index).map(|record| record.took), has_breakpoint })
    };
    Ok(View {
        request: here.request().clone(),
        stages: (0..).map_while(line).collect(),
        cursor: timeline.cursor(),
        recorded: timeline.recorded(),
        position: here.position(),
        record: here.last().map(|record| RecordView::of(record, session.models())).transpose()?,
    })
}

impl RecordView {
    fn of(record: &StageRecord, models: &Models) -> candle_core::Result<Self> {
        let mut tensors = vec![];
        for (name, tensor) in &record.tensors {
            let values = PlainTensor::of(tensor)?;
            tensors.push(TensorView { row: TensorRow::new(name, Some(record.stage), &values), values });
        }
        Ok(Self {
            stage: record.stage,
            took: record.took,
            coefficients: record.coefficients,
            warnings: record.warnings.clone(),
            pictures: pictures(record, &tensors, models),
            tensors,
        })
    }
}

/// The names of the pictures that a stage is shown by, in order.
pub fn shown(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::EncodePrompt => &[],
        Stage::GetLatent => &["latents"],
        Stage::Denoise { .. } => {
            &["latents", "pred_original_sample", "uncond_residual", "text_cond_residual"]
        }
        Stage::VaeDecode => &["image"],
    }
}

/// The pictures that the VAE can make better, once there is time.
pub fn decodable(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::GetLatent => &["latents"],
        Stage::Denoise { .. } => &["pred_original_sample", "latents"],
        Stage::EncodePrompt | Stage::VaeDecode => &[],
    }
}

fn pictures(record: &StageRecord, tensors: &[TensorView], models: &Models) -> Vec<NamedPicture> {
    let values = |name: &str| tensors.iter().find(|t| t.row.name == name).map(|t| &t.values);
    // Both residuals on one scale, so that they can be compared.
    let reach = ["uncond_residual", "text_cond_residual"].iter().filter_map(|name| values(name));
    let reach = reach.map(residual::reach).fold(0., f32::max);
    let draw = |name: &&'static str| {
        let picture = match *name {
            "uncond_residual" | "text_cond_residual" => residual::diverging(values(name)?, reach),
            _ => picture(name, values(name)?, models),
        };
        picture.map(|picture| NamedPicture { name, picture })
    };
    shown(record.stage).iter().filter_map(draw).collect()
}

/// The instant picture of the tensor `name`; `None` where its shape is no picture's.
pub fn picture(name: &str, values: &PlainTensor, models: &Models) -> Option<Picture> {
    match name {
        "image" => decoded::picture(values),
        "latents" | "pred_original_sample" => latents::estimate(values, models.latent_rgb_factors.as_ref()),
        _ => residual::diverging(values, residual::reach(values)),
    }
}

//! All that an interface shows of the moment, as plain numbers and pictures.

use super::report::TensorRow;
use super::session::Session;
use crate::nn::device;
use crate::picture::{Picture, decoded, latents, residual};
use crate::pipeline::{Models, Request, Stage, StageRecord};
use crate::scheduler::ddim::Coefficients;
use crate::tensor::PlainTensor;
use std::sync::Arc;
use std::time::Duration;

/// The state of a session, for an interface. Cheap to clone and to make: records are shared.
#[derive(Debug, Clone)]
pub struct View {
    /// The settings at the cursor.
    pub request: Request,
    /// The scheduler's tables of this run.
    pub schedule: Arc<ScheduleView>,
    /// Every stage of the run.
    pub stages: Vec<StageLine>,
    /// How many stages are done at the cursor: the index in `stages` of the one that runs next.
    pub cursor: usize,
    /// The stage that runs next at the cursor; `None` when the run is complete there.
    pub position: Option<Stage>,
    /// What every recorded stage made, up to the tip: as many as are recorded.
    pub records: Vec<Arc<RecordView>>,
}

/// The scheduler's tables of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScheduleView {
    /// ᾱ at each timestep that the model was trained on.
    pub alphas_cumprod: Vec<f32>,
    /// The timesteps that the run visits, the first first.
    pub timesteps: Vec<usize>,
}

impl View {
    /// How many stages are recorded.
    pub fn recorded(&self) -> usize {
        self.records.len()
    }

    /// What the stage before the cursor made.
    pub fn record(&self) -> Option<&Arc<RecordView>> {
        self.records.get(self.cursor.checked_sub(1)?)
    }

    /// Every tensor there is at the cursor, the newest of each name, those of the newest stage first, each with the
    /// stage that made it.
    pub fn tensors(&self) -> Vec<(Stage, &TensorView)> {
        let mut tensors: Vec<(Stage, &TensorView)> = vec![];
        for record in self.records[..self.cursor.min(self.records.len())].iter().rev() {
            for tensor in &record.tensors {
                if !tensors.iter().any(|(_, known)| known.row.name == tensor.row.name) {
                    tensors.push((record.stage, tensor));
                }
            }
        }
        tensors
    }

    /// The tensor of that name as it was before the stage that made the newest one: what it changed from.
    pub fn tensor_before(&self, name: &str) -> Option<&TensorView> {
        let records = self.records.get(..self.cursor)?;
        records.iter().rev().filter_map(|record| record.tensor(name)).nth(1)
    }
}

/// A stage of the run.
#[derive(Debug, Clone)]
pub struct StageLine {
    /// Which.
    pub stage: Stage,
    /// How long it took; `None` when it has not run.
    pub took: Option<Duration>,
    /// The number of a breakpoint that is there.
    pub breakpoint: Option<usize>,
}

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
    /// The numbers of a step of `denoise`.
    pub coefficients: Option<Coefficients>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// Its tensors, with their values.
    pub tensors: Vec<TensorView>,
    /// Pictures of them that need no model.
    pub pictures: Vec<NamedPicture>,
}

/// The number of a record: a record of a stage that ran again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId(pub usize);

impl RecordView {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorView> {
        self.tensors.iter().find(|tensor| tensor.row.name == name)
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

/// The records of a session as an interface has them, each made once.
#[derive(Debug, Default)]
pub(super) struct RecordViews {
    known: Vec<(Arc<StageRecord>, Arc<RecordView>)>,
    made: usize,
}

impl RecordViews {
    /// The views of `records`; others are forgotten.
    fn of(
        &mut self,
        records: &[Arc<StageRecord>],
        models: &Models,
    ) -> candle_core::Result<Vec<Arc<RecordView>>> {
        let mut known = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            // They mostly stand where they stood.
            let same = self.known.get(index).filter(|(known, _)| Arc::ptr_eq(known, record));
            let view = match same.or_else(|| self.known.iter().find(|(known, _)| Arc::ptr_eq(known, record)))
            {
                Some((_, view)) => Arc::clone(view),
                None => {
                    self.made += 1;
                    Arc::new(RecordView::of(record, RecordId(self.made), models)?)
                }
            };
            known.push((Arc::clone(record), view));
        }
        self.known = known;
        Ok(self.known.iter().map(|(_, view)| Arc::clone(view)).collect())
    }

    /// The record that has this number in the last view.
    pub(super) fn find(&self, id: RecordId) -> Option<Arc<StageRecord>> {
        let mut known = self.known.iter();
        known.find(|(_, view)| view.id == id).map(|(record, _)| Arc::clone(record))
    }
}

/// The view of a session.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub(super) fn of(session: &Session, views: &mut RecordViews) -> candle_core::Result<View> {
    let timeline = session.timeline();
    let here = timeline.here();
    let steps = here.request().num_inference_steps;
    // A prompt that was changed since is encoded anew at the tip; here it is still the old one.
    let ahead = timeline.tip().records().get(timeline.cursor()..).unwrap_or_default();
    let ran = [here.records(), ahead].concat();
    let line = |index: usize| {
        let stage = Stage::at(index, steps)?;
        let breakpoint = session.breakpoints().list().iter().find(|b| b.place.is_at(stage)).map(|b| b.id);
        Some(StageLine { stage, took: ran.get(index).map(|record| record.took), breakpoint })
    };
    Ok(View {
        request: here.request().clone(),
        stages: (0..).map_while(line).collect(),
        schedule: Arc::new(ScheduleView {
            alphas_cumprod: here.scheduler().alphas_cumprod().into(),
            timesteps: here.scheduler().timesteps().into(),
        }),
        cursor: timeline.cursor(),
        position: here.position(),
        records: views.of(&ran, session.models())?,
    })
}

impl RecordView {
    fn of(record: &StageRecord, id: RecordId, models: &Models) -> candle_core::Result<Self> {
        let mut tensors = vec![];
        for (name, tensor) in &record.tensors {
            let values = PlainTensor::of(tensor)?;
            tensors.push(TensorView { row: TensorRow::new(name, Some(record.stage), &values), values });
        }
        Ok(Self {
            id,
            stage: record.stage,
            took: record.took,
            guidance_scale: record.guidance_scale,
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

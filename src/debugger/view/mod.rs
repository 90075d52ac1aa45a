//! All that an interface shows of the moment, as plain numbers and pictures.
//!
//! - [`pictures`]: of which tensors a stage has pictures, and how they are made.
//! - [`prompt`]: the tokens of a prompt.
//! - [`runs`]: timelines beside each other: the tree of them, and those that are compared.

pub mod pictures;
pub mod prompt;
pub mod runs;

pub use pictures::{decodable, picture, shown};
pub use prompt::{PromptView, TokenKind, TokenView};
pub use runs::{ComparisonView, TimelineView, VariantView};

use super::command::Previewing;
use super::inside::{Inside, Moment};
use super::pattern::Pattern;
use super::report::{Displayed, TensorRow};
use super::session::{Session, frame};
use super::source::Function;
use super::timelines::Timelines;
use crate::model::anatomy::Module;
use crate::nn::device;
use crate::picture::Picture;
use crate::pipeline::{Models, Request, Stage, StageRecord};
use crate::scheduler::ddim::Coefficients;
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::collections::{HashMap, HashSet};
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
    /// Where a stage that is stepped through waits.
    pub inside: Option<InsideView>,
    /// The breakpoints at modules, each with its number.
    pub module_breakpoints: Vec<(usize, Pattern)>,
    /// What is displayed after every stop.
    pub displays: Vec<Displayed>,
    /// Of which steps the VAE shall make pictures.
    pub previewing: Previewing,
    /// What every recorded stage made, up to the tip: as many as are recorded.
    pub records: Vec<Arc<RecordView>>,
    /// Every timeline, below the one that it branched off.
    pub timelines: Vec<TimelineView>,
    /// The timelines that are compared, when they are looked at: the base is what all else here is of.
    pub comparison: Option<ComparisonView>,
}

/// A stage that waits before one of its lines or modules, or behind one.
#[derive(Debug, Clone)]
pub struct InsideView {
    /// The stage.
    pub stage: Stage,
    /// The line at hand, which runs next or is running: `denoise.unet`.
    pub line: &'static str,
    /// The module at hand, within the line: `unet.mid_block`.
    pub module: Option<String>,
    /// Whether the piece at hand ran.
    pub ran: bool,
    /// What it is in, the outermost first: the stage, the line, the modules down to the one at hand.
    pub frames: Vec<String>,
    /// Where the piece at hand is called: the function, and the row in it.
    pub call: Option<(Function, usize)>,
    /// What the module at hand is given, behind what the one made that was passed last; nothing at a line.
    pub given: Vec<TensorRow>,
    /// What is known in the code around the piece at hand, the newest first.
    pub values: Vec<TensorRow>,
}

impl InsideView {
    fn of(inside: &Inside) -> candle_core::Result<Self> {
        let row = |(name, tensor): (&str, Tensor)| Ok(TensorRow::new(name, None, &PlainTensor::of(&tensor)?));
        // In the code around a module its inputs have other names.
        let values = if inside.module.is_some() { inside.outer.clone() } else { inside.values() };
        let values = values.into_iter().map(row).collect::<candle_core::Result<_>>()?;
        Ok(Self {
            stage: inside.stage,
            line: inside.line,
            module: inside.module.as_ref().map(ToString::to_string),
            ran: inside.moment == Moment::After,
            frames: frame::frames(inside),
            call: frame::call(inside),
            given: frame::given(inside)?,
            values,
        })
    }
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

    /// Where its reader looks: how many stages are done there, of a comparison how many ticks.
    pub fn place(&self) -> usize {
        self.comparison.as_ref().map_or(self.cursor, |comparison| comparison.tick)
    }

    /// The last place that can be looked at: behind it nothing is recorded.
    pub fn last_place(&self) -> usize {
        self.comparison.as_ref().map_or(self.recorded(), |comparison| comparison.recorded)
    }

    /// How many places there are beside the start.
    pub fn places(&self) -> usize {
        self.comparison.as_ref().map_or(self.stages.len(), ComparisonView::ticks)
    }

    /// The first place where so many stages are done.
    pub fn place_of(&self, done: usize) -> usize {
        self.comparison.as_ref().map_or(done, |comparison| comparison.tick_of(done))
    }

    /// How many stages are done at a place.
    pub fn done_at(&self, place: usize) -> usize {
        self.comparison.as_ref().map_or(place, |comparison| comparison.done(place))
    }

    /// What the stage before the cursor made.
    pub fn record(&self) -> Option<&Arc<RecordView>> {
        self.records.get(self.cursor.checked_sub(1)?)
    }

    /// Every tensor there is where `done` stages are done, the newest of each name, those of the newest stage first,
    /// each with the record that it is in.
    pub fn tensors(&self, done: usize) -> Vec<(&RecordView, &TensorView)> {
        let mut tensors: Vec<(&RecordView, &TensorView)> = vec![];
        for record in self.records[..done.min(self.records.len())].iter().rev() {
            for tensor in &record.tensors {
                if !tensors.iter().any(|(_, known)| known.row.name == tensor.row.name) {
                    tensors.push((record, tensor));
                }
            }
        }
        tensors
    }

    /// The tensor of that name as it was before the stage that made the newest one where `done` stages are done: what
    /// it changed from.
    pub fn tensor_before(&self, name: &str, done: usize) -> Option<&TensorView> {
        let records = self.records.get(..done)?;
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
    /// What the scheduler took a residual for: `epsilon`, `v_prediction`, `sample`.
    pub prediction_type: &'static str,
    /// Whether the scheduler keeps `pred_original_sample` within bounds.
    pub is_bounded: bool,
    /// Its tensors that were changed by hand afterwards.
    pub edited: Vec<&'static str>,
    /// The numbers of a step of `denoise`.
    pub coefficients: Option<Coefficients>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// Its tensors, with their values.
    pub tensors: Vec<TensorView>,
    /// Of a step of `denoise`, `pred_original_sample` as it would be from one residual alone:
    /// `pred_original_sample.uncond` and `pred_original_sample.text`.
    pub futures: Vec<TensorView>,
    /// Of `encode_prompt`, the prompt and the negative prompt.
    pub prompts: Vec<PromptView>,
    /// Pictures of them that need no model.
    pub pictures: Vec<NamedPicture>,
}

/// The number of a record: a record of a stage that ran again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId(pub usize);

impl RecordView {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorView> {
        self.tensors.iter().chain(&self.futures).find(|tensor| tensor.row.name == name)
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
    /// The scheduler that the checkpoint was saved with, in whose place DDIM stands: `PNDM`.
    pub stands_in_for: Option<String>,
    /// What a reader should know of the checkpoint.
    pub notes: Vec<String>,
    /// What a reader is told of the run at its start, which warns of nothing.
    pub remarks: Vec<String>,
    /// The modules of the models, as a tree.
    pub anatomy: Arc<[Module]>,
}

impl From<&Models> for ModelLine {
    fn from(models: &Models) -> Self {
        Self {
            name: models.source.to_string(),
            device: device::name(&models.device),
            dtype: models.dtype.as_str(),
            prediction_type: models.scheduler.prediction_type.name(),
            stands_in_for: models.stands_in_for.as_deref().map(|class| class.replace("Scheduler", "")),
            notes: models.notes.clone(),
            remarks: models.remarks.clone(),
            anatomy: Arc::clone(&models.anatomy),
        }
    }
}

/// The records of a session as an interface has them, each made once.
#[derive(Debug, Default)]
pub(super) struct RecordViews {
    /// By where a record is, which is held, so that no other comes to be there.
    known: HashMap<*const StageRecord, Known>,
    made: usize,
}

/// A record with what it is shown as.
#[derive(Debug)]
struct Known {
    record: Arc<StageRecord>,
    before: Option<Arc<StageRecord>>,
    view: Arc<RecordView>,
}

impl RecordViews {
    /// The views of the records of a run.
    fn of(
        &mut self,
        records: &[Arc<StageRecord>],
        models: &Models,
    ) -> candle_core::Result<Vec<Arc<RecordView>>> {
        let before = std::iter::once(None).chain(records.iter().map(Some));
        let mut views: Vec<Arc<RecordView>> = vec![];
        for (record, before) in records.iter().zip(before) {
            let key = Arc::as_ptr(record);
            if let Some(known) = self.known.get(&key) {
                views.push(Arc::clone(&known.view));
                continue;
            }
            self.made += 1;
            let latents = before.and_then(|before| before.tensor("latents"));
            let mut view = RecordView::of(record, latents, RecordId(self.made), models)?;
            if record.stage == Stage::VaeDecode {
                view.pictures.extend(pictures::timemap(&views));
            }
            let view = Arc::new(view);
            let known =
                Known { record: Arc::clone(record), before: before.cloned(), view: Arc::clone(&view) };
            self.known.insert(key, known);
            views.push(view);
        }
        Ok(views)
    }

    /// Forgets what is not in any of these runs.
    fn keep(&mut self, runs: &Timelines) {
        let snapshots = runs.list().iter().flat_map(|branch| branch.timeline.snapshots());
        let alive: HashSet<*const StageRecord> =
            snapshots.flat_map(|snapshot| snapshot.records()).map(Arc::as_ptr).collect();
        self.known.retain(|key, _| alive.contains(key));
    }

    /// The record that has this number, and the one before it.
    pub(super) fn find(&self, id: RecordId) -> Option<Found> {
        let known = self.known.values().find(|known| known.view.id == id)?;
        Some((Arc::clone(&known.record), known.before.clone()))
    }
}

/// A record, and the one before it.
pub(super) type Found = (Arc<StageRecord>, Option<Arc<StageRecord>>);

/// The view of a session.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub(super) fn of(session: &Session, views: &mut RecordViews) -> candle_core::Result<View> {
    let timeline = session.timeline();
    let here = timeline.here();
    let steps = here.request().steps();
    let ran = timeline.records();
    let line = |index: usize| {
        let stage = Stage::at(index, &steps)?;
        let breakpoint = session.breakpoints().list().iter().find(|b| b.place.is_at(stage)).map(|b| b.id);
        Some(StageLine { stage, took: ran.get(index).map(|record| record.took), breakpoint })
    };
    views.keep(session.timelines());
    Ok(View {
        request: here.request().clone(),
        stages: (0..).map_while(line).collect(),
        schedule: Arc::new(ScheduleView {
            alphas_cumprod: here.scheduler().alphas_cumprod().into(),
            timesteps: here.timesteps().into(),
        }),
        cursor: timeline.cursor(),
        position: here.position(),
        inside: session.inside().map(InsideView::of).transpose()?,
        module_breakpoints: session.breakpoints().at_modules(),
        displays: session.displayed(),
        previewing: session.previewing(),
        records: views.of(&ran, session.models())?,
        timelines: runs::timelines(session, views)?,
        comparison: runs::comparison(session, views)?,
    })
}

impl RecordView {
    /// The view of a record; `before` are the latents that its stage began with.
    fn of(
        record: &StageRecord,
        before: Option<&Tensor>,
        id: RecordId,
        models: &Models,
    ) -> candle_core::Result<Self> {
        let tensors = record.tensors.iter().map(|(name, tensor)| TensorView::of(name, record.stage, tensor));
        let tensors = tensors.collect::<candle_core::Result<Vec<_>>>()?;
        let mut futures = vec![];
        for (name, tensor) in pictures::futures(record, before)? {
            futures.push(TensorView::of(name, record.stage, &tensor)?);
        }
        let pictures = pictures::of(record.stage, &tensors, &futures, models);
        Ok(Self {
            id,
            stage: record.stage,
            took: record.took,
            guidance_scale: record.guidance_scale,
            prediction_type: record.scheduler.config().prediction_type.name(),
            is_bounded: record.scheduler.config().is_bounded(),
            edited: record.edited.clone(),
            coefficients: record.coefficients,
            warnings: record.warnings.clone(),
            prompts: prompt::of(record, &tensors, &models.tokenizer),
            tensors,
            futures,
            pictures,
        })
    }
}

impl TensorView {
    fn of(name: &str, stage: Stage, tensor: &Tensor) -> candle_core::Result<Self> {
        let values = PlainTensor::of(tensor)?;
        Ok(Self { row: TensorRow::new(name, Some(stage), &values), values })
    }
}

//! Everything that an interface shows of the moment, as plain numbers and pictures.
//!
//! - [`viewer`]: makes it, and remembers what it made. `names`: completions from what is on the screen.
//! - [`runs`]: the tree of timelines, and those that are compared.

mod names;
pub mod runs;
pub mod viewer;

pub use super::prompt::{TokenKind, TokenView};
pub use super::record::PromptView;
pub use super::record::pictures::{decodable, picture, shown};
pub use runs::{ComparisonView, TimelineView, VariantView};
pub use viewer::Viewer;

use super::backend::ModelInfo;
use super::inspect::difference::Difference;
use super::language::preview::PreviewPolicy;
use super::outcome::Displayed;
use super::record::TensorRow;
use super::record::{RecordView, TensorView};
use super::session::frame;
use super::source::Function;
use super::stepping::{HookPhase, PausedStage};
use crate::model::anatomy::Module;
use crate::nn::pattern::Pattern;
use crate::pipeline::{Request, Stage};
use crate::scheduler::Class;
use crate::tensor::PlainTensor;
use candle_core::Tensor;
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
    pub previewing: PreviewPolicy,
    /// What every recorded stage made, up to the tip: as many as are recorded.
    pub records: Vec<Arc<RecordView>>,
    /// Every timeline, below the one that it branched off.
    pub timelines: Vec<TimelineView>,
    /// The comparison that is shown, if any: everything else here is about its base.
    pub comparison: Option<ComparisonView>,
    /// A recorded run that was compared last.
    pub difference: Option<Arc<Difference>>,
}

/// A stage that is paused before or after one of its lines or modules.
#[derive(Debug, Clone)]
pub struct InsideView {
    /// The stage.
    pub stage: Stage,
    /// The current line, which runs next or is running: `denoise.unet`.
    pub line: &'static str,
    /// The current module, within the line: `unet.mid_block`.
    pub module: Option<String>,
    /// Whether the current line or module ran.
    pub ran: bool,
    /// The call stack, the outermost first: the stage, the line, the modules down to the current one.
    pub frames: Vec<String>,
    /// Where the current line or module is called: the function, and the row in it.
    pub call: Option<(Function, usize)>,
    /// The output of the module that ran last, then the inputs of the current module; nothing at a line.
    pub given: Vec<TensorRow>,
    /// The values in scope, the newest first.
    pub values: Vec<TensorRow>,
}

impl InsideView {
    fn of(inside: &PausedStage) -> candle_core::Result<Self> {
        let row = |(name, tensor): (&str, Tensor)| Ok(TensorRow::new(name, None, &PlainTensor::of(&tensor)?));
        // In the code around a module its inputs have other names.
        let values = if inside.module.is_some() { inside.outer.clone() } else { inside.values() };
        let values = values.into_iter().map(row).collect::<candle_core::Result<_>>()?;
        Ok(Self {
            stage: inside.stage,
            line: inside.line,
            module: inside.module.as_ref().map(ToString::to_string),
            ran: inside.moment == HookPhase::After,
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
    /// The timesteps that the run visits, in order.
    pub timesteps: Vec<f64>,
    /// Sigma at each of them, and of the result.
    pub sigmas: Vec<f32>,
    /// The calls of a whole run; with a start image the run visits the last ones.
    pub calls: usize,
    /// The scheduler's short name: `dpm++2m-karras`.
    pub name: String,
    /// Its class; `None` before there is a run.
    pub class: Option<Class>,
    /// `order`: how many calls of the UNet belong to a step.
    pub order: usize,
}

impl View {
    /// How many stages are recorded.
    pub fn recorded(&self) -> usize {
        self.records.len()
    }

    /// The place that is shown: the number of stages done there, in a comparison the number of ticks.
    pub fn place(&self) -> usize {
        self.comparison.as_ref().map_or(self.cursor, |comparison| comparison.tick)
    }

    /// The last recorded place.
    pub fn last_place(&self) -> usize {
        self.comparison.as_ref().map_or(self.recorded(), |comparison| comparison.recorded)
    }

    /// The number of places besides the start.
    pub fn places(&self) -> usize {
        self.comparison.as_ref().map_or(self.stages.len(), ComparisonView::ticks)
    }

    /// The first place after a number of stages.
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
    /// How long it took; `None` when it has not run here.
    pub took: Option<Duration>,
    /// The number of a breakpoint that is there.
    pub breakpoint: Option<usize>,
    /// Of a call of the UNet that is a part of a step, its place in that.
    pub part: Option<PartOfStep>,
}

/// The place of a call of the UNet among those of one step of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOfStep {
    /// The first.
    First,
    /// One between.
    Middle,
    /// The last.
    Last,
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
    /// Remarks on the run at its start, which are no warnings.
    pub remarks: Vec<String>,
    /// The modules of the models, as a tree.
    pub anatomy: Arc<[Module]>,
    /// Whether the run was recorded, and there are no weights.
    pub is_recorded: bool,
}

impl From<&ModelInfo> for ModelLine {
    fn from(models: &ModelInfo) -> Self {
        Self {
            name: models.name.clone(),
            device: models.device.clone(),
            dtype: models.dtype,
            prediction_type: models.scheduler.prediction_type.name(),
            stands_in_for: models.stands_in_for.as_deref().map(|class| class.replace("Scheduler", "")),
            notes: models.notes.clone(),
            remarks: models.remarks.clone(),
            anatomy: Arc::clone(&models.anatomy),
            is_recorded: models.is_recorded,
        }
    }
}

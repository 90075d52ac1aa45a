//! Every module of a stage: what it took, made, and how long that was.

use super::InspectError;
use crate::debugger::backend::{Backend, Recording};
use crate::debugger::replay;
use crate::debugger::source::module::is_piece;
use crate::model::anatomy::Module;
use crate::model::classes;
use crate::nn::{Path, Probe, Result};
use crate::pipeline;
use crate::pipeline::models::runs_in;
use crate::pipeline::{Request, Snapshot, Stage};
use crate::tensor::{PlainTensor, RunningSummary, Summary};
use crate::trace::RecordedCall;
use candle_core::Tensor;
use serde::Serialize;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A stage's modules, as they ran.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulesRun {
    /// The stage.
    pub stage: Stage,
    /// The modules, in the order in which they finished: each after the modules that it contains.
    pub modules: Vec<ModuleRun>,
}

/// A module that ran.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleRun {
    /// Its path.
    pub path: String,
    /// The shapes of its inputs.
    pub inputs: Vec<Vec<usize>>,
    /// The shape of its output.
    pub output: Vec<usize>,
    /// The dtype of its output.
    pub dtype: &'static str,
    /// How long it took with the modules below it. A module that is watched is computed plainly: without what else makes
    /// it fast. `None` where that was not measured: in a recorded run.
    pub took: Option<Duration>,
    /// The statistics of its output, over all rows.
    pub summary: Summary,
    /// How often it ran; the time is of all calls, the rest of the last.
    pub calls: usize,
}

/// A row of the table of modules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModuleRow {
    /// Its path.
    pub path: String,
    /// Its class in diffusers', transformers' or torch's words; empty where that is not known.
    pub class: &'static str,
    /// The numbers that its weights hold, with those of the modules below it; `None` if the weights are not known.
    pub parameters: Option<u64>,
    /// What it made, where it ran.
    #[serde(flatten)]
    pub made: Option<ModuleMade>,
}

/// What a module made, in a row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModuleMade {
    /// The shapes of its inputs.
    pub inputs: Vec<Vec<usize>>,
    /// The shape of its output.
    pub shape: Vec<usize>,
    /// The dtype of its output.
    pub dtype: &'static str,
    /// How long it took with the modules below it, where that was measured.
    pub milliseconds: Option<f64>,
    /// The statistics of its output.
    #[serde(flatten)]
    pub summary: Summary,
}

impl From<&Module> for ModuleRow {
    fn from(module: &Module) -> Self {
        Self { path: module.path.clone(), class: module.class, parameters: module.parameters, made: None }
    }
}

impl ModuleRow {
    /// The row of a module without weights of its own that is only known to have run.
    pub fn of_run(module: &ModuleRun) -> Self {
        let mut row = Self { path: module.path.clone(), class: "", parameters: Some(0), made: None };
        row.ran(module);
        row
    }

    /// It ran, and made this.
    pub fn ran(&mut self, module: &ModuleRun) {
        self.made = Some(ModuleMade {
            inputs: module.inputs.clone(),
            shape: module.output.clone(),
            dtype: module.dtype,
            milliseconds: module.took.map(|took| took.as_secs_f64() * 1e3),
            summary: module.summary,
        });
    }
}

impl ModulesRun {
    /// The module of that path.
    pub fn module(&self, path: &str) -> Option<&ModuleRun> {
        self.modules.iter().find(|module| module.path == path)
    }

    pub(super) fn bytes(&self) -> usize {
        self.modules.len() * (size_of::<ModuleRun>() + 256)
    }
}

/// Re-runs the stage after `before` with every module watched. Of a recorded run, reads what was recorded.
///
/// # Errors
/// The stage's, or the host's; [`NotRecorded`](pipeline::Error::NotRecorded).
pub fn examine(
    backend: &Backend,
    before: &Snapshot,
    host: &mut dyn Probe,
) -> std::result::Result<ModulesRun, InspectError> {
    let stage = before.position().ok_or(pipeline::Error::Complete)?;
    if let Some(recording) = backend.recording() {
        return recorded(recording, stage, host);
    }
    let mut watching = Watching {
        stage,
        request: before.request(),
        entered: vec![],
        own: Duration::ZERO,
        known: HashMap::new(),
        modules: vec![],
    };
    replay::run(backend, before, &mut watching, host)?;
    Ok(ModulesRun { stage, modules: watching.modules })
}

/// The modules of a recorded stage. Outputs are read piece by piece, so that none fills the memory.
fn recorded(
    recording: &Recording,
    stage: Stage,
    host: &mut dyn Probe,
) -> std::result::Result<ModulesRun, InspectError> {
    recording.require_any(stage)?;
    let mut modules: Vec<ModuleRun> = vec![];
    let calls = recording
        .stage(stage)
        .into_iter()
        .flat_map(|stage| stage.calls.iter().map(move |call| (stage, call)));
    for (stage, call) in calls {
        let Some(output) = stage.output_on_disk(call) else { continue };
        let path = Path::new(&call.path);
        let mut summary = RunningSummary::default();
        let mut stopped = Ok(());
        output
            .pieces(|_, piece| {
                if host.wants(&path) {
                    stopped = host.enter(&path, &[]);
                }
                summary.push(piece);
                if stopped.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .map_err(pipeline::Error::from)?;
        stopped.map_err(pipeline::Error::from)?;
        let shape = |name: &str| stage.input_on_disk(call, name).map(|input| input.shape);
        let known = modules.iter().position(|known| known.path == call.path);
        let module = ModuleRun {
            path: call.path.clone(),
            inputs: in_order(call).filter_map(shape).collect(),
            dtype: output.dtype.as_str(),
            output: output.shape,
            took: None,
            summary: summary.summary(),
            calls: known.map_or(0, |at| modules[at].calls) + 1,
        };
        match known {
            Some(at) => modules[at] = module,
            None => modules.push(module),
        }
    }
    Ok(ModulesRun { stage, modules })
}

/// The names of the recorded inputs of a call, in the order in which `forward` takes them.
fn in_order(call: &RecordedCall) -> impl Iterator<Item = &str> {
    let known = classes::inputs(&call.path, call.inputs.len());
    let place = move |name: &str| known.iter().position(|known| *known == name).unwrap_or(usize::MAX);
    let mut names: Vec<&str> = call.inputs.iter().map(String::as_str).collect();
    names.sort_by_key(|name| place(name));
    names.into_iter()
}

/// Watches every module of a stage.
struct Watching<'a> {
    stage: Stage,
    request: &'a Request,
    /// The modules that run, the innermost last.
    entered: Vec<Entered>,
    /// How long this probe took itself: no time of any module's.
    own: Duration,
    /// Where a module is on the list.
    known: HashMap<Path, usize>,
    modules: Vec<ModuleRun>,
}

/// A module that runs.
struct Entered {
    inputs: Vec<Vec<usize>>,
    begin: Instant,
    /// How long the probe had taken by then.
    own: Duration,
}

impl Probe for Watching<'_> {
    fn wants(&self, path: &Path) -> bool {
        // A prompt that is encoded again first is none of this stage's.
        is_piece(path.as_str()) && runs_in(self.stage, self.request, path.as_str())
    }

    fn enter(&mut self, _: &Path, inputs: &[&Tensor]) -> Result<()> {
        let inputs_of = |input: &&Tensor| input.dims().to_vec();
        if let Some(input) = inputs.first() {
            // What a device is still busy with is no time of this module's.
            input.device().synchronize()?;
        }
        let inputs = inputs.iter().map(inputs_of).collect();
        self.entered.push(Entered { inputs, begin: Instant::now(), own: self.own });
        Ok(())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        output.device().synchronize()?;
        let end = Instant::now();
        let Some(Entered { inputs, begin, own }) = self.entered.pop() else { return Ok(output) };
        let took = (end - begin).saturating_sub(self.own - own);
        let known = self.known.get(path).map(|at| &self.modules[*at]);
        let (before, calls) =
            known.map_or((Duration::ZERO, 0), |known| (known.took.unwrap_or_default(), known.calls));
        let module = ModuleRun {
            path: path.to_string(),
            inputs,
            output: output.dims().into(),
            dtype: output.dtype().as_str(),
            took: Some(before + took),
            summary: (&PlainTensor::of(&output)?).into(),
            calls: calls + 1,
        };
        match self.known.get(path) {
            Some(at) => self.modules[*at] = module,
            None => {
                self.known.insert(path.clone(), self.modules.len());
                self.modules.push(module);
            }
        }
        self.own += end.elapsed();
        Ok(output)
    }
}

//! Every module of a stage: what it took, made, and how long that was.

use super::InspectError;
use crate::debugger::replay;
use crate::debugger::source::module::is_piece;
use crate::model::anatomy::Module;
use crate::nn::{Path, Probe, Result};
use crate::pipeline;
use crate::pipeline::models::runs_in;
use crate::pipeline::{Models, Request, Snapshot, Stage};
use crate::tensor::{PlainTensor, Summary};
use candle_core::Tensor;
use serde::Serialize;
use std::collections::HashMap;
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
    /// it fast.
    pub took: Duration,
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
    /// The numbers that its weights hold, with those of the modules below it.
    pub parameters: u64,
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
    /// How long it took with the modules below it.
    pub milliseconds: f64,
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
        let mut row = Self { path: module.path.clone(), class: "", parameters: 0, made: None };
        row.ran(module);
        row
    }

    /// It ran, and made this.
    pub fn ran(&mut self, module: &ModuleRun) {
        self.made = Some(ModuleMade {
            inputs: module.inputs.clone(),
            shape: module.output.clone(),
            dtype: module.dtype,
            milliseconds: module.took.as_secs_f64() * 1e3,
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

/// Re-runs the stage after `before` with every module watched.
///
/// # Errors
/// The stage's, or the host's.
pub fn examine(
    models: &Models,
    before: &Snapshot,
    host: &mut dyn Probe,
) -> std::result::Result<ModulesRun, InspectError> {
    let stage = before.position().ok_or(pipeline::Error::Complete)?;
    let mut watching = Watching {
        stage,
        request: before.request(),
        entered: vec![],
        own: Duration::ZERO,
        known: HashMap::new(),
        modules: vec![],
    };
    replay::run(models, before, &mut watching, host)?;
    Ok(ModulesRun { stage, modules: watching.modules })
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
        let (before, calls) = known.map_or((Duration::ZERO, 0), |known| (known.took, known.calls));
        let module = ModuleRun {
            path: path.to_string(),
            inputs,
            output: output.dims().into(),
            dtype: output.dtype().as_str(),
            took: before + took,
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

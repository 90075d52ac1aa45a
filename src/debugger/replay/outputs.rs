//! What a module made in a stage that is recorded: nothing inside of the models is kept, so the stage runs again from the run
//! before it, until that module is done.

use crate::debugger::backend::{Backend, ModelInfo};
use crate::debugger::replay;
use crate::debugger::stepping::HookPhase;
use crate::debugger::text;
use crate::nn::attention::ATTENTION_PROBS;
use crate::nn::{Error, Path, Probe, Result, Unwatched};
use crate::pipeline;
use crate::pipeline::{Snapshot, Stage, lines};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::sync::{Arc, Mutex, PoisonError};
use tr::tr;

/// Outputs of modules that are remembered.
const MOST: usize = 16;
/// How alike a path must be to one of the model, from 0 to 1, to be what was meant.
const ALIKE: f64 = 0.8;

/// Outputs of modules that were asked for, each with the run before the stage that it was made in.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<Vec<(Arc<Snapshot>, String, PlainTensor)>>);

impl Outputs {
    /// What the module at `path` makes in the stage that follows `before`, of one that waits somewhere `until` there;
    /// computed once.
    ///
    /// # Errors
    /// Why it cannot be had, in a line.
    pub fn of(
        &self,
        backend: &Backend,
        before: &Arc<Snapshot>,
        path: &str,
        until: Option<(&str, HookPhase)>,
    ) -> std::result::Result<PlainTensor, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |(run, of, _): &&(Arc<Snapshot>, String, PlainTensor)| Arc::ptr_eq(run, before) && of == path;
        if let Some((_, _, output)) = known.iter().find(is_it) {
            return Ok(output.clone());
        }
        let output = seek(backend, before, path, until, &mut Unwatched).map_err(|e| e.to_string())?;
        let Some(output) = output else {
            let stage = before.position().map_or(tr!("this stage"), |stage| stage.to_string());
            if let Some(recording) = backend.recording() {
                let (recorded, call) = recording
                    .call(before.position().unwrap_or(Stage::VaeDecode), path)
                    .map_err(|e| e.to_string())?;
                let shape =
                    recorded.output_on_disk(call).map_or(String::new(), |output| text::shape(&output.shape));
                return Err(match until {
                    Some(_) => {
                        tr!("{path} has not run yet in this stage, which waits; go on until it has", path)
                    }
                    None => tr!(
                        "{path}: {shape} is too large for an expression; `info modules` has its statistics",
                        path,
                        shape
                    ),
                });
            }
            return Err(match until {
                Some(_) => {
                    tr!("{path} has not run yet in {stage}, which waits; go on until it has", path, stage)
                }
                None => tr!("{path} did not run in {stage}", path, stage),
            });
        };
        let output = PlainTensor::of(&output).map_err(|e| e.to_string())?;
        if known.len() >= MOST {
            known.remove(0);
        }
        known.push((Arc::clone(before), path.into(), output.clone()));
        Ok(output)
    }
}

/// Runs the stage that follows `before` until the module at `path` is done, and gives what that made. `probe` may end it
/// earlier.
///
/// # Errors
/// The stage's, or the probe's; that the module did not run in this stage.
pub fn output_of(
    backend: &Backend,
    before: &Snapshot,
    path: &str,
    probe: &mut dyn Probe,
) -> std::result::Result<Tensor, pipeline::Error> {
    let output = seek(backend, before, path, None, probe)?;
    output.ok_or_else(|| {
        let stage = before.position().map_or("complete".into(), |stage| stage.to_string());
        Error::Input(tr!("{path} did not run in {stage}", path, stage)).into()
    })
}

/// What the module at `path` makes in the stage that follows `before`; `None` where it does not run `until` the piece there is
/// about to run, or ran.
fn seek(
    backend: &Backend,
    before: &Snapshot,
    path: &str,
    until: Option<(&str, HookPhase)>,
    probe: &mut dyn Probe,
) -> std::result::Result<Option<Tensor>, pipeline::Error> {
    let mut seeking = Seeking { path, until, found: None, is_there: false };
    let end = replay::run(backend, before, &mut seeking, probe);
    match (seeking.found, end) {
        (Some(output), _) => Ok(Some(output)),
        (None, Err(_)) if seeking.is_there => Ok(None),
        (None, Err(e)) => Err(e),
        (None, Ok(_)) => Ok(None),
    }
}

/// Ends a stage once it has what one module made, or came to where another waits.
struct Seeking<'a> {
    path: &'a str,
    until: Option<(&'a str, HookPhase)>,
    found: Option<Tensor>,
    /// Whether it came to where it shall end.
    is_there: bool,
}

impl Seeking<'_> {
    fn ends(&mut self, path: &Path, moment: HookPhase) -> Result<()> {
        if self.until == Some((path.as_str(), moment)) {
            self.is_there = true;
            return Err(Error::Interrupted(path.clone()));
        }
        Ok(())
    }
}

impl Probe for Seeking<'_> {
    fn wants(&self, path: &Path) -> bool {
        let text = path.as_str();
        text == self.path || self.until.is_some_and(|(until, _)| until == text)
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> Result<()> {
        self.ends(path, HookPhase::Before)
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        if path.as_str() == self.path {
            self.found = Some(output);
            return Err(Error::Interrupted(path.clone()));
        }
        self.ends(path, HookPhase::After)?;
        Ok(output)
    }
}

/// The newest of `runs`, which are in order, whose next stage runs the module at `path`.
pub fn before_it(runs: &[Arc<Snapshot>], path: &str) -> Option<Arc<Snapshot>> {
    let ran = runs.get(..runs.len().saturating_sub(1))?;
    let runs_there =
        |run: &&Arc<Snapshot>| run.position().is_some_and(|stage| lines::running(stage, path).is_some());
    ran.iter().rev().find(runs_there).cloned()
}

/// Whether the models have a module, or what an attention attends to, of which `matches` holds.
pub fn has(models: &ModelInfo, matches: impl Fn(&str) -> bool) -> bool {
    pieces(models).any(|path| matches(&path))
}

/// Every module, and what each attention attends to.
fn pieces(models: &ModelInfo) -> impl Iterator<Item = String> {
    let is_attention = |path: &str| matches!(path.rsplit('.').next(), Some("to_q" | "q_proj"));
    models.modules.iter().flat_map(move |path| {
        let query = path.as_str();
        let attention = is_attention(query).then(|| query.rsplit_once('.')).flatten();
        let probs = attention.map(|(attention, _)| format!("{attention}.{ATTENTION_PROBS}"));
        std::iter::once(query.to_string()).chain(probs)
    })
}

/// The message about a path that names no module.
pub fn unknown(models: &ModelInfo, path: &str) -> String {
    let alike = pieces(models).map(|known| (strsim::jaro_winkler(path, &known), known));
    let nearest = alike.filter(|(how, _)| *how >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = nearest.map_or(tr!("`info modules` lists them"), |(_, near)| {
        tr!("did you mean `{near}`? `info modules` lists them", near)
    });
    tr!("no module is called `{}`; {meant}", crate::debugger::text::abridged(path), meant)
}

/// In which stage the module at `path` runs, in a word.
pub fn stage_of(path: &str) -> &'static str {
    let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
    stages
        .iter()
        .find(|stage| lines::running(**stage, path).is_some())
        .map_or("no stage", |stage| stage.name())
}

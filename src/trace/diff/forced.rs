//! The probe that compares a module's output with the recorded one, and then puts the recorded one in its place.
//!
//! So every module runs on recorded inputs: an early mistake does not reach what follows, and a container is judged by its own
//! arithmetic alone.

use super::causes::{self, Observed};
use super::{Kind, Row, Sides, tolerance};
use crate::model::classes;
use crate::nn::attention::ATTENTION_PROBS;
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline::{Models, Stage, lines};
use crate::tensor::PlainTensor;
use crate::trace::{RecordedCall, TraceStage};
use candle_core::{DType, Tensor};
use std::collections::HashMap;

/// Forces one pass of a model to recorded values.
pub struct Forced<'a> {
    models: &'a Models,
    recorded: &'a TraceStage,
    stage: Stage,
    /// The recorded calls of this pass, by path and number.
    calls: HashMap<(&'a str, usize), &'a RecordedCall>,
    /// The dtype that counts for tolerances.
    dtype: DType,
    given: Option<f64>,
    counts: HashMap<Path, usize>,
    open: Vec<Open>,
    /// The rows so far.
    pub rows: Vec<Row>,
    /// Calls of this program that are not recorded.
    pub unrecorded: usize,
    /// What is known of the first difference.
    pub evidence: Option<Evidence>,
    /// The skip connections so far, by the module that made each.
    skips: Vec<(String, Tensor)>,
    watch: &'a Watch<'a>,
    /// The tensors of the wanted row.
    pub seen: Option<Sides>,
    /// Whether the time embedding's input is not recorded. Its rounding reaches no other module.
    is_time_unforced: bool,
}

/// What a comparison does besides.
pub struct Watch<'a> {
    /// Whether it shall end.
    pub is_interrupted: &'a dyn Fn() -> bool,
    /// The row whose tensors are kept.
    pub wanted: Option<&'a Row>,
}

impl Watch<'_> {
    /// Nothing.
    pub const NONE: Watch<'static> = Watch { is_interrupted: &|| false, wanted: None };

    /// Whether a row is the wanted one.
    pub fn wants(&self, row: &Row) -> bool {
        self.wanted.is_some_and(|wanted| {
            (wanted.stage, &wanted.path, wanted.call) == (row.stage, &row.path, row.call)
                && wanted.kind == row.kind
        })
    }
}

const TIME_PROJ: &str = "unet.time_proj";
const TIME_EMBEDDING: &str = "unet.time_embedding";

/// Whether the output of the module at `path` goes to an up block of the UNet.
fn is_skip(path: &str) -> bool {
    let names: Vec<&str> = path.split('.').collect();
    matches!(
        names[..],
        ["unet", "conv_in"] | ["unet", "down_blocks", _, "resnets" | "attentions" | "downsamplers", _]
    )
}

/// Whether the module at `path` is an activation or a dropout: exact enough to stand for its recorded output.
fn is_function(path: &str) -> bool {
    let class = classes::Class::of(path, None).map_or("", |class| class.name);
    matches!(class, "SiLU" | "Dropout") || path.ends_with(".activation_fn")
}

/// What is known of a difference.
#[derive(Debug)]
pub struct Evidence {
    /// The module whose output or input differs.
    pub path: String,
    /// Its inputs here.
    pub inputs: Vec<Tensor>,
    /// The containers around it with their inputs here, the outermost first.
    pub containers: Vec<(String, Vec<Tensor>)>,
    /// The skip connections so far, by the module that made each.
    pub skips: Vec<(String, Tensor)>,
    /// What was recorded.
    pub observed: Observed,
    /// The same tensor as computed here.
    pub ours: PlainTensor,
}

/// A call that has begun and not ended.
struct Open {
    path: Path,
    call: usize,
    /// Whether a submodule ran without a recorded output.
    chained: bool,
    /// Whether its inputs may come from modules without a recorded output.
    is_unforced: bool,
    /// Whether its inputs are not the recorded ones, which is its container's fault.
    is_misfed: bool,
    inputs: Vec<Tensor>,
}

impl<'a> Forced<'a> {
    /// Forces a pass of `recorded` to those `calls`. `given` replaces the tolerances.
    pub fn new(
        models: &'a Models,
        recorded: &'a TraceStage,
        calls: impl Iterator<Item = &'a RecordedCall>,
        dtype: DType,
        given: Option<f64>,
        watch: &'a Watch<'a>,
    ) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let numbered = calls.map(|call| {
            let count = counts.entry(&call.path).or_default();
            *count += 1;
            ((call.path.as_str(), *count - 1), call)
        });
        let calls = numbered.collect();
        Self {
            models,
            recorded,
            stage: recorded.stage,
            calls,
            dtype,
            given,
            counts: HashMap::new(),
            open: vec![],
            rows: vec![],
            unrecorded: 0,
            evidence: None,
            skips: vec![],
            watch,
            seen: None,
            is_time_unforced: false,
        }
    }

    /// Whether a module that runs now may get what a module without a recorded output made.
    fn is_unforced(&self, path: &Path) -> bool {
        self.open.iter().any(|open| open.chained)
            || self.is_time_unforced && path.as_str().starts_with(TIME_EMBEDDING)
    }

    /// Keeps what is known of a difference, if it is the first.
    fn explain(&mut self, path: &Path, inputs: &[&Tensor], observed: Observed, ours: &PlainTensor) {
        if self.evidence.is_none() {
            let containers = self.open.iter().map(|open| (open.path.to_string(), open.inputs.clone()));
            self.evidence = Some(Evidence {
                path: path.to_string(),
                inputs: inputs.iter().map(|input| (*input).clone()).collect(),
                containers: containers.collect(),
                skips: self.skips.clone(),
                observed,
                ours: ours.clone(),
            });
        }
    }

    /// Compares what the container gives to a submodule with what was recorded; whether they differ.
    fn check_inputs(&mut self, path: &Path, call: usize, inputs: &[&Tensor]) -> Result<bool> {
        let Some(recorded) = self.calls.get(&(path.as_str(), call)).copied() else { return Ok(false) };
        let names = classes::inputs(path.as_str(), inputs.len());
        let is_unforced = self.is_unforced(path);
        let mut is_misfed = false;
        for (i, input) in inputs.iter().enumerate() {
            let name = names.get(i).copied().unwrap_or_default();
            let known = match &recorded.inputs[..] {
                _ if recorded.inputs.iter().any(|known| known == name) => name,
                // Another library's name of the only input.
                [only] if inputs.len() == 1 => only,
                _ => continue,
            };
            let Some(expected) = self.recorded.input(recorded, known).map_err(read)? else { continue };
            let ours = PlainTensor::of(input)?;
            // One row stands for all.
            if ours.shape().len() != expected.shape().len() {
                continue;
            }
            let bound = self.given.unwrap_or_else(|| {
                let dtype = tolerance::lower(self.dtype, expected.dtype());
                tolerance::isolated("", dtype, None, is_unforced)
            });
            let container = self.open.last().map_or("", |open| open.path.as_str());
            let container = if container.is_empty() { path.as_str() } else { container };
            let mut row = Row::of((self.stage, container, 0), (&ours, &expected), bound, !is_unforced);
            if row.is_beyond() {
                is_misfed = true;
                // What is wrong within a module that got wrong inputs follows from them.
                if self.open.iter().any(|open| open.is_misfed) {
                    continue;
                }
                self.explain(path, inputs, Observed::Input(expected), &ours);
                row.kind = Kind::Wiring { child: path.to_string(), input: known.into() };
                if self.watch.wants(&row)
                    && let Some(found) = self.recorded.input(recorded, known).map_err(read)?
                {
                    self.seen = Some(Sides { found, reference: ours });
                }
                self.rows.push(row);
            }
        }
        Ok(is_misfed)
    }
}

/// A trace that cannot be read ends the pass.
fn read(error: impl std::fmt::Display) -> Error {
    Error::Input(error.to_string())
}

impl Probe for Forced<'_> {
    fn wants(&self, path: &Path) -> bool {
        let path = path.as_str();
        !lines::ALL.contains(&path) && !path.ends_with(ATTENTION_PROBS)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        if (self.watch.is_interrupted)() {
            return Err(Error::Interrupted(path.clone()));
        }
        let count = self.counts.entry(path.clone()).or_default();
        let call = *count;
        *count += 1;
        let is_unforced = self.is_unforced(path);
        let is_misfed = self.check_inputs(path, call, inputs)?;
        let inputs = inputs.iter().map(|input| (*input).clone()).collect();
        self.open.push(Open { path: path.clone(), call, chained: false, is_unforced, is_misfed, inputs });
        Ok(())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let output = self.compared(path, output)?;
        if is_skip(path.as_str()) {
            self.skips.push((path.to_string(), output.clone()));
        }
        Ok(output)
    }
}

impl Forced<'_> {
    /// Compares the output of a module; the recorded one if there is one.
    fn compared(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let Some(open) = self.open.pop() else { return Ok(output) };
        let recorded = self.calls.get(&(path.as_str(), open.call)).copied();
        let expected = match recorded.filter(|call| call.has_output) {
            Some(call) => self.recorded.output(call).map_err(read)?,
            None => None,
        };
        let Some(expected) = expected else {
            self.unrecorded += 1;
            if path.as_str() == TIME_PROJ {
                self.is_time_unforced = true;
            } else if let Some(container) = self.open.last_mut().filter(|_| !is_function(path.as_str())) {
                container.chained = true;
            }
            return Ok(output);
        };
        let ours = PlainTensor::of(&output)?;
        if !open.is_misfed {
            let dtype = tolerance::lower(self.dtype, expected.dtype());
            let timestep = self.recorded.timestep;
            let chained = open.chained || open.is_unforced;
            let bound =
                self.given.unwrap_or_else(|| tolerance::isolated(path.as_str(), dtype, timestep, chained));
            let call = recorded.map_or(open.call, |call| call.call);
            let at = (self.stage, path.as_str(), call);
            let mut row = Row::of(at, (&ours, &expected), bound, !chained);
            if self.watch.wants(&row) {
                self.seen = Some(Sides { found: expected.clone(), reference: ours.clone() });
            }
            if row.is_beyond() {
                let exact = causes::exact(self.models, path.as_str(), &open.inputs, &expected)?;
                row.relative = exact.filter(|exact| *exact <= bound).or(row.relative);
            }
            if row.is_beyond() {
                let inputs: Vec<&Tensor> = open.inputs.iter().collect();
                self.explain(path, &inputs, Observed::Output(expected.clone()), &ours);
            }
            self.rows.push(row);
        }
        match ours.shape() == expected.shape() {
            true => Ok(expected.to_device(output.device(), output.dtype())?),
            false => Ok(output),
        }
    }
}

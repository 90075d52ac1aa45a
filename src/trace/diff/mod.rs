//! Where two runs first differ.
//!
//! - [`pair`]: two traces. [`judge`]: a trace against models, each module on the recorded inputs.
//! - [`forced`]: the probe that compares a module's output and then puts the recorded one in its place.
//! - [`causes`]: the reason of a difference.
//! - [`text`]: a comparison as text. [`tolerance`]: how far rounding alone takes two right runs apart.

pub mod causes;
pub mod forced;
pub mod judge;
pub mod pair;
pub mod text;
pub mod tolerance;

use super::{Trace, TraceError};
use crate::pipeline::Stage;
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use causes::Causes;
use serde_json::{Value, json};
use tr::tr;

/// Two runs, compared.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The last recorded stage of a run that ended early; `None` for whole runs.
    pub until: Option<Stage>,
    /// The rows, in the order of execution.
    pub rows: Vec<Row>,
    /// What was not compared, and why; settings that differ.
    pub notes: Vec<String>,
    /// The parts of the run that were not compared, or not everywhere; `notes` say why.
    pub uncompared: Vec<String>,
    /// The reasons of the first difference, if it is a module's own.
    pub causes: Causes,
}

/// A module or a line of a stage, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The stage.
    pub stage: Stage,
    /// The module's path, the path of a line (`denoise.scheduler_step`), or the name of a stage's tensor.
    pub path: String,
    /// The number of the call of this path in this stage.
    pub call: usize,
    /// ‖a − b‖ / ‖b‖, with `b` the reference. `None` if the shapes differ.
    pub relative: Option<f64>,
    /// The largest difference that rounding explains.
    pub tolerance: f64,
    /// Whether both sides had the same inputs, so that a difference is its own.
    pub isolated: bool,
    /// What was compared.
    pub kind: Kind,
    /// The shapes on both sides, if they differ.
    pub shapes: Option<(Vec<usize>, Vec<usize>)>,
}

/// The tensors of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sides {
    /// Of the run that is judged.
    pub found: PlainTensor,
    /// Of the reference.
    pub reference: PlainTensor,
}

/// What a row compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The output of a module or a line.
    Module,
    /// What a module gives to the input `input` of its submodule `child`.
    Wiring {
        /// The submodule's path.
        child: String,
        /// The input's name.
        input: String,
    },
}

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The models failed.
    #[error(transparent)]
    Forward(#[from] crate::nn::Error),
    /// The settings of the trace are wrong, or there is nothing to compare.
    #[error("{0}")]
    Refused(String),
}

impl From<candle_core::Error> for DiffError {
    fn from(error: candle_core::Error) -> Self {
        Self::Forward(error.into())
    }
}

impl Row {
    /// `found` against `reference`.
    pub fn of(
        (stage, path, call): (Stage, &str, usize),
        (found, reference): (&PlainTensor, &PlainTensor),
        tolerance: f64,
        isolated: bool,
    ) -> Self {
        let same = found.shape() == reference.shape();
        let relative = same.then(|| relative_difference(found.data(), reference.data()));
        let at = (stage, path, call);
        Self::of_shapes(at, relative, (found.shape(), reference.shape()), tolerance, isolated)
    }

    /// A row of tensors of these shapes; `relative` is `None` if they differ.
    pub fn of_shapes(
        (stage, path, call): (Stage, &str, usize),
        relative: Option<f64>,
        (found, reference): (&[usize], &[usize]),
        tolerance: f64,
        isolated: bool,
    ) -> Self {
        let shapes = (found != reference).then(|| (found.into(), reference.into()));
        Self { stage, path: path.into(), call, relative, tolerance, isolated, kind: Kind::Module, shapes }
    }

    /// Whether the difference is more than rounding.
    pub fn is_beyond(&self) -> bool {
        // NaN is beyond every tolerance.
        self.relative.is_none_or(|relative| relative.is_nan() || relative > self.tolerance)
    }

    /// As `--json` shows it.
    pub fn json(&self) -> Value {
        json!({
            "stage": self.stage.key(),
            "path": self.path,
            "call": self.call,
            // JSON has neither NaN nor infinity.
            "relative": self.relative.filter(|relative| relative.is_finite()),
            "tolerance": self.tolerance,
            "isolated": self.isolated,
            "kind": match self.kind { Kind::Module => "module", Kind::Wiring { .. } => "wiring" },
            "child": match &self.kind { Kind::Module => None, Kind::Wiring { child, .. } => Some(child) },
            "input": match &self.kind { Kind::Module => None, Kind::Wiring { input, .. } => Some(input) },
        })
    }

    /// As text: `3.1e-4`, or both shapes.
    pub fn difference(&self) -> String {
        match (self.relative, &self.shapes) {
            (Some(relative), _) => format!("{relative:.1e}"),
            (None, Some((found, reference))) => tr!(
                "shape {found} and not {reference}",
                found = format_args!("{found:?}"),
                reference = format_args!("{reference:?}")
            ),
            (None, None) => tr!("unknown"),
        }
    }
}

impl Comparison {
    /// A comparison without rows. Its first notes name the traces that end early.
    pub(super) fn of(traces: &[&Trace]) -> Self {
        let mut comparison = Self::default();
        for trace in traces.iter().filter(|trace| !trace.manifest().complete) {
            let Some(last) = trace.stages().last().map(|stage| stage.stage) else { continue };
            comparison.until = Some(comparison.until.map_or(last, |until| until.min(last)));
            comparison.notes.push(match &trace.manifest().stopped {
                Some(reason) => tr!("{} ends after {last}: {reason}", trace.name(), last, reason),
                None => tr!("{} ends after {last}", trace.name(), last),
            });
        }
        comparison
    }

    /// The earliest row beyond its tolerance.
    pub fn first(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.is_beyond())
    }

    /// The number of rows beyond their tolerance.
    pub fn beyond(&self) -> usize {
        self.rows.iter().filter(|row| row.is_beyond()).count()
    }
}

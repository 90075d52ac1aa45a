//! What is other in one run than in another.

use super::{Session, SessionError, SessionHost};
use crate::debugger::inspect::difference::Difference;
use crate::debugger::language::arguments::Side;
use crate::debugger::outcome::{DiffRow, Outcome, Shown, ShownPicture};
use crate::debugger::timeline::Timeline;
use crate::nn::error::without_backtrace;
use crate::picture::{Picture, residual};
use crate::pipeline::{Stage, dump};
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use crate::trace::Trace;
use crate::trace::diff::causes::Cause;
use crate::trace::diff::{DiffError, Row, text};
use crate::trace::manifest::FILE;
use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tr::tr;

/// Relative differences up to this are rounding, where no other tolerance is given.
const TOLERANCE: f64 = 1e-4;

/// The tensors of one side, in the order in which they were made.
struct Tensors {
    /// What it is called.
    name: String,
    /// By the keys of a dump; of a single state, by the tensors' own names.
    tensors: Vec<(String, Tensor)>,
}

impl Session {
    /// How far every tensor of `b` (this timeline, without one) is from the one of `a`, which is the reference.
    pub(super) fn diff(
        &self,
        a: &Side,
        b: Option<&Side>,
        tolerance: Option<f64>,
    ) -> Result<Outcome, SessionError> {
        let tolerance = tolerance.unwrap_or(TOLERANCE);
        let state = [Some(a), b].into_iter().flatten().find_map(|side| match side {
            Side::After(step) => Some(format!("@{step}")),
            Side::Named(_) => None,
        });
        let any_state = state.is_some();
        let a = self.tensors_of(a, any_state)?;
        let b = match b {
            Some(b) => self.tensors_of(b, any_state)?,
            None => of_timeline(self.timelines.current().name.clone(), self.timeline(), any_state),
        };
        let (mut rows, mut last) = (vec![], None);
        for (key, ours) in &b.tensors {
            let Some((_, reference)) = a.tensors.iter().find(|(known, _)| known == key) else { continue };
            let (values, expected) = (PlainTensor::of(ours)?, PlainTensor::of(reference)?);
            let row = DiffRow::new(key, &values, &expected);
            if row.relative.is_some_and(|relative| relative != 0.) && is_picture(&values) {
                last = Some((key.clone(), values, expected));
            }
            rows.push(row);
        }
        if let (true, Some(state)) = (rows.is_empty(), state) {
            let first =
                |side: &Tensors| side.tensors.first().map_or("none".into(), |(key, _)| format!("`{key}`"));
            return Err(SessionError::Refused(tr!(
                "{} has {} and {} has {}: {state} is a single state, whose tensors have no stage in their names; expected \
                 another state or a timeline beside it, and a timeline beside a dump",
                a.name,
                first(&a),
                b.name,
                first(&b),
                state
            )));
        }
        if rows.is_empty() && self.timeline().here().records().is_empty() {
            return Err(SessionError::Refused(tr!("nothing has run here yet; `next` runs the first stage")));
        }
        if rows.is_empty() {
            return Err(SessionError::Refused(tr!(
                "{} and {} have no tensor of the same name; expected runs of this program, or dumps with its keys, such \
                 as denoise.003/latents",
                a.name,
                b.name
            )));
        }
        let beyond =
            |row: &&DiffRow| row.relative.is_none_or(|relative| relative.is_nan() || relative > tolerance);
        let equal = rows.iter().filter(|row| row.relative == Some(0.)).count();
        let others: Vec<&DiffRow> = rows.iter().filter(beyond).collect();
        let mut messages = vec![tr!(
            "{} against {}: {} tensors on both sides, {equal} equal, {} beyond {tolerance} relative",
            b.name,
            a.name,
            rows.len(),
            others.len(),
            equal,
            tolerance = format_args!("{:e}", tolerance)
        )];
        messages.push(match others.first() {
            Some(first) => tr!("the first beyond it: {}", first.tensor),
            None => tr!("none is beyond it"),
        });
        let only = |of: &Tensors, other: &Tensors| {
            let missing =
                of.tensors.iter().filter(|(key, _)| !other.tensors.iter().any(|(known, _)| known == key));
            missing.count()
        };
        for (of, other) in [(&a, &b), (&b, &a)] {
            let count = only(of, other);
            if count > 0 {
                messages.push(tr!("{count} tensors are in {} only", of.name, count));
            }
        }
        let picture =
            last.and_then(|(key, ours, reference)| self.picture_of_difference(&key, &ours, &reference));
        // What is within the tolerance is counted, not listed.
        let mut outcome =
            Outcome::lines(messages).showing(Shown::Diffs(others.into_iter().cloned().collect()));
        picture.into_iter().for_each(|picture| outcome.show(Shown::Picture(picture)));
        Ok(outcome)
    }

    /// Compares the trace in `folder` module by module: with the loaded models, or as the reference of a recorded run.
    pub(super) fn diff_modules(
        &mut self,
        folder: &Path,
        tolerance: Option<f64>,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        let number = self.difference.as_ref().map_or(0, |last| last.number) + 1;
        let is_interrupted = || host.is_interrupted();
        let made = Difference::of(&self.backend, folder, tolerance, number, &is_interrupted);
        let made = made.map_err(|e| match e {
            DiffError::Forward(e) => SessionError::Pipeline(e.into()),
            other => SessionError::Refused(other.to_string()),
        })?;
        let more = tr!("the view `difference` lists them");
        let lines = text::lines(&made.comparison, &made.found, &made.reference, &more);
        let rows = made.comparison.rows.iter().filter(|row| row.is_beyond());
        let rows: Vec<Value> = rows.map(Row::json).collect();
        let causes: Vec<Value> = made.comparison.causes.found.iter().map(Cause::json).collect();
        let first = made.comparison.first().map(Row::json);
        let value = json!({ "first": first, "causes": causes, "modules": rows });
        self.difference = Some(Arc::new(made));
        Ok(Outcome::lines(lines).showing(Shown::Value(value)))
    }

    fn tensors_of(&self, side: &Side, as_state: bool) -> Result<Tensors, SessionError> {
        match side {
            Side::After(step) => {
                let timeline = self.timeline();
                let steps = timeline.here().request().steps();
                let done = Stage::Denoise { step: *step }.index(&steps) + 1;
                let snapshot = timeline.snapshots().get(done).filter(|_| steps.contains(step));
                let snapshot = snapshot.ok_or_else(|| {
                    SessionError::Refused(tr!(
                        "@{step} is not recorded: it is the state after denoise {step}; `goto denoise {}` runs it",
                        step.saturating_add(1), step
                    ))
                })?;
                let mut tensors: Vec<(String, Tensor)> = vec![];
                for record in snapshot.records() {
                    for (name, tensor) in &record.tensors {
                        tensors.retain(|(known, _)| known != name);
                        tensors.push(((*name).into(), tensor.clone()));
                    }
                }
                Ok(Tensors { name: format!("@{step}"), tensors })
            }
            Side::Named(name) => match self.timelines.named(name) {
                Ok(branch) => Ok(of_timeline(branch.name.clone(), &branch.timeline, as_state)),
                Err(_) if Path::new(name).exists() || name.ends_with(".safetensors") => {
                    let tensors = read(Path::new(name)).map_err(|reason| {
                        SessionError::Refused(tr!(
                            "{name}: {reason}; expected a .safetensors file, such as `run --dump` writes, or a trace",
                            name,
                            reason
                        ))
                    })?;
                    Ok(Tensors { name: name.clone(), tensors })
                }
                Err(unknown) => Err(SessionError::Refused(tr!(
                    "{unknown}, @K for the state after denoise K, a .safetensors file, or a trace",
                    unknown
                ))),
            },
        }
    }

    /// The difference as a picture: blue where there is less than in the reference, red where there is more.
    fn picture_of_difference(
        &self,
        key: &str,
        ours: &PlainTensor,
        reference: &PlainTensor,
    ) -> Option<ShownPicture> {
        let values = ours.data().iter().zip(reference.data()).map(|(a, b)| a - b).collect();
        let difference = PlainTensor::from_values(ours.shape(), values)?;
        let picture: Picture = residual::diverging(&difference, residual::reach(&difference))?;
        let (width, height) = picture.image.dimensions();
        let label = format!("of {key}, {}", picture.label);
        let picture = Picture { label: label.clone(), ..picture };
        Some(ShownPicture { name: tr!("difference of {key}", key), label, width, height, picture })
    }
}

/// The folder of a side that is a trace.
pub(super) fn trace_of(side: &Side) -> Option<&Path> {
    match side {
        Side::Named(name) => Some(Path::new(name)).filter(|folder| folder.join(FILE).is_file()),
        Side::After(_) => None,
    }
}

fn of_timeline(name: String, timeline: &Timeline, as_state: bool) -> Tensors {
    let mut tensors: Vec<(String, Tensor)> = vec![];
    if as_state {
        // As it stands at its cursor: the newest of each name.
        for (name, tensor) in timeline.here().records().iter().flat_map(|record| &record.tensors) {
            tensors.retain(|(known, _)| known != name);
            tensors.push(((*name).into(), tensor.clone()));
        }
    } else {
        for record in timeline.records() {
            let key = record.stage.key();
            tensors.extend(record.tensors.iter().map(|(name, t)| (format!("{key}/{name}"), t.clone())));
        }
    }
    Tensors { name, tensors }
}

fn read(file: &Path) -> Result<Vec<(String, Tensor)>, String> {
    if file.is_dir() {
        return of_trace(file).map_err(|e| e.to_string());
    }
    let tensors = candle_core::safetensors::load(file, &Device::Cpu);
    let mut tensors: Vec<(String, Tensor)> =
        tensors.map_err(|e| not_read(&without_backtrace(e)))?.into_iter().collect();
    // A file has its tensors in an order of its own.
    tensors.sort_by(|(a, _), (b, _)| dump::place(a).cmp(&dump::place(b)));
    Ok(tensors)
}

/// The stages' tensors of a trace.
fn of_trace(folder: &Path) -> Result<Vec<(String, Tensor)>, DiffError> {
    let trace = Trace::open(folder)?;
    let mut tensors = vec![];
    for stage in trace.stages() {
        for name in stage.names() {
            let read = stage.tensor(&name)?;
            let tensor = read.map(|plain| plain.to_device(&Device::Cpu, plain.dtype())).transpose()?;
            tensors.extend(tensor.map(|tensor| (format!("{}/{name}", stage.key()), tensor)));
        }
    }
    Ok(tensors)
}

/// Why candle does not read a file.
fn not_read(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::SafeTensor(fault) => tr!("not a safetensors file ({fault})", fault),
        other => other.to_string(),
    }
}

fn is_picture(values: &PlainTensor) -> bool {
    matches!(values.shape(), &[1, 3 | 4, _, _])
}

impl DiffRow {
    /// The row of a tensor and its reference.
    pub fn new(key: &str, ours: &PlainTensor, reference: &PlainTensor) -> Self {
        let same_shape = ours.shape() == reference.shape();
        let pairs = ours.data().iter().zip(reference.data());
        let differences = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        // `f64::max` would pass over NaN.
        let largest = differences.fold(0., |most: f64, d| if d.is_nan() || d > most { d } else { most });
        Self {
            tensor: key.into(),
            shape: ours.shape().into(),
            reference_shape: reference.shape().into(),
            relative: same_shape.then(|| relative_difference(ours.data(), reference.data())),
            max_abs: same_shape.then_some(largest),
        }
    }
}

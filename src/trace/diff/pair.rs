//! Two traces, tensor by tensor and module by module. Later modules inherit the differences of earlier ones.

use super::tolerance;
use super::{Comparison, DiffError, Row, Sides};
use crate::pipeline::Stage;
use crate::tensor::PlainTensor;
use crate::trace::manifest::Row as BatchRow;
use crate::trace::on_disk::OnDisk;
use crate::trace::reader::GENERATOR_STATE;
use crate::trace::reduced::reduced;
use crate::trace::{RecordedCall, Trace, TraceStage};
use serde_json::Value;
use std::collections::HashMap;
use tr::tr;

/// Compares `found` with `reference`. `given` replaces the tolerances.
///
/// # Errors
/// When a file cannot be read, or the traces have nothing in common.
pub fn compare(found: &Trace, reference: &Trace, given: Option<f64>) -> Result<Comparison, DiffError> {
    let mut comparison = Comparison::of(&[found, reference]);
    comparison.notes.extend(settings(found, reference));
    comparison.notes.extend(generators(found, reference)?);
    let guidance_scale = reference.manifest().settings.get("guidance_scale").and_then(Value::as_f64);
    let is_step = |stage: &&TraceStage| matches!(stage.stage, Stage::Denoise { .. });
    let steps = reference.stages().iter().filter(is_step).count();
    let mut step = 0;
    for stage in reference.stages() {
        let Some(other) = found.stage(stage.stage) else {
            comparison.notes.push(tr!("{} has no {}", found.name(), stage.stage));
            continue;
        };
        let bound = |name: &str, dtype| {
            let scale = guidance_scale.unwrap_or(7.5);
            given.unwrap_or_else(|| tolerance::of_two_runs(name, dtype, step, steps, scale))
        };
        let counterparts = Counterparts::of(&other.calls);
        let mut missing = 0;
        for call in &stage.calls {
            let theirs = counterparts.find(&stage.calls, call);
            missing += usize::from(theirs.is_empty());
            for their in theirs {
                let at = (stage.stage, call.path.as_str(), call.call);
                let (Some(a), Some(b)) = (other.output_on_disk(their.call), stage.output_on_disk(call))
                else {
                    continue;
                };
                let bound = bound(&call.path, tolerance::lower(a.dtype, b.dtype));
                comparison.rows.push(match their.rows {
                    None => row(at, &a, &b, bound)?,
                    // A text encoder's outputs, which are small.
                    Some(_) => match (other.output(their.call)?, stage.output(call)?) {
                        (Some(a), Some(b)) => {
                            let (a, b) = their.rows_of(a, b);
                            Row::of(at, (&a, &b), bound, false)
                        }
                        _ => continue,
                    },
                });
            }
        }
        if missing > 0 {
            comparison.notes.push(tr!(
                "{missing} modules of {} are in {} only",
                stage.stage,
                reference.name(),
                missing
            ));
        }
        let ours = Counterparts::of(&stage.calls);
        let more = other.calls.iter().filter(|call| ours.find(&other.calls, call).is_empty()).count();
        if more > 0 {
            comparison.notes.push(tr!(
                "{more} modules of {} are in {} only",
                stage.stage,
                found.name(),
                more
            ));
        }
        for name in stage.names() {
            if let (Some(a), Some(b)) = (other.on_disk(&name), stage.on_disk(&name)) {
                let bound = bound(&name, tolerance::lower(a.dtype, b.dtype));
                comparison.rows.push(row((stage.stage, &name, 0), &a, &b, bound)?);
            }
        }
        step += usize::from(is_step(&stage));
    }
    if comparison.rows.is_empty() {
        return Err(DiffError::Refused(tr!(
            "{} and {} have no tensor in common; expected traces of the same stages",
            found.name(),
            reference.name()
        )));
    }
    Ok(comparison)
}

/// The tensors of a row. Outputs of more than `most` numbers are averaged over squares of pixels.
///
/// # Errors
/// When a file cannot be read.
pub fn sides(found: &Trace, reference: &Trace, row: &Row, most: usize) -> Result<Option<Sides>, DiffError> {
    let (Some(other), Some(stage)) = (found.stage(row.stage), reference.stage(row.stage)) else {
        return Ok(None);
    };
    let sides = |(found, reference)| Sides { found, reference };
    let is_it = |call: &&RecordedCall| call.path == row.path && call.call == row.call;
    let Some(call) = stage.calls.iter().find(is_it) else {
        return Ok(other.tensor(&row.path)?.zip(stage.tensor(&row.path)?).map(sides));
    };
    let theirs = Counterparts::of(&other.calls).find(&stage.calls, call);
    let Some(their) = theirs.first() else { return Ok(None) };
    let both = reduced(other, their.call, most)?.zip(reduced(stage, call, most)?);
    Ok(both.map(|(a, b)| sides(their.rows_of(a.output, b.output))))
}

/// The calls of a stage, by what they compute.
struct Counterparts<'a> {
    calls: &'a [RecordedCall],
    /// By path, row of the batch, and how often the path ran for that row before: the call, and the index of the row in it.
    by_row: HashMap<(&'a str, BatchRow, usize), (&'a RecordedCall, usize)>,
}

/// The call of another trace that computes the same.
struct Counterpart<'a> {
    call: &'a RecordedCall,
    /// The index of the row in the other trace's batch and in this one's, if the batches differ.
    rows: Option<(usize, usize)>,
}

impl<'a> Counterparts<'a> {
    fn of(calls: &'a [RecordedCall]) -> Self {
        let mut counts: HashMap<(&str, BatchRow), usize> = HashMap::new();
        let mut by_row = HashMap::new();
        for call in calls {
            for (index, row) in call.rows.iter().enumerate() {
                let count = counts.entry((&call.path, *row)).or_default();
                by_row.insert((call.path.as_str(), *row, *count), (call, index));
                *count += 1;
            }
        }
        Self { calls, by_row }
    }

    /// The counterparts of `call`, which is one of `own`: with the same batch one, and with other batches one for each row. diffusers runs the
    /// text encoder for each prompt, this program for both at once.
    fn find(&self, own: &[RecordedCall], call: &RecordedCall) -> Vec<Counterpart<'a>> {
        let same = self.calls.iter().find(|known| known.path == call.path && known.call == call.call);
        if let Some(same) =
            same.filter(|same| same.rows == call.rows || same.rows.is_empty() || call.rows.is_empty())
        {
            return vec![Counterpart { call: same, rows: None }];
        }
        let of_row = |(index, row): (usize, &BatchRow)| {
            let before = own.iter().take_while(|known| !std::ptr::eq(*known, call));
            let ran = before.filter(|known| known.path == call.path && known.rows.contains(row)).count();
            let (their, at) = self.by_row.get(&(call.path.as_str(), *row, ran))?;
            Some(Counterpart { call: their, rows: Some((*at, index)) })
        };
        call.rows.iter().enumerate().filter_map(of_row).collect()
    }
}

impl Counterpart<'_> {
    /// What both compute of the row that they have in common.
    fn rows_of(&self, found: PlainTensor, reference: PlainTensor) -> (PlainTensor, PlainTensor) {
        let row = |tensor: &PlainTensor, index: usize| -> Option<PlainTensor> {
            let (batch, rest) = tensor.shape().split_first()?;
            let count = rest.iter().product::<usize>();
            let values = tensor.data().get(index * count..(index + 1) * count)?.to_vec();
            let shape = [&[1], rest].concat();
            PlainTensor::stored(&shape, tensor.dtype(), values).filter(|_| index < *batch)
        };
        let rows = self.rows.and_then(|(theirs, own)| row(&found, theirs).zip(row(&reference, own)));
        rows.unwrap_or((found, reference))
    }
}

/// A row of two tensors, which are read in pieces.
fn row(at: (Stage, &str, usize), a: &OnDisk<'_>, b: &OnDisk<'_>, bound: f64) -> Result<Row, DiffError> {
    Ok(Row::of_shapes(at, a.relative_difference(b)?, (&a.shape, &b.shape), bound, false))
}

/// A note if the generators stood at different places although the seeds are equal: one of them had drawn before.
fn generators(found: &Trace, reference: &Trace) -> Result<Option<String>, DiffError> {
    let of = |trace: &Trace| trace.tensor(Stage::GetLatent, GENERATOR_STATE);
    let seed = |trace: &Trace| trace.manifest().settings.get("seed").cloned();
    let (Some(a), Some(b)) = (of(found)?, of(reference)?) else { return Ok(None) };
    let seed_of = match (seed(found), seed(reference)) {
        (Some(a), Some(b)) if is_equal(&a, &b) => a,
        _ => return Ok(None),
    };
    let (seed, lengths) = (seed_of, (a.data().len(), b.data().len()));
    Ok(match (a.data() == b.data(), lengths.0 == lengths.1) {
        (true, _) => None,
        (false, true) => Some(tr!(
            "the seed is {seed} in both, and the generators' states before the first draw differ: one had drawn before",
            seed
        )),
        (false, false) => Some(tr!(
            "the seed is {seed} in both, and the generators are of two kinds, whose states have {} and {} bytes",
            lengths.0,
            lengths.1,
            seed
        )),
    })
}

/// The settings that differ, each in a line.
fn settings(found: &Trace, reference: &Trace) -> Vec<String> {
    let (a, b) = (found.manifest(), reference.manifest());
    let mut notes = vec![];
    let mut compare = |name: &str, found: Option<&Value>, reference: Option<&Value>| {
        if let (Some(found), Some(reference)) = (found, reference)
            && !is_equal(found, reference)
        {
            notes.push(tr!("{name} is {found}, and {reference} in the reference", name, found, reference));
        }
    };
    for (name, value) in &b.settings {
        compare(name, a.settings.get(name), Some(value));
    }
    if let (Some(a), Some(b)) = (&a.scheduler, &b.scheduler) {
        compare("scheduler", Some(&a.class.clone().into()), Some(&b.class.clone().into()));
        for (name, value) in &b.config {
            compare(&format!("scheduler.{name}"), a.config.get(name), Some(value));
        }
    }
    notes
}

/// Whether two values mean the same: `7` is `7.0`.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

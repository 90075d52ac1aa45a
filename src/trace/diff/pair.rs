//! Two traces, tensor by tensor and module by module. Later modules inherit the differences of earlier ones.

use super::tolerance;
use super::{Comparison, DiffError, Row};
use crate::pipeline::Stage;
use crate::trace::on_disk::OnDisk;
use crate::trace::reader::GENERATOR_STATE;
use crate::trace::{Trace, TraceStage};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
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
        let theirs: HashMap<_, _> =
            other.calls.iter().map(|call| ((call.path.as_str(), call.call), call)).collect();
        let mut missing = 0;
        for call in &stage.calls {
            let Some(their) = theirs.get(&(call.path.as_str(), call.call)) else {
                missing += 1;
                continue;
            };
            if let (Some(a), Some(b)) = (other.output_on_disk(their), stage.output_on_disk(call)) {
                let bound = bound(&call.path, tolerance::lower(a.dtype, b.dtype));
                comparison.rows.push(row((stage.stage, &call.path, call.call), &a, &b, bound)?);
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
        let ours: HashSet<_> = stage.calls.iter().map(|call| (call.path.as_str(), call.call)).collect();
        let more = theirs.keys().filter(|call| !ours.contains(*call)).count();
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

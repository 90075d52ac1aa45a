//! What a name means in one state of a run: its tensors, the settings, the position, the numbers of the newest step.

use crate::debugger::expr::names::is_number_of_a_step;
use crate::debugger::expr::value::{TensorValue, mistake};
use crate::pipeline::settings::Value;
use crate::pipeline::{Setting, Snapshot, Stage};
use crate::tensor::PlainTensor;
use candle_core::DType;
use cel::ExecutionError;
use cel::common::types::{CelDouble, CelInt, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use tr::tr;

/// Whether a name is that of a module: no tensor of a stage has a dot in its name.
pub(super) fn is_module(name: &str) -> bool {
    name.contains('.')
}

/// A tensor, or another name, of a state.
pub(super) fn lookup(state: &Snapshot, name: &str) -> Result<Box<dyn Val>, ExecutionError> {
    named(state, name).ok_or_else(|| {
        let known = tensors(state).join(", ");
        mistake(&tr!("`{name}` is not there; expected one of {known}", name, known))
    })
}

/// The names of the tensors of a state, each once.
pub(in crate::debugger) fn tensors(state: &Snapshot) -> Vec<&'static str> {
    let mut known: Vec<&'static str> = vec![];
    for (tensor, _) in state.records().iter().flat_map(|record| &record.tensors) {
        if !known.contains(tensor) {
            known.push(tensor);
        }
    }
    known
}

/// A timestep as an expression has it: a whole number where it is one.
fn whole(t: f64) -> cel::Value {
    if t.fract() == 0. { cel::Value::Int(t as i64) } else { cel::Value::Float(t) }
}

/// What a name means in a state: tensors by their newest value, settings, the position, the newest step's numbers. A tensor is
/// copied from its device when it is asked for.
pub(super) fn named(state: &Snapshot, name: &str) -> Option<Box<dyn Val>> {
    let int = |n: i64| Some(CowVal::owned(CelInt::from(n)).into_owned());
    let double = |x: f64| Some(CowVal::owned(CelDouble::from(x)).into_owned());
    let string = |s: &str| Some(CowVal::owned(CelString::from(s.to_string())).into_owned());
    let newest = || state.records().iter().rev().find_map(|record| record.step.as_deref());
    match name {
        "step" => match state.position() {
            Some(Stage::Denoise { step }) => int(step as i64),
            _ => None,
        },
        "stage" => string(state.position().map_or("complete", Stage::name)),
        "timesteps" => {
            let timesteps: Vec<cel::Value> =
                state.scheduler().timesteps().iter().map(|t| whole(*t)).collect();
            cel::Value::from(timesteps).try_into().ok()
        }
        "sigmas" => {
            let sigmas: Vec<cel::Value> =
                state.scheduler().sigmas().iter().map(|sigma| cel::Value::Float(f64::from(*sigma))).collect();
            cel::Value::from(sigmas).try_into().ok()
        }
        // Inside a stage its own.
        "timestep" => {
            let inside =
                state.tensor("timestep").and_then(|(_, t)| t.to_dtype(DType::F64).ok()?.to_scalar().ok());
            whole(inside.or_else(|| newest().map(|step| step.timestep))?).try_into().ok()
        }
        "prev_timestep" => whole(newest()?.prev_timestep).try_into().ok(),
        name if is_number_of_a_step(name) => double(newest()?.number(name)?),
        _ => match Setting::find(name).filter(Setting::is_in_expressions) {
            Some(setting) => match setting.get(state.request()) {
                Value::Text(text) => string(&text),
                Value::Count(count) => int(count as i64),
                Value::Number(number) => double(number),
                Value::Seed(seed) => match seed.as_i64() {
                    Some(seed) => int(seed),
                    // CEL's whole numbers without a sign, which compare with those that have one.
                    None => Some(CowVal::owned(CelUInt::from(seed.folded())).into_owned()),
                },
                Value::Chosen(name) => string(&name),
                Value::Picture(_) | Value::Fault(_) => None,
            },
            None => {
                let (_, tensor) = state.tensor(name)?;
                let plain = PlainTensor::of(tensor).ok()?;
                Some(Box::new(TensorValue::new(plain)))
            }
        },
    }
}

//! A row of the tensor table: a tensor's name, shape and statistics.

use crate::debugger::expr::value::TensorValue;
use crate::pipeline::{Stage, StageRecord};
use crate::tensor::{PlainTensor, Summary};
use serde::Serialize;

/// A row of the tensor table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorRow {
    /// The tensor's name: diffusers'.
    pub name: String,
    /// The stage that made it, as in a dump's keys; empty for the value of an expression.
    pub stage: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its dtype on the device.
    pub dtype: &'static str,
    /// Its statistics.
    #[serde(flatten)]
    pub summary: Summary,
}

impl TensorRow {
    /// The row of a tensor that `stage` made.
    pub fn new(name: &str, stage: Option<Stage>, tensor: &PlainTensor) -> Self {
        Self {
            name: name.into(),
            stage: stage.map(Stage::key).unwrap_or_default(),
            shape: tensor.shape().into(),
            dtype: tensor.dtype().as_str(),
            summary: tensor.into(),
        }
    }

    /// The row of an expression's value.
    pub fn of_value(name: &str, value: &TensorValue) -> Self {
        Self { summary: *value.summary(), ..Self::new(name, None, value.tensor()) }
    }

    /// The rows of all tensors of a record.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn of_record(record: &StageRecord) -> candle_core::Result<Vec<Self>> {
        let row = |(name, tensor): &(&'static str, _)| {
            Ok(Self::new(name, Some(record.stage), &PlainTensor::of(tensor)?))
        };
        record.tensors.iter().map(row).collect()
    }
}

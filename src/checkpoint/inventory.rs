//! What a checkpoint holds, told from its headers: nothing is loaded.

use super::layout::{COMPONENTS, Component, Precision};
use super::{LoadError, ModelSource};
use crate::nn::weights::storage_dtype;
use candle_core::{DType, Device};
use safetensors::tensor::TensorInfo;
use serde::Serialize;
use std::collections::BTreeSet;

/// A component's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentWeights {
    /// `text_encoder`, `unet` or `vae`.
    pub name: &'static str,
    /// The weights file, or the index of several.
    pub file: String,
    /// How many files there are.
    pub files: usize,
    /// How many tensors there are.
    pub tensors: usize,
    /// How many numbers they hold together.
    pub parameters: u64,
    /// The dtypes that they are stored in.
    pub dtypes: Vec<String>,
    /// How many bytes they take in the file.
    pub bytes: u64,
    /// The files beside them that hold weights and are not read, each with what it is.
    pub unread: Vec<String>,
}

/// Reads the headers of all weights files that suit `precision`.
///
/// # Errors
/// When one is missing or not a whole file.
pub fn inventory(source: &ModelSource, precision: Precision) -> Result<Vec<ComponentWeights>, LoadError> {
    COMPONENTS.iter().map(|component| of_component(source, component, precision)).collect()
}

fn of_component(
    source: &ModelSource,
    component: &'static Component,
    precision: Precision,
) -> Result<ComponentWeights, LoadError> {
    let name = component.name;
    let weights = source.weights(name, precision)?;
    let mut dtypes = BTreeSet::new();
    let (mut tensors, mut parameters, mut bytes) = (0, 0, 0);
    for (_, info) in weights.tensors() {
        tensors += 1;
        parameters += count(info);
        bytes += (info.data_offsets.1 - info.data_offsets.0) as u64;
        dtypes.insert(format!("{:?}", info.dtype).to_lowercase());
    }
    let (file, files) = (weights.name().into(), weights.files().len());
    let dtypes = dtypes.into_iter().collect();
    let unread = source.unread(component, &weights);
    Ok(ComponentWeights { name, file, files, tensors, parameters, dtypes, bytes, unread })
}

/// How many bytes the weights take when models compute in `dtype` on `device`.
///
/// # Errors
/// As [`inventory`].
pub fn kept_bytes(source: &ModelSource, dtype: DType, device: &Device) -> Result<u128, LoadError> {
    let mut bytes = 0;
    for component in &COMPONENTS {
        for (_, info) in source.weights(component.name, Precision::of(dtype))?.tensors() {
            let kept = storage_dtype(info.dtype, info.shape.len(), dtype, device);
            bytes += u128::from(count(info)) * kept.size_in_bytes() as u128;
        }
    }
    Ok(bytes)
}

fn count(info: &TensorInfo) -> u64 {
    info.shape.iter().map(|&n| n as u64).product()
}

//! The contents of a checkpoint, read from the headers of its weights files.

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
    /// The number of files.
    pub files: usize,
    /// The number of tensors.
    pub tensors: usize,
    /// The number of parameters.
    pub parameters: u64,
    /// The stored dtypes.
    pub dtypes: Vec<String>,
    /// Their size in the files, in bytes.
    pub bytes: u64,
    /// Other weights files in the folder that are not read, each with a description.
    pub unread: Vec<String>,
}

/// Reads the headers of the weights files for `precision`.
///
/// # Errors
/// When one is missing or incomplete.
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

/// The bytes that the weights take in memory when models compute in `dtype` on `device`.
///
/// # Errors
/// As [`inventory`].
pub fn loaded_bytes(source: &ModelSource, dtype: DType, device: &Device) -> Result<u128, LoadError> {
    let mut bytes = 0;
    for component in &COMPONENTS {
        for (_, info) in source.weights(component.name, Precision::of(dtype))?.tensors() {
            let loaded = storage_dtype(info.dtype, info.shape.len(), dtype, device);
            bytes += u128::from(count(info)) * loaded.size_in_bytes() as u128;
        }
    }
    Ok(bytes)
}

fn count(info: &TensorInfo) -> u64 {
    info.shape.iter().map(|&n| n as u64).product()
}

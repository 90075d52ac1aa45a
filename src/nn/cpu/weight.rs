//! Stored weights: 32-bit, or 16-bit and widened a few rows at a time when a layer uses them.

use super::par;
use candle_core::{CpuStorage, DType, Result, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::ops::Range;
use std::sync::OnceLock;

/// The number of elements up to which a weight is small: its packed or widened copy is made once and cached.
pub const SMALL: usize = 1 << 19;

/// The cached copies of one small weight.
#[derive(Debug, Default)]
pub struct PackedCache {
    /// In the order in which a product reads it: transposed for a linear layer, transformed for Winograd's algorithm.
    pub packed: OnceLock<Vec<f32>>,
    /// A 16-bit weight in `f32`.
    widened: OnceLock<Vec<f32>>,
}

/// The elements of a weight, row-major.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// `f32`.
    F32(&'a [f32]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// bfloat16.
    Bf16(&'a [bf16]),
}

impl<'a> Weight<'a> {
    /// The number of elements.
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// The same weight; if it is small, in `f32` from the cache.
    pub fn widened_if_small(self, cache: &'a PackedCache) -> Self {
        if matches!(self, Self::F32(_)) || self.len() > SMALL {
            return self;
        }
        Self::F32(cache.widened.get_or_init(|| self.with(0..self.len(), <[f32]>::to_vec)))
    }

    /// Lends `work` the elements in `range` as `f32`.
    pub fn with<T>(&self, range: Range<usize>, work: impl FnOnce(&[f32]) -> T) -> T {
        match self {
            Self::F32(values) => work(&values[range]),
            Self::F16(values) => par::scratch(range.len(), |widened| {
                values[range].convert_to_f32_slice(widened);
                work(widened)
            }),
            Self::Bf16(values) => par::scratch(range.len(), |widened| {
                values[range].convert_to_f32_slice(widened);
                work(widened)
            }),
        }
    }
}

/// Lends `work` the elements of a weight on the CPU.
///
/// # Errors
/// If the weight is on another device or has another dtype, or if `work` fails.
pub fn with_weight<T>(weight: &Tensor, work: impl FnOnce(Weight<'_>) -> Result<T>) -> Result<T> {
    let weight = weight.contiguous()?;
    let (storage, layout) = weight.storage_and_layout();
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => work(Weight::F32(&values[range])),
        Storage::Cpu(CpuStorage::F16(values)) => work(Weight::F16(&values[range])),
        Storage::Cpu(CpuStorage::BF16(values)) => work(Weight::Bf16(&values[range])),
        _ => candle_core::bail!(
            "a CPU layer takes a weight in f32, f16 or bf16 on the CPU, not {:?} on {:?}",
            weight.dtype(),
            weight.device().location()
        ),
    }
}

/// The bias of `outputs` elements in `f32`.
///
/// # Errors
/// If it has another length.
pub fn bias_values(bias: &Tensor, outputs: usize) -> Result<Vec<f32>> {
    if bias.dims() != [outputs] {
        candle_core::bail!("the bias of {outputs} outputs has the shape {:?}, not [{outputs}]", bias.dims());
    }
    bias.to_dtype(DType::F32)?.to_vec1()
}

//! Weights as they are kept: of 32 bits, or of 16 and widened a few rows at a time where they are used.

use super::par;
use candle_core::{CpuStorage, Result, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::ops::Range;

/// The numbers of a weight, row after row.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// 32 bits.
    F32(&'a [f32]),
    /// IEEE's 16 bits.
    F16(&'a [f16]),
    /// Google's 16 bits.
    Bf16(&'a [bf16]),
}

impl Weight<'_> {
    /// Lends `work` the numbers at `range` as `f32`.
    pub fn with<T>(&self, range: Range<usize>, work: impl FnOnce(&[f32]) -> T) -> T {
        match self {
            Self::F32(numbers) => work(&numbers[range]),
            Self::F16(numbers) => par::scratch(range.len(), |wide| {
                numbers[range].convert_to_f32_slice(wide);
                work(wide)
            }),
            Self::Bf16(numbers) => par::scratch(range.len(), |wide| {
                numbers[range].convert_to_f32_slice(wide);
                work(wide)
            }),
        }
    }
}

/// Lends `work` a weight on the CPU.
///
/// # Errors
/// When it is on another device or of another dtype, or `work` fails.
pub fn with_weight<T>(weight: &Tensor, work: impl FnOnce(Weight<'_>) -> Result<T>) -> Result<T> {
    let weight = weight.contiguous()?;
    let (storage, layout) = weight.storage_and_layout();
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => work(Weight::F32(&numbers[range])),
        Storage::Cpu(CpuStorage::F16(numbers)) => work(Weight::F16(&numbers[range])),
        Storage::Cpu(CpuStorage::BF16(numbers)) => work(Weight::Bf16(&numbers[range])),
        _ => candle_core::bail!("a weight of {:?} on {:?}", weight.dtype(), weight.device().location()),
    }
}

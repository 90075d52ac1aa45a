//! Weights as they are kept: of 32 bits, or of 16 and widened a few rows at a time where they are used.

use super::par;
use candle_core::{CpuStorage, Result, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::ops::Range;
use std::sync::OnceLock;

/// What the layers make of weights of at most so many numbers is made once and kept.
pub const SMALL: usize = 1 << 19;

/// What was made of a small weight, which it belongs to.
#[derive(Debug, Default)]
pub struct Kept {
    /// In the order that a product reads it.
    pub turned: OnceLock<Vec<f32>>,
    /// Its numbers, where they are of 16 bits.
    wide: OnceLock<Vec<f32>>,
}

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

impl<'a> Weight<'a> {
    /// How many numbers there are.
    fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }

    /// The same numbers, of a small weight widened for good.
    pub fn widened_if_small(self, kept: &'a Kept) -> Self {
        if matches!(self, Self::F32(_)) || self.len() > SMALL {
            return self;
        }
        Self::F32(kept.wide.get_or_init(|| self.with(0..self.len(), <[f32]>::to_vec)))
    }

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

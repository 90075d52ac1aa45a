//! Reads and converts numbers block by block, on all cores, so that a tensor is in memory only once.

use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers in a block: its intermediate values stay in a core's cache.
const BLOCK: usize = 1 << 16;

/// What tensors are read from.
pub(super) trait Source: Sync {
    /// Fills `bytes` with the data from offset `at` on.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

/// A supported type of stored numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// `torch.float8_e4m3fn`: 4 bits of exponent, 3 of mantissa, no infinity.
    F8E4M3,
    /// `torch.float8_e5m2`: 5 bits of exponent, 2 of mantissa.
    F8E5M2,
    F16,
    Bf16,
    F32,
    F64,
}

impl Stored {
    /// `None` for an unsupported type.
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F8_E4M3 => Some(Self::F8E4M3),
            Dtype::F8_E5M2 => Some(Self::F8E5M2),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            Dtype::F32 => Some(Self::F32),
            Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }

    /// Bytes per number.
    pub fn width(self) -> usize {
        match self {
            Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// The converted numbers of a tensor.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    pub numbers: Vec<T>,
    /// How many are NaN or infinite in the file.
    pub not_finite: usize,
    /// How many are finite in the file, but not as a `T`.
    pub too_large: usize,
}

/// Reads `count` numbers of type `stored` from offset `at` of the data on.
///
/// # Errors
/// When the file cannot be read or is too short.
pub(super) fn read<T: Element>(
    source: &impl Source,
    stored: Stored,
    at: u64,
    count: usize,
) -> io::Result<Numbers<T>> {
    let width = stored.width();
    let (not_finite, too_large) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut numbers = T::zeros(count);
    let block = |(bytes, scratch): &mut (Vec<u8>, Scratch), (i, to): (usize, &mut [T])| {
        bytes.resize(to.len() * width, 0);
        source.read_at(bytes, at + (i * BLOCK * width) as u64)?;
        let before = T::convert(stored, bytes, to, scratch);
        not_finite.fetch_add(before, Ordering::Relaxed);
        if T::is_narrower(stored) {
            too_large.fetch_add(count_not_finite(to).saturating_sub(before), Ordering::Relaxed);
        }
        Ok::<_, io::Error>(())
    };
    // Blocks are handed out in the file's order, so that the system can read ahead.
    let blocks = numbers.chunks_mut(BLOCK).enumerate();
    if count <= BLOCK {
        let mut scratch = Default::default();
        blocks.into_iter().try_for_each(|next| block(&mut scratch, next))?;
    } else {
        blocks.par_bridge().try_for_each_init(Default::default, block)?;
    }
    Ok(Numbers { numbers, not_finite: not_finite.into_inner(), too_large: too_large.into_inner() })
}

/// Bytes per number of a type of integers or truth values; `None` for other types.
pub(super) fn integer_width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::BOOL | Dtype::U8 | Dtype::I8 => Some(1),
        Dtype::I16 | Dtype::U16 => Some(2),
        Dtype::I32 | Dtype::U32 => Some(4),
        Dtype::I64 | Dtype::U64 => Some(8),
        _ => None,
    }
}

/// Integers or truth values of type `dtype` as `f32`. Empty for other types.
pub(super) fn integers(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().copied().map(convert).collect()
    }
    match dtype {
        Dtype::BOOL | Dtype::U8 => each(bytes, |[byte]| f32::from(byte)),
        Dtype::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::U16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        Dtype::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
        _ => vec![],
    }
}

/// Buffers for the intermediate values of a block.
#[derive(Default)]
pub(super) struct Scratch {
    f16: Vec<f16>,
    bf16: Vec<bf16>,
    f32: Vec<f32>,
}

/// A type of weights in memory.
pub(super) trait Element: Copy + Send + Sync {
    /// `count` zeros, in memory that the system need not have written yet.
    fn zeros(count: usize) -> Vec<Self>;

    /// Converts `bytes` to numbers in `to`; returns how many of the stored numbers are not finite.
    fn convert(stored: Stored, bytes: &[u8], to: &mut [Self], scratch: &mut Scratch) -> usize;

    /// Whether a finite number of type `stored` can be infinite in this type.
    fn is_narrower(stored: Stored) -> bool;

    /// Whether it is neither NaN nor infinite.
    fn is_finite(self) -> bool;
}

impl Element for f32 {
    fn zeros(count: usize) -> Vec<Self> {
        vec![0.; count]
    }

    fn convert(stored: Stored, bytes: &[u8], to: &mut [Self], scratch: &mut Scratch) -> usize {
        match stored {
            Stored::F8E4M3 => put(to, bytes, |[byte]| of_e4m3(byte)),
            Stored::F8E5M2 => put(to, bytes, |[byte]| of_e5m2(byte)),
            Stored::F16 => {
                fill(&mut scratch.f16, bytes, f16::from_le_bytes);
                scratch.f16.convert_to_f32_slice(to);
            }
            Stored::Bf16 => {
                fill(&mut scratch.bf16, bytes, bf16::from_le_bytes);
                scratch.bf16.convert_to_f32_slice(to);
            }
            Stored::F32 => put(to, bytes, f32::from_le_bytes),
            Stored::F64 => put(to, bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        }
        count_not_finite(to)
    }

    /// `f64` numbers are counted after their conversion to `f32`.
    fn is_narrower(_: Stored) -> bool {
        false
    }

    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Element for f16 {
    fn zeros(count: usize) -> Vec<Self> {
        vec![0u16; count].reinterpret_into()
    }

    fn convert(stored: Stored, bytes: &[u8], to: &mut [Self], scratch: &mut Scratch) -> usize {
        if stored == Stored::F16 {
            put(to, bytes, f16::from_le_bytes);
            return count_not_finite(to);
        }
        widened(stored, bytes, to.len(), scratch, |wide| to.convert_from_f32_slice(wide))
    }

    fn is_narrower(stored: Stored) -> bool {
        stored != Stored::F16
    }

    fn is_finite(self) -> bool {
        f16::is_finite(self)
    }
}

impl Element for bf16 {
    fn zeros(count: usize) -> Vec<Self> {
        vec![0u16; count].reinterpret_into()
    }

    fn convert(stored: Stored, bytes: &[u8], to: &mut [Self], scratch: &mut Scratch) -> usize {
        if stored == Stored::Bf16 {
            put(to, bytes, bf16::from_le_bytes);
            return count_not_finite(to);
        }
        widened(stored, bytes, to.len(), scratch, |wide| to.convert_from_f32_slice(wide))
    }

    fn is_narrower(stored: Stored) -> bool {
        stored != Stored::Bf16
    }

    fn is_finite(self) -> bool {
        bf16::is_finite(self)
    }
}

/// Decodes E4M3 of the Open Compute Project's 8-bit floating point specification: NaN if all bits but the sign are set.
fn of_e4m3(byte: u8) -> f32 {
    let (sign, rest) = (u16::from(byte & 0x80) << 8, u16::from(byte & 0x7f));
    if rest == 0x7f {
        return f32::NAN;
    }
    // As f16 bits, the exponent is too small by the difference of the biases, 15 - 7.
    f16::from_bits(sign | rest << 7).to_f32() * 256.
}

/// Decodes E5M2, the upper half of an f16.
fn of_e5m2(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << 8).to_f32()
}

/// Lends `work` the numbers as `f32`; returns how many are not finite.
fn widened(
    stored: Stored,
    bytes: &[u8],
    count: usize,
    scratch: &mut Scratch,
    work: impl FnOnce(&[f32]),
) -> usize {
    let mut wide = std::mem::take(&mut scratch.f32);
    wide.resize(count, 0.);
    let not_finite = f32::convert(stored, bytes, &mut wide, scratch);
    work(&wide);
    scratch.f32 = wide;
    not_finite
}

/// A sum instead of `filter().count()`, so that the compiler vectorizes it.
fn count_not_finite<T: Element>(numbers: &[T]) -> usize {
    numbers.iter().map(|number| usize::from(!number.is_finite())).sum()
}

fn put<const N: usize, T>(to: &mut [T], bytes: &[u8], of: impl Fn([u8; N]) -> T) {
    let (each, _) = bytes.as_chunks::<N>();
    to.iter_mut().zip(each).for_each(|(to, &bytes)| *to = of(bytes));
}

fn fill<const N: usize, T>(to: &mut Vec<T>, bytes: &[u8], of: impl Fn([u8; N]) -> T) {
    let (each, _) = bytes.as_chunks::<N>();
    to.clear();
    to.extend(each.iter().map(|&bytes| of(bytes)));
}

#[cfg(test)]
mod tests;

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
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Source for Vec<u8> {
        fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
            let rest = self.get(at as usize..).and_then(|rest| rest.get(..bytes.len()));
            bytes.copy_from_slice(rest.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    fn bytes_of(numbers: &[f32], stored: Stored) -> Vec<u8> {
        let numbers = numbers.iter();
        match stored {
            Stored::F8E4M3 | Stored::F8E5M2 => unreachable!("tested byte by byte"),
            Stored::F16 => numbers.flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Stored::Bf16 => numbers.flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            Stored::F32 => numbers.flat_map(|x| x.to_le_bytes()).collect(),
            Stored::F64 => numbers.flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
        }
    }

    /// By the definition: (-1)^s · 2^(e - bias) · 1.m, or 2^(1 - bias) · 0.m where the exponent is 0.
    fn by_definition(byte: u8, mantissa_bits: u32, bias: i32) -> f64 {
        let sign = if byte >> 7 == 1 { -1. } else { 1. };
        let exponent = i32::from((byte & 0x7f) >> mantissa_bits);
        let mantissa = f64::from(byte & ((1 << mantissa_bits) - 1)) / f64::from(1u32 << mantissa_bits);
        match exponent {
            0 => sign * mantissa * 2f64.powi(1 - bias),
            _ => sign * (1. + mantissa) * 2f64.powi(exponent - bias),
        }
    }

    #[test]
    fn all_numbers_of_8_bits() {
        let all: Vec<u8> = (0..=255).collect();
        let is_nan = |byte: u8| byte & 0x7f == 0x7f;
        let is_special = |byte: u8| byte & 0x7c == 0x7c;
        let wide = read::<f32>(&all, Stored::F8E4M3, 0, 256).unwrap();
        assert_eq!((wide.not_finite, wide.too_large), (2, 0));
        for (&byte, &number) in all.iter().zip(&wide.numbers) {
            match is_nan(byte) {
                true => assert!(number.is_nan()),
                false => {
                    assert_eq!(number.to_bits(), (by_definition(byte, 3, 7) as f32).to_bits(), "{byte:#x}")
                }
            }
        }
        let wide = read::<f32>(&all, Stored::F8E5M2, 0, 256).unwrap();
        assert_eq!((wide.not_finite, wide.too_large), (8, 0));
        for (&byte, &number) in all.iter().zip(&wide.numbers) {
            match is_special(byte) {
                true => assert_eq!((number.is_infinite(), number.is_nan()), (byte & 3 == 0, byte & 3 != 0)),
                false => {
                    assert_eq!(number.to_bits(), (by_definition(byte, 2, 15) as f32).to_bits(), "{byte:#x}")
                }
            }
        }
        // f16 and bf16 represent all of them.
        for stored in [Stored::F8E4M3, Stored::F8E5M2] {
            let finite: Vec<u8> = all
                .iter()
                .copied()
                .filter(|&byte| {
                    !is_nan(byte) && !is_special(byte) || stored == Stored::F8E4M3 && !is_nan(byte)
                })
                .collect();
            let wide = read::<f32>(&finite, stored, 0, finite.len()).unwrap();
            let half = read::<f16>(&finite, stored, 0, finite.len()).unwrap();
            let brain = read::<bf16>(&finite, stored, 0, finite.len()).unwrap();
            assert_eq!((half.not_finite, half.too_large, brain.not_finite, brain.too_large), (0, 0, 0, 0));
            for ((wide, half), brain) in wide.numbers.iter().zip(half.numbers).zip(brain.numbers) {
                assert_eq!(
                    (wide.to_bits(), wide.to_bits()),
                    (half.to_f32().to_bits(), brain.to_f32().to_bits())
                );
            }
        }
    }

    const ALL: [Stored; 4] = [Stored::F16, Stored::Bf16, Stored::F32, Stored::F64];

    proptest! {
        #[test]
        fn every_type_to_every_other(numbers in prop::collection::vec(-60000f32..60000., 0..300), before in 0usize..9) {
            for stored in ALL {
                let file = [vec![7; before], bytes_of(&numbers, stored)].concat();
                let wide = read::<f32>(&file, stored, before as u64, numbers.len()).unwrap();
                let as_stored: Vec<f32> = numbers.iter().map(|&x| match stored {
                    Stored::F16 => f16::from_f32(x).to_f32(),
                    Stored::Bf16 => bf16::from_f32(x).to_f32(),
                    _ => x,
                }).collect();
                prop_assert_eq!(&wide.numbers, &as_stored);
                let half = read::<f16>(&file, stored, before as u64, numbers.len()).unwrap().numbers;
                let expected: Vec<f16> = as_stored.iter().map(|&x| f16::from_f32(x)).collect();
                prop_assert_eq!(half, expected);
                let half = read::<bf16>(&file, stored, before as u64, numbers.len()).unwrap().numbers;
                let expected: Vec<bf16> = as_stored.iter().map(|&x| bf16::from_f32(x)).collect();
                prop_assert_eq!(half, expected);
            }
        }
    }

    #[test]
    fn several_blocks_and_a_rest() {
        let numbers: Vec<f32> = (0..3 * BLOCK + 17).map(|i| (i % 2039) as f32).collect();
        for stored in [Stored::F16, Stored::F32, Stored::F64] {
            let file = bytes_of(&numbers, stored);
            let read = read::<f32>(&file, stored, 0, numbers.len()).unwrap();
            assert!(read.numbers == numbers, "{stored:?}");
            assert_eq!((read.not_finite, read.too_large), (0, 0));
        }
    }

    #[test]
    fn what_is_not_finite_is_counted() {
        let mut numbers = vec![1f32; 2 * BLOCK];
        (numbers[3], numbers[BLOCK + 5], numbers[2 * BLOCK - 1]) =
            (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        numbers[9] = 1e30;
        for stored in ALL {
            let file = bytes_of(&numbers, stored);
            // 1e30 is stored as infinity in f16.
            let stored_so = if stored == Stored::F16 { 4 } else { 3 };
            let counts = |not_finite, too_large| (not_finite, too_large);
            let wide = read::<f32>(&file, stored, 0, numbers.len()).unwrap();
            assert_eq!(counts(wide.not_finite, wide.too_large), (stored_so, 0));
            let brain = read::<bf16>(&file, stored, 0, numbers.len()).unwrap();
            assert_eq!(counts(brain.not_finite, brain.too_large), (stored_so, 0));
            let half = read::<f16>(&file, stored, 0, numbers.len()).unwrap();
            assert_eq!(counts(half.not_finite, half.too_large), (stored_so, 4 - stored_so));
        }
    }

    #[test]
    fn a_file_that_ends_too_soon() {
        let numbers = vec![1f32; 3 * BLOCK];
        let mut file = bytes_of(&numbers, Stored::F32);
        file.truncate(file.len() - 1);
        let error = read::<f32>(&file, Stored::F32, 0, numbers.len()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

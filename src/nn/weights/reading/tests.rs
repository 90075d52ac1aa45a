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
            .filter(|&byte| !is_nan(byte) && !is_special(byte) || stored == Stored::F8E4M3 && !is_nan(byte))
            .collect();
        let wide = read::<f32>(&finite, stored, 0, finite.len()).unwrap();
        let half = read::<f16>(&finite, stored, 0, finite.len()).unwrap();
        let brain = read::<bf16>(&finite, stored, 0, finite.len()).unwrap();
        assert_eq!((half.not_finite, half.too_large, brain.not_finite, brain.too_large), (0, 0, 0, 0));
        for ((wide, half), brain) in wide.numbers.iter().zip(half.numbers).zip(brain.numbers) {
            assert_eq!((wide.to_bits(), wide.to_bits()), (half.to_f32().to_bits(), brain.to_f32().to_bits()));
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
    (numbers[3], numbers[BLOCK + 5], numbers[2 * BLOCK - 1]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
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

//! Linear layers.

#![allow(unsafe_code)]

use super::gemm::{Output, Strided, product};
use super::par::{self, DisjointMut};
use super::weight::{PackedCache, SMALL, bias_values, with_weight};
use super::{tensor, with_f32};
use candle_core::{D, Result, Tensor};

/// `x` (…, C) times the transposed `weight` (O, C), plus `bias` (O) → (…, O). `cache` belongs to the weight and keeps a small one
/// transposed.
///
/// # Errors
/// If the shapes do not match, or a tensor is not on the CPU.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, cache: &PackedCache) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    if x.dim(D::Minus1)? != inputs {
        candle_core::bail!(
            "a linear layer with a weight of shape {:?} does not fit an input of shape {:?}",
            weight.dims(),
            x.dims()
        );
    }
    let mut shape = x.dims().to_vec();
    shape.pop();
    let rows = shape.iter().product::<usize>();
    shape.push(outputs);
    let bias = bias.map(|bias| bias_values(bias, outputs)).transpose()?;
    with_f32(x, |x_values| {
        with_weight(weight, |weight| {
            let mut out = vec![0f32; rows * outputs];
            let result = DisjointMut::new(&mut out);
            let transposed = (inputs * outputs <= SMALL).then(|| {
                cache.packed.get_or_init(|| {
                    weight.with(0..inputs * outputs, |weight| {
                        let column = |i: usize| weight.iter().skip(i).step_by(inputs).copied();
                        (0..inputs).flat_map(column).collect()
                    })
                })
            });
            let by_rows = rows >= 2 * outputs;
            let parts = par::parts(rows * inputs * outputs, if by_rows { rows / 16 } else { outputs / 16 });
            par::for_each(parts, |i| {
                let (rows, columns) = if by_rows {
                    (par::part(i, parts, rows, 16), 0..outputs)
                } else {
                    (0..rows, par::part(i, parts, outputs, 16))
                };
                let mut output = Output::Overwrite;
                if let Some(bias) = &bias {
                    output = Output::Accumulate;
                    for row in rows.clone() {
                        let range = row * outputs + columns.start..row * outputs + columns.end;
                        // SAFETY: each task has rows or columns of its own.
                        unsafe { result.slice_mut(range) }.copy_from_slice(&bias[columns.clone()]);
                    }
                }
                let sizes = (rows.len(), inputs, columns.len());
                let x = (x_values, Strided::rows(rows.start * inputs, inputs));
                let out = (&result, Strided::rows(rows.start * outputs + columns.start, outputs));
                match transposed {
                    Some(transposed) => {
                        let weight = (transposed.as_slice(), Strided::rows(columns.start, outputs));
                        // SAFETY: as above.
                        unsafe { product(sizes, x, weight, out, output) };
                    }
                    None => weight.with(columns.start * inputs..columns.end * inputs, |weight| {
                        // SAFETY: as above.
                        unsafe { product(sizes, x, (weight, Strided::rows(0, inputs).t()), out, output) };
                    }),
                }
            });
            tensor(out, shape, x)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::cpu::tests::{near, randn};
    use candle_core::{DType, Module};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn linear_matches_candle((batch, rows) in (1usize..3, 1usize..300), (inputs, outputs) in (1usize..130, 1usize..300)) {
            let (x, weight, bias) = (randn(0, &[batch, rows, inputs]), randn(1, &[outputs, inputs]), randn(2, &[outputs]));
            for bias in [None, Some(bias)] {
                let candles = candle_nn::Linear::new(weight.clone(), bias.clone()).forward(&x).unwrap();
                near(&linear(&x, &weight, bias.as_ref(), &PackedCache::default()).unwrap(), &candles, 1e-5);
            }
        }
    }

    #[test]
    fn a_weight_too_large_to_cache() {
        let (inputs, outputs) = (700, 800);
        const { assert!(700 * 800 > SMALL) };
        for rows in [3, 2000] {
            let (x, weight, bias) =
                (randn(0, &[rows, inputs]), randn(1, &[outputs, inputs]), randn(2, &[outputs]));
            let candles = candle_nn::Linear::new(weight.clone(), Some(bias.clone())).forward(&x).unwrap();
            near(&linear(&x, &weight, Some(&bias), &PackedCache::default()).unwrap(), &candles, 1e-5);
        }
    }

    #[test]
    fn a_16_bit_weight_gives_the_result_of_its_widened_copy() {
        for dtype in [DType::F16, DType::BF16] {
            let (x, weight) = (randn(0, &[100, 70]), randn(1, &[90, 70]).to_dtype(dtype).unwrap());
            let wide =
                linear(&x, &weight.to_dtype(DType::F32).unwrap(), None, &PackedCache::default()).unwrap();
            near(&linear(&x, &weight, None, &PackedCache::default()).unwrap(), &wide, 0.);
            let out = linear(&x.to_dtype(dtype).unwrap(), &weight, None, &PackedCache::default()).unwrap();
            assert_eq!(out.dtype(), dtype);
            near(&out.to_dtype(DType::F32).unwrap(), &wide, 1e-2);
        }
    }

    #[test]
    fn a_16_bit_weight_too_large_to_cache() {
        for dtype in [DType::F16, DType::BF16] {
            let weight = randn(1, &[800, 700]).to_dtype(dtype).unwrap();
            for rows in [3, 2000] {
                let x = randn(0, &[rows, 700]);
                let wide =
                    linear(&x, &weight.to_dtype(DType::F32).unwrap(), None, &PackedCache::default()).unwrap();
                near(&linear(&x, &weight, None, &PackedCache::default()).unwrap(), &wide, 0.);
            }
        }
    }

    #[test]
    fn widths_that_differ_are_refused() {
        assert!(linear(&randn(0, &[2, 3]), &randn(0, &[2, 4]), None, &PackedCache::default()).is_err());
    }
    #[test]
    fn no_rows_or_no_outputs_give_an_empty_result() {
        for (x, weight, expected) in [([0, 4], [3, 4], [0, 3]), ([2, 4], [0, 4], [2, 0])] {
            let out = linear(&randn(0, &x), &randn(1, &weight), None, &PackedCache::default()).unwrap();
            assert_eq!(out.dims(), expected);
        }
    }

    #[test]
    fn without_inputs_the_result_is_the_bias() {
        let (x, weight, bias) = (randn(0, &[2, 0]), randn(1, &[3, 0]), randn(2, &[3]));
        let out = linear(&x, &weight, Some(&bias), &PackedCache::default()).unwrap();
        near(&out, &bias.broadcast_as((2, 3)).unwrap(), 0.);
        let out = linear(&x, &weight, None, &PackedCache::default()).unwrap();
        assert_eq!(out.to_vec2::<f32>().unwrap(), [[0.; 3]; 2]);
    }

    #[test]
    fn a_bias_of_another_length_is_refused() {
        let (x, weight) = (randn(0, &[2, 4]), randn(1, &[3, 4]));
        for outputs in [0, 2, 4] {
            let bias = randn(2, &[outputs]);
            assert!(linear(&x, &weight, Some(&bias), &PackedCache::default()).is_err(), "{outputs}");
        }
    }
}

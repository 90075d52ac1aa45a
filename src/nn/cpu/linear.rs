//! Linear layers.

#![allow(unsafe_code)]

use super::gemm::{At, Onto, product};
use super::par::{self, Shared};
use super::weight::{Kept, SMALL, with_weight};
use super::{tensor, with_numbers};
use candle_core::{D, Result, Tensor};

/// `x` (…, C) times `weight` (O, C) turned over, plus `bias` (O) → (…, O). `kept` keeps a small weight turned over; it
/// belongs to the weight.
///
/// # Errors
/// When the shapes do not fit, or a tensor is not on the CPU.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, kept: &Kept) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    if x.dim(D::Minus1)? != inputs {
        candle_core::bail!("a linear layer of {:?} was given {:?}", weight.dims(), x.dims());
    }
    let rows = x.elem_count() / inputs.max(1);
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    let bias = bias.map(|bias| bias.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()).transpose()?;
    with_numbers(x, |x_numbers| {
        with_weight(weight, |weight| {
            let mut out = vec![0f32; rows * outputs];
            let shared = Shared::new(&mut out);
            let turned = (inputs * outputs <= SMALL).then(|| {
                kept.turned.get_or_init(|| {
                    weight.with(0..inputs * outputs, |weight| {
                        (0..inputs).flat_map(|i| weight[i..].iter().step_by(inputs).copied()).collect()
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
                let mut onto = Onto::Nothing;
                if let Some(bias) = &bias {
                    onto = Onto::What;
                    for row in rows.clone() {
                        let range = row * outputs + columns.start..row * outputs + columns.end;
                        // SAFETY: parts are rows or columns of their own.
                        unsafe { shared.part(range) }.copy_from_slice(&bias[columns.clone()]);
                    }
                }
                let sizes = (rows.len(), inputs, columns.len());
                let x = (x_numbers, At::rows(rows.start * inputs, inputs));
                let out = (&shared, At::rows(rows.start * outputs + columns.start, outputs));
                match turned {
                    Some(turned) => {
                        let weight = (turned.as_slice(), At::rows(columns.start, outputs));
                        // SAFETY: as above.
                        unsafe { product(sizes, x, weight, out, onto) };
                    }
                    None => weight.with(columns.start * inputs..columns.end * inputs, |weight| {
                        // SAFETY: as above.
                        unsafe { product(sizes, x, (weight, At::rows(0, inputs).t()), out, onto) };
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
        fn it_is_candles((batch, rows) in (1usize..3, 1usize..300), (inputs, outputs) in (1usize..130, 1usize..300)) {
            let (x, weight, bias) = (randn(0, &[batch, rows, inputs]), randn(1, &[outputs, inputs]), randn(2, &[outputs]));
            for bias in [None, Some(bias)] {
                let candles = candle_nn::Linear::new(weight.clone(), bias.clone()).forward(&x).unwrap();
                near(&linear(&x, &weight, bias.as_ref(), &Kept::default()).unwrap(), &candles, 1e-5);
            }
        }
    }

    #[test]
    fn a_weight_too_large_to_be_turned() {
        let (inputs, outputs) = (700, 800);
        const { assert!(700 * 800 > SMALL) };
        for rows in [3, 2000] {
            let (x, weight, bias) =
                (randn(0, &[rows, inputs]), randn(1, &[outputs, inputs]), randn(2, &[outputs]));
            let candles = candle_nn::Linear::new(weight.clone(), Some(bias.clone())).forward(&x).unwrap();
            near(&linear(&x, &weight, Some(&bias), &Kept::default()).unwrap(), &candles, 1e-5);
        }
    }

    #[test]
    fn a_weight_of_16_bits_is_what_it_is_widened() {
        for dtype in [DType::F16, DType::BF16] {
            let (x, weight) = (randn(0, &[100, 70]), randn(1, &[90, 70]).to_dtype(dtype).unwrap());
            let wide = linear(&x, &weight.to_dtype(DType::F32).unwrap(), None, &Kept::default()).unwrap();
            near(&linear(&x, &weight, None, &Kept::default()).unwrap(), &wide, 0.);
            let out = linear(&x.to_dtype(dtype).unwrap(), &weight, None, &Kept::default()).unwrap();
            assert_eq!(out.dtype(), dtype);
            near(&out.to_dtype(DType::F32).unwrap(), &wide, 1e-2);
        }
    }

    #[test]
    fn so_is_one_too_large_to_be_turned() {
        for dtype in [DType::F16, DType::BF16] {
            let weight = randn(1, &[800, 700]).to_dtype(dtype).unwrap();
            for rows in [3, 2000] {
                let x = randn(0, &[rows, 700]);
                let wide = linear(&x, &weight.to_dtype(DType::F32).unwrap(), None, &Kept::default()).unwrap();
                near(&linear(&x, &weight, None, &Kept::default()).unwrap(), &wide, 0.);
            }
        }
    }

    #[test]
    fn widths_that_differ_are_refused() {
        assert!(linear(&randn(0, &[2, 3]), &randn(0, &[2, 4]), None, &Kept::default()).is_err());
    }
    #[test]
    fn no_rows_or_no_outputs_give_an_empty_answer() {
        for (x, weight, expected) in [([0, 4], [3, 4], [0, 3]), ([2, 4], [0, 4], [2, 0])] {
            let out = linear(&randn(0, &x), &randn(1, &weight), None, &Kept::default()).unwrap();
            assert_eq!(out.dims(), expected);
        }
    }

    #[test]
    fn without_inputs_the_bias_is_left() {
        let (x, weight, bias) = (randn(0, &[2, 0]), randn(1, &[3, 0]), randn(2, &[3]));
        let out = linear(&x, &weight, Some(&bias), &Kept::default()).unwrap();
        near(&out, &bias.broadcast_as((2, 3)).unwrap(), 0.);
        let out = linear(&x, &weight, None, &Kept::default()).unwrap();
        assert_eq!(out.to_vec2::<f32>().unwrap(), [[0.; 3]; 2]);
    }

    #[test]
    fn a_bias_of_another_length_is_refused() {
        let (x, weight) = (randn(0, &[2, 4]), randn(1, &[3, 4]));
        for outputs in [0, 2, 4] {
            let bias = randn(2, &[outputs]);
            assert!(linear(&x, &weight, Some(&bias), &Kept::default()).is_err(), "{outputs}");
        }
    }
}

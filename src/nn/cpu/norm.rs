//! Group norm and layer norm: mean and variance in two passes, then one that writes, which may take an activation along.

#![allow(unsafe_code)]

use super::functions::{silu, sum, wide};
use super::par::{self, Shared};
use super::{pointwise, tensor, with_numbers};
use candle_core::{D, Result, Tensor};

/// Mean, and one over the standard deviation.
#[inline(always)]
fn moments(numbers: &[f32], eps: f64) -> (f32, f32) {
    let n = numbers.len().max(1) as f64;
    let mean = (sum(
        numbers,
        #[inline(always)]
        |x| x,
    ) / n) as f32;
    let variance = sum(
        numbers,
        #[inline(always)]
        |x| (x - mean) * (x - mean),
    ) / n;
    (mean, (1. / (variance + eps).sqrt()) as f32)
}

/// `x` (B, C, …), each of `groups` groups of channels normalized, times `weight` (C) plus `bias` (C); then its silu where
/// that is `activated`.
///
/// # Errors
/// When the shapes do not fit, or a tensor is not on the CPU.
pub fn group_norm(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    groups: usize,
    eps: f64,
    activated: bool,
) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    if weight.elem_count() != channels || bias.elem_count() != channels || channels % groups != 0 {
        candle_core::bail!("a group norm of {} channels was given {:?}", weight.elem_count(), x.dims());
    }
    let pixels = x.elem_count() / (batch * channels).max(1);
    let each = channels / groups;
    with_numbers(x, |x_numbers| {
        with_numbers(weight, |weight| {
            with_numbers(bias, |bias| {
                let mut out = vec![0f32; x_numbers.len()];
                let shared = Shared::new(&mut out);
                // A few groups a task where they are small.
                let at_once = ((1 << 14) / (each * pixels).max(1)).clamp(1, batch * groups);
                par::for_each((batch * groups).div_ceil(at_once), |task| {
                    for i in task * at_once..((task + 1) * at_once).min(batch * groups) {
                        let range = i * each * pixels..(i + 1) * each * pixels;
                        // SAFETY: groups do not overlap.
                        let to = unsafe { shared.part(range.clone()) };
                        let first = i % groups * each;
                        let (weight, bias) = (&weight[first..first + each], &bias[first..first + each]);
                        wide(
                            #[inline(always)]
                            || normalize(&x_numbers[range], to, weight, bias, eps, activated),
                        );
                    }
                });
                tensor(out, x.shape(), x)
            })
        })
    })
}

/// One group, of as many channels as `weight` has numbers.
#[inline(always)]
fn normalize(x: &[f32], out: &mut [f32], weight: &[f32], bias: &[f32], eps: f64, activated: bool) {
    let (mean, rstd) = moments(x, eps);
    let pixels = (x.len() / weight.len().max(1)).max(1);
    let channels = x.chunks_exact(pixels).zip(out.chunks_exact_mut(pixels));
    for ((x, out), (&weight, &bias)) in channels.zip(weight.iter().zip(bias)) {
        let scale = weight * rstd;
        let shift = bias - mean * scale;
        if activated {
            for (y, &x) in out.iter_mut().zip(x) {
                *y = silu(x * scale + shift);
            }
        } else {
            for (y, &x) in out.iter_mut().zip(x) {
                *y = x * scale + shift;
            }
        }
    }
}

/// `x` (…, C), each row normalized, times `weight` (C) plus `bias` (C).
///
/// # Errors
/// When the shapes do not fit, or a tensor is not on the CPU.
pub fn layer_norm(x: &Tensor, (weight, bias): (&Tensor, &Tensor), eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if weight.elem_count() != width || bias.elem_count() != width {
        candle_core::bail!("a layer norm of {} was given {:?}", weight.elem_count(), x.dims());
    }
    with_numbers(x, |x_numbers| {
        with_numbers(weight, |weight| {
            with_numbers(bias, |bias| {
                let mut out = vec![0f32; x_numbers.len()];
                pointwise::fill(&mut out, width, |start, run| {
                    wide(
                        #[inline(always)]
                        || {
                            let rows = x_numbers[start..].chunks_exact(width.max(1));
                            for (x, out) in rows.zip(run.chunks_exact_mut(width.max(1))) {
                                let (mean, rstd) = moments(x, eps);
                                for (((y, &x), &w), &b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                                    *y = (x - mean) * rstd * w + b;
                                }
                            }
                        },
                    );
                });
                tensor(out, x.shape(), x)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::cpu::tests::{near, randn};
    use candle_core::Module;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn group_norm_is_candles(
            (batch, groups, each) in (1usize..3, 1usize..5, 1usize..4),
            (height, width) in (1usize..9, 2usize..9),
        ) {
            let channels = groups * each;
            let x = (randn(0, &[batch, channels, height, width]) + 3.).unwrap();
            let (weight, bias) = (randn(1, &[channels]), randn(2, &[channels]));
            let candles = candle_nn::GroupNorm::new(weight.clone(), bias.clone(), channels, groups, 1e-5).unwrap();
            let candles = candles.forward(&x).unwrap();
            near(&group_norm(&x, (&weight, &bias), groups, 1e-5, false).unwrap(), &candles, 1e-5);
            let activated = candles.silu().unwrap();
            near(&group_norm(&x, (&weight, &bias), groups, 1e-5, true).unwrap(), &activated, 1e-5);
        }

        #[test]
        fn layer_norm_is_candles((batch, rows, width) in (1usize..3, 1usize..9, 4usize..70)) {
            let x = randn(0, &[batch, rows, width]);
            let (weight, bias) = (randn(1, &[width]), randn(2, &[width]));
            let candles = candle_nn::LayerNorm::new(weight.clone(), bias.clone(), 1e-5).forward(&x).unwrap();
            near(&layer_norm(&x, (&weight, &bias), 1e-5).unwrap(), &candles, 1e-4);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (x, three) = (randn(0, &[1, 4, 2, 2]), randn(1, &[3]));
        assert!(group_norm(&x, (&three, &three), 1, 1e-5, false).is_err());
        assert!(layer_norm(&x, (&three, &three), 1e-5).is_err());
    }
    #[test]
    fn a_group_norm_of_no_pictures_is_empty() {
        let weight = randn(1, &[4]);
        let x = randn(0, &[0, 4, 2, 2]);
        assert_eq!(group_norm(&x, (&weight, &weight), 2, 1e-5, true).unwrap().dims(), [0, 4, 2, 2]);
    }

    #[test]
    fn a_group_norm_of_no_pixels_or_channels_is_empty() {
        for shape in [[1, 4, 0, 2], [2, 0, 3, 3]] {
            let (x, weight) = (randn(0, &shape), randn(1, &[shape[1]]));
            assert_eq!(group_norm(&x, (&weight, &weight), 2, 1e-5, true).unwrap().dims(), shape);
        }
    }

    #[test]
    fn a_group_norm_of_no_groups_is_refused() {
        let (x, weight) = (randn(0, &[1, 4, 2, 2]), randn(1, &[4]));
        assert!(group_norm(&x, (&weight, &weight), 0, 1e-5, false).is_err());
    }

    #[test]
    fn a_layer_norm_of_nothing_is_empty() {
        for shape in [[0, 4], [3, 0]] {
            let (x, weight) = (randn(0, &shape), randn(1, &[shape[1]]));
            assert_eq!(layer_norm(&x, (&weight, &weight), 1e-5).unwrap().dims(), shape);
        }
    }
}

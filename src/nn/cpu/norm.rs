//! Group norm and layer norm: two passes for mean and variance, one to write, with an optional activation.

use super::functions::{silu, sum, wide};
use super::{par, pointwise, tensor, with_f32};
use candle_core::{D, Result, Tensor};

/// The mean, and one over the standard deviation.
#[inline(always)]
fn moments(values: &[f32], eps: f64) -> (f32, f32) {
    let n = values.len().max(1) as f64;
    let mean = (sum(
        values,
        #[inline(always)]
        |x| x,
    ) / n) as f32;
    let variance = sum(
        values,
        #[inline(always)]
        |x| (x - mean) * (x - mean),
    ) / n;
    (mean, (1. / (variance + eps).sqrt()) as f32)
}

/// Normalizes each of `groups` groups of channels of `x` (B, C, …), multiplies by `weight` (C) and adds `bias` (C). Applies silu
/// if `activated`.
///
/// # Errors
/// If the shapes do not match, `groups` does not divide C, or a tensor is not on the CPU.
pub fn group_norm(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    groups: usize,
    eps: f64,
    activated: bool,
) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    if weight.elem_count() != channels
        || bias.elem_count() != channels
        || !channels.is_multiple_of(groups)
        || groups == 0
    {
        candle_core::bail!(
            "a group norm of {} channels in {groups} groups does not fit an input of shape {:?}",
            weight.elem_count(),
            x.dims()
        );
    }
    let pixels = x.elem_count() / (batch * channels).max(1);
    let each = channels / groups;
    with_f32(x, |x_values| {
        with_f32(weight, |weight| {
            with_f32(bias, |bias| {
                let mut out = vec![0f32; x_values.len()];
                let len = (each * pixels).max(1);
                // Several small groups share a task.
                let at_once = ((1 << 14) / len).max(1);
                par::for_each_chunk(&mut out, at_once * len, |task, chunk| {
                    for (i, out) in (task * at_once..).zip(chunk.chunks_exact_mut(len)) {
                        let first = i % groups * each;
                        let (weight, bias) = (&weight[first..first + each], &bias[first..first + each]);
                        let x = &x_values[i * len..(i + 1) * len];
                        wide(
                            #[inline(always)]
                            || normalize(x, out, weight, bias, eps, activated),
                        );
                    }
                });
                tensor(out, x.shape(), x)
            })
        })
    })
}

/// Normalizes one group. `weight` and `bias` hold one value for each of its channels.
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

/// Normalizes each row of `x` (…, C), multiplies by `weight` (C) and adds `bias` (C).
///
/// # Errors
/// If the shapes do not match, or a tensor is not on the CPU.
pub fn layer_norm(x: &Tensor, (weight, bias): (&Tensor, &Tensor), eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if weight.elem_count() != width || bias.elem_count() != width {
        candle_core::bail!(
            "a layer norm of {} channels does not fit an input of shape {:?}",
            weight.elem_count(),
            x.dims()
        );
    }
    with_f32(x, |x_values| {
        with_f32(weight, |weight| {
            with_f32(bias, |bias| {
                let mut out = vec![0f32; x_values.len()];
                pointwise::fill(&mut out, width, |start, run| {
                    wide(
                        #[inline(always)]
                        || {
                            let rows = x_values[start..].chunks_exact(width.max(1));
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
        fn group_norm_matches_candle(
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
        fn layer_norm_matches_candle((batch, rows, width) in (1usize..3, 1usize..9, 4usize..70)) {
            let x = randn(0, &[batch, rows, width]);
            let (weight, bias) = (randn(1, &[width]), randn(2, &[width]));
            let candles = candle_nn::LayerNorm::new(weight.clone(), bias.clone(), 1e-5).forward(&x).unwrap();
            near(&layer_norm(&x, (&weight, &bias), 1e-5).unwrap(), &candles, 1e-4);
        }
    }

    #[test]
    fn shapes_that_do_not_match_are_refused() {
        let (x, three) = (randn(0, &[1, 4, 2, 2]), randn(1, &[3]));
        assert!(group_norm(&x, (&three, &three), 1, 1e-5, false).is_err());
        assert!(layer_norm(&x, (&three, &three), 1e-5).is_err());
    }
    #[test]
    fn group_norm_of_an_empty_batch_is_empty() {
        let weight = randn(1, &[4]);
        let x = randn(0, &[0, 4, 2, 2]);
        assert_eq!(group_norm(&x, (&weight, &weight), 2, 1e-5, true).unwrap().dims(), [0, 4, 2, 2]);
    }

    #[test]
    fn group_norm_without_pixels_or_channels_is_empty() {
        for shape in [[1, 4, 0, 2], [2, 0, 3, 3]] {
            let (x, weight) = (randn(0, &shape), randn(1, &[shape[1]]));
            assert_eq!(group_norm(&x, (&weight, &weight), 2, 1e-5, true).unwrap().dims(), shape);
        }
    }

    #[test]
    fn group_norm_of_zero_groups_is_refused() {
        let (x, weight) = (randn(0, &[1, 4, 2, 2]), randn(1, &[4]));
        assert!(group_norm(&x, (&weight, &weight), 0, 1e-5, false).is_err());
    }

    #[test]
    fn layer_norm_of_an_empty_tensor_is_empty() {
        for shape in [[0, 4], [3, 0]] {
            let (x, weight) = (randn(0, &shape), randn(1, &[shape[1]]));
            assert_eq!(layer_norm(&x, (&weight, &weight), 1e-5).unwrap().dims(), shape);
        }
    }
}

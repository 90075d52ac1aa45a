//! Convolutions as matrix products: each patch under the kernel is a column, and the kernel times the columns is the output.
//! Columns are unfolded one band of output lines at a time, across the images of a batch. A 1×1 kernel needs no unfolding.

#![allow(unsafe_code)]

use super::gemm::{Output, Strided, product, product_alone};
use super::par::{self, DisjointMut};
use super::weight::{PackedCache, Weight, bias_values, with_weight};
use super::{tensor, winograd, with_f32};
use candle_core::{Result, Tensor};
use std::ops::Range;

/// The largest band of unfolded columns, in elements: it should stay in cache.
const BAND: usize = 4 << 20;
/// A line with fewer outputs is short.
const SHORT: usize = 16;

/// The sizes of a convolution and its input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub channels: usize,
    pub outputs: usize,
    pub height: usize,
    pub width: usize,
    pub side: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Sizes {
    fn out(&self, size: usize) -> usize {
        (size + 2 * self.padding - self.side) / self.stride + 1
    }

    pub fn out_height(&self) -> usize {
        self.out(self.height)
    }

    pub fn out_width(&self) -> usize {
        self.out(self.width)
    }
}

/// `x` (B, C, H, W), `weight` (O, C, k, k), `bias` (O) → (B, O, H', W'). `cache` belongs to the weight and keeps copies of a small
/// one.
///
/// # Errors
/// If the shapes do not match, the kernel is not square, the kernel or the stride is 0, the kernel exceeds
/// the padded image, or a tensor is not on the CPU.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    (stride, padding): (usize, usize),
    cache: &PackedCache,
) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let (outputs, inputs, side, across) = weight.dims4()?;
    if side != across || side == 0 || stride == 0 {
        candle_core::bail!(
            "a convolution needs a square kernel and a stride of at least 1, not a weight of shape {:?} and a stride of {stride}",
            weight.dims()
        );
    }
    if channels != inputs || height + 2 * padding < side || width + 2 * padding < side {
        candle_core::bail!(
            "a convolution with a weight of shape {:?} does not fit an input of shape {:?}",
            weight.dims(),
            x.dims()
        );
    }
    let sizes = Sizes { batch, channels, outputs, height, width, side, stride, padding };
    let bias = match bias {
        Some(bias) => bias_values(bias, outputs)?,
        None => vec![0.; outputs],
    };
    let shape = (batch, outputs, sizes.out_height(), sizes.out_width());
    with_f32(x, |x_values| {
        with_weight(weight, |weight| {
            let mut out = vec![0f32; batch * outputs * shape.2 * shape.3];
            let result = DisjointMut::new(&mut out);
            if side == 1 && stride == 1 && padding == 0 {
                pixel_by_pixel(x_values, weight.widened_if_small(cache), &bias, &result, sizes);
            } else if winograd::suits(sizes) {
                winograd::conv3x3(x_values, weight, &bias, &result, sizes, cache);
            } else {
                by_columns(x_values, weight.widened_if_small(cache), &bias, &result, sizes);
            }
            tensor(out, shape, x)
        })
    })
}

/// A 1×1 kernel: (O × C) · (C × H·W) for each image.
fn pixel_by_pixel(x: &[f32], weight: Weight<'_>, bias: &[f32], out: &DisjointMut<'_>, sizes: Sizes) {
    let Sizes { batch, channels, outputs, height, width, .. } = sizes;
    let pixels = height * width;
    let by_pixels = pixels >= 2 * outputs;
    let most = if by_pixels { pixels } else { outputs } / 16;
    let parts = par::parts(channels * outputs * pixels, most);
    par::for_each(batch * parts, |task| {
        let (b, i) = (task / parts, task % parts);
        let (rows, columns) = if by_pixels {
            (0..outputs, par::part(i, parts, pixels, 16))
        } else {
            (par::part(i, parts, outputs, 16), 0..pixels)
        };
        for o in rows.clone() {
            let line = (b * outputs + o) * pixels;
            // SAFETY: each task has an image, and rows or columns in it, of its own.
            unsafe { out.slice_mut(line + columns.start..line + columns.end) }.fill(bias[o]);
        }
        weight.with(rows.start * channels..rows.end * channels, |weight| {
            let x = (x, Strided::rows(b * channels * pixels + columns.start, pixels));
            let out = (out, Strided::rows((b * outputs + rows.start) * pixels + columns.start, pixels));
            let sizes = (rows.len(), channels, columns.len());
            // SAFETY: as above.
            unsafe { product(sizes, (weight, Strided::rows(0, channels)), x, out, Output::Accumulate) };
        });
    });
}

/// A kernel of any size.
fn by_columns(x: &[f32], weight: Weight<'_>, bias: &[f32], out: &DisjointMut<'_>, sizes: Sizes) {
    let Sizes { batch, channels, outputs, side, .. } = sizes;
    let (out_height, out_width) = (sizes.out_height(), sizes.out_width());
    let patch = channels * side * side;
    let lines = batch * out_height;
    let at_once = (BAND / (patch * out_width).max(1)).clamp(1, lines.max(1));
    for top in (0..lines).step_by(at_once) {
        let band = top..(top + at_once).min(lines);
        let columns = band.len() * out_width;
        par::scratch(patch * columns, |unfolded| {
            unfold(x, unfolded, band.clone(), sizes);
            let unfolded: &[f32] = unfolded;
            let parts = par::parts(patch * columns * outputs, outputs / 8).max(outputs.div_ceil(256));
            par::for_each(parts, |i| {
                let rows = par::part(i, parts, outputs, 8);
                par::scratch(rows.len() * columns, |made| {
                    weight.with(rows.start * patch..rows.end * patch, |weight| {
                        let (kernel, unfolded) =
                            (Strided::rows(0, patch), (unfolded, Strided::rows(0, columns)));
                        let sizes = (rows.len(), patch, columns);
                        let made = (&mut *made, Strided::rows(0, columns));
                        product_alone(sizes, (weight, kernel), unfolded, made, Output::Overwrite);
                    });
                    for (o, made) in rows.zip(made.chunks_exact(columns.max(1))) {
                        for (line, made) in band.clone().zip(made.chunks_exact(out_width)) {
                            let (b, y) = (line / out_height, line % out_height);
                            let start = ((b * outputs + o) * out_height + y) * out_width;
                            // SAFETY: no other task has this output, and tasks of other bands do not run now.
                            let to = unsafe { out.slice_mut(start..start + out_width) };
                            to.iter_mut().zip(made).for_each(|(to, made)| *to = made + bias[o]);
                        }
                    }
                });
            });
        });
    }
}

/// `torch.nn.Unfold` of a band of output lines: (B, C, H, W) → (C·k·k, lines · W').
fn unfold(x: &[f32], columns: &mut [f32], band: Range<usize>, sizes: Sizes) {
    let Sizes { channels, height, width, side, stride, padding, .. } = sizes;
    let (out_height, out_width) = (sizes.out_height(), sizes.out_width());
    let taps = side * side;
    let pixels = band.len() * out_width;
    let count = channels * taps;
    let at_once = ((1 << 15) / pixels.max(1)).clamp(1, count.max(1));
    // For short lines, computing indices takes longer than copying: the source of each element is found once for all channels.
    let sources = (out_width < SHORT).then(|| {
        let pixels = (0..taps).flat_map(|tap| {
            let lines = band.clone().flat_map(move |line| (0..out_width).map(move |x| (line, x)));
            lines.map(move |(line, x)| source(line / out_height, (line % out_height, x), tap, sizes))
        });
        pixels.collect::<Vec<usize>>()
    });
    par::for_each_chunk(columns, at_once * pixels, |task, rows| {
        for (i, row) in (task * at_once..).zip(rows.chunks_exact_mut(pixels.max(1))) {
            let (channel, tap) = (i / taps, i % taps);
            let (dy, dx) = (tap / side, tap % side);
            if let Some(sources) = &sources {
                let (plane, sources) =
                    (&x[channel * height * width..], &sources[tap * pixels..(tap + 1) * pixels]);
                row.iter_mut().zip(sources).for_each(|(to, &at)| *to = plane.get(at).copied().unwrap_or(0.));
                continue;
            }
            for (line, to) in band.clone().zip(row.chunks_exact_mut(out_width)) {
                let (b, y) = (line / out_height, line % out_height);
                // The padding is 0.
                match (y * stride + dy).checked_sub(padding).filter(|&y| y < height) {
                    None => to.fill(0.),
                    Some(y) => {
                        let start = ((b * channels + channel) * height + y) * width;
                        copy_row(&x[start..start + width], dx, to, stride, padding);
                    }
                }
            }
        }
    });
}

/// The index of the pixel under a kernel tap for the output (y, x) of image `b`, relative to the first pixel of its channel in the
/// batch. `usize::MAX` in the padding.
fn source(b: usize, (y, x): (usize, usize), tap: usize, sizes: Sizes) -> usize {
    let Sizes { channels, height, width, side, stride, padding, .. } = sizes;
    let row = (y * stride + tap / side).checked_sub(padding).filter(|&row| row < height);
    let column = (x * stride + tap % side).checked_sub(padding).filter(|&column| column < width);
    row.zip(column).map_or(usize::MAX, |(row, column)| (b * channels * height + row) * width + column)
}

/// Copies the pixels of a row that are under the kernel's column `dx`, one for each output; 0 in the padding.
fn copy_row(from: &[f32], dx: usize, to: &mut [f32], stride: usize, padding: usize) {
    // The first output inside the row, and the first beyond its end.
    let first = padding.saturating_sub(dx).div_ceil(stride).min(to.len());
    let end = (from.len() + padding).saturating_sub(dx).div_ceil(stride).clamp(first, to.len());
    to[..first].fill(0.);
    to[end..].fill(0.);
    let to = &mut to[first..end];
    // No output: the kernel's column is in the padding all along, and `start` may be outside the row.
    let Some(start) = (first * stride + dx).checked_sub(padding).filter(|_| !to.is_empty()) else { return };
    if stride == 1 {
        to.copy_from_slice(&from[start..start + to.len()]);
    } else {
        let pixels = from[start..].iter().step_by(stride);
        to.iter_mut().zip(pixels).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::cpu::tests::{near, randn};
    use crate::nn::cpu::weight::SMALL;
    use candle_core::DType;
    use proptest::prelude::*;

    fn check(x: &[usize; 4], weight: &[usize; 4], (stride, padding): (usize, usize), bound: f64) {
        let (x, weight, bias) = (randn(0, x), randn(1, weight), randn(2, &[weight[0]]));
        let ours = conv2d(&x, &weight, Some(&bias), (stride, padding), &PackedCache::default()).unwrap();
        let candles = x.conv2d(&weight, padding, stride, 1, 1).unwrap();
        near(&ours, &candles.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap()).unwrap(), bound);
        let ours = conv2d(&x, &weight, None, (stride, padding), &PackedCache::default()).unwrap();
        near(&ours, &candles, bound);
    }

    proptest! {
        #[test]
        fn conv2d_matches_candle(
            (batch, channels, outputs) in (1usize..3, 1usize..5, 1usize..40),
            (height, width) in (1usize..12, 1usize..12),
            (side, stride, padding) in (1usize..4, 1usize..4, 0usize..3),
        ) {
            prop_assume!(height + 2 * padding >= side && width + 2 * padding >= side);
            check(&[batch, channels, height, width], &[outputs, channels, side, side], (stride, padding), 1e-5);
        }

        #[test]
        fn a_3x3_kernel_matches_candle(
            (batch, channels, outputs) in (1usize..3, 1usize..40, 1usize..40),
            (height, width) in (1usize..40, 1usize..40),
        ) {
            check(&[batch, channels, height, width], &[outputs, channels, 3, 3], (1, 1), 1e-5);
        }
    }

    #[test]
    fn an_image_of_several_bands_matches_candle() {
        const { assert!(256 * 9 * 2 * 50 * 70 > BAND) };
        check(&[2, 256, 100, 140], &[3, 256, 3, 3], (2, 1), 1e-5);
        check(&[2, 256, 100, 140], &[17, 256, 3, 3], (1, 1), 1e-5);
        check(&[2, 64, 100, 140], &[32, 64, 1, 1], (1, 0), 1e-5);
    }

    #[test]
    fn a_16_bit_weight_gives_the_result_of_its_widened_copy() {
        // The last weight is too large for the cache.
        const { assert!(256 * 240 * 9 > SMALL) };
        let (f16, bf16) = (DType::F16, DType::BF16);
        for (channels, outputs, side, size, dtype) in
            [(32, 48, 1, 8, f16), (32, 48, 3, 3, bf16), (32, 48, 3, 24, f16), (256, 240, 3, 24, bf16)]
        {
            let x = randn(0, &[2, channels, size, size]);
            let half = randn(1, &[outputs, channels, side, side]).to_dtype(dtype).unwrap();
            let padding = (1, side / 2);
            let wide = half.to_dtype(DType::F32).unwrap();
            let [ours, theirs] = [half, wide]
                .map(|weight| conv2d(&x, &weight, None, padding, &PackedCache::default()).unwrap());
            near(&ours, &theirs, 0.);
        }
    }

    #[test]
    fn channels_that_do_not_match_are_refused() {
        let (x, weight) = (randn(0, &[1, 3, 4, 4]), randn(1, &[1, 2, 3, 3]));
        assert!(conv2d(&x, &weight, None, (1, 1), &PackedCache::default()).is_err());
    }
    fn dims(x: &[usize; 4], weight: &[usize; 4], steps: (usize, usize)) -> Vec<usize> {
        let out = conv2d(&randn(0, x), &randn(1, weight), None, steps, &PackedCache::default());
        out.unwrap().dims().to_vec()
    }

    #[test]
    fn an_empty_batch_gives_an_empty_result() {
        assert_eq!(dims(&[0, 16, 8, 8], &[3, 16, 3, 3], (1, 1)), [0, 3, 8, 8]);
        assert_eq!(dims(&[0, 16, 8, 8], &[3, 16, 1, 1], (1, 0)), [0, 3, 8, 8]);
    }

    #[test]
    fn no_outputs_give_an_empty_result() {
        // By Winograd's algorithm, by columns and pixel by pixel.
        assert_eq!(dims(&[1, 16, 32, 32], &[0, 16, 3, 3], (1, 1)), [1, 0, 32, 32]);
        assert_eq!(dims(&[1, 2, 8, 8], &[0, 2, 3, 3], (2, 1)), [1, 0, 4, 4]);
        assert_eq!(dims(&[1, 2, 8, 8], &[0, 2, 1, 1], (1, 0)), [1, 0, 8, 8]);
    }

    #[test]
    fn no_pixels_are_refused() {
        let weight = randn(1, &[3, 2, 1, 1]);
        for shape in [[1, 2, 0, 5], [1, 2, 5, 0]] {
            assert!(conv2d(&randn(0, &shape), &weight, None, (1, 0), &PackedCache::default()).is_err());
        }
    }

    #[test]
    fn without_channels_or_pixels_the_result_is_the_bias() {
        let bias = randn(2, &[3]);
        for (x, weight, steps) in [
            ([1, 0, 4, 4], [3, 0, 3, 3], (1, 1)),
            ([1, 0, 4, 4], [3, 0, 1, 1], (1, 0)),
            ([1, 2, 0, 4], [3, 2, 3, 3], (1, 2)),
        ] {
            let out = conv2d(&randn(0, &x), &randn(1, &weight), Some(&bias), steps, &PackedCache::default())
                .unwrap();
            let expected = bias.reshape((1, 3, 1, 1)).unwrap().broadcast_as(out.shape()).unwrap();
            near(&out, &expected, 0.);
        }
    }

    #[test]
    fn padding_may_be_wider_than_the_image() {
        check(&[1, 2, 1, 1], &[3, 2, 25, 25], (1, 20), 1e-5);
    }

    #[test]
    fn a_stride_of_zero_is_refused() {
        let (x, weight) = (randn(0, &[1, 2, 4, 4]), randn(1, &[3, 2, 3, 3]));
        assert!(conv2d(&x, &weight, None, (0, 1), &PackedCache::default()).is_err());
    }

    #[test]
    fn empty_and_non_square_kernels_are_refused() {
        let x = randn(0, &[1, 2, 4, 4]);
        for kernel in [[3, 2, 0, 0], [3, 2, 3, 1], [3, 2, 1, 3]] {
            assert!(
                conv2d(&x, &randn(1, &kernel), None, (1, 1), &PackedCache::default()).is_err(),
                "{kernel:?}"
            );
        }
    }

    #[test]
    fn a_bias_of_another_length_is_refused() {
        let (x, weight) = (randn(0, &[1, 2, 4, 4]), randn(1, &[3, 2, 3, 3]));
        for outputs in [0, 2, 4] {
            let bias = randn(2, &[outputs]);
            assert!(conv2d(&x, &weight, Some(&bias), (1, 1), &PackedCache::default()).is_err(), "{outputs}");
        }
    }
}

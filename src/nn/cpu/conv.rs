//! Convolutions as products of matrices: every patch that the kernel sees is a column, the kernel times the columns is the
//! output. Columns are made a band of output lines at a time, across the pictures of a batch. A kernel of one pixel needs
//! none made.

#![allow(unsafe_code)]

use super::gemm::{At, Onto, product, product_alone};
use super::par::{self, Shared};
use super::weight::{Kept, Weight, with_weight};
use super::{tensor, winograd, with_numbers};
use candle_core::{DType, Result, Tensor};
use std::ops::Range;

/// What a band of columns takes at most, in numbers: it shall stay near the processors.
const BAND: usize = 4 << 20;
/// Lines of fewer outputs are short.
const SHORT: usize = 16;

/// The sizes of a convolution and of what it is given.
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

/// `x` (B, C, H, W), `weight` (O, C, k, k), `bias` (O) → (B, O, H', W'). `kept` keeps what is made of a
/// small weight; it belongs to the weight.
///
/// # Errors
/// When the shapes do not fit, or a tensor is not on the CPU.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    (stride, padding): (usize, usize),
    kept: &Kept,
) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let (outputs, inputs, side, _) = weight.dims4()?;
    if channels != inputs || height + 2 * padding < side || width + 2 * padding < side {
        candle_core::bail!("a convolution of {:?} was given {:?}", weight.dims(), x.dims());
    }
    let sizes = Sizes { batch, channels, outputs, height, width, side, stride, padding };
    let bias = match bias {
        Some(bias) => bias.to_dtype(DType::F32)?.to_vec1::<f32>()?,
        None => vec![0.; outputs],
    };
    let shape = (batch, outputs, sizes.out_height(), sizes.out_width());
    with_numbers(x, |x_numbers| {
        with_weight(weight, |weight| {
            let mut out = vec![0f32; batch * outputs * shape.2 * shape.3];
            let shared = Shared::new(&mut out);
            if side == 1 && stride == 1 && padding == 0 {
                pixel_by_pixel(x_numbers, weight.widened_if_small(kept), &bias, &shared, sizes);
            } else if winograd::suits(sizes) {
                winograd::conv3x3(x_numbers, weight, &bias, &shared, sizes, kept);
            } else {
                by_columns(x_numbers, weight.widened_if_small(kept), &bias, &shared, sizes);
            }
            tensor(out, shape, x)
        })
    })
}

/// A kernel of one pixel: (O × C) · (C × H·W), picture by picture.
fn pixel_by_pixel(x: &[f32], weight: Weight<'_>, bias: &[f32], out: &Shared<'_>, sizes: Sizes) {
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
            // SAFETY: parts are pictures, and rows or columns of their own.
            unsafe { out.part(line + columns.start..line + columns.end) }.fill(bias[o]);
        }
        weight.with(rows.start * channels..rows.end * channels, |weight| {
            let x = (x, At::rows(b * channels * pixels + columns.start, pixels));
            let out = (out, At::rows((b * outputs + rows.start) * pixels + columns.start, pixels));
            let sizes = (rows.len(), channels, columns.len());
            // SAFETY: as above.
            unsafe { product(sizes, (weight, At::rows(0, channels)), x, out, Onto::What) };
        });
    });
}

/// Any kernel.
fn by_columns(x: &[f32], weight: Weight<'_>, bias: &[f32], out: &Shared<'_>, sizes: Sizes) {
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
                        let (kernel, unfolded) = (At::rows(0, patch), (unfolded, At::rows(0, columns)));
                        let sizes = (rows.len(), patch, columns);
                        let made = (&mut *made, At::rows(0, columns));
                        product_alone(sizes, (weight, kernel), unfolded, made, Onto::Nothing);
                    });
                    for (o, made) in rows.zip(made.chunks_exact(columns.max(1))) {
                        for (line, made) in band.clone().zip(made.chunks_exact(out_width)) {
                            let (b, y) = (line / out_height, line % out_height);
                            let start = ((b * outputs + o) * out_height + y) * out_width;
                            // SAFETY: this output's line is in this part's rows and in this band.
                            let to = unsafe { out.part(start..start + out_width) };
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
    let shared = Shared::new(columns);
    let count = channels * taps;
    let at_once = ((1 << 15) / pixels.max(1)).clamp(1, count.max(1));
    // Short lines take longer to find than to copy: where every number comes from is found once for all channels.
    let found = (out_width < SHORT).then(|| {
        let pixels = (0..taps).flat_map(|tap| {
            let lines = band.clone().flat_map(move |line| (0..out_width).map(move |x| (line, x)));
            lines.map(move |(line, x)| sees(line / out_height, (line % out_height, x), tap, sizes))
        });
        pixels.collect::<Vec<usize>>()
    });
    par::for_each(count.div_ceil(at_once), |task| {
        for i in task * at_once..((task + 1) * at_once).min(count) {
            let (channel, tap) = (i / taps, i % taps);
            let (dy, dx) = (tap / side, tap % side);
            // SAFETY: rows do not overlap.
            let row = unsafe { shared.part(i * pixels..(i + 1) * pixels) };
            if let Some(found) = &found {
                let (plane, found) =
                    (&x[channel * height * width..], &found[tap * pixels..(tap + 1) * pixels]);
                row.iter_mut().zip(found).for_each(|(to, &at)| *to = plane.get(at).copied().unwrap_or(0.));
                continue;
            }
            for (line, to) in band.clone().zip(row.chunks_exact_mut(out_width)) {
                let (b, y) = (line / out_height, line % out_height);
                // Beside the picture it is 0.
                match (y * stride + dy).checked_sub(padding).filter(|&y| y < height) {
                    None => to.fill(0.),
                    Some(y) => {
                        let start = ((b * channels + channel) * height + y) * width;
                        seen(&x[start..start + width], dx, to, stride, padding);
                    }
                }
            }
        }
    });
}

/// Where the pixel lies that a tap of the kernel sees for the output (y, x) of picture `b`, counted from the first one of its
/// channel; beside the picture, beyond all of them.
fn sees(b: usize, (y, x): (usize, usize), tap: usize, sizes: Sizes) -> usize {
    let Sizes { channels, height, width, side, stride, padding, .. } = sizes;
    let row = (y * stride + tap / side).checked_sub(padding).filter(|&row| row < height);
    let column = (x * stride + tap % side).checked_sub(padding).filter(|&column| column < width);
    row.zip(column).map_or(usize::MAX, |(row, column)| (b * channels * height + row) * width + column)
}

/// What the kernel's column `dx` sees of a row of the picture, for each output; 0 beside it.
fn seen(from: &[f32], dx: usize, to: &mut [f32], stride: usize, padding: usize) {
    // The first output that sees the row at all, and the first that sees beyond its end.
    let first = padding.saturating_sub(dx).div_ceil(stride).min(to.len());
    let end = (from.len() + padding).saturating_sub(dx).div_ceil(stride).clamp(first, to.len());
    to[..first].fill(0.);
    to[end..].fill(0.);
    let to = &mut to[first..end];
    let Some(start) = (first * stride + dx).checked_sub(padding) else { return };
    if stride == 1 {
        to.copy_from_slice(&from[start..start + to.len()]);
    } else {
        let seen = from[start.min(from.len())..].iter().step_by(stride);
        to.iter_mut().zip(seen).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::cpu::tests::{near, randn};
    use crate::nn::cpu::weight::SMALL;
    use proptest::prelude::*;

    fn check(x: &[usize; 4], weight: &[usize; 4], (stride, padding): (usize, usize), bound: f64) {
        let (x, weight, bias) = (randn(0, x), randn(1, weight), randn(2, &[weight[0]]));
        let ours = conv2d(&x, &weight, Some(&bias), (stride, padding), &Kept::default()).unwrap();
        let candles = x.conv2d(&weight, padding, stride, 1, 1).unwrap();
        near(&ours, &candles.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap()).unwrap(), bound);
        let ours = conv2d(&x, &weight, None, (stride, padding), &Kept::default()).unwrap();
        near(&ours, &candles, bound);
    }

    proptest! {
        #[test]
        fn it_is_candles_convolution(
            (batch, channels, outputs) in (1usize..3, 1usize..5, 1usize..40),
            (height, width) in (1usize..12, 1usize..12),
            (side, stride, padding) in (1usize..4, 1usize..4, 0usize..3),
        ) {
            prop_assume!(height + 2 * padding >= side && width + 2 * padding >= side);
            check(&[batch, channels, height, width], &[outputs, channels, side, side], (stride, padding), 1e-5);
        }

        #[test]
        fn three_by_three(
            (batch, channels, outputs) in (1usize..3, 1usize..40, 1usize..40),
            (height, width) in (1usize..40, 1usize..40),
        ) {
            check(&[batch, channels, height, width], &[outputs, channels, 3, 3], (1, 1), 1e-5);
        }
    }

    #[test]
    fn a_picture_of_several_bands() {
        const { assert!(256 * 9 * 2 * 50 * 70 > BAND) };
        check(&[2, 256, 100, 140], &[3, 256, 3, 3], (2, 1), 1e-5);
        check(&[2, 256, 100, 140], &[17, 256, 3, 3], (1, 1), 1e-5);
        check(&[2, 64, 100, 140], &[32, 64, 1, 1], (1, 0), 1e-5);
    }

    #[test]
    fn a_weight_of_16_bits_is_what_it_is_widened() {
        // The last is too large for its kernels to be kept.
        const { assert!(256 * 240 * 9 > SMALL) };
        let (f16, bf16) = (DType::F16, DType::BF16);
        for (channels, outputs, side, size, dtype) in
            [(32, 48, 1, 8, f16), (32, 48, 3, 3, bf16), (32, 48, 3, 24, f16), (256, 240, 3, 24, bf16)]
        {
            let x = randn(0, &[2, channels, size, size]);
            let half = randn(1, &[outputs, channels, side, side]).to_dtype(dtype).unwrap();
            let padding = (1, side / 2);
            let wide = half.to_dtype(DType::F32).unwrap();
            let [ours, theirs] =
                [half, wide].map(|weight| conv2d(&x, &weight, None, padding, &Kept::default()).unwrap());
            near(&ours, &theirs, 0.);
        }
    }

    #[test]
    fn channels_that_do_not_fit_are_refused() {
        let (x, weight) = (randn(0, &[1, 3, 4, 4]), randn(1, &[1, 2, 3, 3]));
        assert!(conv2d(&x, &weight, None, (1, 1), &Kept::default()).is_err());
    }
    fn dims(x: &[usize; 4], weight: &[usize; 4], steps: (usize, usize)) -> Vec<usize> {
        let out = conv2d(&randn(0, x), &randn(1, weight), None, steps, &Kept::default());
        out.unwrap().dims().to_vec()
    }

    #[test]
    fn no_pictures_give_an_empty_answer() {
        assert_eq!(dims(&[0, 16, 8, 8], &[3, 16, 3, 3], (1, 1)), [0, 3, 8, 8]);
        assert_eq!(dims(&[0, 16, 8, 8], &[3, 16, 1, 1], (1, 0)), [0, 3, 8, 8]);
    }

    #[test]
    fn no_outputs_give_an_empty_answer() {
        // By Winograd's algorithm, by columns and pixel by pixel.
        assert_eq!(dims(&[1, 16, 32, 32], &[0, 16, 3, 3], (1, 1)), [1, 0, 32, 32]);
        assert_eq!(dims(&[1, 2, 8, 8], &[0, 2, 3, 3], (2, 1)), [1, 0, 4, 4]);
        assert_eq!(dims(&[1, 2, 8, 8], &[0, 2, 1, 1], (1, 0)), [1, 0, 8, 8]);
    }

    #[test]
    fn no_pixels_give_an_empty_answer() {
        assert_eq!(dims(&[1, 2, 0, 5], &[3, 2, 1, 1], (1, 0)), [1, 3, 0, 5]);
        assert_eq!(dims(&[1, 16, 5, 0], &[3, 16, 1, 1], (1, 0)), [1, 3, 5, 0]);
    }

    #[test]
    fn without_channels_or_pixels_the_bias_is_left() {
        let bias = randn(2, &[3]);
        for (x, weight, steps) in [
            ([1, 0, 4, 4], [3, 0, 3, 3], (1, 1)),
            ([1, 0, 4, 4], [3, 0, 1, 1], (1, 0)),
            ([1, 2, 0, 4], [3, 2, 3, 3], (1, 2)),
        ] {
            let out =
                conv2d(&randn(0, &x), &randn(1, &weight), Some(&bias), steps, &Kept::default()).unwrap();
            let expected = bias.reshape((1, 3, 1, 1)).unwrap().broadcast_as(out.shape()).unwrap();
            near(&out, &expected, 0.);
        }
    }

    #[test]
    fn padding_wider_than_the_picture() {
        check(&[1, 2, 1, 1], &[3, 2, 25, 25], (1, 20), 1e-5);
    }

    #[test]
    fn a_stride_of_zero_is_refused() {
        let (x, weight) = (randn(0, &[1, 2, 4, 4]), randn(1, &[3, 2, 3, 3]));
        assert!(conv2d(&x, &weight, None, (0, 1), &Kept::default()).is_err());
    }

    #[test]
    fn kernels_that_are_empty_or_no_square_are_refused() {
        let x = randn(0, &[1, 2, 4, 4]);
        for kernel in [[3, 2, 0, 0], [3, 2, 3, 1], [3, 2, 1, 3]] {
            assert!(conv2d(&x, &randn(1, &kernel), None, (1, 1), &Kept::default()).is_err(), "{kernel:?}");
        }
    }

    #[test]
    fn a_bias_of_another_length_is_refused() {
        let (x, weight) = (randn(0, &[1, 2, 4, 4]), randn(1, &[3, 2, 3, 3]));
        for outputs in [0, 2, 4] {
            let bias = randn(2, &[outputs]);
            assert!(conv2d(&x, &weight, Some(&bias), (1, 1), &Kept::default()).is_err(), "{outputs}");
        }
    }
}

//! A convolution on the CPU as a product of matrices: candle's own copies the kernel and turns the picture over at
//! every call.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;
use std::ops::Range;

/// What a band of unfolded patches takes at most, in numbers: it shall stay near the processor.
const BAND: usize = 4 << 20;

/// `x` (B, C, H, W) and `weight` (O, C, k, k), `f32` or f16 on the CPU → (B, O, H', W').
///
/// Every patch that the kernel sees is a column; the kernel times the columns is the output. Columns are made a band
/// of output rows at a time.
///
/// # Errors
/// When the shapes do not fit.
pub(super) fn conv2d(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let (outputs, inputs, side, _) = weight.dims4()?;
    if channels != inputs || height + 2 * padding < side || width + 2 * padding < side {
        candle_core::bail!("a convolution of {:?} was given {:?}", weight.dims(), x.dims());
    }
    let (x, kernel) = (x.contiguous()?, weight.reshape((outputs, channels * side * side))?);
    let out = |size: usize| (size + 2 * padding - side) / stride + 1;
    let (out_height, out_width) = (out(height), out(width));
    let rows = (BAND / (channels * side * side * out_width)).clamp(1, out_height);
    let pictures = (0..batch).map(|b| {
        let picture = x.narrow(0, b, 1)?;
        let bands = (0..out_height).step_by(rows).map(|top| {
            let rows = top..(top + rows).min(out_height);
            kernel.matmul(&picture.apply_op1_no_bwd(&Unfold { side, stride, padding, out_width, rows })?)
        });
        joined(bands.collect::<Result<_>>()?, 1)
    });
    let pictures: Vec<Tensor> = pictures.collect::<Result<_>>()?;
    joined(pictures, 0)?.reshape((batch, outputs, out_height, out_width))
}

/// Tensors one behind the other; a single one as it is.
fn joined(mut tensors: Vec<Tensor>, dim: usize) -> Result<Tensor> {
    match tensors.len() {
        1 => Ok(tensors.swap_remove(0)),
        _ => Tensor::cat(&tensors, dim),
    }
}

/// `torch.nn.Unfold` of some rows of the output: (1, C, H, W) → (C·k·k, rows · W').
struct Unfold {
    side: usize,
    stride: usize,
    padding: usize,
    out_width: usize,
    rows: Range<usize>,
}

impl Unfold {
    fn unfold<T: WithDType>(&self, x: &[T], (height, width): (usize, usize)) -> Vec<T> {
        let taps = self.side * self.side;
        let channels = x.len() / (height * width);
        let pixels = self.rows.len() * self.out_width;
        let mut columns = vec![T::zero(); channels * taps * pixels];
        columns.par_chunks_mut(pixels).enumerate().for_each(|(i, line)| {
            let (channel, tap) = (i / taps, i % taps);
            let (dy, dx) = (tap / self.side, tap % self.side);
            let plane = &x[channel * height * width..(channel + 1) * height * width];
            for (y, to) in self.rows.clone().zip(line.chunks_mut(self.out_width)) {
                // Rows above and below the picture stay 0.
                let Some(y) = (y * self.stride + dy).checked_sub(self.padding).filter(|&y| y < height) else {
                    continue;
                };
                self.row(&plane[y * width..(y + 1) * width], dx, to);
            }
        });
        columns
    }

    /// What the kernel's column `dx` sees of a row of the picture, for each output; 0 beside it.
    fn row<T: WithDType>(&self, from: &[T], dx: usize, to: &mut [T]) {
        // The first output that sees the row at all, and the first that sees beyond its end.
        let first = self.padding.saturating_sub(dx).div_ceil(self.stride).min(to.len());
        let end = (from.len() + self.padding).saturating_sub(dx).div_ceil(self.stride).clamp(first, to.len());
        let to = &mut to[first..end];
        let Some(start) = (first * self.stride + dx).checked_sub(self.padding) else { return };
        if self.stride == 1 {
            to.copy_from_slice(&from[start..start + to.len()]);
        } else {
            let seen = from[start.min(from.len())..].iter().step_by(self.stride);
            to.iter_mut().zip(seen).for_each(|(to, from)| *to = *from);
        }
    }
}

impl CustomOp1 for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, channels, height, width) = layout.shape().dims4()?;
        let span = layout.start_offset()..layout.start_offset() + channels * height * width;
        let columns = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(self.unfold(&x[span], (height, width))),
            CpuStorage::F16(x) => CpuStorage::F16(self.unfold(&x[span], (height, width))),
            _ => candle_core::bail!("unfold takes f32 and f16"),
        };
        Ok((columns, (channels * self.side * self.side, self.rows.len() * self.out_width).into()))
    }
}

/// Whether [`conv2d`] can do it: others are left to candle.
pub(super) fn can(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Generator;
    use crate::tensor::compare::relative_difference;
    use candle_core::Device;
    use proptest::prelude::*;

    fn randn(generator: &mut Generator, shape: (usize, usize, usize, usize)) -> Tensor {
        let n = shape.0 * shape.1 * shape.2 * shape.3;
        Tensor::from_vec(generator.randn(n), shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    proptest! {
        #[test]
        fn it_is_candles_convolution(
            (batch, channels, outputs) in (1usize..3, 1usize..5, 1usize..5),
            (height, width) in (1usize..12, 1usize..12),
            (side, stride, padding) in (1usize..4, 1usize..4, 0usize..3),
        ) {
            prop_assume!(height + 2 * padding >= side && width + 2 * padding >= side);
            let mut generator = Generator::manual_seed(0);
            let x = randn(&mut generator, (batch, channels, height, width));
            let weight = randn(&mut generator, (outputs, channels, side, side));
            let ours = conv2d(&x, &weight, stride, padding).unwrap();
            let candles = x.conv2d(&weight, padding, stride, 1, 1).unwrap();
            prop_assert_eq!(ours.dims(), candles.dims());
            prop_assert!(relative_difference(&values(&ours), &values(&candles)) < 1e-5);
        }
    }

    #[test]
    fn a_picture_of_several_bands() {
        let mut generator = Generator::manual_seed(1);
        let (x, weight) = (randn(&mut generator, (1, 256, 50, 70)), randn(&mut generator, (3, 256, 3, 3)));
        const { assert!(256 * 9 * 50 * 70 > BAND) };
        let candles = x.conv2d(&weight, 1, 1, 1, 1).unwrap();
        let ours = conv2d(&x, &weight, 1, 1).unwrap();
        assert!(relative_difference(&values(&ours), &values(&candles)) < 1e-5);
    }

    #[test]
    fn channels_that_do_not_fit_are_refused() {
        let mut generator = Generator::manual_seed(2);
        let (x, weight) = (randn(&mut generator, (1, 3, 4, 4)), randn(&mut generator, (1, 2, 3, 3)));
        assert!(conv2d(&x, &weight, 1, 1).is_err());
    }
}

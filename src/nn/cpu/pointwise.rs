//! Activations: one parallel pass.

use super::functions::{self, wide};
use super::{par, tensor, with_f32};
use candle_core::{D, Result, Tensor};

/// The smallest number of elements for a task: about 20 µs.
const RUN: usize = 1 << 15;

/// Fills `out` in parallel runs whose length is a multiple of `step`: `fill(start, run)`.
pub fn fill(out: &mut [f32], step: usize, fill: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let len = RUN.next_multiple_of(step.max(1));
    par::for_each_chunk(out, len, |i, run| fill(i * len, run));
}

/// `f` of each element. The result has the shape of `x`.
///
/// # Errors
/// If the tensor is not on the CPU.
pub fn map(x: &Tensor, f: impl Fn(f32) -> f32 + Copy + Send + Sync) -> Result<Tensor> {
    with_f32(x, |values| {
        let mut out = vec![0f32; values.len()];
        fill(&mut out, 1, |start, run| {
            wide(
                #[inline(always)]
                || {
                    for (y, &x) in run.iter_mut().zip(&values[start..]) {
                        *y = f(x);
                    }
                },
            );
        });
        tensor(out, x.shape(), x)
    })
}

/// The first half of the last dimension times the gelu of the second half: (…, 2 C) → (…, C).
///
/// # Errors
/// If the last dimension is odd, or the tensor is not on the CPU.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    if 2 * width != x.dim(D::Minus1)? {
        candle_core::bail!("geglu needs a last dimension of even size, and {:?} has an odd one", x.dims());
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    with_f32(x, |values| {
        let mut out = vec![0f32; values.len() / 2];
        fill(&mut out, width, |start, run| {
            wide(
                #[inline(always)]
                || {
                    let rows = values[2 * start..].chunks_exact(2 * width.max(1));
                    for (to, row) in run.chunks_exact_mut(width.max(1)).zip(rows) {
                        let (value, gate) = row.split_at(width);
                        for ((y, &v), &g) in to.iter_mut().zip(value).zip(gate) {
                            *y = v * functions::gelu(g);
                        }
                    }
                },
            );
        });
        tensor(out, shape, x)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::cpu::tests::{near, randn};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn activations_match_candle(rows in 1usize..4, width in 1usize..70) {
            let x = (randn(0, &[rows, 2 * width]) * 3.).unwrap();
            near(&map(&x, functions::silu).unwrap(), &x.silu().unwrap(), 5e-6);
            near(&map(&x, functions::gelu).unwrap(), &x.gelu_erf().unwrap(), 5e-6);
            let halves = x.chunk(2, 1).unwrap();
            let gated = (&halves[0] * halves[1].contiguous().unwrap().gelu_erf().unwrap()).unwrap();
            near(&geglu(&x).unwrap(), &gated, 5e-6);
        }
    }

    #[test]
    fn several_runs() {
        let x = randn(1, &[3, 2 * RUN]);
        near(&map(&x, functions::silu).unwrap(), &x.silu().unwrap(), 5e-6);
        let x = randn(1, &[RUN / 5, 14]);
        let halves = x.chunk(2, 1).unwrap();
        let gated = (&halves[0] * halves[1].contiguous().unwrap().gelu_erf().unwrap()).unwrap();
        near(&geglu(&x).unwrap(), &gated, 5e-6);
    }
    #[test]
    fn an_empty_tensor_gives_an_empty_result() {
        assert_eq!(map(&randn(0, &[0, 3]), functions::silu).unwrap().dims(), [0, 3]);
        assert_eq!(geglu(&randn(0, &[0, 6])).unwrap().dims(), [0, 3]);
        assert_eq!(geglu(&randn(0, &[2, 0])).unwrap().dims(), [2, 0]);
    }
}

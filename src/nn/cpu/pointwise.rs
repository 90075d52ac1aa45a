//! Activations: one pass, on all cores.

#![allow(unsafe_code)]

use super::functions::{self, wide};
use super::par::{self, Shared};
use super::{tensor, with_numbers};
use candle_core::{D, Result, Tensor};

/// How many numbers a task takes at least: about 20 µs.
const RUN: usize = 1 << 15;

/// Fills `out` in runs that begin at multiples of `step`, each by a task of its own: `fill(start, run)`.
pub fn fill(out: &mut [f32], step: usize, fill: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let run = RUN.next_multiple_of(step.max(1));
    let count = out.len().div_ceil(run);
    let shared = Shared::new(out);
    par::for_each(count, |i| {
        let range = i * run..((i + 1) * run).min(shared.len());
        // SAFETY: runs do not overlap.
        fill(range.start, unsafe { shared.part(range) });
    });
}

/// A function of every number: any shape, the same out.
///
/// # Errors
/// When the tensor is not on the CPU.
pub fn map(x: &Tensor, f: impl Fn(f32) -> f32 + Copy + Send + Sync) -> Result<Tensor> {
    with_numbers(x, |numbers| {
        let mut out = vec![0f32; numbers.len()];
        fill(&mut out, 1, |start, run| {
            wide(
                #[inline(always)]
                || {
                    for (y, &x) in run.iter_mut().zip(&numbers[start..]) {
                        *y = f(x);
                    }
                },
            );
        });
        tensor(out, x.shape(), x)
    })
}

/// The first half of the last dimension times the gelu of the second: (…, 2 C) → (…, C).
///
/// # Errors
/// When the last dimension is odd, or the tensor is not on the CPU.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    if 2 * width != x.dim(D::Minus1)? {
        candle_core::bail!("{:?} has no two halves", x.dims());
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    with_numbers(x, |numbers| {
        let mut out = vec![0f32; numbers.len() / 2];
        fill(&mut out, width, |start, run| {
            wide(
                #[inline(always)]
                || {
                    let rows = numbers[2 * start..].chunks_exact(2 * width.max(1));
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
        fn activations_are_candles(rows in 1usize..4, width in 1usize..70) {
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
    fn nothing_gives_an_empty_answer() {
        assert_eq!(map(&randn(0, &[0, 3]), functions::silu).unwrap().dims(), [0, 3]);
        assert_eq!(geglu(&randn(0, &[0, 6])).unwrap().dims(), [0, 3]);
        assert_eq!(geglu(&randn(0, &[2, 0])).unwrap().dims(), [2, 0]);
    }
}

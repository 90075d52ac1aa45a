//! softmax(q·kᵀ/√d)·v without storing the score matrix: a tile of queries goes through the keys block by block, with a running
//! maximum and a running sum (Milakov and Gimelshein, 2018; Dao et al., 2022).

#![allow(unsafe_code)]

use super::functions::{exp, sum_of, wide};
use super::gemm::{Output, Strided, product, product_alone};
use super::par::{self, DisjointMut};
use super::{tensor, with_f32};
use candle_core::{Result, Tensor};

/// Queries in a tile.
const QUERIES: usize = 128;
/// Keys in a block.
const KEYS: usize = 512;

/// Attention of `query` (B, N, C) to `key` and `value` (B, M, C) in `heads` heads → (B, N, C).
///
/// # Errors
/// If the shapes do not match, `heads` does not divide C, there are no keys, or a tensor is not on the CPU.
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, heads: usize) -> Result<Tensor> {
    let ((batch, n, channels), (_, m, _)) = (query.dims3()?, key.dims3()?);
    let fits = key.dims() == [batch, m, channels] && value.dims() == key.dims() && m > 0;
    if !fits || heads == 0 || !channels.is_multiple_of(heads) {
        candle_core::bail!(
            "attention in {heads} heads cannot take a query of {:?}, a key of {:?} and a value of {:?}",
            query.dims(),
            key.dims(),
            value.dims()
        );
    }
    if query.elem_count() == 0 {
        return query.zeros_like();
    }
    let dims = Dims { n, m, channels, width: channels / heads };
    with_f32(query, |query| {
        with_f32(key, |key| {
            with_f32(value, |value| {
                let mut out = vec![0f32; batch * n * channels];
                let result = DisjointMut::new(&mut out);
                let tiles = n.div_ceil(QUERIES);
                // Several small heads share a task.
                let heads_at_once = ((1 << 18) / (n.min(QUERIES) * m * dims.width)).clamp(1, heads);
                let groups = heads.div_ceil(heads_at_once);
                // Several tiles read the same keys, so the keys are transposed once for all of them.
                let is_reused = tiles > 1;
                par::scratch(if is_reused { key.len() } else { 0 }, |transposed| {
                    let keys = if is_reused {
                        transpose(key, transposed, m, channels);
                        Keys { values: transposed, key_stride: 1, channel_stride: m }
                    } else {
                        Keys { values: key, key_stride: channels, channel_stride: 1 }
                    };
                    par::for_each(batch * groups * tiles, |task| {
                        let (b, group, tile) = (task / tiles / groups, task / tiles % groups, task % tiles);
                        for head in group * heads_at_once..((group + 1) * heads_at_once).min(heads) {
                            let rows = tile * QUERIES..((tile + 1) * QUERIES).min(n);
                            dims.tile(query, keys, value, &result, (b, head, rows));
                        }
                    });
                });
                tensor(out, (batch, n, channels), &Tensor::new(0f32, &candle_core::Device::Cpu)?)
            })
        })
    })?
    .to_dtype(query.dtype())
}

/// The keys of a batch: (B, M, C), or transposed (B, C, M).
#[derive(Clone, Copy)]
struct Keys<'a> {
    values: &'a [f32],
    /// The distance from one key to the next.
    key_stride: usize,
    /// The distance from one channel to the next.
    channel_stride: usize,
}

/// (B, `rows`, `columns`) → (B, `columns`, `rows`).
fn transpose(matrices: &[f32], transposed: &mut [f32], rows: usize, columns: usize) {
    /// Rows at once: their elements of one column fill a cache line of the output.
    const STRIP: usize = 16;
    let transposed = DisjointMut::new(transposed);
    let strips = rows.div_ceil(STRIP);
    par::for_each(matrices.len() / (rows * columns) * strips, |task| {
        let (b, from) = (task / strips * rows * columns, task % strips * STRIP);
        let strip = STRIP.min(rows - from);
        for column in 0..columns {
            let start = b + column * rows + from;
            // SAFETY: each task writes its own rows of the input.
            let to = unsafe { transposed.slice_mut(start..start + strip) };
            let column = matrices[b + from * columns + column..].iter().step_by(columns);
            to.iter_mut().zip(column).for_each(|(to, value)| *to = *value);
        }
    });
}

/// The sizes of an attention.
struct Dims {
    /// Queries.
    n: usize,
    /// Keys.
    m: usize,
    /// Channels of all heads.
    channels: usize,
    /// Channels of one head.
    width: usize,
}

impl Dims {
    /// Computes one tile of queries of one head.
    fn tile(
        &self,
        query: &[f32],
        keys: Keys<'_>,
        value: &[f32],
        out: &DisjointMut<'_>,
        (b, head, rows): (usize, usize, std::ops::Range<usize>),
    ) {
        let Self { n, m, channels, width } = *self;
        let scale = 1. / (width as f32).sqrt();
        let first = (b * n + rows.start) * channels + head * width;
        let (queries, out_at) = (Strided::rows(first, channels), Strided::rows(first, channels));
        let (mut highest, mut sums) = ([f32::NEG_INFINITY; QUERIES], [0f32; QUERIES]);
        par::scratch(rows.len() * KEYS.min(m), |scores| {
            for from in (0..m).step_by(KEYS) {
                let count = KEYS.min(m - from);
                let scores = &mut scores[..rows.len() * count];
                let block = Strided::rows((b * m + from) * channels + head * width, channels);
                let scores_at = Strided::rows(0, count);
                let keys_at = Strided {
                    offset: b * m * channels + head * width * keys.channel_stride + from * keys.key_stride,
                    row_stride: keys.channel_stride,
                    column_stride: keys.key_stride,
                };
                product_alone(
                    (rows.len(), width, count),
                    (query, queries),
                    (keys.values, keys_at),
                    (scores, scores_at),
                    Output::Overwrite,
                );
                for (i, scores) in scores.chunks_exact_mut(count).enumerate() {
                    wide(
                        #[inline(always)]
                        || {
                            let now = maximum(scores) * scale;
                            let now = if now > highest[i] { now } else { highest[i] };
                            let shrink = exp(highest[i] - now);
                            let sum = exponentials(scores, scale, now);
                            highest[i] = now;
                            sums[i] = sums[i] * shrink + sum;
                            if from > 0 && shrink != 1. {
                                let start = first + i * channels;
                                // SAFETY: no other task has these queries and this head.
                                let out = unsafe { out.slice_mut(start..start + width) };
                                for x in out {
                                    *x *= shrink;
                                }
                            }
                        },
                    );
                }
                let output = if from == 0 { Output::Overwrite } else { Output::Accumulate };
                let sizes = (rows.len(), count, width);
                // SAFETY: as above.
                unsafe { product(sizes, (scores, scores_at), (value, block), (out, out_at), output) };
            }
        });
        for (i, sum) in sums[..rows.len()].iter().enumerate() {
            let start = first + i * channels;
            // SAFETY: as above.
            let out = unsafe { out.slice_mut(start..start + width) };
            out.iter_mut().for_each(|x| *x /= sum);
        }
    }
}

#[inline(always)]
fn maximum(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = scores.as_chunks::<16>();
    for sixteen in whole {
        for (lane, &x) in lanes.iter_mut().zip(sixteen) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let mut highest = f32::NEG_INFINITY;
    for &x in rest.iter().chain(&lanes) {
        highest = if x > highest { x } else { highest };
    }
    highest
}

/// Each score s becomes e^(`scale` s - `highest`); their sum.
#[inline(always)]
fn exponentials(scores: &mut [f32], scale: f32, highest: f32) -> f32 {
    let mut lanes = [0f32; 16];
    let (whole, rest) = scores.as_chunks_mut::<16>();
    for sixteen in whole {
        for (lane, x) in lanes.iter_mut().zip(sixteen) {
            *x = exp(*x * scale - highest);
            *lane += *x;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exp(*x * scale - highest);
        *lane += *x;
    }
    sum_of(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::attention::plain;
    use crate::nn::cpu::tests::{near, randn};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tiled_attention_matches_plain_attention(
            (batch, heads, width) in (1usize..3, 1usize..4, 1usize..20),
            (n, m) in (1usize..300, 1usize..90),
        ) {
            let channels = heads * width;
            let (q, k, v) = (randn(0, &[batch, n, channels]), randn(1, &[batch, m, channels]), randn(2, &[batch, m, channels]));
            near(&attention(&q, &k, &v, heads).unwrap(), &plain(&q, &k, &v, None, heads).unwrap(), 1e-5);
        }
    }

    #[test]
    fn scores_may_rise_from_block_to_block() {
        let m = 2 * KEYS + 77;
        let rising: Vec<f32> = (0..m).flat_map(|i| [i as f32 / 20., -(i as f32) / 30.]).collect();
        let k = Tensor::from_vec(rising, (1, m, 2), &candle_core::Device::Cpu).unwrap();
        let (q, v) = (randn(0, &[1, 130, 2]), randn(1, &[1, m, 2]));
        near(&attention(&q, &k, &v, 1).unwrap(), &plain(&q, &k, &v, None, 1).unwrap(), 1e-5);
    }

    #[test]
    fn nan_reaches_the_output() {
        let q = Tensor::new(&[[[f32::NAN, 1.], [1., 1.]]], &candle_core::Device::Cpu).unwrap();
        let k = randn(1, &[1, 3, 2]);
        let out = attention(&q, &k, &k, 1).unwrap().to_vec3::<f32>().unwrap();
        assert!(out[0][0].iter().all(|x| x.is_nan()) && out[0][1].iter().all(|x| x.is_finite()));
    }

    #[test]
    fn shapes_that_do_not_match_are_refused() {
        let (q, k) = (randn(0, &[1, 2, 4]), randn(0, &[1, 2, 6]));
        assert!(attention(&q, &k, &k, 1).is_err() && attention(&q, &q, &q, 3).is_err());
    }
    #[test]
    fn no_queries_give_an_empty_result() {
        let k = randn(0, &[1, 3, 4]);
        assert_eq!(attention(&randn(0, &[1, 0, 4]), &k, &k, 2).unwrap().dims(), [1, 0, 4]);
    }

    #[test]
    fn an_empty_batch_gives_an_empty_result() {
        let x = randn(0, &[0, 300, 4]);
        assert_eq!(attention(&x, &x, &x, 2).unwrap().dims(), [0, 300, 4]);
    }

    #[test]
    fn no_channels_give_an_empty_result() {
        let x = randn(0, &[1, 3, 0]);
        assert_eq!(attention(&x, &x, &x, 2).unwrap().dims(), [1, 3, 0]);
    }

    #[test]
    fn no_heads_and_no_keys_are_refused() {
        let (x, none) = (randn(0, &[1, 3, 4]), randn(0, &[1, 0, 4]));
        assert!(attention(&x, &none, &none, 2).is_err());
        assert!(attention(&x, &x, &x, 0).is_err());
    }
}

//! Ablation of a word: the same step with the embeddings of its tokens replaced by the padding's.
//!
//! Attention maps show where the image attends to a word, not the effect of the word. An ablation misses what later tokens carry:
//! CLIP is causal, so the embeddings after the word, those of the end and the padding too, depend on it.

use super::attention::Size;
use super::{Error, Models, Snapshot};
use crate::nn::{Error as Forward, Probe};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use tr::tr;

/// The snapshot before a step, with the embeddings at `positions` replaced by the one at `padding`. A changed prompt is encoded
/// first.
///
/// # Errors
/// When a position does not exist, or the text encoder or the device fails.
pub fn without(
    before: &Snapshot,
    positions: &[usize],
    padding: usize,
    models: &Models,
    probe: &mut dyn Probe,
) -> Result<Snapshot, Error> {
    const NAME: &str = "prompt_embeds";
    let before = before.encoded(models, probe)?;
    let missing = || Error::from(Forward::Input(tr!("{NAME} does not exist yet", NAME)));
    let (_, embeds) = before.tensor(NAME).ok_or_else(missing)?;
    let tokens = embeds.dim(1)?;
    if let Some(wrong) = positions.iter().chain([&padding]).find(|position| **position >= tokens) {
        let message = tr!("there is no token {wrong}; expected 0 to {}", tokens.saturating_sub(1), wrong);
        return Err(Forward::Input(message).into());
    }
    let row = |position| embeds.narrow(1, if positions.contains(&position) { padding } else { position }, 1);
    let rows = (0..tokens).map(row).collect::<candle_core::Result<Vec<_>>>()?;
    let replaced = Tensor::cat(&rows, 1)?;
    before.with_tensor(NAME, replaced, "prompt_embeds: a word taken out").ok_or_else(missing)
}

/// The distance of two tensors (1, C, h, w) at each pixel: the norm of the difference over the channels.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectMap {
    /// Height and width.
    pub size: Size,
    /// The distances, row-major.
    pub values: Vec<f32>,
}

impl EffectMap {
    /// The distances of `before` and `after`. `None` unless both have the same shape (1, C, h, w).
    pub fn between(before: &PlainTensor, after: &PlainTensor) -> Option<Self> {
        let (height, width, _) = before.plane(0)?;
        let mut values = vec![0f32; height * width];
        if before.shape() != after.shape() {
            return None;
        }
        for channel in 0..before.shape()[1] {
            let (before, after) = (before.plane(channel)?.2, after.plane(channel)?.2);
            for ((sum, before), after) in values.iter_mut().zip(before).zip(after) {
                *sum += (after - before) * (after - before);
            }
        }
        values.iter_mut().for_each(|value| *value = value.sqrt());
        Some(Self { size: (height, width), values })
    }
}

/// The similarity of two non-negative maps.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Pearson's correlation: 1 for proportional maps, 0 for unrelated ones, negative for opposite ones. NaN if one is constant.
    pub correlation: f64,
    /// Cosine similarity; close to 1 if both maps are large everywhere.
    pub cosine: f64,
    /// The sum of the pointwise minimum after each map is scaled to a sum of 1: 1 for equal maps, 0 for disjoint ones.
    pub overlap: f64,
}

impl Agreement {
    /// The similarity of two maps of the same size.
    pub fn of(a: &[f32], b: &[f32]) -> Self {
        let [a, b] = [a, b].map(|map| map.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        let centred = |map: &[f64]| {
            let mean = map.iter().sum::<f64>() / map.len().max(1) as f64;
            map.iter().map(|value| value - mean).collect::<Vec<_>>()
        };
        let (sum_a, sum_b) = (a.iter().sum::<f64>(), b.iter().sum::<f64>());
        Self {
            correlation: cosine(&centred(&a), &centred(&b)),
            cosine: cosine(&a, &b),
            overlap: a.iter().zip(&b).map(|(a, b)| smaller(a / sum_a, b / sum_b)).sum(),
        }
    }
}

/// The smaller one; NaN stays NaN.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_over_the_channels() {
        let was = PlainTensor::from_values(&[1, 2, 1, 2], vec![0., 1., 0., 1.]).unwrap();
        let is = PlainTensor::from_values(&[1, 2, 1, 2], vec![3., 1., 4., 1.]).unwrap();
        let map = EffectMap::between(&was, &is).unwrap();
        assert_eq!((map.size, map.values), ((1, 2), vec![5., 0.]));
        let other = PlainTensor::from_values(&[1, 2], vec![3., 1.]).unwrap();
        assert_eq!(EffectMap::between(&other, &other), None);
    }

    #[test]
    fn agreement_of_the_same_of_opposites_and_of_nothing() {
        let same = Agreement::of(&[1., 2., 3.], &[2., 4., 6.]);
        for one in [same.correlation, same.cosine, same.overlap] {
            assert!((one - 1.).abs() < 1e-12);
        }
        let apart = Agreement::of(&[1., 0.], &[0., 1.]);
        assert_eq!((apart.correlation.round(), apart.cosine, apart.overlap), (-1., 0., 0.));
        assert!(Agreement::of(&[1., 1.], &[0., 1.]).correlation.is_nan());
        assert!(Agreement::of(&[0., 0.], &[0., 1.]).overlap.is_nan());
    }
}

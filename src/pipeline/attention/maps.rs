//! Attention maps of tokens.

use super::Size;

/// A map for each of several tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenMaps {
    /// Height and width.
    pub size: Size,
    /// Number of tokens.
    pub tokens: usize,
    /// (height, width, tokens), row-major.
    values: Vec<f32>,
}

impl TokenMaps {
    /// Maps of zeros.
    pub(super) fn zero(size: Size, tokens: usize) -> Self {
        Self { size, tokens, values: vec![0.; size.0 * size.1 * tokens] }
    }

    /// Maps of these values, (height, width, tokens). `None` when `values` does not fill them.
    pub fn from_values(size: Size, tokens: usize, values: Vec<f32>) -> Option<Self> {
        (size.0 * size.1 * tokens == values.len()).then_some(Self { size, tokens, values })
    }

    /// The sum of the maps of these tokens: (height, width), row-major. Tokens that do not exist add nothing.
    pub fn of(&self, positions: &[usize]) -> Vec<f32> {
        let sum = |pixel: &[f32]| positions.iter().filter_map(|position| pixel.get(*position)).sum();
        self.values.chunks(self.tokens.max(1)).map(sum).collect()
    }

    /// These maps with those of the tokens from `first` on summed into one.
    pub fn folded(&self, first: usize) -> Self {
        let kept = (first + 1).min(self.tokens);
        let mut values = Vec::with_capacity(self.size.0 * self.size.1 * kept);
        for pixel in self.values.chunks(self.tokens.max(1)) {
            let (own, rest) = pixel.split_at(first.min(pixel.len()));
            values.extend_from_slice(own);
            if !rest.is_empty() {
                values.push(rest.iter().sum());
            }
        }
        Self { tokens: kept, values, ..*self }
    }

    /// Each token's share of the attention: the sum of its map divided by that of all maps. NaN if a map is not finite.
    pub fn shares(&self) -> Vec<f64> {
        let mut totals = vec![0f64; self.tokens];
        for pixel in self.values.chunks(self.tokens.max(1)) {
            totals.iter_mut().zip(pixel).for_each(|(total, value)| *total += f64::from(*value));
        }
        let all: f64 = totals.iter().sum();
        totals.iter().map(|total| total / all).collect()
    }

    /// Adds values of the same size.
    pub(super) fn add(&mut self, other: &[f32]) {
        self.values.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
    }
}

//! Tokens with their embeddings, norms and cosines.

use crate::debugger::prompt::{TokenKind, TokenView, chunks, listed};
use crate::debugger::record::{PromptView, RecordView};
use crate::tensor::compare::cosine;
use crate::tensor::{PlainTensor, Summary};

/// The most tokens whose cosines are all computed at once.
const MOST_COSINES: usize = 231;

/// The prompt and the negative prompt.
#[derive(Debug)]
pub struct Prompts {
    /// In that order.
    pub of_both: [Embedded; 2],
    /// The limit of a colour scale that covers 98 % of the values of both.
    pub reach: f32,
}

/// The tokens of a prompt; of the padding of each chunk only the first.
#[derive(Debug)]
pub struct Embedded {
    /// The tokens.
    pub tokens: Vec<TokenView>,
    /// The position of each, and the number of tokens that it stands for.
    pub places: Vec<(usize, usize)>,
    /// The weight of each; empty if all are 1.
    pub weights: Vec<f32>,
    /// The number of chunks of 77.
    pub chunks: usize,
    /// The truncated text.
    pub cut: Option<String>,
    /// The norm of each token's embedding.
    pub norms: Vec<f64>,
    /// The cosine between each two embeddings, if they are few.
    cosines: Vec<Vec<f64>>,
    embeds: PlainTensor,
}

impl Prompts {
    /// From `encode_prompt`; `None` for another stage.
    pub fn of(record: &RecordView) -> Option<Self> {
        let [prompt, negative] = &record.prompts[..] else { return None };
        let embeds = |name| record.tensor(name).map(|tensor| tensor.values.clone());
        let of_both = [
            Embedded::of(prompt, embeds("prompt_embeds")?)?,
            Embedded::of(negative, embeds("negative_prompt_embeds")?)?,
        ];
        let values = of_both.iter().flat_map(|of| (0..of.tokens.len()).flat_map(|token| of.embedding(token)));
        let mut magnitudes: Vec<f32> =
            values.map(|value| value.abs()).filter(|value| value.is_finite()).collect();
        magnitudes.sort_unstable_by(f32::total_cmp);
        let reach = magnitudes.get(magnitudes.len() * 98 / 100).copied().unwrap_or(1.);
        Some(Self { of_both, reach: if reach > 0. { reach } else { 1. } })
    }
}

impl Embedded {
    /// `embeds` is (1, 77·n, C); `None` for another shape.
    fn of(prompt: &PromptView, embeds: PlainTensor) -> Option<Self> {
        if !matches!(embeds.shape(), [1, count, _] if *count == prompt.tokens.len()) {
            return None;
        }
        let places = listed(&prompt.tokens);
        let weight = |(position, _): &(usize, usize)| prompt.weights.get(*position).copied();
        let mut of = Self {
            tokens: places.iter().map(|(position, _)| prompt.tokens[*position].clone()).collect(),
            weights: places.iter().filter_map(weight).collect(),
            places,
            chunks: chunks(prompt.tokens.len()),
            cut: prompt.cut.clone(),
            norms: vec![],
            cosines: vec![],
            embeds,
        };
        let shown = of.tokens.len();
        of.norms = (0..shown).map(|token| Summary::of_values(of.embedding(token)).l2).collect();
        let row = |a: usize| (0..shown).map(|b| cosine(of.embedding(a), of.embedding(b))).collect();
        if shown <= MOST_COSINES {
            of.cosines = (0..shown).map(row).collect();
        }
        Some(of)
    }

    /// The cosine between the embeddings of two listed tokens.
    pub fn cosine(&self, a: usize, b: usize) -> f64 {
        let known = self.cosines.get(a).and_then(|row| row.get(b));
        known.copied().unwrap_or_else(|| cosine(self.embedding(a), self.embedding(b)))
    }

    /// The number of padding tokens.
    pub fn padding(&self) -> usize {
        let of = self.tokens.iter().zip(&self.places);
        of.filter(|(token, _)| token.kind == TokenKind::Padding).map(|(_, (_, count))| count).sum()
    }

    /// The number of the prompt's own tokens.
    pub fn words(&self) -> usize {
        self.tokens.iter().filter(|token| token.kind == TokenKind::Word).count()
    }

    /// How many of those are further vectors of a textual inversion concept.
    pub fn inserted(&self) -> usize {
        self.tokens.iter().filter(|token| token.is_inserted).count()
    }

    /// The embedding of a listed token: C values.
    pub fn embedding(&self, token: usize) -> &[f32] {
        let width = self.embeds.shape().last().copied().unwrap_or(0);
        let token = self.places.get(token).map_or(usize::MAX >> 32, |(position, _)| *position);
        self.embeds.data().get(token * width..(token + 1) * width).unwrap_or_default()
    }
}

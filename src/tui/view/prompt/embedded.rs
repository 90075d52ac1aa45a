//! Tokens with their embeddings, norms and cosines.

use crate::debugger::prompt::{TokenKind, TokenView};
use crate::debugger::record::{PromptView, RecordView};
use crate::tensor::compare::cosine;
use crate::tensor::{PlainTensor, Summary};

/// The prompt and the negative prompt.
#[derive(Debug)]
pub struct Prompts {
    /// In that order.
    pub of_both: [Embedded; 2],
    /// The limit of a colour scale that covers 98 % of the values of both.
    pub reach: f32,
}

/// The tokens of a prompt; of the padding only the first.
#[derive(Debug)]
pub struct Embedded {
    /// The tokens.
    pub tokens: Vec<TokenView>,
    /// The number of padding tokens.
    pub padding: usize,
    /// The truncated text.
    pub cut: Option<String>,
    /// The norm of each token's embedding.
    pub norms: Vec<f64>,
    /// The cosine between each two embeddings.
    pub cosines: Vec<Vec<f64>>,
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
    /// `embeds` is (1, 77, C); `None` for another shape.
    fn of(prompt: &PromptView, embeds: PlainTensor) -> Option<Self> {
        if !matches!(embeds.shape(), [1, count, _] if *count == prompt.tokens.len()) {
            return None;
        }
        let padding = prompt.tokens.iter().filter(|token| token.kind == TokenKind::Padding).count();
        let shown = prompt.tokens.len() - padding.saturating_sub(1);
        let tokens = prompt.tokens[..shown].to_vec();
        let mut of =
            Self { tokens, padding, cut: prompt.cut.clone(), norms: vec![], cosines: vec![], embeds };
        of.norms = (0..shown).map(|token| Summary::of_values(of.embedding(token)).l2).collect();
        let row = |a: usize| (0..shown).map(|b| cosine(of.embedding(a), of.embedding(b))).collect();
        of.cosines = (0..shown).map(row).collect();
        Some(of)
    }

    /// The number of the prompt's own tokens.
    pub fn words(&self) -> usize {
        self.tokens.iter().filter(|token| token.kind == TokenKind::Word).count()
    }

    /// How many of those are further vectors of a textual inversion concept.
    pub fn inserted(&self) -> usize {
        self.tokens.iter().filter(|token| token.is_inserted).count()
    }

    /// The embedding of a token: C values.
    pub fn embedding(&self, token: usize) -> &[f32] {
        let width = self.embeds.shape().last().copied().unwrap_or(0);
        self.embeds.data().get(token * width..(token + 1) * width).unwrap_or_default()
    }
}

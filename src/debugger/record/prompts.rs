//! The prompts of a recorded `encode_prompt`, as tokens.

use super::TensorView;
use crate::debugger::prompt::{TokenView, tokens};
use crate::model::ClipTokenizer;
use crate::pipeline::StageRecord;

/// A prompt as the text encoder has it.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptView {
    /// `prompt` or `negative_prompt`.
    pub name: &'static str,
    /// Its tokens, 77 a chunk with the padding.
    pub tokens: Vec<TokenView>,
    /// The weight of each token; empty if all are 1.
    pub weights: Vec<f32>,
    /// What did not fit.
    pub cut: Option<String>,
}

/// The prompts of `encode_prompt`; none of other stages, and none without the tokenizer of their ids.
pub(super) fn of(
    record: &StageRecord,
    tensors: &[TensorView],
    tokenizer: Option<&ClipTokenizer>,
) -> Vec<PromptView> {
    let Some(tokenizer) = tokenizer else { return vec![] };
    let names = [
        ("prompt", "input_ids", "prompt_weights"),
        ("negative_prompt", "negative_input_ids", "negative_prompt_weights"),
    ];
    let values =
        |name: &str| tensors.iter().find(|tensor| tensor.row.name == name).map(|of| of.values.data());
    let prompt = |((name, ids, weights), cut): ((&'static str, &str, &str), &Option<String>)| {
        // Ids are below 2²⁴, which `f32` holds exactly.
        let ids: Vec<u32> = values(ids)?.iter().map(|id| *id as u32).collect();
        let weights = values(weights).filter(|weights| weights.iter().any(|weight| *weight != 1.));
        let weights = weights.map_or(vec![], <[f32]>::to_vec);
        Some(PromptView { name, tokens: tokens(&ids, tokenizer), weights, cut: cut.clone() })
    };
    names.into_iter().zip(&record.cut).filter_map(prompt).collect()
}

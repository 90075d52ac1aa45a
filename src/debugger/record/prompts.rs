//! The prompts of a recorded `encode_prompt`, as tokens.

use super::TensorView;
use crate::debugger::prompt::{TokenView, tokens};
use crate::model::ClipTokenizer;
use crate::pipeline::StageRecord;

/// A prompt as the text encoder has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptView {
    /// `prompt` or `negative_prompt`.
    pub name: &'static str,
    /// Its tokens, 77 with the padding.
    pub tokens: Vec<TokenView>,
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
    let names = [("prompt", "input_ids"), ("negative_prompt", "negative_input_ids")];
    let prompt = |((name, ids), cut): ((&'static str, &str), &Option<String>)| {
        let ids = tensors.iter().find(|tensor| tensor.row.name == ids)?;
        // Ids are below 2²⁴, which `f32` holds exactly.
        let ids: Vec<u32> = ids.values.data().iter().map(|id| *id as u32).collect();
        Some(PromptView { name, tokens: tokens(&ids, tokenizer), cut: cut.clone() })
    };
    names.into_iter().zip(&record.cut).filter_map(prompt).collect()
}

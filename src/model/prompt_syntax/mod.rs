//! The languages in which prompts are written: plain text as in diffusers, and those of AUTOMATIC1111's web interface, of ComfyUI and
//! of compel, which give words weights and split long prompts into chunks of 75 tokens. Their rules, with sources: `docs/prompts.md`.
//!
//! - `a1111`, `comfy`, `compel`: a parser each, text → pieces with weights.
//! - [`chunks`]: pieces → ids and weights, 77 a chunk, by the rule of each program.
//! - [`weighting`]: the text encoder's output → embeddings with weights.
//! - [`error`]: what is refused. `words`: numbers and words as Python takes them.

mod a1111;
pub mod chunks;
mod comfy;
mod compel;
pub mod error;
pub mod weighting;
mod words;

pub use chunks::Tokenized;
pub use error::{PromptError, SyntaxError};
pub use weighting::Rows;

use crate::model::{ClipTextModel, ClipTokenizer};
use crate::phrase::{Phrase, phrase};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;
use tr::tr;

/// The largest weight, up or down.
pub const MOST_WEIGHT: f64 = 1000.;

/// The language of both prompts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptSyntax {
    /// Text without weights, cut at 77 tokens (diffusers).
    #[default]
    Plain,
    /// AUTOMATIC1111's web interface.
    A1111,
    /// ComfyUI.
    Comfy,
    /// compel, with `truncate_long_prompts=False`.
    Compel,
}

/// Every syntax: its name, and what it is.
pub const ALL: [(PromptSyntax, &str, Phrase); 4] = [
    (PromptSyntax::Plain, "plain", phrase("text without weights, cut at 77 tokens, as in diffusers")),
    (PromptSyntax::A1111, "a1111", phrase("(word:1.2) [word] BREAK, as in AUTOMATIC1111's web interface")),
    (PromptSyntax::Comfy, "comfy", phrase("(word:1.2), as in ComfyUI")),
    (PromptSyntax::Compel, "compel", phrase("(word)1.2 word++ word--, as in compel")),
];

/// Which of the two prompts a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The negative prompt.
    Negative,
    /// The prompt.
    Prompt,
}

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text with the weight of its tokens.
    Text(String, f64),
    /// The end of a chunk (A1111's `BREAK`).
    Break,
    /// A concept of textual inversion by its name, with the weight of its tokens (ComfyUI's `embedding:NAME`).
    Embedding(String, f64),
}

/// A LoRA that a prompt names.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Its name: a file's without folder and ending.
    pub name: String,
    /// The factor of its change of the weights.
    pub scale: f64,
}

/// A parsed prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
    /// The LoRAs that it names; no part of the text.
    pub loras: Vec<Lora>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// The negative prompt and the prompt, tokenized.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    /// Their language.
    pub syntax: PromptSyntax,
    /// In that order, of the same length.
    pub of_both: [Tokenized; 2],
    /// The ids of start, end and padding.
    pub special_ids: [u32; 3],
}

impl Prompts {
    /// Their ids: (2, 77·n).
    ///
    /// # Errors
    /// When the device fails.
    pub fn input_ids(&self, device: &Device) -> candle_core::Result<Tensor> {
        let row = |of: &Tokenized| Tensor::from_iter(of.input_ids.iter().map(|&id| i64::from(id)), device);
        let [negative, prompt] = &self.of_both;
        Tensor::stack(&[row(negative)?, row(prompt)?], 0)
    }

    /// The weights of the tokens of the prompt, and of the negative prompt, if one is not 1: (1, 77·n) each.
    ///
    /// # Errors
    /// When the device fails.
    pub fn weights(&self, device: &Device) -> candle_core::Result<Option<[Tensor; 2]>> {
        let row = |of: &Tokenized| Tensor::from_slice(&of.weights, (1, of.weights.len()), device);
        let [negative, prompt] = &self.of_both;
        let is_weighted = negative.is_weighted() || prompt.is_weighted();
        is_weighted.then(|| Ok([row(prompt)?, row(negative)?])).transpose()
    }

    /// What the text encoder gets for these `input_ids` (2, 77·n).
    ///
    /// # Errors
    /// When the device fails.
    pub fn rows(
        &self,
        input_ids: &Tensor,
        clip_skip: usize,
        text_encoder: &ClipTextModel,
    ) -> candle_core::Result<Rows> {
        Rows::new(self, input_ids, clip_skip, text_encoder.config().use_attention_mask)
    }
}

impl PromptSyntax {
    /// The name by which it is set.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(syntax, ..)| *syntax == self).map_or("", |(_, name, _)| name)
    }

    /// The syntax of that name.
    ///
    /// # Errors
    /// When there is none: what would be right.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|(_, known, _)| *known == name).map(|(syntax, ..)| *syntax);
        let names = ALL.map(|(_, name, _)| name).join(", ");
        found.ok_or_else(|| tr!("cannot be `{}`; expected {names}", crate::nn::error::abridged(name), names))
    }

    /// The pieces of a prompt, their weights within ±[`MOST_WEIGHT`].
    ///
    /// # Errors
    /// [`SyntaxError`].
    pub fn parse(self, text: &str, side: Side) -> Result<Parsed, SyntaxError> {
        let parsed = match self {
            Self::Plain => Parsed { pieces: vec![Piece::Text(text.into(), 1.)], ..Parsed::default() },
            Self::A1111 => a1111::parse(text, side)?,
            Self::Comfy => comfy::parse(text)?,
            Self::Compel => compel::parse(text)?,
        };
        for piece in &parsed.pieces {
            if let Piece::Text(text, weight) | Piece::Embedding(text, weight) = piece
                && !(-MOST_WEIGHT..=MOST_WEIGHT).contains(weight)
            {
                return Err(SyntaxError::weight(text, weight.to_string()));
            }
        }
        Ok(parsed)
    }

    /// The negative prompt and the prompt → their ids and weights, both of the same length, a multiple of 77.
    ///
    /// # Errors
    /// When a prompt is no text of this syntax, is too long, or cannot be tokenized.
    pub fn tokenize(self, texts: [&str; 2], tokenizer: &ClipTokenizer) -> Result<Prompts, PromptError> {
        let [negative, prompt] = texts;
        let of = |text, side| {
            chunks::tokenized(self, text, side, tokenizer).map_err(|why| PromptError { side, why })
        };
        let [negative, prompt] = [of(negative, Side::Negative)?, of(prompt, Side::Prompt)?];
        let of_both = chunks::evened(self, [negative, prompt], tokenizer)
            .map_err(|why| PromptError { side: Side::Prompt, why })?;
        Ok(Prompts { syntax: self, of_both, special_ids: tokenizer.special_ids() })
    }

    /// Whether the negative prompt skips layers of the text encoder too, where the prompt does.
    pub fn skips_both(self) -> bool {
        self != Self::Plain
    }
}

impl fmt::Display for PromptSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;

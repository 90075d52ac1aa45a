//! Why a text is no prompt of a syntax.

use super::{MOST_WEIGHT, Side};
use crate::nn::error::abridged;
use tr::tr;

/// A piece of a prompt that is not carried out.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SyntaxError {
    /// A construct of the language that this program does not have.
    #[error("{}", tr!("`{piece}` {what}; {instead}", piece = .piece, what = .what, instead = .instead))]
    Refused {
        /// The piece of the prompt, abridged.
        piece: String,
        /// What it is in that language.
        what: String,
        /// What would work.
        instead: String,
    },
    /// A weight that is no number, or too large.
    #[error("{}", tr!(
        "the weight of `{text}` is {found}; expected a number from -{MOST_WEIGHT} to {MOST_WEIGHT}",
        text = .text, found = .found, MOST_WEIGHT = MOST_WEIGHT
    ))]
    Weight {
        /// The text with the weight, abridged.
        text: String,
        /// The weight.
        found: String,
    },
    /// Brackets in brackets in brackets.
    #[error("{}", tr!("brackets are nested more than {0} deep; expected fewer", .0))]
    Depth(usize),
    /// More chunks than the UNet can attend to in reasonable memory.
    #[error("{}", tr!(
        "{found} chunks of 75 tokens{why}; expected at most {most}: a shorter prompt",
        found = .found, why = .why, most = .most
    ))]
    Chunks {
        /// The number of chunks.
        found: usize,
        /// The reason for the number, if the prompt alone has fewer.
        why: String,
        /// The largest number.
        most: usize,
    },
    /// More pieces with a weight below 1 than can be encoded at once.
    #[error("{}", tr!(
        "compel encodes the prompt again for each piece with a weight below 1: {found} more chunks; expected at most {most}",
        found = .found, most = .most
    ))]
    Masks {
        /// The number of additional chunks.
        found: usize,
        /// The largest number.
        most: usize,
    },
    /// The tokenizer refused.
    #[error("{0}")]
    Tokens(String),
}

impl SyntaxError {
    /// A piece that is refused by name.
    pub fn refused(piece: &str, what: String, instead: String) -> Self {
        Self::Refused { piece: abridged(piece), what, instead }
    }

    /// A weight that is no number, or too large.
    pub fn weight(text: &str, found: String) -> Self {
        Self::Weight { text: abridged(text), found: abridged(&found) }
    }
}

/// The same with the prompt's name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{}: {why}", .side.setting())]
pub struct PromptError {
    /// Which prompt.
    pub side: Side,
    /// Why it is refused.
    pub why: SyntaxError,
}

impl Side {
    /// diffusers' name of that prompt.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Negative => "negative_prompt",
            Self::Prompt => "prompt",
        }
    }
}

impl From<PromptError> for crate::nn::Error {
    fn from(error: PromptError) -> Self {
        match error.why {
            SyntaxError::Tokens(message) => Self::Input(message),
            _ => Self::Input(error.to_string()),
        }
    }
}

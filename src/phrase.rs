//! Texts of the program's tables that are shown to people.
//!
//! A sentence that the program puts together stands in `tr!`. A text of a table is a constant, so it cannot: it is written
//! `phrase("…")`, which is how it is found for translation, and is translated where it is displayed.

use std::fmt;
use tr::tr;

/// A text that is translated when it is displayed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Phrase(&'static str);

/// The phrase with this English text, which is the key of its translation.
pub const fn phrase(english: &'static str) -> Phrase {
    Phrase(english)
}

impl Phrase {
    /// No text.
    pub const NONE: Self = Self("");

    /// The English text.
    pub const fn english(self) -> &'static str {
        self.0
    }

    /// Whether there is no text.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The translation of an empty text is a catalogue's header.
        let text = self.0;
        if text.is_empty() { f.pad("") } else { f.pad(&tr!(text)) }
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl From<Phrase> for String {
    fn from(phrase: Phrase) -> Self {
        phrase.to_string()
    }
}

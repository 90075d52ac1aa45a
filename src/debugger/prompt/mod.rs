//! A prompt as tokens. [`word`]: a word of it, as the positions of its tokens.

pub mod word;

use crate::model::ClipTokenizer;
use crate::model::tokenizer::MODEL_MAX_LENGTH;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// Its number in the vocabulary.
    pub id: u32,
    /// The part of the prompt that it stands for; bytes, as `<E8 B5>`, where these are no text of their own, as of a part
    /// of a Japanese character.
    pub text: String,
    /// Whether a word ends with it: the vocabulary's `</w>`, or the last vector of a concept.
    pub ends_word: bool,
    /// Whether it is a further vector of a concept, `<x>_1` after `<x>`, which diffusers inserts.
    pub is_inserted: bool,
    /// What it is for.
    pub kind: TokenKind,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// It begins every prompt.
    Start,
    /// A word of the prompt, or a part of one.
    Word,
    /// It ends the prompt.
    End,
    /// It fills up the 77 of a chunk.
    Padding,
}

/// The number of chunks of 77 in this number of tokens.
pub fn chunks(tokens: usize) -> usize {
    (tokens / MODEL_MAX_LENGTH).max(1)
}

/// Tokens as a list shows them: of the padding of a chunk only the first. Each with its position and the number of tokens that it
/// stands for.
pub fn listed(tokens: &[TokenView]) -> Vec<(usize, usize)> {
    let mut listed: Vec<(usize, usize)> = vec![];
    for (position, token) in tokens.iter().enumerate() {
        let goes_on = token.kind == TokenKind::Padding
            && position.checked_sub(1).is_some_and(|before| tokens[before].kind == TokenKind::Padding);
        match listed.last_mut().filter(|_| goes_on) {
            Some((_, count)) => *count += 1,
            None => listed.push((position, 1)),
        }
    }
    listed
}

/// The tokens of `ids`, of one chunk or several.
pub fn tokens(ids: &[u32], tokenizer: &ClipTokenizer) -> Vec<TokenView> {
    let spelling = |id| tokenizer.token(id).unwrap_or_default();
    let length = if ids.len() > MODEL_MAX_LENGTH { MODEL_MAX_LENGTH } else { ids.len().max(1) };
    let kinds = ids.chunks(length).flat_map(|ids| kinds(ids, |id| spelling(id) == "<|endoftext|>"));
    let inserted = inserted(ids, tokenizer);
    let token = |((place, &id), kind): ((usize, &u32), TokenKind)| {
        let spelling = spelling(id);
        let goes_on = inserted.get(place + 1).is_some_and(|&next| next);
        let ends_word = if tokenizer.is_added(id) { !goes_on } else { spelling.ends_with("</w>") };
        let decoded = tokenizer.decode(&[id]);
        let whole = !decoded.contains('\u{fffd}') && !decoded.trim().is_empty();
        let text = if whole { decoded.trim().into() } else { bytes(spelling.trim_end_matches("</w>")) };
        TokenView { id, text, ends_word, is_inserted: inserted[place], kind }
    };
    ids.iter().enumerate().zip(kinds).map(token).collect()
}

/// Which of `ids` go on with the concept that the one before them is a vector of.
fn inserted(ids: &[u32], tokenizer: &ClipTokenizer) -> Vec<bool> {
    let mut inserted = vec![false; ids.len()];
    for (place, pair) in ids.windows(2).enumerate() {
        inserted[place + 1] = match tokenizer.next_vector(pair[0], pair[1]) {
            Some(1) => true,
            Some(_) => inserted[place],
            None => false,
        };
    }
    inserted
}

/// The bytes that a spelling stands for, in hexadecimal; the spelling itself where it is none of bytes.
///
/// A byte-level vocabulary writes a byte that is a printable character of Latin-1 as that, and the others, in their order,
/// as the characters from U+0100 on.
fn bytes(spelling: &str) -> String {
    let is_printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let byte = |c: char| match u32::from(c) {
        code @ 0..256 => u8::try_from(code).ok().filter(is_printable),
        code => (0..=255).filter(|byte| !is_printable(byte)).nth(code as usize - 256),
    };
    match spelling.chars().map(byte).collect::<Option<Vec<u8>>>() {
        Some(bytes) if !bytes.is_empty() => {
            format!("<{}>", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" "))
        }
        _ => spelling.into(),
    }
}

/// The padding repeats one token to the end: the one that ends prompts, or another after it.
fn kinds(ids: &[u32], ends: impl Fn(u32) -> bool) -> Vec<TokenKind> {
    let Some(&last) = ids.last() else { return vec![] };
    let run = ids.iter().rposition(|id| *id != last).map_or(0, |before| before + 1);
    let end = if ends(last) { run } else { run.saturating_sub(1) };
    let kind = |index: usize| match index {
        0 => TokenKind::Start,
        _ if index < end => TokenKind::Word,
        _ if index == end => TokenKind::End,
        _ => TokenKind::Padding,
    };
    (0..ids.len()).map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenKind::{End, Padding, Start, Word};

    #[test]
    fn a_part_of_a_character_is_told_by_its_bytes() {
        // 赤 is E8 B5 A4, り is E3 82 8A.
        assert_eq!(["è", "µ", "¤", "ãĤ", "Ĭ"].map(bytes), ["<E8>", "<B5>", "<A4>", "<E3 82>", "<8A>"]);
        assert_eq!(["", "りんご"].map(bytes), ["", "りんご"]);
    }

    #[test]
    fn the_padding_is_told_from_the_end() {
        let kinds = |ids: &[u32]| kinds(ids, |id| id == 9);
        // Padded with what ends prompts, as Stable Diffusion 1 is.
        assert_eq!(kinds(&[8, 1, 9, 9, 9]), [Start, Word, End, Padding, Padding]);
        // Padded with another, as Stable Diffusion 2 is; the prompt may end with that one too.
        assert_eq!(kinds(&[8, 1, 0, 9, 0]), [Start, Word, Word, End, Padding]);
        assert_eq!(kinds(&[8, 1, 2, 3, 9]), [Start, Word, Word, Word, End]);
        assert_eq!(kinds(&[8, 9, 9]), [Start, End, Padding]);
        assert_eq!(kinds(&[]), []);
    }
}

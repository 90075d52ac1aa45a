//! Concepts of several vectors (textual inversion), expanded as in diffusers' `maybe_convert_prompt`.
//!
//! A concept `<x>` of three vectors is three added tokens, `<x>`, `<x>_1` and `<x>_2`. The prompt contains `<x>`; the text encoder
//! gets all three. diffusers inserts the others wherever the text `<x>` occurs. This module inserts them where the tokenizer finds
//! the token `<x>`, which gives the same text unless another name contains `<x>`: diffusers breaks that name.

use super::ClipTokenizer;
use crate::checkpoint::LoadError;
use crate::checkpoint::embedding::Embedding;
use crate::nn::error::abridged;
use std::collections::BTreeSet;
use tokenizers::AddedToken;
use tr::tr;

/// A prompt with its concepts expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Converted {
    /// The prompt.
    pub text: String,
    /// Concepts that are not expanded, and differences from diffusers.
    pub warnings: Vec<String>,
}

impl ClipTokenizer {
    /// Adds the tokens of a file of textual inversion (diffusers `load_textual_inversion`), and returns their ids.
    ///
    /// # Errors
    /// When the vocabulary has one of them.
    pub fn add_concept(&mut self, embedding: &Embedding) -> Result<Vec<u32>, LoadError> {
        let names = embedding.names();
        let broken = |reason: String| LoadError::Tokenizer { file: embedding.file.clone(), reason };
        // diffusers asks for the second vector's name even where there is one vector.
        let second = format!("{}_1", embedding.token);
        for name in names.iter().chain([&second]) {
            if let Some(id) = self.tokenizer.token_to_id(name) {
                return Err(broken(tr!(
                    "the vocabulary has the token `{}` already, with id {id}; expected a token that it has not: FILE:TOKEN",
                    abridged(name),
                    id
                )));
            }
        }
        // Like transformers' `add_tokens`: matched in any case.
        let tokens: Vec<AddedToken> =
            names.iter().map(|name| AddedToken::from(name.as_str(), false)).collect();
        self.tokenizer.add_tokens(tokens).map_err(|e| broken(e.to_string()))?;
        let id = |name: &String| {
            let missing = || broken(tr!("the token `{}` got no id", abridged(name)));
            self.tokenizer.token_to_id(name).ok_or_else(missing)
        };
        names.iter().map(id).collect()
    }

    /// Whether `name` is an added token.
    fn has_added(&self, name: &str) -> bool {
        self.tokenizer.get_added_vocabulary().get_vocab().contains_key(name)
    }

    /// The tokens of the concept `name` after its first: `<x>_1`, `<x>_2`, …
    fn further_vectors(&self, name: &str) -> Vec<String> {
        if !self.has_added(name) {
            return vec![];
        }
        (1..).map(|i| format!("{name}_{i}")).take_while(|vector| self.has_added(vector)).collect()
    }

    /// The number of the vector `id` if it continues the concept of `previous`: 2 for `<x>_2` after `<x>_1`.
    pub fn next_vector(&self, previous: u32, id: u32) -> Option<usize> {
        let added = self.tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let (previous, name) = (&added.get(&previous)?.content, &added.get(&id)?.content);
        let (concept, number) = name.rsplit_once('_')?;
        let number: usize = number.parse().ok()?;
        let before = match number.checked_sub(1)? {
            0 => concept.to_string(),
            before => format!("{concept}_{before}"),
        };
        // `<x>_01` is not a vector.
        (*previous == before && *name == format!("{concept}_{number}")).then_some(number)
    }

    /// Whether `id` is an added token.
    pub fn is_added(&self, id: u32) -> bool {
        self.tokenizer.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id)
    }

    /// The prompt with every vector of its concepts.
    ///
    /// # Errors
    /// When the vocabulary lacks a byte of the prompt.
    pub(super) fn maybe_convert_prompt(&self, prompt: &str) -> tokenizers::Result<Converted> {
        let mut converted = Converted { text: String::with_capacity(prompt.len()), warnings: vec![] };
        let encoding = self.tokenizer.encode(prompt, false)?;
        let (mut taken, mut concepts, mut places) = (0, vec![], vec![]);
        for ((token, id), &(start, end)) in
            encoding.get_tokens().iter().zip(encoding.get_ids()).zip(encoding.get_offsets())
        {
            let vectors = self.further_vectors(token);
            if vectors.is_empty() {
                converted.warnings.extend(self.alone(*id, token));
                continue;
            }
            if !concepts.contains(token) {
                concepts.push(token.clone());
            }
            if prompt.get(start..end) != Some(token) {
                // Written in another case: diffusers searches for the exact name.
                converted.warnings.extend(self.alone(*id, token));
                continue;
            }
            converted.text.push_str(&prompt[taken..end]);
            for vector in vectors {
                converted.text.push(' ');
                converted.text.push_str(&vector);
            }
            taken = end;
            places.push((token, start));
        }
        converted.text.push_str(&prompt[taken..]);
        converted.warnings.dedup();

        let by_diffusers = self.replaced_as_text(prompt, &concepts);
        if by_diffusers != converted.text && self.ids(&by_diffusers)? != self.ids(&converted.text)? {
            for concept in &concepts {
                let strays = prompt.match_indices(concept.as_str()).map(|(start, _)| start);
                let strays = strays.filter(|&start| !places.contains(&(concept, start)));
                let words: BTreeSet<&str> = strays.map(|stray| word_at(prompt, stray)).collect();
                let (contain, kept) = match words.len() {
                    0 => continue,
                    1 => ("contains", "is kept"),
                    _ => ("contain", "are kept"),
                };
                let (words, they) =
                    (listed(&words), if words.len() == 1 { listed(&words) } else { "they".into() });
                converted.warnings.push(tr!(
                    "{words} {contain} `{concept}`, a concept of {} vectors: diffusers inserts its vectors there too, and gets \
                     other tokens; here {they} {kept}",
                    self.further_vectors(concept).len() + 1, words, contain, concept = abridged(concept), they, kept
                ));
            }
        }
        Ok(converted)
    }

    /// The warning for a concept of which only the first vector is used.
    fn alone(&self, id: u32, token: &str) -> Option<String> {
        let added = self.tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let name = &added.get(&id)?.content;
        let vectors = self.further_vectors(name).len() + 1;
        let reason = match vectors {
            1 => return None,
            _ if name == token => "diffusers inserts the others only if the name is written in the same case",
            _ => "diffusers does not insert the others for a name with capitals",
        };
        Some(tr!(
            "only the first of the {vectors} vectors of `{}` is used: {reason}",
            abridged(name),
            vectors,
            reason
        ))
    }

    /// The loop of diffusers.
    fn replaced_as_text(&self, prompt: &str, concepts: &[String]) -> String {
        concepts.iter().fold(prompt.to_string(), |prompt, concept| {
            let vectors = self.further_vectors(concept);
            prompt.replace(concept.as_str(), &format!("{concept} {}", vectors.join(" ")))
        })
    }

    fn ids(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        Ok(self.tokenizer.encode_fast(text, false)?.get_ids().to_vec())
    }
}

/// Words in quotes: the first ten, and the number of the others.
fn listed(words: &BTreeSet<&str>) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> = words.iter().take(MOST).map(|word| format!("`{}`", abridged(word))).collect();
    let more = match words.len().saturating_sub(MOST) {
        0 => String::new(),
        more => tr!(" and {more} more", more),
    };
    shown.join(", ") + &more
}

/// The word around a byte, delimited by whitespace.
fn word_at(text: &str, place: usize) -> &str {
    let start = text[..place]
        .rfind(char::is_whitespace)
        .map_or(0, |space| space + text[space..].chars().next().map_or(0, char::len_utf8));
    let end = text[place..].find(char::is_whitespace).map_or(text.len(), |end| place + end);
    &text[start..end]
}

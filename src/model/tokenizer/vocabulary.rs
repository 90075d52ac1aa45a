//! `vocab.json` and `merges.txt`, or `tokenizer.json`, which contains both.

use super::added::StoredToken;
use crate::checkpoint::{LoadError, ModelSource};
use crate::nn::error::abridged;
use crate::nn::{ConfigFile, text};
use crate::phrase::phrase;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use tr::tr;

/// The largest vocabulary whose merges are not counted.
const SMALL_VOCABULARY: usize = 10_000;

/// Tokens with their ids, and the merges in order.
pub struct Vocabulary {
    /// The file's name, for messages.
    pub file: String,
    /// The id of each token.
    pub ids: HashMap<String, u32>,
    /// The pairs to merge, by falling priority.
    pub merges: Vec<(String, String)>,
    /// `added_tokens` of `tokenizer.json`.
    pub added: Vec<StoredToken>,
    /// The files that begin with a byte order mark.
    pub marked: Vec<String>,
}

/// `tokenizer.json`, the part that transformers 5 reads.
#[derive(Deserialize)]
struct TokenizerJson {
    model: BpeModel,
}

#[derive(Deserialize)]
struct BpeModel {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// A merge: `"a b"` in old files, `["a", "b"]` in new ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

impl Vocabulary {
    /// Reads `tokenizer.json` if it exists, otherwise the two files.
    ///
    /// # Errors
    /// When the files are missing or invalid.
    pub fn load(source: &ModelSource) -> Result<Self, LoadError> {
        match source.optional_config("tokenizer/tokenizer.json")? {
            Some(file) => Self::from_tokenizer_json(&file),
            None => Self::from_vocab_and_merges(source),
        }
    }

    fn from_tokenizer_json(file: &ConfigFile) -> Result<Self, LoadError> {
        let expected = "a BPE model with `vocab` and `merges`";
        let model = file.require::<Value>("model", expected)?;
        let TokenizerJson { model } = serde_json::from_value(serde_json::json!({ "model": model }))
            .map_err(|_| file.wrong("model", expected))?;
        let added = file.or::<Vec<StoredToken>>(
            "added_tokens",
            vec![],
            phrase("a list of tokens with their `id` and `content`"),
        )?;
        let merges = model.merges.into_iter().enumerate().map(|(i, merge)| match merge {
            Merge::Pair(a, b) => Ok((a, b)),
            Merge::Line(line) => pair(&line).ok_or_else(|| LoadError::Tokenizer {
                file: file.file().into(),
                reason: tr!(
                    "merge {i} is `{}`; expected two tokens with a space between",
                    abridged(&line),
                    i
                ),
            }),
        });
        Ok(Self {
            file: file.file().into(),
            ids: model.vocab,
            merges: merges.collect::<Result<_, _>>()?,
            added,
            marked: file.marked().into_iter().collect(),
        })
    }

    fn from_vocab_and_merges(source: &ModelSource) -> Result<Self, LoadError> {
        let vocab = source.config("tokenizer/vocab.json")?;
        let file = vocab.file().to_string();
        let ids: HashMap<String, u32> = vocab.all(phrase("a token's id"))?;
        let merges = source.require("tokenizer/merges.txt")?;
        let merges_file = file.replace("vocab.json", "merges.txt");
        let wrong = |reason| LoadError::Tokenizer { file: merges_file.clone(), reason };
        let mut marked: Vec<String> = vocab.marked().into_iter().collect();
        marked.extend(text::has_mark(&merges).then(|| merges_file.clone()));
        let text = text::utf8(&merges).map_err(wrong)?;
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
        let merges = lines.map(|(i, line)| {
            pair(line).ok_or_else(|| {
                let shown = abridged(line);
                wrong(tr!("line {}: `{shown}`; expected two tokens with a space between", i + 1, shown))
            })
        });
        let merges = merges.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { file, ids, merges, added: vec![], marked })
    }

    /// Checks that nearly every token has a merge: a truncated list is still a valid one.
    ///
    /// # Errors
    /// When thousands of tokens have none.
    pub fn check_merges(&self) -> Result<(), LoadError> {
        // A token without a merge is never produced. The small vocabularies of tests have such tokens; a truncated list of a real
        // one leaves thousands.
        let (tokens, merges) = (self.ids.len(), self.merges.len());
        if tokens > SMALL_VOCABULARY && tokens.saturating_sub(merges) > tokens / 20 {
            return Err(LoadError::Tokenizer {
                file: self.file.replace("vocab.json", "merges.txt"),
                reason: tr!(
                    "{merges} merges for a vocabulary of {tokens}; expected one for nearly every token: fetch or copy it again",
                    merges,
                    tokens
                ),
            });
        }
        Ok(())
    }

    /// Checks that every merge makes a token from two tokens, which the `tokenizers` crate assumes.
    ///
    /// # Errors
    /// When a merge does not, or a token has no embedding.
    pub fn check(&self, vocab_size: usize) -> Result<(), LoadError> {
        if self.ids.is_empty() {
            let reason = tr!("the vocabulary is empty; expected CLIP's 49,408 tokens");
            return Err(LoadError::Tokenizer { file: self.file.clone(), reason });
        }
        if let Some((token, id)) = self.ids.iter().find(|&(_, &id)| id as usize >= vocab_size) {
            let reason = tr!(
                "the token `{}` has id {id}; expected less than {vocab_size}, `vocab_size` of text_encoder/config.json",
                abridged(token),
                id,
                vocab_size
            );
            return Err(LoadError::Tokenizer { file: self.file.clone(), reason });
        }
        for (a, b) in &self.merges {
            for token in [a, b, &format!("{a}{b}")] {
                if !self.ids.contains_key(token.as_str()) {
                    let (merge, token) = (abridged(&format!("{a} {b}")), abridged(token));
                    let reason = tr!(
                        "the merge `{merge}` needs the token `{token}`, which is not in the vocabulary",
                        merge,
                        token
                    );
                    return Err(LoadError::Tokenizer {
                        file: self.file.replace("vocab.json", "merges.txt"),
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}

fn pair(line: &str) -> Option<(String, String)> {
    let (a, b) = line.split_once(' ')?;
    (!a.is_empty() && !b.is_empty() && !b.contains(' ')).then(|| (a.into(), b.into()))
}

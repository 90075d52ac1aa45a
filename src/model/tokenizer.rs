//! `CLIPTokenizer` (transformers 5): text to 77 ids.
//!
//! The byte-pair encoding is the `tokenizers` crate's. CLIP's normalizer, split pattern and byte-level step are
//! built here, as transformers 5 builds them, whatever `tokenizer.json` says of its own.

use super::{LoadError, ModelSource};
use crate::nn::ConfigFile;
use crate::nn::error::abridged;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, Decoder, SplitDelimiterBehavior, Tokenizer};

/// How many ids a prompt has, the start, the end and the padding among them.
pub const MODEL_MAX_LENGTH: usize = 77;

/// CLIP's way of taking words apart, before bytes are paired.
const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// CLIP's tokenizer.
#[derive(Debug)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    bos_token_id: u32,
    eos_token_id: u32,
    pad_token_id: u32,
}

/// A prompt as the text encoder takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// [`MODEL_MAX_LENGTH`] ids: start, the prompt, end, padding.
    pub input_ids: Vec<u32>,
    /// 1 for each id before the padding, 0 for the padding.
    pub attention_mask: Vec<u32>,
    /// What did not fit, in the tokenizer's spelling, as diffusers' warning quotes it.
    pub cut: Option<String>,
}

impl ClipTokenizer {
    /// Loads `tokenizer/tokenizer.json`, or where that is not there `vocab.json` and `merges.txt`.
    ///
    /// `vocab_size` is how many ids the text encoder has embeddings for.
    ///
    /// # Errors
    /// When the files are missing or do not fit together.
    pub fn load(source: &ModelSource, vocab_size: usize) -> Result<Self, LoadError> {
        let vocabulary = Vocabulary::load(source)?;
        vocabulary.check(vocab_size)?;
        let special = SpecialTokens::load(source, vocabulary.added.clone())?;
        let broken = |reason: String| LoadError::Tokenizer { file: vocabulary.file.clone(), reason };
        let id_of = |token: &str| {
            let missing = || {
                let token = abridged(token);
                broken(format!(
                    "the special token `{token}` is not in the vocabulary; expected all of them in it"
                ))
            };
            vocabulary.ids.get(token).copied().ok_or_else(missing)
        };
        let (bos, eos, pad) = (id_of(&special.bos)?, id_of(&special.eos)?, id_of(&special.pad)?);
        id_of(&special.unk)?;
        vocabulary.check_merges()?;

        let bpe = BPE::builder()
            .vocab_and_merges(
                vocabulary.ids.clone().into_iter().collect::<Vocab>(),
                vocabulary.merges.clone(),
            )
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".into())
            .unk_token(special.unk.clone())
            .build()
            .map_err(|e| broken(e.to_string()))?;
        let tokenizer = assemble(bpe, &special.added).map_err(|e| broken(e.to_string()))?;
        for token in &special.added {
            // Those that the vocabulary lacks have got the ids behind it.
            if let Some(id) = tokenizer.token_to_id(&token.content).filter(|&id| id as usize >= vocab_size) {
                let token = abridged(&token.content);
                return Err(broken(format!(
                    "the added token `{token}` gets id {id}; expected less than {vocab_size}, `vocab_size` of text_encoder/config.json"
                )));
            }
        }
        Ok(Self { tokenizer, bos_token_id: bos, eos_token_id: eos, pad_token_id: pad })
    }

    /// Tokenizes as diffusers' `encode_prompt` does: cut and padded to [`MODEL_MAX_LENGTH`].
    ///
    /// # Errors
    /// When the vocabulary lacks a byte of the prompt.
    pub fn encode(&self, prompt: &str) -> Result<Encoded, crate::nn::Error> {
        let broken =
            |e: tokenizers::Error| crate::nn::Error::Input(format!("the prompt cannot be tokenized: {e}"));
        let encoding = self.tokenizer.encode_fast(prompt, false).map_err(broken)?;
        let ids = encoding.get_ids();
        let kept = ids.len().min(MODEL_MAX_LENGTH - 2);
        let mut input_ids = vec![self.bos_token_id];
        input_ids.extend(&ids[..kept]);
        input_ids.push(self.eos_token_id);
        let mut attention_mask = vec![1; input_ids.len()];
        input_ids.resize(MODEL_MAX_LENGTH, self.pad_token_id);
        attention_mask.resize(MODEL_MAX_LENGTH, 0);
        let cut = (kept < ids.len()).then(|| self.decode(&ids[kept..]));
        Ok(Encoded { input_ids, attention_mask, cut })
    }

    /// The text of `ids`, a space after each word.
    pub fn decode(&self, ids: &[u32]) -> String {
        let tokens = ids.iter().filter_map(|&id| self.tokenizer.id_to_token(id)).collect();
        let text = ByteLevel::default().decode(tokens).unwrap_or_default();
        text.replace("</w>", " ").trim().to_string()
    }

    /// The token of an id as the vocabulary spells it: `apple</w>`.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }
}

fn assemble(bpe: BPE, added: &[AddedToken]) -> tokenizers::Result<Tokenizer> {
    let whitespace = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ")?;
    let split = Split::new(SplitPattern::Regex(PATTERN.into()), SplitDelimiterBehavior::Removed, true)?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_normalizer(Some(tokenizers::normalizers::Sequence::new(vec![
        NFC.into(),
        whitespace.into(),
        Lowercase.into(),
    ])))?;
    tokenizer.with_pre_tokenizer(Some(tokenizers::pre_tokenizers::sequence::Sequence::new(vec![
        split.into(),
        ByteLevel::new(false, true, true).into(),
    ])));
    tokenizer.add_special_tokens(added.to_vec())?;
    Ok(tokenizer)
}

/// How many tokens a vocabulary may have whose merges are not counted.
const SMALL_VOCABULARY: usize = 10_000;

/// Tokens with their ids, and the pairs that are merged, in order.
struct Vocabulary {
    /// The file that it came from, for messages.
    file: String,
    ids: HashMap<String, u32>,
    merges: Vec<(String, String)>,
    /// `added_tokens` of `tokenizer.json`: how special tokens are found in a prompt.
    added: Vec<AddedToken>,
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

/// A merge: `"a b"` of old files, `["a", "b"]` of new ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

impl Vocabulary {
    fn load(source: &ModelSource) -> Result<Self, LoadError> {
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
        let added =
            file.or::<Vec<TokenEntry>>("added_tokens", vec![], "a list of tokens with their `content`")?;
        let merges = model.merges.into_iter().enumerate().map(|(i, merge)| match merge {
            Merge::Pair(a, b) => Ok((a, b)),
            Merge::Line(line) => pair(&line).ok_or_else(|| LoadError::Tokenizer {
                file: file.file().into(),
                reason: format!(
                    "merge {i} is `{}`; expected two tokens with a space between",
                    abridged(&line)
                ),
            }),
        });
        Ok(Self {
            file: file.file().into(),
            ids: model.vocab,
            merges: merges.collect::<Result<_, _>>()?,
            added: added.into_iter().map(TokenEntry::into_added).collect(),
        })
    }

    fn from_vocab_and_merges(source: &ModelSource) -> Result<Self, LoadError> {
        let vocab = source.config("tokenizer/vocab.json")?;
        let file = vocab.file().to_string();
        let ids: HashMap<String, u32> = vocab.all("a token's id")?;
        let merges = source.require("tokenizer/merges.txt")?;
        let wrong = |reason| LoadError::Tokenizer { file: file.replace("vocab.json", "merges.txt"), reason };
        let text = std::str::from_utf8(&merges).map_err(|e| wrong(format!("not UTF-8: {e}")))?;
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
        let merges = lines.map(|(i, line)| {
            pair(line).ok_or_else(|| {
                let shown = abridged(line);
                wrong(format!("line {}: `{shown}`; expected two tokens with a space between", i + 1))
            })
        });
        let merges = merges.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { file, ids, merges, added: vec![] })
    }

    /// Nearly every token must have a merge: a list that was cut short is one too.
    fn check_merges(&self) -> Result<(), LoadError> {
        // Without its merge a token is never made. The small vocabularies that tests are made of have such tokens; of a real
        // one, a list that was cut short leaves thousands.
        let (tokens, merges) = (self.ids.len(), self.merges.len());
        if tokens > SMALL_VOCABULARY && tokens.saturating_sub(merges) > tokens / 20 {
            return Err(LoadError::Tokenizer {
                file: self.file.replace("vocab.json", "merges.txt"),
                reason: format!(
                    "{merges} merges for a vocabulary of {tokens}; expected one for nearly every token: fetch or copy it again"
                ),
            });
        }
        Ok(())
    }

    /// Every merge must make a token out of two tokens: the `tokenizers` crate takes that for granted.
    fn check(&self, vocab_size: usize) -> Result<(), LoadError> {
        if self.ids.is_empty() {
            let reason = "the vocabulary is empty; expected CLIP's 49,408 tokens".into();
            return Err(LoadError::Tokenizer { file: self.file.clone(), reason });
        }
        if let Some((token, id)) = self.ids.iter().find(|&(_, &id)| id as usize >= vocab_size) {
            let reason = format!(
                "the token `{}` has id {id}; expected less than {vocab_size}, `vocab_size` of text_encoder/config.json",
                abridged(token)
            );
            return Err(LoadError::Tokenizer { file: self.file.clone(), reason });
        }
        for (a, b) in &self.merges {
            for token in [a, b, &format!("{a}{b}")] {
                if !self.ids.contains_key(token.as_str()) {
                    let (merge, token) = (abridged(&format!("{a} {b}")), abridged(token));
                    let reason = format!(
                        "the merge `{merge}` needs the token `{token}`, which is not in the vocabulary"
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

/// Which tokens mean start, end, unknown and padding, and how they are found in a prompt.
struct SpecialTokens {
    bos: String,
    eos: String,
    unk: String,
    pad: String,
    added: Vec<AddedToken>,
}

/// A token as a configuration has it: a string, or an object with `content`.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenEntry {
    Text(String),
    Object {
        content: String,
        #[serde(default)]
        single_word: bool,
        #[serde(default)]
        lstrip: bool,
        #[serde(default)]
        rstrip: bool,
        #[serde(default)]
        normalized: bool,
    },
}

impl TokenEntry {
    fn into_added(self) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Object { content, single_word, lstrip, rstrip, normalized } => {
                AddedToken::from(content, true)
                    .single_word(single_word)
                    .lstrip(lstrip)
                    .rstrip(rstrip)
                    .normalized(normalized)
            }
        }
    }
}

impl SpecialTokens {
    /// `tokenizer_config.json` says which; where it has no `added_tokens_decoder`, `special_tokens_map.json`
    /// overrules it. How a token is matched is said by `added_tokens_decoder`, or else by `from_json`, the
    /// `added_tokens` of `tokenizer.json`, and only for tokens that are in neither by the entry that names it.
    fn load(source: &ModelSource, from_json: Vec<AddedToken>) -> Result<Self, LoadError> {
        const EXPECTED: &str = "a token, or an object with its `content`";
        let config = source.optional_config("tokenizer/tokenizer_config.json")?;
        let decoder = match &config {
            Some(config) => {
                config.get::<Map<String, Value>>("added_tokens_decoder", "an object of tokens by id")?
            }
            None => None,
        };
        let map = match decoder {
            Some(_) => None,
            None => source.optional_config("tokenizer/special_tokens_map.json")?,
        };
        let stored = match decoder {
            Some(decoder) => decoder
                .into_iter()
                .map(|(id, entry)| match serde_json::from_value::<TokenEntry>(entry) {
                    Ok(entry) => Ok(entry.into_added()),
                    Err(_) => Err(LoadError::Tokenizer {
                        file: config.as_ref().map_or_else(String::new, |c| c.file().into()),
                        reason: format!(
                            "`added_tokens_decoder` has at {} something else than {EXPECTED}",
                            abridged(&id)
                        ),
                    }),
                })
                .collect::<Result<_, _>>()?,
            None => from_json,
        };
        let mut added = stored.clone();
        let mut named = |key: &str, default: &str| -> Result<String, LoadError> {
            let mut entry = None;
            for file in map.iter().chain(&config) {
                if entry.is_none() {
                    entry = file.get::<TokenEntry>(key, EXPECTED)?;
                }
            }
            let token = entry.unwrap_or_else(|| TokenEntry::Text(default.into())).into_added();
            let content = token.content.clone();
            if stored.iter().all(|known| known.content != content) {
                // As in transformers: of two entries with one content, the later says how it is matched.
                added.retain(|known| known.content != content);
                added.push(token);
            }
            Ok(content)
        };
        let bos = named("bos_token", "<|startoftext|>")?;
        let eos = named("eos_token", "<|endoftext|>")?;
        let unk = named("unk_token", "<|endoftext|>")?;
        let pad = named("pad_token", "<|endoftext|>")?;
        if let Some(config) = &config {
            check_length(config)?;
        }
        Ok(Self { bos, eos, unk, pad, added })
    }
}

/// diffusers pads a prompt to `model_max_length`; here it is always [`MODEL_MAX_LENGTH`], or refused.
fn check_length(config: &ConfigFile) -> Result<(), LoadError> {
    match config.get::<f64>("model_max_length", "77")? {
        Some(length) if length != MODEL_MAX_LENGTH as f64 => {
            Err(config.wrong("model_max_length", "77").into())
        }
        _ => Ok(()),
    }
}

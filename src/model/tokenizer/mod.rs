//! `CLIPTokenizer` (transformers 5): text → 77 token ids.
//!
//! The byte-pair encoding is the `tokenizers` crate's. CLIP's normalizer, split pattern and byte-level step are
//! built here as in transformers 5, which ignores those of `tokenizer.json`.
//!
//! - `vocabulary`: CLIP's tokens and merges, from either generation of files.
//! - `added`: added tokens, special ones among them.
//! - `concepts`: concepts of several vectors (textual inversion).

mod added;
mod concepts;
mod vocabulary;

use crate::checkpoint::source::mark_skipped;
use crate::checkpoint::{LoadError, ModelSource};
use crate::nn::error::abridged;
use added::AddedTokens;
use concepts::Converted;
use std::collections::BTreeMap;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, Decoder, SplitDelimiterBehavior, Tokenizer};
use tr::tr;
use vocabulary::Vocabulary;

/// The number of ids of a prompt, with start, end and padding.
pub const MODEL_MAX_LENGTH: usize = 77;

/// CLIP's split pattern, applied before byte-pair encoding.
const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// CLIP's tokenizer.
#[derive(Debug)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    bos_token_id: u32,
    eos_token_id: u32,
    pad_token_id: u32,
    /// The number of ids for which the text encoder has embeddings.
    vocab_size: usize,
    /// The added tokens without an embedding, by id.
    without_embedding: BTreeMap<u32, WithoutEmbedding>,
    /// Remarks about the files.
    pub notes: Vec<String>,
}

/// An added token without an embedding.
#[derive(Debug)]
struct WithoutEmbedding {
    /// Its content.
    token: String,
    /// Its file.
    file: String,
}

/// A tokenized prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// [`MODEL_MAX_LENGTH`] ids: start, the prompt, end, padding.
    pub input_ids: Vec<u32>,
    /// 1 for each id before the padding, 0 for the padding.
    pub attention_mask: Vec<u32>,
    /// The text that did not fit, in the tokenizer's spelling, as in diffusers' warning.
    pub cut: Option<String>,
    /// Concepts that are not expanded, or that diffusers tokenizes differently.
    pub warnings: Vec<String>,
}

impl ClipTokenizer {
    /// Loads `tokenizer/tokenizer.json`, or else `vocab.json` and `merges.txt`, and the added tokens.
    ///
    /// `vocab_size` is the number of ids for which the text encoder has embeddings.
    ///
    /// # Errors
    /// When the files are missing or inconsistent.
    pub fn load(source: &ModelSource, vocab_size: usize) -> Result<Self, LoadError> {
        let mut vocabulary = Vocabulary::load(source)?;
        vocabulary.check(vocab_size)?;
        let added = AddedTokens::load(source, std::mem::take(&mut vocabulary.added))?;
        let broken = |reason: String| LoadError::Tokenizer { file: vocabulary.file.clone(), reason };
        for token in [&added.bos, &added.eos, &added.unk, &added.pad] {
            let is_known = vocabulary.ids.contains_key(token)
                || added.stored.values().any(|stored| stored.content == *token);
            if !is_known {
                let token = abridged(token);
                return Err(broken(tr!(
                    "the special token `{token}` is not in the vocabulary; expected all of them in it",
                    token
                )));
            }
        }
        vocabulary.check_merges()?;

        let bpe = BPE::builder()
            .vocab_and_merges(
                vocabulary.ids.clone().into_iter().collect::<Vocab>(),
                vocabulary.merges.clone(),
            )
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".into())
            .unk_token(added.unk.clone())
            .build()
            .map_err(|e| broken(e.to_string()))?;
        let tokenizer = assemble(bpe, &added.tokens).map_err(|e| broken(e.to_string()))?;
        // Tokens that the vocabulary lacks have ids after its last.
        let missing_embedding = |token: &AddedToken| {
            let id = tokenizer.token_to_id(&token.content).filter(|&id| id as usize >= vocab_size)?;
            let file = added.file_of(&token.content).to_string();
            Some((id, WithoutEmbedding { token: token.content.clone(), file }))
        };
        let without_embedding: BTreeMap<u32, WithoutEmbedding> =
            added.tokens.iter().filter_map(missing_embedding).collect();
        // Every prompt contains these.
        for token in [&added.bos, &added.eos, &added.pad] {
            let id = tokenizer.token_to_id(token).unwrap_or_default();
            if let Some(WithoutEmbedding { file, .. }) = without_embedding.get(&id) {
                return Err(LoadError::Tokenizer {
                    file: file.clone(),
                    reason: tr!(
                        "the added token `{}` gets id {id}; expected less than {vocab_size}, `vocab_size` of text_encoder/config.json",
                        abridged(token),
                        id,
                        vocab_size
                    ),
                });
            }
        }
        // An empty token has no id.
        let id_of =
            |token: &str| tokenizer.token_to_id(token).ok_or_else(|| broken(tr!("a special token is empty")));
        Ok(Self {
            bos_token_id: id_of(&added.bos)?,
            eos_token_id: id_of(&added.eos)?,
            pad_token_id: id_of(&added.pad)?,
            notes: notes(&tokenizer, &vocabulary, &added, &without_embedding, vocab_size, source),
            tokenizer,
            vocab_size,
            without_embedding,
        })
    }

    /// Tokenizes as diffusers' `encode_prompt`: concepts expanded, truncated and padded to [`MODEL_MAX_LENGTH`].
    ///
    /// # Errors
    /// When the vocabulary lacks a byte of the prompt, or a token has no embedding.
    pub fn encode(&self, prompt: &str) -> Result<Encoded, crate::nn::Error> {
        let (ids, warnings) = self.ids_of(prompt)?;
        let kept = ids.len().min(MODEL_MAX_LENGTH - 2);
        self.check_embeddings(&ids[..kept])?;
        let mut input_ids = vec![self.bos_token_id];
        input_ids.extend(&ids[..kept]);
        input_ids.push(self.eos_token_id);
        let mut attention_mask = vec![1; input_ids.len()];
        input_ids.resize(MODEL_MAX_LENGTH, self.pad_token_id);
        attention_mask.resize(MODEL_MAX_LENGTH, 0);
        let cut = (kept < ids.len()).then(|| self.decode(&ids[kept..]));
        Ok(Encoded { input_ids, attention_mask, cut, warnings })
    }

    /// All tokens of a text, without start, end and padding, its concepts expanded; and the warnings of [`Encoded`].
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn tokens_of(&self, text: &str) -> Result<(Vec<u32>, Vec<String>), crate::nn::Error> {
        let (ids, warnings) = self.ids_of(text)?;
        self.check_embeddings(&ids)?;
        Ok((ids, warnings))
    }

    /// The ids of start, end and padding.
    pub fn special_ids(&self) -> [u32; 3] {
        [self.bos_token_id, self.eos_token_id, self.pad_token_id]
    }

    /// The id of a token as the vocabulary spells it, such as `apple</w>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    fn ids_of(&self, text: &str) -> Result<(Vec<u32>, Vec<String>), crate::nn::Error> {
        let broken =
            |e: tokenizers::Error| crate::nn::Error::Input(tr!("the prompt cannot be tokenized: {e}", e));
        let Converted { text, warnings } = self.maybe_convert_prompt(text).map_err(broken)?;
        Ok((self.tokenizer.encode_fast(text, false).map_err(broken)?.get_ids().to_vec(), warnings))
    }

    fn check_embeddings(&self, ids: &[u32]) -> Result<(), crate::nn::Error> {
        let missing = ids.iter().find_map(|id| self.without_embedding.get_key_value(id));
        let Some((id, WithoutEmbedding { token, file })) = missing else { return Ok(()) };
        Err(crate::nn::Error::Input(tr!(
            "{file}: the added token `{}` of the prompt has id {id}; expected less than {}, `vocab_size` of \
             text_encoder/config.json: a prompt without it, or embeddings for it",
            abridged(token),
            self.vocab_size,
            file,
            id
        )))
    }

    /// The text of `ids`, with a space between words.
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
    tokenizer.add_tokens(added.to_vec())?;
    Ok(tokenizer)
}

/// Notes on the files: ids without a token, tokens whose id differs from their file's, byte order marks.
fn notes(
    tokenizer: &Tokenizer,
    vocabulary: &Vocabulary,
    added: &AddedTokens,
    without_embedding: &BTreeMap<u32, WithoutEmbedding>,
    vocab_size: usize,
    source: &ModelSource,
) -> Vec<String> {
    let mut notes: Vec<String> =
        vocabulary.marked.iter().chain(&added.marked).map(|file| mark_skipped(file)).collect();
    let in_vocabulary = |token: &AddedToken| vocabulary.ids.contains_key(&token.content);
    let is_explained = |id: u32| added.stored.get(&id).is_some_and(in_vocabulary);
    let without =
        (0..vocab_size as u32).filter(|&id| tokenizer.id_to_token(id).is_none() && !is_explained(id));
    let without: Vec<u32> = without.collect();
    if let Some(first) = without.first() {
        notes.push(tr!(
            "{}: `vocab_size` is {vocab_size}, and {} of the ids {} no token in tokenizer/, from {first} on; expected a token \
             for each: are files of added tokens missing?",
            source.name_of("text_encoder/config.json"), without.len(), if without.len() == 1 { "has" } else { "have" }, vocab_size, first
        ));
    }
    let moved = added.stored.iter().filter_map(|(&stored, token)| {
        let id = tokenizer.token_to_id(&token.content)?;
        (id != stored).then_some((token, stored, id))
    });
    let (known, moved): (Vec<_>, Vec<_>) = moved.partition(|(token, ..)| in_vocabulary(token));
    let more = |others: usize, what: &str| match others {
        0 => String::new(),
        count => tr!(", and {count} more{what}", count, what),
    };
    if let [(token, stored, id), others @ ..] = &known[..] {
        notes.push(tr!(
            "{}: `{}` has id {stored} there, but the vocabulary has that name with id {id}: the added token's own vector is never \
             used{}",
            added.file_of(&token.content), abridged(&token.content), more(others.len(), " likewise"), stored, id
        ));
    }
    if let [(token, stored, id), others @ ..] = &moved[..] {
        notes.push(tr!(
            "{}: `{}` has id {stored} there and gets {id}{}: transformers 5 numbers added tokens from the end of the vocabulary, \
             without gaps",
            added.file_of(&token.content), abridged(&token.content), more(others.len(), " are moved"), stored, id
        ));
    }
    if let Some((id, WithoutEmbedding { token, file })) = without_embedding.first_key_value() {
        notes.push(tr!(
            "{file}: the added token `{}` gets id {id}{}, and `vocab_size` of text_encoder/config.json is {vocab_size}: a prompt with \
             such a token is refused",
            abridged(token), more(without_embedding.len() - 1, " follow"), file, id, vocab_size
        ));
    }
    notes
}

//! `CLIPTokenizer` (transformers 5): text to 77 ids.
//!
//! The byte-pair encoding is the `tokenizers` crate's. CLIP's normalizer, split pattern and byte-level step are
//! built here, as transformers 5 builds them, whatever `tokenizer.json` says of its own.
//!
//! - `vocabulary`: CLIP's tokens and merges, from either generation of files.
//! - `added`: the tokens that were added to them, and which of these are special.
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
use vocabulary::Vocabulary;

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
    /// How many ids the text encoder has embeddings for.
    vocab_size: usize,
    /// The added tokens that have no embedding, by id.
    beyond: BTreeMap<u32, Beyond>,
    /// What a reader should know of the files.
    pub notes: Vec<String>,
}

/// An added token without an embedding.
#[derive(Debug)]
struct Beyond {
    /// Its name.
    token: String,
    /// The file that has it.
    file: String,
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
    /// Concepts of several vectors that do not count whole, or that diffusers tokenizes otherwise.
    pub warnings: Vec<String>,
}

impl ClipTokenizer {
    /// Loads `tokenizer/tokenizer.json`, or where that is not there `vocab.json` and `merges.txt`, and the tokens that were added.
    ///
    /// `vocab_size` is how many ids the text encoder has embeddings for.
    ///
    /// # Errors
    /// When the files are missing or do not fit together.
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
                return Err(broken(format!(
                    "the special token `{token}` is not in the vocabulary; expected all of them in it"
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
        // Those that the vocabulary lacks have got the ids that follow it.
        let without_embedding = |token: &AddedToken| {
            let id = tokenizer.token_to_id(&token.content).filter(|&id| id as usize >= vocab_size)?;
            let file = added.file_of(&token.content).to_string();
            Some((id, Beyond { token: token.content.clone(), file }))
        };
        let beyond: BTreeMap<u32, Beyond> = added.tokens.iter().filter_map(without_embedding).collect();
        // Every prompt has these.
        for token in [&added.bos, &added.eos, &added.pad] {
            let id = tokenizer.token_to_id(token).unwrap_or_default();
            if let Some(Beyond { file, .. }) = beyond.get(&id) {
                return Err(LoadError::Tokenizer {
                    file: file.clone(),
                    reason: format!(
                        "the added token `{}` gets id {id}; expected less than {vocab_size}, `vocab_size` of text_encoder/config.json",
                        abridged(token)
                    ),
                });
            }
        }
        // An empty name is no token, and has no id.
        let id_of = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| broken("a special token is empty".into()))
        };
        Ok(Self {
            bos_token_id: id_of(&added.bos)?,
            eos_token_id: id_of(&added.eos)?,
            pad_token_id: id_of(&added.pad)?,
            notes: notes(&tokenizer, &vocabulary, &added, &beyond, vocab_size, source),
            tokenizer,
            vocab_size,
            beyond,
        })
    }

    /// Tokenizes as diffusers' `encode_prompt` does: with every vector of the concepts in it, cut and padded to
    /// [`MODEL_MAX_LENGTH`].
    ///
    /// # Errors
    /// When the vocabulary lacks a byte of the prompt, or a token has no embedding.
    pub fn encode(&self, prompt: &str) -> Result<Encoded, crate::nn::Error> {
        let broken =
            |e: tokenizers::Error| crate::nn::Error::Input(format!("the prompt cannot be tokenized: {e}"));
        let Converted { text, warnings } = self.maybe_convert_prompt(prompt).map_err(broken)?;
        let encoding = self.tokenizer.encode_fast(text, false).map_err(broken)?;
        let ids = encoding.get_ids();
        let kept = ids.len().min(MODEL_MAX_LENGTH - 2);
        if let Some((id, Beyond { token, file })) =
            ids[..kept].iter().find_map(|id| self.beyond.get_key_value(id))
        {
            return Err(crate::nn::Error::Input(format!(
                "{file}: the added token `{}` of the prompt has id {id}; expected less than {}, `vocab_size` of \
                 text_encoder/config.json: a prompt without it, or embeddings for it",
                abridged(token),
                self.vocab_size
            )));
        }
        let mut input_ids = vec![self.bos_token_id];
        input_ids.extend(&ids[..kept]);
        input_ids.push(self.eos_token_id);
        let mut attention_mask = vec![1; input_ids.len()];
        input_ids.resize(MODEL_MAX_LENGTH, self.pad_token_id);
        attention_mask.resize(MODEL_MAX_LENGTH, 0);
        let cut = (kept < ids.len()).then(|| self.decode(&ids[kept..]));
        Ok(Encoded { input_ids, attention_mask, cut, warnings })
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
    tokenizer.add_tokens(added.to_vec())?;
    Ok(tokenizer)
}

/// What is not as it looks: ids without a token, tokens with another id than their file says, byte order marks.
fn notes(
    tokenizer: &Tokenizer,
    vocabulary: &Vocabulary,
    added: &AddedTokens,
    beyond: &BTreeMap<u32, Beyond>,
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
        notes.push(format!(
            "{}: `vocab_size` is {vocab_size}, and {} of the ids {} no token in tokenizer/, from {first} on; expected a token \
             for each: were tokens added whose files are missing?",
            source.name_of("text_encoder/config.json"),
            without.len(),
            if without.len() == 1 { "has" } else { "have" },
        ));
    }
    let moved = added.stored.iter().filter_map(|(&said, token)| {
        let id = tokenizer.token_to_id(&token.content)?;
        (id != said).then_some((token, said, id))
    });
    let (known, moved): (Vec<_>, Vec<_>) = moved.partition(|(token, ..)| in_vocabulary(token));
    let more = |others: usize, what: &str| match others {
        0 => String::new(),
        count => format!(", and {count} more{what}"),
    };
    if let [(token, said, id), others @ ..] = &known[..] {
        notes.push(format!(
            "{}: `{}` has id {said} there, but the vocabulary has that name with id {id}: the added token's own vector is never \
             used{}",
            added.file_of(&token.content),
            abridged(&token.content),
            more(others.len(), " likewise"),
        ));
    }
    if let [(token, said, id), others @ ..] = &moved[..] {
        notes.push(format!(
            "{}: `{}` has id {said} there and gets {id}{}: transformers 5 numbers added tokens on from the vocabulary, without gaps",
            added.file_of(&token.content),
            abridged(&token.content),
            more(others.len(), " are moved"),
        ));
    }
    if let Some((id, Beyond { token, file })) = beyond.first_key_value() {
        notes.push(format!(
            "{file}: the added token `{}` gets id {id}{}, and `vocab_size` of text_encoder/config.json is {vocab_size}: a prompt with \
             such a token is refused",
            abridged(token),
            more(beyond.len() - 1, " follow"),
        ));
    }
    notes
}

//! Tokens added to CLIP's vocabulary: special tokens, and those of textual inversion (Gal et al., 2022).
//!
//! Each generation of transformers saved them in another file. transformers 5 reads them in this order
//! (`PreTrainedTokenizerBase._from_pretrained`):
//!
//! 1. `added_tokens_decoder` of `tokenizer_config.json` (transformers 4.34 and later); if it is present, 2 and 3 are ignored;
//! 2. otherwise `added_tokens.json` (older versions), overridden by
//! 3. `added_tokens` of `tokenizer.json` (transformers 5, which writes only this file and `tokenizer_config.json`);
//! 4. tokens that `special_tokens_map.json` or `tokenizer_config.json` names and the files above lack.

use super::MODEL_MAX_LENGTH;
use crate::checkpoint::{LoadError, ModelSource};
use crate::nn::ConfigFile;
use crate::nn::error::abridged;
use crate::phrase::phrase;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use tokenizers::AddedToken;
use tr::tr;

/// The expected form of a token, for messages.
const EXPECTED: &str = "a token, or an object with its `content`";

/// A token in a configuration: a string, or an object with `content`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenEntry {
    Text(String),
    Object(TokenObject),
}

/// transformers' `AddedToken`.
#[derive(Debug, Clone, Deserialize)]
struct TokenObject {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    special: Option<bool>,
}

/// An entry of `added_tokens` of `tokenizer.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredToken {
    id: u32,
    #[serde(flatten)]
    token: TokenObject,
}

impl TokenEntry {
    /// A token under a key of special tokens.
    fn special(self) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Object(object) => TokenObject { special: Some(true), ..object }.into_added(),
        }
    }

    /// A token in a list of added tokens, which says whether it is special.
    fn stored(self) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Object(object) => object.into_added(),
        }
    }
}

impl TokenObject {
    /// By default, tokens that are not special are matched in any case.
    fn into_added(self) -> AddedToken {
        let added = AddedToken::from(self.content, self.special.unwrap_or(false))
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip);
        match self.normalized {
            Some(normalized) => added.normalized(normalized),
            None => added,
        }
    }
}

/// The tokens that are matched in a prompt before byte-pair encoding.
pub struct AddedTokens {
    /// The token that begins a prompt.
    pub bos: String,
    /// The token that ends a prompt.
    pub eos: String,
    /// The token for unknown text.
    pub unk: String,
    /// The padding token.
    pub pad: String,
    /// All tokens, in the order in which transformers adds them. Those that the vocabulary lacks get the ids after its last, in
    /// this order; the ids in the files only determine the order.
    pub tokens: Vec<AddedToken>,
    /// The ids in the files.
    pub stored: BTreeMap<u32, AddedToken>,
    /// The file of each token, by content. Default special tokens have none.
    files: HashMap<String, String>,
    /// The files that begin with a byte order mark.
    pub marked: Vec<String>,
}

/// The special tokens of every transformers tokenizer, with CLIP's defaults, in transformers' order.
const NAMED: [(&str, Option<&str>); 7] = [
    ("bos_token", Some("<|startoftext|>")),
    ("eos_token", Some("<|endoftext|>")),
    ("unk_token", Some("<|endoftext|>")),
    ("sep_token", None),
    ("pad_token", Some("<|endoftext|>")),
    ("cls_token", None),
    ("mask_token", None),
];

impl AddedTokens {
    /// Reads the tokens; `from_json` is `added_tokens` of `tokenizer.json`.
    ///
    /// # Errors
    /// When an entry is not a token, or `model_max_length` is not 77.
    pub fn load(source: &ModelSource, from_json: Vec<StoredToken>) -> Result<Self, LoadError> {
        let config = source.optional_config("tokenizer/tokenizer_config.json")?;
        let decoder = match &config {
            Some(config) => config
                .get::<Map<String, Value>>("added_tokens_decoder", phrase("an object of tokens by id"))?,
            None => None,
        };
        let map = match decoder {
            Some(_) => None,
            None => source.optional_config("tokenizer/special_tokens_map.json")?,
        };
        let named = Named::read(config.as_ref(), map.as_ref())?;
        let mut marked: Vec<String> = config.iter().chain(&map).filter_map(ConfigFile::marked).collect();

        let mut files = HashMap::new();
        for file in config.iter().chain(&map) {
            let values = file.all::<Value>(phrase("a value"))?;
            let in_file =
                named.all().filter(|token| values.values().any(|value| mentions(value, &token.content)));
            files.extend(in_file.map(|token| (token.content.clone(), file.file().to_string())));
        }
        let stored = match (decoder, &config) {
            (Some(decoder), Some(config)) => {
                let stored = by_id(decoder, config)?;
                files.extend(stored.values().map(|token| (token.content.clone(), config.file().to_string())));
                stored
            }
            _ => {
                let mut stored = BTreeMap::new();
                if let Some(added) = source.optional_config("tokenizer/added_tokens.json")? {
                    for (content, id) in added.all::<u32>(phrase("a token's id"))? {
                        let is_special = named.explicit().any(|token| token.content == content);
                        files.insert(content.clone(), added.file().to_string());
                        stored.insert(id, AddedToken::from(content, is_special));
                    }
                    marked.extend(added.marked());
                }
                for StoredToken { id, token } in from_json {
                    files.insert(token.content.clone(), source.name_of("tokenizer/tokenizer.json"));
                    stored.insert(id, token.into_added());
                }
                stored
            }
        };
        let mut tokens: Vec<AddedToken> = stored.values().cloned().collect();
        for token in named.all() {
            if stored.values().any(|known| known.content == token.content) {
                continue;
            }
            // Of two entries with the same content, the last determines the matching.
            match tokens.iter_mut().find(|known| known.content == token.content) {
                Some(known) => *known = token.clone(),
                None => tokens.push(token.clone()),
            }
        }
        if let Some(config) = &config {
            check_length(config)?;
        }
        let [bos, eos, unk, pad] = [0, 1, 2, 4].map(|place: usize| {
            named.tokens[place].as_ref().map(|(token, _)| token.content.clone()).unwrap_or_default()
        });
        Ok(Self { bos, eos, unk, pad, tokens, stored, files, marked })
    }

    /// The file of the token `content`; `tokenizer` for a default special token.
    pub fn file_of(&self, content: &str) -> &str {
        self.files.get(content).map_or("tokenizer", String::as_str)
    }
}

/// The special tokens.
struct Named {
    /// In the order of [`NAMED`]; true if a file names the token, false for a default.
    tokens: [Option<(AddedToken, bool)>; 7],
    /// Special tokens with other names.
    own: Vec<AddedToken>,
    /// Special tokens without a name.
    extra: Vec<AddedToken>,
    /// How many of `extra` are known when `added_tokens.json` is read.
    early: usize,
}

impl Named {
    /// Reads both files; `map` takes precedence.
    fn read(config: Option<&ConfigFile>, map: Option<&ConfigFile>) -> Result<Self, LoadError> {
        let mut tokens: [Option<(AddedToken, bool)>; 7] = Default::default();
        for (token, (key, default)) in tokens.iter_mut().zip(NAMED) {
            let mut entry = None;
            for file in map.iter().chain(&config) {
                if entry.is_none() {
                    entry = file.get::<TokenEntry>(key, EXPECTED)?;
                }
            }
            let default = default.map(|default| (AddedToken::from(default, true), false));
            *token = entry.map(|entry| (entry.special(), true)).or(default);
        }

        // transformers 4 calls `extra_special_tokens` `additional_special_tokens`.
        let list = |file: Option<&ConfigFile>, key: &str| -> Result<Option<Extra>, LoadError> {
            match file {
                Some(file) => Ok(file.get(key, phrase("a list of tokens, or an object of them by name"))?),
                None => Ok(None),
            }
        };
        let (mut own, mut extra) = (vec![], None);
        for key in ["extra_special_tokens", "additional_special_tokens"] {
            match list(config, key)? {
                Some(Extra::List(entries)) if extra.as_ref().is_none_or(Vec::is_empty) => {
                    extra = Some(entries)
                }
                Some(Extra::Named(entries)) => own.extend(entries.into_values()),
                _ => {}
            }
        }
        match list(map, "extra_special_tokens")? {
            Some(Extra::List(entries)) => extra.get_or_insert_default().extend(entries),
            Some(Extra::Named(entries)) => own.extend(entries.into_values()),
            None => {}
        }
        let early = extra.as_ref().map_or(0, Vec::len);
        if let (None, Some(Extra::List(entries))) = (&extra, list(map, "additional_special_tokens")?) {
            extra = Some(entries);
        }
        let is_own = |key: &str| key.ends_with("_token") && NAMED.iter().all(|(named, _)| *named != key);
        for file in config.into_iter().chain(map) {
            for key in file.unknown_keys().iter().filter(|key| is_own(key)) {
                // `add_bos_token` is a flag.
                own.extend(file.get::<TokenEntry>(key, EXPECTED).ok().flatten());
            }
        }
        let special = |entries: Vec<TokenEntry>| entries.into_iter().map(TokenEntry::special).collect();
        Ok(Self { tokens, own: special(own), extra: special(extra.unwrap_or_default()), early })
    }

    /// The tokens that the files name before `added_tokens.json` is read; in that file they are special.
    fn explicit(&self) -> impl Iterator<Item = &AddedToken> {
        let named = self.tokens.iter().flatten().filter(|(_, is_named)| *is_named).map(|(token, _)| token);
        named.chain(&self.extra[..self.early])
    }

    fn all(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter().flatten().map(|(token, _)| token).chain(&self.own).chain(&self.extra)
    }
}

/// Further special tokens: a list, or in transformers 5 an object by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Extra {
    List(Vec<TokenEntry>),
    Named(BTreeMap<String, TokenEntry>),
}

/// Whether a value is `text` or contains it at any depth.
fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Array(values) => values.iter().any(|value| mentions(value, text)),
        Value::Object(object) => object.values().any(|value| mentions(value, text)),
        _ => false,
    }
}

/// `added_tokens_decoder`.
fn by_id(decoder: Map<String, Value>, config: &ConfigFile) -> Result<BTreeMap<u32, AddedToken>, LoadError> {
    let wrong = |id: &str, expected: &str| LoadError::Tokenizer {
        file: config.file().into(),
        reason: tr!(
            "`added_tokens_decoder` has an invalid entry at {}; expected {expected}",
            abridged(id),
            expected
        ),
    };
    let read = |(id, entry): (String, Value)| {
        let number = id.parse::<u32>().map_err(|_| wrong(&id, "an id and its token"))?;
        let entry = serde_json::from_value::<TokenEntry>(entry).map_err(|_| wrong(&id, EXPECTED))?;
        Ok((number, entry.stored()))
    };
    decoder.into_iter().map(read).collect()
}

/// diffusers pads a prompt to `model_max_length`; only [`MODEL_MAX_LENGTH`] is supported.
fn check_length(config: &ConfigFile) -> Result<(), LoadError> {
    match config.get::<f64>("model_max_length", "77")? {
        Some(length) if length != MODEL_MAX_LENGTH as f64 => {
            Err(config.wrong("model_max_length", "77").into())
        }
        _ => Ok(()),
    }
}

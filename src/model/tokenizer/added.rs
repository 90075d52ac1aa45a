//! The tokens that were added to CLIP's: the special ones, and those of textual inversion (Gal et al., 2022).
//!
//! Each generation of transformers saved them elsewhere, and transformers 5 reads them so
//! (`PreTrainedTokenizerBase._from_pretrained`):
//!
//! 1. `added_tokens_decoder` of `tokenizer_config.json` (transformers 4.34 and later); where it is there, nothing else counts;
//! 2. otherwise `added_tokens.json` (before that), and over it
//! 3. `added_tokens` of `tokenizer.json` (transformers 5, which writes no other file but `tokenizer_config.json`);
//! 4. and tokens that `special_tokens_map.json` or `tokenizer_config.json` names and none of those files has.

use super::MODEL_MAX_LENGTH;
use crate::checkpoint::{LoadError, ModelSource};
use crate::nn::ConfigFile;
use crate::nn::error::abridged;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use tokenizers::AddedToken;

/// What a token has to look like, for messages.
const EXPECTED: &str = "a token, or an object with its `content`";

/// A token as a configuration has it: a string, or an object with `content`.
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
    /// A token that is special because of the key that it stands under.
    fn special(self) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Object(object) => TokenObject { special: Some(true), ..object }.into_added(),
        }
    }

    /// A token of a list of added ones, of which some are special and others are not.
    fn stored(self) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Object(object) => object.into_added(),
        }
    }
}

impl TokenObject {
    /// What is not special is found in any case, unless it says otherwise.
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

/// The tokens that are found in a prompt before its words are taken apart.
pub struct AddedTokens {
    /// The token that begins a prompt.
    pub bos: String,
    /// The token that ends it.
    pub eos: String,
    /// The token of what the vocabulary lacks.
    pub unk: String,
    /// The token that fills it up.
    pub pad: String,
    /// All of them, in the order in which transformers adds them. Those that the vocabulary lacks get the ids that follow
    /// it, in this order: the ids in the files say no more than that.
    pub tokens: Vec<AddedToken>,
    /// The ids in the files.
    pub stored: BTreeMap<u32, AddedToken>,
    /// The file that each token is from, by the token's content; the special tokens' defaults are from none.
    files: HashMap<String, String>,
    /// The files that begin with a byte order mark.
    pub marked: Vec<String>,
}

/// The special tokens that every tokenizer of transformers has, with CLIP's defaults, in transformers' order.
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
    /// Reads them; `from_json` is what `tokenizer.json` has.
    ///
    /// # Errors
    /// When an entry is no token, or a prompt has another length than 77.
    pub fn load(source: &ModelSource, from_json: Vec<StoredToken>) -> Result<Self, LoadError> {
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
        let named = Named::read(config.as_ref(), map.as_ref())?;
        let mut marked: Vec<String> = config.iter().chain(&map).filter_map(ConfigFile::marked).collect();

        let mut files = HashMap::new();
        for file in config.iter().chain(&map) {
            let values = file.all::<Value>("a value")?;
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
                    for (content, id) in added.all::<u32>("a token's id")? {
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
            // Of two entries with one content, the last says how it is matched.
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

    /// The file that has the token `content`; the folder of the tokenizer for a default that none has.
    pub fn file_of(&self, content: &str) -> &str {
        self.files.get(content).map_or("tokenizer", String::as_str)
    }
}

/// The tokens that the files name.
struct Named {
    /// In the order of [`NAMED`]; whether a file names it, or it is the default.
    tokens: [Option<(AddedToken, bool)>; 7],
    /// Special tokens of other names.
    own: Vec<AddedToken>,
    /// Special tokens without a name.
    extra: Vec<AddedToken>,
    /// Those of them that are known when `added_tokens.json` is read.
    early: usize,
}

impl Named {
    /// `map` comes before `config`.
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

        // `additional_special_tokens` is transformers 4's name of `extra_special_tokens`.
        let list = |file: Option<&ConfigFile>, key: &str| -> Result<Option<Extra>, LoadError> {
            match file {
                Some(file) => Ok(file.get(key, "a list of tokens, or an object of them by name")?),
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
                // `add_bos_token` is no token.
                own.extend(file.get::<TokenEntry>(key, EXPECTED).ok().flatten());
            }
        }
        let special = |entries: Vec<TokenEntry>| entries.into_iter().map(TokenEntry::special).collect();
        Ok(Self { tokens, own: special(own), extra: special(extra.unwrap_or_default()), early })
    }

    /// Those that the files name before `added_tokens.json` is read, which are special there.
    fn explicit(&self) -> impl Iterator<Item = &AddedToken> {
        let named = self.tokens.iter().flatten().filter(|(_, is_named)| *is_named).map(|(token, _)| token);
        named.chain(&self.extra[..self.early])
    }

    fn all(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter().flatten().map(|(token, _)| token).chain(&self.own).chain(&self.extra)
    }
}

/// Further special tokens: a list, or, since transformers 5, an object of them by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Extra {
    List(Vec<TokenEntry>),
    Named(BTreeMap<String, TokenEntry>),
}

/// Whether a value is this text, or holds it at any depth.
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
        reason: format!("`added_tokens_decoder` has at {} something else than {expected}", abridged(id)),
    };
    let read = |(id, entry): (String, Value)| {
        let number = id.parse::<u32>().map_err(|_| wrong(&id, "an id and its token"))?;
        let entry = serde_json::from_value::<TokenEntry>(entry).map_err(|_| wrong(&id, EXPECTED))?;
        Ok((number, entry.stored()))
    };
    decoder.into_iter().map(read).collect()
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

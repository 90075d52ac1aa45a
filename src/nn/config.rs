//! A checkpoint's JSON files, read strictly: a known key with an unsupported value is an error.

use super::error::abridged;
use super::text;
use crate::phrase::{Phrase, phrase};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use tr::tr;

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not JSON.
    #[error("{}", tr!(
        "{file}: line {line}, column {column}: not valid JSON: {reason}",
        file = .file, line = .line, column = .column, reason = .reason
    ))]
    Json {
        /// Path of the file.
        file: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
        /// The parser's message.
        reason: String,
    },
    /// The file is JSON, but not an object.
    #[error("{}", tr!(
        "{file}: expected a JSON object with {}, found {found}",
        contents(file), file = .file, found = .found
    ))]
    NotAnObject {
        /// Path of the file.
        file: String,
        /// The kind of value found.
        found: &'static str,
    },
    /// A key that has no default is absent.
    #[error("{}", tr!(
        "{file}: `{key}` is missing; expected {expected}",
        file = .file, key = .key, expected = .expected
    ))]
    Missing {
        /// Path of the file.
        file: String,
        /// The key.
        key: String,
        /// What would be right.
        expected: String,
    },
    /// A key has a value that cannot be used.
    #[error("{}", tr!(
        "{file}: `{key}` is {found}; expected {expected}",
        file = .file, key = .key, found = .found, expected = .expected
    ))]
    Value {
        /// Path of the file.
        file: String,
        /// The key.
        key: String,
        /// The value found.
        found: String,
        /// What would be right.
        expected: String,
    },
}

type Result<T> = std::result::Result<T, ConfigError>;

/// What the object in a file holds, by the file's name.
fn contents(file: &str) -> &'static str {
    match file.rsplit(['/', '\\']).next() {
        Some("vocab.json" | "added_tokens.json") => "tokens and their ids",
        _ => "configuration keys",
    }
}

/// The largest count that a configuration may ask for: far above any real one, and small enough not to overflow.
pub const MAX_COUNT: usize = 1 << 20;
const COUNT: Phrase = phrase("a whole number from 1 to 1048576");

fn is_count(n: usize) -> bool {
    (1..=MAX_COUNT).contains(&n)
}

/// One JSON configuration file. It notes which keys were read, so that the others can be reported.
#[derive(Debug)]
pub struct ConfigFile {
    file: String,
    object: Map<String, Value>,
    has_mark: bool,
    known: RefCell<BTreeSet<String>>,
}

impl ConfigFile {
    /// Parses the bytes of `file`; the name is for messages only. A byte order mark is skipped. Numbers that Python writes and
    /// JSON lacks (`NaN`, `Infinity`, `-Infinity`, as in DPMSolver's configurations) are read as strings.
    ///
    /// # Errors
    /// When the bytes are not a JSON object.
    pub fn parse(file: impl Into<String>, bytes: &[u8]) -> Result<Self> {
        let file = file.into();
        if let Some(encoding) = text::other_encoding(bytes) {
            let reason = tr!("its byte order mark says {encoding}; expected UTF-8", encoding);
            return Err(ConfigError::Json { file, line: 1, column: 1, reason });
        }
        let has_mark = text::has_mark(bytes);
        let bytes = text::without_mark(bytes);
        let value = serde_json::from_slice(bytes).or_else(|e| match without_python(bytes) {
            Some(json) => serde_json::from_slice(&json),
            None => Err(e),
        });
        let value: Value = value.map_err(|e| {
            let message = e.to_string();
            let reason =
                message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason).to_string();
            ConfigError::Json { file: file.clone(), line: e.line(), column: e.column(), reason }
        })?;
        match value {
            Value::Object(object) => Ok(Self { file, object, has_mark, known: RefCell::default() }),
            other => Err(ConfigError::NotAnObject { file, found: kind(&other) }),
        }
    }

    /// The file's name, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole object as JSON.
    pub fn json(&self) -> Vec<u8> {
        Value::Object(self.object.clone()).to_string().into_bytes()
    }

    /// The file's name if it begins with a byte order mark, which Python's `json`, and so diffusers, refuses.
    pub fn marked(&self) -> Option<String> {
        self.has_mark.then(|| self.file.clone())
    }

    /// The object under `key` as a file of its own, whose name in messages ends with the key.
    ///
    /// # Errors
    /// When it is absent, null or not an object.
    pub fn section(&self, key: &str, expected: impl fmt::Display) -> Result<Self> {
        let object = self.require::<Map<String, Value>>(key, expected)?;
        Ok(Self { file: format!("{}, {key}", self.file), object, has_mark: false, known: RefCell::default() })
    }

    /// The value of `key`, with `null` distinct from an absent key.
    pub fn raw(&self, key: &str) -> Option<&Value> {
        self.known.borrow_mut().insert(key.to_string());
        self.object.get(key)
    }

    /// The value of `key`; `None` where it is absent or null.
    ///
    /// # Errors
    /// When the value is of another type; `expected` says what would be right.
    pub fn get<T: DeserializeOwned>(&self, key: &str, expected: impl fmt::Display) -> Result<Option<T>> {
        match self.raw(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match serde_json::from_value(value.clone()) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.wrong(key, expected)),
            },
        }
    }

    /// The value of `key`, or diffusers' default where it is absent or null.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn or<T: DeserializeOwned>(&self, key: &str, default: T, expected: impl fmt::Display) -> Result<T> {
        Ok(self.get(key, expected)?.unwrap_or(default))
    }

    /// All entries of a file whose values have one type, as in `vocab.json`.
    ///
    /// # Errors
    /// When a value is of another type; `expected` says what would be right.
    pub fn all<T: DeserializeOwned>(&self, expected: impl fmt::Display) -> Result<HashMap<String, T>> {
        let read = |(key, value): (&String, &Value)| match serde_json::from_value(value.clone()) {
            Ok(value) => Ok((key.clone(), value)),
            Err(_) => Err(self.wrong(key, &expected)),
        };
        self.object.iter().map(read).collect()
    }

    /// The value of a key that has no default.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when it is absent or null.
    pub fn require<T: DeserializeOwned>(&self, key: &str, expected: impl fmt::Display) -> Result<T> {
        self.get(key, &expected)?.ok_or_else(|| ConfigError::Missing {
            file: self.file.clone(),
            key: key.into(),
            expected: expected.to_string(),
        })
    }

    /// A count of something: from 1 to [`MAX_COUNT`].
    ///
    /// # Errors
    /// As [`get`](Self::get), and when it is out of that range.
    pub fn count(&self, key: &str, default: usize) -> Result<usize> {
        let n = self.or(key, default, COUNT)?;
        if is_count(n) { Ok(n) } else { Err(self.wrong(key, COUNT)) }
    }

    /// A count for each of `n` blocks: in the file, one number for all or a list of `n`.
    ///
    /// # Errors
    /// As [`count`](Self::count), and when the list has another length.
    pub fn counts(&self, key: &str, n: usize, default: usize) -> Result<Vec<usize>> {
        let list = match self.raw(key) {
            Some(Value::Array(_)) => self.require::<Vec<usize>>(key, COUNT)?,
            _ => vec![self.count(key, default)?; n],
        };
        if list.len() != n || !list.iter().copied().all(is_count) {
            return Err(self.wrong(key, tr!("{COUNT}, or a list of {n}, one a block", COUNT, n)));
        }
        Ok(list)
    }

    /// A finite number.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn number(&self, key: &str, default: f64) -> Result<f64> {
        self.or(key, default, phrase("a number"))
    }

    /// Refuses a key whose value is not in `supported`. An absent key and null are accepted.
    ///
    /// # Errors
    /// When the value is not supported.
    pub fn only(&self, key: &str, supported: &[Value]) -> Result<()> {
        match self.raw(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if supported.contains(value) => Ok(()),
            Some(_) => Err(self.wrong(key, one_of(supported.iter()))),
        }
    }

    /// The error that the value of `key` is not `expected`.
    pub fn wrong(&self, key: &str, expected: impl fmt::Display) -> ConfigError {
        ConfigError::Value {
            file: self.file.clone(),
            key: abridged(key),
            found: self.object.get(key).map_or("absent".into(), |value| abridged(&value.to_string())),
            expected: expected.to_string(),
        }
    }

    /// Keys of the file that were never read, without `_class_name` and others that begin with `_`.
    pub fn unknown_keys(&self) -> Vec<String> {
        let known = self.known.borrow();
        self.object.keys().filter(|k| !k.starts_with('_') && !known.contains(*k)).cloned().collect()
    }
}

/// The text with Python's `NaN` and `Infinity` in quotes; `None` if it has none.
fn without_python(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut json, mut rest, mut is_text) = (Vec::with_capacity(bytes.len()), bytes, false);
    while let [first, after @ ..] = rest {
        let python = [&b"-Infinity"[..], b"Infinity", b"NaN"].into_iter().find(|word| rest.starts_with(word));
        let taken = match (first, python) {
            (_, Some(word)) if !is_text => {
                json.push(b'"');
                json.extend_from_slice(word);
                json.push(b'"');
                rest = &rest[word.len()..];
                continue;
            }
            (b'\\', _) if is_text => 2.min(rest.len()),
            _ => 1,
        };
        is_text ^= *first == b'"';
        json.extend_from_slice(&rest[..taken]);
        rest = if taken == 1 { after } else { &rest[taken..] };
    }
    (json.len() > bytes.len()).then_some(json)
}

/// "one of a, b, c" for a message, or `a` alone.
pub fn one_of(values: impl ExactSizeIterator<Item = impl std::fmt::Display>) -> String {
    let alone = values.len() == 1;
    let listed = values.map(|v| v.to_string()).collect::<Vec<_>>().join(", ");
    if alone { listed } else { tr!("one of {listed}", listed) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse("unet/config.json", text.as_bytes()).unwrap()
    }

    #[test]
    fn a_json_error_has_a_line_and_a_column() {
        let error = ConfigFile::parse("unet/config.json", b"{\n  \"a\": 1,\n}").unwrap_err();
        assert_eq!(error.to_string(), "unet/config.json: line 3, column 1: not valid JSON: trailing comma");
        let error = ConfigFile::parse("f.json", b"[1]").unwrap_err();
        assert_eq!(error.to_string(), "f.json: expected a JSON object with configuration keys, found a list");
    }

    #[test]
    fn an_unsupported_value_names_file_key_and_value() {
        let config = file(r#"{"act_fn": "relu", "groups": 0}"#);
        let error = config.only("act_fn", &[json!("silu"), json!("swish")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"unet/config.json: `act_fn` is "relu"; expected one of "silu", "swish""#
        );
        let error = config.count("groups", 32).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unet/config.json: `groups` is 0; expected a whole number from 1 to 1048576"
        );
    }

    #[test]
    fn pythons_numbers_are_read_as_strings() {
        let text = r#"{"lambda_min": -Infinity, "name": "\"NaN\\", "beta": NaN, "x": [Infinity]}"#;
        let config = file(text);
        assert_eq!(config.raw("lambda_min"), Some(&json!("-Infinity")));
        assert_eq!(config.raw("name"), Some(&json!("\"NaN\\")));
        let error = config.number("beta", 1.).unwrap_err().to_string();
        assert_eq!(error, r#"unet/config.json: `beta` is "NaN"; expected a number"#);
        let error = ConfigFile::parse("f.json", b"{\"a\": -Infinity\n,}").unwrap_err().to_string();
        assert_eq!(error, "f.json: line 2, column 2: not valid JSON: trailing comma");
    }

    #[test]
    fn null_is_absent_for_get_and_not_for_raw() {
        let config = file(r#"{"mid_block_type": null}"#);
        assert_eq!(config.get::<String>("mid_block_type", "a name").unwrap(), None);
        config.only("mid_block_type", &[json!("a")]).unwrap();
        assert_eq!(config.raw("mid_block_type"), Some(&Value::Null));
        assert_eq!(config.raw("absent"), None);
    }

    #[test]
    fn keys_that_were_never_read_are_listed() {
        let config = file(r#"{"_class_name": "X", "known": 1, "strange": 2}"#);
        config.count("known", 1).unwrap();
        assert_eq!(config.unknown_keys(), ["strange"]);
    }
}

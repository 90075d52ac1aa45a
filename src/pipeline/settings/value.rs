//! The types that a setting can have, and how their values are shown.

use crate::pipeline::init_image::InitImageError;
use crate::pipeline::{Fault, InitImage, Request, Seed};
use serde::{Serialize, Serializer};
use std::fmt;
use tr::tr;

/// How a request is read and changed. The text is the member of a family, else empty.
#[derive(Debug)]
pub struct Access<T> {
    /// The value in a request.
    pub get: fn(&Request, &str) -> T,
    /// Puts a value into a request.
    pub set: fn(&mut Request, &str, T),
}

/// Where a request keeps a setting, by the type of its value.
#[derive(Debug)]
pub enum Field {
    /// A text.
    Text(Access<String>),
    /// A whole number of something: its plural.
    Count(Access<usize>, &'static str),
    /// A number, and what is expected of it.
    Number(Access<f64>, &'static str),
    /// A seed.
    Seed(Access<Seed>),
    /// A picture, or none.
    Picture(Access<Option<InitImage>>),
    /// A fault, or none.
    Fault(Access<Option<Fault>>),
    /// A name or another value that depends on what else the request has.
    Chosen(Chosen),
}

/// How a value is read and changed that depends on what else a request has.
#[derive(Debug)]
pub struct Chosen {
    /// The value in a request.
    pub get: fn(&Request, &str) -> String,
    /// Puts a value into a request; the error says what would be right.
    pub set: fn(&mut Request, &str, &str) -> Result<(), String>,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Count(usize),
    /// A number.
    Number(f64),
    /// A seed.
    Seed(Seed),
    /// A picture, or none.
    Picture(Option<InitImage>),
    /// A fault, or none.
    Fault(Option<Fault>),
    /// A name, or JSON.
    Chosen(String),
}

impl Value {
    /// The value in JSON: as a request has it, `null` for a picture or a fault that is not there.
    pub fn json(&self) -> serde_json::Value {
        // Numbers and texts always have a JSON.
        let json = match self {
            Self::Text(text) => serde_json::to_value(text),
            Self::Count(count) => serde_json::to_value(count),
            Self::Number(number) => serde_json::to_value(number),
            Self::Seed(seed) => serde_json::to_value(seed),
            Self::Picture(picture) => serde_json::to_value(picture),
            Self::Fault(fault) => serde_json::to_value(fault),
            Self::Chosen(text) => serde_json::from_str(text).or_else(|_| serde_json::to_value(text)),
        };
        json.unwrap_or_default()
    }

    /// Whether it is the absence of a picture or a fault.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Picture(None) | Self::Fault(None))
    }

    /// As it is typed, but of a file its name alone: a reader's folders are not for others.
    pub fn without_folder(&self) -> String {
        match self {
            Self::Picture(Some(picture)) => picture.file_name().into(),
            other => other.to_string(),
        }
    }

    /// The value in a message: texts in quotes.
    pub fn in_message(&self) -> String {
        match self {
            Self::Text(_) | Self::Picture(Some(_)) => self.json().to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Value {
    /// The value as it is typed, without quotes: a number without `.0`, `off` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Chosen(text) => f.write_str(text),
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Seed(seed) => seed.fmt(f),
            Self::Picture(Some(picture)) => f.write_str(picture.name()),
            Self::Fault(Some(fault)) => fault.fmt(f),
            Self::Picture(None) | Self::Fault(None) => f.write_str("off"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

/// Why a text is no value of a setting: the end of a sentence that begins with the setting.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// It is something else; what was expected.
    #[error("{}", tr!("cannot be `{found}`; {expected}", found = .found, expected = .expected))]
    Other {
        /// The text, abridged.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A picture that cannot be opened.
    #[error(transparent)]
    Picture(#[from] InitImageError),
    /// A value that does not go with what else the request has.
    #[error("{0}")]
    Chosen(String),
    /// A member that the run's family does not have.
    #[error("{}", match .0.as_str() {
        "" => tr!("is no setting of this run, which has no LoRA; `--lora FILE` adds one"),
        members => tr!("is no setting of this run; expected {members}", members),
    })]
    Member(String),
}

//! What follows a verb: the types of its arguments, how they are parsed, and how they are written again.
//!
//! - `stops`: breakpoints. `looks`: queries, and what is saved of them. `changes`: settings, tensors, modules. `timelines`: several runs.
//!
//! An error says in a line what is wrong; the command adds what it expects.

mod changes;
mod looks;
mod stops;
mod timelines;

pub use changes::{Patch, Set, Sweep};
pub use looks::{Display, Help, Info, Look, Print, Save, Schedulers, Topic, Undisplay};
pub use stops::{BreakAt, Catch, Delete};
pub use timelines::{Compare, Diff, Fork, Rename, Side, TimelineName};

use super::place::{Place, parse_place};
use super::verb::{Class, VerbError};
use crate::debugger::expr::ExpressionError;
use tr::tr;

/// The arguments of a verb.
pub trait Arguments: Sized {
    /// Parses what follows the verb, without space at its ends.
    ///
    /// # Errors
    /// [`ArgumentError`].
    fn parse(rest: &str) -> Result<Self, ArgumentError>;

    /// The arguments as they can be typed: they parse to the same.
    fn written(&self) -> String;

    /// What a command with them does to a session, where that is not what its verb does.
    fn class(&self) -> Option<Class> {
        None
    }
}

/// Why what follows a verb cannot be parsed.
#[derive(Debug)]
pub enum ArgumentError {
    /// What was found, in a line.
    Found(String),
    /// An expression in it is wrong.
    Expression(ExpressionError),
    /// A verb that it names does not exist.
    Verb(VerbError),
}

impl From<String> for ArgumentError {
    fn from(found: String) -> Self {
        Self::Found(found)
    }
}

impl From<ExpressionError> for ArgumentError {
    fn from(error: ExpressionError) -> Self {
        Self::Expression(error)
    }
}

impl From<VerbError> for ArgumentError {
    fn from(error: VerbError) -> Self {
        Self::Verb(error)
    }
}

fn found<T>(text: impl Into<String>) -> Result<T, ArgumentError> {
    Err(ArgumentError::Found(text.into()))
}

/// No arguments: the verb alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nothing;

impl Arguments for Nothing {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        if rest.is_empty() { Ok(Self) } else { found(tr!("`{rest}` is not expected", rest)) }
    }

    fn written(&self) -> String {
        String::new()
    }
}

/// `[N]`: how often; 1 without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub usize);

impl Arguments for Count {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.parse::<usize>() {
            _ if rest.is_empty() => Ok(Self(1)),
            Ok(count) if count > 0 => Ok(Self(count)),
            _ => found(tr!("`{rest}` is no count of 1 or more", rest)),
        }
    }

    fn written(&self) -> String {
        if self.0 == 1 { String::new() } else { self.0.to_string() }
    }
}

/// `STAGE`.
impl Arguments for Place {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        Ok(parse_place(rest)?)
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

/// Something, whatever it is.
fn named(rest: &str) -> Result<&str, ArgumentError> {
    if rest.is_empty() { found("nothing named") } else { Ok(rest) }
}

/// Parts of a line with a space between them; empty ones are left out.
fn joined<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// A part of a line that may not be there.
fn optional<T>(part: &Option<T>, written: impl Fn(&T) -> String) -> String {
    part.as_ref().map_or(String::new(), written)
}

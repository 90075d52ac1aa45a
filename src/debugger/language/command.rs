//! A command as it is parsed from a line, and as it is written.

use super::arguments::ArgumentError;
use super::verb::{Class, Verb, VerbError};
pub use super::verbs::Command;
use crate::debugger::expr::ExpressionError;
use std::fmt;

/// A command with the line that it was parsed from.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLine {
    /// The command.
    pub command: Command,
    /// The line as it was typed, without space at its ends.
    pub text: String,
}

impl CommandLine {
    /// Parses a line; `None` for an empty one or a comment (`# …`).
    ///
    /// # Errors
    /// As [`Command::parse`].
    pub fn parse(line: &str) -> Result<Option<Self>, CommandError> {
        let command = Command::parse(line)?;
        Ok(command.map(|command| Self { command, text: line.trim().into() }))
    }
}

/// A command that no line was typed for: the line is as it is written.
impl From<Command> for CommandLine {
    fn from(command: Command) -> Self {
        Self { text: command.to_string(), command }
    }
}

/// Why a line is no command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The first word is no verb.
    #[error(transparent)]
    Verb(#[from] VerbError),
    /// A verb with the wrong words after it.
    #[error("{verb}: {found}{}", expected(verb, found, usage, example))]
    Arguments {
        /// The verb.
        verb: &'static str,
        /// What is wrong.
        found: String,
        /// What may follow.
        usage: &'static str,
        /// A line that works.
        example: &'static str,
    },
    /// A condition that is no expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

/// `; expected next [N]`, such as `next 5`; where there is nothing to choose, just that; and nothing where `found` says already
/// what would be right.
fn expected(verb: &str, found: &str, usage: &str, example: &str) -> String {
    if found.starts_with("expected ") || found.contains("; expected ") || found.contains(": expected ") {
        return String::new();
    }
    let usage = format!("{verb} {usage}");
    if usage.trim_end() == example {
        format!("; expected `{example}`")
    } else {
        format!("; expected `{}`, such as `{example}`", usage.trim_end())
    }
}

impl Command {
    /// Parses a line; `None` for an empty one or a comment (`# …`).
    ///
    /// # Errors
    /// [`CommandError`] says what was found and what would be right.
    pub fn parse(line: &str) -> Result<Option<Self>, CommandError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let verb = Verb::find(word)?;
        (verb.parse)(rest.trim()).map(Some).map_err(|error| match error {
            ArgumentError::Found(found) => {
                CommandError::Arguments { verb: verb.name, found, usage: verb.usage, example: verb.example }
            }
            ArgumentError::Expression(error) => error.into(),
            ArgumentError::Verb(error) => error.into(),
        })
    }

    /// Whether it leaves a session where it was, and as it was.
    pub fn is_read_only(&self) -> bool {
        self.class() == Class::ReadOnly
    }

    /// Whether it moves the cursor, so that what it shows is of the place it came to.
    pub fn moves_cursor(&self) -> bool {
        self.class() == Class::Moves
    }
}

impl fmt::Display for Command {
    /// The command as a line that parses to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, rest) = self.words();
        f.write_str(verb)?;
        if rest.is_empty() { Ok(()) } else { write!(f, " {rest}") }
    }
}

#[cfg(test)]
mod tests;

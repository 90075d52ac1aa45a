//! Why a forward pass stopped.

use super::probe::Path;

/// A forward pass that did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A probe asked for a stop before this piece ran.
    #[error("interrupted before {0}")]
    Interrupted(Path),
    /// A probe could not do its work at this piece.
    #[error("{path}: {message}")]
    Probe {
        /// Where.
        path: Path,
        /// What was found and what would be right.
        message: String,
    },
    /// An input does not fit the model: which, what was found and what would be right.
    #[error("{0}")]
    Input(String),
    /// A tensor operation failed: out of memory, a device's error, or a mistake in this program.
    #[error("{0}")]
    Tensor(candle_core::Error),
}

/// The result of a forward pass.
pub type Result<T> = std::result::Result<T, Error>;

impl From<candle_core::Error> for Error {
    /// Takes the backtraces off: candle prints them with the message, and a user's terminal is no place for them.
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(without_backtrace(error))
    }
}

/// A text out of a file as a message shows it: one line, and of a megabyte the beginning.
pub fn abridged(text: &str) -> String {
    const LENGTH: usize = 80;
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let end = if text.chars().nth(LENGTH).is_some() { "…" } else { "" };
    line.take(LENGTH).chain(end.chars()).collect()
}

/// The error inside the backtraces that candle wraps around it where `RUST_BACKTRACE` is set.
pub fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        other => other,
    }
}

//! The interface.

use crate::debugger::Session;

/// Why the interface ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Runs the interface.
///
/// # Errors
/// When the session cannot be loaded.
pub fn run(load: impl FnOnce() -> Result<Session, String> + Send + 'static) -> Result<(), Error> {
    load().map(drop).map_err(Error)
}

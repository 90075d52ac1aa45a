//! Why a trace cannot be read or written.

use crate::nn::WeightsError;
use crate::pipeline::dump::WriteError;
use tr::tr;

/// An error in a trace, or in writing one.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The folder or its `trace.json` cannot be read.
    #[error("{}", tr!(
        "{file}: {reason}; expected a trace: a folder with trace.json, such as `run --record` writes",
        file = .file, reason = .reason
    ))]
    Unreadable {
        /// The file or folder.
        file: String,
        /// The system's message, or what is there instead.
        reason: String,
    },
    /// A key of `trace.json` is missing or has a wrong value.
    #[error("{}", tr!(
        "{file}: `{key}` is {found}; expected {expected}",
        file = .file, key = .key, found = .found, expected = .expected
    ))]
    Value {
        /// The file.
        file: String,
        /// The key, such as `stages[3].file`.
        key: String,
        /// What was found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A file of tensors is not a whole safetensors file, or lacks a tensor.
    #[error(transparent)]
    Tensors(#[from] WeightsError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Something that is no trace is where the trace would go.
    #[error("{}", tr!(
        "{path}: {found}; expected a new folder, an empty one, or a trace, which is replaced",
        path = .path, found = .found
    ))]
    Occupied {
        /// The folder.
        path: String,
        /// What is there.
        found: String,
    },
}

/// A recorded stage that cannot be read is one that failed.
impl From<TraceError> for crate::pipeline::Error {
    fn from(error: TraceError) -> Self {
        Self::Forward(crate::nn::Error::Input(error.to_string()))
    }
}

//! Why a checkpoint could not be loaded.

use super::{hub, kind};
use crate::nn::{ConfigError, WeightsError};
use tr::tr;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The model could not be fetched from the hub.
    #[error(transparent)]
    Hub(#[from] hub::HubError),
    /// A configuration file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A weights file is wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file or folder is missing or wrong.
    #[error("{path}: {found}; expected {expected}")]
    File {
        /// The file or folder.
        path: String,
        /// What is there instead.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A pipeline of another kind.
    #[error("{file}: {kind}")]
    Kind {
        /// The file that says so.
        file: String,
        /// What it is.
        kind: kind::OtherKind,
    },
    /// Components that do not fit together.
    #[error("{model}: {found}; expected {expected}")]
    Mismatch {
        /// The checkpoint.
        model: String,
        /// The mismatch.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The requested device is not available.
    #[error(transparent)]
    Device(#[from] crate::nn::device::DeviceError),
    /// The weights do not fit the main memory.
    #[error(
        "{}", tr!(
            "{model}: the weights need {needed} as {dtype} and {available} of memory are free; expected a smaller model, or --dtype f16",
            model = .model, needed = .needed, dtype = .dtype, available = .available
        ))]
    Memory {
        /// The checkpoint.
        model: String,
        /// The dtype of the loaded weights.
        dtype: &'static str,
        /// The memory that they need.
        needed: String,
        /// The available memory.
        available: String,
    },
    /// The weights do not fit the GPU's memory.
    #[error(transparent)]
    DeviceMemory(Box<NoRoom>),
    /// The tokenizer's files are wrong.
    #[error("{file}: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What was found and what would be right.
        reason: String,
    },
}

/// A GPU that ran out of memory for weights.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}", tr!(
        "{model}: the weights need {needed} as {dtype} and {device} has no memory left for them ({message}); expected {advice}",
        model = .model, needed = .needed, dtype = .dtype, device = .device, message = .message, advice = .advice
    ))]
pub struct NoRoom {
    /// The checkpoint.
    pub model: String,
    /// The dtype of the loaded weights.
    pub dtype: &'static str,
    /// The memory that they need.
    pub needed: String,
    /// The device.
    pub device: String,
    /// The driver's message.
    pub message: String,
    /// What would fit.
    pub advice: String,
}

//! Why a checkpoint could not be loaded.

use super::{hub, kind};
use crate::nn::{ConfigError, WeightsError};

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The hub's model could not be had.
    #[error(transparent)]
    Hub(#[from] hub::HubError),
    /// A configuration file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A weights file is wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file or folder is not there, or not what it should be.
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
    /// Parts that do not belong together.
    #[error("{model}: {found}; expected {expected}")]
    Mismatch {
        /// The checkpoint.
        model: String,
        /// What does not fit.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The device that was asked for cannot be had.
    #[error(transparent)]
    Device(#[from] crate::nn::device::DeviceError),
    /// The weights are more than the machine's memory.
    #[error(
        "{model}: the weights need {needed} as {dtype} and {available} of memory are free; expected a smaller model, or --dtype f16"
    )]
    Memory {
        /// The checkpoint.
        model: String,
        /// The dtype that they would be loaded as.
        dtype: &'static str,
        /// What they would take.
        needed: String,
        /// What there is.
        available: String,
    },
    /// The weights are more than the GPU's memory.
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

/// Weights that a GPU has no memory left for.
#[derive(Debug, thiserror::Error)]
#[error(
    "{model}: the weights need {needed} as {dtype} and {device} has no memory left for them ({message}); expected {advice}"
)]
pub struct NoRoom {
    /// The checkpoint.
    pub model: String,
    /// The dtype that they would be loaded as.
    pub dtype: &'static str,
    /// What they would take.
    pub needed: String,
    /// The device.
    pub device: String,
    /// The driver's message.
    pub message: String,
    /// What would fit.
    pub advice: String,
}

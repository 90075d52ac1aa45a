//! The models of Stable Diffusion, as diffusers and transformers have them.
//!
//! - [`clip`]: `CLIPTextModel`, prompt tokens to embeddings.
//! - [`unet`]: `UNet2DConditionModel`, noisy latents to a residual.
//! - [`vae`]: `AutoencoderKL`, latents to pictures and back.
//! - [`resnet`], [`attention`]: the blocks that the UNet and the VAE share.
//! - [`tokenizer`]: `CLIPTokenizer`, text to ids.
//! - [`source`]: where a checkpoint's files come from: the program itself, or a folder.

pub mod attention;
pub mod clip;
pub mod resnet;
pub mod source;
pub mod tokenizer;
pub mod unet;
pub mod vae;

pub use clip::ClipTextModel;
pub use source::ModelSource;
pub use tokenizer::ClipTokenizer;
pub use unet::UNet2DConditionModel;
pub use vae::AutoencoderKL;

use crate::nn::{ConfigError, WeightsError};

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
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
    /// The tokenizer's files are wrong.
    #[error("{file}: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What was found and what would be right.
        reason: String,
    },
}

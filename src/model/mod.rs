//! The models of Stable Diffusion, as diffusers and transformers have them.
//!
//! - [`clip`]: `CLIPTextModel`, prompt tokens to embeddings.
//! - [`unet`]: `UNet2DConditionModel`, noisy latents to a residual.
//! - [`vae`]: `AutoencoderKL`, latents to pictures and back.
//! - [`resnet`], [`attention`]: the blocks that the UNet and the VAE share.
//! - [`tokenizer`]: `CLIPTokenizer`, text to ids.
//! - [`latent_rgb`]: latents to colours without a model, for previews.
//! - [`anatomy`]: the modules that they are made of, with diffusers' classes and their parameters.
//! - [`kind`]: which pipelines are run here, and what the others are.
//! - [`inventory`]: what a checkpoint holds, told from its headers.
//! - [`layout`]: which files hold a component's weights, and which of them are read.
//! - [`source`]: where a checkpoint's files come from: the program itself, a folder, or the hub's cache.
//! - [`unread`]: tensors of a weights file that no module reads, and what they are.
//! - [`hub`]: models from the Hugging Face hub.

pub mod anatomy;
pub mod attention;
pub mod clip;
pub mod hub;
pub mod inventory;
pub mod kind;
pub mod latent_rgb;
pub mod layout;
pub mod resnet;
pub mod source;
pub mod tokenizer;
pub mod unet;
pub mod unread;
pub mod vae;

pub use clip::ClipTextModel;
pub use latent_rgb::LatentRgbFactors;
pub use source::ModelSource;
pub use tokenizer::ClipTokenizer;
pub use unet::UNet2DConditionModel;
pub use vae::AutoencoderKL;

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
    "{model}: the weights need {needed} as {dtype} and {device} has no memory left for them ({said}); expected {advice}"
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
    /// What its driver said.
    pub said: String,
    /// What would fit.
    pub advice: String,
}

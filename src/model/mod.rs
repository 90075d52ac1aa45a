//! The models of Stable Diffusion, as diffusers and transformers have them.
//!
//! - [`clip`]: `CLIPTextModel`, prompt tokens to embeddings.
//! - [`unet`]: `UNet2DConditionModel`, noisy latents to a residual.
//! - [`vae`]: `AutoencoderKL`, latents to pictures and back.
//! - [`resnet`], [`attention`]: the blocks that the UNet and the VAE share.
//! - [`tokenizer`]: `CLIPTokenizer`, text to ids.
//! - [`latent_rgb`]: latents to colours without a model, for previews.
//! - [`anatomy`]: the modules that they are made of, with diffusers' classes and their parameters.

pub mod anatomy;
pub mod attention;
pub mod clip;
pub mod latent_rgb;
pub mod resnet;
pub mod tokenizer;
pub mod unet;
pub mod vae;

pub use clip::ClipTextModel;
pub use latent_rgb::LatentRgbFactors;
pub use tokenizer::ClipTokenizer;
pub use unet::UNet2DConditionModel;
pub use vae::AutoencoderKL;

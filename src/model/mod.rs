//! The models of Stable Diffusion, with the names of diffusers and transformers.
//!
//! Every `forward` also returns the errors of its probe; `# Errors` sections do not repeat this.
//!
//! - [`clip`]: `CLIPTextModel`, token ids → embeddings.
//! - [`unet`]: `UNet2DConditionModel`, noisy latents → a residual.
//! - [`vae`]: `AutoencoderKL`, latents → images and back.
//! - [`resnet`], [`attention`]: blocks that the UNet and the VAE share.
//! - [`tokenizer`]: `CLIPTokenizer`, text → token ids.
//! - [`prompt_syntax`]: the languages of prompts: weights, and chunks of 75 tokens.
//! - [`latent_rgb`]: latents → colours without a model, for previews.
//! - [`classes`]: the table of the classes of modules: their paths, code, inputs and counterparts.
//! - [`lora`]: low-rank changes of modules.
//! - [`anatomy`]: the tree of modules, with their diffusers classes and parameter counts.

pub mod anatomy;
pub mod attention;
pub mod classes;
pub mod clip;
pub mod latent_rgb;
pub mod lora;
pub mod prompt_syntax;
pub mod resnet;
pub mod tokenizer;
pub mod unet;
pub mod vae;

pub use clip::ClipTextModel;
pub use latent_rgb::LatentRgbFactors;
pub use lora::Lora;
pub use tokenizer::ClipTokenizer;
pub use unet::UNet2DConditionModel;
pub use vae::AutoencoderKL;

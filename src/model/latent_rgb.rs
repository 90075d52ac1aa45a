//! A linear estimate of the image from latents, for fast previews.

use super::vae::VaeConfig;
use crate::checkpoint::{LoadError, ModelSource};
use tr::tr;

/// The least-squares linear map from scaled latents to RGB from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentRgbFactors {
    /// One row of red, green and blue per latent channel.
    pub factors: Vec<[f32; 3]>,
    /// The constant term.
    pub bias: [f32; 3],
}

/// For the VAE of Stable Diffusion 1 and 2: latents → RGB from −1 to 1, by Kevin Turner, "Decoding latents to RGB without
/// upscaling" (discuss.huggingface.co, 2022); used in InvokeAI and ComfyUI.
const STABLE_DIFFUSION: [[f32; 3]; 4] =
    [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]];

impl LatentRgbFactors {
    /// The published factors for `vae`; `None` unless it is Stable Diffusion's.
    pub fn published(vae: &VaeConfig) -> Option<Self> {
        let is_it = vae.block_out_channels == [128, 256, 512, 512];
        Self::published_for(vae.latent_channels, vae.scaling_factor).filter(|_| is_it)
    }

    /// The published factors for a VAE of which no more is known than its latents; `None` unless those are Stable Diffusion's.
    pub fn published_for(latent_channels: usize, scaling_factor: f64) -> Option<Self> {
        let is_it = latent_channels == 4 && (scaling_factor - 0.18215).abs() < 1e-6;
        // From [−1, 1] to [0, 1].
        let factors = STABLE_DIFFUSION.iter().map(|row| row.map(|factor| factor / 2.)).collect();
        is_it.then_some(Self { factors, bias: [0.5; 3] })
    }

    /// Reads `latent_rgb_factors.json` if the checkpoint has one.
    ///
    /// # Errors
    /// When it does not fit `latent_channels`.
    pub fn load(source: &ModelSource, latent_channels: usize) -> Result<Option<Self>, LoadError> {
        let Some(file) = source.optional_config("latent_rgb_factors.json")? else { return Ok(None) };
        let expected =
            tr!("{latent_channels} rows of three numbers, one per latent channel", latent_channels);
        let factors: Vec<[f32; 3]> = file.require("factors", &expected)?;
        if factors.len() != latent_channels {
            return Err(file.wrong("factors", &expected).into());
        }
        Ok(Some(Self { factors, bias: file.require("bias", "three numbers")? }))
    }
}

//! A linear estimate of a picture from its latents, for a preview that costs nothing.

use super::vae::VaeConfig;
use crate::checkpoint::{LoadError, ModelSource};

/// The least-squares map from latents, as the UNet sees them, to RGB from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentRgbFactors {
    /// One row of red, green and blue a latent channel.
    pub factors: Vec<[f32; 3]>,
    /// What is added.
    pub bias: [f32; 3],
}

/// Published for the VAE of Stable Diffusion 1, which 2 has too: latents → RGB from −1 to 1, by Kevin Turner, "Decoding
/// latents to RGB without upscaling" (discuss.huggingface.co, 2022); InvokeAI and ComfyUI have used them.
const STABLE_DIFFUSION: [[f32; 3]; 4] =
    [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]];

impl LatentRgbFactors {
    /// Those that were published for `vae`; `None` for another VAE than Stable Diffusion's.
    pub fn published(vae: &VaeConfig) -> Option<Self> {
        let is_it = vae.latent_channels == 4
            && vae.block_out_channels == [128, 256, 512, 512]
            && (vae.scaling_factor - 0.18215).abs() < 1e-6;
        // From −1 to 1 to 0 to 1.
        let factors = STABLE_DIFFUSION.iter().map(|row| row.map(|factor| factor / 2.)).collect();
        is_it.then_some(Self { factors, bias: [0.5; 3] })
    }

    /// Reads `latent_rgb_factors.json` where the checkpoint has one.
    ///
    /// # Errors
    /// When it does not fit `latent_channels`.
    pub fn load(source: &ModelSource, latent_channels: usize) -> Result<Option<Self>, LoadError> {
        let Some(file) = source.optional_config("latent_rgb_factors.json")? else { return Ok(None) };
        let expected = format!("{latent_channels} rows of three numbers, one a latent channel");
        let factors: Vec<[f32; 3]> = file.require("factors", &expected)?;
        if factors.len() != latent_channels {
            return Err(file.wrong("factors", &expected).into());
        }
        Ok(Some(Self { factors, bias: file.require("bias", "three numbers")? }))
    }
}

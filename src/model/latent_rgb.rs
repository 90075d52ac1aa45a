//! A linear estimate of a picture from its latents, for a preview that costs nothing.

use super::{LoadError, ModelSource};

/// The least-squares map from latents, as the UNet sees them, to RGB from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentRgbFactors {
    /// One row of red, green and blue a latent channel.
    pub factors: Vec<[f32; 3]>,
    /// What is added.
    pub bias: [f32; 3],
}

impl LatentRgbFactors {
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

//! Tensors as pictures.
//!
//! - [`latents`]: latents as colours without the VAE, or channel by channel.
//! - [`residual`]: signed tensors on a diverging colour scale, channel by channel.
//! - [`features`]: what a module makes, channel by channel, as principal components, as mean and norm.
//! - [`timemap`]: from which step on each pixel stays as it ends up. [`scale`]: from little to much in colours.
//! - [`decoded`]: what the VAE made.
//! - [`grid`]: channels beside each other.
//! - [`sheet`]: pictures with captions, in rows and columns. [`lettering`]: text as pixels.
//! - [`heat`]: maps as heat, alone or over a picture. [`animation`]: frames as a GIF.
//! - [`png`]: PNG files, with the settings that made the picture inside.

pub mod animation;
pub mod decoded;
pub mod features;
pub mod grid;
pub mod heat;
pub mod latents;
pub mod lettering;
pub mod png;
pub mod residual;
pub mod scale;
pub mod sheet;
pub mod timemap;

use image::RgbImage;
use std::sync::Arc;

/// A picture of a tensor, and how it was made. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The pixels.
    pub image: Arc<RgbImage>,
    /// How the pixels came from the tensor: `decoded by the VAE`, `linear estimate`, `4 channels, ±2.31`.
    pub label: String,
}

impl Picture {
    fn new(image: RgbImage, label: impl Into<String>) -> Self {
        Self { image: Arc::new(image), label: label.into() }
    }
}

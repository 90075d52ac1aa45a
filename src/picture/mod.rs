//! Tensors as images.
//!
//! - [`latents`]: latents as colours without the VAE, or channel by channel.
//! - [`residual`]: signed tensors on a diverging colour scale, channel by channel.
//! - [`features`]: feature maps of a module. [`sides`]: two tensors and their distance.
//! - [`timemap`]: the step at which each pixel settles. [`scale`]: a sequential colour scale.
//! - [`decoded`]: the decoded image.
//! - [`grid`]: a grid of channels.
//! - [`sheet`]: contact sheets. [`lettering`]: text as pixels.
//! - [`heat`]: heat maps, alone or over an image. [`animation`]: frames as a GIF.
//! - [`png`]: PNG files with the settings of their run.

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
pub mod sides;
pub mod timemap;

use image::RgbImage;
use std::sync::Arc;

/// An image of a tensor, with a label. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The pixels.
    pub image: Arc<RgbImage>,
    /// How the tensor was drawn: `decoded by the VAE`, `linear estimate`, `4 channels, ±2.31`.
    pub label: String,
}

impl Picture {
    fn new(image: RgbImage, label: impl Into<String>) -> Self {
        Self { image: Arc::new(image), label: label.into() }
    }
}

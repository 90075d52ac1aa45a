//! Residual blocks, and resampling between levels (diffusers: `resnet.py`, `downsampling.py`, `upsampling.py`).

use crate::nn::activation::Activation;
use crate::nn::layers::{Conv2d, GroupNorm, Leaf, Linear, conv1x1, conv2d, conv3x3, group_norm, linear};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::{D, Tensor};
use candle_nn::Conv2dConfig;

/// Two convolutions, each after a group norm and silu, and a shortcut (diffusers `ResnetBlock2D`). In the UNet, the time
/// embedding is added between them.
#[derive(Debug)]
pub struct ResnetBlock2D {
    path: Path,
    norm1: Leaf<GroupNorm>,
    nonlinearity: Leaf<Activation>,
    conv1: Leaf<Conv2d>,
    time_emb_proj: Option<Leaf<Linear>>,
    norm2: Leaf<GroupNorm>,
    conv2: Leaf<Conv2d>,
    conv_shortcut: Option<Leaf<Conv2d>>,
}

/// The sizes of a [`ResnetBlock2D`].
#[derive(Debug, Clone, Copy)]
pub struct ResnetConfig {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Width of the time embedding; `None` in a VAE, which has none.
    pub temb_channels: Option<usize>,
    /// Groups of both group norms.
    pub groups: usize,
    /// Epsilon of both group norms.
    pub eps: f64,
}

impl ResnetBlock2D {
    /// Loads the block at `weights`.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit `config`.
    pub fn load(weights: &Weights, config: ResnetConfig) -> std::result::Result<Self, WeightsError> {
        let ResnetConfig { in_channels, out_channels, temb_channels, groups, eps } = config;
        Ok(Self {
            path: weights.path(),
            norm1: group_norm(&weights.pp("norm1"), groups, in_channels, eps)?,
            nonlinearity: Activation::Silu
                .load(&weights.pp("nonlinearity").run_times(if temb_channels.is_some() { 3 } else { 2 })),
            conv1: conv3x3(&weights.pp("conv1"), in_channels, out_channels)?,
            time_emb_proj: temb_channels
                .map(|temb| linear(&weights.pp("time_emb_proj"), temb, out_channels))
                .transpose()?,
            norm2: group_norm(&weights.pp("norm2"), groups, out_channels, eps)?,
            conv2: conv3x3(&weights.pp("conv2"), out_channels, out_channels)?,
            conv_shortcut: (in_channels != out_channels)
                .then(|| conv1x1(&weights.pp("conv_shortcut"), in_channels, out_channels))
                .transpose()?,
        })
    }

    /// `hidden_states` (B, `in_channels`, H, W), `temb` (B, `temb_channels`) → (B, `out_channels`, H, W).
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        temb: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = std::iter::once(hidden_states).chain(temb).collect();
        watch(probe, &self.path, &inputs, |probe| {
            let mut h = self.norm1.forward_then(&self.nonlinearity, hidden_states, probe)?;
            h = self.conv1.forward(&h, probe)?;
            if let (Some(time_emb_proj), Some(temb)) = (&self.time_emb_proj, temb) {
                let temb = self.nonlinearity.forward(temb, probe)?;
                let temb = time_emb_proj.forward(&temb, probe)?;
                h = h.broadcast_add(&temb.unsqueeze(D::Minus1)?.unsqueeze(D::Minus1)?)?;
            }
            h = self.norm2.forward_then(&self.nonlinearity, &h, probe)?;
            h = self.conv2.forward(&h, probe)?;
            let shortcut = match &self.conv_shortcut {
                Some(conv) => conv.forward(hidden_states, probe)?,
                None => hidden_states.clone(),
            };
            Ok((shortcut + h)?)
        })
    }
}

/// Halves height and width by a strided convolution (diffusers `Downsample2D`).
#[derive(Debug)]
pub struct Downsample2D {
    path: Path,
    conv: Leaf<Conv2d>,
    padding: usize,
}

impl Downsample2D {
    /// Loads the layer at `weights`. `padding` is the convolution's, 0 or 1.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(
        weights: &Weights,
        channels: usize,
        padding: usize,
    ) -> std::result::Result<Self, WeightsError> {
        let config = Conv2dConfig { stride: 2, padding, ..Default::default() };
        let conv = conv2d(&weights.pp("conv"), channels, channels, 3, config)?;
        Ok(Self { path: weights.path(), conv, padding })
    }

    /// (B, C, H, W) → (B, C, ⌈H/2⌉, ⌈W/2⌉). With `padding` 0, one pixel is added on the right and at the bottom, and the halves
    /// are rounded down.
    ///
    /// # Errors
    /// When the shape does not match the weights.
    pub fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            if self.padding > 0 {
                return self.conv.forward(hidden_states, probe);
            }
            let padded = hidden_states.pad_with_zeros(D::Minus1, 0, 1)?.pad_with_zeros(D::Minus2, 0, 1)?;
            self.conv.forward(&padded, probe)
        })
    }
}

/// Doubles height and width by repeating pixels, then convolves (diffusers `Upsample2D`).
#[derive(Debug)]
pub struct Upsample2D {
    path: Path,
    conv: Leaf<Conv2d>,
}

impl Upsample2D {
    /// Loads the layer at `weights`.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(weights: &Weights, channels: usize) -> std::result::Result<Self, WeightsError> {
        Ok(Self { path: weights.path(), conv: conv3x3(&weights.pp("conv"), channels, channels)? })
    }

    /// (B, C, H, W) → (B, C, `size`), by default (B, C, 2H, 2W). `size` is needed if the next level has an odd height or width.
    ///
    /// # Errors
    /// When the shape does not match the weights.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        size: Option<(usize, usize)>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let (_, _, h, w) = hidden_states.dims4()?;
            let (h, w) = size.unwrap_or((2 * h, 2 * w));
            self.conv.forward(&hidden_states.upsample_nearest2d(h, w)?, probe)
        })
    }
}

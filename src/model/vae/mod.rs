//! `AutoencoderKL` (diffusers): images → latents of an eighth of their height and width, and back (Rombach et al., 2022,
//! section 3.1).
//!
//! - [`config`]: reads `vae/config.json`.

pub mod config;

pub use config::VaeConfig;

use super::attention::SpatialAttention;
use super::resnet::{Downsample2D, ResnetBlock2D, Upsample2D};
use crate::nn::activation::Activation;
use crate::nn::layers::{Conv2d, GroupNorm, Leaf, conv1x1, conv3x3, group_norm};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::Tensor;

type Loaded<T> = std::result::Result<T, WeightsError>;

/// Epsilon of every group norm in a VAE.
const EPS: f64 = 1e-6;

/// The variational autoencoder.
#[derive(Debug)]
pub struct AutoencoderKL {
    encoder: Encoder,
    quant_conv: Option<Leaf<Conv2d>>,
    post_quant_conv: Option<Leaf<Conv2d>>,
    decoder: Decoder,
    config: VaeConfig,
}

/// The encoder's output: a normal distribution for every latent (diffusers `DiagonalGaussianDistribution`).
#[derive(Debug, Clone)]
pub struct DiagonalGaussianDistribution {
    /// (B, `latent_channels`, h, w).
    pub mean: Tensor,
    /// Logarithm of the variance, clamped to -30..=20: (B, `latent_channels`, h, w).
    pub logvar: Tensor,
}

impl DiagonalGaussianDistribution {
    /// `mean` + std · `noise`, in the dtype of `noise`, which is standard normal and has the shape of the latents.
    ///
    /// # Errors
    /// When the shapes differ, or the device fails.
    pub fn sample(&self, noise: &Tensor) -> candle_core::Result<Tensor> {
        let mean = self.mean.to_dtype(noise.dtype())?;
        let std = (self.logvar.to_dtype(noise.dtype())? * 0.5)?.exp()?;
        mean + (std * noise)?
    }
}

impl AutoencoderKL {
    /// Loads the model, with either generation of names in its attentions.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit `config`.
    pub fn load(weights: &Weights, config: VaeConfig) -> Loaded<Self> {
        let latents = config.latent_channels;
        let conv = |is_used: bool, name, channels| {
            is_used.then(|| conv1x1(&weights.pp(name), channels, channels)).transpose()
        };
        Ok(Self {
            encoder: Encoder::load(&weights.pp("encoder"), &config)?,
            quant_conv: conv(config.use_quant_conv, "quant_conv", 2 * latents)?,
            post_quant_conv: conv(config.use_post_quant_conv, "post_quant_conv", latents)?,
            decoder: Decoder::load(&weights.pp("decoder"), &config)?,
            config,
        })
    }

    /// The configuration that it was loaded with.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Images `x` with values from -1 to 1, (B, 3, H, W) → distributions of unscaled latents, (B, C, H/8, W/8).
    ///
    /// # Errors
    /// When the shape does not match the weights.
    pub fn encode(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<DiagonalGaussianDistribution> {
        let mut moments = self.encoder.forward(x, probe)?;
        if let Some(quant_conv) = &self.quant_conv {
            moments = quant_conv.forward(&moments, probe)?;
        }
        let halves = moments.chunk(2, 1)?;
        Ok(DiagonalGaussianDistribution { mean: halves[0].clone(), logvar: halves[1].clamp(-30., 20.)? })
    }

    /// Unscaled latents `z`, (B, C, h, w) → images with values from about -1 to 1, (B, 3, 8h, 8w).
    ///
    /// # Errors
    /// When the shape does not match the weights.
    pub fn decode(&self, z: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        match &self.post_quant_conv {
            Some(post_quant_conv) => self.decoder.forward(&post_quant_conv.forward(z, probe)?, probe),
            None => self.decoder.forward(z, probe),
        }
    }
}

/// Images → mean and log variance of latents (diffusers `Encoder`).
#[derive(Debug)]
struct Encoder {
    path: Path,
    conv_in: Leaf<Conv2d>,
    down_blocks: Vec<DownEncoderBlock2D>,
    mid_block: UNetMidBlock2D,
    conv_norm_out: Leaf<GroupNorm>,
    conv_act: Leaf<Activation>,
    conv_out: Leaf<Conv2d>,
}

impl Encoder {
    fn load(weights: &Weights, config: &VaeConfig) -> Loaded<Self> {
        let inner = config.innermost();
        Ok(Self {
            path: weights.path(),
            conv_in: conv3x3(&weights.pp("conv_in"), config.in_channels, config.channels(0))?,
            down_blocks: (0..config.block_out_channels.len())
                .map(|i| DownEncoderBlock2D::load(&weights.pp("down_blocks").pp(i), config, i))
                .collect::<Loaded<_>>()?,
            mid_block: UNetMidBlock2D::load(&weights.pp("mid_block"), config)?,
            conv_norm_out: group_norm(&weights.pp("conv_norm_out"), config.norm_num_groups, inner, EPS)?,
            conv_act: Activation::Silu.load(&weights.pp("conv_act")),
            conv_out: conv3x3(&weights.pp("conv_out"), inner, 2 * config.latent_channels)?,
        })
    }

    /// (B, 3, H, W) → (B, 2C, H/8, W/8).
    fn forward(&self, sample: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[sample], |probe| {
            let mut h = self.conv_in.forward(sample, probe)?;
            for block in &self.down_blocks {
                h = block.forward(&h, probe)?;
            }
            h = self.mid_block.forward(&h, probe)?;
            h = self.conv_norm_out.forward_then(&self.conv_act, &h, probe)?;
            self.conv_out.forward(&h, probe)
        })
    }
}

/// Latents → images (diffusers `Decoder`).
#[derive(Debug)]
struct Decoder {
    path: Path,
    conv_in: Leaf<Conv2d>,
    mid_block: UNetMidBlock2D,
    up_blocks: Vec<UpDecoderBlock2D>,
    conv_norm_out: Leaf<GroupNorm>,
    conv_act: Leaf<Activation>,
    conv_out: Leaf<Conv2d>,
}

impl Decoder {
    fn load(weights: &Weights, config: &VaeConfig) -> Loaded<Self> {
        let (levels, outer) = (config.block_out_channels.len(), config.channels(0));
        Ok(Self {
            path: weights.path(),
            conv_in: conv3x3(&weights.pp("conv_in"), config.latent_channels, config.innermost())?,
            mid_block: UNetMidBlock2D::load(&weights.pp("mid_block"), config)?,
            up_blocks: (0..levels)
                .map(|i| UpDecoderBlock2D::load(&weights.pp("up_blocks").pp(i), config, levels - 1 - i))
                .collect::<Loaded<_>>()?,
            conv_norm_out: group_norm(&weights.pp("conv_norm_out"), config.norm_num_groups, outer, EPS)?,
            conv_act: Activation::Silu.load(&weights.pp("conv_act")),
            conv_out: conv3x3(&weights.pp("conv_out"), outer, config.out_channels)?,
        })
    }

    /// (B, C, h, w) → (B, 3, 8h, 8w).
    fn forward(&self, sample: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[sample], |probe| {
            let mut h = self.conv_in.forward(sample, probe)?;
            h = self.mid_block.forward(&h, probe)?;
            for block in &self.up_blocks {
                h = block.forward(&h, probe)?;
            }
            h = self.conv_norm_out.forward_then(&self.conv_act, &h, probe)?;
            self.conv_out.forward(&h, probe)
        })
    }
}

/// One level of the encoder (diffusers `DownEncoderBlock2D`).
#[derive(Debug)]
struct DownEncoderBlock2D {
    path: Path,
    resnets: Vec<ResnetBlock2D>,
    downsampler: Option<Downsample2D>,
}

impl DownEncoderBlock2D {
    /// Loads the block of `level`, counted from full size. The innermost level does not downsample.
    fn load(weights: &Weights, config: &VaeConfig, level: usize) -> Loaded<Self> {
        let (from, to) = (config.channels(level.saturating_sub(1)), config.channels(level));
        Ok(Self {
            path: weights.path(),
            resnets: load_resnets(weights, config, config.layers_per_block, from, to)?,
            downsampler: (level + 1 < config.block_out_channels.len())
                .then(|| Downsample2D::load(&weights.pp("downsamplers").pp(0), to, 0))
                .transpose()?,
        })
    }

    /// (B, C', H, W) → (B, C, H/2, W/2).
    fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let mut h = hidden_states.clone();
            for resnet in &self.resnets {
                h = resnet.forward(&h, None, probe)?;
            }
            match &self.downsampler {
                Some(downsampler) => downsampler.forward(&h, probe),
                None => Ok(h),
            }
        })
    }
}

/// One level of the decoder (diffusers `UpDecoderBlock2D`).
#[derive(Debug)]
struct UpDecoderBlock2D {
    path: Path,
    resnets: Vec<ResnetBlock2D>,
    upsampler: Option<Upsample2D>,
}

impl UpDecoderBlock2D {
    /// Loads the block of `level`, counted from full size. The full-size level does not upsample.
    fn load(weights: &Weights, config: &VaeConfig, level: usize) -> Loaded<Self> {
        let below = config.block_out_channels.get(level + 1).copied();
        let (from, to) = (below.unwrap_or(config.innermost()), config.channels(level));
        Ok(Self {
            path: weights.path(),
            resnets: load_resnets(weights, config, config.layers_per_block + 1, from, to)?,
            upsampler: (level > 0)
                .then(|| Upsample2D::load(&weights.pp("upsamplers").pp(0), to))
                .transpose()?,
        })
    }

    /// (B, C', H, W) → (B, C, 2H, 2W).
    fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let mut h = hidden_states.clone();
            for resnet in &self.resnets {
                h = resnet.forward(&h, None, probe)?;
            }
            match &self.upsampler {
                Some(upsampler) => upsampler.forward(&h, None, probe),
                None => Ok(h),
            }
        })
    }
}

fn load_resnets(
    weights: &Weights,
    config: &VaeConfig,
    count: usize,
    from: usize,
    to: usize,
) -> Loaded<Vec<ResnetBlock2D>> {
    (0..count)
        .map(|i| {
            let config = config.resnet(if i == 0 { from } else { to }, to);
            ResnetBlock2D::load(&weights.pp("resnets").pp(i), config)
        })
        .collect()
}

/// The mid block: a resnet, self-attention over pixels, a resnet (diffusers `UNetMidBlock2D`).
#[derive(Debug)]
struct UNetMidBlock2D {
    path: Path,
    resnets: [ResnetBlock2D; 2],
    attention: Option<SpatialAttention>,
}

impl UNetMidBlock2D {
    fn load(weights: &Weights, config: &VaeConfig) -> Loaded<Self> {
        let channels = config.innermost();
        let resnet = |i| ResnetBlock2D::load(&weights.pp("resnets").pp(i), config.resnet(channels, channels));
        Ok(Self {
            path: weights.path(),
            resnets: [resnet(0)?, resnet(1)?],
            attention: config
                .mid_block_add_attention
                .then(|| {
                    let weights = weights.pp("attentions").pp(0);
                    SpatialAttention::load(&weights, channels, config.norm_num_groups, EPS)
                })
                .transpose()?,
        })
    }

    /// (B, C, H, W) → (B, C, H, W).
    fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let mut h = self.resnets[0].forward(hidden_states, None, probe)?;
            if let Some(attention) = &self.attention {
                h = attention.forward(&h, probe)?;
            }
            self.resnets[1].forward(&h, None, probe)
        })
    }
}

//! The levels of the UNet (diffusers: `unet_2d_blocks.py`).

use super::config::{LevelConfig, UNetConfig};
use super::transformer::Transformer2DModel;
use crate::model::resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::Tensor;

type Loaded<T> = std::result::Result<T, WeightsError>;

/// A down block: `CrossAttnDownBlock2D`, or `DownBlock2D` without attentions.
#[derive(Debug)]
pub struct DownBlock2D {
    path: Path,
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    downsampler: Option<Downsample2D>,
}

impl DownBlock2D {
    /// Loads the block of `level`, counted from full size. The innermost level does not downsample.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(weights: &Weights, config: &UNetConfig, level: usize) -> Loaded<Self> {
        let here = &config.blocks[level];
        let from = config.blocks[level.saturating_sub(1)].channels;
        Ok(Self {
            path: weights.path(),
            resnets: (0..here.layers)
                .map(|i| {
                    load_resnet(weights, i, config, if i == 0 { from } else { here.channels }, here.channels)
                })
                .collect::<Loaded<_>>()?,
            attentions: load_attentions(
                weights,
                config,
                here,
                if here.down_attends { here.layers } else { 0 },
            )?,
            downsampler: (level + 1 < config.blocks.len())
                .then(|| {
                    Downsample2D::load(
                        &weights.pp("downsamplers").pp(0),
                        here.channels,
                        config.downsample_padding,
                    )
                })
                .transpose()?,
        })
    }

    /// `hidden_states` (B, C', H, W), `temb` (B, T), `encoder_hidden_states` (B, M, D) → the output (B, C, H/2, W/2), and the
    /// skip connections for the up blocks, of which the last is the output.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        temb: &Tensor,
        encoder_hidden_states: &Tensor,
        probe: &mut dyn Probe,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let mut output_states = vec![];
        let hidden_states =
            watch(probe, &self.path, &[hidden_states, temb, encoder_hidden_states], |probe| {
                let mut h = hidden_states.clone();
                for (i, resnet) in self.resnets.iter().enumerate() {
                    h = resnet.forward(&h, Some(temb), probe)?;
                    if let Some(attention) = self.attentions.get(i) {
                        h = attention.forward(&h, encoder_hidden_states, probe)?;
                    }
                    output_states.push(h.clone());
                }
                if let Some(downsampler) = &self.downsampler {
                    h = downsampler.forward(&h, probe)?;
                    output_states.push(h.clone());
                }
                Ok(h)
            })?;
        Ok((hidden_states, output_states))
    }
}

/// The mid block: a resnet, a transformer, a resnet (diffusers `UNetMidBlock2DCrossAttn`).
#[derive(Debug)]
pub struct UNetMidBlock2DCrossAttn {
    path: Path,
    resnets: [ResnetBlock2D; 2],
    attention: Transformer2DModel,
}

impl UNetMidBlock2DCrossAttn {
    /// Loads the block at `weights`.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(weights: &Weights, config: &UNetConfig) -> Loaded<Self> {
        let level = config.innermost();
        let resnet = |i| load_resnet(weights, i, config, level.channels, level.channels);
        Ok(Self {
            path: weights.path(),
            resnets: [resnet(0)?, resnet(1)?],
            attention: Transformer2DModel::load(&weights.pp("attentions").pp(0), config, level)?,
        })
    }

    /// `hidden_states` (B, C, H, W), `temb` (B, T), `encoder_hidden_states` (B, M, D) → (B, C, H, W).
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        temb: &Tensor,
        encoder_hidden_states: &Tensor,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states, temb, encoder_hidden_states], |probe| {
            let mut h = self.resnets[0].forward(hidden_states, Some(temb), probe)?;
            h = self.attention.forward(&h, encoder_hidden_states, probe)?;
            self.resnets[1].forward(&h, Some(temb), probe)
        })
    }
}

/// An up block: `CrossAttnUpBlock2D`, or `UpBlock2D` without attentions.
#[derive(Debug)]
pub struct UpBlock2D {
    path: Path,
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock2D {
    /// Loads the block of `level`, counted from full size. The full-size level does not upsample.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(weights: &Weights, config: &UNetConfig, level: usize) -> Loaded<Self> {
        let here = &config.blocks[level];
        let layers = here.layers + 1;
        let from_below = config.blocks.get(level + 1).unwrap_or(here).channels;
        let from_above = config.blocks[level.saturating_sub(1)].channels;
        let channels = |i| {
            let hidden = if i == 0 { from_below } else { here.channels };
            let skip = if i + 1 == layers { from_above } else { here.channels };
            hidden + skip
        };
        Ok(Self {
            path: weights.path(),
            resnets: (0..layers)
                .map(|i| load_resnet(weights, i, config, channels(i), here.channels))
                .collect::<Loaded<_>>()?,
            attentions: load_attentions(weights, config, here, if here.up_attends { layers } else { 0 })?,
            upsampler: (level > 0)
                .then(|| Upsample2D::load(&weights.pp("upsamplers").pp(0), here.channels))
                .transpose()?,
        })
    }

    /// The number of skip connections that it takes.
    pub fn layers(&self) -> usize {
        self.resnets.len()
    }

    /// `hidden_states` (B, C', H, W), `res_hidden_states` from the down blocks, used from the last to the first, `temb` (B, T),
    /// `encoder_hidden_states` (B, M, D), `upsample_size` of the next level → (B, C, 2H, 2W).
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        mut res_hidden_states: Vec<Tensor>,
        temb: &Tensor,
        encoder_hidden_states: &Tensor,
        upsample_size: Option<(usize, usize)>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states, temb, encoder_hidden_states], |probe| {
            let mut h = hidden_states.clone();
            for (i, resnet) in self.resnets.iter().enumerate() {
                if let Some(skip) = res_hidden_states.pop() {
                    h = Tensor::cat(&[h, skip], 1)?;
                }
                h = resnet.forward(&h, Some(temb), probe)?;
                if let Some(attention) = self.attentions.get(i) {
                    h = attention.forward(&h, encoder_hidden_states, probe)?;
                }
            }
            match &self.upsampler {
                Some(upsampler) => upsampler.forward(&h, upsample_size, probe),
                None => Ok(h),
            }
        })
    }
}

fn load_resnet(
    weights: &Weights,
    i: usize,
    config: &UNetConfig,
    in_channels: usize,
    out_channels: usize,
) -> Loaded<ResnetBlock2D> {
    let config = ResnetConfig {
        in_channels,
        out_channels,
        temb_channels: Some(config.time_embed_dim()),
        groups: config.norm_num_groups,
        eps: config.norm_eps,
    };
    ResnetBlock2D::load(&weights.pp("resnets").pp(i), config)
}

fn load_attentions(
    weights: &Weights,
    config: &UNetConfig,
    level: &LevelConfig,
    count: usize,
) -> Loaded<Vec<Transformer2DModel>> {
    (0..count).map(|i| Transformer2DModel::load(&weights.pp("attentions").pp(i), config, level)).collect()
}

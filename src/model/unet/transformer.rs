//! Transformers over pixels (diffusers: `transformer_2d.py`, `attention.py`).

use super::UNetConfig;
use super::config::LevelConfig;
use crate::model::attention::Attention;
use crate::nn::activation::geglu;
use crate::nn::layers::{
    Conv2d, GroupNorm, LayerNorm, Leaf, Linear, conv1x1, group_norm, layer_norm, linear,
};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::Tensor;

/// A transformer whose tokens are pixels, with cross-attention to the prompt (diffusers `Transformer2DModel`).
#[derive(Debug)]
pub struct Transformer2DModel {
    path: Path,
    norm: Leaf<GroupNorm>,
    projections: Projections,
    transformer_blocks: Vec<BasicTransformerBlock>,
}

/// `proj_in` and `proj_out`.
#[derive(Debug)]
enum Projections {
    /// Stable Diffusion 2: flatten, then project; project, then unflatten.
    Linear(Leaf<Linear>, Leaf<Linear>),
    /// Stable Diffusion 1: project, then flatten; unflatten, then project.
    Convolution(Leaf<Conv2d>, Leaf<Conv2d>),
}

impl Transformer2DModel {
    /// Loads the transformer at `weights`.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(
        weights: &Weights,
        config: &UNetConfig,
        level: &LevelConfig,
    ) -> std::result::Result<Self, WeightsError> {
        let (proj_in, proj_out) = (weights.pp("proj_in"), weights.pp("proj_out"));
        let c = level.channels;
        Ok(Self {
            path: weights.path(),
            norm: group_norm(&weights.pp("norm"), config.norm_num_groups, c, 1e-6)?,
            projections: if config.use_linear_projection {
                Projections::Linear(linear(&proj_in, c, c)?, linear(&proj_out, c, c)?)
            } else {
                Projections::Convolution(conv1x1(&proj_in, c, c)?, conv1x1(&proj_out, c, c)?)
            },
            transformer_blocks: (0..level.transformer_layers)
                .map(|i| BasicTransformerBlock::load(&weights.pp("transformer_blocks").pp(i), level))
                .collect::<std::result::Result<_, _>>()?,
        })
    }

    /// `hidden_states` (B, C, H, W), `encoder_hidden_states` (B, M, `cross_attention_dim`) → (B, C, H, W).
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        encoder_hidden_states: &Tensor,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states, encoder_hidden_states], |probe| {
            let size = hidden_states.dims4()?;
            let mut h = self.norm.forward(hidden_states, probe)?;
            h = match &self.projections {
                Projections::Linear(proj_in, _) => proj_in.forward(&pixels_to_tokens(&h)?, probe)?,
                Projections::Convolution(proj_in, _) => pixels_to_tokens(&proj_in.forward(&h, probe)?)?,
            };
            for block in &self.transformer_blocks {
                h = block.forward(&h, encoder_hidden_states, probe)?;
            }
            h = match &self.projections {
                Projections::Linear(_, proj_out) => tokens_to_pixels(&proj_out.forward(&h, probe)?, size)?,
                Projections::Convolution(_, proj_out) => {
                    proj_out.forward(&tokens_to_pixels(&h, size)?, probe)?
                }
            };
            Ok((h + hidden_states)?)
        })
    }
}

/// (B, C, H, W) → (B, H·W, C).
fn pixels_to_tokens(x: &Tensor) -> candle_core::Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

/// (B, H·W, C) → `size`, which is (B, C, H, W).
fn tokens_to_pixels(x: &Tensor, size: (usize, usize, usize, usize)) -> candle_core::Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.reshape(size)
}

/// Self-attention, cross-attention and feed-forward, each after a layer norm and with a residual connection (diffusers
/// `BasicTransformerBlock`).
#[derive(Debug)]
pub struct BasicTransformerBlock {
    path: Path,
    norm1: Leaf<LayerNorm>,
    attn1: Attention,
    norm2: Leaf<LayerNorm>,
    attn2: Attention,
    norm3: Leaf<LayerNorm>,
    ff: FeedForward,
}

impl BasicTransformerBlock {
    fn load(weights: &Weights, level: &LevelConfig) -> std::result::Result<Self, WeightsError> {
        let (c, eps) = (level.channels, 1e-5);
        Ok(Self {
            path: weights.path(),
            norm1: layer_norm(&weights.pp("norm1"), c, eps)?,
            attn1: Attention::load(&weights.pp("attn1"), c, c, level.heads)?,
            norm2: layer_norm(&weights.pp("norm2"), c, eps)?,
            attn2: Attention::load(&weights.pp("attn2"), c, level.cross_attention_dim, level.heads)?,
            norm3: layer_norm(&weights.pp("norm3"), c, eps)?,
            ff: FeedForward::load(&weights.pp("ff"), c)?,
        })
    }

    /// `hidden_states` (B, N, C), `encoder_hidden_states` (B, M, `cross_attention_dim`) → (B, N, C).
    fn forward(
        &self,
        hidden_states: &Tensor,
        encoder_hidden_states: &Tensor,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states, encoder_hidden_states], |probe| {
            // 1. self-attention: pixels attend to pixels
            let normed = self.norm1.forward(hidden_states, probe)?;
            let mut h = (hidden_states + self.attn1.forward(&normed, None, probe)?)?;
            // 2. cross-attention: pixels attend to the prompt
            let normed = self.norm2.forward(&h, probe)?;
            h = (&h + self.attn2.forward(&normed, Some(encoder_hidden_states), probe)?)?;
            // 3. feed-forward: every pixel on its own
            let normed = self.norm3.forward(&h, probe)?;
            Ok((&h + self.ff.forward(&normed, probe)?)?)
        })
    }
}

/// A gated linear layer to four times the width, and a linear layer back (diffusers `FeedForward`).
#[derive(Debug)]
struct FeedForward {
    path: Path,
    geglu: Geglu,
    out: Leaf<Linear>,
}

impl FeedForward {
    fn load(weights: &Weights, channels: usize) -> std::result::Result<Self, WeightsError> {
        let net = weights.pp("net");
        Ok(Self {
            path: weights.path(),
            geglu: Geglu::load(&net.pp(0), channels, 4 * channels)?,
            out: linear(&net.pp(2), 4 * channels, channels)?,
        })
    }

    /// (B, N, C) → (B, N, C).
    fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let h = self.geglu.forward(hidden_states, probe)?;
            self.out.forward(&h, probe)
        })
    }
}

/// One half of a projection times the gelu of the other half (diffusers `GEGLU`; Shazeer, 2020).
#[derive(Debug)]
struct Geglu {
    path: Path,
    proj: Leaf<Linear>,
}

impl Geglu {
    fn load(weights: &Weights, inputs: usize, outputs: usize) -> std::result::Result<Self, WeightsError> {
        Ok(Self { path: weights.path(), proj: linear(&weights.pp("proj"), inputs, 2 * outputs)? })
    }

    /// (B, N, C) → (B, N, 4·C).
    fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            Ok(geglu(&self.proj.forward(hidden_states, probe)?)?)
        })
    }
}

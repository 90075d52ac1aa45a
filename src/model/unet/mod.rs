//! `UNet2DConditionModel` (diffusers): noisy latents, a timestep and prompt embeddings → a residual.
//!
//! A U-Net (Ronneberger et al., 2015): down blocks halve height and width level by level, a mid block follows, and up blocks
//! double them again. Skip connections lead from each down block to the up block of the same level. The prompt enters through
//! cross-attention (Rombach et al., 2022, section 3.3).
//!
//! - [`config`]: reads `unet/config.json`.
//! - [`embeddings`]: the time embedding.
//! - [`transformer`]: self-attention, cross-attention, feed-forward.
//! - [`blocks`]: the levels.

pub mod blocks;
pub mod config;
pub mod embeddings;
pub mod transformer;

pub use config::UNetConfig;

use crate::nn::activation::Activation;
use crate::nn::layers::{Conv2d, GroupNorm, Leaf, conv3x3, group_norm};
use crate::nn::{Error, Path, Probe, Result, Weights, WeightsError, watch};
use blocks::{DownBlock2D, UNetMidBlock2DCrossAttn, UpBlock2D};
use candle_core::Tensor;
use embeddings::{TimestepEmbedding, Timesteps};
use tr::tr;

/// The model that predicts the noise in latents.
#[derive(Debug)]
pub struct UNet2DConditionModel {
    path: Path,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    conv_in: Leaf<Conv2d>,
    down_blocks: Vec<DownBlock2D>,
    mid_block: Option<UNetMidBlock2DCrossAttn>,
    up_blocks: Vec<UpBlock2D>,
    conv_norm_out: Leaf<GroupNorm>,
    conv_act: Leaf<Activation>,
    conv_out: Leaf<Conv2d>,
    config: UNetConfig,
}

impl UNet2DConditionModel {
    /// Loads the model.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit `config`.
    pub fn load(weights: &Weights, config: UNetConfig) -> std::result::Result<Self, WeightsError> {
        let first = config.blocks[0].channels;
        let levels = config.blocks.len();
        Ok(Self {
            path: weights.path(),
            time_proj: Timesteps::new(weights.pp("time_proj").path(), &config),
            time_embedding: TimestepEmbedding::load(&weights.pp("time_embedding"), &config)?,
            conv_in: conv3x3(&weights.pp("conv_in"), config.in_channels, first)?,
            down_blocks: (0..levels)
                .map(|level| DownBlock2D::load(&weights.pp("down_blocks").pp(level), &config, level))
                .collect::<std::result::Result<_, _>>()?,
            mid_block: config
                .has_mid_block
                .then(|| UNetMidBlock2DCrossAttn::load(&weights.pp("mid_block"), &config))
                .transpose()?,
            up_blocks: (0..levels)
                .map(|i| UpBlock2D::load(&weights.pp("up_blocks").pp(i), &config, levels - 1 - i))
                .collect::<std::result::Result<_, _>>()?,
            conv_norm_out: group_norm(
                &weights.pp("conv_norm_out"),
                config.norm_num_groups,
                first,
                config.norm_eps,
            )?,
            conv_act: Activation::Silu.load(&weights.pp("conv_act")),
            conv_out: conv3x3(&weights.pp("conv_out"), first, config.out_channels)?,
            config,
        })
    }

    /// The configuration that it was loaded with.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Sets height and width of the latents in training, which change nothing in the model.
    pub fn set_sample_size(&mut self, sample_size: (usize, usize)) {
        self.config.sample_size = sample_size;
    }

    /// `sample` (B, `in_channels`, h, w), `timestep`, `encoder_hidden_states` (B, M, `cross_attention_dim`), and for a latent
    /// consistency model `timestep_cond`, the embedding of the guidance scale (1 or B, `time_cond_proj_dim`)
    /// → (B, `out_channels`, h, w). Height and width may be odd.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        sample: &Tensor,
        timestep: f64,
        encoder_hidden_states: &Tensor,
        timestep_cond: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let mut inputs = vec![sample, encoder_hidden_states];
        inputs.extend(timestep_cond);
        watch(probe, &self.path, &inputs, |probe| {
            // 1. time
            let t_emb = self.time_proj.forward(timestep, sample, probe)?;
            let emb = self.time_embedding.forward(&t_emb, timestep_cond, probe)?;

            // 2. pre-process
            let mut sample = self.conv_in.forward(sample, probe)?;

            // 3. down: every block also returns its skip connections
            let mut down_block_res_samples = vec![sample.clone()];
            for block in &self.down_blocks {
                let (hidden_states, res_samples) =
                    block.forward(&sample, &emb, encoder_hidden_states, probe)?;
                sample = hidden_states;
                down_block_res_samples.extend(res_samples);
            }

            // 4. mid
            if let Some(mid_block) = &self.mid_block {
                sample = mid_block.forward(&sample, &emb, encoder_hidden_states, probe)?;
            }

            // 5. up
            for block in &self.up_blocks {
                let rest = down_block_res_samples.len().checked_sub(block.layers()).ok_or_else(|| {
                    Error::Input(tr!(
                        "{}: the up blocks take more skip connections than the down blocks give",
                        self.path
                    ))
                })?;
                let res_samples = down_block_res_samples.split_off(rest);
                let next_level = down_block_res_samples.last();
                let size = next_level.map(|skip| skip.dims4().map(|(_, _, h, w)| (h, w))).transpose()?;
                sample = block.forward(&sample, res_samples, &emb, encoder_hidden_states, size, probe)?;
            }

            // 6. post-process
            sample = self.conv_norm_out.forward_then(&self.conv_act, &sample, probe)?;
            self.conv_out.forward(&sample, probe)
        })
    }
}

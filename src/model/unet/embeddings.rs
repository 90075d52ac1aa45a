//! The time embedding (diffusers: `embeddings.py`; Ho et al., 2020, appendix B), and the guidance scale that a latent consistency
//! model adds to it (Luo et al., 2023, "Latent Consistency Models", section 4.1).

use super::UNetConfig;
use crate::nn::activation::Activation;
use crate::nn::layers::{Leaf, Linear, linear, linear_no_bias};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::{Device, Tensor};

/// The sinusoidal embedding of a timestep: sines and cosines of falling frequencies (diffusers `Timesteps`).
#[derive(Debug)]
pub struct Timesteps {
    path: Path,
    num_channels: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
}

impl Timesteps {
    /// The embedding for `config`.
    pub fn new(path: Path, config: &UNetConfig) -> Self {
        let (flip_sin_to_cos, freq_shift) = (config.flip_sin_to_cos, config.freq_shift);
        Self { path, num_channels: config.blocks[0].channels, flip_sin_to_cos, freq_shift }
    }

    /// `timestep` → (B, `num_channels`), with the dtype, the device and the batch size of `sample`. Computed in `f32`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, timestep: f64, sample: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[], |_| {
            let half = self.num_channels / 2;
            let angle = |i: usize| {
                let exponent = -(10_000f32.ln()) * i as f32 / (half as f64 - self.freq_shift) as f32;
                timestep as f32 * exponent.exp()
            };
            let sin = (0..half).map(|i| angle(i).sin());
            let cos = (0..half).map(|i| angle(i).cos());
            let mut emb: Vec<f32> =
                if self.flip_sin_to_cos { cos.chain(sin).collect() } else { sin.chain(cos).collect() };
            emb.resize(self.num_channels, 0.);
            let emb = Tensor::from_vec(emb, (1, self.num_channels), sample.device())?;
            Ok(emb.to_dtype(sample.dtype())?.repeat((sample.dim(0)?, 1))?)
        })
    }
}

/// The sinusoidal embedding of the guidance strength `w` = `guidance_scale` − 1, as if 1000 `w` were a timestep:
/// (1, `embedding_dim`), [sin, cos]. Computed in `f32` (diffusers `get_guidance_scale_embedding`).
///
/// # Errors
/// When the device fails.
pub fn get_guidance_scale_embedding(
    w: f64,
    embedding_dim: usize,
    device: &Device,
) -> candle_core::Result<Tensor> {
    let half_dim = embedding_dim / 2;
    let w = w as f32 * 1000.;
    let step = 10_000f32.ln() / (half_dim as f32 - 1.);
    let angle = |i: usize| w * (i as f32 * -step).exp();
    let sin = (0..half_dim).map(|i| angle(i).sin());
    let cos = (0..half_dim).map(|i| angle(i).cos());
    let mut emb: Vec<f32> = sin.chain(cos).collect();
    emb.resize(embedding_dim, 0.);
    Tensor::from_vec(emb, (1, embedding_dim), device)
}

/// Two linear layers with silu between them (diffusers `TimestepEmbedding`). In a latent consistency model the projected guidance
/// scale is added first.
#[derive(Debug)]
pub struct TimestepEmbedding {
    path: Path,
    cond_proj: Option<Leaf<Linear>>,
    linear_1: Leaf<Linear>,
    act: Leaf<Activation>,
    linear_2: Leaf<Linear>,
}

impl TimestepEmbedding {
    /// Loads the layers at `weights`.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(weights: &Weights, config: &UNetConfig) -> std::result::Result<Self, WeightsError> {
        let (channels, width) = (config.blocks[0].channels, config.time_embed_dim());
        Ok(Self {
            path: weights.path(),
            cond_proj: config
                .time_cond_proj_dim
                .map(|dim| linear_no_bias(&weights.pp("cond_proj"), dim, channels))
                .transpose()?,
            linear_1: linear(&weights.pp("linear_1"), channels, width)?,
            act: Activation::Silu.load(&weights.pp("act")),
            linear_2: linear(&weights.pp("linear_2"), width, width)?,
        })
    }

    /// `sample` (B, `num_channels`), `condition` (1 or B, `time_cond_proj_dim`) → (B, `time_embed_dim`).
    ///
    /// # Errors
    /// When the shapes do not match the weights.
    pub fn forward(
        &self,
        sample: &Tensor,
        condition: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let mut inputs = vec![sample];
        inputs.extend(condition);
        watch(probe, &self.path, &inputs, |probe| {
            let mut h = sample.clone();
            if let (Some(cond_proj), Some(condition)) = (&self.cond_proj, condition) {
                h = h.broadcast_add(&cond_proj.forward(condition, probe)?)?;
            }
            h = self.linear_1.forward(&h, probe)?;
            h = self.act.forward(&h, probe)?;
            self.linear_2.forward(&h, probe)
        })
    }
}

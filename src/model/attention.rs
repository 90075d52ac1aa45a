//! Attention with its projections, in the UNet and in the VAE (diffusers: `attention_processor.py`).

use crate::nn::attention::DotProductAttention;
use crate::nn::layers::{GroupNorm, Leaf, Linear, group_norm, linear, linear_no_bias};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::Tensor;

/// Multi-head attention of the UNet: self-attention, or cross-attention to the prompt (diffusers `Attention`).
#[derive(Debug)]
pub struct Attention {
    path: Path,
    to_q: Leaf<Linear>,
    to_k: Leaf<Linear>,
    to_v: Leaf<Linear>,
    to_out: Leaf<Linear>,
    attend: DotProductAttention,
}

impl Attention {
    /// Loads the attention at `weights`: no bias on query, key and value. `channels` (C) is the width of the queries, `context`
    /// that of the sequence attended to.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(
        weights: &Weights,
        channels: usize,
        context: usize,
        heads: usize,
    ) -> std::result::Result<Self, WeightsError> {
        let path = weights.path();
        Ok(Self {
            to_q: linear_no_bias(&weights.pp("to_q"), channels, channels)?,
            to_k: linear_no_bias(&weights.pp("to_k"), context, channels)?,
            to_v: linear_no_bias(&weights.pp("to_v"), context, channels)?,
            to_out: linear(&weights.pp("to_out").pp(0), channels, channels)?,
            attend: DotProductAttention::new(&path, heads),
            path,
        })
    }

    /// `hidden_states` (B, N, C), `encoder_hidden_states` (B, M, `context`) → (B, N, C). Without the second, it is
    /// self-attention.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(
        &self,
        hidden_states: &Tensor,
        encoder_hidden_states: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let context = encoder_hidden_states.unwrap_or(hidden_states);
        watch(probe, &self.path, &[hidden_states, context], |probe| {
            let query = self.to_q.forward(hidden_states, probe)?;
            let key = self.to_k.forward(context, probe)?;
            let value = self.to_v.forward(context, probe)?;
            let mixed = self.attend.forward(&query, &key, &value, None, probe)?;
            self.to_out.forward(&mixed, probe)
        })
    }
}

/// Attention of the VAE: single-head self-attention over pixels, with a group norm before it and a residual connection around
/// it (diffusers `Attention` with `group_norm` and `residual_connection`).
#[derive(Debug)]
pub struct SpatialAttention {
    path: Path,
    group_norm: Leaf<GroupNorm>,
    to_q: Leaf<Linear>,
    to_k: Leaf<Linear>,
    to_v: Leaf<Linear>,
    to_out: Leaf<Linear>,
    attend: DotProductAttention,
}

impl SpatialAttention {
    /// Loads the attention at `weights`, of width `channels` (C). All projections have a bias; old checkpoints name them
    /// `query`, `key`, `value` and `proj_attn`. `groups` and `eps` are the group norm's.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn load(
        weights: &Weights,
        channels: usize,
        groups: usize,
        eps: f64,
    ) -> std::result::Result<Self, WeightsError> {
        let path = weights.path();
        let projection = |name: &str, old: &str| {
            let stored = if weights.has(&format!("{old}.weight")) { old } else { name };
            linear_or_1x1(&weights.pp_stored_as(name, stored), channels)
        };
        Ok(Self {
            group_norm: group_norm(&weights.pp("group_norm"), groups, channels, eps)?,
            to_q: projection("to_q", "query")?,
            to_k: projection("to_k", "key")?,
            to_v: projection("to_v", "value")?,
            to_out: projection("to_out.0", "proj_attn")?,
            attend: DotProductAttention::new(&path, 1),
            path,
        })
    }

    /// (B, C, H, W) → (B, C, H, W).
    ///
    /// # Errors
    /// When the shape does not match the weights.
    pub fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let size = hidden_states.dims4()?;
            let normed = self.group_norm.forward(&hidden_states.flatten_from(2)?, probe)?;
            let tokens = normed.transpose(1, 2)?.contiguous()?;
            let query = self.to_q.forward(&tokens, probe)?;
            let key = self.to_k.forward(&tokens, probe)?;
            let value = self.to_v.forward(&tokens, probe)?;
            let mixed = self.attend.forward(&query, &key, &value, None, probe)?;
            let attended = self.to_out.forward(&mixed, probe)?;
            Ok((attended.transpose(1, 2)?.contiguous()?.reshape(size)? + hidden_states)?)
        })
    }
}

/// A square linear layer. The oldest VAEs store it as a 1×1 convolution.
fn linear_or_1x1(weights: &Weights, channels: usize) -> std::result::Result<Leaf<Linear>, WeightsError> {
    if weights.shape("weight") != Some(&[channels, channels, 1, 1]) {
        return linear(weights, channels, channels);
    }
    let weight = weights.get_narrow(&[channels, channels, 1, 1], "weight")?;
    let weight = weight.reshape((channels, channels)).map_err(|source| WeightsError::Device {
        file: weights.file().into(),
        key: "weight".into(),
        source: source.into(),
    })?;
    Ok(Leaf::new(weights.path(), Linear::new(weight, Some(weights.get(&[channels], "bias")?))))
}

//! Attention with its projections (diffusers: `attention_processor.py`), in the UNet and in the VAE.

use crate::nn::attention::DotProductAttention;
use crate::nn::layers::{Leaf, Linear, linear, linear_no_bias};
use crate::nn::{Path, Probe, Result, Weights, WeightsError, watch};
use candle_core::Tensor;

/// Multi-head attention: of a picture to itself, or to a prompt (diffusers `Attention`).
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
    /// Loads the UNet's attention at `weights`: no bias on query, key and value. `channels` (C) is its own
    /// width, `context` that of what it attends to.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit.
    pub fn load(
        weights: &Weights,
        channels: usize,
        context: usize,
        heads: usize,
    ) -> std::result::Result<Self, WeightsError> {
        let path = weights.path();
        Ok(Self {
            attend: DotProductAttention::new(&path, heads),
            path,
            to_q: linear_no_bias(&weights.pp("to_q"), channels, channels)?,
            to_k: linear_no_bias(&weights.pp("to_k"), context, channels)?,
            to_v: linear_no_bias(&weights.pp("to_v"), context, channels)?,
            to_out: linear(&weights.pp("to_out").pp(0), channels, channels)?,
        })
    }

    /// Loads the VAE's attention at `weights`: one head over all channels, biases everywhere, and in old
    /// checkpoints other names (`query`, `key`, `value`, `proj_attn`).
    ///
    /// # Errors
    /// When a tensor is missing or does not fit.
    pub fn load_in_vae(weights: &Weights, channels: usize) -> std::result::Result<Self, WeightsError> {
        let projection = |name: &str, old: &str| {
            let stored = if weights.has(&format!("{old}.weight")) { old } else { name };
            linear_or_1x1(&weights.pp_stored_as(name, stored), channels)
        };
        let path = weights.path();
        Ok(Self {
            attend: DotProductAttention::new(&path, 1),
            path,
            to_q: projection("to_q", "query")?,
            to_k: projection("to_k", "key")?,
            to_v: projection("to_v", "value")?,
            to_out: projection("to_out.0", "proj_attn")?,
        })
    }

    /// `hidden_states` (B, N, C), `encoder_hidden_states` (B, M, `context`) → (B, N, C). Without the second, the
    /// first attends to itself.
    ///
    /// # Errors
    /// When the shapes do not fit, or the probe's.
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

/// A square linear layer that may be stored as a 1×1 convolution, as the oldest VAEs have it.
fn linear_or_1x1(weights: &Weights, channels: usize) -> std::result::Result<Leaf<Linear>, WeightsError> {
    if weights.shape("weight") != Some(&[channels, channels, 1, 1]) {
        return linear(weights, channels, channels);
    }
    let weight = weights.get(&[channels, channels, 1, 1], "weight")?;
    let weight = weight.reshape((channels, channels)).map_err(|source| WeightsError::Device {
        file: weights.file().into(),
        key: "weight".into(),
        source: source.into(),
    })?;
    Ok(Leaf::new(weights.path(), Linear::new(weight, Some(weights.get(&[channels], "bias")?))))
}

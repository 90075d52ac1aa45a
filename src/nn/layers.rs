//! Leaf layers: candle's modules with the paths of the pieces they are, loaded from [`Weights`].

use super::conv;
use super::error::Result;
use super::probe::{Path, Probe, watch};
use super::weights::{Weights, WeightsError};
use candle_core::{DType, Module, Tensor};
use candle_nn::{Conv2dConfig, Embedding, GroupNorm, LayerNorm};

type Loaded<M> = std::result::Result<Leaf<M>, WeightsError>;

/// A layer without parts, under its path.
#[derive(Debug, Clone)]
pub struct Leaf<M> {
    path: Path,
    layer: M,
}

impl<M: Module> Leaf<M> {
    /// Names a layer.
    pub fn new(path: Path, layer: M) -> Self {
        Self { path, layer }
    }

    /// Runs the layer, watched under its path.
    ///
    /// # Errors
    /// The layer's, when the shape of `x` does not fit, or the probe's.
    pub fn forward(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[x], |_| Ok(self.layer.forward(x)?))
    }

    /// The layer itself.
    pub fn layer(&self) -> &M {
        &self.layer
    }
}

/// A linear layer; on the CPU in bf16 it is computed in `f32` and rounded, since candle has no product there.
#[derive(Debug, Clone)]
pub struct Linear(candle_nn::Linear);

impl Linear {
    /// From a weight (`outputs`, `inputs`) and a bias (`outputs`).
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self(candle_nn::Linear::new(weight, bias))
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if !needs_widening(x) {
            return self.0.forward(x);
        }
        let wide = candle_nn::Linear::new(widened(self.0.weight())?, self.0.bias().map(widened).transpose()?);
        wide.forward(&widened(x)?)?.to_dtype(x.dtype())
    }
}

/// A convolution; on the CPU as a product of matrices, in bf16 as [`Linear`].
#[derive(Debug, Clone)]
pub struct Conv2d(candle_nn::Conv2d);

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if needs_widening(x) {
            let (weight, bias) = (widened(self.0.weight())?, self.0.bias().map(widened).transpose()?);
            let wide = Self(candle_nn::Conv2d::new(weight, bias, *self.0.config()));
            return wide.forward(&widened(x)?)?.to_dtype(x.dtype());
        }
        if !conv::can(x) {
            return self.0.forward(x);
        }
        let Conv2dConfig { stride, padding, .. } = *self.0.config();
        let y = conv::conv2d(x, self.0.weight(), stride, padding)?;
        match self.0.bias() {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }
}

/// Whether candle has no product of this dtype on this device.
pub(super) fn needs_widening(x: &Tensor) -> bool {
    x.dtype() == DType::BF16 && x.device().is_cpu()
}

fn widened(x: &Tensor) -> candle_core::Result<Tensor> {
    x.to_dtype(DType::F32)
}

/// `torch.nn.Linear`: (…, `inputs`) → (…, `outputs`).
///
/// # Errors
/// When `weight` or `bias` is missing or of another shape.
pub fn linear(weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Linear> {
    let (weight, bias) = (weights.get(&[outputs, inputs], "weight")?, weights.get(&[outputs], "bias")?);
    Ok(Leaf::new(weights.path(), Linear::new(weight, Some(bias))))
}

/// `torch.nn.Linear(bias=False)`: (…, `inputs`) → (…, `outputs`).
///
/// # Errors
/// When `weight` is missing or of another shape.
pub fn linear_no_bias(weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Linear> {
    Ok(Leaf::new(weights.path(), Linear::new(weights.get(&[outputs, inputs], "weight")?, None)))
}

/// `torch.nn.Conv2d` with a square kernel of `side`: (B, `inputs`, H, W) → (B, `outputs`, H', W').
///
/// # Errors
/// When `weight` or `bias` is missing or of another shape.
pub fn conv2d(
    weights: &Weights,
    inputs: usize,
    outputs: usize,
    side: usize,
    config: Conv2dConfig,
) -> Loaded<Conv2d> {
    let weight = weights.get(&[outputs, inputs, side, side], "weight")?;
    let conv = candle_nn::Conv2d::new(weight, Some(weights.get(&[outputs], "bias")?), config);
    Ok(Leaf::new(weights.path(), Conv2d(conv)))
}

/// A 3×3 convolution that keeps height and width.
///
/// # Errors
/// As [`conv2d`].
pub fn conv3x3(weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Conv2d> {
    conv2d(weights, inputs, outputs, 3, Conv2dConfig { padding: 1, ..Default::default() })
}

/// A 1×1 convolution: a linear layer at every pixel.
///
/// # Errors
/// As [`conv2d`].
pub fn conv1x1(weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Conv2d> {
    conv2d(weights, inputs, outputs, 1, Conv2dConfig::default())
}

/// `torch.nn.GroupNorm` over (B, `channels`, …). `groups` must divide `channels`.
///
/// # Errors
/// When `weight` or `bias` is missing or of another shape, or `groups` does not divide.
pub fn group_norm(weights: &Weights, groups: usize, channels: usize, eps: f64) -> Loaded<GroupNorm> {
    let (weight, bias) = (weights.get(&[channels], "weight")?, weights.get(&[channels], "bias")?);
    let norm = GroupNorm::new(weight, bias, channels, groups, eps);
    let misfit =
        |_| WeightsError::Groups { file: weights.file().into(), path: weights.path(), groups, channels };
    Ok(Leaf::new(weights.path(), norm.map_err(misfit)?))
}

/// `torch.nn.LayerNorm` over the last dimension, of `size`.
///
/// # Errors
/// When `weight` or `bias` is missing or of another shape.
pub fn layer_norm(weights: &Weights, size: usize, eps: f64) -> Loaded<LayerNorm> {
    let (weight, bias) = (weights.get(&[size], "weight")?, weights.get(&[size], "bias")?);
    Ok(Leaf::new(weights.path(), LayerNorm::new(weight, bias, eps)))
}

/// `torch.nn.Embedding`: ids (…) → (…, `size`).
///
/// # Errors
/// When `weight` is missing or of another shape.
pub fn embedding(weights: &Weights, count: usize, size: usize) -> Loaded<Embedding> {
    Ok(Leaf::new(weights.path(), Embedding::new(weights.get(&[count, size], "weight")?, size)))
}

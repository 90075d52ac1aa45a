//! Leaf layers: candle's layers with their module paths, loaded from [`Weights`].

use super::activation::Activation;
use super::cpu;
use super::cpu::weight::PackedCache;
use super::error::Result;
use super::load_report::Norm;
use super::probe::{Path, Probe, watch};
use super::weights::{Weights, WeightsError};
use candle_core::{D, DType, Module, Tensor};
use candle_nn::Conv2dConfig;
use std::sync::Arc;

type Loaded<M> = std::result::Result<Leaf<M>, WeightsError>;

/// A layer without submodules, at its path.
#[derive(Debug, Clone)]
pub struct Leaf<M> {
    path: Path,
    layer: M,
}

impl<M: Module> Leaf<M> {
    /// The layer at `path`.
    pub fn new(path: Path, layer: M) -> Self {
        Self { path, layer }
    }

    /// Runs the layer. Its output passes through `probe`.
    ///
    /// # Errors
    /// When the shape of `x` does not fit the layer.
    pub fn forward(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[x], |_| Ok(self.layer.forward(x)?))
    }

    /// The layer itself.
    pub fn layer(&self) -> &M {
        &self.layer
    }
}

/// A linear layer.
#[derive(Debug, Clone)]
pub struct Linear {
    linear: candle_nn::Linear,
    /// The weight as the CPU kernels read it.
    packed: Arc<PackedCache>,
}

impl Linear {
    /// From a weight (`outputs`, `inputs`) and a bias (`outputs`).
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { linear: candle_nn::Linear::new(weight, bias), packed: Arc::default() }
    }

    /// The weight: (`outputs`, `inputs`).
    pub fn weight(&self) -> &Tensor {
        self.linear.weight()
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if cpu::supports(x) {
            return cpu::linear::linear(x, self.linear.weight(), self.linear.bias(), &self.packed);
        }
        self.linear.forward(x)
    }
}

/// A convolution.
#[derive(Debug, Clone)]
pub struct Conv2d {
    conv: candle_nn::Conv2d,
    /// The weight as the CPU kernels read it.
    packed: Arc<PackedCache>,
}

impl Conv2d {
    /// From a kernel (`outputs`, `inputs`, `side`, `side`) and a bias (`outputs`).
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Self {
        Self { conv: candle_nn::Conv2d::new(weight, bias, config), packed: Arc::default() }
    }

    /// The kernel: (`outputs`, `inputs`, `side`, `side`).
    pub fn weight(&self) -> &Tensor {
        self.conv.weight()
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Conv2dConfig { stride, padding, .. } = *self.conv.config();
        if cpu::supports(x) {
            let (weight, bias) = (self.conv.weight(), self.conv.bias());
            return cpu::conv::conv2d(x, weight, bias, (stride, padding), &self.packed);
        }
        self.conv.forward(x)
    }
}

/// `torch.nn.GroupNorm`.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    plain: candle_nn::GroupNorm,
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if cpu::supports(x) {
            return cpu::norm::group_norm(x, (&self.weight, &self.bias), self.groups, self.eps, false);
        }
        self.plain.forward(x)
    }
}

impl Leaf<GroupNorm> {
    /// The layer, then `activation`: fused if no probe wants either of them.
    ///
    /// # Errors
    /// As [`forward`](Leaf::forward).
    pub fn forward_then(
        &self,
        activation: &Leaf<Activation>,
        x: &Tensor,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let is_watched = probe.wants(&self.path) || probe.wants(&activation.path);
        if is_watched || activation.layer != Activation::Silu || !cpu::supports(x) {
            return activation.forward(&self.forward(x, probe)?, probe);
        }
        let GroupNorm { weight, bias, groups, eps, .. } = &self.layer;
        Ok(cpu::norm::group_norm(x, (weight, bias), *groups, *eps, true)?)
    }
}

/// `torch.nn.LayerNorm` over the last dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    plain: candle_nn::LayerNorm,
    eps: f64,
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.plain.bias() {
            Some(bias) if cpu::supports(x) => cpu::norm::layer_norm(x, (self.plain.weight(), bias), self.eps),
            _ => self.plain.forward(x),
        }
    }
}

/// `torch.nn.Embedding`.
#[derive(Debug, Clone)]
pub struct Embedding {
    table: candle_nn::Embedding,
    /// The dtype of the output, which may differ from the table's.
    dtype: DType,
    /// The first id of added rows, and the rows (N, `size`), in the dtype of the output.
    added: Option<(u32, Tensor)>,
}

impl Module for Embedding {
    fn forward(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let Some((first, rows)) = &self.added else { return self.table.forward(ids)?.to_dtype(self.dtype) };
        let first = Tensor::full(*first, ids.shape(), ids.device())?.to_dtype(ids.dtype())?;
        let is_added = ids.ge(&first)?;
        let row = (is_added.where_cond(ids, &first)? - &first)?;
        let added =
            rows.embedding(&row.flatten_all()?)?.reshape(([ids.dims(), &rows.dims()[1..]]).concat())?;
        let own = self.table.forward(&is_added.where_cond(&ids.zeros_like()?, ids)?)?.to_dtype(self.dtype)?;
        is_added.unsqueeze(D::Minus1)?.broadcast_as(own.shape())?.where_cond(&added, &own)
    }
}

impl Leaf<Embedding> {
    /// Adds `rows` (N, `size`) for the ids from `first` on. They replace the table's, if it has these ids.
    pub fn add_rows(&mut self, first: u32, rows: Tensor) {
        self.layer.added = Some((first, rows));
    }
}

/// `torch.nn.Linear`: (…, `inputs`) → (…, `outputs`).
///
/// # Errors
/// When `weight` or `bias` is missing or of another shape.
pub fn linear(weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Linear> {
    let (weight, bias) =
        (weights.get_narrow(&[outputs, inputs], "weight")?, weights.get(&[outputs], "bias")?);
    Ok(Leaf::new(weights.path(), Linear::new(weight, Some(bias))))
}

/// `torch.nn.Linear(bias=False)`: (…, `inputs`) → (…, `outputs`).
///
/// # Errors
/// When `weight` is missing or of another shape.
pub fn linear_no_bias(weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Linear> {
    Ok(Leaf::new(weights.path(), Linear::new(weights.get_narrow(&[outputs, inputs], "weight")?, None)))
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
    let weight = weights.get_narrow(&[outputs, inputs, side, side], "weight")?;
    let bias = weights.get(&[outputs], "bias")?;
    weights.report_conv(config);
    Ok(Leaf::new(weights.path(), Conv2d::new(weight, Some(bias), config)))
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
    let plain = candle_nn::GroupNorm::new(weight.clone(), bias.clone(), channels, groups, eps);
    let misfit =
        |_| WeightsError::Groups { file: weights.file().into(), path: weights.path(), groups, channels };
    let plain = plain.map_err(misfit)?;
    weights.report_norm(Norm::Group { groups, eps });
    Ok(Leaf::new(weights.path(), GroupNorm { plain, weight, bias, groups, eps }))
}

/// `torch.nn.LayerNorm` over the last dimension, of `size`.
///
/// # Errors
/// When `weight` or `bias` is missing or of another shape.
pub fn layer_norm(weights: &Weights, size: usize, eps: f64) -> Loaded<LayerNorm> {
    let (weight, bias) = (weights.get(&[size], "weight")?, weights.get(&[size], "bias")?);
    weights.report_norm(Norm::Layer { eps });
    Ok(Leaf::new(weights.path(), LayerNorm { plain: candle_nn::LayerNorm::new(weight, bias, eps), eps }))
}

/// `torch.nn.Embedding`: ids (…) → (…, `size`).
///
/// # Errors
/// When `weight` is missing or of another shape.
pub fn embedding(weights: &Weights, count: usize, size: usize) -> Loaded<Embedding> {
    let table = candle_nn::Embedding::new(weights.get_narrow(&[count, size], "weight")?, size);
    Ok(Leaf::new(weights.path(), Embedding { table, dtype: weights.dtype(), added: None }))
}

//! Layers without submodules, computed from weights so that each part can be changed.

use crate::checkpoint::layout::Precision;
use crate::nn::load_report::Norm;
use crate::nn::{Error, Path, Result};
use crate::pipeline::Models;
use candle_core::{D, DType, Device, Tensor};
use tr::tr;

/// A layer with weights.
#[derive(Debug, Clone)]
pub struct Layer {
    pub kind: Kind,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

/// The kinds of layers with weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Conv,
    Linear,
    Norm(Norm),
}

/// The stride of a convolution of `input` whose output has this shape: 1 or 2.
pub fn stride(input: &Tensor, output: &[usize]) -> usize {
    match (input.dims().last(), output.last()) {
        (Some(&input), Some(&output)) if output > 0 && input >= 2 * output => 2,
        _ => 1,
    }
}

/// The output of the `ResnetBlock2D` at `path`, whose parts are not recorded; `None` if the shapes do not match its weights.
pub fn resnet(models: &Models, path: &str, x: &Tensor, temb: Option<&Tensor>) -> Result<Option<Tensor>> {
    let part = |name: &str| Layer::load(models, &format!("{path}.{name}"));
    let (norm1, conv1) = (part("norm1")?, part("conv1")?);
    let (norm2, conv2) = (part("norm2")?, part("conv2")?);
    let (time_emb_proj, shortcut) = (part("time_emb_proj")?, part("conv_shortcut")?);
    let (Some(norm1), Some(conv1), Some(norm2), Some(conv2)) = (norm1, conv1, norm2, conv2) else {
        return Ok(None);
    };
    let run = || -> candle_core::Result<Tensor> {
        let mut h = conv1.forward(&norm1.forward(x, 1)?.silu()?, 1)?;
        if let (Some(time_emb_proj), Some(temb)) = (&time_emb_proj, temb) {
            let temb = time_emb_proj.forward(&temb.silu()?, 1)?;
            h = h.broadcast_add(&temb.unsqueeze(D::Minus1)?.unsqueeze(D::Minus1)?)?;
        }
        h = conv2.forward(&norm2.forward(&h, 1)?.silu()?, 1)?;
        match &shortcut {
            Some(shortcut) => shortcut.forward(x, 1)? + h,
            None => x + h,
        }
    };
    Ok(run().ok())
}

impl Layer {
    /// The layer at `path` with its weights in `f32` on the CPU; `None` for a module without weights of its own, and for an embedding.
    pub fn load(models: &Models, path: &str) -> Result<Option<Self>> {
        let own = models.parameters.iter().filter(|parameter| parameter.module.as_str() == path);
        let own: Vec<_> = own.collect();
        let Some(first) = own.iter().find(|parameter| parameter.name == "weight") else { return Ok(None) };
        let component = path.split('.').next().unwrap_or(path);
        let failed = |e: &dyn std::fmt::Display| Error::Input(e.to_string());
        let files = models.source.weights(component, Precision::of(models.dtype)).map_err(|e| failed(&e))?;
        let read = |key: &str, shape: &[usize]| -> Result<Tensor> {
            let Some((file, _)) = files.find(key) else { return Err(failed(&key)) };
            let values = file.values(key, 0..usize::MAX).map_err(|e| failed(&e))?;
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        };
        let weight = read(&first.key, &first.shape)?;
        let bias = own.iter().find(|parameter| parameter.name == "bias");
        let bias = bias.map(|bias| read(&bias.key, &bias.shape)).transpose()?;
        let name = path.rsplit('.').next().unwrap_or(path);
        let kind = match (models.norms.get(&Path::new(path)), first.shape.len()) {
            (Some(&norm), _) => Kind::Norm(norm),
            (None, 4) => Kind::Conv,
            (None, 2) if !name.ends_with("embedding") => Kind::Linear,
            _ => return Ok(None),
        };
        Ok(Some(Self { kind, weight, bias }))
    }

    /// The layer in `f64`.
    pub fn widened(self) -> candle_core::Result<Self> {
        let bias = self.bias.map(|bias| bias.to_dtype(DType::F64)).transpose()?;
        Ok(Self { weight: self.weight.to_dtype(DType::F64)?, bias, ..self })
    }

    /// The layer's output; `stride` is a convolution's.
    pub fn forward(&self, x: &Tensor, stride: usize) -> candle_core::Result<Tensor> {
        let biased = |y: Tensor, shape: &[usize]| match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape(shape)?),
            None => Ok(y),
        };
        match self.kind {
            Kind::Conv => {
                let (out, _, kernel, _) = self.weight.dims4()?;
                // A downsampler with a padded input has an odd size here, and no padding of its own.
                let is_padded = stride == 2 && x.dim(D::Minus1)? % 2 == 1;
                let padding = if is_padded { 0 } else { kernel / 2 };
                biased(x.conv2d(&self.weight, padding, stride, 1, 1)?, &[1, out, 1, 1])
            }
            Kind::Linear => {
                // A linear layer may have the weight of a 1×1 convolution.
                let y = x.broadcast_matmul(&self.weight.t()?.contiguous()?)?;
                let bias = self.weight.dim(0)?;
                let shape: Vec<usize> = std::iter::repeat_n(1, y.rank() - 1).chain([bias]).collect();
                biased(y, &shape)
            }
            Kind::Norm(Norm::Group { groups, eps }) => self.group_norm(x, groups, eps),
            Kind::Norm(Norm::Layer { eps }) => self.layer_norm(x, eps),
        }
    }

    /// `torch.nn.GroupNorm` in `f64`: (B, C, …) or a sequence of any rank.
    pub fn group_norm(&self, x: &Tensor, groups: usize, eps: f64) -> candle_core::Result<Tensor> {
        let dims = x.dims().to_vec();
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        if groups == 0 || channels % groups != 0 {
            let message = tr!("{groups} groups do not divide {channels} channels", groups, channels);
            return Err(candle_core::Error::Msg(message));
        }
        let grouped = x.to_dtype(DType::F64)?.reshape((batch, groups, x.elem_count() / batch / groups))?;
        let y = normalized(&grouped, eps)?.reshape(dims.as_slice())?;
        let shape: Vec<usize> = [1, channels].into_iter().chain(dims[2..].iter().map(|_| 1)).collect();
        self.affine(&y, &shape)
    }

    /// `torch.nn.LayerNorm` over the last dimension, in `f64`.
    pub fn layer_norm(&self, x: &Tensor, eps: f64) -> candle_core::Result<Tensor> {
        let y = normalized(&x.to_dtype(DType::F64)?, eps)?;
        let shape: Vec<usize> = std::iter::repeat_n(1, x.rank() - 1).chain([x.dim(D::Minus1)?]).collect();
        self.affine(&y, &shape)
    }

    fn affine(&self, y: &Tensor, shape: &[usize]) -> candle_core::Result<Tensor> {
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.reshape(shape);
        let mut y = y.broadcast_mul(&wide(&self.weight)?)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&wide(bias)?)?;
        }
        y.to_dtype(DType::F32)
    }
}

/// Zero mean and unit variance over the last dimension.
fn normalized(x: &Tensor, eps: f64) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

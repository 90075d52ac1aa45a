//! Activation functions, as PyTorch defines them.

use super::cpu::{self, functions, pointwise};
use super::layers::Leaf;
use super::weights::Weights;
use candle_core::{D, Module, Result, Tensor};

/// An activation as a layer without weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// [`silu`].
    Silu,
    /// [`gelu`], of OpenCLIP and Stable Diffusion 2's text encoder.
    Gelu,
    /// [`quick_gelu`], of OpenAI's CLIP and Stable Diffusion 1's text encoder.
    QuickGelu,
}

impl Activation {
    /// The layer at the path of `weights`. It has no weights.
    pub fn load(self, weights: &Weights) -> Leaf<Self> {
        Leaf::new(weights.path(), self)
    }
}

impl Module for Activation {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => silu(x),
            Self::Gelu => gelu(x),
            Self::QuickGelu => quick_gelu(x),
        }
    }
}

/// `torch.nn.SiLU`: x · sigmoid(x). Any shape.
///
/// # Errors
/// When the device fails.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    if cpu::supports(x) {
        return pointwise::map(x, functions::silu);
    }
    x.silu()
}

/// `torch.nn.GELU()`: x · Φ(x) with the exact error function; candle's own `gelu` is the tanh approximation.
///
/// # Errors
/// When the device fails.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if cpu::supports(x) {
        return pointwise::map(x, functions::gelu);
    }
    x.gelu_erf()
}

/// transformers' `quick_gelu`: x · sigmoid(1.702 x), which OpenAI's CLIP was trained with.
///
/// # Errors
/// When the device fails.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    if cpu::supports(x) {
        return pointwise::map(x, functions::quick_gelu);
    }
    x * candle_nn::ops::sigmoid(&(x * 1.702)?)?
}

/// GEGLU's gate (Shazeer, 2020): the first half of the last dimension times the [`gelu`] of the second: (…, 2 C) → (…, C).
///
/// # Errors
/// When the last dimension is odd, or the device fails.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    if cpu::supports(x) {
        return pointwise::geglu(x);
    }
    let halves = x.chunk(2, D::Minus1)?;
    &halves[0] * gelu(&halves[1].contiguous()?)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_three_at_one() {
        // torch: silu(1) = 0.731058, gelu(1) = 0.841345 (tanh approximation: 0.841192), quick_gelu(1) = 0.845796
        let one = Tensor::new(1f32, &Device::Cpu).unwrap();
        let at_one = |f: fn(&Tensor) -> Result<Tensor>| f(&one).unwrap().to_scalar::<f32>().unwrap();
        assert!((at_one(silu) - 0.731_058_6).abs() < 1e-6);
        assert!((at_one(gelu) - 0.841_344_8).abs() < 1e-6);
        assert!((at_one(quick_gelu) - 0.845_795_75).abs() < 1e-6);
    }
}

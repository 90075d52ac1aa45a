//! CPU layers: parallel, tiled to stay in cache, with few passes over memory.
//!
//! All arithmetic is in `f32`; 16-bit tensors and weights are widened when they are used. Only shapes decide how work is split,
//! so results have the same bits for any number of threads. An empty tensor gives an empty result or an error.
//!
//! - `par`: parallel tasks.
//! - [`gemm`]: matrix products.
//! - [`functions`]: vectorized exp and erf.
//! - [`pointwise`]: element-wise activations.
//! - [`norm`]: group norm and layer norm.
//! - [`linear`]: linear layers.
//! - [`conv`]: convolutions as matrix products; [`winograd`]: 3×3 convolutions with fewer multiplications.
//! - [`attention`]: softmax(q·kᵀ)·v in tiles.

pub mod attention;
pub mod conv;
pub mod functions;
pub mod gemm;
pub mod linear;
pub mod norm;
mod par;
pub mod pointwise;
pub mod weight;
pub mod winograd;

pub use par::ComputePool;

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor};

/// Whether these layers take `x`: on the CPU, in `f32`, `f16` or `bf16`.
pub fn supports(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16)
}

/// Lends `work` the elements of a tensor on the CPU, row-major, as `f32`.
///
/// # Errors
/// If the tensor is on another device, or `work` fails.
pub fn with_f32<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let x = x.to_dtype(DType::F32)?.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        candle_core::bail!("a CPU layer takes a tensor on the CPU, not on {:?}", x.device().location())
    };
    let start = layout.start_offset();
    work(&values[start..start + layout.shape().elem_count()])
}

/// A tensor of `values` in the dtype of `like`.
///
/// # Errors
/// If the number of values does not match `shape`.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use crate::tensor::Generator;
    use crate::tensor::compare::relative_difference;
    use candle_core::{Device, Tensor};

    /// Normally distributed values with mean 0 and variance 1.
    pub fn randn(seed: u64, shape: &[usize]) -> Tensor {
        let values = Generator::manual_seed(seed).randn(shape.iter().product());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Asserts that two tensors have the same shape and that their relative difference is at most `bound`.
    #[track_caller]
    pub fn near(ours: &Tensor, theirs: &Tensor, bound: f64) {
        assert_eq!(ours.dims(), theirs.dims());
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let difference = relative_difference(&values(ours), &values(theirs));
        assert!(difference <= bound, "they differ by {difference:e}");
    }
}

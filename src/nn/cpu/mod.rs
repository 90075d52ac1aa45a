//! The layers on the CPU: on all cores, in tiles that stay near the processor, with as few passes over memory as it takes.
//!
//! Everything is computed in `f32`; tensors and weights of 16 bits are widened where they are used. What a task computes
//! is cut by shape alone: results are the same bits for any number of threads.
//!
//! - `par`: tasks for all cores.
//! - [`gemm`]: products of matrices.
//! - [`functions`]: exp and erf, eight at a time.
//! - [`pointwise`]: activations, number by number.
//! - [`norm`]: group norm and layer norm.
//! - [`linear`]: linear layers.
//! - [`conv`]: convolutions as products; [`winograd`]: those of 3×3 with fewer multiplications.
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

pub use par::Computing;

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor};

/// Whether tensors are computed here: on the CPU, of 32 or 16 bits.
pub fn takes(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16)
}

/// Lends `work` the numbers of a tensor on the CPU, row after row, as `f32`.
///
/// # Errors
/// When it is on another device, or `work` fails.
pub fn with_numbers<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let x = x.to_dtype(DType::F32)?.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(numbers)) = &*storage else {
        candle_core::bail!("computed on the CPU, and the tensor is on {:?}", x.device().location())
    };
    let start = layout.start_offset();
    work(&numbers[start..start + layout.shape().elem_count()])
}

/// A tensor of `numbers` in the dtype of `like`.
///
/// # Errors
/// When there are more or fewer than `shape` says.
pub fn tensor(numbers: Vec<f32>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(numbers, shape.into(), &Device::Cpu)?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use crate::tensor::Generator;
    use crate::tensor::compare::relative_difference;
    use candle_core::{Device, Tensor};

    /// Numbers of mean 0 and variance 1.
    pub fn randn(seed: u64, shape: &[usize]) -> Tensor {
        let numbers = Generator::manual_seed(seed).randn(shape.iter().product());
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    /// Asserts that two tensors have the same shape and are no further apart than `bound`.
    #[track_caller]
    pub fn near(ours: &Tensor, theirs: &Tensor, bound: f64) {
        assert_eq!(ours.dims(), theirs.dims());
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let difference = relative_difference(&values(ours), &values(theirs));
        assert!(difference <= bound, "{difference:e} apart");
    }
}

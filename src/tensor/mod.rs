//! Statistics and helpers for tensors of any kind.
//!
//! - [`bytes`]: byte counts as text.
//! - [`plain`]: a tensor on the host, as shared `f32` values with a shape.
//! - [`summary`]: mean, std, min, max, L2 and the NaN and Inf counts.
//! - [`histogram`]: the distribution of the values.
//! - [`compare`]: relative difference, cosine, PSNR of two tensors.
//! - [`bicubic`]: bicubic interpolation, as in torch.
//! - [`principal`]: principal components of channels.
//! - [`random`]: the random generator of torch on the CPU.

pub mod bicubic;
pub mod bytes;
pub mod compare;
pub mod histogram;
pub mod plain;
pub mod principal;
pub mod random;
pub mod summary;

pub use histogram::Histogram;
pub use plain::PlainTensor;
pub use random::Generator;
pub use summary::{RunningSummary, Summary};

//! What can be said of any tensor, whatever it is for.
//!
//! - [`bytes`]: how many bytes, for people.
//! - [`plain`]: a tensor's values on the host, as shared `f32` with a shape: what leaves the worker.
//! - [`summary`]: mean, std, min, max, L2 and the NaN and Inf counts.
//! - [`histogram`]: how the values are spread.
//! - [`compare`]: relative difference, cosine, PSNR of two tensors.
//! - [`bicubic`]: planes enlarged as torch enlarges them.
//! - [`principal`]: the directions in which channels vary together.
//! - [`random`]: the generator of `torch.randn`, bit for bit in its draws.

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
pub use summary::Summary;

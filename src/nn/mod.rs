//! What a neural network is made of here, and knows nothing of Stable Diffusion.
//!
//! - [`probe`]: the one seam: every named piece of a model or a stage announces itself through it.
//! - [`error`]: why a forward pass stopped.
//! - [`config`]: a checkpoint's JSON files, read strictly.
//! - [`text`]: byte order marks.
//! - [`weights`]: a checkpoint's safetensors files, checked before anything is allocated.
//! - [`links`]: links that lead to no file.
//! - [`layers`]: leaf layers with their names, loaded from weights.
//! - [`device`]: where tensors are computed, and how precisely.
//! - [`activation`]: the activation functions that PyTorch has and candle has otherwise, and as layers.
//! - `cpu`: the same layers on the CPU, on all cores.
//! - [`attention`]: softmax(q·kᵀ)·v over heads.

pub mod activation;
pub mod attention;
pub mod config;
mod cpu;
pub mod device;
pub mod error;
pub mod gpu;
pub mod layers;
pub mod ledger;
pub mod links;
pub mod probe;
pub mod text;
pub mod weights;

pub use config::{ConfigError, ConfigFile};
pub use cpu::ComputePool;
pub use error::{Error, Result};
pub use layers::Leaf;
pub use probe::{Path, Probe, Recorder, Unwatched, watch};
pub use weights::{Weights, WeightsError};

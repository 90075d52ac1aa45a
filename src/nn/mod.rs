//! Layers, weights files and the probe. Nothing here is specific to Stable Diffusion.
//!
//! Functions that take a [`Probe`] also return the errors of the probe; their `# Errors` sections do not repeat this.
//!
//! - [`probe`]: hooks for every module and every stage line.
//! - [`pattern`]: several modules by one name.
//! - [`error`]: why a forward pass stopped.
//! - [`config`]: a checkpoint's JSON files, read strictly.
//! - [`text`]: byte order marks.
//! - [`weights`]: a checkpoint's safetensors files, checked before anything is allocated.
//! - [`load_report`]: the progress of loading; the modules and parameters that were loaded.
//! - [`links`]: dangling symbolic links.
//! - [`layers`]: leaf layers, loaded from weights.
//! - [`device`]: the device and the dtype of a run. [`gpu`]: a GPU's failures.
//! - [`activation`]: activation functions, as PyTorch defines them.
//! - `cpu`: CPU kernels.
//! - [`attention`]: softmax(q·kᵀ)·v over heads.

pub mod activation;
pub mod attention;
pub mod config;
mod cpu;
pub mod device;
pub mod error;
pub mod gpu;
pub mod layers;
pub mod links;
pub mod load_report;
pub mod pattern;
pub mod probe;
pub mod text;
pub mod weights;

pub use config::{ConfigError, ConfigFile};
pub use cpu::ComputePool;
pub use error::{Error, Result};
pub use layers::Leaf;
pub use probe::{Path, Probe, Recorder, Unwatched, watch};
pub use weights::{Weights, WeightsError};

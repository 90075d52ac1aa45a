//! The four stages, and the state machine over them.
//!
//! Functions that take a `Probe` also return its errors; their `# Errors` sections do not repeat this.
//!
//! - [`request`]: the settings of a run, and their errors. [`settings`]: the table of the settings. [`seed`]: the seeds that torch
//!   takes.
//! - [`init_image`]: the start image of a run. [`init_size`]: the size of such a run. [`time_estimate`]: an estimate of its time.
//! - [`models`]: a loaded checkpoint.
//! - [`prediction`]: whether a UNet predicts noise or velocity, found out with one call.
//! - [`preset`]: recommended settings that a checkpoint's files do not contain.
//! - [`memory`]: whether a run fits the memory, checked before anything is allocated.
//! - [`stages`]: `encode_prompt`, `get_latent`, `denoise`, `vae_decode`.
//! - [`lines`]: the paths of stage lines. [`lints`]: what is wrong with a run.
//! - [`snapshot`]: a run between two stages, and [`advance`] from one to the next.
//! - [`lockstep`]: several runs in lockstep, which share computations.
//! - [`fault`]: typical bugs, made on purpose.
//! - [`intervention`]: changes of module outputs. [`loras`]: what LoRAs add to them.
//! - [`attention`]: attention maps. [`ablation`]: the effect of a word.
//! - [`dump`]: every tensor of a run as a safetensors file.

use tr::tr;

pub mod ablation;
pub mod attention;
pub mod dump;
pub mod fault;
pub mod init_image;
pub mod init_size;
pub mod intervention;
pub mod lines;
pub mod lints;
pub mod lockstep;
pub mod loras;
pub mod memory;
pub mod models;
pub mod prediction;
pub mod preset;
pub mod request;
pub mod seed;
pub mod settings;
pub mod snapshot;
pub mod stages;
pub mod time_estimate;

pub use fault::Fault;
pub use init_image::InitImage;
pub use intervention::Intervention;
pub use lockstep::Lockstep;
pub use models::Models;
pub use preset::Preset;
pub use request::{Request, RequestError};
pub use seed::Seed;
pub use settings::Setting;
pub use snapshot::{Snapshot, Stage, StageRecord, advance};

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A stage failed or was interrupted.
    #[error(transparent)]
    Forward(#[from] crate::nn::Error),
    /// The GPU ran out of memory in a stage. Earlier stages stay recorded.
    #[error(transparent)]
    OutOfMemory(Box<memory::NoRoom>),
    /// No stage follows `vae_decode`.
    #[error("{}", tr!(
        "the run is complete: nothing comes after vae_decode; `back` goes back, `restart` begins again"
    ))]
    Complete,
    /// The run was recorded, and nothing computes.
    #[error("{}", tr!(
        "this is a recorded run without weights: it can be looked at, not computed; `diffuscope --model FOLDER` computes"
    ))]
    NoWeights,
    /// The record lacks what is asked for: what that is, and what would record it.
    #[error("{0}")]
    NotRecorded(String),
}

impl From<crate::model::prompt_syntax::PromptError> for Error {
    fn from(error: crate::model::prompt_syntax::PromptError) -> Self {
        Self::Forward(error.into())
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Forward(error.into())
    }
}

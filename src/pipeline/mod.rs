//! The four stages, and the state machine over them.
//!
//! - [`request`]: what a run is asked to do, and what is wrong with it. [`settings`]: the table of its settings. [`seed`]: the seeds
//!   that torch takes.
//! - [`init_image`]: a picture that a run starts from; `picture_format`: those that are not read, by name. [`init_size`]: the
//!   size of such a run. [`expected`]: about how long it takes.
//! - [`models`]: everything that a run computes with, loaded.
//! - [`preset`]: settings that a checkpoint wants and its files do not say.
//! - [`memory`]: whether a run fits the machine, told before anything is allocated.
//! - [`stages`]: `encode_prompt`, `get_latent`, `denoise`, `vae_decode`, as the article has them.
//! - [`lines`]: the names under which a stage's lines announce themselves.
//! - [`snapshot`]: a run between two stages, and [`advance`] from one to the next.
//! - [`lockstep`]: several runs that go on together, and share what they can.
//! - [`fault`]: known mistakes, made on purpose.
//! - [`intervention`]: what a module makes, changed by hand.
//! - [`attention`]: what the words of the prompt are looked at from. [`ablation`]: what a word does.
//! - [`dump`]: every tensor of a run as a safetensors file.

pub mod ablation;
pub mod attention;
pub mod dump;
pub mod expected;
pub mod fault;
pub mod init_image;
pub mod init_size;
pub mod intervention;
pub mod lines;
pub mod lockstep;
pub mod memory;
pub mod models;
mod picture_format;
pub mod preset;
pub mod request;
pub mod seed;
pub mod settings;
pub mod snapshot;
pub mod stages;

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
    /// A stage stopped before its end.
    #[error(transparent)]
    Forward(#[from] crate::nn::Error),
    /// The GPU's memory did not last for a stage. What was recorded before is kept.
    #[error(transparent)]
    OutOfMemory(Box<memory::NoRoom>),
    /// There is nothing behind `vae_decode`.
    #[error("the run is complete: nothing comes after vae_decode; `back` goes back, `restart` begins again")]
    Complete,
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Forward(error.into())
    }
}

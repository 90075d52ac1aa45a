//! Checkpoints: their sources, their kinds, and their files.
//!
//! - [`source`]: a checkpoint that is bundled, in a folder, in the hub's cache, or in one file.
//! - [`single`]: a checkpoint in one file, in the original layout. [`changed`]: a checkpoint with another VAE or prediction type.
//! - [`embedding`]: the vectors of a new word (textual inversion). [`lora`]: changes of modules (LoRA).
//! - [`hub`]: models from the Hugging Face hub.
//! - [`kind`]: supported pipelines, and descriptions of others.
//! - [`layout`]: the names of weights files, and which of them are read. [`unread`]: tensors that are not read.
//! - [`inventory`]: the contents of a checkpoint, read from headers.

pub mod changed;
pub mod embedding;
mod error;
mod folder;
pub mod hub;
pub mod inventory;
pub mod kind;
pub mod layout;
pub mod lora;
pub mod single;
mod small_files;
pub mod source;
pub mod unread;

pub use error::{LoadError, NoRoom};
pub use source::ModelSource;

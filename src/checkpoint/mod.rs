//! Checkpoints: their sources, their kinds, and their files.
//!
//! - [`source`]: a checkpoint that is bundled, in a folder, or in the hub's cache.
//! - [`hub`]: models from the Hugging Face hub.
//! - [`kind`]: supported pipelines, and descriptions of others.
//! - [`layout`]: the names of weights files, and which of them are read. [`unread`]: tensors that are not read.
//! - [`inventory`]: the contents of a checkpoint, read from headers.

mod error;
pub mod hub;
pub mod inventory;
pub mod kind;
pub mod layout;
pub mod source;
pub mod unread;

pub use error::{LoadError, NoRoom};
pub use source::ModelSource;

//! Checkpoints: where they come from, what kind they are, and which files they have.
//!
//! - [`source`]: a checkpoint in the program itself, in a folder, or in the hub's cache.
//! - [`hub`]: models from the Hugging Face hub.
//! - [`kind`]: which pipelines run here, and what the others are.
//! - [`layout`]: the files of a component's weights, by every name, and which of them is read. [`unread`]: what is not read.
//! - [`inventory`]: what a checkpoint holds, read from the headers of its weights files.

mod error;
pub mod hub;
pub mod inventory;
pub mod kind;
pub mod layout;
pub mod source;
pub mod unread;

pub use error::{LoadError, NoRoom};
pub use source::ModelSource;

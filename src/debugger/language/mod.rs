//! The command language: the commands of keys, console lines, lessons and batch files.
//!
//! - [`verbs`]: the verbs, an entry each, and the enum [`Command`](command::Command) that follows from them. [`verb`]: what an entry
//!   says. [`arguments`]: the types of what follows a verb. [`command`]: a line, parsed.
//! - [`place`]: where to stop. [`preview`]: which steps the VAE decodes.
//! - [`attention`]: which word or point, and where. [`features`]: which feature maps. [`lora`]: what a LoRA does. [`plan`]: what a comparison varies.
//! - [`edit`]: a tensor changed by hand. [`intervention`]: a module's output changed by hand.
//! - [`glossary`]: words, explained.
//! - [`complete`]: completion of a line that is being typed.

pub mod arguments;
pub mod attention;
pub mod command;
pub mod complete;
pub mod edit;
pub mod features;
pub mod glossary;
pub mod intervention;
pub mod lora;
pub mod place;
pub mod plan;
pub mod preview;
pub mod verb;
pub mod verbs;

//! diffuscope: a step-through debugger and visualizer for Stable Diffusion in a terminal.
//!
//! One crate, in rooms. A room uses only rooms listed before it:
//!
//! - [`phrase`]: texts of tables, which are translated where they are shown.
//! - [`tensor`]: statistics of tensors, and torch's random generator.
//! - [`nn`]: layers, weights files and the probe.
//! - [`checkpoint`]: checkpoints in folders and on the Hugging Face hub.
//! - [`model`]: CLIP's text encoder and tokenizer, the UNet, the VAE.
//! - [`scheduler`]: ten schedulers.
//! - [`pipeline`]: the four stages, and the state machine over them.
//! - [`picture`]: tensors as images.
//! - [`trace`]: a run recorded on disk by any program; two runs compared.
//! - [`debugger`]: timelines, breakpoints, expressions, commands, and the thread that computes.
//! - [`lesson`]: lessons that the debugger runs.
//! - [`tui`]: the interface.
//! - [`cli`]: the subcommands.

pub mod checkpoint;
pub mod cli;
pub mod debugger;
pub mod lesson;
pub mod model;
pub mod nn;
pub mod phrase;
pub mod picture;
pub mod pipeline;
pub mod scheduler;
pub mod tensor;
pub mod trace;
pub mod tui;

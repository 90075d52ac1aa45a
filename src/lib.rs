//! diffuscope: a step-through debugger and visualizer for Stable Diffusion that lives in a terminal.
//!
//! One crate, rooms from the ground up; a room uses the rooms above it in this list, never one below:
//!
//! - [`tensor`]: what can be said of any tensor, and the torch-compatible random generator.
//! - [`nn`]: layers, weights files and the probe seam.
//! - [`model`]: CLIP's text encoder, the UNet, the VAE, the tokenizer, and where weights come from.
//! - [`scheduler`]: how noise is taken off, by DDIM.
//! - [`pipeline`]: the four stages and the state machine over them.
//! - [`picture`]: tensors as images.
//! - [`debugger`]: timelines, breakpoints, expressions, commands, and the thread that computes.
//! - [`lesson`]: lessons that the debugger carries out.
//! - [`tui`]: the interface.
//! - [`cli`]: the subcommands.

pub mod checkpoint;
pub mod cli;
pub mod debugger;
pub mod lesson;
pub mod model;
pub mod nn;
pub mod picture;
pub mod pipeline;
pub mod scheduler;
pub mod tensor;
pub mod tui;

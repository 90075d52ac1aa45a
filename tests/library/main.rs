//! Tests through the library: models, runs, the debugger, lessons.
//!
//! - [`parity`]: every number against diffusers' and transformers' own.
//! - [`probe`], [`weights`], [`bad_checkpoints`]: modules and what they are loaded from.
//! - [`session`], [`worker`], [`forks`], [`lockstep`], [`stepping`], [`inside`], [`interventions`], [`examine`], [`attention`],
//!   [`img2img`], [`schedulers`]: the debugger, a subject a file.
//! - [`single_files`]: checkpoints in one file. [`lora`]: low-rank changes of a checkpoint.
//! - [`traces`], [`trace_candle`], [`trace_mistakes`], [`trace_names`]: runs on disk, compared. [`recorded`]: runs on disk, opened.
//! - [`lesson`]: lessons are true.
//! - [`models`], [`fixture`], [`differences`]: what these tests share.
//!
//! `cargo test --release --test library forks::` runs one file.

mod attention;
mod bad_checkpoints;
mod differences;
mod examine;
mod fixture;
mod forks;
mod img2img;
mod inside;
mod interventions;
mod lesson;
mod lockstep;
mod lora;
mod models;
mod parity;
mod probe;
mod recorded;
mod schedulers;
mod session;
mod single_files;
mod stepping;
#[path = "../support/mod.rs"]
mod support;
mod trace_candle;
mod trace_mistakes;
mod trace_names;
mod traces;
mod weights;
mod worker;

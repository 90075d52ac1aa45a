//! Tests through the program, run as a user runs it: its output, exit codes, files and screen.
//!
//! - [`walk`], [`compare`], [`seeds`], [`settings`], [`doctor`]: what the subcommands do.
//! - [`config`]: settings, completions, man pages, exit codes.
//! - [`from`]: the settings of a picture.
//! - [`files`], [`public_checkpoints`], [`byte_order_mark`], [`hub`], [`hub_cache`]: checkpoints on disk and from the hub.
//! - [`single_files`]: checkpoints in one file.
//! - [`hf_hub`]: what the library for the hub does by itself, where the program has code of its own.
//! - [`bad_input`], [`nothing_gets_through`]: mistakes, and what an error says.
//! - [`traces`]: runs on disk, compared. [`recorded`]: runs on disk, opened.
//! - [`terminal`]: the interface in a pseudo-terminal.
//! - [`hub_server`], [`hub_layouts`]: a hub on loopback that misbehaves on request, and the cache in each of Python's layouts.
//!
//! Each run is a process with its own environment and folder. `cargo test --release --test program hub::` runs one file.

mod bad_input;
mod byte_order_mark;
mod compare;
mod config;
mod doctor;
mod files;
mod first_minutes;
mod from;
mod hf_hub;
mod hub;
mod hub_cache;
mod hub_layouts;
mod hub_server;
mod nothing_gets_through;
mod prompts;
mod public_checkpoints;
mod recorded;
mod seeds;
mod settings;
mod single_files;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod traces;
mod walk;

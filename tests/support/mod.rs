//! What both test programs share. `tools/fixtures/README.md` says what the fixtures hold and how they were made.
//!
//! - [`fixture`]: files of `tests/fixtures/`, which hold what diffusers computed.
//! - [`formula`]: weights that follow from names alone.
//! - [`checkpoint`]: whole checkpoint folders made of them, to load or to break.
//! - [`single`]: checkpoints in one file.
//! - [`program`]: the real binary, run as a user runs it.

pub mod checkpoint;
pub mod fixture;
pub mod formula;
pub mod program;
pub mod single;

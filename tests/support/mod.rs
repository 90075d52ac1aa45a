//! What the tests share. `tools/fixtures/README.md` says what the fixtures hold and how they were made.
//!
//! - [`fixture`]: what diffusers computed, out of `tests/fixtures/`.
//! - [`formula`]: weights that follow from names alone.
//! - [`checkpoint`]: whole checkpoint folders made of them, to load, or to break first.
//! - [`hub`]: a hub on loopback that can be told to misbehave.
//! - [`cache`]: caches as Python leaves them, in each of its layouts.
//! - [`compare`]: assertions on tensors that say by how much they failed.

#![allow(dead_code, reason = "every test is a program of its own and uses only some of this")]

pub mod cache;
pub mod checkpoint;
pub mod compare;
pub mod fixture;
pub mod formula;
pub mod hub;

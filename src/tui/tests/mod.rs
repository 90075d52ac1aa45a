//! The whole application, driven by what comes in.

mod fake;
mod random;
mod screens;

//! The interface without a terminal: its screens as text, and arbitrary inputs.

mod attention;
mod charts;
mod difference;
mod keys;
mod lesson;
mod model;
mod prompt;
mod random;
mod recorded;
mod residuals;
mod runs;
mod scheduler;
mod screen;
mod screens;
mod source;
mod tensors;
mod translation;
mod typing;

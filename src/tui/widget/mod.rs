//! Small parts of a screen that know nothing of the application: they are given numbers and draw them.
//!
//! - [`plot`]: lines over steps.
//! - [`bars`]: histograms, in one row and in many.
//! - [`heat`]: numbers as colours, and the scale that says which.

pub mod bars;
pub mod heat;
pub mod plot;

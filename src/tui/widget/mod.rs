//! Widgets that know nothing of the application: they draw the numbers that they are given.
//!
//! - [`plot`]: lines over steps.
//! - [`bars`]: histograms of one row or several.
//! - [`heat`]: numbers as colours, and the colour scale.

pub mod bars;
pub mod heat;
pub mod plot;

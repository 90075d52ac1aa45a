//! The command language: what a key, a line of the console, a lesson or a batch file says.
//!
//! - [`verbs`]: its words. [`command`]: a parsed line. `arguments`: the parsers of what follows a verb.
//! - [`place`]: where to stop. [`setting`]: what `set` changes. [`pattern`]: several modules by one name.
//! - [`attention`]: which word or point, and where. [`features`]: which feature maps. [`plan`]: what a comparison varies.
//! - [`edit`]: a tensor changed by hand. [`intervention`]: a module's output changed by hand.
//! - [`complete`]: completion of a line that is being typed.

mod arguments;
pub mod attention;
pub mod command;
pub mod complete;
pub mod edit;
pub mod features;
pub mod intervention;
pub mod pattern;
pub mod place;
pub mod plan;
pub mod setting;
pub mod verbs;

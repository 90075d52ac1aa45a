//! The debugger: a timeline of snapshots, a cursor on it, and the commands that move and question it.
//!
//! - [`command`]: the one command language: what a key does, what is typed, and what a batch file holds; `arguments` parses what stands behind a verb.
//! - [`operand`]: what its commands are about. [`verbs`]: its words; [`complete`]: what a line being typed can go on with.
//! - [`expression`]: conditions and values, in CEL; [`scope`]: what they can ask for; [`value`] is a tensor in them, [`part`] a part of
//!   one. `syntax` tells
//!   what is wrong with one.
//! - [`attention`]: which word or point is looked at, and where. [`word`]: a word of the prompt, as tokens.
//! - [`edit`]: a tensor changed by hand; [`meddle`]: what a module makes, changed by hand.
//! - [`breakpoint`]: where to stop.
//! - [`timeline`]: what is recorded of a run, and the cursor. [`timelines`]: the tree of them.
//! - [`comparison`]: several timelines that go on together.
//! - [`session`]: a command carried out.
//! - [`inside`]: a stage that is stepped through; [`source`]: its code.
//! - [`report`]: what a command shows, as text and as JSON; [`attended`] of attention.
//! - [`module`]: what is known of a module by its path; [`pattern`]: several named at once; [`rerun`]: what one made, computed again.
//! - [`examine`]: what is found inside of a stage that is recorded, by running it again.
//! - [`view`]: all that an interface shows of the moment, as plain numbers and pictures.
//! - [`worker`]: the thread that owns the models.

pub mod expr;
pub mod host;
pub mod inspect;
pub mod language;
pub mod outcome;
pub mod prompt;
pub mod record;
pub mod replay;
pub mod stepping;

pub mod session;
pub mod source;
pub mod text;
pub mod timeline;
pub mod view;
pub mod worker;

pub use inspect::{Asked, Examination, Examined};
pub use language::command::Command;
pub use outcome::Outcome;
pub use record::TensorRow;
pub use session::{Session, SessionError};
pub use timeline::Timeline;
pub use timeline::tree::Timelines;
pub use view::View;
pub use worker::{Event, Order, Preview, Worker};

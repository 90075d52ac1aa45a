//! The debugger: timelines of snapshots, a cursor, and the commands that move it and look.
//!
//! Its rooms, lowest first; a room uses only rooms before it:
//! - `text`: words of a line, shapes, numbers and tables. [`host`]: the program around a run.
//! - [`source`]: source code of stages and modules. [`prompt`]: a prompt as tokens.
//! - [`expr`]: expressions in CEL. [`language`]: the command language.
//! - [`backend`]: what a session runs on: loaded models, or a recorded run.
//! - [`timeline`]: what is recorded, the tree of timelines, comparisons.
//! - [`stepping`]: a stage that runs step by step. [`replay`]: a recorded stage run again.
//! - [`record`]: a recorded stage as plain numbers and pictures. [`inspect`]: queries about its inside.
//! - [`outcome`]: what a command shows. [`session`]: one command carried out.
//! - [`view`]: everything that an interface shows. [`worker`]: the thread that owns the models.

pub mod backend;
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

pub use backend::Backend;
pub use inspect::{Examination, InspectQuery, Inspection};
pub use language::command::{Command, CommandLine};
pub use outcome::Outcome;
pub use record::TensorRow;
pub use session::{Session, SessionError};
pub use timeline::Timeline;
pub use timeline::tree::TimelineTree;
pub use view::View;
pub use worker::{Event, Order, Preview, Worker};

//! What goes to the worker and what comes from it.

use crate::debugger::expr::{Answer, Expression};
use crate::debugger::inspect::{Examination, Inspection};
use crate::debugger::language::command::CommandLine;
use crate::debugger::outcome::Outcome;
use crate::debugger::record::{NamedPicture, RecordId};
use crate::debugger::view::{ModelLine, View};
use crate::pipeline::Stage;
use std::sync::Arc;

/// What the worker is asked for.
#[derive(Debug)]
pub enum Order {
    /// A command.
    Command(CommandLine),
    /// Pictures that the VAE decodes while no command waits, in order; pictures of an earlier order that are not among them are
    /// dropped.
    Previews(Vec<Preview>),
    /// Queries about the inside of recorded stages, answered while no command waits, in order; queries of an earlier order that are
    /// not among them are dropped.
    Examine(Vec<Examination>),
    /// To move the cursor to where this number of recorded stages is done; of a comparison, of ticks.
    Look(usize),
    /// To evaluate expressions where the session stands. The number comes back with the answers.
    Evaluate(usize, Vec<Expression>),
    /// To remember where the session stands.
    Mark,
    /// To go back to where it stood at the last `Mark`.
    ComeBack,
    /// To panic as a fault of the program's own would, for tests.
    Panic,
    /// To end.
    Quit,
}

/// A picture that the VAE is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Preview {
    /// The record that the tensor is in.
    pub record: RecordId,
    /// The tensor: one of [`decodable`](crate::debugger::record::decodable).
    pub name: &'static str,
}

/// What the worker reports.
#[derive(Debug)]
pub enum Event {
    /// The models are there, and this is where the session stands.
    Ready(ModelLine, Box<View>),
    /// The models could not be loaded, in a line. The worker has ended.
    LoadFailed(String),
    /// A command began.
    Started(String),
    /// Part of the models is read.
    Loading {
        /// Bytes read.
        read: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A line of a stage is running: `denoise 3: unet`.
    Progress(Stage, &'static str),
    /// Modules of the stage have run.
    Modules {
        /// Modules that ran, with the current one.
        done: usize,
        /// Modules in all; `None` where that is not known, as of several runs that advance together.
        total: Option<usize>,
        /// The current one.
        path: String,
    },
    /// A stage is done in the middle of a command.
    StageDone(Box<View>),
    /// The cursor was moved.
    Looked(Box<View>),
    /// A command is done.
    Done(Box<Outcome>, Box<View>),
    /// A command was not carried out, or ended early.
    Failed {
        /// The command.
        command: String,
        /// Why, in a line.
        error: String,
        /// Where the session stands.
        view: Option<Box<View>>,
    },
    /// What expressions come to, or why they have no value, in their order.
    Evaluated(usize, Vec<Result<Answer, String>>),
    /// The answer to a query, or why there is none.
    Inspected(Examination, Result<Arc<Inspection>, String>),
    /// The VAE's own picture of a tensor, better than the instant one.
    Preview {
        /// The record that the tensor is in.
        record: RecordId,
        /// The picture.
        picture: NamedPicture,
    },
}

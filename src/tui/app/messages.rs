//! The inputs of the application and its effects.

use super::super::Error;
use crate::debugger::expr::Expression;
use crate::debugger::{CommandLine, Event, Examination, Preview};
use crate::lesson::LessonProgress;
use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Size;
use std::time::Instant;

/// Inputs, from the terminal and from the worker.
#[derive(Debug)]
pub enum Input {
    /// A key press.
    Key(KeyEvent),
    /// A mouse event and its time.
    Mouse(MouseEvent, Instant),
    /// Pasted text.
    Paste(String),
    /// The terminal was resized.
    Resize(Size),
    /// Time has passed; the current time.
    Tick(Instant),
    /// An event of the worker.
    Worker(Event),
    /// The worker has ended.
    WorkerGone,
    /// The terminal gives no more input, and the reason.
    Closed(String),
    /// The system requests the program to end, by this signal.
    Signal(i32),
    /// The system requests the program to suspend.
    Suspend,
    /// The program was resumed.
    Continued,
    /// A better rendering of a picture is ready.
    Drawn,
}

/// What the caller must do.
#[derive(Debug)]
pub enum Effect {
    /// Send a command to the worker.
    Order(CommandLine),
    /// Have the worker show a place: a number of finished stages; in a comparison, of ticks.
    Look(usize),
    /// Have the worker panic, for tests.
    Panic,
    /// Request pictures from the VAE, replacing the last request.
    Previews(Vec<Preview>),
    /// Request inspections from the worker, replacing the last request.
    Examine(Vec<Examination>),
    /// Have the worker evaluate expressions; the answer carries the number.
    Evaluate(usize, Vec<Expression>),
    /// Have the worker remember the session's position.
    Mark,
    /// Have the worker return to the remembered position.
    ComeBack,
    /// Store the user's progress in the lesson.
    Keep(LessonProgress),
    /// Interrupt the worker's command.
    Interrupt,
    /// Redraw the whole screen.
    Redraw,
    /// Add a line to the history.
    Remember(String),
    /// Copy a text to the terminal's clipboard.
    Copy(String),
    /// Capture the mouse, or release it.
    Mouse(bool),
    /// Suspend the program until the shell resumes it.
    Suspend,
    /// Capture the terminal again.
    Retake,
    /// End the program, at the user's request or because of an error.
    End(Result<(), Error>),
}

//! The inputs of the application and its effects.

use super::super::Error;
use crate::debugger::expr::Expression;
use crate::debugger::{CommandLine, Event, Examination, Preview};
use crate::lesson::LessonProgress;
use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Size;
use std::time::Instant;

/// What comes in, from the terminal and from the worker.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// The mouse, and when.
    Mouse(MouseEvent, Instant),
    /// Text that was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(Size),
    /// Time has passed, and it is now so late.
    Tick(Instant),
    /// What the worker tells.
    Worker(Event),
    /// The worker has ended.
    WorkerGone,
    /// The terminal gives no more input, and why.
    Closed(String),
    /// The system asks the program to end, by this signal.
    Signal(i32),
    /// The system asks the program to stop until it is told to go on.
    Suspend,
    /// The program goes on after it was stopped.
    Continued,
    /// A picture can be drawn better than it was.
    Drawn,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// The worker is given a command.
    Order(CommandLine),
    /// The worker looks at a place: where so many stages are done, of a comparison so many ticks.
    Look(usize),
    /// The worker panics, for tests.
    Panic,
    /// The VAE is asked for pictures, in the place of those that it was asked for before.
    Previews(Vec<Preview>),
    /// The worker is asked of the inside of stages, in the place of what it was asked before.
    Examine(Vec<Examination>),
    /// The worker evaluates expressions, and tells them with the number.
    Evaluate(usize, Vec<Expression>),
    /// The worker notes where the session stands.
    Mark,
    /// The worker goes back to where it stood then.
    ComeBack,
    /// It is kept how far the reader is in the lesson.
    Keep(LessonProgress),
    /// The worker's command is interrupted.
    Interrupt,
    /// The screen is drawn anew from nothing.
    Redraw,
    /// A line is kept in the history.
    Remember(String),
    /// A text is put on the terminal's clipboard.
    Copy(String),
    /// The mouse is taken, or left to the terminal.
    Mouse(bool),
    /// The program stops until the shell has it go on.
    Suspend,
    /// The terminal is taken over once more.
    Retake,
    /// The program ends: as the reader wished, or because of an error.
    End(Result<(), Error>),
}

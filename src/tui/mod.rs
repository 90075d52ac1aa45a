//! The interface: a [ratatui](https://ratatui.rs) application that shows the run's position and its results.
//!
//! - [`app`]: inputs → new state and effects; it changes nothing outside.
//! - [`state`]: the session's state, apart from how it is shown; [`view`] draws it.
//! - [`keymap`]: keys and their actions; most are a line of the command language.
//! - [`mod@line`] and [`page`]: the input line and a page of text.
//! - [`canvas`]: what a view draws with.
//! - [`clock`]: when the next tick is due.
//! - [`completion`] and [`history`] of the console.
//! - [`pictures`]: pictures in the terminal; [`previews`]: those that the VAE decoded. [`findings`]: inspection
//!   results.
//! - [`terminal`]: captured, and restored however the program ends.
//! - [`theme`]: every colour; [`depth`]: reduction to fewer colours. [`config`]: the user's settings.
//! - [`text`]: text from outside, made safe for a screen.
//!
//! It knows no models: the worker of [`crate::debugger`] sends plain numbers and pictures.

pub mod app;
pub mod canvas;
pub mod clock;
pub mod completion;
pub mod config;
pub mod depth;
pub mod findings;
pub mod history;
pub mod keymap;
pub mod line;
mod list;
pub mod page;
pub mod pictures;
pub mod previews;
pub mod state;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod view;
pub mod widget;

#[cfg(test)]
mod tests;

use crate::debugger::session::Session;
use crate::debugger::{Order, Worker};
use crate::lesson::{LessonProgress, Progress, Reading};
use crate::nn::load_report::ProgressFn;
use app::{App, Effect, Input};
use clock::Clock;
use config::Config;
use history::History;
use pictures::{Graphics, Pictures};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use terminal::Screen;
use tr::tr;

/// Why the interface ended, other than by the user's request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The terminal cannot be drawn on.
    #[error("{}", tr!(
        "the interface needs a terminal: {0}; `diffuscope debug --batch -x FILE` needs none",
        .0
    ))]
    Terminal(#[from] io::Error),
    /// The terminal gives no more input.
    #[error("{}", tr!("the terminal cannot be read: {0}", .0))]
    Input(String),
    /// The user's own keys are invalid.
    #[error(transparent)]
    Keys(#[from] keymap::KeymapError),
    /// The models could not be loaded.
    #[error("{0}")]
    Load(String),
    /// The worker thread has ended.
    #[error("{}", tr!("the worker thread has ended; its message is above"))]
    Worker,
    /// The system asked the program to end.
    #[error("{}", tr!("ended by signal {0}", .0))]
    Signal(i32),
}

impl Error {
    /// The program's exit code; after a signal, 128 plus its number, as shells do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Signal(signal) => u8::try_from(*signal).map_or(1, |signal| signal.saturating_add(128)),
            _ => 1,
        }
    }
}

/// An environment variable for tests: the program then obeys `panic worker` and `panic drawing`.
const OBEY_PANICS: &str = "DIFFUSCOPE_OBEY_PANICS";

/// A lesson that is shown beside the views.
#[derive(Debug)]
pub struct Study {
    /// The lesson, at the user's position.
    pub reading: Reading,
    /// The lesson's name in the stored progress.
    pub name: String,
    /// The store of the user's progress.
    pub progress: Progress,
    /// What is wrong with the stored progress.
    pub warning: Option<String>,
}

/// Runs the interface until the user quits, with or without a lesson, and restores the terminal. The first frame is
/// drawn before `load`, which makes the session on the worker thread.
///
/// # Errors
/// [`Error`]: why it ended.
pub fn run(
    config: Config,
    study: Option<Study>,
    load: impl FnOnce(ProgressFn) -> Result<Session, String> + Send + 'static,
) -> Result<(), Error> {
    let mut screen = Screen::open()?;
    let mut app = App::new(screen.size()?);
    app.depth = config.depth();
    app.theme = config.theme.theme(app.depth);
    app.keymap = config.keymap()?;
    app.mouse = config.mouse;
    app.obeys_panics = std::env::var_os(OBEY_PANICS).is_some();
    screen.take_mouse(app.mouse)?;
    let history = History::of_reader();
    app.history = history.lines();
    let keeping = study.map(|Study { reading, name, progress, warning }| {
        app.open_lesson(reading);
        warning.iter().for_each(|warning| app.warn(warning));
        move |standing: &LessonProgress| progress.store(&name, standing)
    });
    let mut pictures = Pictures::new(Graphics::HalfBlocks);
    screen.draw(&mut app, &mut pictures)?;

    let (inputs, inbox) = channel();
    terminal::forward_signals(inputs.clone())?;
    let worker = spawn_worker(load, inputs.clone());
    // Detects the terminal's abilities while the models load, and before its keys are read.
    let drawn = inputs.clone();
    pictures = Pictures::waking(Graphics::detect(config.graphics), move || {
        // The receiver is gone when the interface has ended.
        let _ = drawn.send(Input::Drawn);
    });
    app.graphics = pictures.graphics().name();
    terminal::forward_keys(inputs);

    let keep = |standing: &LessonProgress| keeping.as_ref().map_or(Ok(()), |keep| keep(standing));
    let kept = Kept { history, lesson: &keep };
    let result = serve(&mut app, &mut screen, &mut pictures, &worker, &kept, &inbox);
    drop(screen);
    if app.is_loading() {
        // Loading cannot be interrupted, and a user who quits need not wait for it: the thread ends with the program.
        std::mem::forget(worker);
    }
    result
}

/// Reports that the worker has ended, for whatever reason.
struct Gone(Sender<Input>);

impl Drop for Gone {
    fn drop(&mut self) {
        // The receiver is gone when the interface ended first.
        let _ = self.0.send(Input::WorkerGone);
    }
}

fn spawn_worker(
    load: impl FnOnce(ProgressFn) -> Result<Session, String> + Send + 'static,
    inputs: Sender<Input>,
) -> Worker {
    let gone = Gone(inputs);
    Worker::spawn(load, move |event| {
        let _ = gone.0.send(Input::Worker(event));
    })
}

/// At most this many inputs are handled between two frames.
const BETWEEN_FRAMES: usize = 64;

/// The next input; `None` when none arrives within `patience`.
fn next(inbox: &Receiver<Input>, patience: Option<Duration>) -> Result<Option<Input>, Error> {
    // The thread that reads keys holds a sender until the terminal is closed, and reports that.
    let closed = || Error::Input(tr!("the thread that reads it has ended"));
    match patience {
        None => inbox.recv().map(Some).map_err(|_| closed()),
        Some(patience) => match inbox.recv_timeout(patience) {
            Ok(input) => Ok(Some(input)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(closed()),
        },
    }
}

/// State that outlives the program.
struct Kept<'a> {
    history: History,
    /// Stores the user's progress in the lesson.
    lesson: &'a dyn Fn(&LessonProgress) -> io::Result<()>,
}

fn serve(
    app: &mut App,
    screen: &mut Screen,
    pictures: &mut Pictures,
    worker: &Worker,
    kept: &Kept<'_>,
    inbox: &Receiver<Input>,
) -> Result<(), Error> {
    let mut clock = Clock::default();
    loop {
        screen.draw(app, pictures)?;
        let first = next(inbox, clock.left(app.patience(), Instant::now()))?;
        let mut inputs: Vec<Input> = first.into_iter().chain(inbox.try_iter().take(BETWEEN_FRAMES)).collect();
        let now = Instant::now();
        inputs.extend(clock.is_due(now).then_some(Input::Tick(now)));
        for input in inputs {
            for effect in app.handle(input) {
                match effect {
                    #[cfg(unix)]
                    Effect::Suspend => {
                        screen.suspend()?;
                        // The window may have been resized meanwhile.
                        app.size = screen.size()?;
                        pictures.forget();
                    }
                    #[cfg(not(unix))]
                    Effect::Suspend => {}
                    Effect::Retake => {
                        screen.retake()?;
                        app.size = screen.size()?;
                        pictures.forget();
                    }
                    Effect::Order(line) => {
                        // A worker that has ended reports that itself, through the inbox.
                        worker.order(Order::Command(line));
                    }
                    Effect::Look(place) => {
                        worker.order(Order::Look(place));
                    }
                    Effect::Panic => {
                        worker.order(Order::Panic);
                    }
                    Effect::Previews(previews) => {
                        worker.order(Order::Previews(previews));
                    }
                    Effect::Examine(examinations) => {
                        worker.order(Order::Examine(examinations));
                    }
                    Effect::Evaluate(number, expressions) => {
                        worker.order(Order::Evaluate(number, expressions));
                    }
                    Effect::Mark => {
                        worker.order(Order::Mark);
                    }
                    Effect::ComeBack => {
                        worker.order(Order::ComeBack);
                    }
                    Effect::Keep(standing) => {
                        if let Err(e) = (kept.lesson)(&standing) {
                            app.warn(&tr!("your progress in the lesson is not saved: {e}", e));
                        }
                    }
                    Effect::Remember(line) => kept.history.add(&line),
                    Effect::Copy(text) => screen.copy(&text)?,
                    Effect::Mouse(ours) => screen.take_mouse(ours)?,
                    Effect::Interrupt => worker.interrupt(),
                    Effect::Redraw => {
                        pictures.forget();
                        screen.clear()?;
                    }
                    Effect::End(result) => return result,
                }
            }
        }
    }
}

//! What watches and stops a computation of the worker: the signals from outside, and the probes that ask them.

use super::Event;
use crate::debugger::host::Host;
use crate::debugger::session::{Session, SessionHost};
use crate::debugger::view::Viewer;
use crate::nn::attention::ATTENTION_PROBS;
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline::{Stage, lines};
use candle_core::Tensor;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What stops a computation from outside. Orders are numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The number of the last order that was given.
    pub given: AtomicUsize,
    /// The number of the last order that was taken up: the current one.
    pub taken: AtomicUsize,
    /// Orders up to this one shall stop.
    pub interrupted: AtomicUsize,
    /// The handle is gone: everything shall stop.
    pub closing: AtomicBool,
}

impl Signals {
    /// Whether the current command shall stop.
    fn stops(&self) -> bool {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        interrupted >= self.taken.load(Ordering::Relaxed) || self.closing.load(Ordering::Relaxed)
    }

    /// Whether an order waits: work in the background gives way to it.
    fn is_awaited(&self) -> bool {
        self.given.load(Ordering::Relaxed) > self.taken.load(Ordering::Relaxed)
    }
}

/// Watches a command: reports which line and which modules run, and stops it when asked.
pub(super) struct Foreground<'a> {
    pub viewer: &'a mut Viewer,
    pub signals: &'a Signals,
    pub tell: RefCell<&'a mut (dyn FnMut(Event) + Send)>,
    pub stage: Stage,
    pub modules: Modules,
}

/// Gives `with` the probe under which a command runs `stage` while nothing stops it, so that its cost can be measured.
pub fn as_a_command(stage: Stage, with: impl FnOnce(&mut dyn SessionHost)) {
    let signals = Signals { taken: AtomicUsize::new(1), ..Signals::default() };
    let mut tell = |_| ();
    with(&mut Foreground {
        viewer: &mut Viewer::default(),
        signals: &signals,
        tell: RefCell::new(&mut tell),
        stage,
        modules: Modules::of(None),
    });
}

/// Modules that ran, counted when it is asked whether they are wanted: a module that is wanted must be computed plainly.
pub(super) struct Modules {
    done: Cell<usize>,
    total: Option<usize>,
    told: Cell<Instant>,
}

/// Time between two reports of modules.
const PULSE: Duration = Duration::from_millis(50);

impl Modules {
    pub fn of(total: Option<usize>) -> Self {
        Self { done: Cell::new(0), total, told: Cell::new(Instant::now()) }
    }

    /// One more runs; the report of it, when it is time.
    fn count(&self, path: &Path) -> Option<Event> {
        let done = (self.done.get() + 1).min(self.total.unwrap_or(usize::MAX));
        self.done.set(done);
        if self.told.get().elapsed() < PULSE {
            return None;
        }
        self.told.set(Instant::now());
        Some(Event::Modules { done, total: self.total, path: path.to_string() })
    }
}

impl Foreground<'_> {
    fn line(path: &Path) -> Option<&'static str> {
        lines::ALL.iter().copied().find(|line| *line == path.as_str())
    }
}

impl Probe for Foreground<'_> {
    fn wants(&self, path: &Path) -> bool {
        if Self::line(path).is_some() {
            return true;
        }
        // What an attention attends to is no module.
        if !path.as_str().ends_with(ATTENTION_PROBS)
            && let Some(event) = self.modules.count(path)
        {
            (self.tell.borrow_mut())(event);
        }
        self.signals.stops()
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> Result<()> {
        if self.signals.stops() {
            return Err(Error::Interrupted(path.clone()));
        }
        if let Some(line) = Self::line(path) {
            (self.tell.borrow_mut())(Event::Progress(self.stage, line));
        }
        Ok(())
    }
}

impl SessionHost for Foreground<'_> {
    fn stage_done(&mut self, session: &Session) {
        if let Ok(view) = self.viewer.view(session) {
            (self.tell.borrow_mut())(Event::StageDone(view.into()));
        }
    }
}

impl Host for Foreground<'_> {
    fn stage_begins(&mut self, stage: Stage, modules: Option<usize>) {
        self.stage = stage;
        self.modules = Modules::of(modules);
    }

    fn pieces_ran(&mut self, pieces: usize, line: &'static str) {
        if self.modules.told.get().elapsed() < PULSE {
            return;
        }
        self.modules.told.set(Instant::now());
        let total = self.modules.total;
        let done = pieces.min(total.unwrap_or(usize::MAX));
        (self.tell.borrow_mut())(Event::Modules { done, total, path: line.into() });
    }

    fn is_interrupted(&self) -> bool {
        self.signals.stops()
    }
}

/// Watches work in the background: gives way to any order at the next module.
pub(super) struct Background<'a> {
    pub signals: &'a Signals,
}

impl Probe for Background<'_> {
    fn wants(&self, _: &Path) -> bool {
        self.signals.is_awaited()
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> Result<()> {
        Err(Error::Interrupted(path.clone()))
    }
}

//! The stage's side of stepping: a probe that tells where it is, and waits there.

use super::until::{Catch, HookPhase, Reason, ResumeUntil};
use crate::debugger::source::module;
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline;
use crate::pipeline::{Snapshot, Stage, lines};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// What both threads see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The stage shall end before its next piece.
    pub stop: AtomicBool,
    /// Pieces that ran or run.
    pub pieces: AtomicUsize,
}

/// What a stage's thread tells.
pub(super) enum News {
    /// A piece is about to run; why it waits there.
    Enter(Piece, Reason),
    /// A piece ran, and made this; it waits.
    After(Piece, Tensor),
    /// A piece ran, and made this; the stage goes on.
    Leave(Path, Tensor),
    /// The stage is done, or failed.
    Finished(std::result::Result<Box<Snapshot>, pipeline::Error>),
}

/// A piece at which a stage waits.
pub(super) struct Piece {
    pub path: Path,
    pub inputs: Vec<Tensor>,
    /// What the module is given that it is part of.
    pub outer: Vec<Tensor>,
}

/// The line of the stage at `path`. A prompt that changed is encoded again before another stage: not a line of it.
pub(super) fn line_of(path: &Path, stage: Stage) -> Option<&'static str> {
    let line = lines::ALL.iter().copied().find(|line| *line == path.as_str())?;
    (line.split('.').next() == Some(stage.name())).then_some(line)
}

/// A piece that runs.
struct Entered {
    path: Path,
    inputs: Vec<Tensor>,
    /// Whether it was waited before it.
    waited: bool,
}

/// Pauses a stage at the stops that it was given.
pub(super) struct Stepping {
    tell: Sender<News>,
    wait: Receiver<ResumeUntil>,
    watch: ResumeUntil,
    shared: Arc<Shared>,
    stage: Stage,
    /// The watched lines and modules that are running, the innermost last: they stay watched until they end.
    entered: Vec<Entered>,
    /// How long it waited in all, which is no time of the stage's.
    waited: Duration,
}

impl Stepping {
    /// Of a thread that runs `stage`: it tells by `tell`, and waits until `wait` says where it shall wait next.
    pub fn new(
        stage: Stage,
        watch: ResumeUntil,
        shared: Arc<Shared>,
        tell: Sender<News>,
        wait: Receiver<ResumeUntil>,
    ) -> Self {
        Self { tell, wait, watch, shared, stage, entered: vec![], waited: Duration::ZERO }
    }

    /// How long it waited in all, which is no time of the stage's.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether the piece is one of the stage at all. A prompt that changed is encoded again before another stage.
    fn is_of_the_stage(&self, path: &str) -> bool {
        lines::running(self.stage, path).is_some()
    }

    fn piece(&self, path: &Path, inputs: Vec<Tensor>) -> Piece {
        let parent = module::parent(path.as_str());
        let outer = self.entered.iter().rev().find(|entered| Some(entered.path.as_str()) == parent);
        Piece { path: path.clone(), inputs, outer: outer.map_or(vec![], |entered| entered.inputs.clone()) }
    }

    /// Tells, and waits until it may go on.
    fn wait(&mut self, path: &Path, news: News) -> Result<()> {
        let interrupted = || Error::Interrupted(path.clone());
        let begin = Instant::now();
        self.tell.send(news).map_err(|_| interrupted())?;
        self.watch = self.wait.recv().map_err(|_| interrupted())?;
        self.waited += begin.elapsed();
        Ok(())
    }
}

impl Probe for Stepping {
    fn wants(&self, path: &Path) -> bool {
        if self.shared.stop.load(Ordering::Relaxed)
            || self.entered.iter().any(|entered| entered.path == *path)
        {
            return true;
        }
        self.shared.pieces.fetch_add(1, Ordering::Relaxed);
        let text = path.as_str();
        if line_of(path, self.stage).is_some() {
            return true;
        }
        let watch = &self.watch;
        let asked = watch.arrives(text, false)
            || watch.breaks.iter().any(|(pattern, _)| pattern.matches(text))
            || watch.catch != Catch::Nothing && module::is_piece(text)
            || watch.keep.iter().any(|kept| kept == text);
        asked && self.is_of_the_stage(text)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        if self.shared.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted(path.clone()));
        }
        let is_line = line_of(path, self.stage).is_some();
        let inputs: Vec<Tensor> = inputs.iter().map(|input| (*input).clone()).collect();
        let text = path.as_str();
        let reason = match self.watch.arrives(text, is_line) {
            true => Some(Reason::Arrived),
            false => self.watch.breaks(text, HookPhase::Before).then_some(Reason::Breakpoint),
        };
        let waited = reason.is_some();
        self.entered.push(Entered { path: path.clone(), inputs: inputs.clone(), waited });
        match reason {
            Some(reason) => self.wait(path, News::Enter(self.piece(path, inputs), reason)),
            None => Ok(()),
        }
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let place = self.entered.iter().rposition(|entered| entered.path == *path);
        let entered = place.map(|place| self.entered.remove(place));
        let text = path.as_str();
        let is_caught = match self.watch.catch {
            Catch::Nothing => false,
            Catch::All => true,
            Catch::NotFinite => !PlainTensor::of(&output)?.is_finite(),
        };
        if is_caught || self.watch.breaks(text, HookPhase::After) {
            let inputs = entered.map_or(vec![], |entered| entered.inputs);
            self.wait(path, News::After(self.piece(path, inputs), output.clone()))?;
        } else if line_of(path, self.stage).is_some()
            || entered.is_some_and(|entered| entered.waited)
            || self.watch.keep.iter().any(|kept| kept == text)
        {
            // A session that left does not listen.
            let _ = self.tell.send(News::Leave(path.clone(), output.clone()));
        }
        Ok(output)
    }
}

//! A stage that is stepped through, line by line.
//!
//! The stage runs on a thread of its own, which waits before each of its lines. The session stays in control meanwhile:
//! it answers questions, and goes on when it is told to.

use super::session::Host;
use super::source;
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline::{self, Models, Snapshot, Stage, advance, lines};
use candle_core::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a host is asked whether a running line shall stop.
const PULSE: Duration = Duration::from_millis(10);

/// A stage that waits before one of its lines.
#[derive(Debug)]
pub struct Inside {
    /// The stage.
    pub stage: Stage,
    /// The line at hand, which runs next: `denoise.unet`.
    pub line: &'static str,
    /// What the line at hand is given, by name.
    pub inputs: Vec<(&'static str, Tensor)>,
    /// What the lines before it made, by name.
    pub made: Vec<(&'static str, Tensor)>,
    /// Lets the stage run on; dropping it ends it.
    go: Option<Sender<()>>,
    news: Receiver<News>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a stage's thread tells.
enum News {
    /// A line is about to run, with its inputs.
    Enter(&'static str, Vec<Tensor>),
    /// A line ran, and made this.
    Leave(&'static str, Tensor),
    /// The stage is done, or failed.
    Finished(std::result::Result<Box<Snapshot>, pipeline::Error>),
}

/// What became of a stage that was let run on.
pub enum Stepped {
    /// It waits before its next line.
    Waits,
    /// It is done.
    Done(Box<Snapshot>),
}

impl Inside {
    /// Goes into the stage that follows `snapshot`, to before its first line.
    ///
    /// # Errors
    /// The stage's, or the host's.
    pub fn enter(
        models: Arc<Models>,
        snapshot: Snapshot,
        host: &mut dyn Host,
    ) -> std::result::Result<Self, pipeline::Error> {
        let stage = snapshot.position().ok_or(pipeline::Error::Complete)?;
        let (tell, news) = channel();
        let (go, wait) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut probe =
            Stepping { tell: tell.clone(), wait, stop: Arc::clone(&stop), stage, waited: Duration::ZERO };
        let thread = std::thread::spawn(move || {
            let result = advance(&snapshot, &models, &mut probe).map(|mut next| {
                next.take_off_time(probe.waited);
                Box::new(next)
            });
            // A session that left does not listen.
            let _ = tell.send(News::Finished(result));
        });
        let mut inside = Self {
            stage,
            line: "",
            inputs: vec![],
            made: vec![],
            go: Some(go),
            news,
            stop,
            thread: Some(thread),
        };
        match inside.wait(host)? {
            Stepped::Waits => Ok(inside),
            // Every stage has lines.
            Stepped::Done(_) => Err(Error::Input(format!("{stage} has no lines")).into()),
        }
    }

    /// Runs the line at hand.
    ///
    /// # Errors
    /// The stage's, or the host's; the stage is then gone.
    pub fn step(&mut self, host: &mut dyn Host) -> std::result::Result<Stepped, pipeline::Error> {
        if let Some(go) = &self.go {
            // A thread that is gone has said why.
            let _ = go.send(());
        }
        self.wait(host)
    }

    /// Waits until the stage comes to its next line, or to its end.
    fn wait(&mut self, host: &mut dyn Host) -> std::result::Result<Stepped, pipeline::Error> {
        loop {
            match self.news.recv_timeout(PULSE) {
                Ok(News::Enter(line, inputs)) => {
                    self.line = line;
                    self.inputs = source::inputs(line).iter().copied().zip(inputs).collect();
                    return Ok(Stepped::Waits);
                }
                Ok(News::Leave(line, output)) => self.keep(line, &output)?,
                Ok(News::Finished(result)) => return result.map(Stepped::Done),
                Err(RecvTimeoutError::Timeout) => {
                    if host.is_interrupted() {
                        self.stop.store(true, Ordering::SeqCst);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Input(format!("{} ended without a word", self.stage)).into());
                }
            }
        }
    }

    /// Names what a line made; of two rows each has its own name.
    fn keep(&mut self, line: &str, output: &Tensor) -> std::result::Result<(), pipeline::Error> {
        let names = source::outputs(line);
        for (row, name) in names.iter().enumerate() {
            let tensor = match names.len() {
                1 => output.clone(),
                _ => output.narrow(0, row, 1).map_err(Error::from)?,
            };
            self.made.push((name, tensor));
        }
        Ok(())
    }

    /// The names and values that are known inside, the newest first.
    pub fn values(&self) -> Vec<(&'static str, Tensor)> {
        let mut values: Vec<(&'static str, Tensor)> = vec![];
        for (name, tensor) in self.made.iter().rev().chain(&self.inputs) {
            if !values.iter().any(|(known, _)| known == name) {
                values.push((name, tensor.clone()));
            }
        }
        values
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.go = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked with was told on stderr.
            let _ = thread.join();
        }
    }
}

/// Waits before every line of a stage.
struct Stepping {
    tell: Sender<News>,
    wait: Receiver<()>,
    stop: Arc<AtomicBool>,
    stage: Stage,
    /// How long it waited in all, which is no time of the stage's.
    waited: Duration,
}

impl Stepping {
    /// The line of the stage at `path`. A prompt that changed is encoded again before another stage: not a line of it.
    fn line(&self, path: &Path) -> Option<&'static str> {
        let line = lines::ALL.iter().copied().find(|line| *line == path.as_str())?;
        (line.split('.').next() == Some(self.stage.name())).then_some(line)
    }
}

impl Probe for Stepping {
    fn wants(&self, path: &Path) -> bool {
        self.stop.load(Ordering::Relaxed) || self.line(path).is_some()
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        let interrupted = || Error::Interrupted(path.clone());
        if self.stop.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        let Some(line) = self.line(path) else { return Ok(()) };
        let inputs = inputs.iter().map(|input| (*input).clone()).collect();
        let begin = Instant::now();
        self.tell.send(News::Enter(line, inputs)).map_err(|_| interrupted())?;
        let go = self.wait.recv().map_err(|_| interrupted());
        self.waited += begin.elapsed();
        go
    }

    fn visit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        if let Some(line) = self.line(path) {
            // A session that left does not listen.
            let _ = self.tell.send(News::Leave(line, output.clone()));
        }
        Ok(output)
    }
}

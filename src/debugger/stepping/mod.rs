//! A stage that runs step by step: line by line, and within a line module by module.
//!
//! The stage runs on a thread of its own, which waits at the next stop. The session stays in control meanwhile: it answers
//! commands, and tells the thread when to go on.
//!
//! - [`until`]: where the stage stops next. `probe`: the probe that waits there.

mod probe;
pub mod until;

pub use until::{Catch, HookPhase, Reason, ResumeUntil, Until};

use super::backend::Backend;
use super::host::Host;
use super::source;
use super::source::module;
use crate::nn::{Error, Path};
use crate::pipeline;
use crate::pipeline::{Snapshot, Stage, lines};
use candle_core::Tensor;
use probe::{News, Piece, Shared, Stepping, line_of};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tr::tr;

/// How often a host is asked whether a running line shall stop.
const PULSE: Duration = Duration::from_millis(10);

/// A stage that is paused before or after one of its lines or modules.
#[derive(Debug)]
pub struct PausedStage {
    /// The stage.
    pub stage: Stage,
    /// The current line, which runs next or is running: `denoise.unet`.
    pub line: &'static str,
    /// The current module, within the line.
    pub module: Option<Path>,
    /// Whether the current line or module is about to run, or ran.
    pub moment: HookPhase,
    /// Its inputs, by name.
    pub inputs: Vec<(&'static str, Tensor)>,
    /// The inputs of the module that contains the current one, by name, where it was stepped through.
    pub outer: Vec<(&'static str, Tensor)>,
    /// The output of the last line or module that the stage paused at.
    pub passed: Option<(Path, Tensor)>,
    /// Whether modules were watched, which are then computed plainly.
    pub is_watched: bool,
    /// What the lines before it made, by name.
    made: Vec<(&'static str, Tensor)>,
    /// Outputs that conditions ask for, and which those are.
    kept: Vec<(Path, Tensor)>,
    keeps: Vec<String>,
    /// The run before the stage.
    before: Arc<Snapshot>,
    /// Lets the stage run on; dropping it ends it.
    go: Option<Sender<ResumeUntil>>,
    news: Receiver<News>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What became of a stage that was let run on.
#[derive(Debug)]
pub enum Stepped {
    /// It waits.
    Waits(Reason),
    /// It is done.
    Done(Box<Snapshot>),
}

impl PausedStage {
    /// Goes into the stage that follows `snapshot`, on to where `watch` says.
    ///
    /// # Errors
    /// The stage's, or the host's.
    pub fn enter(
        backend: Arc<Backend>,
        snapshot: Snapshot,
        watch: ResumeUntil,
        host: &mut dyn Host,
    ) -> std::result::Result<(Option<Self>, Stepped), pipeline::Error> {
        let stage = snapshot.position().ok_or(pipeline::Error::Complete)?;
        let before = Arc::new(snapshot);
        let (tell, news) = channel();
        let (go, wait) = channel();
        let shared = Arc::new(Shared::default());
        let mut probe = Stepping::new(stage, watch.clone(), Arc::clone(&shared), tell.clone(), wait);
        let of_thread = Arc::clone(&before);
        let thread = std::thread::spawn(move || {
            let result = backend.advance(&of_thread, &mut probe).map(|mut next| {
                next.subtract_time(probe.waited());
                Box::new(next)
            });
            // A session that left does not listen.
            let _ = tell.send(News::Finished(result));
        });
        let mut inside = Self {
            stage,
            line: source::lines_of(stage).next().unwrap_or_default(),
            module: None,
            moment: HookPhase::Before,
            inputs: vec![],
            outer: vec![],
            passed: None,
            is_watched: watch.is_of_modules(),
            made: vec![],
            kept: vec![],
            keeps: watch.keep,
            before,
            go: Some(go),
            news,
            shared,
            thread: Some(thread),
        };
        match inside.wait(host)? {
            Stepped::Done(next) => Ok((None, Stepped::Done(next))),
            waits => Ok((Some(inside), waits)),
        }
    }

    /// Resumes from the current line or module.
    ///
    /// # Errors
    /// The stage's, or the host's; the stage is then gone.
    pub fn go_on(
        &mut self,
        watch: ResumeUntil,
        host: &mut dyn Host,
    ) -> std::result::Result<Stepped, pipeline::Error> {
        self.is_watched |= watch.is_of_modules();
        self.keeps.clone_from(&watch.keep);
        if let Some(go) = &self.go {
            // A thread that is gone has said why.
            let _ = go.send(watch);
        }
        self.wait(host)
    }

    /// Waits until the stage waits, or comes to its end.
    fn wait(&mut self, host: &mut dyn Host) -> std::result::Result<Stepped, pipeline::Error> {
        loop {
            // Also between messages: a stage that is watched module by module sends some in every pulse.
            host.pieces_ran(self.shared.pieces.load(Ordering::Relaxed), self.line);
            if host.is_interrupted() {
                self.shared.stop.store(true, Ordering::SeqCst);
            }
            match self.news.recv_timeout(PULSE) {
                Ok(News::Enter(piece, reason)) => {
                    self.stand_at(piece, HookPhase::Before);
                    return Ok(Stepped::Waits(reason));
                }
                Ok(News::After(piece, output)) => {
                    self.keep(&piece.path, &output)?;
                    self.passed = Some((piece.path.clone(), output));
                    self.stand_at(piece, HookPhase::After);
                    return Ok(Stepped::Waits(Reason::Caught));
                }
                Ok(News::Leave(path, output)) => {
                    self.keep(&path, &output)?;
                    self.passed = Some((path, output));
                }
                Ok(News::Finished(result)) => return result.map(Stepped::Done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Input(tr!("{} ended without a word", self.stage)).into());
                }
            }
        }
    }

    fn stand_at(&mut self, piece: Piece, moment: HookPhase) {
        let Piece { path, inputs, outer } = piece;
        self.moment = moment;
        let of_outer =
            module::parent(path.as_str()).map_or(vec![], |parent| module::inputs(parent, outer.len()));
        self.outer = of_outer.into_iter().zip(outer).collect();
        let names = match line_of(&path, self.stage) {
            Some(line) => {
                (self.line, self.module) = (line, None);
                source::inputs(line).to_vec()
            }
            None => {
                let names = module::inputs(path.as_str(), inputs.len());
                self.line = lines::running(self.stage, path.as_str()).unwrap_or(self.line);
                self.module = Some(path);
                names
            }
        };
        self.inputs = names.into_iter().zip(inputs).collect();
    }

    /// Names what a line made, of two rows each by its own name; keeps what conditions ask for.
    fn keep(&mut self, path: &Path, output: &Tensor) -> std::result::Result<(), pipeline::Error> {
        let names = source::outputs(path.as_str());
        for (row, name) in names.iter().enumerate() {
            let tensor = match names.len() {
                1 => output.clone(),
                _ => output.narrow(0, row, 1).map_err(Error::from)?,
            };
            self.made.push((name, tensor));
        }
        if self.keeps.iter().any(|kept| kept == path.as_str()) {
            self.kept.retain(|(known, _)| known != path);
            self.kept.push((path.clone(), output.clone()));
        }
        Ok(())
    }

    /// The path of the current module, or of the current line.
    pub fn path(&self) -> &str {
        self.module.as_ref().map_or(self.line, Path::as_str)
    }

    /// The run before the stage.
    pub fn before(&self) -> &Arc<Snapshot> {
        &self.before
    }

    /// What modules made in this stage, of those that were waited at or asked for, the newest first.
    pub fn outputs(&self) -> Vec<(Path, Tensor)> {
        self.passed.iter().chain(self.kept.iter().rev()).cloned().collect()
    }

    /// The names and values that are known inside, the newest first.
    pub fn values(&self) -> Vec<(&'static str, Tensor)> {
        let mut values: Vec<(&'static str, Tensor)> = vec![];
        let output = match (&self.passed, self.moment) {
            (Some((_, output)), HookPhase::After) => Some(("output", output.clone())),
            _ => None,
        };
        let given = self.inputs.iter().filter(|_| self.module.is_some()).cloned();
        let made = self.made.iter().rev().chain(&self.inputs).cloned();
        for (name, tensor) in output.into_iter().chain(given).chain(made) {
            if !values.iter().any(|(known, _)| *known == name) {
                values.push((name, tensor));
            }
        }
        values
    }
}

impl Drop for PausedStage {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.go = None;
        if let Some(thread) = self.thread.take() {
            // The panic message is on stderr already.
            let _ = thread.join();
        }
    }
}

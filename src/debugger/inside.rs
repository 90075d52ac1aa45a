//! A stage that is stepped through: line by line, and within a line module by module.
//!
//! The stage runs on a thread of its own, which waits where it is told to. The session stays in control meanwhile: it
//! answers questions, and goes on when it is told to.

use super::module;
use super::pattern::Pattern;
use super::session::Host;
use super::source;
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline::{self, Models, Snapshot, Stage, advance, lines};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a host is asked whether a running line shall stop.
const PULSE: Duration = Duration::from_millis(10);

/// Where a stage that runs on shall wait again.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Before which piece at the latest.
    pub until: Until,
    /// Before or after the pieces that these name, to be asked whether it shall wait there.
    pub breaks: Vec<(Pattern, Moment)>,
    /// After which pieces else.
    pub catch: Catch,
    /// Pieces whose outputs are kept, for conditions that ask for them.
    pub keep: Vec<String>,
}

/// A line or a module that comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Until {
    /// The next line or module, whichever comes.
    #[default]
    Next,
    /// The next that is not a part of this module.
    OutOf(String),
    /// The next line.
    Line,
    /// None: on to the stage's end.
    End,
}

/// When a piece is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it runs.
    Before,
    /// Once it ran: what it made is known.
    After,
}

/// What is looked for in what pieces make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Catch {
    /// Nothing.
    #[default]
    Nothing,
    /// NaN and infinity.
    NotFinite,
    /// Each output is looked at.
    All,
}

/// A stage that waits before one of its lines or modules, or behind one.
#[derive(Debug)]
pub struct Inside {
    /// The stage.
    pub stage: Stage,
    /// The line at hand, which runs next or is running: `denoise.unet`.
    pub line: &'static str,
    /// The module at hand, within the line.
    pub module: Option<Path>,
    /// Whether the piece at hand is about to run, or ran.
    pub moment: Moment,
    /// What the piece at hand is given, by name.
    pub inputs: Vec<(&'static str, Tensor)>,
    /// What the module is given that the one at hand is part of, by name, where that was gone through.
    pub outer: Vec<(&'static str, Tensor)>,
    /// What the piece made that ran last, of those that were waited at.
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
    go: Option<Sender<Watch>>,
    news: Receiver<News>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    /// The stage shall end before its next piece.
    stop: AtomicBool,
    /// Pieces that ran or run.
    pieces: AtomicUsize,
}

/// What a stage's thread tells.
enum News {
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
struct Piece {
    path: Path,
    inputs: Vec<Tensor>,
    /// What the module is given that it is part of.
    outer: Vec<Tensor>,
}

/// Why a stage waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It came to where it was told to.
    Arrived,
    /// There is a breakpoint, which may have a condition.
    Breakpoint,
    /// What a piece made is to be looked at.
    Caught,
}

/// What became of a stage that was let run on.
#[derive(Debug)]
pub enum Stepped {
    /// It waits.
    Waits(Reason),
    /// It is done.
    Done(Box<Snapshot>),
}

impl Inside {
    /// Goes into the stage that follows `snapshot`, on to where `watch` says.
    ///
    /// # Errors
    /// The stage's, or the host's.
    pub fn enter(
        models: Arc<Models>,
        snapshot: Snapshot,
        watch: Watch,
        host: &mut dyn Host,
    ) -> std::result::Result<(Option<Self>, Stepped), pipeline::Error> {
        let stage = snapshot.position().ok_or(pipeline::Error::Complete)?;
        let before = Arc::new(snapshot);
        let (tell, news) = channel();
        let (go, wait) = channel();
        let shared = Arc::new(Shared::default());
        let mut probe = Stepping {
            tell: tell.clone(),
            wait,
            watch: watch.clone(),
            shared: Arc::clone(&shared),
            stage,
            entered: vec![],
            waited: Duration::ZERO,
        };
        let of_thread = Arc::clone(&before);
        let thread = std::thread::spawn(move || {
            let result = advance(&of_thread, &models, &mut probe).map(|mut next| {
                next.take_off_time(probe.waited);
                Box::new(next)
            });
            // A session that left does not listen.
            let _ = tell.send(News::Finished(result));
        });
        let mut inside = Self {
            stage,
            line: source::lines_of(stage).next().unwrap_or_default(),
            module: None,
            moment: Moment::Before,
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

    /// Runs on from the piece at hand.
    ///
    /// # Errors
    /// The stage's, or the host's; the stage is then gone.
    pub fn go_on(
        &mut self,
        watch: Watch,
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
            match self.news.recv_timeout(PULSE) {
                Ok(News::Enter(piece, reason)) => {
                    self.stand_at(piece, Moment::Before);
                    return Ok(Stepped::Waits(reason));
                }
                Ok(News::After(piece, output)) => {
                    self.keep(&piece.path, &output)?;
                    self.passed = Some((piece.path.clone(), output));
                    self.stand_at(piece, Moment::After);
                    return Ok(Stepped::Waits(Reason::Caught));
                }
                Ok(News::Leave(path, output)) => {
                    self.keep(&path, &output)?;
                    self.passed = Some((path, output));
                }
                Ok(News::Finished(result)) => return result.map(Stepped::Done),
                Err(RecvTimeoutError::Timeout) => {
                    host.pieces_ran(self.shared.pieces.load(Ordering::Relaxed), self.line);
                    if host.is_interrupted() {
                        self.shared.stop.store(true, Ordering::SeqCst);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Input(format!("{} ended without a word", self.stage)).into());
                }
            }
        }
    }

    fn stand_at(&mut self, piece: Piece, moment: Moment) {
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
                self.line = module::line_of(self.stage, path.as_str()).unwrap_or(self.line);
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

    /// The path of the piece at hand: a module's, or a line's.
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
            (Some((_, output)), Moment::After) => Some(("output", output.clone())),
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

impl Drop for Inside {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.go = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked with was told on stderr.
            let _ = thread.join();
        }
    }
}

impl Watch {
    /// On to before the next piece that `until` names, past every breakpoint.
    pub fn until(until: Until) -> Self {
        Self { until, ..Self::default() }
    }

    /// Whether modules are watched, and not lines alone.
    fn is_of_modules(&self) -> bool {
        let Self { until, breaks, catch, keep } = self;
        matches!(until, Until::Next | Until::OutOf(_))
            || *catch != Catch::Nothing
            || !breaks.is_empty()
            || !keep.is_empty()
    }

    /// Whether the piece at `path` is where it shall wait at the latest.
    fn arrives(&self, path: &str, is_line: bool) -> bool {
        match &self.until {
            Until::Next => is_line || module::is_stepped_into(path),
            Until::OutOf(module) => {
                is_line || module::is_stepped_into(path) && !module::is_within(path, module)
            }
            Until::Line => is_line,
            Until::End => false,
        }
    }

    fn breaks(&self, path: &str, moment: Moment) -> bool {
        self.breaks.iter().any(|(pattern, when)| *when == moment && pattern.matches(path))
    }
}

/// The line of the stage at `path`. A prompt that changed is encoded again before another stage: not a line of it.
fn line_of(path: &Path, stage: Stage) -> Option<&'static str> {
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

/// Waits in a stage, where it is told to.
struct Stepping {
    tell: Sender<News>,
    wait: Receiver<Watch>,
    watch: Watch,
    shared: Arc<Shared>,
    stage: Stage,
    /// The pieces that run and were wanted, the innermost last: they stay wanted, whatever is waited for meanwhile.
    entered: Vec<Entered>,
    /// How long it waited in all, which is no time of the stage's.
    waited: Duration,
}

impl Stepping {
    /// Whether the piece is one of the stage at all. A prompt that changed is encoded again before another stage.
    fn is_of_the_stage(&self, path: &str) -> bool {
        module::line_of(self.stage, path).is_some()
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
            false => self.watch.breaks(text, Moment::Before).then_some(Reason::Breakpoint),
        };
        let waited = reason.is_some();
        self.entered.push(Entered { path: path.clone(), inputs: inputs.clone(), waited });
        match reason {
            Some(reason) => self.wait(path, News::Enter(self.piece(path, inputs), reason)),
            None => Ok(()),
        }
    }

    fn visit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let place = self.entered.iter().rposition(|entered| entered.path == *path);
        let entered = place.map(|place| self.entered.remove(place));
        let text = path.as_str();
        let is_caught = match self.watch.catch {
            Catch::Nothing => false,
            Catch::All => true,
            Catch::NotFinite => !PlainTensor::of(&output)?.is_finite(),
        };
        if is_caught || self.watch.breaks(text, Moment::After) {
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

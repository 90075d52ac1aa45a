//! The thread that owns the models. Commands go in and events come out; the screen never waits.

use super::Outcome;
use super::expr::{Answer, Expression};
use super::host::Host;
use super::inspect::{Examination, InspectError, Inspection};
use super::language::command::CommandLine;
use super::record::{NamedPicture, RecordId};
use super::session::{Mark, Session, SessionError, SessionHost};
use super::view::Viewer;
use super::view::{ModelLine, View};
use crate::nn::attention::ATTENTION_PROBS;
use crate::nn::ledger::ProgressFn;
use crate::nn::{ComputePool, Error, Path, Probe, Result};
use crate::picture::decoded;
use crate::pipeline::{self, Stage, lines, stages};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the worker is asked for.
#[derive(Debug)]
pub enum Order {
    /// A command.
    Command(CommandLine),
    /// Pictures that the VAE shall make when nothing else is to be done, the first first; those that were asked for
    /// before and are not here are given up.
    Previews(Vec<Preview>),
    /// What shall be found out of the inside of recorded stages when nothing else is to be done, the first first; what was
    /// asked before and is not here is given up.
    Examine(Vec<Examination>),
    /// To look at where so many stages are done, of those that are recorded; of a comparison, so many ticks.
    Look(usize),
    /// To evaluate expressions where the session stands. The number is told with the answers.
    Evaluate(usize, Vec<Expression>),
    /// To note where the session stands.
    Mark,
    /// To go back to where it stood when that was noted last.
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
    /// The tensor: one of [`decodable`](super::record::decodable).
    pub name: &'static str,
}

/// What the worker tells.
#[derive(Debug)]
pub enum Event {
    /// The models are there, and this is where the session stands.
    Ready(ModelLine, Box<View>),
    /// The models could not be loaded, in a line. The worker has ended.
    LoadFailed(String),
    /// A command began.
    Started(String),
    /// So many bytes of the models are read.
    Loading {
        /// Bytes read.
        read: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A line of a stage is running: `denoise 3: unet`.
    Progress(Stage, &'static str),
    /// So many modules of the stage have run.
    Modules {
        /// Modules that ran, with the one at hand.
        done: usize,
        /// Modules in all; `None` where that is not known, as of several runs that go on together.
        total: Option<usize>,
        /// The one at hand.
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
    Evaluated(usize, Vec<std::result::Result<Answer, String>>),
    /// What was found inside of a stage, or why nothing was.
    Inspected(Examination, std::result::Result<Arc<Inspection>, String>),
    /// The VAE's own picture of a tensor, better than the instant one.
    Preview {
        /// The record that the tensor is in.
        record: RecordId,
        /// The picture.
        picture: NamedPicture,
    },
}

/// The worker's handle: dropping it ends the thread after the module at hand.
#[derive(Debug)]
pub struct Worker {
    orders: Sender<Order>,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

/// What stops a computation from outside. Orders are numbered from 1.
#[derive(Debug, Default)]
struct Signals {
    /// The number of the last order that was given.
    given: AtomicUsize,
    /// The number of the last order that was taken up: the one at hand.
    taken: AtomicUsize,
    /// Orders up to this one shall stop.
    interrupted: AtomicUsize,
    /// Nobody listens any more: everything shall stop.
    closing: AtomicBool,
}

impl Signals {
    /// Whether the command at hand shall stop.
    fn stops(&self) -> bool {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        interrupted >= self.taken.load(Ordering::Relaxed) || self.closing.load(Ordering::Relaxed)
    }

    /// Whether an order waits: work in the background gives way to it.
    fn is_awaited(&self) -> bool {
        self.given.load(Ordering::Relaxed) > self.taken.load(Ordering::Relaxed)
    }
}

impl Worker {
    /// Starts a thread that makes a session with `load`, on that thread, and then serves it. Events go to `tell`,
    /// which is called on that thread and must not wait.
    pub fn spawn(
        load: impl FnOnce(ProgressFn) -> std::result::Result<Session, String> + Send + 'static,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> Self {
        let (orders, inbox) = channel();
        let signals = Arc::new(Signals::default());
        let shared = Arc::clone(&signals);
        let thread = std::thread::spawn(move || {
            let _pool = ComputePool::enter();
            // While the models are loaded it is called from inside of that.
            let shared_tell: SharedTell = Arc::new(Mutex::new(Box::new(tell)));
            let of_loading = Arc::clone(&shared_tell);
            let loading = move |read, total| telling(&of_loading, Event::Loading { read, total });
            let mut tell: Box<dyn FnMut(Event) + Send> = Box::new(move |event| telling(&shared_tell, event));
            match load(Box::new(loading)) {
                Ok(session) => WorkerLoop {
                    session,
                    viewer: Viewer::default(),
                    inbox,
                    signals: shared,
                    tell,
                    previews: VecDeque::new(),
                    examinations: VecDeque::new(),
                    mark: None,
                }
                .serve(),
                Err(error) => tell(Event::LoadFailed(error)),
            }
        });
        Self { orders, signals, thread: Some(thread) }
    }

    /// Gives an order. False when the worker has ended.
    pub fn order(&self, order: Order) -> bool {
        self.signals.given.fetch_add(1, Ordering::SeqCst);
        self.orders.send(order).is_ok()
    }

    /// Stops the command at hand before the next module, and every command that was given before now.
    pub fn interrupt(&self) {
        self.signals.interrupted.store(self.signals.given.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signals.closing.store(true, Ordering::SeqCst);
        self.order(Order::Quit);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so on stderr; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// Who is told, by the thread and from inside of loading.
type SharedTell = Arc<Mutex<Box<dyn FnMut(Event) + Send>>>;

fn telling(tell: &SharedTell, event: Event) {
    (tell.lock().unwrap_or_else(PoisonError::into_inner))(event);
}

struct WorkerLoop {
    session: Session,
    viewer: Viewer,
    inbox: Receiver<Order>,
    signals: Arc<Signals>,
    tell: Box<dyn FnMut(Event) + Send>,
    /// What the VAE is to decode, the first first.
    previews: VecDeque<Preview>,
    /// What is to be found out, the first first.
    examinations: VecDeque<Examination>,
    /// Where the session stood when that was to be noted.
    mark: Option<Mark>,
}

/// A command, or what an order does that no command is.
type Carried<'a> =
    &'a mut dyn FnMut(&mut Session, &mut dyn SessionHost) -> std::result::Result<Outcome, SessionError>;

/// What coming back is called.
pub const COME_BACK: &str = "come back";

impl WorkerLoop {
    fn serve(mut self) {
        let model = ModelLine::from(self.session.models());
        match self.viewer.view(&self.session) {
            Ok(view) => (self.tell)(Event::Ready(model, view.into())),
            Err(e) => return (self.tell)(Event::LoadFailed(e.to_string())),
        }
        while let Some(order) = self.next_order() {
            match order {
                Order::Quit => return,
                Order::Command(CommandLine { command, text }) => {
                    self.carry_out(text, &mut |session, host| session.run(&command, host));
                }
                Order::Mark => self.mark = Some(self.session.mark()),
                Order::ComeBack => {
                    // Without a mark there is nowhere else to be.
                    let mark = self.mark.take().unwrap_or_else(|| self.session.mark());
                    self.carry_out(COME_BACK.into(), &mut |session, host| session.come_back(&mark, host));
                    self.mark = Some(mark);
                }
                Order::Evaluate(number, expressions) => {
                    let answers = expressions.iter().map(|expression| self.evaluate(expression)).collect();
                    (self.tell)(Event::Evaluated(number, answers));
                }
                Order::Panic => self.carry_out("panic".into(), &mut |_, _| panic!("a panic was asked for")),
                Order::Look(place) => {
                    self.session.look(place);
                    if let Ok(view) = self.viewer.view(&self.session) {
                        (self.tell)(Event::Looked(view.into()));
                    }
                }
                Order::Previews(previews) => self.previews = previews.into(),
                Order::Examine(examinations) => self.examinations = examinations.into(),
            }
        }
    }

    /// The next order; while there is none, background work. `None` when nobody is left to give one.
    fn next_order(&mut self) -> Option<Order> {
        let order = loop {
            match self.inbox.try_recv() {
                Ok(order) => break Some(order),
                Err(TryRecvError::Disconnected) => break None,
                Err(TryRecvError::Empty) => {
                    // What was asked of the inside is what its reader looks at.
                    if let Some(asked) = self.examinations.pop_front() {
                        self.examine(asked);
                    } else if let Some(wanted) = self.previews.pop_front() {
                        self.preview(wanted);
                    } else {
                        break self.inbox.recv().ok();
                    }
                }
            }
        };
        self.signals.taken.fetch_add(1, Ordering::SeqCst);
        order
    }

    fn evaluate(&self, expression: &Expression) -> std::result::Result<Answer, String> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| expression.evaluate(&self.session.here())));
        match evaluated {
            Ok(answer) => answer.map_err(|e| e.to_string().split_whitespace().collect::<Vec<_>>().join(" ")),
            Err(_) => Err(format!("`{}`: a fault of diffuscope's own", expression.text())),
        }
    }

    fn carry_out(&mut self, line: String, carry_out: Carried<'_>) {
        (self.tell)(Event::Started(line.clone()));
        let stage = self.session.timeline().position().unwrap_or(Stage::VaeDecode);
        let mut host = Foreground {
            viewer: &mut self.viewer,
            signals: &self.signals,
            tell: RefCell::new(&mut self.tell),
            stage,
            modules: Modules::of(None),
        };
        // What is recorded is only added to when a stage is done, so that it is whole after a panic as well.
        let run = catch_unwind(AssertUnwindSafe(|| carry_out(&mut self.session, &mut host)));
        let result = match run {
            Ok(result) => result,
            Err(panic) => {
                let said = panic.downcast_ref::<&str>().map(|said| said.to_string());
                let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let error = format!(
                    "a fault of diffuscope's own ended the command: {said}; what was recorded is kept, `restart` begins \
                     again"
                );
                let view = self.viewer.view(&self.session).ok().map(Box::new);
                let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
                return (self.tell)(Event::Failed { command: line, error, view });
            }
        };
        let view = self.viewer.view(&self.session).map(Box::new);
        let event = match (result, view) {
            // Who gave the command knows it as it was typed.
            (Ok(outcome), Ok(view)) => Event::Done(Outcome { command: line, ..outcome }.into(), view),
            (Err(e), view) => Event::Failed { command: line, error: one_line(&e), view: view.ok() },
            (Ok(_), Err(e)) => Event::Failed { command: line, error: one_line(&e.into()), view: None },
        };
        (self.tell)(event);
    }

    /// Decodes a tensor, unless an order comes meanwhile: then it is done after that order.
    fn preview(&mut self, wanted: Preview) {
        let Preview { record, name } = wanted;
        // What is not recorded any more is not missed either.
        let Ok(Some(latents)) = self.viewer.tensor(record, name) else { return };
        let mut probe = Background { signals: &self.signals };
        let image = match stages::vae_decode(self.session.models(), &latents, &mut probe) {
            Ok(image) => image,
            Err(pipeline::Error::Forward(Error::Interrupted(_))) => return self.previews.push_front(wanted),
            // A VAE that fails shows itself at vae_decode.
            Err(_) => return,
        };
        let Ok(values) = PlainTensor::of(&image) else { return };
        if let Some(picture) = decoded::picture(&values) {
            (self.tell)(Event::Preview { record, picture: NamedPicture { name, picture } });
        }
    }

    /// Finds out what is asked, unless an order comes meanwhile: then it is begun once more after that order.
    fn examine(&mut self, asked: Examination) {
        let mut probe = Background { signals: &self.signals };
        let examined =
            catch_unwind(AssertUnwindSafe(|| self.viewer.examine(&self.session, &asked, &mut probe)));
        let told = match examined {
            Ok(Ok(examined)) => Ok(Arc::new(examined)),
            Ok(Err(e)) if e.is_interrupted() => return self.examinations.push_front(asked),
            // What is not recorded any more is not missed either.
            Ok(Err(InspectError::Gone)) => return,
            Ok(Err(e)) => Err(in_a_line(&e.to_string())),
            Err(_) => Err("a fault of diffuscope's own: nothing was found out".into()),
        };
        (self.tell)(Event::Inspected(asked, told));
    }
}

/// Watches a command: tells which line and how many modules run, and stops it when asked.
struct Foreground<'a> {
    viewer: &'a mut Viewer,
    signals: &'a Signals,
    tell: RefCell<&'a mut (dyn FnMut(Event) + Send)>,
    stage: Stage,
    modules: Modules,
}

/// Gives `with` the probe under which a command runs `stage` while nobody stops it, so that its cost can be measured.
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
struct Modules {
    done: Cell<usize>,
    total: Option<usize>,
    told: Cell<Instant>,
}

/// Time between two times that modules are told.
const PULSE: Duration = Duration::from_millis(50);

impl Modules {
    fn of(total: Option<usize>) -> Self {
        Self { done: Cell::new(0), total, told: Cell::new(Instant::now()) }
    }

    /// One more runs; what is to be told of it, when it is time.
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
struct Background<'a> {
    signals: &'a Signals,
}

impl Probe for Background<'_> {
    fn wants(&self, _: &Path) -> bool {
        self.signals.is_awaited()
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> Result<()> {
        Err(Error::Interrupted(path.clone()))
    }
}

/// An error as the one line that an interface has for it.
fn one_line(error: &SessionError) -> String {
    in_a_line(&error.to_string())
}

fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

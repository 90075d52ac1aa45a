//! The thread that owns the models. Commands go in and events come out; the screen never waits.
//!
//! - `messages`: orders and events. `watch`: the probes that report progress and stop a computation.

mod messages;
mod watch;

pub use messages::{Event, Order, Preview};
pub use watch::as_a_command;

use super::Outcome;
use super::expr::{Answer, Expression};
use super::inspect::{Examination, InspectError};
use super::language::command::CommandLine;
use super::record::NamedPicture;
use super::session::{Mark, Session, SessionError, SessionHost};
use super::view::{ModelLine, Viewer};
use crate::nn::load_report::ProgressFn;
use crate::nn::{ComputePool, Error};
use crate::picture::decoded;
use crate::pipeline::{self, Stage, stages};
use crate::tensor::PlainTensor;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tr::tr;
use watch::{Background, Foreground, Modules, Signals};

/// The worker's handle: dropping it ends the thread after the current module.
#[derive(Debug)]
pub struct Worker {
    orders: Sender<Order>,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that makes a session with `load`, on that thread, and then serves it. Events go to `tell`,
    /// which is called on that thread and must not wait.
    pub fn spawn(
        load: impl FnOnce(ProgressFn) -> Result<Session, String> + Send + 'static,
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

    /// Stops the current command before the next module, and every command that was given before now.
    pub fn interrupt(&self) {
        self.signals.interrupted.store(self.signals.given.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signals.closing.store(true, Ordering::SeqCst);
        self.order(Order::Quit);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has reported it on stderr.
            let _ = thread.join();
        }
    }
}

/// Where events go, from the thread and from inside of loading.
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
    /// The tensors that the VAE decodes next, in order.
    previews: VecDeque<Preview>,
    /// The next queries, in order.
    examinations: VecDeque<Examination>,
    /// Where the session stood at the last `Order::Mark`.
    mark: Option<Mark>,
}

/// A command, or what an order does that no command is.
type Carried<'a> = &'a mut dyn FnMut(&mut Session, &mut dyn SessionHost) -> Result<Outcome, SessionError>;

/// What coming back is called.
pub const COME_BACK: &str = "come back";

impl WorkerLoop {
    fn serve(mut self) {
        let model = ModelLine::from(self.session.backend().info());
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

    /// The next order; while there is none, background work. `None` when the handle is gone.
    fn next_order(&mut self) -> Option<Order> {
        let order = loop {
            match self.inbox.try_recv() {
                Ok(order) => break Some(order),
                Err(TryRecvError::Disconnected) => break None,
                Err(TryRecvError::Empty) => {
                    // A query's answer is on the screen; a preview may not be.
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

    fn evaluate(&self, expression: &Expression) -> Result<Answer, String> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| expression.evaluate(&self.session.here())));
        match evaluated {
            Ok(answer) => answer.map_err(|e| in_a_line(&e.to_string())),
            Err(_) => Err(tr!("`{}`: a fault of diffuscope's own", expression.text())),
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
                let message = panic.downcast_ref::<&str>().map(|message| message.to_string());
                let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let error = tr!(
                    "a fault of diffuscope's own ended the command: {message}; what was recorded is kept, `restart` begins \
                     again",
                    message
                );
                let view = self.viewer.view(&self.session).ok().map(Box::new);
                return (self.tell)(Event::Failed { command: line, error: in_a_line(&error), view });
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
        let Ok(models) = self.session.backend().models() else { return };
        let image = match stages::vae_decode(models, &latents, &mut probe) {
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

    /// Answers a query, unless an order comes meanwhile: then it starts again after that order.
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
            Err(_) => Err(tr!("a fault of diffuscope's own: nothing was found out")),
        };
        (self.tell)(Event::Inspected(asked, told));
    }
}

/// An error as the one line that an interface has for it.
fn one_line(error: &SessionError) -> String {
    in_a_line(&error.to_string())
}

fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

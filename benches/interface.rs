//! How quick the interface is: `cargo bench`. Prints the table of `docs/benchmarks.md`; asserts nothing, since machines
//! differ.

use candle_core::{DType, Device};
use crossterm::event::{KeyCode, KeyEvent};
use diffuscope::checkpoint::ModelSource;
use diffuscope::debugger::backend::ModelInfo;
use diffuscope::debugger::language::arguments::Nothing;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::view::Viewer;
use diffuscope::debugger::{Command, Event, Order, Worker};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Models, Request};
use diffuscope::tui::app::{App, Input};
use diffuscope::tui::pictures::{Graphics, Pictures};
use diffuscope::tui::theme::Scheme;
use diffuscope::tui::{depth::Depth, view};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use ratatui::{TerminalOptions, Viewport};
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use sysinfo::{ProcessesToUpdate, System};

const STEPS: usize = 20;

fn main() {
    println!("| what | median | p99 | aim |\n|---|---|---|---|");
    row("start of the process to the first frame, 100×30", first_frames(), "150 ms");

    let models = Arc::new(Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap());
    let request = Request { num_inference_steps: STEPS, ..Request::for_models(&models, "red apple") };
    let mut session = Session::new(Arc::clone(&models), request.clone()).unwrap();
    session.run_line("continue", &mut Unwatched).unwrap();
    session.run_line("goto denoise 12", &mut Unwatched).unwrap();

    let mut screen = Screen::new(200, 60);
    screen.app.handle(Input::Worker(Event::Ready(
        (&ModelInfo::from(&*models)).into(),
        Box::new(Viewer::default().view(&session).unwrap()),
    )));
    for (number, name) in
        (1..).zip(["overview", "tensors", "residuals", "scheduler", "prompt", "charts", "source"])
    {
        screen.key(KeyCode::Char(char::from_digit(number, 10).unwrap()));
        row(&format!("a frame of the {name}, 200×60"), (0..200).map(|_| screen.frame()).collect(), "4 ms");
    }

    session.run_line("compare guidance_scale 1,3,7.5,15", &mut Unwatched).unwrap();
    session.run_line("goto vae_decode", &mut Unwatched).unwrap();
    screen.app.handle(Input::Worker(Event::Looked(Box::new(Viewer::default().view(&session).unwrap()))));
    for name in ["compare", "timelines"] {
        screen.key(KeyCode::Char(if name == "compare" { '9' } else { '8' }));
        row(&format!("a frame of the {name}, 200×60"), (0..200).map(|_| screen.frame()).collect(), "4 ms");
    }
    session.run_line("switch main", &mut Unwatched).unwrap();

    let mut screen = Screen::new(120, 40);
    screen.app.handle(Input::Worker(Event::Ready(
        (&ModelInfo::from(&*models)).into(),
        Box::new(Viewer::default().view(&session).unwrap()),
    )));
    let keys =
        [KeyCode::Char('2'), KeyCode::Down, KeyCode::Char('3'), KeyCode::Tab, KeyCode::Left, KeyCode::Right];
    let idle = (0..2000).map(|n| screen.pressed(keys[n % keys.len()])).collect();
    row("a key to its frame, idle, 120×40", idle, "16 ms");

    let (tell, events) = channel();
    let worker = Worker::spawn(
        move |_| {
            Session::new(models, Request { num_inference_steps: 900, ..request }).map_err(|e| e.to_string())
        },
        move |event| drop(tell.send(event)),
    );
    worker.order(Order::Command(Command::Continue(Nothing).into()));
    let mut screen = Screen::new(120, 40);
    let mut busy = vec![];
    while busy.len() < 1000 {
        let told: Vec<Event> = events.try_iter().collect();
        told.into_iter().for_each(|event| drop(screen.app.handle(Input::Worker(event))));
        busy.push(screen.pressed(keys[busy.len() % keys.len()]));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(worker);
    row("a key to its frame, while every core computes, 120×40", busy, "33 ms");

    let before = memory();
    let mut screen = Screen::new(120, 40);
    for n in 0..10_000 {
        session.look(n % (STEPS + 4));
        let view = Box::new(Viewer::default().view(&session).unwrap());
        screen.app.handle(Input::Worker(Event::Looked(view)));
        screen.frame();
        if n == 999 {
            println!("| memory after 1,000 frames of playback | {} MiB | | |", memory() >> 20);
        }
    }
    println!(
        "| memory after 10,000 frames of playback ({} MiB before the first) | {} MiB | | flat |",
        before >> 20,
        memory() >> 20
    );
}

/// The application on a terminal that swallows what it is sent.
struct Screen {
    app: App,
    pictures: Pictures,
    terminal: Terminal<CrosstermBackend<std::io::Sink>>,
}

impl Screen {
    fn new(width: u16, height: u16) -> Self {
        let mut app = App::new(Size { width, height });
        app.depth = Depth::TrueColour;
        app.theme = Scheme::Dark.theme(app.depth);
        let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
        let terminal =
            Terminal::with_options(CrosstermBackend::new(std::io::sink()), TerminalOptions { viewport })
                .unwrap();
        Self { app, pictures: Pictures::new(Graphics::HalfBlocks), terminal }
    }

    fn frame(&mut self) -> Duration {
        let start = Instant::now();
        let mut hits = vec![];
        self.terminal.draw(|frame| hits = view::draw(&self.app, &mut self.pictures, frame)).unwrap();
        self.app.hits = hits;
        start.elapsed()
    }

    fn key(&mut self, key: KeyCode) {
        self.app.handle(Input::Key(KeyEvent::from(key)));
    }

    fn pressed(&mut self, key: KeyCode) -> Duration {
        let start = Instant::now();
        self.key(key);
        self.frame();
        start.elapsed()
    }
}

/// The real program in a pseudo-terminal, until its first screen has come.
fn first_frames() -> Vec<Duration> {
    let once = |_| {
        let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_diffuscope"));
        command.env_clear();
        command.env("TERM", "xterm-256color");
        let mut output = pty.master.try_clone_reader().unwrap();
        let start = Instant::now();
        let mut child = pty.slave.spawn_command(command).unwrap();
        let mut seen = vec![];
        let mut bytes = [0; 4096];
        // The last line of the first screen.
        while !String::from_utf8_lossy(&seen).contains("quit") {
            let count = output.read(&mut bytes).unwrap();
            seen.extend(&bytes[..count]);
        }
        let took = start.elapsed();
        child.kill().unwrap();
        child.wait().unwrap();
        took
    };
    (0..20).map(once).collect()
}

fn row(what: &str, mut times: Vec<Duration>, aim: &str) {
    times.sort_unstable();
    let ms = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("| {what} | {:.2} ms | {:.2} ms | {aim} |", ms(50), ms(99));
}

/// Bytes of memory that the program has.
fn memory() -> u64 {
    let mut system = System::new();
    let id = sysinfo::get_current_pid().unwrap();
    system.refresh_processes(ProcessesToUpdate::Some(&[id]), true);
    system.process(id).map_or(0, sysinfo::Process::memory)
}

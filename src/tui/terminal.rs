//! The terminal: captured, drawn on, and restored however the program ends.

use super::app::{App, Input};
use super::keymap::Held;
use super::pictures::{self, Pictures};
use super::view;
use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;
use tr::tr;

/// Whether the program has captured the terminal. The first thread that clears it restores the terminal.
static CAPTURED: AtomicBool = AtomicBool::new(false);
/// Panic messages of other threads, held back while the terminal is captured.
static HELD_BACK: Mutex<Vec<String>> = Mutex::new(vec![]);

/// The captured terminal. Dropping it restores the terminal.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// Whether the program has captured the mouse.
    mouse: bool,
}

/// A terminal's abilities, as detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The width in cells.
    pub columns: u16,
    /// The height in cells.
    pub rows: u16,
    /// How pictures would be drawn, in words.
    pub graphics: &'static str,
    /// The pixels of a cell: (width, height).
    pub cell: (u32, u32),
}

/// Detects the terminal's abilities and leaves it unchanged; `None` when standard input or output is not a terminal.
pub fn found(choice: pictures::Choice) -> Option<Found> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        return None;
    }
    let (columns, rows) = crossterm::terminal::size().ok()?;
    enable_raw_mode().ok()?;
    let graphics = pictures::Graphics::detect(choice);
    // Nothing more can be done here if this fails.
    let _ = disable_raw_mode();
    Some(Found { columns, rows, graphics: graphics.name(), cell: graphics.cell() })
}

impl Screen {
    /// Captures the terminal. A panic of this thread restores it before the panic is reported; panics of other threads
    /// are
    /// reported when the terminal is restored.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn open() -> io::Result<Self> {
        if !stdout().is_terminal() {
            return Err(io::Error::other("standard output is not one"));
        }
        if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return Err(io::Error::other(tr!(
                "TERM is `dumb`: it cannot place text; expected another terminal, or `diffuscope debug --batch -x FILE`, or `run`"
            )));
        }
        give_back_on_panic();
        let opened = take(true).and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(stdout()))));
        match opened {
            Ok(terminal) => Ok(Self { terminal, mouse: true }),
            Err(e) => {
                give_back();
                Err(e)
            }
        }
    }

    /// The size of the terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Draws the application.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, app: &mut App, pictures: &mut Pictures) -> io::Result<()> {
        // After a panic elsewhere the terminal may be restored already: the screen is then the shell's.
        if CAPTURED.load(Ordering::SeqCst) {
            let mut hits = vec![];
            self.terminal.draw(|frame| hits = view::draw(app, pictures, frame))?;
            app.hits = hits;
            let dropped = pictures.take_dropped();
            if !dropped.is_empty() {
                let backend = self.terminal.backend_mut();
                backend.write_all(dropped.as_bytes())?;
                Write::flush(backend)?;
            }
        }
        Ok(())
    }

    /// Redraws the whole screen at the next frame.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal for its cursor position, and wait for a reply that the thread that
        // reads
        // keys receives.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from(size))
    }

    /// Restores the terminal and suspends the program, as the shell's `fg` expects; returns when it is resumed.
    ///
    /// # Errors
    /// When the terminal is gone.
    #[cfg(unix)]
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // The program's own handler of SIGTSTP would only send the request again.
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
        self.retake()
    }

    /// Captures the terminal again; another program may have left it in any state.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn retake(&mut self) -> io::Result<()> {
        if CAPTURED.load(Ordering::SeqCst) {
            // Otherwise crossterm assumes that raw mode is still on.
            disable_raw_mode()?;
        }
        take(self.mouse)?;
        self.clear()
    }

    /// Captures the mouse, or releases it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn take_mouse(&mut self, ours: bool) -> io::Result<()> {
        self.mouse = ours;
        if ours { execute!(stdout(), EnableMouseCapture) } else { execute!(stdout(), DisableMouseCapture) }
    }

    /// Copies `text` to the terminal's clipboard (OSC 52), if the terminal allows it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(stdout(), CopyToClipboard::to_clipboard_from(text))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Captures the terminal, with or without the mouse.
fn take(mouse: bool) -> io::Result<()> {
    CAPTURED.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if mouse { execute!(stdout(), EnableMouseCapture) } else { Ok(()) }
}

/// Restores the terminal, once. An error here means that the terminal is gone.
fn give_back() {
    if CAPTURED.swap(false, Ordering::SeqCst) {
        let _ = stdout().write_all(pictures::dropping_all().as_bytes());
        let _ = execute!(
            stdout(),
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
        for message in HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = writeln!(io::stderr(), "{message}");
        }
    }
}

/// Makes a panic of the drawing thread restore the terminal. A panic of another thread may be survived: its message
/// would only spoil the screen, so it is held back.
fn give_back_on_panic() {
    static HOOKED: Once = Once::new();
    let drawing = std::thread::current().id();
    HOOKED.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == drawing {
                give_back();
            } else if CAPTURED.load(Ordering::SeqCst) {
                let mut held_back = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
                if held_back.len() < MOST_HELD_BACK {
                    held_back.push(info.to_string());
                }
                return;
            }
            report(info);
        }));
    });
}

/// The limit of panic messages that are held back; the first is the cause.
const MOST_HELD_BACK: usize = 8;

/// Starts a thread that forwards the terminal's events to `inputs`. It ends with the program: a read cannot be
/// interrupted.
pub fn forward_keys(inputs: Sender<Input>) {
    std::thread::spawn(move || {
        let mut held = Held::default();
        loop {
            let input = match crossterm::event::read() {
                Ok(Event::Key(key)) => Input::Key(held.marked(key, Instant::now())),
                Ok(Event::Mouse(event)) => Input::Mouse(event, Instant::now()),
                Ok(Event::Paste(text)) => Input::Paste(text),
                Ok(Event::Resize(width, height)) => Input::Resize(Size { width, height }),
                Ok(_) => continue,
                Err(e) => Input::Closed(e.to_string()),
            };
            let closed = matches!(input, Input::Closed(_));
            if inputs.send(input).is_err() || closed {
                return;
            }
        }
    });
}

/// Starts a thread that forwards signals to `inputs`: to end, to suspend, to resume.
///
/// # Errors
/// When the signal handlers cannot be installed.
#[cfg(unix)]
pub fn forward_signals(inputs: Sender<Input>) -> io::Result<()> {
    use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGCONT])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let input = match signal {
                SIGTSTP => Input::Suspend,
                SIGCONT => Input::Continued,
                signal => Input::Signal(signal),
            };
            if inputs.send(input).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Other systems have no such signals.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn forward_signals(_: Sender<Input>) -> io::Result<()> {
    Ok(())
}

//! The terminal: taken over, drawn on, and left as it was found, however the program ends.

use super::app::{App, Input};
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

/// Whether the terminal is ours: it is left once, by whoever comes first.
static OURS: AtomicBool = AtomicBool::new(false);
/// What other threads said when they panicked while the terminal was ours.
static UNTOLD: Mutex<Vec<String>> = Mutex::new(vec![]);

/// The terminal while the program has it. Dropping it gives it back.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// Whether the mouse is ours.
    mouse: bool,
}

/// A terminal as it says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How wide it is, in cells.
    pub columns: u16,
    /// How high it is, in cells.
    pub rows: u16,
    /// How pictures would be drawn, in words.
    pub graphics: &'static str,
    /// A cell's pixels that can be drawn: (width, height).
    pub cell: (u32, u32),
}

/// Asks the terminal what the interface asks it, and leaves it as it was; `None` where standard input or output is none.
pub fn found(choice: pictures::Choice) -> Option<Found> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        return None;
    }
    let (columns, rows) = crossterm::terminal::size().ok()?;
    enable_raw_mode().ok()?;
    let graphics = pictures::Graphics::detect(choice);
    // What failed to be left would be told by the shell.
    let _ = disable_raw_mode();
    Some(Found { columns, rows, graphics: graphics.name(), cell: graphics.cell() })
}

impl Screen {
    /// Takes the terminal over. A panic of this thread gives it back before it is told; what another thread says when
    /// it panics is told when the terminal is given back.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn open() -> io::Result<Self> {
        if !stdout().is_terminal() {
            return Err(io::Error::other("standard output is not one"));
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
        // After a panic elsewhere there may be a moment before we hear of it; the shell's screen is not ours.
        if OURS.load(Ordering::SeqCst) {
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

    /// Has the next frame drawn anew from nothing.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal where its cursor is, and wait for an answer that the thread that
        // reads keys takes.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from(size))
    }

    /// Gives the terminal back and stops the program, as the shell's `fg` expects; goes on when it is told to.
    ///
    /// # Errors
    /// When the terminal is gone.
    #[cfg(unix)]
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // Our own handler of SIGTSTP would only ask for this again.
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
        self.retake()
    }

    /// Takes the terminal over once more: whoever had it meanwhile may have left it in any state.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn retake(&mut self) -> io::Result<()> {
        if OURS.load(Ordering::SeqCst) {
            // Else raw mode would be thought to be on.
            disable_raw_mode()?;
        }
        take(self.mouse)?;
        self.clear()
    }

    /// Takes the mouse, or leaves it to the terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn take_mouse(&mut self, ours: bool) -> io::Result<()> {
        self.mouse = ours;
        if ours { execute!(stdout(), EnableMouseCapture) } else { execute!(stdout(), DisableMouseCapture) }
    }

    /// Puts `text` on the terminal's clipboard (OSC 52), where the terminal allows it.
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

/// Takes the terminal, with the mouse or without it.
fn take(mouse: bool) -> io::Result<()> {
    OURS.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if mouse { execute!(stdout(), EnableMouseCapture) } else { Ok(()) }
}

/// Gives the terminal back, once. What fails here fails because the terminal is gone.
fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        let _ = stdout().write_all(pictures::dropping_all().as_bytes());
        let _ = execute!(
            stdout(),
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
        for said in UNTOLD.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = writeln!(io::stderr(), "{said}");
        }
    }
}

/// Has a panic of the thread that draws give the terminal back. Another thread's may be survived: its message would only
/// spoil the screen, and waits.
fn give_back_on_panic() {
    static HOOKED: Once = Once::new();
    let drawing = std::thread::current().id();
    HOOKED.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == drawing {
                give_back();
            } else if OURS.load(Ordering::SeqCst) {
                let mut untold = UNTOLD.lock().unwrap_or_else(PoisonError::into_inner);
                if untold.len() < MOST_UNTOLD {
                    untold.push(info.to_string());
                }
                return;
            }
            tell(info);
        }));
    });
}

/// Panics that are told: the first is the cause.
const MOST_UNTOLD: usize = 8;

/// Starts a thread that puts what the terminal sends into `inputs`. It ends with the program: a read cannot be
/// interrupted.
pub fn forward_keys(inputs: Sender<Input>) {
    std::thread::spawn(move || {
        loop {
            let input = match crossterm::event::read() {
                Ok(Event::Key(key)) => Input::Key(key),
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

/// Starts a thread that puts the system's requests into `inputs`: to end, to stop, to go on.
///
/// # Errors
/// When the system does not let us hear of them.
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

/// Elsewhere there are no such requests.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn forward_signals(_: Sender<Input>) -> io::Result<()> {
    Ok(())
}

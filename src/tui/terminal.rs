//! The terminal: taken over, drawn on, and left as it was found, however the program ends.

use super::app::{App, Input};
use super::pictures::Pictures;
use super::view;
use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Size;
use std::io::{self, BufWriter, IsTerminal, Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Instant;

/// Whether the terminal is ours: it is left once, by whoever comes first.
static OURS: AtomicBool = AtomicBool::new(false);

/// The terminal while the program has it. Dropping it gives it back.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over. A panic, on any thread, gives it back before it is told.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn open() -> io::Result<Self> {
        if !stdout().is_terminal() {
            return Err(io::Error::other("standard output is not one"));
        }
        give_back_on_panic();
        OURS.store(true, Ordering::SeqCst);
        let opened = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide))
            .and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(stdout()))));
        match opened {
            Ok(terminal) => Ok(Self { terminal }),
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
        }
        Ok(())
    }

    /// Has the next frame drawn anew from nothing.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

impl Screen {
    /// Takes the mouse, or leaves it to the terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn take_mouse(&mut self, ours: bool) -> io::Result<()> {
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

/// Gives the terminal back, once. What fails here fails because the terminal is gone.
fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        let _ = execute!(
            stdout(),
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
    }
}

fn give_back_on_panic() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            tell(info);
        }));
    });
}

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

/// Starts a thread that puts the system's requests to end into `inputs`.
///
/// # Errors
/// When the system does not let us hear of them.
#[cfg(unix)]
pub fn forward_signals(inputs: Sender<Input>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if inputs.send(Input::Signal(signal)).is_err() {
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

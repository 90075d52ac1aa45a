//! How the terminal draws pictures: as chosen, or as detected.

use image::{DynamicImage, RgbImage};
use ratatui::layout::Size;
use ratatui_image::picker::cap_parser::QueryStdioOptions;
use ratatui_image::picker::{Capability, Picker, ProtocolType};
use ratatui_image::protocol::Protocol as Drawn;
use ratatui_image::protocol::{iterm2::Iterm2, kitty::Kitty, sixel::Sixel};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The setting of how pictures are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// As detected.
    #[default]
    Auto,
    /// By kitty's protocol.
    Kitty,
    /// As sixels.
    Sixel,
    /// By iTerm2's protocol.
    Iterm2,
    /// Two pixels per cell, in every terminal.
    Halfblocks,
    /// Not at all.
    None,
}

/// How the terminal draws pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphics {
    /// Two pixels per cell, in every terminal.
    HalfBlocks,
    /// Pixel by pixel.
    Protocol(Protocol),
    /// Not at all.
    None,
}

/// A protocol that draws pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    kind: ProtocolType,
    /// The pixels of a cell: (width, height).
    font: (u16, u16),
    /// Whether tmux runs between the program and the terminal.
    is_tmux: bool,
    /// Whether the terminal decompresses its input (kitty's protocol).
    inflates: bool,
}

/// How long a terminal may take to answer the query.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pixels of a cell when they are unknown.
const USUAL_FONT: (u16, u16) = (8, 16);

/// The range of this program's picture numbers in kitty's protocol: other programs may have pictures in the same
/// terminal.
pub(super) const NUMBERS: (u32, u32) = (0x00d1_0000, 0x00d1_ffff);
/// Whether kitty's protocol was used, so that pictures must be deleted at the end.
static KITTY: AtomicBool = AtomicBool::new(false);

impl Graphics {
    /// The chosen protocol. [`Choice::Auto`] queries the terminal if the environment names one that draws pictures.
    ///
    /// An unanswered query leaves a reader on standard input that swallows keys until the answer arrives. A request
    /// that can
    /// be abandoned comes first: the cursor's position.
    ///
    /// Call it in raw mode, before anything else reads from the terminal.
    pub fn detect(choice: Choice) -> Self {
        let kind = match choice {
            Choice::None => return Self::None,
            Choice::Halfblocks => return Self::HalfBlocks,
            Choice::Auto => return Self::queried(),
            Choice::Kitty => ProtocolType::Kitty,
            Choice::Sixel => ProtocolType::Sixel,
            Choice::Iterm2 => ProtocolType::Iterm2,
        };
        let is_tmux = std::env::var("TMUX").is_ok_and(|value| !value.is_empty());
        let font = font_of_window().unwrap_or(USUAL_FONT);
        Self::Protocol(Protocol { kind, font, is_tmux, inflates: false }).noted()
    }

    fn queried() -> Self {
        if !draws_pictures(|name| std::env::var(name).ok()) || crossterm::cursor::position().is_err() {
            return Self::HalfBlocks;
        }
        let options = QueryStdioOptions { timeout: PATIENCE, ..QueryStdioOptions::default() };
        match Picker::from_query_stdio_with_options(options) {
            Ok(picker) if picker.protocol_type() != ProtocolType::Halfblocks => Self::Protocol(Protocol {
                kind: picker.protocol_type(),
                font: (picker.font_size().width.max(1), picker.font_size().height.max(1)),
                is_tmux: picker.tmux_detected(),
                inflates: picker.capabilities().contains(&Capability::KittyCompression),
            })
            .noted(),
            _ => Self::HalfBlocks,
        }
    }

    fn noted(self) -> Self {
        if matches!(self, Self::Protocol(Protocol { kind: ProtocolType::Kitty, .. })) {
            KITTY.store(true, Ordering::SeqCst);
        }
        self
    }

    /// The same after a resize, which may also change the size of a cell.
    pub fn resized(self) -> Self {
        match (self, font_of_window()) {
            (Self::Protocol(protocol), Some(font)) => Self::Protocol(Protocol { font, ..protocol }),
            _ => self,
        }
    }

    /// A description.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "nothing (--graphics none)",
            Self::HalfBlocks => "half blocks",
            Self::Protocol(protocol) => match protocol.kind {
                ProtocolType::Halfblocks => "half blocks",
                ProtocolType::Sixel => "sixel",
                ProtocolType::Kitty => "the kitty protocol",
                ProtocolType::Iterm2 => "the iTerm2 protocol",
            },
        }
    }

    /// The pixels of a cell: (width, height).
    pub fn cell(&self) -> (u32, u32) {
        match self {
            Self::HalfBlocks | Self::None => (1, 2),
            Self::Protocol(Protocol { font, .. }) => (font.0.into(), font.1.into()),
        }
    }
}

impl Protocol {
    /// Encodes `image`, which has the pixels of `size` cells, for the terminal; in kitty's protocol under `number`.
    /// `None` when it cannot be encoded.
    pub(super) fn encode(&self, image: RgbImage, size: Size, number: u32) -> Option<Drawn> {
        let image = DynamicImage::ImageRgb8(image);
        match self.kind {
            ProtocolType::Kitty => {
                Kitty::new(image, size, number, self.is_tmux, self.inflates).ok().map(Drawn::Kitty)
            }
            ProtocolType::Sixel => Sixel::new(image, size, self.is_tmux).ok().map(Drawn::Sixel),
            ProtocolType::Iterm2 => Iterm2::new(image, size, self.is_tmux).ok().map(Drawn::ITerm2),
            ProtocolType::Halfblocks => None,
        }
    }

    /// The sequence that deletes the picture of that number; empty in other protocols.
    pub(super) fn dropping(&self, number: u32) -> String {
        match (self.kind, self.is_tmux) {
            (ProtocolType::Kitty, false) => format!("\x1b_Ga=d,d=I,i={number},q=2\x1b\\"),
            (ProtocolType::Kitty, true) => {
                format!("\x1bPtmux;\x1b\x1b_Ga=d,d=I,i={number},q=2\x1b\x1b\\\x1b\\")
            }
            _ => String::new(),
        }
    }
}

/// The sequence that deletes all pictures of this program; empty in other protocols.
pub fn dropping_all() -> String {
    let (first, last) = NUMBERS;
    match KITTY.load(Ordering::SeqCst) {
        true => format!("\x1b_Ga=d,d=R,x={first},y={last},q=2\x1b\\"),
        false => String::new(),
    }
}

/// The pixels of a cell as the system reports them.
fn font_of_window() -> Option<(u16, u16)> {
    let window = crossterm::terminal::window_size().ok()?;
    let font = (window.width.checked_div(window.columns)?, window.height.checked_div(window.rows)?);
    (font.0 > 0 && font.1 > 0).then_some(font)
}

/// Whether the environment names a terminal that draws pictures, and no tmux or screen is in between.
fn draws_pictures(variable: impl Fn(&str) -> Option<String>) -> bool {
    let value = |name| variable(name).unwrap_or_default();
    let term = value("TERM");
    if !value("TMUX").is_empty() || term.starts_with("tmux") || term.starts_with("screen") {
        return false;
    }
    let names = ["kitty", "ghostty", "foot", "wezterm", "contour", "mlterm"];
    let programs = ["iTerm.app", "WezTerm", "ghostty", "mintty", "rio"];
    let own = ["KITTY_WINDOW_ID", "WEZTERM_EXECUTABLE", "KONSOLE_VERSION", "XTERM_VERSION", "WT_SESSION"];
    names.iter().any(|name| term.contains(name))
        || programs.contains(&value("TERM_PROGRAM").as_str())
        || own.iter().any(|name| !value(name).is_empty())
}

#[cfg(test)]
impl Graphics {
    /// A terminal that speaks kitty's protocol.
    pub(super) fn kitty() -> Self {
        Self::Protocol(Protocol { kind: ProtocolType::Kitty, font: (4, 8), is_tmux: false, inflates: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_that_answer_are_asked() {
        let asks = |set: &[(&str, &str)]| {
            draws_pictures(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
        };
        assert!(asks(&[("TERM", "xterm-kitty")]));
        assert!(asks(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]));
        assert!(!asks(&[("TERM", "xterm-256color")]));
        assert!(!asks(&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")]));
        assert!(!asks(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux-0/default,1,0")]));
    }
}

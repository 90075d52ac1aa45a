//! Pictures in the terminal: which protocol draws them, and what was encoded for it.

use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::widgets::Widget;
use ratatui_image::picker::cap_parser::QueryStdioOptions;
use ratatui_image::picker::{Picker, ProtocolType};
use ratatui_image::protocol::{Protocol, halfblocks::Halfblocks};
use ratatui_image::{Image, Resize};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How pictures shall be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphicsChoice {
    /// As well as the terminal says that it can.
    #[default]
    Auto,
    /// The kitty protocol.
    Kitty,
    /// Sixel.
    Sixel,
    /// The iTerm2 protocol.
    Iterm2,
    /// Two pixels a cell, in every terminal.
    HalfBlocks,
}

/// How the terminal draws pictures.
#[derive(Debug)]
pub enum Graphics {
    /// Two pixels a cell, in every terminal.
    HalfBlocks,
    /// As the terminal itself said that it can.
    Protocol(Picker),
}

/// How long a terminal may take to say what it can.
const PATIENCE: Duration = Duration::from_secs(1);

impl Graphics {
    /// Asks the terminal, if the environment names one that draws pictures.
    ///
    /// The query leaves a reader on standard input that swallows keys until the answer comes. So the terminal is first
    /// asked for something that can be given up: where its cursor is.
    ///
    /// To be called in raw mode, before anyone else reads from the terminal.
    pub fn detect() -> Self {
        if !draws_pictures(|name| std::env::var(name).ok()) || crossterm::cursor::position().is_err() {
            return Self::HalfBlocks;
        }
        let options = QueryStdioOptions { timeout: PATIENCE, ..QueryStdioOptions::default() };
        match Picker::from_query_stdio_with_options(options) {
            Ok(picker) if picker.protocol_type() != ProtocolType::Halfblocks => Self::Protocol(picker),
            _ => Self::HalfBlocks,
        }
    }

    /// The protocol's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HalfBlocks => "half blocks",
            Self::Protocol(picker) => match picker.protocol_type() {
                ProtocolType::Halfblocks => "half blocks",
                ProtocolType::Sixel => "sixel",
                ProtocolType::Kitty => "the kitty protocol",
                ProtocolType::Iterm2 => "the iTerm2 protocol",
            },
        }
    }

    /// A cell's pixels: (width, height).
    pub fn cell(&self) -> (u32, u32) {
        match self {
            Self::HalfBlocks => (1, 2),
            Self::Protocol(picker) => {
                let font = picker.font_size();
                (u32::from(font.width).max(1), u32::from(font.height).max(1))
            }
        }
    }

    /// `image` for an area of `size`, filling it. `None` when the protocol cannot encode it.
    fn encode(&self, image: RgbImage, size: Size) -> Option<Protocol> {
        let image = DynamicImage::ImageRgb8(image);
        match self {
            Self::HalfBlocks => Halfblocks::new(image, size).ok().map(Protocol::Halfblocks),
            Self::Protocol(picker) => picker.new_protocol(image, size, Resize::Fit(None)).ok(),
        }
    }
}

/// Whether the environment names a terminal that draws pictures, and that is not hidden behind tmux or screen.
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

/// Draws pictures, and keeps what it encoded for as long as it is on the screen.
#[derive(Debug)]
pub struct Pictures {
    graphics: Graphics,
    encoded: Vec<Encoded>,
}

struct Encoded {
    image: Arc<RgbImage>,
    size: Size,
    protocol: Protocol,
    on_screen: bool,
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoded").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Pictures {
    /// With nothing drawn yet.
    pub fn new(graphics: Graphics) -> Self {
        Self { graphics, encoded: vec![] }
    }

    /// How they are drawn.
    pub fn graphics(&self) -> &Graphics {
        &self.graphics
    }

    /// Forgets what the terminal was sent: it was cleared.
    pub fn forget(&mut self) {
        self.encoded.clear();
    }

    /// Draws `image` so that it fills `area`. Values of a tensor, which a pixel stands for each, keep their edges when
    /// they are enlarged; a `smooth` picture does not.
    pub fn draw(&mut self, image: &Arc<RgbImage>, smooth: bool, area: Rect, buf: &mut Buffer) {
        if area.is_empty() || image.width() == 0 || image.height() == 0 {
            return;
        }
        let size = area.as_size();
        let known = self.encoded.iter_mut().find(|e| Arc::ptr_eq(&e.image, image) && e.size == size);
        if let Some(known) = known {
            known.on_screen = true;
            Image::new(&known.protocol).render(area, buf);
            return;
        }
        let (w, h) = self.graphics.cell();
        let (width, height) = (u32::from(area.width) * w, u32::from(area.height) * h);
        let scaled = imageops::resize(&**image, width, height, filter(image, smooth, width));
        if let Some(protocol) = self.graphics.encode(scaled, size) {
            Image::new(&protocol).render(area, buf);
            self.encoded.push(Encoded { image: Arc::clone(image), size, protocol, on_screen: true });
        }
    }

    /// Drops what was not drawn since the last call.
    pub fn sweep(&mut self) {
        self.encoded.retain_mut(|encoded| std::mem::take(&mut encoded.on_screen));
    }
}

fn filter(image: &RgbImage, smooth: bool, width: u32) -> FilterType {
    match (image.width() < width, smooth) {
        (true, false) => FilterType::Nearest,
        (true, true) => FilterType::CatmullRom,
        (false, _) => FilterType::Triangle,
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

    #[test]
    fn a_picture_is_encoded_once_and_dropped_when_it_is_gone() {
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let image = Arc::new(RgbImage::from_fn(2, 2, |x, _| image::Rgb([x as u8 * 255; 3])));
        let area = Rect::new(0, 0, 4, 2);
        let mut buf = Buffer::empty(area);
        for _ in 0..2 {
            pictures.draw(&image, false, area, &mut buf);
            pictures.sweep();
            assert_eq!(pictures.encoded.len(), 1);
        }
        // Nearest: nothing between black and white.
        let colours: Vec<_> = (0..4).map(|x| buf[(x, 0)].bg).collect();
        let (black, white) = (ratatui::style::Color::Rgb(0, 0, 0), ratatui::style::Color::Rgb(255, 255, 255));
        assert_eq!(colours, [black, black, white, white]);
        pictures.sweep();
        assert!(pictures.encoded.is_empty());
    }
}

//! What a view is drawn with: what is known, the theme, the buffer, and a note of what is where for the mouse.

use super::pictures::Pictures;
use super::state::State;
use super::theme::Theme;
use super::view::ViewId;
use image::RgbImage;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;
use std::sync::Arc;

/// What a view is drawn with.
#[derive(Debug)]
pub struct Canvas<'a> {
    /// What is known.
    pub state: &'a State,
    /// Every style.
    pub theme: &'a Theme,
    /// Pictures in the terminal.
    pub pictures: &'a mut Pictures,
    /// The cells.
    pub buf: &'a mut Buffer,
    /// What is where, the last drawn last.
    pub hits: &'a mut Vec<Hit>,
    /// Whether keys go to the pane that is being drawn.
    pub focused: bool,
}

/// Something on the screen that the mouse can be pressed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Where it is.
    pub area: Rect,
    /// What it is.
    pub target: Target,
}

/// What can be pressed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The name of a view.
    Tab(ViewId),
    /// A pane of the view, by its name: the area is what is inside of it.
    Pane(&'static str),
    /// A part of a pane that its view drew: the pane's name, and a number that the view gave it.
    Part(&'static str, usize),
    /// A stage, by its index.
    Stage(usize),
    /// The place before a stage where a breakpoint is shown.
    Gutter(usize),
    /// A place that can be looked at, on the scrubber.
    Place(usize),
}

impl Canvas<'_> {
    /// Draws lines from the top of `area`; those that have no room are left out.
    pub fn lines(&mut self, lines: &[Line<'_>], area: Rect) {
        let area = area.intersection(self.buf.area);
        for (line, row) in lines.iter().zip(area.rows()) {
            line.render(row, self.buf);
        }
    }

    /// Draws `lines` from the line `top` on.
    pub fn scrolled(&mut self, lines: &[Line<'_>], top: usize, area: Rect) {
        self.lines(lines.get(top.min(lines.len())..).unwrap_or_default(), area);
    }

    /// Draws `image` so that it fills `area`; a `smooth` picture has no edges where it is enlarged.
    pub fn picture(&mut self, image: &Arc<RgbImage>, smooth: bool, area: Rect) {
        self.pictures.draw(image, smooth, area.intersection(self.buf.area), self.buf);
    }

    /// Notes that the mouse can be pressed on `area`.
    pub fn hit(&mut self, area: Rect, target: Target) {
        self.hits.push(Hit { area, target });
    }
}

/// What is at a place of the screen: the last that was drawn there.
pub fn at(hits: &[Hit], place: Position) -> Option<Hit> {
    hits.iter().rev().find(|hit| hit.area.contains(place)).copied()
}

//! What a view draws with: the state, the theme, the buffer, and a record of the areas that the mouse can press.

use super::pictures::Pictures;
use super::state::State;
use super::text;
use super::theme::Theme;
use super::view::ViewId;
use crossterm::event::KeyEvent;
use image::RgbImage;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;
use std::sync::Arc;
use tr::tr;

/// What a view draws with.
#[derive(Debug)]
pub struct Canvas<'a> {
    /// The session's state and the recorded stages.
    pub state: &'a State,
    /// Every style.
    pub theme: &'a Theme,
    /// Pictures in the terminal.
    pub pictures: &'a mut Pictures,
    /// The cells.
    pub buf: &'a mut Buffer,
    /// Areas that the mouse can press, in the order in which they were drawn.
    pub hits: &'a mut Vec<Hit>,
    /// Whether the pane that is being drawn has the focus.
    pub focused: bool,
}

/// An area of the screen that the mouse can press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The area.
    pub area: Rect,
    /// What a press there means.
    pub target: Target,
}

/// What the mouse can press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The name of a view.
    Tab(ViewId),
    /// A pane of the view, by its name; the area is the pane's inside.
    Pane(&'static str),
    /// A part of a pane: the pane's name, and a number that its view chose.
    Part(&'static str, usize),
    /// A stage, by its index.
    Stage(usize),
    /// The column left of a stage where its breakpoint is shown.
    Gutter(usize),
    /// A recorded place, on the scrubber.
    Place(usize),
    /// A hint: a press is that key.
    Key(KeyEvent),
}

impl Canvas<'_> {
    /// Draws lines from the top of `area`; lines that do not fit are left out.
    pub fn lines(&mut self, lines: &[Line<'_>], area: Rect) {
        let area = area.intersection(self.buf.area);
        for (line, row) in lines.iter().zip(area.rows()) {
            line.render(row, self.buf);
        }
    }

    /// Draws `lines` from line `top` on, and marks the last row when more follow.
    pub fn scrolled(&mut self, lines: &[Line<'_>], top: usize, area: Rect) {
        let shown = lines.get(top.min(lines.len())..).unwrap_or_default();
        self.lines(shown, area);
        let area = area.intersection(self.buf.area);
        if shown.len() > area.height.into() && area.height > 0 {
            let (more, columns) = (tr!("▼ more"), usize::from(area.width));
            // The mark replaces the last row, so that it cuts no number.
            let pad = " ".repeat(columns.saturating_sub(text::width(&more)));
            let place = Rect { y: area.bottom() - 1, height: 1, ..area };
            Line::styled(pad + &more, self.theme.key).render(place, self.buf);
        }
    }

    /// Draws `image` over all of `area`. A `smooth` picture is interpolated when it is enlarged.
    pub fn picture(&mut self, image: &Arc<RgbImage>, smooth: bool, area: Rect) {
        self.pictures.draw(image, smooth, area.intersection(self.buf.area), self.buf);
    }

    /// Records that the mouse can press `area`.
    pub fn hit(&mut self, area: Rect, target: Target) {
        self.hits.push(Hit { area, target });
    }
}

/// The target at a position of the screen: the last that was drawn there.
pub fn at(hits: &[Hit], place: Position) -> Option<Hit> {
    hits.iter().rev().find(|hit| hit.area.contains(place)).copied()
}

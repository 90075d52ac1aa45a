//! A page of text that scrolls.

use super::canvas::Canvas;
use super::text;
use crossterm::event::KeyCode;
use ratatui::layout::{Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// A page of text that scrolls, up and down and sideways.
#[derive(Debug)]
pub struct Page {
    title: String,
    lines: Vec<Line<'static>>,
    top: usize,
    left: usize,
}

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Turned {
    /// The page scrolled, or is at its end.
    On,
    /// The page is to be closed.
    Closed,
    /// The key is none of the page's.
    Unknown,
}

/// How far a key scrolls sideways.
const SIDEWAYS: usize = 8;

impl Page {
    /// A page of styled lines.
    pub fn new(title: &str, lines: Vec<Line<'static>>) -> Self {
        Self { title: title.into(), lines, top: 0, left: 0 }
    }

    /// A page of plain lines.
    pub fn of_text(title: &str, lines: &[String]) -> Self {
        Self::new(title, lines.iter().cloned().map(Line::from).collect())
    }

    /// The rows that the page takes of `most`: what it needs when that is at most half of them, else all.
    pub fn rows(&self, most: u16) -> u16 {
        let needed = self.lines.len() + 1;
        if needed <= usize::from(most / 2) { needed as u16 } else { most }
    }

    /// Takes a key, where the page has rows of `size`.
    pub fn key(&mut self, key: KeyCode, size: Size) -> Turned {
        let size = Size { height: self.rows(size.height), ..size };
        let rows = usize::from(size.height.saturating_sub(1));
        let (down, right) = self.room(size);
        match key {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => return Turned::Closed,
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::PageUp => self.top = self.top.saturating_sub(rows),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top += rows,
            KeyCode::Home => (self.top, self.left) = (0, 0),
            KeyCode::End => self.top = down,
            KeyCode::Left | KeyCode::Char('h') => self.left = self.left.saturating_sub(SIDEWAYS),
            KeyCode::Right | KeyCode::Char('l') => self.left += SIDEWAYS,
            _ => return Turned::Unknown,
        }
        self.top = self.top.min(down);
        self.left = self.left.min(right);
        Turned::On
    }

    /// How far an area of `size` can be scrolled, down and to the right.
    fn room(&self, size: Size) -> (usize, usize) {
        let rows = usize::from(size.height.saturating_sub(1));
        let widest = self.lines.iter().map(Line::width).max().unwrap_or(0);
        (self.lines.len().saturating_sub(rows), widest.saturating_sub(size.width.into()))
    }
}

impl Page {
    /// Draws the page.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (theme, buf) = (canvas.theme, &mut *canvas.buf);
        if area.is_empty() {
            return;
        }
        let (down, right) = self.room(area.as_size());
        let (top, left) = (self.top.min(down), self.left.min(right));
        let rows = usize::from(area.height) - 1;
        let shown = (top + 1).min(self.lines.len())..=(top + rows).min(self.lines.len());
        let mut place = if left < right { " more →".to_string() } else { String::new() };
        if down > 0 {
            place.push_str(&format!("  {}–{} of {}", shown.start(), shown.end(), self.lines.len()));
        }
        let columns = usize::from(area.width).saturating_sub(text::width(&place));
        let title = text::shortened(&self.title, columns);
        let pad = " ".repeat(columns.saturating_sub(text::width(&title)));
        let top_row = Rect { height: 1, ..area };
        Line::from(vec![Span::raw(title), Span::raw(pad), Span::raw(place)])
            .style(theme.page_title)
            .render(top_row, buf);
        for (line, row) in self.lines.iter().skip(top).zip(area.rows().skip(1)) {
            scrolled(line, left).render(row, buf);
        }
    }
}

/// The part of a line from column `left` on.
fn scrolled(line: &Line<'static>, left: usize) -> Line<'static> {
    let mut line = line.clone();
    let mut left = left;
    for span in &mut line.spans {
        let width = span.width();
        span.content = text::skipped(&span.content, left).into();
        left = left.saturating_sub(width);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_scrolls_no_further_than_its_end() {
        let lines: Vec<String> = (0..10).map(|n| format!("line {n}")).collect();
        let mut page = Page::of_text("output", &lines);
        let size = Size::new(20, 5);
        for _ in 0..30 {
            page.key(KeyCode::Down, size);
        }
        assert_eq!(page.top, 6);
        page.key(KeyCode::Right, size);
        assert_eq!(page.left, 0);
        assert_eq!(page.key(KeyCode::Esc, size), Turned::Closed);
    }
}

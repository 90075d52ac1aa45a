//! A page of text that scrolls.

use super::{text, theme};
use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::text::Line;
use ratatui::widgets::Widget;

/// A page of text that scrolls, up and down and sideways.
#[derive(Debug)]
pub struct Page {
    title: String,
    lines: Vec<Line<'static>>,
    top: usize,
    left: usize,
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

    /// Scrolls on an area of `size`; true when the key closes the page.
    pub fn key(&mut self, key: KeyCode, size: Size) -> bool {
        let rows = usize::from(size.height.saturating_sub(1));
        let (down, right) = self.room(size);
        match key {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => return true,
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::PageUp | KeyCode::Char('b') => self.top = self.top.saturating_sub(rows),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top += rows,
            KeyCode::Home | KeyCode::Char('g') => (self.top, self.left) = (0, 0),
            KeyCode::End | KeyCode::Char('G') => self.top = down,
            KeyCode::Left | KeyCode::Char('h') => self.left = self.left.saturating_sub(SIDEWAYS),
            KeyCode::Right | KeyCode::Char('l') => self.left += SIDEWAYS,
            _ => {}
        }
        self.top = self.top.min(down);
        self.left = self.left.min(right);
        false
    }

    /// How far an area of `size` can be scrolled, down and to the right.
    fn room(&self, size: Size) -> (usize, usize) {
        let rows = usize::from(size.height.saturating_sub(1));
        let widest = self.lines.iter().map(Line::width).max().unwrap_or(0);
        (self.lines.len().saturating_sub(rows), widest.saturating_sub(size.width.into()))
    }
}

impl Widget for &Page {
    fn render(self, area: Rect, buf: &mut Buffer) {
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
        let title = text::shortened(&self.title, usize::from(area.width).saturating_sub(text::width(&place)));
        let [top_row, ..] = area.rows().collect::<Vec<_>>()[..] else { return };
        Line::styled(title, theme::STRONG).render(top_row, buf);
        Line::styled(place, theme::FAINT).right_aligned().render(top_row, buf);
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
        assert!(page.key(KeyCode::Esc, size));
    }
}

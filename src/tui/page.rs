//! A page of text that scrolls.

use super::canvas::Canvas;
use super::list::{Scroll, Step};
use super::text;
use crate::debugger::record::NamedPicture;
use crossterm::event::KeyCode;
use ratatui::layout::{Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// A page of text that scrolls, up and down and sideways.
#[derive(Debug)]
pub struct Page {
    /// What the text is about, shown above it.
    pub picture: Option<NamedPicture>,
    title: String,
    lines: Vec<Line<'static>>,
    /// So many of the first lines are prose, which is wrapped; the others are tables or code, which are scrolled sideways.
    prose: usize,
    scroll: Scroll,
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
        Self { picture: None, title: title.into(), lines, prose: 0, scroll: Scroll::default(), left: 0 }
    }

    /// A page of plain lines, of which the first `prose` are wrapped.
    pub fn of_text(title: &str, lines: &[String], prose: usize) -> Self {
        Self { prose, ..Self::new(title, lines.iter().cloned().map(Line::from).collect()) }
    }

    /// The rows that the page takes of an area of `most`: what it needs when that is at most half of them, else all;
    /// a picture is left half of them.
    pub fn rows(&self, most: Size) -> u16 {
        let needed = self.laid_out(most.width).len() + 1;
        let half = most.height / 2;
        if needed <= usize::from(half) {
            needed as u16
        } else if self.picture.is_some() {
            half
        } else {
            most.height
        }
    }

    /// The lines in `width` columns: prose is wrapped, and goes on where it began.
    fn laid_out(&self, width: u16) -> Vec<Line<'static>> {
        let mut lines = vec![];
        for (index, line) in self.lines.iter().enumerate() {
            if index >= self.prose {
                lines.push(line.clone());
                continue;
            }
            let text = line.to_string();
            let indent = text.len() - text.trim_start().len();
            let columns = usize::from(width).saturating_sub(indent);
            let wrapped = text::wrapped(text.trim_start(), columns);
            lines.extend(wrapped.into_iter().map(|part| Line::from(format!("{}{part}", " ".repeat(indent)))));
        }
        lines
    }

    /// The whole text.
    #[cfg(test)]
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.to_string() + "\n").collect()
    }

    /// Takes a key, where the page has rows of `size`.
    pub fn key(&mut self, key: KeyCode, size: Size) -> Turned {
        let size = Size { height: self.rows(size), ..size };
        let rows = usize::from(size.height.saturating_sub(1));
        let lines = self.laid_out(size.width);
        let step = |scroll: Scroll, step| scroll.step(step, lines.len(), rows);
        match key {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => return Turned::Closed,
            KeyCode::Char(' ') => self.scroll = step(self.scroll, Step::Pages(1)),
            KeyCode::Home => (self.scroll, self.left) = (Scroll::default(), 0),
            KeyCode::End => self.scroll = Scroll::at(usize::MAX),
            KeyCode::Left | KeyCode::Char('h') => self.left = self.left.saturating_sub(SIDEWAYS),
            KeyCode::Right | KeyCode::Char('l') => self.left += SIDEWAYS,
            key => match Step::of(key) {
                Some(by) => self.scroll = step(self.scroll, by),
                None => return Turned::Unknown,
            },
        }
        self.left = self.left.min(self.room(size).1);
        Turned::On
    }

    /// How far an area of `size` can be scrolled, down and to the right.
    fn room(&self, size: Size) -> (usize, usize) {
        let rows = usize::from(size.height.saturating_sub(1));
        let lines = self.laid_out(size.width);
        let widest = lines.iter().map(Line::width).max().unwrap_or(0);
        (lines.len().saturating_sub(rows), widest.saturating_sub(size.width.into()))
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
        let lines = self.laid_out(area.width);
        let rows = usize::from(area.height) - 1;
        let (top, left) = (self.scroll.top(lines.len(), rows), self.left.min(right));
        let shown = (top + 1).min(lines.len())..=(top + rows).min(lines.len());
        let mut place = if left < right { " more →".to_string() } else { String::new() };
        if down > 0 {
            place.push_str(&format!("  {}–{} of {}", shown.start(), shown.end(), lines.len()));
        }
        let columns = usize::from(area.width).saturating_sub(text::width(&place));
        let title = text::shortened(&self.title, columns);
        let pad = " ".repeat(columns.saturating_sub(text::width(&title)));
        let top_row = Rect { height: 1, ..area };
        Line::from(vec![Span::raw(title), Span::raw(pad), Span::raw(place)])
            .style(theme.page_title)
            .render(top_row, buf);
        for (line, row) in lines.iter().skip(top).zip(area.rows().skip(1)) {
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
        let mut page = Page::of_text("output", &lines, 0);
        let size = Size::new(20, 5);
        for _ in 0..30 {
            page.key(KeyCode::Down, size);
        }
        assert_eq!(page.scroll.top(10, 4), 6);
        page.key(KeyCode::Right, size);
        assert_eq!(page.left, 0);
        assert_eq!(page.key(KeyCode::Esc, size), Turned::Closed);
    }

    #[test]
    fn prose_is_wrapped_where_it_began_and_a_table_is_not() {
        let lines = ["  one two three".to_string(), "a  table  that  is  wide".into()];
        let page = Page::of_text("output", &lines, 1);
        let laid_out: Vec<String> = page.laid_out(10).iter().map(Line::to_string).collect();
        assert_eq!(laid_out, ["  one two", "  three", "a  table  that  is  wide"]);
        assert_eq!(page.room(Size::new(10, 9)), (0, 14));
        assert_eq!(page.rows(Size::new(10, 9)), 4);
    }
}

//! A page of text that scrolls.

use super::canvas::Canvas;
use super::list::{Scroll, Step};
use super::text;
use crate::debugger::record::NamedPicture;
use crossterm::event::KeyCode;
use ratatui::layout::{Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// A page of text that scrolls vertically and sideways.
#[derive(Debug)]
pub struct Page {
    /// The title.
    pub picture: Option<NamedPicture>,
    title: String,
    lines: Vec<Line<'static>>,
    /// The number of leading lines that are prose, which is wrapped; the others are tables or code, which scroll
    /// sideways.
    prose: usize,
    scroll: Scroll,
    left: usize,
    /// Whether keys that the page does not use do nothing, instead of closing it.
    keeps_keys: bool,
    search: Search,
}

/// A text that is searched for in the page.
#[derive(Debug, Default)]
struct Search {
    text: String,
    /// Whether it is being typed.
    is_typed: bool,
}

/// The result of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Turned {
    /// The page scrolled, or is at its end.
    On,
    /// The page should be closed.
    Closed,
    /// The page does not use the key.
    Unknown,
}

/// Columns that a key scrolls sideways.
const SIDEWAYS: usize = 8;

impl Page {
    /// A page of styled lines.
    pub fn new(title: &str, lines: Vec<Line<'static>>) -> Self {
        Self {
            picture: None,
            title: title.into(),
            lines,
            prose: 0,
            scroll: Scroll::default(),
            left: 0,
            keeps_keys: false,
            search: Search::default(),
        }
    }

    /// A page on which keys that it does not use do nothing.
    pub fn keeping_keys(self) -> Self {
        Self { keeps_keys: true, ..self }
    }

    /// A page of plain lines, the first `prose` of which are wrapped.
    pub fn of_text(title: &str, lines: &[String], prose: usize) -> Self {
        Self { prose, ..Self::new(title, lines.iter().cloned().map(Line::from).collect()) }
    }

    /// The rows that the page takes of `most`: as many as it needs, up to half; if it needs more, all. A picture always
    /// leaves it half.
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

    /// The lines in `width` columns. Wrapped prose keeps its indentation.
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

    /// Handles a key, in a page of `size`.
    pub fn key(&mut self, key: KeyCode, size: Size) -> Turned {
        let size = Size { height: self.rows(size), ..size };
        let rows = usize::from(size.height.saturating_sub(1));
        let lines = self.laid_out(size.width);
        if self.search.is_typed {
            self.type_search(key, &lines, rows);
            return Turned::On;
        }
        let step = |scroll: Scroll, step| scroll.step(step, lines.len(), rows);
        match key {
            KeyCode::Char('/') => self.search = Search { is_typed: true, ..Search::default() },
            KeyCode::Esc if !self.search.text.is_empty() => self.search = Search::default(),
            KeyCode::Char('n') if !self.search.text.is_empty() => self.find(&lines, rows, 1),
            KeyCode::Char('N') if !self.search.text.is_empty() => self.find(&lines, rows, -1),
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => return Turned::Closed,
            KeyCode::Char(' ') => self.scroll = step(self.scroll, Step::Pages(1)),
            KeyCode::Home => (self.scroll, self.left) = (Scroll::default(), 0),
            KeyCode::End => self.scroll = Scroll::at(usize::MAX),
            KeyCode::Left | KeyCode::Char('h') => self.left = self.left.saturating_sub(SIDEWAYS),
            KeyCode::Right | KeyCode::Char('l') => self.left += SIDEWAYS,
            key => match Step::of(key) {
                Some(by) => self.scroll = step(self.scroll, by),
                // The console opens from every page.
                None if self.keeps_keys && key != KeyCode::Char(':') => {}
                None => return Turned::Unknown,
            },
        }
        self.left = self.left.min(self.room(size).1);
        Turned::On
    }

    /// A key while the text to search for is being typed: the page shows the first place that has it.
    fn type_search(&mut self, key: KeyCode, lines: &[Line<'_>], rows: usize) {
        match key {
            KeyCode::Char(c) => self.search.text.push(c),
            KeyCode::Backspace if !self.search.text.is_empty() => drop(self.search.text.pop()),
            KeyCode::Esc | KeyCode::Backspace => return self.search = Search::default(),
            KeyCode::Enter => return self.search.is_typed = false,
            _ => return,
        }
        self.find(lines, rows, 0);
    }

    /// Scrolls to a line with the searched text: 0 is the first from the top of the screen on, 1 the next, −1 the one
    /// before; after the last comes the first.
    fn find(&mut self, lines: &[Line<'_>], rows: usize, by: isize) {
        let found = self.found(lines);
        let top = self.scroll.top(lines.len(), rows);
        let next = match by {
            0 => found.iter().find(|at| **at >= top).or(found.first()),
            1 => found.iter().find(|at| **at > top).or(found.first()),
            _ => found.iter().rev().find(|at| **at < top).or(found.last()),
        };
        if let Some(at) = next {
            self.scroll = Scroll::at(*at);
        }
    }

    /// The lines with the searched text.
    fn found(&self, lines: &[Line<'_>]) -> Vec<usize> {
        let wanted = self.search.text.to_lowercase();
        let has = |line: &Line<'_>| !wanted.is_empty() && line.to_string().to_lowercase().contains(&wanted);
        lines.iter().enumerate().filter(|(_, line)| has(line)).map(|(at, _)| at).collect()
    }

    /// The search as the title's line shows it.
    fn searched(&self, lines: &[Line<'_>]) -> String {
        let Search { text, is_typed } = &self.search;
        match (text.is_empty(), is_typed) {
            (true, false) => String::new(),
            (true, true) => "  /".into(),
            _ => tr!("  /{text}: {} lines", self.found(lines).len(), text),
        }
    }

    /// How far the page scrolls in an area of `size`: rows down, columns to the right.
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
        let mut place = self.searched(&lines);
        if left < right {
            place.push_str(" more →");
        }
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
        let found = self.found(&lines);
        for ((at, line), row) in lines.iter().enumerate().skip(top).zip(area.rows().skip(1)) {
            scrolled(line, left).render(row, buf);
            if found.contains(&at) {
                buf.set_style(row, theme.here);
            }
        }
    }
}

/// A line from column `left` on.
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
    fn a_text_is_searched_and_letters_are_typed() {
        let lines: Vec<String> = (0..30).map(|n| format!("Line {n}")).collect();
        let mut page = Page::of_text("output", &lines, 0).keeping_keys();
        let size = Size::new(20, 5);
        let mut press = |keys: &str| {
            keys.chars().for_each(|c| assert_eq!(page.key(KeyCode::Char(c), size), Turned::On));
            page.scroll.top(30, 4)
        };
        assert_eq!(press("Rec"), 0, "letters do nothing");
        assert_eq!(press("/line 2"), 2);
        page.key(KeyCode::Enter, size);
        let mut press = |keys: &str| {
            keys.chars().for_each(|c| assert_eq!(page.key(KeyCode::Char(c), size), Turned::On));
            page.scroll.top(30, 4)
        };
        assert_eq!([press("n"), press("n"), press("N"), press("NN")], [20, 21, 20, 26]);
        assert_eq!(page.key(KeyCode::Esc, size), Turned::On, "Esc ends the search first");
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

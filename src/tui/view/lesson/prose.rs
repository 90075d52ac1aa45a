//! Markdown as lines: headings, paragraphs, lists, tables, quotations, formulas and code.

use super::super::source::coloured;
use super::flow;
use crate::lesson::format::Prose;
use crate::lesson::reading::Value;
use crate::tui::text;
use crate::tui::theme::Theme;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Characters that stand for the live numbers of a prose while it is read as Markdown: private ones, from here on.
const LIVE: u32 = 0xF_0000;
/// More numbers than a prose has.
const MOST_LIVE: u32 = 0xFFFD;
/// Columns between two columns of a table.
const GAP: usize = 2;
/// A column of a table is made no narrower than this, while another is wider.
const NARROWEST: usize = 6;

/// Prose with its numbers; `…` stands for those that are not evaluated yet, `–` for those that have no value.
pub fn lines(prose: &Prose, live: &[Option<Value>], theme: &Theme, columns: usize) -> Vec<Line<'static>> {
    let (mut marked, mut from) = (String::new(), 0);
    for (number, live) in (0..MOST_LIVE).zip(&prose.live) {
        let before = prose.text.get(from..live.within.start).unwrap_or_default();
        marked.extend(before.chars().map(public));
        marked.extend(char::from_u32(LIVE + number));
        from = live.within.end;
    }
    marked.extend(prose.text.get(from..).unwrap_or_default().chars().map(public));
    let value = |live: &Option<Value>| match live {
        Some(Ok(value)) => text::clean(value),
        Some(Err(_)) => "–".into(),
        None => "…".into(),
    };
    Writer::new(theme, columns, live.iter().map(value).collect()).write(&marked)
}

/// Markdown without numbers.
pub fn plain(markdown: &str, theme: &Theme, columns: usize) -> Vec<Line<'static>> {
    let text: String = markdown.chars().map(public).collect();
    Writer::new(theme, columns, vec![]).write(&text)
}

/// A character that is none of those that stand for numbers.
fn public(c: char) -> char {
    if (c as u32) < LIVE { c } else { '\u{fffd}' }
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<Vec<Span<'static>>>>,
}

struct Writer<'a> {
    theme: &'a Theme,
    columns: usize,
    live: Vec<String>,
    lines: Vec<Line<'static>>,
    /// The paragraph at hand.
    spans: Vec<Span<'static>>,
    /// A line of the file ended here.
    broke: bool,
    styles: Vec<Style>,
    /// What stands before the next lines of what is open: lists and quotations.
    prefixes: Vec<Prefix>,
    table: Option<Table>,
    code: Option<(String, String)>,
}

struct Prefix {
    /// Before the first line; then there is none.
    first: Option<Span<'static>>,
    /// Before the others.
    rest: Span<'static>,
    /// Of a list that counts: the next number.
    number: Option<u64>,
}

impl<'a> Writer<'a> {
    fn new(theme: &'a Theme, columns: usize, live: Vec<String>) -> Self {
        Self {
            theme,
            columns,
            live,
            lines: vec![],
            spans: vec![],
            broke: false,
            styles: vec![],
            prefixes: vec![],
            table: None,
            code: None,
        }
    }

    fn write(mut self, markdown: &str) -> Vec<Line<'static>> {
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(tag) => self.start(tag),
                Event::End(tag) => self.end(tag),
                Event::Text(text) => match &mut self.code {
                    Some((_, code)) => code.push_str(&text),
                    None => self.text(&text, self.style()),
                },
                Event::Code(code) => self.text(&code, self.theme.tensor),
                Event::SoftBreak => self.broke = true,
                Event::HardBreak => self.flush(),
                Event::Rule => {
                    self.gap();
                    self.lines.push(Line::styled("─".repeat(self.columns), self.theme.rule));
                }
                // What a web page would obey is not shown.
                _ => {}
            }
        }
        self.flush();
        self.lines
    }

    fn style(&self) -> Style {
        self.styles.iter().fold(Style::new(), |style, next| style.patch(*next))
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if !self.has_fresh_item() => self.gap(),
            Tag::Heading { .. } => {
                self.gap();
                self.styles.push(self.theme.strong);
            }
            Tag::Emphasis => self.styles.push(self.theme.emphasis),
            Tag::Strong => self.styles.push(self.theme.strong),
            Tag::Link { .. } => self.styles.push(self.theme.key),
            Tag::BlockQuote(_) => {
                self.gap();
                let bar = Span::styled("▎ ", self.theme.rule);
                self.prefixes.push(Prefix { first: None, rest: bar, number: None });
            }
            Tag::List(number) => {
                self.flush();
                if self.prefixes.is_empty() {
                    self.gap();
                }
                self.prefixes.push(Prefix { first: None, rest: Span::raw(""), number });
            }
            Tag::Item => {
                let mark = match self.prefixes.last_mut().and_then(|list| list.number.as_mut()) {
                    Some(number) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    None => "• ".into(),
                };
                let rest = Span::raw(" ".repeat(text::width(&mark)));
                self.prefixes.push(Prefix {
                    first: Some(Span::styled(mark, self.theme.key)),
                    rest,
                    number: None,
                });
            }
            Tag::CodeBlock(kind) => {
                self.gap();
                let tag = match kind {
                    CodeBlockKind::Fenced(info) => {
                        info.split_whitespace().next().unwrap_or_default().to_string()
                    }
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((tag, String::new()));
            }
            Tag::Table(_) => {
                self.gap();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(vec![]);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.flush(),
            TagEnd::Heading(_) => {
                self.flush();
                self.styles.pop();
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link => {
                self.styles.pop();
            }
            TagEnd::Item | TagEnd::List(_) | TagEnd::BlockQuote(_) => {
                self.flush();
                self.prefixes.pop();
            }
            TagEnd::CodeBlock => {
                if let Some((tag, code)) = self.code.take() {
                    self.code_block(&tag, &code);
                }
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.spans);
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(cell);
                }
                self.broke = false;
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.table_lines(&table);
                }
            }
            _ => {}
        }
    }

    /// Whether nothing was written yet behind the mark of a list's item.
    fn has_fresh_item(&self) -> bool {
        self.prefixes.last().is_some_and(|prefix| prefix.first.is_some())
    }

    fn text(&mut self, text: &str, style: Style) {
        if std::mem::take(&mut self.broke) {
            // Where words are not told apart by spaces, the end of a line is none either.
            let wide = |c: Option<char>| c.is_some_and(|c| text::width(c.encode_utf8(&mut [0; 4])) == 2);
            let before = self.spans.last().and_then(|span| span.content.chars().next_back());
            if !(wide(before) && wide(text.chars().next())) {
                self.push(" ", style);
            }
        }
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| *c as u32 >= LIVE) {
            self.push(&rest[..at], style);
            let value = self.live.get((c as u32 - LIVE) as usize).cloned().unwrap_or_default();
            self.push(&value, self.theme.here);
            rest = &rest[at + c.len_utf8()..];
        }
        self.push(rest, style);
    }

    fn push(&mut self, text: &str, style: Style) {
        if !text.is_empty() {
            self.spans.push(Span::styled(text::clean(text), style));
        }
    }

    /// Ends the paragraph at hand.
    fn flush(&mut self) {
        self.broke = false;
        let spans = std::mem::take(&mut self.spans);
        if !spans.is_empty() {
            let indent: usize = self.prefixes.iter().map(|prefix| prefix.rest.width()).sum();
            for line in flow::wrapped(&spans, self.columns.saturating_sub(indent).max(1)) {
                self.put(line);
            }
        }
    }

    /// A line, behind what stands before it.
    fn put(&mut self, line: Line<'static>) {
        let before = self.prefixes.iter_mut();
        let mut spans: Vec<Span<'static>> =
            before.map(|prefix| prefix.first.take().unwrap_or_else(|| prefix.rest.clone())).collect();
        spans.extend(line.spans);
        self.lines.push(Line::from(spans));
    }

    /// An empty line between two things.
    fn gap(&mut self) {
        self.flush();
        if self.lines.last().is_some_and(|line| line.width() > 0) {
            self.lines.push(Line::default());
        }
    }

    fn code_block(&mut self, tag: &str, code: &str) {
        let lines: Vec<String> = code.lines().map(text::clean).collect();
        let lines = match tag {
            "rust" => coloured(&lines.iter().map(String::as_str).collect::<Vec<_>>(), self.theme),
            "math" => lines.into_iter().map(|line| Line::styled(line, self.theme.here)).collect(),
            _ => lines.into_iter().map(|line| Line::styled(line, self.theme.code.literal)).collect(),
        };
        for line in lines {
            // The style of a line is that of its spans from here on.
            let spans: Vec<Span<'static>> =
                line.spans.into_iter().map(|span| span.patch_style(line.style)).collect();
            let indent: usize = self.prefixes.iter().map(|prefix| prefix.rest.width()).sum();
            let indented = flow::hanging(&[Span::raw("  ")], &spans, self.columns.saturating_sub(indent));
            indented.into_iter().for_each(|line| self.put(line));
        }
    }

    fn table_lines(&mut self, table: &Table) {
        let count = table.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |cell: &Vec<Span<'static>>| cell.iter().map(Span::width).sum::<usize>();
        let mut widths: Vec<usize> = (0..count)
            .map(|column| table.rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0))
            .collect();
        let room = self.columns.saturating_sub(GAP * count.saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            match widths.iter_mut().max() {
                Some(widest) if *widest > 1 && (*widest > NARROWEST || room < count * NARROWEST) => {
                    *widest -= 1
                }
                _ => break,
            }
        }
        for (index, row) in table.rows.iter().enumerate() {
            let cells: Vec<Vec<Line<'static>>> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| {
                    let strong = cell.iter().map(|span| span.clone().patch_style(self.theme.strong));
                    let cell = if index == 0 { strong.collect() } else { cell.clone() };
                    flow::wrapped(&cell, *width)
                })
                .collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for row in 0..height {
                let mut line = Line::default();
                for (cell, width) in cells.iter().zip(&widths) {
                    let part = cell.get(row).cloned().unwrap_or_default();
                    let pad = (width + GAP).saturating_sub(part.width());
                    line.spans.extend(part.spans);
                    line.push_span(" ".repeat(pad));
                }
                self.put(line);
            }
            if index == 0 {
                let all = widths.iter().sum::<usize>() + GAP * count.saturating_sub(1);
                self.put(Line::styled("─".repeat(all.min(self.columns)), self.theme.rule));
            }
        }
    }
}

#[cfg(test)]
mod tests;

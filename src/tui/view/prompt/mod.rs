//! The tokens of the prompts, their embeddings, and how alike these are.
//!
//! - [`embedded`]: tokens with their embeddings, norms and cosines.

mod embedded;

use super::pane::{Pane, Reply, View};
use super::welcome;
use crate::debugger::prompt::{TokenKind, TokenView};
use crate::debugger::record::RecordId;
use crate::tui::canvas::Canvas;
use crate::tui::list::{ListView, Step};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::heat;
use embedded::{Embedded, Prompts};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use std::cell::RefCell;
use std::rc::Rc;

const PROMPT: &str = "prompt";
const NEGATIVE: &str = "negative_prompt";
const COSINES: &str = "cosines";
/// Columns of a token's text.
const TEXT: usize = 16;

/// The prompts.
#[derive(Debug, Default)]
pub struct Prompt {
    /// The token that is selected in the prompt, and in the negative prompt.
    selected: [ListView; 2],
    /// Which of the two the cosines are of.
    negative: bool,
    /// Measured once for each record.
    known: RefCell<Option<(RecordId, Rc<Prompts>)>>,
}

impl Prompt {
    fn prompts(&self, state: &State) -> Option<Rc<Prompts>> {
        let record = state.view.as_ref()?.records.first().filter(|_| state.cursor() > 0)?;
        let mut known = self.known.borrow_mut();
        if let Some((_, prompts)) = known.as_ref().filter(|(id, _)| *id == record.id) {
            return Some(Rc::clone(prompts));
        }
        let prompts = Rc::new(Prompts::of(record)?);
        *known = Some((record.id, Rc::clone(&prompts)));
        Some(prompts)
    }

    /// The token that is selected of a prompt.
    fn at(&self, prompts: &Prompts, negative: bool) -> usize {
        let tokens = prompts.of_both[usize::from(negative)].tokens.len();
        self.selected[usize::from(negative)].selected(tokens)
    }
}

impl View for Prompt {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some(prompts) = self.prompts(state) else { return vec![Pane::new(PROMPT, "prompt", area)] };
        let [prompt, negative] = &prompts.of_both;
        let title = |name: &str, of: &Embedded| {
            let inserted = match of.inserted() {
                0 => String::new(),
                count => format!(" ({count} inserted, marked +)"),
            };
            match of.padding {
                0 => format!("{name}: {} tokens{inserted}, no padding", of.words()),
                padding => format!("{name}: {} tokens{inserted}, {padding} padding", of.words()),
            }
        };
        // Rows for the tokens, with the rule, the scale and what was cut.
        let notes = 2 + u16::from(prompt.cut.is_some());
        let tokens = prompt.tokens.len() as u16;
        let most = (area.height * 3 / 5).max(6);
        let mut high = (most.saturating_sub(notes) / tokens.max(1)).clamp(1, MOST_ROWS);
        // That the cosines have room for numbers is worth more than strips that are high.
        if area.height.saturating_sub(tokens * high + notes) < 2 * tokens + 2 {
            high = 1;
        }
        let rows = tokens * high + notes;
        let [above, below] =
            Layout::vertical([Constraint::Length(rows.min(most)), Constraint::Min(0)]).areas(area);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(below);
        let of = if self.negative { NEGATIVE } else { PROMPT };
        vec![
            Pane::new(PROMPT, title(PROMPT, prompt), above),
            Pane::new(COSINES, format!("cosines between the tokens of the {of}"), right),
            Pane::new(NEGATIVE, title(NEGATIVE, negative), left),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(prompts) = self.prompts(canvas.state) else {
            return welcome::draw_text(
                "encode_prompt cuts both prompts into 77 tokens each and makes an embedding of each token: here they \
                 stand with their numbers in the vocabulary, their embeddings as colours, and how alike those are. n \
                 runs it.",
                canvas,
                area,
            );
        };
        match pane {
            PROMPT => self.draw_tokens(&prompts, false, canvas, area),
            NEGATIVE => self.draw_tokens(&prompts, true, canvas, area),
            _ => self.draw_cosines(&prompts, canvas, area),
        }
    }

    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        let Some(prompts) = self.prompts(state) else { return Reply::Unknown };
        let negative = self.is_negative(pane);
        let tokens = prompts.of_both[usize::from(negative)].tokens.len();
        self.select(negative, self.selected[usize::from(negative)].step(step, tokens, room.height.into()))
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(prompts) = self.prompts(state) else { return Reply::Unknown };
        let negative = self.is_negative(pane);
        let of = &prompts.of_both[usize::from(negative)];
        let tokens = of.tokens.len();
        let (high, before, rows) = match pane {
            COSINES => {
                let cells = Cells::fitting(tokens, room);
                (cells.high, u16::from(cells.are_headed), cells.rows)
            }
            _ => {
                let rows = room.height.saturating_sub(notes(of));
                let high = high(rows, tokens, MOST_ROWS);
                (high, 0, rows / high)
            }
        };
        let row = usize::from(at.y.saturating_sub(before) / high);
        match self.selected[usize::from(negative)].row_at(row, tokens, rows.into()) {
            Some(pressed) => self.select(negative, ListView::at(pressed)),
            None => Reply::Taken,
        }
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let prompts = self.prompts(state)?;
        let [prompt, negative] = &prompts.of_both;
        let mut text = String::from("prompt\tindex\tid\ttoken\tnorm\n");
        for (name, of) in [(PROMPT, prompt), (NEGATIVE, negative)] {
            for (index, (token, norm)) in of.tokens.iter().zip(&of.norms).enumerate() {
                text.push_str(&format!("{name}\t{index}\t{}\t{}\t{norm}\n", token.id, token.text));
            }
        }
        Some(text)
    }
}

/// Rows that a token has at most, where there is room: its colours are seen better then.
const MOST_ROWS: u16 = 2;
/// Rows that a token has at most in the matrix of cosines.
const MOST_CELL_ROWS: u16 = 3;

/// How many rows each of `tokens` has where there are `rows` for all of them.
fn high(rows: u16, tokens: usize, most: u16) -> u16 {
    (rows / tokens.max(1) as u16).clamp(1, most)
}

/// Lines below the tokens of a prompt: the scale, and what was cut.
fn notes(of: &Embedded) -> u16 {
    1 + u16::from(of.cut.is_some())
}

/// Columns of a token's text beside the matrix of cosines, with the mark before it and the space behind it.
const NAMES: u16 = 11;
/// Columns of the numbers beside it, where there is no room for them on its cells.
const NUMBERS: u16 = 6;

/// The cells of the matrix of cosines: twice as wide as they are high.
struct Cells {
    /// Rows of a cell.
    high: u16,
    /// Tokens that are shown below each other, and beside each other.
    rows: u16,
    columns: u16,
    /// Whether the tokens stand above the matrix too.
    are_headed: bool,
}

impl Cells {
    fn fitting(tokens: usize, room: Size) -> Self {
        let count = tokens.max(1) as u16;
        let wide = room.width.saturating_sub(NAMES) / count / 2;
        let high = high(room.height, tokens, MOST_CELL_ROWS).min(wide.max(1));
        let are_headed = high > 1 && room.height > high * count;
        let numbers = if high > 1 { 0 } else { NUMBERS };
        Self {
            high,
            rows: (room.height - u16::from(are_headed)) / high,
            columns: room.width.saturating_sub(NAMES + numbers) / (2 * high),
            are_headed,
        }
    }

    fn wide(&self) -> usize {
        2 * usize::from(self.high)
    }

    /// A cosine as a cell says it; nothing where a number has no room.
    fn said(&self, cosine: f64) -> String {
        match self.high {
            1 => "  ".into(),
            2 => format!("{:>4}", format!("{cosine:.2}").replacen("0.", ".", 1)),
            _ => format!("{:>1$} ", format!("{cosine:.2}"), self.wide() - 1),
        }
    }
}

fn kind(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Start => "start",
        TokenKind::Word => "",
        TokenKind::End => "end",
        TokenKind::Padding => "padding",
    }
}

/// A token's text in `columns`; those that are no part of the prompt say what they are for. A vector that was inserted after
/// the first of its concept has a `+`.
fn name(token: &TokenView, columns: usize) -> String {
    let text = match token.kind {
        TokenKind::Word if token.is_inserted => format!("+{}", text::clean(&token.text)),
        TokenKind::Word if token.ends_word => text::clean(&token.text),
        // The next token goes on with the word.
        TokenKind::Word => format!("{}-", text::clean(&token.text)),
        other => kind(other).into(),
    };
    let short = text::shortened(&text, columns);
    let pad = " ".repeat(columns.saturating_sub(text::width(&short)));
    short + &pad
}

/// The beginning of a token's text above a column: one that is so narrow has no room for an ellipsis.
fn head(token: &TokenView, columns: usize) -> String {
    let begins = text::wrapped(name(token, TEXT).trim_end(), columns - 1).swap_remove(0);
    let pad = " ".repeat(columns - text::width(&begins));
    begins + &pad
}

fn style(token: &TokenView, theme: &Theme) -> Style {
    if token.kind == TokenKind::Word { theme.plain } else { theme.faint }
}

impl Prompt {
    fn is_negative(&self, pane: &str) -> bool {
        if pane == COSINES { self.negative } else { pane == NEGATIVE }
    }

    fn select(&mut self, negative: bool, token: ListView) -> Reply {
        self.negative = negative;
        self.selected[usize::from(negative)] = token;
        Reply::Taken
    }

    /// A row a token: its index, its number, its text, its norm, its embedding.
    fn draw_tokens(&self, prompts: &Prompts, negative: bool, canvas: &mut Canvas<'_>, area: Rect) {
        let of = &prompts.of_both[usize::from(negative)];
        let theme = canvas.theme;
        let notes = notes(of);
        let most = area.height.saturating_sub(notes);
        let high = high(most, of.tokens.len(), MOST_ROWS);
        let most = most.min(of.tokens.len() as u16 * high) / high * high;
        let [rows, below] =
            Layout::vertical([Constraint::Length(most), Constraint::Length(notes)]).areas(area);
        let selected = self.at(prompts, negative);
        let top = ListView::at(selected).window(of.tokens.len(), (rows.height / high).into()).start;
        let mut strip_at = 0;
        let rows = rows.rows().step_by(high.into()).map(|row| Rect { height: high, ..row });
        for ((index, token), row) in of.tokens.iter().enumerate().skip(top).zip(rows) {
            let here = index == selected && negative == self.negative;
            let mark = if here { "▸" } else { " " };
            let times = if token.kind == TokenKind::Padding {
                format!("×{}", of.padding)
            } else {
                index.to_string()
            };
            let line = Line::from(vec![
                Span::styled(mark, theme.focus),
                Span::styled(format!("{times:>3} "), theme.faint),
                Span::styled(format!("{:>5} ", token.id), theme.tensor),
                Span::styled(name(token, TEXT), if here { theme.strong } else { style(token, theme) }),
                Span::styled(format!("{:>7.2} ", of.norms[index]), theme.plain),
            ]);
            strip_at = line.width() as u16;
            line.render(row, canvas.buf);
            let strip =
                Rect { x: row.x + strip_at.min(row.width), width: row.width.saturating_sub(strip_at), ..row };
            heat::strip(of.embedding(index), prompts.reach, strip, canvas.buf);
        }
        let [scale, cut] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(below);
        let said = format!(" {:>3} {:>5} {:<TEXT$}{:>7} ", "", "id", "token", "norm");
        canvas.lines(&[Line::styled(said, theme.faint)], scale);
        let bar = Rect {
            x: scale.x + strip_at.min(scale.width),
            width: scale.width.saturating_sub(strip_at),
            ..scale
        };
        heat::scale(prompts.reach, theme.faint, bar, canvas.buf);
        if let Some(text) = &of.cut {
            let cut_text =
                text::shortened(&format!("cut from its end: {}", text::clean(text)), cut.width.into());
            canvas.lines(&[Line::styled(cut_text, theme.warning)], cut);
        }
    }

    /// A matrix of cosines, and where its cells have no room for them, those of the selected token as numbers.
    fn draw_cosines(&self, prompts: &Prompts, canvas: &mut Canvas<'_>, area: Rect) {
        let of = &prompts.of_both[usize::from(self.negative)];
        let theme = canvas.theme;
        let selected = self.at(prompts, self.negative);
        let cells = Cells::fitting(of.tokens.len(), area.as_size());
        let (high, wide, names) = (cells.high, cells.wide(), usize::from(NAMES));
        let list = ListView::at(selected);
        let top = list.window(of.tokens.len(), cells.rows.into()).start;
        let left = list.window(of.tokens.len(), cells.columns.into()).start;
        let shown = || (left..of.tokens.len()).take(cells.columns.into());
        let mut area = area;
        if cells.are_headed {
            let heads = shown().map(|other| head(&of.tokens[other], wide));
            let line = Line::styled(" ".repeat(names) + &heads.collect::<String>(), theme.faint);
            canvas.lines(&[line], area);
            area = Rect { y: area.y + 1, height: area.height - 1, ..area };
        }
        for (place, (index, token)) in
            of.tokens.iter().enumerate().skip(top).take(cells.rows.into()).enumerate()
        {
            let here = index == selected;
            let row = Rect { y: area.y + place as u16 * high, height: high, ..area };
            let named = Line::from(vec![
                Span::styled(if here { "▸" } else { " " }, theme.focus),
                Span::styled(name(token, names - 2), if here { theme.strong } else { style(token, theme) }),
            ]);
            let told = Rect { y: row.y + (high - 1) / 2, height: 1, ..row };
            canvas.lines(&[named], told);
            let mut x = row.x + NAMES;
            for other in shown() {
                let cosine = of.cosines[index][other];
                let ground = heat::diverging(cosine as f32, 1.);
                let cell = Rect { x, width: wide as u16, ..row }.intersection(canvas.buf.area);
                canvas.buf.set_style(cell, Style::new().fg(heat::ink(ground)).bg(ground));
                let is_marked = high == 1 && other == selected && !here;
                let said = if is_marked { "──".into() } else { cells.said(cosine) };
                canvas.lines(&[Line::raw(said)], told.intersection(Rect { x, width: wide as u16, ..told }));
                x += wide as u16;
            }
            if high == 1 {
                let number = Line::styled(format!(" {:>5.2}", of.cosines[index][selected]), theme.plain);
                canvas.lines(&[number], told.intersection(Rect { x, width: NUMBERS, ..told }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inserted_vector_is_marked() {
        let token = |text: &str, ends_word, is_inserted| TokenView {
            id: 49408,
            text: text.into(),
            ends_word,
            is_inserted,
            kind: TokenKind::Word,
        };
        let shown = |token: TokenView| name(&token, TEXT).trim_end().to_string();
        assert_eq!(shown(token("<x>", true, false)), "<x>");
        assert_eq!(shown(token("<x>", false, false)), "<x>-");
        assert_eq!(shown(token("<x>_1", false, true)), "+<x>_1");
        assert_eq!(shown(token("<x>_2", true, true)), "+<x>_2");
    }
}

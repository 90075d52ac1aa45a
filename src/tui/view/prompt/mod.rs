//! The tokens of the prompts, their embeddings, and the cosines between them.
//!
//! - [`embedded`]: tokens with their embeddings, norms and cosines. [`tokens`]: the list of them.

mod embedded;
mod tokens;

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
use std::cell::RefCell;
use std::rc::Rc;
use tr::tr;

const PROMPT: &str = "prompt";
const NEGATIVE: &str = "negative_prompt";
const COSINES: &str = "cosines";
/// Columns of a token's text.
const TEXT: usize = 16;

/// The prompts.
#[derive(Debug, Default)]
pub struct Prompt {
    /// The selected token of the prompt, and of the negative prompt.
    selected: [ListView; 2],
    /// Which of the two the cosines belong to.
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

    /// The selected token of a prompt.
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
                count => tr!(" ({count} inserted, marked +)", count),
            };
            let chunks = match of.chunks {
                1 => String::new(),
                count => tr!(", {count} chunks", count),
            };
            match of.padding() {
                0 => {
                    tr!("{name}: {} tokens{inserted}{chunks}, no padding", of.words(), name, inserted, chunks)
                }
                padding => tr!(
                    "{name}: {} tokens{inserted}{chunks}, {padding} padding",
                    of.words(),
                    name,
                    inserted,
                    chunks,
                    padding
                ),
            }
        };
        // Rows for the tokens, with the rule, the scale and the truncated text.
        let notes = 2 + u16::from(prompt.cut.is_some());
        let tokens = prompt.tokens.len() as u16;
        let most = (area.height * 3 / 5).max(6);
        let mut high = (most.saturating_sub(notes) / tokens.max(1)).clamp(1, MOST_ROWS);
        // Numbers in the matrix of cosines matter more than high strips.
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
            Pane::new(COSINES, tr!("cosines between the tokens of the {of}", of), right),
            Pane::new(NEGATIVE, title(NEGATIVE, negative), left),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(prompts) = self.prompts(canvas.state) else {
            return welcome::draw_text(
                "encode_prompt splits both prompts into 77 tokens each and computes an embedding of each token. This \
                 view shows the tokens with their ids, their embeddings as colours, and the cosines between those. n \
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
        let has_weights = [prompt, negative].into_iter().any(|of| !of.weights.is_empty());
        let mut text = String::from("prompt\tindex\tid\ttoken\tnorm");
        text.push_str(if has_weights { "\tweight\n" } else { "\n" });
        for (name, of) in [(PROMPT, prompt), (NEGATIVE, negative)] {
            for (index, (token, norm)) in of.tokens.iter().zip(&of.norms).enumerate() {
                let (position, _) = of.places[index];
                text.push_str(&format!("{name}\t{position}\t{}\t{}\t{norm}", token.id, token.text));
                if has_weights {
                    text.push_str(&format!("\t{}", of.weights.get(index).unwrap_or(&1.)));
                }
                text.push('\n');
            }
        }
        Some(text)
    }
}

/// The maximum rows of a token: higher strips show the colours better.
const MOST_ROWS: u16 = 2;
/// The maximum rows of a token in the matrix of cosines.
const MOST_CELL_ROWS: u16 = 3;

/// The rows of each of `tokens`, in `rows` rows.
fn high(rows: u16, tokens: usize, most: u16) -> u16 {
    (rows / tokens.max(1) as u16).clamp(1, most)
}

/// Lines below the tokens of a prompt: the scale and the truncated text.
fn notes(of: &Embedded) -> u16 {
    1 + u16::from(of.cut.is_some())
}

/// The columns of a token's text beside the matrix of cosines, with the mark before it and the space after it.
const NAMES: u16 = 11;
/// The columns of the numbers beside it, when they do not fit into the cells.
const NUMBERS: u16 = 6;

/// The cells of the matrix of cosines: twice as wide as high.
struct Cells {
    /// Rows of a cell.
    high: u16,
    /// The number of visible tokens, down and across.
    rows: u16,
    columns: u16,
    /// Whether the tokens' texts are above the matrix too.
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

    /// A cosine as a cell shows it; empty if a number does not fit.
    fn label(&self, cosine: f64) -> String {
        match self.high {
            1 => "  ".into(),
            // ` .98`, and ` 1.0`, so that numbers do not touch.
            2 => match format!("{cosine:.2}").replacen("0.", ".", 1) {
                one if one.trim_start_matches('-').starts_with('1') => format!("{cosine:>4.1}"),
                part => format!("{part:>4}"),
            },
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

/// A token's text in `columns`. A special token shows its purpose. A `+` marks the second and further vectors of a
/// concept.
fn name(token: &TokenView, columns: usize) -> String {
    let text = match token.kind {
        TokenKind::Word if token.is_inserted => format!("+{}", text::clean(&token.text)),
        TokenKind::Word if token.ends_word => text::clean(&token.text),
        // The next token continues the word.
        TokenKind::Word => format!("{}-", text::clean(&token.text)),
        other => kind(other).into(),
    };
    let short = text::shortened(&text, columns);
    let pad = " ".repeat(columns.saturating_sub(text::width(&short)));
    short + &pad
}

/// The beginning of a token's text above a narrow column, without an ellipsis.
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

    /// The matrix of cosines; if its cells are too small for numbers, those of the selected token are beside it.
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
            let middle = Rect { y: row.y + (high - 1) / 2, height: 1, ..row };
            canvas.lines(&[named], middle);
            let mut x = row.x + NAMES;
            for other in shown() {
                let cosine = of.cosine(index, other);
                let ground = heat::diverging(cosine as f32, 1.);
                let cell = Rect { x, width: wide as u16, ..row }.intersection(canvas.buf.area);
                canvas.buf.set_style(cell, Style::new().fg(heat::ink(ground)).bg(ground));
                let is_marked = high == 1 && other == selected && !here;
                let label = if is_marked { "──".into() } else { cells.label(cosine) };
                canvas.lines(
                    &[Line::raw(label)],
                    middle.intersection(Rect { x, width: wide as u16, ..middle }),
                );
                x += wide as u16;
            }
            if high == 1 {
                let number = Line::styled(format!(" {:>5.2}", of.cosine(index, selected)), theme.plain);
                canvas.lines(&[number], middle.intersection(Rect { x, width: NUMBERS, ..middle }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_cells_do_not_touch() {
        for high in [2, 3] {
            let cells = Cells { high, rows: 9, columns: 9, are_headed: true };
            let row = [1., 1., 0.98, 1.].map(|cosine| cells.label(cosine)).concat();
            assert_eq!(row.split_whitespace().count(), 4, "{row}");
            assert!([-1., -0.98, 0.004].iter().all(|cosine| cells.label(*cosine).len() == cells.wide()));
        }
    }

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

//! The list of a prompt's tokens.

use super::embedded::{Embedded, Prompts};
use super::{MOST_ROWS, Prompt, TEXT, high, name, notes, style};
use crate::debugger::prompt::TokenKind;
use crate::model::tokenizer::MODEL_MAX_LENGTH;
use crate::tui::canvas::Canvas;
use crate::tui::list::ListView;
use crate::tui::text;
use crate::tui::widget::heat;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// The head of the column of weights.
const WEIGHT: &str = " weight";

/// A token's weight, in a prompt that has any: that of 1 is left out.
fn weight(of: &Embedded, token: usize) -> String {
    match of.weights.get(token) {
        None => String::new(),
        Some(1.) => " ".repeat(WEIGHT.len()),
        Some(weight) => format!("{weight:>0$.2}", WEIGHT.len()),
    }
}

impl Prompt {
    /// A row per token: its index, id, text, norm and embedding.
    pub(super) fn draw_tokens(&self, prompts: &Prompts, negative: bool, canvas: &mut Canvas<'_>, area: Rect) {
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
            let (position, count) = of.places[index];
            let times = match token.kind {
                TokenKind::Padding => format!("×{count}"),
                _ => position.to_string(),
            };
            // A further chunk begins with a start token.
            let named = match (token.kind, position / MODEL_MAX_LENGTH) {
                (TokenKind::Start, chunk @ 1..) => {
                    format!("{:<TEXT$}", text::shortened(&tr!("start of chunk {}", chunk + 1), TEXT))
                }
                _ => name(token, TEXT),
            };
            let line = Line::from(vec![
                Span::styled(mark, theme.focus),
                Span::styled(format!("{times:>3} "), theme.faint),
                Span::styled(format!("{:>5} ", token.id), theme.tensor),
                Span::styled(named, if here { theme.strong } else { style(token, theme) }),
                Span::styled(weight(of, index), theme.emphasis),
                Span::styled(format!("{:>7.2} ", of.norms[index]), theme.plain),
            ]);
            strip_at = line.width() as u16;
            line.render(row, canvas.buf);
            let strip =
                Rect { x: row.x + strip_at.min(row.width), width: row.width.saturating_sub(strip_at), ..row };
            heat::strip(of.embedding(index), prompts.reach, strip, canvas.buf);
        }
        let [scale, cut] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(below);
        let weight = if of.weights.is_empty() { "" } else { WEIGHT };
        let label = format!(" {:>3} {:>5} {:<TEXT$}{weight}{:>7} ", "", "id", "token", "norm");
        canvas.lines(&[Line::styled(label, theme.faint)], scale);
        let bar = Rect {
            x: scale.x + strip_at.min(scale.width),
            width: scale.width.saturating_sub(strip_at),
            ..scale
        };
        heat::scale(prompts.reach, theme.faint, bar, canvas.buf);
        if let Some(text) = &of.cut {
            let cut_text = text::shortened(&format!("truncated: {}", text::clean(text)), cut.width.into());
            canvas.lines(&[Line::styled(cut_text, theme.warning)], cut);
        }
    }
}

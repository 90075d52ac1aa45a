//! Wraps styled text at the line breaks of Unicode's annex 14, so that no line begins with 。 or 、.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::collections::HashSet;

/// A grapheme cluster.
struct Cell {
    symbol: String,
    columns: usize,
    style: Style,
    /// Whether a line may be broken before it.
    breaks: bool,
}

/// `spans` in lines of at most `columns`. A word that is too long is broken before `_`, or anywhere. A character wider
/// than
/// `columns` is left out.
pub fn wrapped(spans: &[Span<'_>], columns: usize) -> Vec<Line<'static>> {
    let cells: Vec<Cell> = cells(spans).into_iter().filter(|cell| cell.columns <= columns).collect();
    let mut lines = vec![];
    let (mut from, mut used, mut last) = (0, 0, None);
    for at in 0..cells.len() {
        let cell = &cells[at];
        if cell.breaks && at > from {
            last = Some(at);
        }
        // A space at the end of a line may exceed the width. The rest of a broken word may still be too long.
        while used + cell.columns > columns && cell.symbol != " " {
            let within = || (from + 1..at).rev().find(|at| cells[*at].symbol == "_");
            let until = last.take().or_else(within).unwrap_or(at);
            lines.push(line(&cells[from..until]));
            from = until;
            used = cells[from..at].iter().map(|cell| cell.columns).sum();
        }
        used += cell.columns;
    }
    lines.push(line(&cells[from..]));
    lines
}

/// The same, with `first` before the first line and equal indentation before the others.
pub fn hanging(first: &[Span<'static>], spans: &[Span<'_>], columns: usize) -> Vec<Line<'static>> {
    let indent: usize = first.iter().map(Span::width).sum();
    let lines = wrapped(spans, columns.saturating_sub(indent).max(1));
    let before = |(index, line): (usize, Line<'static>)| {
        let mut all = if index == 0 { first.to_vec() } else { vec![Span::raw(" ".repeat(indent))] };
        all.extend(line.spans);
        Line::from(all)
    };
    lines.into_iter().enumerate().map(before).collect()
}

fn cells(spans: &[Span<'_>]) -> Vec<Cell> {
    let text: String = spans.iter().map(|span| &*span.content).collect();
    let breaks: HashSet<usize> = unicode_linebreak::linebreaks(&text).map(|(at, _)| at).collect();
    let (mut cells, mut at) = (vec![], 0);
    for span in spans {
        let end = at + span.content.len();
        for grapheme in span.styled_graphemes(Style::new()) {
            // Graphemes exclude control characters: text on the screen has none.
            cells.push(Cell {
                symbol: grapheme.symbol.into(),
                columns: Span::raw(grapheme.symbol).width(),
                style: grapheme.style,
                breaks: breaks.contains(&at),
            });
            at += grapheme.symbol.len();
        }
        at = end;
    }
    cells
}

fn line(cells: &[Cell]) -> Line<'static> {
    let end = cells.iter().rposition(|cell| cell.symbol != " ").map_or(0, |last| last + 1);
    let mut line = Line::default();
    for cell in &cells[..end] {
        match line.spans.last_mut() {
            Some(span) if span.style == cell.style => span.content.to_mut().push_str(&cell.symbol),
            _ => line.push_span(Span::styled(cell.symbol.clone(), cell.style)),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::text;
    use proptest::prelude::*;

    fn plain(text: &str, columns: usize) -> Vec<String> {
        wrapped(&[Span::raw(text.to_string())], columns).iter().map(Line::to_string).collect()
    }

    #[test]
    fn no_line_begins_with_what_ends_a_sentence() {
        assert_eq!(plain("ノイズを取り除く。次に、", 16), ["ノイズを取り除", "く。次に、"]);
        assert_eq!(plain("これは「ノイズ」です", 8), ["これは", "「ノイ", "ズ」です"]);
        assert_eq!(plain("ベクトルがキャットになる", 12), ["ベクトルが", "キャットにな", "る"]);
        assert_eq!(plain("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(plain("negative_prompt_embeds", 12), ["negative", "_prompt", "_embeds"]);
        assert_eq!(plain("", 10), [""]);
    }

    #[test]
    fn a_style_goes_on_in_the_next_line() {
        let bold = Style::new().bold();
        let lines = wrapped(&[Span::raw("a "), Span::styled("bb cc", bold), Span::raw(".")], 4);
        assert_eq!(lines[0], Line::from(vec![Span::raw("a "), Span::styled("bb", bold)]));
        assert_eq!(lines[1], Line::from(vec![Span::styled("cc", bold), Span::raw(".")]));
        let hung = hanging(&[Span::raw("• ")], &[Span::raw("one two")], 5);
        assert_eq!(hung.iter().map(Line::to_string).collect::<Vec<_>>(), ["• one", "  two"]);
    }

    proptest! {
        #[test]
        fn nothing_is_too_wide_and_nothing_is_lost(words in "[a-z_。、「あアー .-]{0,60}", columns in 2usize..30) {
            let lines = plain(&words, columns);
            for line in &lines {
                prop_assert!(text::width(line) <= columns, "{line:?}");
            }
            let without = |text: &str| text.replace(' ', "");
            prop_assert_eq!(without(&lines.concat()), without(&words));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", columns in 0usize..30) {
            for line in plain(&text::clean(&text), columns) {
                prop_assert!(text::width(&line) <= columns);
            }
        }
    }
}

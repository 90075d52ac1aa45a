//! Syntax colours. It handles only the Rust that is shown: comments to the end of a line, strings within a line.

use crate::tui::theme::{Code, Theme};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// The keywords that occur in the shown code.
const KEYWORDS: &[&str] = &[
    "as", "break", "const", "continue", "crate", "dyn", "else", "enum", "fn", "for", "if", "impl", "in",
    "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "self", "static", "struct",
    "super", "trait", "type", "use", "where", "while",
];

/// Lines of Rust in colours.
pub(in crate::tui::view) fn coloured(lines: &[&str], theme: &Theme) -> Vec<Line<'static>> {
    lines.iter().map(|line| coloured_line(line, theme)).collect()
}

fn coloured_line(line: &str, theme: &Theme) -> Line<'static> {
    let mut coloured = Line::default();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(word(rest));
        coloured.push_span(Span::styled(word.to_string(), style(word, after, &theme.code, theme.plain)));
        rest = after;
    }
    coloured
}

/// The bytes of the first word of `rest`, which is not empty.
fn word(rest: &str) -> usize {
    let run = |of: fn(char) -> bool| rest.find(|c| !of(c)).unwrap_or(rest.len());
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    match rest.chars().next() {
        Some('/') if rest.starts_with("//") => rest.len(),
        Some('"') => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
        Some('\'') => 1 + rest[1..].find(|c| !is_name(c)).unwrap_or(rest.len() - 1),
        Some(c) if is_name(c) => run(is_name),
        Some(c) => c.len_utf8(),
        None => 0,
    }
}

fn style(word: &str, after: &str, code: &Code, plain: Style) -> Style {
    match word.chars().next() {
        Some('/') if word.starts_with("//") => code.comment,
        Some('"') => code.literal,
        Some(c) if c.is_ascii_digit() => code.literal,
        Some('\'') => code.kind,
        _ if KEYWORDS.contains(&word) => code.keyword,
        Some(c) if c.is_alphabetic() && after.starts_with('(') => code.function,
        Some(c) if c.is_uppercase() => code.kind,
        _ => plain,
    }
}

//! Text from outside, made safe for a screen: no control characters, and cut or wrapped to a width.

use ratatui::style::Style;
use ratatui::text::Span;

/// Text without anything that a terminal would obey: control characters and overrides of the writing direction.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' => ' ',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            _ if c.is_control() => '\u{fffd}',
            _ => c,
        })
        .collect()
}

/// The width of text in columns.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The beginning of `text` that fits `columns`, ending in `…` when it is cut.
pub fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.into();
    }
    let mut short = String::new();
    let mut used = 1;
    for (symbol, columns_of_symbol) in symbols(text) {
        used += columns_of_symbol;
        if used > columns {
            break;
        }
        short.push_str(&symbol);
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

/// `text` from column `from` on.
pub fn skipped(text: &str, from: usize) -> String {
    let mut column = 0;
    let mut rest = String::new();
    for (symbol, columns) in symbols(text) {
        if column >= from {
            rest.push_str(&symbol);
        } else if column + columns > from {
            // Half of a wide character remains.
            rest.push(' ');
        }
        column += columns;
    }
    rest
}

/// `text` in lines of at most `columns`, broken after spaces if possible, else anywhere. A character wider than
/// `columns`
/// is left out.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    broken(text, columns, |before, _| before.ends_with(' '))
}

/// The same for text that contains paths: also broken after their dots.
pub fn wrapped_path(text: &str, columns: usize) -> Vec<String> {
    broken(text, columns, |before, next| before.ends_with(' ') || before.ends_with('.') && next != " ")
}

/// A name in lines of at most `columns`, broken before `_`: `pred_original`, `_sample`.
pub fn wrapped_name(name: &str, columns: usize) -> Vec<String> {
    broken(name, columns, |_, next| next == "_")
}

/// `text` in lines of at most `columns`, broken between two characters where `may_break` allows it: its arguments are
/// the
/// text before and the next character.
fn broken(text: &str, columns: usize, may_break: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut lines = vec![];
    let mut line = String::new();
    // The byte after which the line may be broken.
    let mut last_break = None;
    for (symbol, columns_of_symbol) in symbols(text) {
        if columns_of_symbol > columns {
            continue;
        }
        if !line.is_empty() && may_break(&line, &symbol) {
            last_break = Some(line.len());
        }
        // A space at the end of a line may exceed the width.
        while symbol != " " && width(&line) + columns_of_symbol > columns {
            let rest = line.split_off(last_break.take().unwrap_or(line.len()));
            lines.push(std::mem::replace(&mut line, rest));
        }
        line.push_str(&symbol);
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end().into()).collect()
}

/// Grapheme clusters with their widths in columns.
fn symbols(text: &str) -> Vec<(String, usize)> {
    let span = Span::raw(text);
    span.styled_graphemes(Style::new()).map(|g| (g.symbol.to_string(), width(g.symbol))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(clean("a\x1b[2Jb\tc\u{202e}d"), "a\u{fffd}[2Jb c\u{fffd}d");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(shortened("赤いりんご", 10), "赤いりんご");
        assert_eq!(shortened("赤いりんご", 9), "赤いりん…");
        assert_eq!(shortened("赤いりんご", 8), "赤いり…");
        assert_eq!(wrapped("赤いりんご", 5), ["赤い", "りん", "ご"]);
        assert_eq!(skipped("赤いa", 3), " a");
    }

    #[test]
    fn lines_break_at_words() {
        assert_eq!(wrapped("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrapped("four five", 4), ["four", "five"]);
        assert_eq!(wrapped_name("pred_original_sample", 13), ["pred_original", "_sample"]);
        assert_eq!(wrapped("", 10), [""]);
        assert_eq!(wrapped_path("Pipeline.__call__, the loop", 12), ["Pipeline.", "__call__,", "the loop"]);
    }

    proptest! {
        #[test]
        fn nothing_is_too_wide(text in "\\PC{0,60}", columns in 0usize..30) {
            let text = clean(&text);
            prop_assert!(width(&shortened(&text, columns)) <= columns);
            for line in wrapped(&text, columns).into_iter().chain(wrapped_name(&text, columns)) {
                prop_assert!(width(&line) <= columns, "{line:?}");
            }
            skipped(&text, columns);
        }
    }
}

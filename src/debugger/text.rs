//! Text in and out: words and quotes of a typed line; shapes, numbers and tables as the debugger prints them.

use tr::tr;

/// The words of a line; a word with spaces stands in quotes.
pub fn words(mut left: &str) -> Vec<&str> {
    let mut words = vec![];
    left = left.trim();
    while !left.is_empty() {
        let (word, more) = match left.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
            Some((word, more)) => (word, more),
            None => left.split_once(char::is_whitespace).unwrap_or((left, "")),
        };
        words.push(word);
        left = more.trim_start();
    }
    words
}

/// A text without the quotes around it.
pub fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// A word as a line holds it: in quotes where it is empty, has spaces, or begins with a quote.
pub fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && !text.contains(char::is_whitespace) && !text.starts_with('"');
    if is_plain { text.into() } else { format!("\"{text}\"") }
}

/// Typed text as a message quotes it: at most 40 characters, no control characters.
pub fn abridged(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if text.chars().count() > 40 {
        short.push('…');
    }
    short
}

/// A count in groups of three digits: `859 520 964`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes().iter().enumerate().map(|(at, digit)| {
        let gap = if at > 0 && at % 3 == first { " " } else { "" };
        format!("{gap}{}", *digit as char)
    });
    groups.collect()
}

/// A table of texts: the first `left` columns are aligned left, the others right.
pub fn aligned(heads: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < left { format!("  {cell:width$}") } else { format!("  {cell:>width$}") }
        });
        cells.collect::<String>().trim_end().to_string() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(heads.to_vec())).chain(rows).collect()
}

/// A shape as a table shows it: `1×4×16×16`.
pub fn shape(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "scalar".into();
    }
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// A number in at most ten characters.
pub fn number(v: f64) -> String {
    let magnitude = v.abs();
    if v.is_nan() {
        "NaN".into()
    } else if magnitude == 0. || (1e-3..1e5).contains(&magnitude) {
        format!("{v:.4}")
    } else {
        format!("{v:.2e}")
    }
}

/// A share in per cent, with as many digits as can be read at a glance.
pub fn percent(share: f64) -> String {
    match share.abs() * 100. {
        p if p.is_nan() || p.is_infinite() => tr!("an unknown share"),
        p if p < 0.1 => format!("{p:.1e} %"),
        p if p < 10. => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// A count with its noun: `1 breakpoint`, `3 breakpoints`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_ten_characters() {
        for v in [0., -1., 12345.6789, -99999.9, 1e-9, -f64::MAX, f64::NAN, f64::INFINITY] {
            assert!(number(v).len() <= 11, "{}", number(v));
        }
        assert_eq!(number(-0.12345), "-0.1235");
        assert_eq!(number(3.2e-7), "3.20e-7");
    }
}

//! Numbers and words as Python's `float` and its regular expressions take them.

/// A number as `float` takes it: spaces around it, `_` between digits, `inf` and `nan`.
pub(super) fn python_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mut plain = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '_' if is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)) => {}
            '_' => return None,
            c => plain.push(c),
        }
    }
    plain.parse().ok()
}

/// Whether a character is one of `\w`.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands as a word of its own (`\bWORD\b`) at or after the byte `from`.
pub(super) fn find_word(text: &str, word: &str, from: usize) -> Option<usize> {
    let alone = |start: usize| {
        let (before, after) = (&text[..start], &text[start + word.len()..]);
        !before.chars().next_back().is_some_and(is_word) && !after.chars().next().is_some_and(is_word)
    };
    text[from..].match_indices(word).map(|(at, _)| from + at).find(|&start| alone(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        for (text, number) in [("1.2", 1.2), (" 1. ", 1.), (".5", 0.5), ("+1e2", 100.), ("1_000", 1000.)] {
            assert_eq!(python_float(text), Some(number), "{text}");
        }
        assert!(
            python_float("nan").is_some_and(f64::is_nan)
                && python_float("-Infinity") == Some(f64::NEG_INFINITY)
        );
        for text in ["", ".", "1.2.3", "_1", "1_", "1__0", "one", "1 2", "0x1"] {
            assert_eq!(python_float(text), None, "{text}");
        }
    }

    #[test]
    fn a_word_stands_alone() {
        assert_eq!(find_word("a BREAK b", "BREAK", 0), Some(2));
        assert_eq!(find_word("BREAKS aBREAK (BREAK)", "BREAK", 0), Some(15));
        assert_eq!(find_word("éBREAK _BREAK", "BREAK", 0), None);
    }
}

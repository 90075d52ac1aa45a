//! Prompts of ComfyUI (`comfy/sd1_clip.py`, `token_weights`): `(word)` times 1.1, `(word:1.2)` the weight 1.2, `\(` and `\)` for
//! brackets in the text, `embedding:NAME`. Square brackets are text.

use super::words::python_float;
use super::{Parsed, Piece, SyntaxError};

/// Python's recursion ends near 1000.
const MOST_DEPTH: usize = 900;
/// Stand for escaped brackets; a prompt has no NUL.
const ESCAPED: [(&str, &str, &str); 2] = [("\\)", "\0\u{1}", ")"), ("\\(", "\0\u{2}", "(")];
const EMBEDDING: &str = "embedding:";

/// The pieces of a prompt.
pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxError> {
    let mut text = text.replace('\0', "");
    for (escaped, stands, _) in ESCAPED {
        text = text.replace(escaped, stands);
    }
    let mut pieces = vec![];
    for (piece, weight) in weighted(&text)? {
        let mut piece = piece.to_string();
        for (_, stands, bracket) in ESCAPED {
            piece = piece.replace(stands, bracket);
        }
        with_embeddings(&piece, weight, &mut pieces);
    }
    if pieces.is_empty() {
        pieces.push(Piece::Text(String::new(), 1.));
    }
    Ok(Parsed { pieces, ..Parsed::default() })
}

/// Texts with their weights.
fn weighted(text: &str) -> Result<Vec<(&str, f64)>, SyntaxError> {
    let mut found = vec![];
    // The pieces that are still to be taken apart, the next one last, with the weight around them and their depth.
    let mut left: Vec<(&str, f64, usize)> = vec![];
    let split = |left: &mut Vec<_>, text, weight, depth| {
        let pieces = split(text);
        left.extend(pieces.into_iter().rev().map(|piece| (piece, weight, depth)));
    };
    split(&mut left, text, 1., 0);
    while let Some((piece, weight, depth)) = left.pop() {
        let inside = piece.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let Some(inside) = inside else {
            found.push((piece, weight));
            continue;
        };
        if depth == MOST_DEPTH {
            return Err(SyntaxError::Depth(MOST_DEPTH));
        }
        // An explicit weight replaces the one around it.
        let explicit = inside.rsplit_once(':').filter(|(text, _)| !text.is_empty());
        let explicit = explicit.and_then(|(text, number)| Some((text, python_float(number)?)));
        if let Some((text, weight)) = explicit.filter(|(_, weight)| !weight.is_finite()) {
            return Err(SyntaxError::weight(text, weight.to_string()));
        }
        let (inside, weight) = explicit.unwrap_or((inside, weight * 1.1));
        split(&mut left, inside, weight, depth + 1);
    }
    Ok(found)
}

/// A text, split at its outermost brackets. A closing bracket without an opening one lowers the level of those after it.
fn split(text: &str) -> Vec<&str> {
    let mut pieces = vec![];
    let (mut start, mut level) = (0, 0i64);
    for (at, c) in text.bytes().enumerate() {
        match c {
            b'(' => {
                if level == 0 && start < at {
                    pieces.push(&text[start..at]);
                    start = at;
                }
                level += 1;
            }
            b')' => {
                level -= 1;
                if level == 0 {
                    pieces.push(&text[start..=at]);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

/// Splits a text at `embedding:NAME`, which begins it or follows a space.
fn with_embeddings(text: &str, weight: f64, pieces: &mut Vec<Piece>) {
    let begins = |at: usize| text[..at].chars().next_back().is_none_or(char::is_whitespace);
    let starts: Vec<usize> =
        text.match_indices(EMBEDDING).map(|(at, _)| at).filter(|&at| begins(at)).collect();
    let first = starts.first().copied().unwrap_or(text.len());
    if first > 0 {
        pieces.push(Piece::Text(text[..first].into(), weight));
    }
    for (place, &start) in starts.iter().enumerate() {
        let end = starts.get(place + 1).copied().unwrap_or(text.len());
        let words = text[start + EMBEDDING.len()..end].trim_start();
        let word = words.split(char::is_whitespace).next().unwrap_or_default();
        // `<x>` is a name of textual inversion here; in ComfyUI a name ends at a bracket.
        let bracket = word.find(['<', '[']).filter(|&at| at > 0).unwrap_or(word.len());
        let name = word[..bracket].trim_end_matches(',');
        let rest = &words[name.len()..];
        match name {
            "" => pieces.push(Piece::Text(text[start..end].into(), weight)),
            name => {
                pieces.push(Piece::Embedding(name.into(), weight));
                if !rest.trim().is_empty() {
                    pieces.push(Piece::Text(rest.into(), weight));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(String, f64)> {
        let piece = |piece| match piece {
            Piece::Text(text, weight) => (text, weight),
            Piece::Embedding(name, weight) => (format!("embedding:{name}"), weight),
            Piece::Break => ("BREAK".into(), 0.),
        };
        parse(text).unwrap().pieces.into_iter().map(piece).collect()
    }

    #[test]
    fn brackets_and_weights() {
        let up = 1.1;
        #[rustfmt::skip]
        let cases: [(&str, &[(&str, f64)]); 24] = [
            ("", &[("", 1.)]),
            ("a cat", &[("a cat", 1.)]),
            ("a (cat)", &[("a ", 1.), ("cat", up)]),
            ("((cat))", &[("cat", up * up)]),
            ("(cat:1.2)", &[("cat", 1.2)]),
            // The inner weight replaces the outer one; without a number it is 1.1 times it.
            ("(a (cat:1.2) dog:0.5)", &[("a ", 0.5), ("cat", 1.2), (" dog", 0.5)]),
            ("(a (cat):0.5)", &[("a ", 0.5), ("cat", 0.5 * up)]),
            ("[cat]", &[("[cat]", 1.)]),
            (r"\(cat\)", &[("(cat)", 1.)]),
            (r"(a \(b\):1.5)", &[("a (b)", 1.5)]),
            ("(cat", &[("(cat", 1.)]),
            ("cat)", &[("cat)", 1.)]),
            ("(a(b)", &[("a", up), ("(b", up)]),
            (")(a)", &[(")(a)", 1.)]),
            ("()", &[("", 1.)]),
            ("(:1.2)", &[(":1.2", up)]),
            ("(a:b)", &[("a:b", up)]),
            ("(a:b:1.3)", &[("a:b", 1.3)]),
            ("(a: 1.3 )", &[("a", 1.3)]),
            ("(a:-1)", &[("a", -1.)]),
            ("(a:1e2)", &[("a", 100.)]),
            ("a BREAK b", &[("a BREAK b", 1.)]),
            ("a embedding:x, b", &[("a ", 1.), ("embedding:x", 1.), (", b", 1.)]),
            ("(embedding:<x> b:0.5) c", &[("embedding:<x>", 0.5), (" b", 0.5), (" c", 1.)]),
        ];
        for (text, expected) in cases {
            let expected: Vec<(String, f64)> =
                expected.iter().map(|(text, weight)| (text.to_string(), *weight)).collect();
            assert_eq!(pieces(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_without_an_end_and_brackets_without_an_end_are_refused() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(said("(a:1e999)"), "the weight of `a` is inf; expected a number from -1000 to 1000");
        assert_eq!(said("(a:nan)"), "the weight of `a` is NaN; expected a number from -1000 to 1000");
        let deep = ["(".repeat(50_000), ")".repeat(50_000)].concat();
        assert_eq!(said(&deep), "brackets are nested more than 900 deep; expected fewer");
        // Brackets that are never closed are text.
        assert_eq!(pieces(&"(".repeat(100_000)).len(), 1);
    }
}

//! Prompts of AUTOMATIC1111's web interface (1.10.1, `modules/prompt_parser.py`, `parse_prompt_attention`): `(word)` times 1.1,
//! `[word]` divided by 1.1, `(word:1.2)` times 1.2, `\(` for a bracket in the text, `BREAK` between chunks.
//!
//! - `networks`: `<lora:NAME:0.8>`. `scheduled`: what changes during a run, which is refused.

mod networks;
mod scheduled;

use super::words::{find_word, python_float};
use super::{Parsed, Piece, Side, SyntaxError};
use tr::tr;

const BREAK: &str = "BREAK";
/// The weight that marks a `BREAK`.
const BREAK_WEIGHT: f64 = -1.;
const UP: f64 = 1.1;
const DOWN: f64 = 1. / 1.1;

/// The pieces of a prompt.
pub(super) fn parse(text: &str, side: Side) -> Result<Parsed, SyntaxError> {
    let text = without_comments(text);
    let networks::Networks { text, loras, mut warnings } = networks::parse(&text, side)?;
    scheduled::refuse(&text)?;
    let text = match side {
        Side::Prompt => scheduled::refuse_composition(&text)?,
        Side::Negative => &text,
    };
    let runs = weighted(text)?;
    if runs.iter().any(|run| run.text.contains(BREAK) && run.is_broken) {
        warnings.push(tr!(
            "BREAK inside brackets is no break in A1111: the word is encoded, with a negative weight"
        ));
    }
    let piece = |run: Run| match run {
        run if run.is_break() => Piece::Break,
        run => Piece::Text(run.text, run.weight),
    };
    Ok(Parsed { pieces: runs.into_iter().map(piece).collect(), loras, warnings })
}

/// `#` hides the rest of its line (`modules/processing_scripts/comments.py`).
fn without_comments(text: &str) -> String {
    let line = |line: &str| match line.split_once('#') {
        Some((before, _)) => before.to_string(),
        None => line.to_string(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A run of text with one weight.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    text: String,
    weight: f64,
    /// Whether it has a `BREAK` that brackets changed to text.
    is_broken: bool,
}

impl Run {
    fn new(text: &str) -> Self {
        Self { text: text.into(), weight: 1., is_broken: false }
    }

    fn is_break(&self) -> bool {
        self.text == BREAK && self.weight == BREAK_WEIGHT
    }
}

/// A token of the language.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Text(&'a str),
    Escaped(&'a str),
    Open(char),
    Close(char),
    /// `:1.2)`: all of it, and the number.
    Weight(&'a str, &'a str),
}

/// The first token of a text that is not empty, and the rest.
fn token(text: &str) -> (Token<'_>, &str) {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    let split = |at: usize| text.split_at(at);
    match first {
        '\\' => {
            let escaped = chars.next().filter(|c| r"()[]\".contains(*c)).map_or(0, char::len_utf8);
            let (token, rest) = split(1 + escaped);
            (Token::Escaped(&token[1..]), rest)
        }
        '(' | '[' => (Token::Open(first), chars.as_str()),
        ')' | ']' => (Token::Close(first), chars.as_str()),
        ':' => match weight(chars.as_str()) {
            Some((number, rest)) => (Token::Weight(&text[..text.len() - rest.len()], number), rest),
            None => (Token::Text(":"), chars.as_str()),
        },
        _ => {
            let (token, rest) = split(text.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(text.len()));
            (Token::Text(token), rest)
        }
    }
}

/// The number of `1.2)` with spaces around it, and the rest.
fn weight(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = digits.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let number = &text[..text.len() - rest.len()];
    let rest_after = rest.trim_start().strip_prefix(')')?;
    (rest.len() < digits.len()).then_some((number, rest_after))
}

/// Runs of text with their weights; runs of the same weight one after another are one.
fn weighted(mut text: &str) -> Result<Vec<Run>, SyntaxError> {
    let mut runs: Vec<Run> = vec![];
    let (mut round, mut square): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
    let multiply = |runs: &mut Vec<Run>, from: usize, factor: f64| {
        runs[from..].iter_mut().for_each(|run| run.weight *= factor);
    };
    while !text.is_empty() {
        let (token, rest) = token(text);
        let whole = &text[..text.len() - rest.len()];
        text = rest;
        match token {
            Token::Escaped(text) => runs.push(Run::new(text)),
            Token::Open('(') => round.push(runs.len()),
            Token::Open(_) => square.push(runs.len()),
            Token::Weight(_, number) if !round.is_empty() => {
                let from = round.pop().unwrap_or_default();
                let of = runs.get(from).map_or("", |run| &run.text);
                let factor = python_float(number).ok_or_else(|| SyntaxError::weight(of, number.into()))?;
                multiply(&mut runs, from, factor);
            }
            Token::Close(')') if !round.is_empty() => {
                multiply(&mut runs, round.pop().unwrap_or_default(), UP)
            }
            Token::Close(']') if !square.is_empty() => {
                multiply(&mut runs, square.pop().unwrap_or_default(), DOWN);
            }
            _ => push_text(&mut runs, whole),
        }
    }
    // A bracket that is never closed reaches to the end.
    round.into_iter().for_each(|from| multiply(&mut runs, from, UP));
    square.into_iter().for_each(|from| multiply(&mut runs, from, DOWN));
    Ok(merged(runs))
}

/// Appends a text, with a run of its own for each `BREAK`.
fn push_text(runs: &mut Vec<Run>, text: &str) {
    let mut from = 0;
    while let Some(at) = find_word(text, BREAK, from) {
        runs.push(Run::new(text[from..at].trim_end()));
        runs.push(Run { weight: BREAK_WEIGHT, ..Run::new(BREAK) });
        let after = &text[at + BREAK.len()..];
        from = text.len() - after.trim_start().len();
    }
    runs.push(Run::new(&text[from..]));
}

fn merged(runs: Vec<Run>) -> Vec<Run> {
    if runs.is_empty() {
        return vec![Run::new("")];
    }
    let mut merged: Vec<Run> = vec![];
    for mut run in runs {
        run.is_broken = run.text == BREAK && run.weight < 0. && run.weight != BREAK_WEIGHT;
        match merged.last_mut().filter(|last| last.weight == run.weight) {
            Some(last) => {
                last.text.push_str(&run.text);
                last.is_broken |= run.is_broken;
            }
            None => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests;

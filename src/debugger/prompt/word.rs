//! A word of the prompt, as tokens.

use super::{TokenKind, TokenView};
use crate::debugger::text::abridged;
use tr::tr;

/// Why a text names no token.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum WordError {
    /// The prompt has no such word.
    #[error("{}", tr!(
        "`{found}` is not in the prompt; expected {expected}",
        found = .found, expected = .expected
    ))]
    Missing {
        /// What was asked for.
        found: String,
        /// What there is.
        expected: String,
    },
    /// The word is there, but not as often.
    #[error("{}", tr!(
        "`{found}`: the prompt has it {times} times; expected #1 to #{times}",
        found = .found, times = .times
    ))]
    Fewer {
        /// What was asked for.
        found: String,
        /// How often it is there.
        times: usize,
    },
    /// There is no token at that position.
    #[error("{}", tr!(
        "there is no token {found}; expected 0 to {last}",
        found = .found, last = .last
    ))]
    Position {
        /// What was asked for.
        found: usize,
        /// The last position.
        last: usize,
    },
}

/// The words of a prompt, each with the positions of its tokens.
pub fn words(tokens: &[TokenView]) -> Vec<(String, Vec<usize>)> {
    let mut words: Vec<(String, Vec<usize>)> = vec![];
    let mut goes_on = false;
    for (position, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Word) {
        match words.last_mut().filter(|_| goes_on) {
            Some((text, positions)) => {
                // A concept is called by the name of its first vector.
                if !token.is_inserted {
                    text.push_str(&token.text);
                }
                positions.push(position);
            }
            None => words.push((token.text.clone(), vec![position])),
        }
        goes_on = !token.ends_word;
    }
    words
}

/// The positions of the tokens that `text` names: a word of the prompt or several (`red apple`), everywhere or with `#2` the
/// second time; a token's position; `<start>`, `<end>`, `<pad>`. Never empty.
///
/// # Errors
/// [`WordError`].
pub fn resolve(text: &str, tokens: &[TokenView]) -> Result<Vec<usize>, WordError> {
    let of = |kind| {
        let positions = tokens.iter().enumerate().filter(move |(_, token)| token.kind == kind);
        positions.map(|(position, _)| position).collect::<Vec<_>>()
    };
    let text = text.trim();
    let special = match text {
        "<start>" => Some(of(TokenKind::Start)),
        "<end>" => Some(of(TokenKind::End)),
        "<pad>" => Some(of(TokenKind::Padding)),
        _ => None,
    };
    if let Some(positions) = special {
        return if positions.is_empty() { Err(missing(text, tokens)) } else { Ok(positions) };
    }
    if let Ok(position) = text.parse::<usize>() {
        return match position < tokens.len() {
            true => Ok(vec![position]),
            false => Err(WordError::Position { found: position, last: tokens.len().saturating_sub(1) }),
        };
    }
    let (word, nth) = match text.rsplit_once('#') {
        Some((word, nth)) if !word.is_empty() => match nth.parse::<usize>() {
            Ok(nth) => (word, Some(nth)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    };
    let found = occurrences(word, &words(tokens));
    match nth {
        _ if found.is_empty() => Err(missing(text, tokens)),
        None => Ok(found.concat()),
        Some(nth) => {
            let fewer = WordError::Fewer { found: abridged(text), times: found.len() };
            nth.checked_sub(1).and_then(|nth| found.get(nth)).cloned().ok_or(fewer)
        }
    }
}

/// Wherever words one after another make `text`, their spaces aside: the positions of their tokens.
fn occurrences(text: &str, words: &[(String, Vec<usize>)]) -> Vec<Vec<usize>> {
    let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let wanted = bare(text);
    let mut found = vec![];
    let mut from = 0;
    while from < words.len() {
        let (mut made, mut positions, mut to) = (String::new(), vec![], from);
        while to < words.len() && made.len() < wanted.len() {
            made += &bare(&words[to].0);
            positions.extend(&words[to].1);
            to += 1;
        }
        if !wanted.is_empty() && made == wanted {
            found.push(positions);
            from = to;
        } else {
            from += 1;
        }
    }
    found
}

fn missing(text: &str, tokens: &[TokenView]) -> WordError {
    const SHOWN: usize = 20;
    let all = words(tokens);
    let mut known: Vec<String> = vec![];
    for (word, _) in &all {
        if !known.contains(word) {
            known.push(word.clone());
        }
    }
    let more = if known.len() > SHOWN { ", …" } else { "" };
    known.truncate(SHOWN);
    let special = "<start>, <end>, <pad>, or a token's position";
    let expected = match known.is_empty() {
        true => special.into(),
        false => format!("{}{more}; {special}", known.join(", ")),
    };
    WordError::Missing { found: abridged(text), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenKind::{End, Padding, Start, Word};
    use proptest::prelude::*;

    fn tokens() -> Vec<TokenView> {
        let token = |(text, ends_word, kind): (&str, bool, TokenKind)| TokenView {
            id: 0,
            text: text.into(),
            ends_word,
            is_inserted: false,
            kind,
        };
        [
            ("", true, Start),
            ("red", true, Word),
            ("back", false, Word),
            ("ground", true, Word),
            (",", true, Word),
            ("red", true, Word),
            ("", true, End),
            ("", true, Padding),
            ("", true, Padding),
        ]
        .map(token)
        .into()
    }

    #[test]
    fn words_positions_and_special_names() {
        let at = |text: &str| resolve(text, &tokens()).unwrap();
        assert_eq!(at("background"), [2, 3]);
        assert_eq!((at("Red"), at("red#1"), at("red#2")), (vec![1, 5], vec![1], vec![5]));
        assert_eq!((at("red background"), at("background, red")), (vec![1, 2, 3], vec![2, 3, 4, 5]));
        assert_eq!(
            (at("<start>"), at("<end>"), at("<pad>"), at("8")),
            (vec![0], vec![6], vec![7, 8], vec![8])
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let said = |text: &str| resolve(text, &tokens()).unwrap_err().to_string();
        assert_eq!(
            said("cat"),
            "`cat` is not in the prompt; expected red, background, ,; <start>, <end>, <pad>, or a token's position"
        );
        assert_eq!(said("red#3"), "`red#3`: the prompt has it 2 times; expected #1 to #2");
        assert!(said("red#0").contains("#1 to #2") && said("9").contains("expected 0 to 8"));
        assert!(said("").contains("is not in the prompt") && said("ground").contains("is not"));
        assert!(resolve("<pad>", &tokens()[..6]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_named_is_there(text in "\\PC{0,12}|(red|background|,| |#|[0-9])*") {
            if let Ok(positions) = resolve(&text, &tokens()) {
                prop_assert!(!positions.is_empty() && positions.iter().all(|position| *position < 9));
            }
        }
    }
}

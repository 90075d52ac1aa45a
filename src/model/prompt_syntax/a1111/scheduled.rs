//! What A1111 changes during a run or composes of several runs of the UNet, which is refused by name: `[cat:dog:0.5]`, `[cat|dog]`,
//! `cat AND dog` (1.10.1, `modules/prompt_parser.py`, `schedule_parser`, `get_multicond_prompt_list`).

use super::super::SyntaxError;
use super::super::words::{find_word, python_float};
use tr::tr;

/// An open bracket.
struct Open {
    at: usize,
    bracket: char,
    /// Where its own text has a `:`.
    colons: Vec<usize>,
    /// Whether its own text has a `|`.
    alternates: bool,
}

/// Refuses `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b]`.
pub(super) fn refuse(text: &str) -> Result<(), SyntaxError> {
    let (mut open, mut counts): (Vec<Open>, [usize; 2]) = (vec![], [0, 0]);
    let kind = |bracket: char| usize::from(bracket == '[');
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '(' | '[' => {
                counts[kind(c)] += 1;
                open.push(Open { at, bracket: c, colons: vec![], alternates: false });
            }
            ')' | ']' => {
                let opening = if c == ')' { '(' } else { '[' };
                // A bracket that is never closed does not count.
                while counts[kind(opening)] > 0
                    && let Some(closed) = open.pop()
                {
                    counts[kind(closed.bracket)] -= 1;
                    if closed.bracket != opening {
                        continue;
                    }
                    if c == ']' {
                        refuse_bracket(&closed, &text[closed.at..=at])?;
                    }
                    break;
                }
            }
            ':' => open.last_mut().into_iter().for_each(|open| open.colons.push(at)),
            '|' => open.last_mut().into_iter().for_each(|open| open.alternates = true),
            _ => {}
        }
    }
    Ok(())
}

/// `whole` is `[…]`.
fn refuse_bracket(closed: &Open, whole: &str) -> Result<(), SyntaxError> {
    if closed.alternates {
        let what = tr!("alternates from step to step in A1111, which diffuscope does not do");
        let instead = tr!("write one of them, or use `set prompt` between steps");
        return Err(SyntaxError::refused(whole, what, instead));
    }
    let Some(&last) = closed.colons.last().filter(|_| closed.colons.len() <= 2) else { return Ok(()) };
    let when = &whole[last + 1 - closed.at..whole.len() - 1];
    if !when.contains('_') && python_float(when).is_some_and(f64::is_finite) {
        let what = tr!("changes the prompt during the run in A1111, which diffuscope does not do by itself");
        let instead = tr!("use `goto denoise N`, then `set prompt`");
        return Err(SyntaxError::refused(whole, what, instead));
    }
    Ok(())
}

/// Refuses `a AND b`, and the weight of one of them, `a :1.5` at the end of a prompt. Returns the text without a weight of 1.
pub(super) fn refuse_composition(text: &str) -> Result<&str, SyntaxError> {
    if let Some(at) = find_word(text, "AND", 0) {
        let what = tr!(
            "combines several prompts in A1111, each with a residual of its own, which diffuscope does not do"
        );
        let instead = tr!("expected one prompt; `and` in small letters is a word");
        return Err(SyntaxError::refused(text[at..].trim_end(), what, instead));
    }
    let Some((before, number)) = text.trim_end().rsplit_once(':') else { return Ok(text) };
    let digits = number.trim_start();
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let is_number = digits.chars().all(|c| c == '.' || c.is_ascii_digit());
    match python_float(number).filter(|_| is_number) {
        None => Ok(text),
        Some(1.) => Ok(before.trim_end()),
        Some(_) => {
            let what = tr!("at the end of the prompt is the weight of its residual in A1111");
            let instead = tr!("expected brackets, (word:1.2), or another guidance_scale");
            Err(SyntaxError::refused(&text.trim_end()[before.len()..], what, instead))
        }
    }
}

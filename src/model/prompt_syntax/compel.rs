//! Prompts of compel (2.5.1, `prompt_parser.py`): `(two words)1.2`, `word++` and `(two words)--`, quotes for brackets, `\(` for a
//! bracket in the text. What changes attention or blends prompts is refused by name.

use super::words::python_float;
use super::{Lora, Parsed, Piece, SyntaxError};
use tr::tr;

/// Characters that mean something.
const SYNTAX: &str = r#"()",.+-="#;
const SPACES: [char; 6] = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];
const PLUS: f64 = 1.1;
const MINUS: f64 = 0.9;
const MOST_DEPTH: usize = 100;

/// Text with its weight.
type Fragment = (String, f64);

/// The pieces of a prompt: neighbours of one weight are one piece, with a space between.
pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxError> {
    refuse(text)?;
    let text = spaced(text);
    let mut parser = Parser { text: &text, loras: vec![] };
    let mut pieces: Vec<Piece> = vec![];
    for (text, weight) in parser.prompt()? {
        // compel takes escapes away each time it copies a text.
        let text = unescaped(&text);
        match pieces.last_mut() {
            Some(Piece::Text(last, known)) if *known == weight => {
                *last = unescaped(&format!("{last} {text}"))
            }
            _ => pieces.push(Piece::Text(text, weight)),
        }
    }
    if pieces.is_empty() {
        pieces.push(Piece::Text(String::new(), 1.));
    }
    Ok(Parsed { pieces, loras: parser.loras, ..Parsed::default() })
}

/// A space after each comma.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    // As Python's `re.sub` of `,(\S)`, which takes two characters at a time.
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        spaced.push(c);
        if c == ','
            && let Some(next) = chars.next_if(|next| !next.is_whitespace())
        {
            spaced.push(' ');
            spaced.push(next);
        }
    }
    spaced
}

/// Refuses `.swap(…)`, `.blend(…)`, `.and(…)` and `.add(…)`.
fn refuse(text: &str) -> Result<(), SyntaxError> {
    for name in [".swap", ".blend", ".and", ".add"] {
        for (at, _) in text.match_indices(name) {
            let before = text[..at].trim_end();
            let is_target = match name {
                ".swap" => before.ends_with(|c: char| !c.is_whitespace()),
                _ => before.ends_with(')') && !before.ends_with("\\)"),
            };
            if is_target && text[at + name.len()..].trim_start().starts_with('(') {
                let what = match name {
                    ".swap" => {
                        tr!("exchanges words by attention control in compel, which diffuscope does not do")
                    }
                    ".blend" => tr!(
                        "blends the embeddings of several prompts in compel, which diffuscope does not do"
                    ),
                    _ => tr!("joins several prompts in compel, which diffuscope does not do"),
                };
                let instead = tr!(
                    "expected one prompt, or an edit such as `set prompt_embeds = lerp(prompt_embeds, embed(\"…\"), 0.5)`"
                );
                let whole = &text[at..text[at..].find(')').map_or(text.len(), |end| at + end + 1)];
                return Err(SyntaxError::refused(whole, what, instead));
            }
        }
    }
    Ok(())
}

struct Parser<'a> {
    text: &'a str,
    loras: Vec<Lora>,
}

/// What was read, and the byte after it.
type Read<T> = Option<(T, usize)>;

impl Parser<'_> {
    /// The whole prompt. What is no syntax is text up to the next space.
    fn prompt(&mut self) -> Result<Vec<Fragment>, SyntaxError> {
        let (mut fragments, mut at) = (vec![], 0);
        loop {
            at = self.after_spaces(at);
            if at == self.text.len() {
                return Ok(fragments);
            }
            let read = self.part(at, 0, false)?;
            at = match read {
                Some((found, end)) => {
                    fragments.extend(found);
                    end
                }
                None => {
                    let end = self.text[at..].find(SPACES).map_or(self.text.len(), |end| at + end);
                    fragments.push(fragment(&self.text[at..end]));
                    end
                }
            };
        }
    }

    /// A LoRA, a target with a weight, or a group without one; inside of brackets (`inside`) a word too.
    fn part(&mut self, at: usize, depth: usize, inside: bool) -> Result<Read<Vec<Fragment>>, SyntaxError> {
        if let Some((lora, end)) = self.lora(at) {
            self.loras.push(lora);
            return Ok(Some((vec![], end)));
        }
        let group = match self.quoted(at, depth)? {
            Some(group) => Some(group),
            None => self.bracketed(at, depth)?,
        };
        let is_group = group.is_some();
        let word = || self.word(at).map(|end| (vec![fragment(&self.text[at..end])], end));
        let Some((target, end)) = group.or_else(word) else { return Ok(None) };
        if let Some((weight, end)) = self.attend(end).or_else(|| self.weight(end, is_group)) {
            let weighted = target.into_iter().map(|(text, own)| (text, own * weight));
            return Ok(Some((weighted.collect(), end)));
        }
        Ok((is_group || inside).then_some((target, end)))
    }

    /// `(…)`: what is in it.
    fn bracketed(&mut self, at: usize, depth: usize) -> Result<Read<Vec<Fragment>>, SyntaxError> {
        let Some(inside) = self.literal(at, "(") else { return Ok(None) };
        if depth == MOST_DEPTH {
            return Err(SyntaxError::Depth(MOST_DEPTH));
        }
        let loras = self.loras.len();
        let (fragments, end) = self.fragments(inside, depth + 1)?;
        let closed = self.literal(self.after_spaces(end), ")");
        if closed.is_none() {
            self.loras.truncate(loras);
        }
        Ok(closed.map(|end| (fragments, end)))
    }

    /// Parts, commas and full stops, as many as there are.
    fn fragments(&mut self, from: usize, depth: usize) -> Result<(Vec<Fragment>, usize), SyntaxError> {
        let (mut fragments, mut end) = (vec![], from);
        loop {
            let at = self.after_spaces(end);
            if let Some((found, after)) = self.part(at, depth, true)? {
                fragments.extend(found);
                end = after;
            } else if let Some(after) = self.literal(at, ",").or_else(|| self.literal(at, ".")) {
                fragments.push(fragment(&self.text[at..after]));
                end = after;
            } else {
                return Ok((fragments, end));
            }
        }
    }

    /// `"…"`: what is in it, if that is syntax to its end.
    fn quoted(&mut self, at: usize, depth: usize) -> Result<Read<Vec<Fragment>>, SyntaxError> {
        let Some(start) = self.literal(at, "\"") else { return Ok(None) };
        let (mut end, mut escaped, mut chars) = (None, None, self.text[start..].char_indices());
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(start + at);
                    break;
                }
                '\n' | '\r' => break,
                '\\' if self.text[start + at + 1..].starts_with('"') => {
                    escaped = Some(start + at + 1);
                    chars.next();
                }
                _ => {}
            }
        }
        // Without an end, the last quote is one although it is escaped.
        let Some(quote) = end.or(escaped) else { return Ok(None) };
        let (content, end) = (self.text[start..quote].to_string(), quote + 1);
        if content.trim().is_empty() {
            return Ok(Some((vec![fragment("")], end)));
        }
        let mut inside = Parser { text: &content, loras: vec![] };
        let (fragments, to) = inside.fragments(0, depth + 1)?;
        if inside.after_spaces(to) < content.len() {
            return Ok(None);
        }
        self.loras.extend(inside.loras);
        Ok(Some((fragments, end)))
    }

    /// The end of a word without syntax, of one character at least.
    fn word(&self, at: usize) -> Option<usize> {
        let is_syntax = |c: char| SYNTAX.contains(c);
        let mut end = at;
        loop {
            let mut chars = self.text[end..].chars();
            let (first, next) = (chars.next(), chars.next());
            end += match (first, next) {
                (Some('\\'), Some(c)) if is_syntax(c) => 2,
                (Some('+' | '-'), Some(c)) if !is_syntax(c) && !SPACES.contains(&c) => 1,
                (Some(c), _) if !is_syntax(c) && !SPACES.contains(&c) => c.len_utf8(),
                _ => return (end > at).then_some(end),
            };
        }
    }

    /// `.attend(1.2)`.
    fn attend(&self, at: usize) -> Read<f64> {
        let at = self.literal(self.after_spaces(at), ".attend")?;
        let at = self.literal(self.after_spaces(at), "(")?;
        let (weight, end) = self.weight(self.after_spaces(at), true)?;
        self.literal(self.after_spaces(end), ")").map(|end| (weight, end))
    }

    /// `++`, `--`, and with `numbers` `1.2`.
    fn weight(&self, at: usize, numbers: bool) -> Read<f64> {
        let rest = &self.text[at..];
        for (sign, base) in [('+', PLUS), ('-', MINUS)] {
            let signs = rest.len() - rest.trim_start_matches(sign).len();
            if signs > 0 {
                return Some((base.powf(signs as f64), at + signs));
            }
        }
        if numbers { number(rest).map(|(number, end)| (number, at + end)) } else { None }
    }

    /// `withLora(NAME, 0.8)` or `useLora(NAME)`.
    fn lora(&self, at: usize) -> Read<Lora> {
        let at = self.literal(at, "useLora").or_else(|| self.literal(at, "withLora"))?;
        let at = self.after_spaces(self.literal(self.after_spaces(at), "(")?);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let length = self.text[at..].find(|c| !is_name(c)).filter(|length| *length > 0)?;
        let (name, mut end) = (self.text[at..at + length].to_string(), self.after_spaces(at + length));
        let mut scale = 1.;
        if let Some(comma) = self.literal(end, ",") {
            let at = self.after_spaces(comma);
            let (found, length) = number(&self.text[at..])?;
            (scale, end) = (found, self.after_spaces(at + length));
        }
        self.literal(end, ")").map(|end| (Lora { name, scale }, end))
    }

    fn literal(&self, at: usize, text: &str) -> Option<usize> {
        self.text[at..].starts_with(text).then_some(at + text.len())
    }

    fn after_spaces(&self, at: usize) -> usize {
        self.text.len() - self.text[at..].trim_start_matches(SPACES).len()
    }
}

/// A number at the beginning of a text, and its end: `1.2`, `.5`, `-2`.
fn number(text: &str) -> Read<f64> {
    let digits =
        |from: usize| text[from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| from + end);
    let sign = usize::from(text.starts_with(['+', '-']));
    let whole = digits(sign);
    let end = match text[whole..].strip_prefix('.').map(|_| digits(whole + 1)) {
        Some(end) if whole > sign || end > whole + 1 => end,
        _ if whole > sign && !text.starts_with('+') => whole,
        _ => return None,
    };
    python_float(&text[..end]).map(|number| (number, end))
}

/// A text with its escaped brackets and quotes as they are meant.
fn fragment(text: &str) -> Fragment {
    (unescaped(text), 1.)
}

fn unescaped(text: &str) -> String {
    text.replace("\\(", "(").replace("\\)", ")").replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(String, f64)> {
        let piece = |piece| match piece {
            Piece::Text(text, weight) => (text, (weight * 1e6).round() / 1e6),
            other => panic!("{other:?}"),
        };
        parse(text).unwrap().pieces.into_iter().map(piece).collect()
    }

    #[test]
    fn deep_brackets_and_operators_are_refused() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(said(&"(".repeat(100_000)), "brackets are nested more than 100 deep; expected fewer");
        for text in ["cat.swap(dog)", "(\"a\", \"b\").blend(1, 2)", "(\"a\", \"b\").and()", "(a).add(1)"] {
            assert!(said(text).contains("which diffuscope does not do"), "{text}");
        }
        assert_eq!(pieces("a cat. and a dog"), [("a cat. and a dog".into(), 1.)]);
    }

    #[test]
    fn loras_are_no_text() {
        let parsed = parse("a cat withLora(style-1,0.5) useLora(x)").unwrap();
        let lora = |name: &str, scale| Lora { name: name.into(), scale };
        assert_eq!(parsed.loras, [lora("style-1", 0.5), lora("x", 1.)]);
        assert_eq!(parsed.pieces, [Piece::Text("a cat".into(), 1.)]);
    }
}

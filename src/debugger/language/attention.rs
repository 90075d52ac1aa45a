//! `show attention` and `show effect`: which word or point, which layers, which steps.

use super::arguments::Look;
use crate::debugger::text::{abridged, quoted, unquoted};
use crate::nn::pattern::Pattern;
use std::fmt;
use std::path::PathBuf;
use tr::tr;

/// Which layers, and which of their heads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AttentionFilter {
    /// Attentions in a module like that; all without.
    pub layer: Option<Pattern>,
    /// One head; all without.
    pub head: Option<usize>,
}

impl AttentionFilter {
    /// Whether the attention at `path` is one of them: it, or a module around it, matches the pattern. `unet.` may be left
    /// out.
    pub fn is_in(&self, path: &str) -> bool {
        let Some(pattern) = &self.layer else { return true };
        let around = |path: &str| {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| pattern.matches(&path[..end]))
        };
        around(path) || path.strip_prefix("unet.").is_some_and(around)
    }
}

/// Whose attention is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Every token.
    All,
    /// A word of the prompt, as [`resolve`](crate::debugger::prompt::word::resolve) takes it.
    Word(String),
    /// A point of the latents: column and row.
    Point(usize, usize),
}

/// What `show attention` and `save attention` ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionQuery {
    /// Whose attention.
    pub subject: Subject,
    /// In this step; in the one before the cursor without.
    pub step: Option<usize>,
    /// Whether in all steps that are recorded.
    pub over_steps: bool,
    /// In which layers.
    pub focus: AttentionFilter,
}

/// What `show effect` and `save effect` ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectQuery {
    /// The word.
    pub word: String,
    /// In this step; in the one before the cursor without.
    pub step: Option<usize>,
}

impl fmt::Display for Subject {
    /// As `show attention` names it; nothing for every token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Word(word) => f.write_str(&quoted(word)),
            Self::Point(x, y) => write!(f, "at {x},{y}"),
        }
    }
}

impl AttentionQuery {
    /// The step, layers and head, as `show attention` names them.
    pub(super) fn places(&self) -> String {
        let step = self.step.map(|step| format!("step {step}"));
        let layer = self.focus.layer.as_ref().map(|layer| format!("layer {layer}"));
        let head = self.focus.head.map(|head| format!("head {head}"));
        let over_steps = self.over_steps.then(|| "over-steps".to_string());
        [step, layer, head, over_steps].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// What `attention` is followed by.
const ATTENTION: &str = "attention [WORD|at X,Y] [step K] [layer PATTERN] [head N] [over-steps]";
/// What `effect` is followed by.
const EFFECT: &str = "effect WORD [step K]";

/// A query about attention, or about the effect of a word; to be saved, with a file after the word.
pub(super) fn parse(rest: &str, saves: bool) -> Result<(Look, Option<PathBuf>), String> {
    let mut words = Words { rest };
    match words.next() {
        Some("effect") => effect(words, saves).map(|(asked, file)| (Look::Effect(asked), file)),
        _ => attention(words, saves).map(|(asked, file)| (Look::Attention(asked), file)),
    }
}

/// Words, with those in quotes as one.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let left = self.rest.trim_start();
        if left.is_empty() {
            return None;
        }
        let quoted = left.strip_prefix('"').and_then(|inner| inner.split_once('"'));
        let (word, rest) = quoted.unwrap_or(left.split_once(char::is_whitespace).unwrap_or((left, "")));
        self.rest = rest;
        Some(word)
    }
}

fn attention(mut words: Words<'_>, saves: bool) -> Result<(AttentionQuery, Option<PathBuf>), String> {
    let mut asked = AttentionQuery {
        subject: Subject::All,
        step: None,
        over_steps: false,
        focus: AttentionFilter::default(),
    };
    let mut ahead = Words { rest: words.rest };
    match ahead.next() {
        Some("at") => {
            let at = ahead.next().unwrap_or_default();
            asked.subject = point(at)?;
            words = ahead;
        }
        Some("step" | "layer" | "head" | "over-steps") if !saves => {}
        Some(word) => {
            asked.subject = Subject::Word(word.into());
            words = ahead;
        }
        None => {}
    }
    let file = saves.then(|| file(&mut words, ATTENTION)).transpose()?;
    while let Some(word) = words.next() {
        match word {
            "step" => asked.step = Some(number(words.next(), "step")?),
            "head" => asked.focus.head = Some(number(words.next(), "head")?),
            "layer" => {
                let pattern = Pattern::parse(words.next().unwrap_or_default()).map_err(|e| e.to_string())?;
                asked.focus.layer = Some(pattern);
            }
            "over-steps" => asked.over_steps = true,
            _ => return Err(unexpected(word, ATTENTION)),
        }
    }
    if asked.over_steps && asked.step.is_some() {
        return Err(tr!("one step, or over-steps, not both"));
    }
    Ok((asked, file))
}

fn effect(mut words: Words<'_>, saves: bool) -> Result<(EffectQuery, Option<PathBuf>), String> {
    let word = words.next().ok_or_else(|| tr!("no word named: {EFFECT}", EFFECT))?.to_string();
    let file = saves.then(|| file(&mut words, EFFECT)).transpose()?;
    let step = match words.next() {
        None => None,
        Some("step") => Some(number(words.next(), "step")?),
        Some(other) => return Err(unexpected(other, EFFECT)),
    };
    match words.next() {
        None => Ok((EffectQuery { word, step }, file)),
        Some(more) => Err(unexpected(more, EFFECT)),
    }
}

fn unexpected(word: &str, usage: &str) -> String {
    tr!("`{}` is not expected: {usage}; a word with spaces stands in quotes", abridged(word), usage)
}

fn file(words: &mut Words<'_>, usage: &str) -> Result<PathBuf, String> {
    let missing = || tr!("a file is needed after the word: save {usage}", usage);
    words.next().map(|file| unquoted(file).into()).ok_or_else(missing)
}

fn number(word: Option<&str>, name: &str) -> Result<usize, String> {
    let found = word.unwrap_or_default();
    found.parse().map_err(|_| tr!("`{}` is no {name}: a number, 0 or more", abridged(found), name))
}

/// `X,Y`.
fn point(text: &str) -> Result<Subject, String> {
    let wrong =
        || tr!("`{}` is no point: X,Y, column and row of the latents, such as at 8,6", abridged(text));
    let (x, y) = text.split_once(',').ok_or_else(wrong)?;
    match (x.parse(), y.parse()) {
        (Ok(x), Ok(y)) => Ok(Subject::Point(x, y)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::Command;
    use proptest::prelude::*;

    fn asked(line: &str) -> (Look, Option<PathBuf>) {
        match Command::parse(line).unwrap().unwrap() {
            Command::Show(look) => (look, None),
            Command::Save(save) => (save.what, Some(save.file)),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn words_points_and_where() {
        let (Look::Attention(query), None) =
            asked("show attention \"red apple\" layer unet.mid_block head 1 step 3")
        else {
            panic!()
        };
        assert_eq!((query.subject, query.step), (Subject::Word("red apple".into()), Some(3)));
        assert_eq!((query.focus.head, query.focus.layer.unwrap().as_str()), (Some(1), "unet.mid_block"));
        let (Look::Attention(query), file) = asked("save attention at 3,4 a.png over-steps") else {
            panic!()
        };
        assert_eq!((query.subject, query.over_steps), (Subject::Point(3, 4), true));
        assert_eq!(file, Some("a.png".into()));
        let (Look::Attention(query), _) = asked("show attention step 2") else { panic!() };
        assert_eq!((query.subject, query.step), (Subject::All, Some(2)));
        let effect = Look::Effect(EffectQuery { word: "apple".into(), step: Some(1) });
        assert_eq!(asked("save effect apple \"a b.png\" step 1"), (effect, Some("a b.png".into())));
        assert_eq!(asked("show latents"), (Look::Named("latents".into()), None));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let said = |line: &str| Command::parse(line).unwrap_err().to_string();
        assert!(said("show attention at 3").contains("`3` is no point: X,Y"));
        assert!(said("show attention apple head x").contains("`x` is no head"));
        assert!(said("show attention red apple").contains("`apple` is not expected"));
        assert!(said("show attention apple layer a..b").contains("is no path of a module"));
        assert!(said("show attention apple step 1 over-steps").contains("not both"));
        assert!(said("save attention apple").contains("a file is needed"));
        assert!(said("show effect").contains("no word named"));
        assert!(said("show effect apple head 1").contains("`head` is not expected"));
    }

    #[test]
    fn a_layer_is_named_with_what_is_around_it() {
        let is_in = |pattern: &str, path: &str| {
            let layer = Some(Pattern::parse(pattern).unwrap());
            AttentionFilter { layer, head: None }.is_in(path)
        };
        let path = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2";
        for pattern in
            [path, "unet.up_blocks.1", "up_blocks", "unet.up_*", "unet.*.attn2", "up_blocks.1.attentions.0"]
        {
            assert!(is_in(pattern, path), "{pattern}");
        }
        for pattern in ["unet.up_blocks.0", "up", "unet.mid_block", "attn1"] {
            assert!(!is_in(pattern, path), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(rest in "(attention|effect|at|step|layer|head|[0-9,]|\"| |a|\\*|\\.|\\PC){0,12}") {
            for verb in ["show ", "save "] {
                let _ = Command::parse(&format!("{verb}{rest}"));
            }
        }
    }
}

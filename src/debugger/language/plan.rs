//! What a comparison varies: one axis or two, as they are typed.

use crate::debugger::text::abridged;
use crate::pipeline::{Request, Setting};
use tr::tr;

/// The most variants that are compared at once.
pub const MOST: usize = 64;
/// What an axis that swaps a word of the prompt is called.
const WORD: &str = "word";
/// What an axis of a LoRA's scale begins with.
const LORA: &str = "lora";
/// The setting that a swapped word changes.
const PROMPT: &str = "prompt";

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One axis, or two: each value of the first with each of the second.
    pub axes: Vec<Axis>,
    /// Whether the variants go on from the cursor; else they begin at the start.
    pub here: bool,
}

/// A setting with the values that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// The setting that is varied; of `word` that is the prompt.
    pub setting: Setting,
    /// The word of the prompt that others take the place of.
    word: Option<String>,
    /// The values as they were typed, in order; of `word`, the word itself first.
    pub values: Vec<String>,
}

/// A variant: the settings of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// A value of each axis, in their order.
    pub values: Vec<String>,
    /// A name for its timeline, which may not be free.
    pub name: String,
    /// Its settings.
    pub request: Request,
}

impl Plan {
    /// Parses `NAME VALUES [by NAME VALUES] [here]`, as the command line of the debugger has it.
    ///
    /// # Errors
    /// What was found and what would be right, in a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = pieces(text);
        let here = pieces.last().is_some_and(|piece| piece.is("here"));
        pieces.truncate(pieces.len() - usize::from(here));
        let axes = split(&pieces, |at| {
            pieces[at].is("by") && pieces.get(at + 1).is_some_and(|name| Kind::begins(name.text))
        });
        let axes = axes.into_iter().map(|pieces| {
            let names: Vec<&str> = pieces.iter().map(|piece| piece.text).collect();
            let (kind, taken) = Kind::first(&names)?;
            let rest = &pieces[taken..];
            match &kind {
                Kind::Setting(setting) if setting.is_text() => {
                    let values = split(rest, |at| rest[at].is("|"));
                    Axis::new(kind, values.into_iter().map(|value| joined(text, value)).collect())
                }
                Kind::Word => {
                    let values = split(rest, |at| rest[at].is("|"));
                    let values = values.into_iter().map(|value| joined(text, value)).collect::<Vec<_>>();
                    Axis::of_word(values)
                }
                Kind::Setting(_) => Axis::new(kind, vec![joined(text, rest)]),
            }
        });
        Self::of(axes.collect::<Result<_, _>>()?, here)
    }

    /// The same of words that a shell has split: each value of a prompt is a word of its own.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_words(words: &[String]) -> Result<Self, String> {
        let is_by = |at: usize| words[at] == "by" && words.get(at + 1).is_some_and(|name| Kind::begins(name));
        let axes = split(words, is_by).into_iter().map(|words| {
            let (kind, taken) = Kind::first(words)?;
            let rest = &words[taken..];
            match &kind {
                Kind::Word => Axis::of_word(rest.to_vec()),
                Kind::Setting(setting) if setting.is_text() => Axis::new(kind, rest.to_vec()),
                Kind::Setting(_) => Axis::new(kind, vec![rest.join(",")]),
            }
        });
        Self::of(axes.collect::<Result<_, _>>()?, false)
    }

    fn of(axes: Vec<Axis>, here: bool) -> Result<Self, String> {
        if axes.len() > 2 {
            return Err(tr!("{} axes; at most two are compared", axes.len()));
        }
        if let [first, second] = &axes[..]
            && first.setting == second.setting
        {
            return Err(tr!("both axes are {}", first.name()));
        }
        let count: usize = axes.iter().map(|axis| axis.values.len()).product();
        if count > MOST {
            return Err(tr!("{count} variants; at most {MOST} are compared at once", count, MOST));
        }
        Ok(Self { axes, here })
    }

    /// Every variant of `request`: the values of the first axis change fastest.
    ///
    /// # Errors
    /// When the prompt has not the word that is to be swapped.
    pub fn variants(&self, request: &Request) -> Result<Vec<Variant>, String> {
        let mut variants = vec![Variant { values: vec![], name: String::new(), request: request.clone() }];
        // The second axis is the outer one.
        for (place, axis) in self.axes.iter().enumerate().rev() {
            let mut more = vec![];
            for variant in variants {
                for (index, value) in axis.values.iter().enumerate() {
                    let mut varied = variant.clone();
                    axis.apply(value, &mut varied.request)?;
                    varied.values.insert(0, value.clone());
                    let own = axis.short(index);
                    let other = std::mem::take(&mut varied.name);
                    varied.name = if other.is_empty() { own } else { format!("{own},{other}") };
                    more.push(varied);
                }
            }
            debug_assert!(place < 2);
            variants = more;
        }
        Ok(variants)
    }
}

impl Plan {
    /// The plan as [`parse`](Self::parse) takes it.
    pub(super) fn line(&self) -> String {
        let axes = self.axes.iter().map(Axis::line).collect::<Vec<_>>().join(" by ");
        if self.here { format!("{axes} here") } else { axes }
    }
}

impl std::fmt::Display for Plan {
    /// `guidance_scale by seed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.axes.iter().map(Axis::name).collect::<Vec<_>>().join(" by "))
    }
}

impl Axis {
    /// What the axis is called: the setting, or `word`.
    pub fn name(&self) -> &str {
        if self.word.is_some() { WORD } else { self.setting.name() }
    }

    /// Whether its values are whole prompts, too long for a heading.
    pub fn is_text(&self) -> bool {
        self.word.is_none() && self.setting.is_text()
    }

    /// The axis as [`Plan::parse`] takes it.
    fn line(&self) -> String {
        // In quotes only where the words would mean something else: a value may hold quotes of its own.
        let value = |value: &String| {
            let means_more = |word: &str| matches!(word, "by" | "here");
            let is_plain = !value.is_empty() && !value.contains('|') && value.trim() == value;
            match is_plain && !value.split_whitespace().any(means_more) {
                true => value.clone(),
                false => format!("\"{value}\""),
            }
        };
        let quoted = |values: &[String]| values.iter().map(value).collect::<Vec<_>>().join(" | ");
        match &self.word {
            // The word itself stands first.
            Some(word) => {
                let others = self.values.get(1..).unwrap_or_default();
                let (first, more) =
                    others.split_first().map_or((String::new(), others), |(f, m)| (f.clone(), m));
                let more = more.iter().map(|value| format!(" | {value}")).collect::<String>();
                format!("{WORD} {word}: {first}{more}")
            }
            None if self.setting.is_text() => format!("{} {}", self.setting.name(), quoted(&self.values)),
            None => format!("{} {}", self.setting.name(), self.values.join(",")),
        }
    }

    fn new(kind: Kind, values: Vec<String>) -> Result<Self, String> {
        let Kind::Setting(setting) = kind else { return Self::of_word(values) };
        let values = if setting.is_text() {
            values
        } else {
            let listed = values.join(",");
            let mut values = vec![];
            for item in listed.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                values.extend(range(&setting, item)?);
            }
            values
        };
        if values.is_empty() {
            return Err(tr!("{} has no values", setting.name()));
        }
        for value in &values {
            setting.check(value)?;
        }
        Ok(Self { setting, word: None, values })
    }

    /// `apple: pear`, `orange`.
    fn of_word(mut values: Vec<String>) -> Result<Self, String> {
        let wrong = || tr!("expected the word, a colon, and what takes its place");
        let first = values.first().ok_or_else(wrong)?;
        let (word, rest) = first.split_once(':').ok_or_else(wrong)?;
        let (word, rest) = (word.trim().to_string(), rest.trim().to_string());
        if word.is_empty() {
            return Err(wrong());
        }
        values[0] = rest;
        values.retain(|value| !value.is_empty());
        if values.is_empty() {
            return Err(wrong());
        }
        // The prompt as it is stands first, for the others to differ from.
        values.insert(0, word.clone());
        let setting = Setting::find(PROMPT).ok_or_else(wrong)?;
        Ok(Self { setting, word: Some(word), values })
    }

    fn apply(&self, value: &str, request: &mut Request) -> Result<(), String> {
        let Some(word) = &self.word else { return self.setting.set(value, request) };
        let (swapped, found) = swapped(&request.prompt, word, value);
        if !found {
            return Err(tr!("the prompt has no word `{word}`: {}", request.prompt, word));
        }
        request.prompt = swapped;
        Ok(())
    }

    /// A short name for the value at `index`.
    fn short(&self, index: usize) -> String {
        match (&self.word, self.is_text()) {
            (Some(_), _) => format!("word={}", self.values[index]),
            (None, true) => format!("{}-{}", self.setting.name(), index + 1),
            (None, false) => format!("{}={}", self.setting.name(), self.values[index]),
        }
    }
}

/// What an axis can be called.
#[derive(Debug, Clone)]
enum Kind {
    Setting(Setting),
    Word,
}

impl Kind {
    /// What an axis of these words is called, and how many of them say so: `lora NAME` is two.
    fn first<S: AsRef<str>>(words: &[S]) -> Result<(Self, usize), String> {
        let names: Vec<&str> = words.iter().take(2).map(AsRef::as_ref).collect();
        match names[..] {
            [] => Err(nothing_named()),
            [LORA, name] => {
                let kind = Self::find(&format!("{LORA}.{name}")).ok_or_else(|| unknown(name))?;
                Ok((kind, 2))
            }
            [name, ..] => Ok((Self::find(name).ok_or_else(|| unknown(name))?, 1)),
        }
    }

    /// Whether an axis can begin with that word.
    fn begins(name: &str) -> bool {
        name == LORA || Self::find(name).is_some()
    }

    fn find(name: &str) -> Option<Self> {
        if name == WORD {
            return Some(Self::Word);
        }
        Setting::find(name).filter(Setting::is_compared).map(Self::Setting)
    }
}

fn nothing_named() -> String {
    tr!("nothing named to compare: {}", known())
}

fn unknown(name: &str) -> String {
    tr!("`{}` cannot be compared: {}", abridged(name), known())
}

fn known() -> String {
    let settings = Setting::all().filter(Setting::is_compared).map(|setting| setting.to_string());
    tr!("expected one of {}, {WORD}", settings.collect::<Vec<_>>().join(", "), WORD)
}

/// `7`, or `1-8` of a setting that is a whole number.
fn range(setting: &Setting, item: &str) -> Result<Vec<String>, String> {
    if !setting.is_whole() || item.parse::<i128>().is_ok() {
        return Ok(vec![item.into()]);
    }
    // A minus at the beginning is a sign.
    let dash = item.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
    let ends =
        dash.and_then(|at| Some((item[..at].parse::<i128>().ok()?, item[at + 1..].parse::<i128>().ok()?)));
    match ends {
        Some((first, last)) if first > last => {
            Err(tr!("`{item}` goes down; expected `{last}-{first}`", item, last, first))
        }
        Some((first, last)) if last.saturating_sub(first) >= MOST as i128 => {
            Err(tr!("`{item}` has too many values; at most {MOST} are compared at once", item, MOST))
        }
        Some((first, last)) => Ok((first..=last).map(|value| value.to_string()).collect()),
        // The setting says what it expects.
        None => Ok(vec![item.into()]),
    }
}

/// `text` with every `word` in it that is a word of its own in the form `other`, and whether there was one.
fn swapped(text: &str, word: &str, other: &str) -> (String, bool) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (mut made, mut rest, mut found) = (String::new(), text, false);
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        made.push_str(before);
        let begins = !made.chars().next_back().is_some_and(is_part);
        let ends = !after.chars().next().is_some_and(is_part);
        made.push_str(if begins && ends { other } else { word });
        found |= begins && ends;
        rest = after;
    }
    made.push_str(rest);
    (made, found)
}

/// A word of a line, or what stands in quotes.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    quoted: bool,
    from: usize,
    to: usize,
}

impl Piece<'_> {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

/// The words of a line; `|` stands for itself, and what is in quotes is one.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = vec![];
    let mut at = 0;
    while let Some(c) = line[at..].chars().next() {
        let rest = &line[at..];
        let (text, quoted, length) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '|' => (&rest[..1], false, 1),
            '"' => match rest[1..].find('"') {
                Some(end) => (&rest[1..=end], true, end + 2),
                None => (rest, false, rest.len()),
            },
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '|').unwrap_or(rest.len());
                (&rest[..end], false, end)
            }
        };
        pieces.push(Piece { text, quoted, from: at, to: at + length });
        at += length;
    }
    pieces
}

/// A value: what is in quotes, or the words as they stand in the line.
fn joined(line: &str, pieces: &[Piece<'_>]) -> String {
    match pieces {
        [] => String::new(),
        [one] => one.text.into(),
        [first, .., last] => line[first.from..last.to].into(),
    }
}

/// What is between the places where `is_end` holds.
fn split<T>(all: &[T], is_end: impl Fn(usize) -> bool) -> Vec<&[T]> {
    let mut parts = vec![];
    let mut from = 0;
    for at in 0..all.len() {
        if is_end(at) {
            parts.push(&all[from..at]);
            from = at + 1;
        }
    }
    parts.push(&all[from..]);
    parts
}

#[cfg(test)]
mod tests;

//! A lesson's file, read: front matter, prose, and fenced blocks with a tag.

use super::block::{Expected, Line, Question, Reader, Task, Typed};
use super::problem::{Problem, Source};
use crate::debugger::Command;
use crate::debugger::expr::Expression;
use crate::debugger::language::arguments::Set;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Tags of fenced blocks that the debugger knows.
const TAGS: [&str; 4] = ["dbg", "expect", "predict", "try"];
/// Tags of those that are only shown; so is a block without a tag.
const SHOWN: [&str; 6] = ["text", "math", "rust", "python", "console", "toml"];

/// What a comment that points at a view can name: the interface's views.
pub const VIEWS: [&str; 11] = [
    "overview",
    "tensors",
    "residuals",
    "scheduler",
    "prompt",
    "charts",
    "source",
    "timelines",
    "compare",
    "model",
    "attention",
];

/// What stands at the top of a lesson.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    /// What the lesson is called.
    pub title: String,
    /// What it is about, in a sentence.
    pub summary: String,
    /// How long a reader takes.
    pub minutes: u32,
    /// The lessons that it builds on, by their names.
    #[serde(default)]
    pub builds_on: Vec<String>,
    /// The settings that it starts from.
    #[serde(default)]
    pub settings: BTreeMap<String, Written>,
}

/// A setting's value as a command has it: a text in quotes, or a number, whole ones of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(String);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl Visitor<'_> for Value {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_u128<E>(self, value: u128) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Written, E> {
                Ok(Written(format!("\"{value}\"")))
            }
        }

        deserializer.deserialize_any(Value)
    }
}

/// A lesson, read and well formed.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// What stands at its top.
    pub front: Front,
    /// The commands that make the settings that it starts from.
    pub settings: Vec<Command>,
    /// What it says and asks, in order.
    pub parts: Vec<Part>,
    /// The file.
    pub source: Source,
}

/// A part of a lesson.
#[derive(Debug, Clone)]
pub enum Part {
    /// Prose, as Markdown, with the numbers that are live.
    Prose(Prose),
    /// The view of the interface that matters from here on.
    View(Pointer),
    /// Commands to be carried out.
    Commands(Vec<Typed>),
    /// Conditions that hold here.
    Expect(Vec<Expected>),
    /// A question.
    Predict(Question),
    /// A task.
    Try(Task),
}

impl Part {
    /// What a block of another language must be as well.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Prose(_) => "prose",
            Self::View(_) => "view",
            Self::Commands(_) => "dbg",
            Self::Expect(_) => "expect",
            Self::Predict(_) => "predict",
            Self::Try(_) => "try",
        }
    }

    /// Whether it wants something of its reader.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Commands(_) | Self::Predict(_) | Self::Try(_))
    }
}

/// A comment that points at a view.
#[derive(Debug, Clone)]
pub struct Pointer {
    /// One of [`VIEWS`].
    pub view: &'static str,
    /// Where it is, in bytes.
    pub at: Range<usize>,
}

/// Prose with live numbers.
#[derive(Debug, Clone)]
pub struct Prose {
    /// The Markdown, with `{{ … }}` where the numbers go.
    pub text: String,
    /// The numbers: where they are in `text`, and what they are.
    pub live: Vec<Live>,
    /// Where it begins in the file, in bytes.
    pub start: usize,
}

/// A number in prose that is evaluated.
#[derive(Debug, Clone)]
pub struct Live {
    /// Where it is in the prose, braces included, in bytes.
    pub within: Range<usize>,
    /// What it is.
    pub expression: Expression,
}

impl Lesson {
    /// Reads a lesson.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(source: Source) -> Result<Self, Vec<Problem>> {
        let mut problems = vec![];
        let mut blocks = vec![];
        let mut front = None;
        let mut prose_from = 0;
        let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_TABLES;
        let mut inside: Option<(Range<usize>, String, Range<usize>)> = None;
        let mut metadata: Option<Range<usize>> = None;
        let mut depth = 0usize;
        for (event, at) in Parser::new_ext(source.text(), options).into_offset_iter() {
            match event {
                Event::Start(Tag::MetadataBlock(_)) => metadata = Some(at.start..at.start),
                Event::Text(_) if metadata.is_some() => {
                    metadata = metadata.map(|text| with(&text, at));
                }
                Event::End(TagEnd::MetadataBlock(_)) => {
                    if let Some(text) = metadata.take().filter(|text| !text.is_empty()) {
                        front = Some(read_front(&source, text, &mut problems));
                    }
                    prose_from = at.end;
                }
                // A block within a list or a quotation is shown as it stands.
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if depth == 0 => {
                    let tag = info.split_whitespace().next().unwrap_or_default().to_string();
                    inside = Some((at.clone(), tag, at.start..at.start));
                }
                Event::Text(_) if inside.is_some() => {
                    if let Some((_, _, text)) = &mut inside {
                        *text = with(text, at);
                    }
                }
                Event::End(TagEnd::CodeBlock) if inside.is_some() => {
                    let Some((whole, tag, text)) = inside.take() else { continue };
                    if TAGS.contains(&tag.as_str()) {
                        blocks.push(Found::Prose(prose_from..whole.start));
                        prose_from = whole.end;
                        blocks.push(Found::Block(tag, whole, text));
                    } else if !tag.is_empty() && !SHOWN.contains(&tag.as_str()) {
                        let known = TAGS.iter().chain(&SHOWN).copied().collect::<Vec<_>>().join(", ");
                        let problem =
                            source.problem(first_line(&source, &whole), format!("unknown tag `{tag}`"));
                        problems.push(problem.help(format!("expected one of {known}")));
                    }
                }
                Event::Start(Tag::HtmlBlock) => {
                    let comment = source.text().get(at.clone()).unwrap_or_default().trim();
                    if depth == 0 && points(comment) {
                        blocks.push(Found::Prose(prose_from..at.start));
                        prose_from = at.end;
                        blocks.push(Found::View(at.start..at.start + comment.len()));
                    } else if points(comment) {
                        problems.push(misplaced(&source, at));
                    }
                    depth += 1;
                }
                Event::InlineHtml(html) if points(&html) => problems.push(misplaced(&source, at)),
                Event::Start(_) => depth += 1,
                Event::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        blocks.push(Found::Prose(prose_from..source.text().len()));
        if front.is_none() {
            let problem = source.problem(0..0, "no front matter");
            problems.push(problem.help("expected `---`, title, summary, minutes, `---` at the top"));
        }
        let parts = blocks.into_iter().filter_map(|found| read_part(&source, found, &mut problems)).collect();
        match (front.flatten(), problems.is_empty()) {
            (Some((front, settings)), true) => Ok(Self { front, settings, parts, source }),
            _ => Err(problems),
        }
    }
}

/// What is found in a file: prose, a comment that points at a view, or a block with its tag, its place, and that of its text.
enum Found {
    Prose(Range<usize>),
    View(Range<usize>),
    Block(String, Range<usize>, Range<usize>),
}

fn read_part(source: &Source, found: Found, problems: &mut Vec<Problem>) -> Option<Part> {
    match found {
        Found::Prose(at) => {
            let text = source.text().get(at.clone())?;
            if text.trim().is_empty() {
                return None;
            }
            let live = read_live(source, &at, problems);
            Some(Part::Prose(Prose { text: text.into(), live, start: at.start }))
        }
        Found::View(at) => {
            let comment = source.text().get(at.clone()).unwrap_or_default();
            let name = comment.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
            let name = name.and_then(|inner| inner.trim().strip_prefix("view:")).unwrap_or_default().trim();
            let view = VIEWS.into_iter().find(|known| *known == name);
            if view.is_none() {
                let problem = source.problem(at.clone(), format!("`{name}` is no view"));
                problems
                    .push(problem.help(format!("expected `<!-- view: NAME -->`, of {}", VIEWS.join(", "))));
            }
            view.map(|view| Part::View(Pointer { view, at }))
        }
        Found::Block(tag, whole, text) => {
            let lines = lines(source, text);
            let head = first_line(source, &whole);
            let mut reader = Reader { source, problems };
            let part = match tag.as_str() {
                "dbg" => Part::Commands(reader.commands(lines)),
                "expect" => Part::Expect(reader.expectations(lines)),
                "predict" => return Some(Part::Predict(reader.question(lines, head))),
                _ => return Some(Part::Try(reader.task(lines, head))),
            };
            let is_empty = match &part {
                Part::Commands(lines) => lines.is_empty(),
                Part::Expect(expected) => expected.is_empty(),
                _ => false,
            };
            if is_empty && reader.problems.is_empty() {
                reader.problem(head, format!("an empty {tag} block"));
            }
            Some(part)
        }
    }
}

/// Whether a comment is one that points at a view.
fn points(html: &str) -> bool {
    html.trim().strip_prefix("<!--").is_some_and(|inner| inner.trim_start().starts_with("view:"))
}

fn misplaced(source: &Source, at: Range<usize>) -> Problem {
    let problem =
        source.problem(first_line(source, &at), "a comment that points at a view, within other text");
    problem.help("expected it on a line of its own, with an empty line before and behind it")
}

/// The text of a block with one more piece of it: it comes whole, or a line at a time.
fn with(text: &Range<usize>, more: Range<usize>) -> Range<usize> {
    if text.is_empty() { more } else { text.start..more.end }
}

/// The first line of a block: its fence.
fn first_line(source: &Source, at: &Range<usize>) -> Range<usize> {
    let text = source.text().get(at.clone()).unwrap_or_default();
    at.start..at.start + text.lines().next().unwrap_or_default().len()
}

fn lines(source: &Source, at: Range<usize>) -> Vec<Line> {
    let mut lines = vec![];
    let mut start = at.start;
    for line in source.text().get(at).unwrap_or_default().split_inclusive('\n') {
        let trimmed = line.trim();
        let from = start + (line.len() - line.trim_start().len()).min(line.len());
        lines.push(Line { text: trimmed.into(), at: from..from + trimmed.len() });
        start += line.len();
    }
    lines
}

/// The numbers in prose that are evaluated: `{{ latents.std }}`.
fn read_live(source: &Source, at: &Range<usize>, problems: &mut Vec<Problem>) -> Vec<Live> {
    let text = &source.text()[at.clone()];
    let (mut live, mut from) = (vec![], 0);
    while let Some(open) = text[from..].find("{{").map(|open| from + open) {
        let Some(close) = text[open..].find("}}").map(|close| open + close + 2) else {
            let problem = source.problem(at.start + open..at.start + open + 2, "`{{` without `}}`");
            problems.push(problem);
            break;
        };
        match Expression::compile(&text[open + 2..close - 2]) {
            Ok(expression) => live.push(Live { within: open..close, expression }),
            Err(e) => problems.push(source.problem(at.start + open..at.start + close, e.to_string())),
        }
        from = close;
    }
    live
}

/// Front matter, with the commands that make its settings.
fn read_front(
    source: &Source,
    at: Range<usize>,
    problems: &mut Vec<Problem>,
) -> Option<(Front, Vec<Command>)> {
    let text = source.text().get(at.clone()).unwrap_or_default();
    let front: Front = match serde_yaml_ng::from_str(text) {
        Ok(front) => front,
        Err(e) => {
            let from = e.location().map_or(0, |place| place.index().min(text.len()));
            let line = text.get(from..).unwrap_or_default().lines().next().unwrap_or_default().len();
            let problem = source.problem(at.start + from..at.start + from + line, e.to_string());
            problems.push(
                problem.help("expected title, summary, minutes; builds_on and settings where there are any"),
            );
            return None;
        }
    };
    let mut commands = vec![];
    for (name, Written(value)) in &front.settings {
        let line = format!("set {name} {value}");
        let place = text.find(name.as_str()).unwrap_or(0);
        let place = at.start + place..at.start + place + name.len();
        match Command::parse(&line) {
            Ok(Some(Command::Set(Set::Setting { setting, value }))) => match setting.check(&value) {
                Ok(()) => commands.push(Command::Set(Set::Setting { setting, value })),
                Err(e) => problems.push(source.problem(place, e)),
            },
            Ok(_) => problems.push(source.problem(place, format!("`{name}` is not a setting of a run"))),
            Err(e) => problems.push(source.problem(place, e.to_string())),
        }
    }
    Some((front, commands))
}

//! Parses a lesson's file: front matter, prose, and tagged fenced blocks.

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
use tr::tr;

/// Tags of active blocks.
const TAGS: [&str; 4] = ["dbg", "expect", "predict", "try"];
/// Tags of blocks that are only shown, as blocks without a tag are.
const SHOWN: [&str; 6] = ["text", "math", "rust", "python", "console", "toml"];

/// The interface's views, which a comment can select.
pub const VIEWS: [&str; 12] = [
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
    "difference",
];

/// The front matter of a lesson.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    /// The title.
    pub title: String,
    /// A summary in one sentence.
    pub summary: String,
    /// The time that a reader needs.
    pub minutes: u32,
    /// The names of the lessons that it builds on.
    #[serde(default)]
    pub builds_on: Vec<String>,
    /// The initial settings.
    #[serde(default)]
    pub settings: BTreeMap<String, Written>,
}

/// A setting's value as written in a command: text in quotes, or a number, integers of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(String);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl Visitor<'_> for Value {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&tr!("text or a number"))
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

/// A well-formed lesson.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// The front matter.
    pub front: Front,
    /// The commands for the initial settings.
    pub settings: Vec<Command>,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// The file.
    pub source: Source,
}

/// A part of a lesson.
#[derive(Debug, Clone)]
pub enum Part {
    /// Prose in Markdown, with live numbers.
    Prose(Prose),
    /// Selects a view of the interface.
    View(Pointer),
    /// Commands to run.
    Commands(Vec<Typed>),
    /// Conditions that must hold here.
    Expect(Vec<Expected>),
    /// A question.
    Predict(Question),
    /// A task.
    Try(Task),
}

impl Part {
    /// The kind, which must be the same in every language.
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

    /// Whether it waits for the reader.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Commands(_) | Self::Predict(_) | Self::Try(_))
    }
}

/// A comment that selects a view.
#[derive(Debug, Clone)]
pub struct Pointer {
    /// One of [`VIEWS`].
    pub view: &'static str,
    /// Its position, in bytes.
    pub at: Range<usize>,
}

/// Prose with live numbers.
#[derive(Debug, Clone)]
pub struct Prose {
    /// The Markdown, with `{{ … }}` in place of live numbers.
    pub text: String,
    /// The live numbers.
    pub live: Vec<Live>,
    /// Its start in the file, in bytes.
    pub start: usize,
}

/// A live number in prose.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its position in the prose, with braces, in bytes.
    pub within: Range<usize>,
    /// Its expression.
    pub expression: Expression,
}

impl Lesson {
    /// Parses a lesson.
    ///
    /// # Errors
    /// All errors in the file, each with its position.
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
                // A block within a list or a quotation is only shown.
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
                        blocks.push(Piece::Prose(prose_from..whole.start));
                        prose_from = whole.end;
                        blocks.push(Piece::Block(tag, whole, text));
                    } else if !tag.is_empty() && !SHOWN.contains(&tag.as_str()) {
                        let known = TAGS.iter().chain(&SHOWN).copied().collect::<Vec<_>>().join(", ");
                        let problem =
                            source.problem(first_line(&source, &whole), tr!("unknown tag `{tag}`", tag));
                        problems.push(problem.help(tr!("expected one of {known}", known)));
                    }
                }
                Event::Start(Tag::HtmlBlock) => {
                    let comment = source.text().get(at.clone()).unwrap_or_default().trim();
                    if depth == 0 && selects_view(comment) {
                        blocks.push(Piece::Prose(prose_from..at.start));
                        prose_from = at.end;
                        blocks.push(Piece::View(at.start..at.start + comment.len()));
                    } else if selects_view(comment) {
                        problems.push(misplaced(&source, at));
                    }
                    depth += 1;
                }
                Event::InlineHtml(html) if selects_view(&html) => problems.push(misplaced(&source, at)),
                Event::Start(_) => depth += 1,
                Event::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        blocks.push(Piece::Prose(prose_from..source.text().len()));
        if front.is_none() {
            let problem = source.problem(0..0, "no front matter");
            problems.push(problem.help("expected `---`, title, summary, minutes, `---` at the top"));
        }
        let parts = blocks.into_iter().filter_map(|piece| read_part(&source, piece, &mut problems)).collect();
        match (front.flatten(), problems.is_empty()) {
            (Some((front, settings)), true) => Ok(Self { front, settings, parts, source }),
            _ => Err(problems),
        }
    }
}

/// A piece of a file: prose, a comment that selects a view, or a block with its tag and the positions of it and its text.
enum Piece {
    Prose(Range<usize>),
    View(Range<usize>),
    Block(String, Range<usize>, Range<usize>),
}

fn read_part(source: &Source, piece: Piece, problems: &mut Vec<Problem>) -> Option<Part> {
    match piece {
        Piece::Prose(at) => {
            let text = source.text().get(at.clone())?;
            if text.trim().is_empty() {
                return None;
            }
            let live = read_live(source, &at, problems);
            Some(Part::Prose(Prose { text: text.into(), live, start: at.start }))
        }
        Piece::View(at) => {
            let comment = source.text().get(at.clone()).unwrap_or_default();
            let name = comment.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
            let name = name.and_then(|inner| inner.trim().strip_prefix("view:")).unwrap_or_default().trim();
            let view = VIEWS.into_iter().find(|known| *known == name);
            if view.is_none() {
                let problem = source.problem(at.clone(), tr!("unknown view `{name}`", name));
                problems.push(
                    problem.help(tr!("expected `<!-- view: NAME -->` with one of {}", VIEWS.join(", "))),
                );
            }
            view.map(|view| Part::View(Pointer { view, at }))
        }
        Piece::Block(tag, whole, text) => {
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
                reader.problem(head, tr!("an empty {tag} block", tag));
            }
            Some(part)
        }
    }
}

/// Whether a comment selects a view.
fn selects_view(html: &str) -> bool {
    html.trim().strip_prefix("<!--").is_some_and(|inner| inner.trim_start().starts_with("view:"))
}

fn misplaced(source: &Source, at: Range<usize>) -> Problem {
    let problem = source.problem(first_line(source, &at), "a comment that selects a view, within other text");
    problem.help("expected it on a line of its own, with an empty line before and after it")
}

/// The range of a block's text with `more`: the parser gives it whole, or line by line.
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

/// The live numbers in prose: `{{ latents.std }}`.
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

/// Parses the front matter; returns it with the commands for its settings.
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
                problem.help("expected title, summary, minutes, and optionally builds_on and settings"),
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
            Ok(_) => problems.push(source.problem(place, tr!("`{name}` is not a setting of a run", name))),
            Err(e) => problems.push(source.problem(place, e.to_string())),
        }
    }
    Some((front, commands))
}

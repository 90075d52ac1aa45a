//! The parsers of what follows a verb. An error says in a line what is wrong; the command adds what it expects.

use super::attention;
use super::command::Command;
use super::edit::Edit;
use super::features::FeatureQuery;
use super::intervention::ModuleEdit;
use super::pattern::Pattern;
use super::place::{parse_place, parse_stop};
use super::plan::Plan;
use super::setting::{PreviewPolicy, Setting, Side, Topic};
use super::verbs::{Verb, VerbError};
use crate::debugger::expr::{Expression, ExpressionError};
use crate::debugger::text::{abridged, unquoted, words};
use crate::picture::features::{Drawn, Row};
use crate::pipeline::Fault;
use std::path::PathBuf;

/// Why what follows a verb cannot be parsed.
#[derive(Debug)]
pub enum ArgumentError {
    /// What was found, in a line.
    Found(String),
    /// An expression in it is wrong.
    Expression(ExpressionError),
    /// A verb that it names is none.
    Verb(VerbError),
}

impl From<String> for ArgumentError {
    fn from(found: String) -> Self {
        Self::Found(found)
    }
}

impl From<ExpressionError> for ArgumentError {
    fn from(error: ExpressionError) -> Self {
        Self::Expression(error)
    }
}

impl From<VerbError> for ArgumentError {
    fn from(error: VerbError) -> Self {
        Self::Verb(error)
    }
}

fn found<T>(text: impl Into<String>) -> Result<T, ArgumentError> {
    Err(ArgumentError::Found(text.into()))
}

/// Nothing: the command is the verb alone.
pub(super) fn alone(rest: &str, command: Command) -> Result<Command, ArgumentError> {
    if rest.is_empty() { Ok(command) } else { found(format!("`{rest}` is not expected")) }
}

/// `[N]`, 1 without.
pub(super) fn count(rest: &str) -> Result<usize, ArgumentError> {
    match rest.parse::<usize>() {
        _ if rest.is_empty() => Ok(1),
        Ok(count) if count > 0 => Ok(count),
        _ => found(format!("`{rest}` is no count of 1 or more")),
    }
}

/// Something, whatever it is.
pub(super) fn named(rest: &str) -> Result<&str, ArgumentError> {
    if rest.is_empty() { found("nothing named") } else { Ok(rest) }
}

/// `STAGE|MODULE [if EXPR]`.
pub(super) fn breakpoint(rest: &str, temporary: bool) -> Result<Command, ArgumentError> {
    let (at, condition) = match rest.split_once(" if ") {
        Some((at, condition)) => (at.trim(), Some(Expression::compile(condition)?)),
        None => (rest, None),
    };
    Ok(Command::Break { stop: parse_stop(at)?, condition, temporary })
}

/// `nan` or `if EXPR`.
pub(super) fn catch(rest: &str) -> Result<Command, ArgumentError> {
    match rest.strip_prefix("if ") {
        Some(condition) => Ok(Command::CatchIf(Expression::compile(condition)?)),
        None if rest == "nan" => Ok(Command::CatchNan),
        None => found(format!("`{}` cannot be caught", abridged(named(rest)?))),
    }
}

/// `[N]` or `timeline NAME`.
pub(super) fn delete(rest: &str) -> Result<Command, ArgumentError> {
    match rest.split_once(char::is_whitespace) {
        Some(("timeline", name)) => Ok(Command::DeleteTimeline(unquoted(name.trim()).into())),
        _ if rest.is_empty() => Ok(Command::Delete(None)),
        _ if rest == "timeline" => found("no timeline named"),
        _ => match rest.parse() {
            Ok(id) => Ok(Command::Delete(Some(id))),
            Err(_) => found(format!("`{rest}` is no number of a breakpoint")),
        },
    }
}

/// `TOPIC` or `modules [PATTERN]`; the beginning of a topic is enough.
pub(super) fn info(rest: &str) -> Result<Command, ArgumentError> {
    let first = named(rest)?.split_whitespace().next().unwrap_or_default();
    match Topic::ALL.iter().find(|(name, _)| name.starts_with(rest)) {
        Some((_, topic)) => Ok(Command::Info(*topic)),
        None if "modules".starts_with(first) => Ok(modules(rest)?),
        None => found(format!("nothing is known of `{rest}`")),
    }
}

/// `[EXPR]`.
pub(super) fn display(rest: &str) -> Result<Command, ArgumentError> {
    let expression = (!rest.is_empty()).then(|| Expression::compile(rest)).transpose()?;
    Ok(Command::Display(expression))
}

/// `[N]`.
pub(super) fn undisplay(rest: &str) -> Result<Command, ArgumentError> {
    match rest.parse() {
        _ if rest.is_empty() => Ok(Command::Undisplay(None)),
        Ok(id) => Ok(Command::Undisplay(Some(id))),
        Err(_) => found(format!("`{}` is no number of a display", abridged(rest))),
    }
}

/// `PICTURE`, or what is shown of the inside of a stage.
pub(super) fn show(rest: &str) -> Result<Command, ArgumentError> {
    match inside_or_attention(named(rest)?, false) {
        Some(command) => Ok(command?),
        None => Ok(Command::Show(rest.into())),
    }
}

/// `WHAT FILE`, or what is saved of the inside of a stage.
pub(super) fn save(rest: &str) -> Result<Command, ArgumentError> {
    match (inside_or_attention(rest, true), rest.split_once(char::is_whitespace)) {
        (Some(command), _) => Ok(command?),
        (None, Some((what, file))) => {
            Ok(Command::Save { what: what.into(), file: unquoted(file.trim()).into() })
        }
        (None, None) => found("a name and a file are needed"),
    }
}

/// What `show` and `save` say of the inside of a stage; `None` where they mean something else.
fn inside_or_attention(rest: &str, saves: bool) -> Option<Result<Command, String>> {
    match rest.split_whitespace().next() {
        Some("features" | "timemap") => Some(inside(rest, saves)),
        _ => attention::parse(rest, saves),
    }
}

/// `NAME`.
pub(super) fn switch(rest: &str) -> Result<Command, ArgumentError> {
    if rest.is_empty() { found("no timeline named") } else { Ok(Command::Switch(unquoted(rest).into())) }
}

/// `[OLD] NEW`.
pub(super) fn rename(rest: &str) -> Result<Command, ArgumentError> {
    match rest.split_whitespace().collect::<Vec<_>>()[..] {
        [new] => Ok(Command::Rename { old: None, new: new.into() }),
        [old, new] => Ok(Command::Rename { old: Some(old.into()), new: new.into() }),
        _ => found(format!("`{}` is not one name or two", abridged(rest))),
    }
}

/// `[NAME VALUES … | base NAME | off]`.
pub(super) fn compare(rest: &str) -> Result<Command, ArgumentError> {
    match rest.split_once(char::is_whitespace).unwrap_or((rest, "")) {
        ("", _) => Ok(Command::CompareAgain),
        ("off", "") => Ok(Command::CompareOff),
        ("base", name) if !name.trim().is_empty() => Ok(Command::CompareBase(name.trim().into())),
        _ => Ok(Command::Compare(Plan::parse(rest)?)),
    }
}

/// `[COMMAND]`.
pub(super) fn help(rest: &str) -> Result<Command, ArgumentError> {
    let verb = (!rest.is_empty()).then(|| Verb::find(rest)).transpose()?;
    Ok(Command::Help(verb))
}

/// `modules [PATTERN]`.
fn modules(rest: &str) -> Result<Command, String> {
    match words(rest)[..] {
        [_] => Ok(Command::Modules(None)),
        [_, pattern] => {
            Pattern::parse(pattern).map(|pattern| Command::Modules(Some(pattern))).map_err(|e| e.to_string())
        }
        _ => Err(format!("`{}` is not one pattern", abridged(rest))),
    }
}

/// `MODULE from TIMELINE`.
pub(super) fn patch(rest: &str) -> Result<Command, ArgumentError> {
    match rest.split_whitespace().collect::<Vec<_>>()[..] {
        [module, "from", timeline] => {
            let module = Pattern::parse(module).map_err(|e| e.to_string())?;
            Ok(Command::Patch { module, timeline: timeline.into() })
        }
        [] => Err("nothing named".to_string().into()),
        _ => Err(format!("`{}` is not MODULE from TIMELINE", abridged(rest)).into()),
    }
}

/// What follows `set`.
pub(super) fn set(rest: &str) -> Result<Command, ArgumentError> {
    Ok(parse_set(rest)?)
}

/// `NAME VALUE` or `NAME = VALUE`; a value may stand in quotes, and an empty one is `""`.
fn parse_set(rest: &str) -> Result<Command, String> {
    let (name, value) = rest.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((rest, ""));
    let value = value.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    if let Some(edit) = ModuleEdit::parse(rest) {
        return edit.map(Command::Intervene);
    }
    if name == "fault" {
        return match value {
            "off" => Ok(Command::SetFault(None)),
            _ => match Fault::parse(value) {
                Ok(fault) => Ok(Command::SetFault(Some(fault))),
                Err(expected) => Err(format!("`{}` is no fault: {expected}", abridged(value))),
            },
        };
    }
    if name == "preview" {
        return parse_previewing(value).map(Command::SetPreview);
    }
    if !Setting::ALL.iter().any(|(known, _)| *known == name)
        && let Some(edit) = Edit::parse(rest)
    {
        return edit.map(Command::Edit);
    }
    let Some((_, setting)) = Setting::ALL.iter().find(|(known, _)| *known == name) else {
        let known = Setting::ALL.map(|(name, _)| name).join(", ");
        return Err(format!("unknown setting `{}`: {known}, preview, fault", abridged(name)));
    };
    if value.is_empty() {
        return Err(format!("{name} has no value (an empty one is \"\")"));
    }
    Ok(Command::Set { setting: *setting, value: unquoted(value).into() })
}

/// `every`, `every N`, `off`.
fn parse_previewing(value: &str) -> Result<PreviewPolicy, String> {
    let wrong = || format!("preview cannot be `{}`: every N or off", abridged(value));
    match value.split_whitespace().collect::<Vec<_>>()[..] {
        ["off"] => Ok(PreviewPolicy::Off),
        ["every" | "on"] => Ok(PreviewPolicy::Every(1)),
        ["every", n] => match n.parse() {
            Ok(n @ 1..) => Ok(PreviewPolicy::Every(n)),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// `[NAME] [at STAGE]`.
pub(super) fn fork(rest: &str) -> Result<Command, ArgumentError> {
    let (name, at) = match rest.strip_prefix("at ") {
        Some(at) => ("", Some(at)),
        None => rest.split_once(" at ").map_or((rest, None), |(name, at)| (name, Some(at))),
    };
    let at = at.map(|at| parse_place(at.trim())).transpose()?;
    let name = name.trim();
    Ok(Command::Fork { name: (!name.is_empty()).then(|| unquoted(name).into()), at })
}

/// `NAME VALUE [here-to-end]`.
pub(super) fn sweep(rest: &str) -> Result<Command, ArgumentError> {
    let rest = rest.strip_suffix("here-to-end").map_or(rest, str::trim_end);
    match parse_set(rest)? {
        Command::Set { setting, value } => {
            setting.check(&value)?;
            Ok(Command::Sweep { setting, value })
        }
        _ => Err(format!("`{}` is not a setting of a run", abridged(rest)).into()),
    }
}

/// `A [B] [within X]`; names with spaces stand in quotes.
pub(super) fn diff(rest: &str) -> Result<Command, ArgumentError> {
    let mut words = words(rest);
    let tolerance = match words[..] {
        [.., "within", x] => {
            let tolerance: f64 =
                x.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.).ok_or_else(|| {
                    format!("`{}` is no relative difference: expected a number, 0 or more", abridged(x))
                })?;
            words.truncate(words.len() - 2);
            Some(tolerance)
        }
        _ => None,
    };
    let side = |word: &str| -> Result<Side, String> {
        match word.strip_prefix('@') {
            Some(step) => {
                let step = step
                    .parse()
                    .map_err(|_| format!("`{}` is no state: expected @ and a step", abridged(word)));
                step.map(Side::After)
            }
            None => Ok(Side::Named(word.into())),
        }
    };
    match words[..] {
        [a] => Ok(Command::Diff { a: side(a)?, b: None, tolerance }),
        [a, b] => Ok(Command::Diff { a: side(a)?, b: Some(side(b)?), tolerance }),
        _ => Err("not one side or two".to_string().into()),
    }
}

/// `features PATH [HOW] [ROW]` and `timemap [within X]`; when it is saved, with a file behind the path or the word.
fn inside(rest: &str, saved: bool) -> Result<Command, String> {
    let words = words(rest);
    let taken = |from: usize| -> Result<(Option<PathBuf>, &[&str]), String> {
        match (saved, words.get(from)) {
            (false, _) => Ok((None, words.get(from..).unwrap_or_default())),
            (true, Some(file)) => Ok((Some((*file).into()), &words[from + 1..])),
            (true, None) => Err("a file is needed, which ends with .png".into()),
        }
    };
    if words[0] == "timemap" {
        let (file, rest) = taken(1)?;
        let within = match rest {
            [] => None,
            ["within", x] => {
                let x: Option<f64> = x.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.);
                Some(x.ok_or_else(|| format!("`{}` is no tolerance of 0 or more", abridged(rest[1])))?)
            }
            _ => return Err(format!("`{}` is not expected behind timemap", abridged(&rest.join(" ")))),
        };
        return Ok(Command::TimeMap { within, file });
    }
    let path = *words.get(1).ok_or("no module named, such as unet.mid_block")?;
    if !Pattern::parse(path).is_ok_and(|pattern| pattern.is_one()) {
        return Err(format!("`{}` is not the path of one module, such as unet.mid_block", abridged(path)));
    }
    let (file, rest) = taken(2)?;
    let mut asked = FeatureQuery { path: path.into(), drawn: Drawn::default(), row: Row::default() };
    for word in rest {
        let drawn = Drawn::ALL.iter().find(|(name, _)| name == word);
        let row = Row::ALL.iter().find(|(name, _)| name == word);
        match (drawn, row) {
            (Some((_, drawn)), _) => asked.drawn = *drawn,
            (_, Some((_, row))) => asked.row = *row,
            _ => {
                let known =
                    Drawn::ALL.iter().map(|(name, _)| *name).chain(Row::ALL.iter().map(|(name, _)| *name));
                let known = known.collect::<Vec<_>>().join(", ");
                return Err(format!("`{}` is no way to draw features, which are {known}", abridged(word)));
            }
        }
    }
    Ok(Command::Features { asked, file })
}

//! What stands behind a verb, parsed. What is wrong is told in a line, to which the command adds what it expects.

use super::breakpoint::Stop;
use super::command::Command;
use super::edit::Edit;
use super::examine::FeaturesAsked;
use super::meddle::ModuleEdit;
use super::operand::{Place, Previewing, Setting, Side};
use super::pattern::Pattern;
use crate::picture::features::{Drawn, Row};
use crate::pipeline::{Fault, Stage};
use std::path::PathBuf;

/// `encode_prompt`, `get_latent`, `denoise [K]` (also `denoise.012`), `vae_decode`.
pub(super) fn parse_place(text: &str) -> Result<Place, String> {
    let expected = "encode_prompt, get_latent, denoise [K] or vae_decode";
    match text {
        "encode_prompt" => return Ok(Place::Stage(Stage::EncodePrompt)),
        "get_latent" => return Ok(Place::Stage(Stage::GetLatent)),
        "denoise" => return Ok(Place::AnyStep),
        "vae_decode" => return Ok(Place::Stage(Stage::VaeDecode)),
        "" => return Err(format!("no stage named: {expected}")),
        _ => {}
    }
    let step = text.strip_prefix("denoise").map(|rest| rest.trim_start_matches('.').trim());
    match step.map(str::parse) {
        Some(Ok(step)) => Ok(Place::Stage(Stage::Denoise { step })),
        _ => Err(format!("`{}` is no stage: {expected}", abridged(text))),
    }
}

/// A stage, or modules by a pattern: `unet.*.attn2`.
pub(super) fn parse_stop(text: &str) -> Result<Stop, String> {
    match parse_place(text) {
        Ok(place) => Ok(Stop::Before(place)),
        // Names of stages have no dot but `denoise.012`.
        Err(_) if text.contains(['.', '*']) || MODELS.contains(&text) => {
            Pattern::parse(text).map(Stop::Module).map_err(|e| e.to_string())
        }
        Err(e) => Err(format!("{e}, or a module such as unet.mid_block")),
    }
}

/// The models whose modules can be named.
const MODELS: [&str; 3] = ["text_encoder", "unet", "vae"];

/// `MODULE from TIMELINE`.
pub(super) fn parse_patch(rest: &str) -> Result<Command, String> {
    match rest.split_whitespace().collect::<Vec<_>>()[..] {
        [module, "from", timeline] => {
            let module = Pattern::parse(module).map_err(|e| e.to_string())?;
            Ok(Command::Patch { module, timeline: timeline.into() })
        }
        [] => Err("nothing named".into()),
        _ => Err(format!("`{}` is not MODULE from TIMELINE", abridged(rest))),
    }
}

/// `NAME VALUE` or `NAME = VALUE`; a value may stand in quotes, and an empty one is `""`.
pub(super) fn parse_set(rest: &str) -> Result<Command, String> {
    let (name, value) = rest.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((rest, ""));
    let value = value.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    if let Some(edit) = ModuleEdit::parse(rest) {
        return edit.map(Command::Meddle);
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
        return Err(format!("`{}` is no setting: {known}, preview, fault", abridged(name)));
    };
    if value.is_empty() {
        return Err(format!("{name} has no value (an empty one is \"\")"));
    }
    Ok(Command::Set { setting: *setting, value: unquoted(value).into() })
}

/// `every`, `every N`, `off`.
fn parse_previewing(value: &str) -> Result<Previewing, String> {
    let wrong = || format!("preview cannot be `{}`: every N or off", abridged(value));
    match value.split_whitespace().collect::<Vec<_>>()[..] {
        ["off"] => Ok(Previewing::Off),
        ["every" | "on"] => Ok(Previewing::Every(1)),
        ["every", n] => match n.parse() {
            Ok(n @ 1..) => Ok(Previewing::Every(n)),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// `[NAME] [at STAGE]`.
pub(super) fn parse_fork(rest: &str) -> Result<Command, String> {
    let (name, at) = match rest.strip_prefix("at ") {
        Some(at) => ("", Some(at)),
        None => rest.split_once(" at ").map_or((rest, None), |(name, at)| (name, Some(at))),
    };
    let at = at.map(|at| parse_place(at.trim())).transpose()?;
    let name = name.trim();
    Ok(Command::Fork { name: (!name.is_empty()).then(|| unquoted(name).into()), at })
}

/// `NAME VALUE [here-to-end]`.
pub(super) fn parse_sweep(rest: &str) -> Result<Command, String> {
    let rest = rest.strip_suffix("here-to-end").map_or(rest, str::trim_end);
    match parse_set(rest)? {
        Command::Set { setting, value } => {
            setting.check(&value)?;
            Ok(Command::Sweep { setting, value })
        }
        _ => Err(format!("`{}` is no setting of a run", abridged(rest))),
    }
}

/// `A [B] [within X]`; names with spaces stand in quotes.
pub(super) fn parse_diff(rest: &str) -> Result<Command, String> {
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
    let side = |word: &str| match word.strip_prefix('@') {
        Some(step) => {
            let step =
                step.parse().map_err(|_| format!("`{}` is no state: expected @ and a step", abridged(word)));
            step.map(Side::After)
        }
        None => Ok(Side::Named(word.into())),
    };
    match words[..] {
        [a] => Ok(Command::Diff { a: side(a)?, b: None, tolerance }),
        [a, b] => Ok(Command::Diff { a: side(a)?, b: Some(side(b)?), tolerance }),
        _ => Err("not one side or two".into()),
    }
}

/// `modules [PATTERN]`.
pub(super) fn parse_modules(rest: &str) -> Result<Command, String> {
    match words(rest)[..] {
        [_] => Ok(Command::Modules(None)),
        [_, pattern] => {
            Pattern::parse(pattern).map(|pattern| Command::Modules(Some(pattern))).map_err(|e| e.to_string())
        }
        _ => Err(format!("`{}` is not one pattern", abridged(rest))),
    }
}

/// Whether `show` or `save` is of the inside of a stage, or of how pixels settled.
pub(super) fn is_inside(rest: &str) -> bool {
    matches!(rest.split_whitespace().next(), Some("features" | "timemap"))
}

/// `features PATH [HOW] [ROW]` and `timemap [within X]`; when it is saved, with a file behind the path or the word.
pub(super) fn parse_inside(rest: &str, saved: bool) -> Result<Command, String> {
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
    let mut asked = FeaturesAsked { path: path.into(), drawn: Drawn::default(), row: Row::default() };
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

/// Words; those with spaces stand in quotes.
fn words(mut left: &str) -> Vec<&str> {
    let mut words = vec![];
    left = left.trim();
    while !left.is_empty() {
        let (word, more) = match left.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
            Some((word, more)) => (word, more),
            None => left.split_once(char::is_whitespace).unwrap_or((left, "")),
        };
        words.push(word);
        left = more.trim_start();
    }
    words
}

pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// What was typed as a message shows it: short, and without control characters.
pub(super) fn abridged(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if text.chars().count() > 40 {
        short.push('…');
    }
    short
}

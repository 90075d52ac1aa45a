//! Queries: `info`, `print`, `display`, `show`, `help`; and what `save` saves.

use super::{ArgumentError, Arguments, found, joined, named, optional};
use crate::debugger::expr::Expression;
use crate::debugger::language::attention::{self, AttentionQuery, EffectQuery};
use crate::debugger::language::features::{self, FeatureQuery};
use crate::debugger::language::glossary;
use crate::debugger::language::lora::{self, LoraQuery};
use crate::debugger::language::verb::Verb;
use crate::debugger::language::verbs::VERBS;
use crate::debugger::text::{abridged, quoted, unquoted, words};
use crate::nn::pattern::Pattern;
use std::path::{Path, PathBuf};
use tr::tr;

/// A topic of `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The breakpoints.
    Breakpoints,
    /// What is displayed after every stop.
    Display,
    /// Where a stage that is stepped through is paused.
    Frame,
    /// The settings.
    Request,
    /// The scheduler: whose it is, and which timesteps the run visits.
    Scheduler,
    /// Every tensor so far.
    Tensors,
    /// The tree of timelines.
    Timelines,
}

impl Topic {
    /// Every topic with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("breakpoints", Self::Breakpoints),
        ("display", Self::Display),
        ("frame", Self::Frame),
        ("request", Self::Request),
        ("scheduler", Self::Scheduler),
        ("tensors", Self::Tensors),
        ("timelines", Self::Timelines),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, topic)| *topic == self).map_or("", |(name, _)| name)
    }
}

/// `TOPIC|lora [NAME]|modules [PATTERN]|schedules [NAME …]`; the beginning of a topic is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Info {
    /// A topic.
    About(Topic),
    /// The LoRAs and what they cover, or one with all its modules.
    Loras(Option<String>),
    /// The modules of the last stage, or those that match.
    Modules(Option<Pattern>),
    /// The schedules of these schedulers, or of the run's.
    Schedules(Vec<String>),
}

impl Arguments for Info {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let first = named(rest)?.split_whitespace().next().unwrap_or_default();
        match Topic::ALL.iter().find(|(name, _)| name.starts_with(rest)) {
            Some((_, topic)) => Ok(Self::About(*topic)),
            None if "modules".starts_with(first) => match words(rest)[..] {
                [_] => Ok(Self::Modules(None)),
                [_, pattern] => {
                    let pattern = Pattern::parse(pattern).map_err(|e| e.to_string())?;
                    Ok(Self::Modules(Some(pattern)))
                }
                _ => found(tr!("`{}` is not one pattern", abridged(rest))),
            },
            None if first == "lora" => match words(rest)[..] {
                [_] => Ok(Self::Loras(None)),
                [_, name] => Ok(Self::Loras(Some(name.into()))),
                _ => found(tr!("`{}` is not one LoRA", abridged(rest))),
            },
            None if first == "schedules" => {
                Ok(Self::Schedules(words(rest)[1..].iter().map(|name| (*name).into()).collect()))
            }
            None => found(tr!("nothing is known of `{rest}`", rest)),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::About(topic) => topic.name().into(),
            Self::Loras(name) => joined(["lora".into(), name.clone().unwrap_or_default()]),
            Self::Modules(pattern) => joined(["modules".into(), optional(pattern, Pattern::to_string)]),
            Self::Schedules(names) => joined(["schedules".into(), names.join(" ")]),
        }
    }
}

/// `[NAME …]`: schedulers, by short names or diffusers'. Whether there are such is known where the run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedulers(pub Vec<String>);

impl Arguments for Schedulers {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        Ok(Self(words(rest).into_iter().map(String::from).collect()))
    }

    fn written(&self) -> String {
        self.0.join(" ")
    }
}

/// `TENSOR|EXPR`: the key of a tensor is not an expression, so it is parsed where the run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Print(pub String);

impl Arguments for Print {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        Ok(Self(named(rest)?.into()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }
}

/// `[EXPR]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Display(pub Option<Expression>);

impl Arguments for Display {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        Ok(Self((!rest.is_empty()).then(|| Expression::compile(rest)).transpose()?))
    }

    fn written(&self) -> String {
        optional(&self.0, |expression| expression.text().into())
    }
}

/// `[N]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undisplay(pub Option<usize>);

impl Arguments for Undisplay {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.parse() {
            _ if rest.is_empty() => Ok(Self(None)),
            Ok(id) => Ok(Self(Some(id))),
            Err(_) => found(tr!("`{}` is no number of a display", abridged(rest))),
        }
    }

    fn written(&self) -> String {
        optional(&self.0, usize::to_string)
    }
}

/// What `show` shows, and `save` saves.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// A picture by its name; to be saved, a tensor by its name, `all` or `timeline`.
    Named(String),
    /// `features PATH [HOW] [ROW]`: the feature maps of a module.
    Features(FeatureQuery),
    /// `timemap [within X]`: from which step on each pixel stays.
    TimeMap {
        /// The tolerance, in standard deviations.
        within: Option<f64>,
    },
    /// `attention …`: where a word or a point attends.
    Attention(AttentionQuery),
    /// `effect WORD [step K]`: what a word does.
    Effect(EffectQuery),
    /// `lora [NAME] [step K]`: what a LoRA does.
    Lora(LoraQuery),
}

impl Look {
    /// What follows `show`, or with a file after its subject, `save`; `None` where it names a tensor.
    fn parse_with_file(rest: &str, saves: bool) -> Option<Result<(Self, Option<PathBuf>), String>> {
        match rest.split_whitespace().next()? {
            "features" | "timemap" => Some(features::parse(rest, saves)),
            "attention" | "effect" => Some(attention::parse(rest, saves)),
            "lora" => Some(lora::parse(rest, saves)),
            _ => None,
        }
    }

    fn written_with_file(&self, file: Option<&Path>) -> String {
        let file = file.map_or(String::new(), |file| quoted(&file.display().to_string()));
        let (subject, rest) = match self {
            Self::Named(name) => (name.clone(), String::new()),
            Self::Features(asked) => {
                let how = joined([asked.drawn.name().into(), asked.row.name().into()]);
                (format!("features {}", asked.path), how)
            }
            Self::TimeMap { within } => ("timemap".into(), optional(within, |x| format!("within {x:?}"))),
            Self::Attention(asked) => {
                (joined(["attention".into(), asked.subject.to_string()]), asked.places())
            }
            Self::Effect(asked) => (
                format!("effect {}", quoted(&asked.word)),
                optional(&asked.step, |step| format!("step {step}")),
            ),
            Self::Lora(asked) => (
                joined(["lora".into(), asked.name.clone().unwrap_or_default()]),
                optional(&asked.step, |step| format!("step {step}")),
            ),
        };
        joined([subject, file, rest])
    }
}

impl Arguments for Look {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match Self::parse_with_file(named(rest)?, false) {
            Some(parsed) => Ok(parsed?.0),
            None => Ok(Self::Named(rest.into())),
        }
    }

    fn written(&self) -> String {
        self.written_with_file(None)
    }
}

/// `WHAT FILE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Save {
    /// What is saved.
    pub what: Look,
    /// The file; its ending says in which form.
    pub file: PathBuf,
}

impl Arguments for Save {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let missing = || ArgumentError::Found(tr!("a name and a file are needed"));
        if let Some(parsed) = Look::parse_with_file(rest, true) {
            let (what, file) = parsed?;
            return Ok(Self { what, file: file.ok_or_else(missing)? });
        }
        let (what, file) = rest.split_once(char::is_whitespace).ok_or_else(missing)?;
        Ok(Self { what: Look::Named(what.into()), file: unquoted(file.trim()).into() })
    }

    fn written(&self) -> String {
        self.what.written_with_file(Some(&self.file))
    }
}

/// `[COMMAND|WORD]`: a command comes before a word of the glossary.
#[derive(Debug, Clone, PartialEq)]
pub enum Help {
    /// Every command.
    All,
    /// One command.
    Verb(&'static Verb),
    /// A word: a tensor, a setting, a symbol, a view.
    Word(String),
}

impl Arguments for Help {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        if rest.is_empty() {
            return Ok(Self::All);
        }
        // The beginning of a command may be a word.
        let is_exact = VERBS.iter().any(|verb| verb.name == rest || verb.short == rest);
        match (Verb::find(rest), glossary::explained(rest)) {
            (Ok(verb), _) if is_exact => Ok(Self::Verb(verb)),
            (_, Ok(_)) => Ok(Self::Word(rest.into())),
            (Ok(verb), Err(_)) => Ok(Self::Verb(verb)),
            (Err(_), Err(near)) => {
                let word = abridged(rest);
                found(tr!("`{word}` is neither a command nor in the glossary, which has {near}", word, near))
            }
        }
    }

    fn written(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Verb(verb) => verb.name.into(),
            Self::Word(word) => word.clone(),
        }
    }
}

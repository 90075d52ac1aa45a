//! Several runs: `fork`, `switch`, `rename`, `compare`, `diff`.

use super::{ArgumentError, Arguments, found, joined, optional};
use crate::debugger::language::place::{Place, parse_place};
use crate::debugger::language::plan::Plan;
use crate::debugger::language::verb::Class;
use crate::debugger::text::{abridged, quoted, unquoted, words};
use std::fmt;

/// `[NAME] [at STAGE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The name of the new timeline.
    pub name: Option<String>,
    /// The stage before which it begins; at the cursor without.
    pub at: Option<Place>,
}

impl Arguments for Fork {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let (name, at) = match rest.strip_prefix("at ") {
            Some(at) => ("", Some(at)),
            None => rest.split_once(" at ").map_or((rest, None), |(name, at)| (name, Some(at))),
        };
        let at = at.map(|at| parse_place(at.trim())).transpose()?;
        let name = name.trim();
        Ok(Self { name: (!name.is_empty()).then(|| unquoted(name).into()), at })
    }

    fn written(&self) -> String {
        joined([optional(&self.name, |name| quoted(name)), optional(&self.at, |at| format!("at {at}"))])
    }
}

/// `NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineName(pub String);

impl Arguments for TimelineName {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        if rest.is_empty() { found("no timeline named") } else { Ok(Self(unquoted(rest).into())) }
    }

    fn written(&self) -> String {
        quoted(&self.0)
    }
}

/// `[OLD] NEW`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The timeline; the current one without.
    pub old: Option<String>,
    /// Its new name.
    pub new: String,
}

impl Arguments for Rename {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.split_whitespace().collect::<Vec<_>>()[..] {
            [new] => Ok(Self { old: None, new: new.into() }),
            [old, new] => Ok(Self { old: Some(old.into()), new: new.into() }),
            _ => found(format!("`{}` is not one name or two", abridged(rest))),
        }
    }

    fn written(&self) -> String {
        joined([self.old.clone().unwrap_or_default(), self.new.clone()])
    }
}

/// `[NAME VALUES … | base NAME | off]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// Variants, side by side.
    Variants(Plan),
    /// Back to them.
    Again,
    /// End the comparison.
    Off,
    /// The variant that differences are from.
    Base(String),
}

impl Arguments for Compare {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.split_once(char::is_whitespace).unwrap_or((rest, "")) {
            ("", _) => Ok(Self::Again),
            ("off", "") => Ok(Self::Off),
            ("base", name) if !name.trim().is_empty() => Ok(Self::Base(name.trim().into())),
            _ => Ok(Self::Variants(Plan::parse(rest)?)),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Variants(plan) => plan.line(),
            Self::Again => String::new(),
            Self::Off => "off".into(),
            Self::Base(name) => format!("base {name}"),
        }
    }

    fn class(&self) -> Option<Class> {
        matches!(self, Self::Off).then_some(Class::Edits)
    }
}

/// A side of `diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// `@K`: the state after `denoise K` of this timeline.
    After(usize),
    /// A timeline, or a file of tensors.
    Named(String),
}

impl Side {
    fn parse(word: &str) -> Result<Self, String> {
        match word.strip_prefix('@').map(str::parse) {
            None => Ok(Self::Named(word.into())),
            Some(Ok(step)) => Ok(Self::After(step)),
            Some(Err(_)) => Err(format!("`{}` is no state: expected @ and a step", abridged(word))),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(step) => write!(f, "@{step}"),
            Self::Named(name) => f.write_str(&quoted(name)),
        }
    }
}

/// `A [B] [within X]`; names with spaces stand in quotes.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// The reference.
    pub a: Side,
    /// What is compared with it; the current timeline without.
    pub b: Option<Side>,
    /// Relative differences up to this are ignored.
    pub tolerance: Option<f64>,
}

impl Arguments for Diff {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let mut words = words(rest);
        let tolerance = match words[..] {
            [.., "within", x] => {
                let tolerance = x.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.);
                words.truncate(words.len() - 2);
                Some(tolerance.ok_or_else(|| {
                    format!("`{}` is no relative difference: expected a number, 0 or more", abridged(x))
                })?)
            }
            _ => None,
        };
        match words[..] {
            [a] => Ok(Self { a: Side::parse(a)?, b: None, tolerance }),
            [a, b] => Ok(Self { a: Side::parse(a)?, b: Some(Side::parse(b)?), tolerance }),
            _ => found("not one side or two"),
        }
    }

    fn written(&self) -> String {
        let within = optional(&self.tolerance, |x| format!("within {x:?}"));
        joined([self.a.to_string(), optional(&self.b, Side::to_string), within])
    }
}

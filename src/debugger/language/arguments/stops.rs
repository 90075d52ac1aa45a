//! Where a run stops: `break`, `tbreak`, `catch`, `delete`.

use super::{ArgumentError, Arguments, found, joined, named, optional};
use crate::debugger::expr::Expression;
use crate::debugger::language::place::{Stop, parse_stop};
use crate::debugger::text::{abridged, quoted, unquoted};

/// `STAGE|MODULE [if EXPR]`.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakAt {
    /// Where.
    pub stop: Stop,
    /// Only when this holds.
    pub condition: Option<Expression>,
}

impl Arguments for BreakAt {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let (at, condition) = match rest.split_once(" if ") {
            Some((at, condition)) => (at.trim(), Some(Expression::compile(condition)?)),
            None => (rest, None),
        };
        Ok(Self { stop: parse_stop(at)?, condition })
    }

    fn written(&self) -> String {
        joined([
            self.stop.to_string(),
            optional(&self.condition, |condition| format!("if {}", condition.text())),
        ])
    }
}

/// `nan|if EXPR`.
#[derive(Debug, Clone, PartialEq)]
pub enum Catch {
    /// After a stage that made NaN or infinity.
    NotFinite,
    /// After a module for which it is true.
    If(Expression),
}

impl Arguments for Catch {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.strip_prefix("if ") {
            Some(condition) => Ok(Self::If(Expression::compile(condition)?)),
            None if rest == "nan" => Ok(Self::NotFinite),
            None => found(format!("`{}` cannot be caught", abridged(named(rest)?))),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::NotFinite => "nan".into(),
            Self::If(condition) => format!("if {}", condition.text()),
        }
    }
}

/// `[N]|timeline NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// One breakpoint, or all.
    Breakpoint(Option<usize>),
    /// A timeline.
    Timeline(String),
}

impl Arguments for Delete {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.split_once(char::is_whitespace) {
            Some(("timeline", name)) => Ok(Self::Timeline(unquoted(name.trim()).into())),
            _ if rest.is_empty() => Ok(Self::Breakpoint(None)),
            _ if rest == "timeline" => found("no timeline named"),
            _ => match rest.parse() {
                Ok(id) => Ok(Self::Breakpoint(Some(id))),
                Err(_) => found(format!("`{rest}` is no number of a breakpoint")),
            },
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Breakpoint(id) => optional(id, usize::to_string),
            Self::Timeline(name) => format!("timeline {}", quoted(name)),
        }
    }
}

//! Where to stop, and on what.

use crate::debugger::expr::names::Resolver;
use crate::debugger::expr::{Expression, ExpressionError};
use crate::debugger::language::place::Stop;
use crate::debugger::stepping::HookPhase;
use crate::nn::pattern::Pattern;
use crate::pipeline::{Stage, StageRecord};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::fmt;
use tr::tr;

/// A place to stop before, perhaps on a condition; or what to stop after.
#[derive(Debug, Clone)]
pub struct Breakpoint {
    /// Its number, from 1.
    pub id: usize,
    /// Where.
    pub place: Stop,
    /// Only when this holds.
    pub condition: Option<Expression>,
    /// Whether it is deleted once it stopped a run.
    pub temporary: bool,
    /// How often it stopped a run.
    pub hits: usize,
}

/// What a breakpoint on a condition or on NaN is called.
pub const CATCHPOINT: &str = "catchpoint";

impl Breakpoint {
    /// What it is called: a catchpoint, or a breakpoint.
    pub fn kind(&self) -> &'static str {
        match &self.place {
            Stop::NotFinite | Stop::Condition => CATCHPOINT,
            Stop::Before(_) | Stop::Module(_) if self.temporary => "temporary breakpoint",
            Stop::Before(_) | Stop::Module(_) => "breakpoint",
        }
    }

    /// Before or after a module that it names; `None` where it names none.
    fn moment(&self, path: &str) -> Option<HookPhase> {
        match &self.place {
            Stop::Condition => Some(HookPhase::After),
            Stop::Module(pattern) if pattern.matches(path) => Some(self.moment_of_all(pattern)),
            _ => None,
        }
    }

    /// A condition on what the module itself makes is known once it ran.
    fn moment_of_all(&self, pattern: &Pattern) -> HookPhase {
        let is_own = |condition: &Expression| condition.asks_for_output(|path| pattern.matches(path));
        match self.condition.as_ref().is_some_and(is_own) {
            true => HookPhase::After,
            false => HookPhase::Before,
        }
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Stop::NotFinite => return f.write_str(&tr!("{} {} for NaN and infinity", self.kind(), self.id)),
            Stop::Condition => {
                let condition = self.condition.as_ref().map_or("", Expression::text);
                return write!(f, "{} {} for {condition}", self.kind(), self.id);
            }
            Stop::Before(place) => place.to_string(),
            Stop::Module(pattern) => pattern.to_string(),
        };
        write!(f, "{} {} at {place}", self.kind(), self.id)?;
        match &self.condition {
            Some(condition) => write!(f, " if {}", condition.text()),
            None => Ok(()),
        }
    }
}

/// What a stage made, and on which of several timelines.
pub type Made<'a> = (Option<&'a str>, &'a StageRecord);

/// All breakpoints, by number.
#[derive(Debug, Clone, Default)]
pub struct Breakpoints {
    list: Vec<Breakpoint>,
    made: usize,
}

/// Why a run stopped at a breakpoint.
#[derive(Debug)]
pub enum Hit {
    /// It is here, and its condition holds.
    Reached(Breakpoint),
    /// It is here, and its condition has no value.
    Undecided(Breakpoint, ExpressionError),
    /// The stage before made what is not finite: these tensors, of a comparison with the timelines that they are on.
    NotFinite(Breakpoint, Vec<(Option<String>, Vec<&'static str>)>),
}

impl Breakpoints {
    /// Adds one; numbers are not used twice.
    pub fn add(&mut self, place: Stop, condition: Option<Expression>, temporary: bool) -> &Breakpoint {
        self.made += 1;
        self.list.push(Breakpoint { id: self.made, place, condition, temporary, hits: 0 });
        &self.list[self.list.len() - 1]
    }

    /// Deletes one by its number, and returns it. `None` when there is none.
    pub fn delete(&mut self, id: usize) -> Option<Breakpoint> {
        let place = self.list.iter().position(|breakpoint| breakpoint.id == id)?;
        Some(self.list.remove(place))
    }

    /// Deletes all, and returns them.
    pub fn clear(&mut self) -> Vec<Breakpoint> {
        std::mem::take(&mut self.list)
    }

    /// All of them, in the order of their numbers.
    pub fn list(&self) -> &[Breakpoint] {
        &self.list
    }

    /// The modules that a stage shall wait at, and when; of which of them a run is to be watched is asked with each.
    pub fn of_modules(&self) -> Vec<(Pattern, HookPhase)> {
        let of = |breakpoint: &Breakpoint| match &breakpoint.place {
            Stop::Module(pattern) => Some((pattern.clone(), breakpoint.moment_of_all(pattern))),
            _ => None,
        };
        self.list.iter().filter_map(of).collect()
    }

    /// Those at modules, each with its number.
    pub fn at_modules(&self) -> Vec<(usize, Pattern)> {
        let at = |breakpoint: &Breakpoint| match &breakpoint.place {
            Stop::Module(pattern) => Some((breakpoint.id, pattern.clone())),
            _ => None,
        };
        self.list.iter().filter_map(at).collect()
    }

    /// Whether the output of every module and line is checked.
    pub fn look_at_all(&self) -> bool {
        self.list.iter().any(|breakpoint| breakpoint.place == Stop::Condition)
    }

    /// Whether NaN and infinity stop a run.
    pub fn catch_not_finite(&self) -> bool {
        self.list.iter().any(|breakpoint| breakpoint.place == Stop::NotFinite)
    }

    /// Modules whose outputs conditions ask for by name.
    pub fn asked_for(&self) -> Vec<String> {
        let conditions = self.list.iter().filter_map(|breakpoint| breakpoint.condition.as_ref());
        conditions.flat_map(Expression::modules).map(String::from).collect()
    }

    /// The first breakpoint that stops a stage at the module or line at `path`.
    pub fn hit_inside(&mut self, names: &dyn Resolver, path: &str, moment: HookPhase) -> Option<Hit> {
        self.first_that_holds(names, |breakpoint| breakpoint.moment(path) == Some(moment))
    }

    /// The catchpoint for NaN and infinity, when a record has some.
    fn caught<'a>(&mut self, made: impl IntoIterator<Item = Made<'a>>) -> Option<Hit> {
        let catching = self.list.iter_mut().find(|breakpoint| breakpoint.place == Stop::NotFinite)?;
        // A tensor that cannot be copied from its device is reported when it is shown.
        let broken = |tensor: &Tensor| PlainTensor::of(tensor).is_ok_and(|plain| !plain.is_finite());
        let mut found = vec![];
        for (timeline, record) in made {
            let tensors = record.tensors.iter().filter(|(_, tensor)| broken(tensor));
            let names: Vec<&'static str> = tensors.map(|(name, _)| *name).collect();
            if !names.is_empty() {
                found.push((timeline.map(String::from), names));
            }
        }
        if found.is_empty() {
            return None;
        }
        catching.hits += 1;
        Some(Hit::NotFinite(catching.clone(), found))
    }

    /// The first breakpoint that stops a run that came to `stages`, the last of which is next, and `made` records on the
    /// way.
    pub fn hit<'a>(
        &mut self,
        names: &dyn Resolver,
        stages: &[Stage],
        made: impl IntoIterator<Item = Made<'a>>,
    ) -> Option<Hit> {
        if let Some(hit) = self.caught(made) {
            return Some(hit);
        }
        self.first_that_holds(names, |breakpoint| stages.iter().any(|stage| breakpoint.place.is_at(*stage)))
    }

    /// The first of those that are there whose condition holds, or has no value. It is counted, and deleted if it was
    /// temporary.
    fn first_that_holds(
        &mut self,
        names: &dyn Resolver,
        is_there: impl Fn(&Breakpoint) -> bool,
    ) -> Option<Hit> {
        let mut hit = None;
        for breakpoint in self.list.iter_mut().filter(|breakpoint| is_there(breakpoint)) {
            match breakpoint.condition.as_ref().map_or(Ok(true), |condition| condition.holds(names)) {
                Ok(false) => continue,
                Ok(true) => {
                    breakpoint.hits += 1;
                    hit = Some(Hit::Reached(breakpoint.clone()));
                }
                Err(e) => hit = Some(Hit::Undecided(breakpoint.clone(), e)),
            }
            break;
        }
        if let Some(Hit::Reached(Breakpoint { id, temporary: true, .. })) = hit {
            self.delete(id);
        }
        hit
    }
}

//! Where to stop, and on what.

use super::command::Place;
use super::expression::{Expression, ExpressionError};
use super::scope::Scope;
use crate::pipeline::{Stage, StageRecord};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::fmt;

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

/// Where a breakpoint stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before a stage.
    Before(Place),
    /// After a stage that made NaN or infinity: `catch nan`.
    NotFinite,
}

impl Stop {
    /// Whether a run that stands before `stage` is stopped there.
    pub fn is_at(self, stage: Stage) -> bool {
        matches!(self, Self::Before(place) if place.is_at(stage))
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Stop::NotFinite => return write!(f, "catchpoint {} for NaN and infinity", self.id),
            Stop::Before(place) => place,
        };
        let kind = if self.temporary { "temporary breakpoint" } else { "breakpoint" };
        write!(f, "{kind} {} at {place}", self.id)?;
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
    /// It is here, and its condition cannot be told.
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

    /// Deletes one by its number. False when there is none.
    pub fn delete(&mut self, id: usize) -> bool {
        let before = self.list.len();
        self.list.retain(|breakpoint| breakpoint.id != id);
        self.list.len() < before
    }

    /// Deletes all; how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.list).len()
    }

    /// All of them, in the order of their numbers.
    pub fn list(&self) -> &[Breakpoint] {
        &self.list
    }

    /// The catchpoint for NaN and infinity, when a record has some.
    fn caught<'a>(&mut self, made: impl IntoIterator<Item = Made<'a>>) -> Option<Hit> {
        let catching = self.list.iter_mut().find(|breakpoint| breakpoint.place == Stop::NotFinite)?;
        // A tensor that cannot be copied from its device shows itself when it is looked at.
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
    /// way. It is counted, and deleted if it was temporary.
    pub fn hit<'a>(
        &mut self,
        scope: &Scope<'_>,
        stages: &[Stage],
        made: impl IntoIterator<Item = Made<'a>>,
    ) -> Option<Hit> {
        if let Some(hit) = self.caught(made) {
            return Some(hit);
        }
        let is_there =
            |breakpoint: &&mut Breakpoint| stages.iter().any(|stage| breakpoint.place.is_at(*stage));
        let mut hit = None;
        for breakpoint in self.list.iter_mut().filter(is_there) {
            match breakpoint.condition.as_ref().map_or(Ok(true), |condition| condition.holds(scope)) {
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

//! Where to stop.

use super::command::Place;
use super::expression::{Expression, ExpressionError};
use crate::pipeline::Snapshot;
use std::fmt;

/// A place to stop before, perhaps on a condition.
#[derive(Debug, Clone)]
pub struct Breakpoint {
    /// Its number, from 1.
    pub id: usize,
    /// Where.
    pub place: Place,
    /// Only when this holds.
    pub condition: Option<Expression>,
    /// Whether it is deleted once it stopped a run.
    pub temporary: bool,
    /// How often it stopped a run.
    pub hits: usize,
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.temporary { "temporary breakpoint" } else { "breakpoint" };
        write!(f, "{kind} {} at {}", self.id, self.place)?;
        match &self.condition {
            Some(condition) => write!(f, " if {}", condition.text()),
            None => Ok(()),
        }
    }
}

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
}

impl Breakpoints {
    /// Adds one; numbers are not used twice.
    pub fn add(&mut self, place: Place, condition: Option<Expression>, temporary: bool) -> &Breakpoint {
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

    /// The first breakpoint that stops a run at `snapshot`. It is counted, and deleted if it was temporary.
    pub fn hit(&mut self, snapshot: &Snapshot) -> Option<Hit> {
        let stage = snapshot.position()?;
        let mut hit = None;
        for breakpoint in self.list.iter_mut().filter(|breakpoint| breakpoint.place.is_at(stage)) {
            match breakpoint.condition.as_ref().map_or(Ok(true), |condition| condition.holds(snapshot)) {
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

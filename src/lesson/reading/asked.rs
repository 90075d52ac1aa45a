//! Expressions that are evaluated for a lesson, and where their values go.

use super::{Known, Wish};
use crate::debugger::expr::{Answer, Expression};
use crate::lesson::block::Expected;
use crate::lesson::format::Prose;
use crate::lesson::playing::{operands, told};

/// A value as prose has it, or why there is none.
pub type Value = Result<String, String>;

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whether it does, or why that cannot be told.
    pub truth: Result<bool, String>,
    /// What is compared in it, with its value: `latents.std = 0.83`.
    pub values: Vec<String>,
}

impl Held {
    /// Whether it is known to hold.
    pub fn holds(&self) -> bool {
        self.truth == Ok(true)
    }
}

/// Where a value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// A number of prose.
    Live { part: usize, index: usize },
    /// A condition.
    Held { part: usize, index: usize },
    /// What a condition compares.
    Operand { part: usize, index: usize, text: String },
    /// Whether a choice is right.
    Choice { part: usize, index: usize },
}

/// What is to be evaluated, and what was sent to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    next: Vec<(Slot, Expression)>,
    sent: Vec<(usize, Vec<Slot>)>,
    number: usize,
}

impl Asked {
    pub(super) fn prose(&mut self, part: usize, prose: &Prose) {
        let live = prose.live.iter().enumerate();
        self.next.extend(live.map(|(index, live)| (Slot::Live { part, index }, live.expression.clone())));
    }

    pub(super) fn condition(&mut self, part: usize, index: usize, expected: &Expected) {
        self.next.push((Slot::Held { part, index }, expected.expression.clone()));
        for text in operands(expected.expression.text()) {
            if let Ok(expression) = Expression::compile(text) {
                self.next.push((Slot::Operand { part, index, text: text.into() }, expression));
            }
        }
    }

    pub(super) fn choice(&mut self, part: usize, index: usize, expected: &Expected) {
        self.next.push((Slot::Choice { part, index }, expected.expression.clone()));
    }

    /// Sends what is to be evaluated, when there is anything.
    pub(super) fn send(&mut self) -> Option<Wish> {
        if self.next.is_empty() {
            return None;
        }
        let (slots, expressions) = std::mem::take(&mut self.next).into_iter().unzip();
        self.number += 1;
        self.sent.push((self.number, slots));
        Some(Wish::Evaluate(self.number, expressions))
    }

    /// Where the values go that were sent for with this number.
    pub(super) fn take(&mut self, number: usize) -> Vec<Slot> {
        let place = self.sent.iter().position(|(sent, _)| *sent == number);
        place.map_or(vec![], |place| self.sent.remove(place).1)
    }
}

impl Slot {
    pub(super) fn put(self, answer: Result<Answer, String>, known: &mut [Known]) {
        let truth = |answer: Result<Answer, String>| match answer {
            Ok(Answer::Bool(truth)) => Ok(truth),
            Ok(other) => Err(format!("{}; expected true or false", told(&other))),
            Err(e) => Err(e),
        };
        match self {
            Self::Live { part, index } => {
                if let Some(live) = known.get_mut(part).and_then(|known| known.live.get_mut(index)) {
                    *live = Some(answer.map(|answer| told(&answer)));
                }
            }
            Self::Held { part, index } => {
                if let Some(held) = known.get_mut(part).and_then(|known| known.held.get_mut(index)) {
                    *held = Some(Held { truth: truth(answer), values: vec![] });
                }
            }
            Self::Operand { part, index, text } => {
                let held = known.get_mut(part).and_then(|known| known.held.get_mut(index)?.as_mut());
                let (Some(held), Ok(answer)) = (held, answer) else { return };
                let value = told(&answer);
                let line = format!("{text} = {value}");
                // A number as it stands there says nothing new.
                if value != text && !held.values.contains(&line) {
                    held.values.push(line);
                }
            }
            Self::Choice { part, index } => {
                let right = known.get_mut(part).and_then(|known| known.right.as_mut()?.get_mut(index));
                if let Some(right) = right {
                    // What cannot be told is not right.
                    *right = Some(truth(answer).unwrap_or(false));
                }
            }
        }
    }
}

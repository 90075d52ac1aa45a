//! Expressions to evaluate for a lesson, and the destinations of their values.

use super::{Known, LessonEffect};
use crate::debugger::expr::{Answer, Expression};
use crate::lesson::block::Expected;
use crate::lesson::format::Prose;
use crate::lesson::playing::{operands, shown};
use tr::tr;

/// A value as shown in prose, or an error.
pub type Value = Result<String, String>;

/// The result of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionResult {
    /// Whether it holds, or an error.
    pub truth: Result<bool, String>,
    /// Its operands with their values: `latents.std = 0.83`.
    pub values: Vec<String>,
}

impl ConditionResult {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.truth == Ok(true)
    }
}

/// The destination of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// A live number in prose.
    Live { part: usize, index: usize },
    /// A condition.
    Condition { part: usize, index: usize },
    /// An operand of a condition.
    Operand { part: usize, index: usize, text: String },
    /// Whether a choice is right.
    Choice { part: usize, index: usize },
}

/// Expressions to evaluate, and evaluations in progress.
#[derive(Debug, Clone, Default)]
pub(super) struct Evaluations {
    next: Vec<(Slot, Expression)>,
    sent: Vec<(usize, Vec<Slot>)>,
    number: usize,
}

impl Evaluations {
    pub(super) fn prose(&mut self, part: usize, prose: &Prose) {
        let live = prose.live.iter().enumerate();
        self.next.extend(live.map(|(index, live)| (Slot::Live { part, index }, live.expression.clone())));
    }

    pub(super) fn condition(&mut self, part: usize, index: usize, expected: &Expected) {
        self.next.push((Slot::Condition { part, index }, expected.expression.clone()));
        for text in operands(expected.expression.text()) {
            if let Ok(expression) = Expression::compile(text) {
                self.next.push((Slot::Operand { part, index, text: text.into() }, expression));
            }
        }
    }

    pub(super) fn choice(&mut self, part: usize, index: usize, expected: &Expected) {
        self.next.push((Slot::Choice { part, index }, expected.expression.clone()));
    }

    /// Requests the evaluation of pending expressions, if there are any.
    pub(super) fn send(&mut self) -> Option<LessonEffect> {
        if self.next.is_empty() {
            return None;
        }
        let (slots, expressions) = std::mem::take(&mut self.next).into_iter().unzip();
        self.number += 1;
        self.sent.push((self.number, slots));
        Some(LessonEffect::Evaluate(self.number, expressions))
    }

    /// The destinations for the evaluation of this number.
    pub(super) fn take(&mut self, number: usize) -> Vec<Slot> {
        let place = self.sent.iter().position(|(sent, _)| *sent == number);
        place.map_or(vec![], |place| self.sent.remove(place).1)
    }
}

impl Slot {
    pub(super) fn put(self, answer: Result<Answer, String>, known: &mut [Known]) {
        let truth = |answer: Result<Answer, String>| match answer {
            Ok(Answer::Bool(truth)) => Ok(truth),
            Ok(other) => Err(tr!("{}; expected true or false", shown(&other))),
            Err(e) => Err(e),
        };
        match self {
            Self::Live { part, index } => {
                if let Some(live) = known.get_mut(part).and_then(|known| known.live.get_mut(index)) {
                    *live = Some(answer.map(|answer| shown(&answer)));
                }
            }
            Self::Condition { part, index } => {
                if let Some(held) = known.get_mut(part).and_then(|known| known.held.get_mut(index)) {
                    *held = Some(ConditionResult { truth: truth(answer), values: vec![] });
                }
            }
            Self::Operand { part, index, text } => {
                let held = known.get_mut(part).and_then(|known| known.held.get_mut(index)?.as_mut());
                let (Some(held), Ok(answer)) = (held, answer) else { return };
                let value = shown(&answer);
                let line = format!("{text} = {value}");
                // A literal's value is already visible.
                if value != text && !held.values.contains(&line) {
                    held.values.push(line);
                }
            }
            Self::Choice { part, index } => {
                let right = known.get_mut(part).and_then(|known| known.right.as_mut()?.get_mut(index));
                if let Some(right) = right {
                    // A condition that fails to evaluate is not right.
                    *right = Some(truth(answer).unwrap_or(false));
                }
            }
        }
    }
}

//! The state of a part of a lesson.

use super::{ConditionResult, Value};
use crate::lesson::format::Part;

/// The state of a part.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// For prose: the live numbers, once evaluated.
    pub live: Vec<Option<Value>>,
    /// For conditions and tasks: the result of each condition.
    pub held: Vec<Option<ConditionResult>>,
    /// For commands and solutions: the messages of each command that has run.
    pub messages: Vec<Vec<String>>,
    /// For a question: the chosen answer.
    pub answer: Option<usize>,
    /// For a question whose answer may be revealed: whether each choice is right, once known.
    pub right: Option<Vec<Option<bool>>>,
    /// For commands: the questions that they answer.
    pub answers: Vec<usize>,
    /// For a task: the number of hints requested.
    pub hints: usize,
}

impl Known {
    pub(super) fn of(part: &Part) -> Self {
        let (live, held) = match part {
            Part::Prose(prose) => (prose.live.len(), 0),
            Part::Expect(expected) => (0, expected.len()),
            Part::Try(task) => (0, task.expected.len()),
            _ => (0, 0),
        };
        Self { live: vec![None; live], held: vec![None; held], ..Self::default() }
    }

    /// The right choices of a question, once all are known and may be revealed.
    pub fn right_choices(&self) -> Option<Vec<usize>> {
        let right = self.right.as_ref()?;
        let all: Option<Vec<bool>> = right.iter().copied().collect();
        Some(all?.iter().enumerate().filter(|(_, right)| **right).map(|(index, _)| index).collect())
    }
}

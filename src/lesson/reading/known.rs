//! What is known of a part of a lesson.

use super::{Held, Value};
use crate::lesson::format::Part;

/// What is known of a part.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Of prose: its numbers, each once it was evaluated.
    pub live: Vec<Option<Value>>,
    /// Of conditions, and of a task's: whether each holds.
    pub held: Vec<Option<Held>>,
    /// Of commands, and of a task's solution: what each that was carried out said.
    pub said: Vec<Vec<String>>,
    /// Of a question: the choice that was made.
    pub answer: Option<usize>,
    /// Of a question whose answer may be told: whether each choice is right, once that is known.
    pub right: Option<Vec<Option<bool>>>,
    /// Of commands: the questions that they answer.
    pub answers: Vec<usize>,
    /// Of a task: how many hints were asked for.
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

    /// The choices of a question that are right, once all are known and may be told.
    pub fn right_choices(&self) -> Option<Vec<usize>> {
        let right = self.right.as_ref()?;
        let all: Option<Vec<bool>> = right.iter().copied().collect();
        Some(all?.iter().enumerate().filter(|(_, right)| **right).map(|(index, _)| index).collect())
    }
}

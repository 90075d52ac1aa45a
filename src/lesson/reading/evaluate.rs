//! Requests evaluations for the reader's position, and handles their results.

use super::evaluations::Slot;
use super::{ConditionResult, Known, LessonEffect, Reading};
use crate::debugger::expr::Answer;
use crate::lesson::block::Right;
use crate::lesson::format::Part;
use std::sync::Arc;

impl Reading {
    /// Handles the results of an evaluation.
    pub fn evaluated(&mut self, number: usize, answers: Vec<Result<Answer, String>>) -> Vec<LessonEffect> {
        let mut wishes = vec![];
        let mut of_task = None;
        for (slot, answer) in self.evaluations.take(number).into_iter().zip(answers) {
            if let Slot::Condition { part, .. } = slot {
                of_task = Some(part);
            }
            slot.put(answer, &mut self.known);
        }
        let is_done =
            |known: &Known| known.held.iter().all(|held| held.as_ref().is_some_and(ConditionResult::holds));
        // Lines that the lesson is running are finished first.
        if of_task == Some(self.at) && self.is_trying() && !self.is_busy() && is_done(&self.known[self.at]) {
            (self.elsewhere, self.strayed) = (false, false);
            wishes.push(LessonEffect::Mark);
            self.pass(&[], &mut wishes);
        }
        wishes
    }

    /// Evaluates the numbers of the current section again at the session's position. They stay after lines of the current block
    /// have run, and during a task, as these move the session themselves.
    pub(super) fn follow(&mut self, wishes: &mut Vec<LessonEffect>) {
        if self.is_trying() || self.line > 0 {
            return;
        }
        for place in self.section..self.at {
            if let Some(Part::Prose(prose)) = self.lesson.parts.get(place) {
                self.evaluations.prose(place, prose);
            }
        }
        wishes.extend(self.evaluations.send());
    }

    pub(super) fn ask_task(&mut self, wishes: &mut Vec<LessonEffect>) {
        if let Some(Part::Try(task)) = self.lesson.parts.get(self.at) {
            let conditions = task.expected.iter().enumerate();
            conditions.for_each(|(index, expected)| self.evaluations.condition(self.at, index, expected));
        }
        wishes.extend(self.evaluations.send());
    }

    pub(super) fn ask_question(&mut self, part: usize, wishes: &mut Vec<LessonEffect>) {
        let lesson = Arc::clone(&self.lesson);
        let Some(Part::Predict(question)) = lesson.parts.get(part) else { return };
        let mut right = vec![];
        for (index, choice) in question.choices.iter().enumerate() {
            right.push(match &choice.right {
                Right::Always(truth) => Some(*truth),
                Right::When(expected) => {
                    self.evaluations.choice(part, index, expected);
                    None
                }
            });
        }
        self.known[part].right = Some(right);
        wishes.extend(self.evaluations.send());
    }
}

//! What is evaluated for the place where a reader is, and what follows from the values.

use super::asked::Slot;
use super::{Held, Known, Reading, Wish};
use crate::debugger::expr::Answer;
use crate::lesson::block::Right;
use crate::lesson::format::Part;
use std::sync::Arc;

impl Reading {
    /// Expressions were evaluated.
    pub fn evaluated(&mut self, number: usize, answers: Vec<Result<Answer, String>>) -> Vec<Wish> {
        let mut wishes = vec![];
        let mut of_task = None;
        for (slot, answer) in self.asked.take(number).into_iter().zip(answers) {
            if let Slot::Held { part, .. } = slot {
                of_task = Some(part);
            }
            slot.put(answer, &mut self.known);
        }
        let is_done = |known: &Known| known.held.iter().all(|held| held.as_ref().is_some_and(Held::holds));
        // What the lesson carries out meanwhile, it carries out to its end.
        if of_task == Some(self.at) && self.is_trying() && !self.is_busy() && is_done(&self.known[self.at]) {
            (self.elsewhere, self.strayed) = (false, false);
            wishes.push(Wish::Mark);
            self.pass(&[], &mut wishes);
        }
        wishes
    }

    /// The numbers at hand are those of where the reader is now. They stay when the stop has led elsewhere itself: a
    /// block of which lines ran, a task, which sends its reader about.
    pub(super) fn follow(&mut self, wishes: &mut Vec<Wish>) {
        if self.is_trying() || self.line > 0 {
            return;
        }
        for place in self.section..self.at {
            if let Some(Part::Prose(prose)) = self.lesson.parts.get(place) {
                self.asked.prose(place, prose);
            }
        }
        wishes.extend(self.asked.send());
    }

    pub(super) fn ask_task(&mut self, wishes: &mut Vec<Wish>) {
        if let Some(Part::Try(task)) = self.lesson.parts.get(self.at) {
            let conditions = task.expected.iter().enumerate();
            conditions.for_each(|(index, expected)| self.asked.condition(self.at, index, expected));
        }
        wishes.extend(self.asked.send());
    }

    pub(super) fn ask_question(&mut self, part: usize, wishes: &mut Vec<Wish>) {
        let lesson = Arc::clone(&self.lesson);
        let Some(Part::Predict(question)) = lesson.parts.get(part) else { return };
        let mut right = vec![];
        for (index, choice) in question.choices.iter().enumerate() {
            right.push(match &choice.right {
                Right::Always(truth) => Some(*truth),
                Right::When(expected) => {
                    self.asked.choice(part, index, expected);
                    None
                }
            });
        }
        self.known[part].right = Some(right);
        wishes.extend(self.asked.send());
    }
}

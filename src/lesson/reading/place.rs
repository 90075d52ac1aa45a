//! Where a reader is in a lesson.

use super::{Known, Reading, Running};
use crate::lesson::format::{Lesson, Part};
use crate::lesson::progress::LessonProgress;

impl Reading {
    /// The lesson.
    pub fn lesson(&self) -> &Lesson {
        &self.lesson
    }

    /// The parts that are shown, each with what is known of it.
    pub fn shown(&self) -> impl Iterator<Item = (usize, &Part, &Known)> {
        let shown = self.lesson.parts.iter().zip(&self.known).enumerate();
        let last = if self.started { self.at + 1 } else { 0 };
        shown.take(last).map(|(place, (part, known))| (place, part, known))
    }

    /// What is known of a part.
    pub fn known(&self, part: usize) -> Option<&Known> {
        self.known.get(part)
    }

    /// What the lesson waits for; `None` when it is over.
    pub fn stop(&self) -> Option<&Part> {
        self.lesson.parts.get(self.at)
    }

    /// The place of that among the parts.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many lines of the block at hand are carried out.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The first part that was shown with the stop at hand.
    pub fn section(&self) -> usize {
        self.section
    }

    /// How many stops are done, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.done(), self.before.of)
    }

    /// Whether a line of the lesson runs, or it goes on by itself.
    pub fn is_busy(&self) -> bool {
        self.is_replaying() || self.running.is_some_and(|running| !matches!(running, Running::Theirs { .. }))
    }

    /// Whether it goes by itself to where the reader was.
    pub fn is_replaying(&self) -> bool {
        self.done() < self.replay
    }

    /// Whether the reader changed something that the lesson knows nothing of.
    pub fn has_strayed(&self) -> bool {
        self.strayed && !self.is_trying()
    }

    /// Whether the stop at hand is a task: what the reader changes is what the lesson wants.
    pub(super) fn is_trying(&self) -> bool {
        matches!(self.stop(), Some(Part::Try(_)))
    }

    pub(super) fn done(&self) -> usize {
        self.lesson.parts[..self.at.min(self.lesson.parts.len())].iter().filter(|part| part.is_stop()).count()
    }

    pub(super) fn standing(&self) -> LessonProgress {
        let (done, of) = self.progress();
        let questions = self.lesson.parts[..self.at].iter().zip(&self.known);
        let questions = questions.filter(|(part, _)| matches!(part, Part::Predict(_)));
        LessonProgress {
            done,
            of,
            finished: self.before.finished || done == of,
            answers: questions.map(|(_, known)| known.answer).collect(),
        }
    }
}

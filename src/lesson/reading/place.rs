//! The reader's position in a lesson.

use super::{Known, Reading, Running};
use crate::lesson::format::{Lesson, Part};
use crate::lesson::progress::LessonProgress;

impl Reading {
    /// The lesson.
    pub fn lesson(&self) -> &Lesson {
        &self.lesson
    }

    /// The visible parts, each with its state.
    pub fn shown(&self) -> impl Iterator<Item = (usize, &Part, &Known)> {
        let shown = self.lesson.parts.iter().zip(&self.known).enumerate();
        let last = if self.started { self.at + 1 } else { 0 };
        shown.take(last).map(|(place, (part, known))| (place, part, known))
    }

    /// The state of a part.
    pub fn known(&self, part: usize) -> Option<&Known> {
        self.known.get(part)
    }

    /// The current stop, at which the lesson waits; `None` at the end.
    pub fn stop(&self) -> Option<&Part> {
        self.lesson.parts.get(self.at)
    }

    /// The index of the current stop among the parts.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The number of lines of the current block that have run.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The first part of the current section.
    pub fn section(&self) -> usize {
        self.section
    }

    /// The number of finished stops, and of all stops.
    pub fn progress(&self) -> (usize, usize) {
        (self.done(), self.before.of)
    }

    /// Whether the lesson runs a line or replays.
    pub fn is_busy(&self) -> bool {
        self.is_replaying() || self.running.is_some_and(|running| !matches!(running, Running::User { .. }))
    }

    /// Whether the lesson replays to the stored position.
    pub fn is_replaying(&self) -> bool {
        self.done() < self.replay
    }

    /// Whether the reader changed the run in a way that is not part of the lesson.
    pub fn has_strayed(&self) -> bool {
        self.strayed && !self.is_trying()
    }

    /// Whether the current stop is a task, for which the reader changes the run.
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

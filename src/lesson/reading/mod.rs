//! A lesson with a reader, as a state machine.
//!
//! [`Reading`] has no side effects: the reader's actions and the debugger's events go in, [`LessonEffect`]s come out. A section of
//! a lesson ends at a stop, which waits for the reader: commands to run, a question to answer, a task to do.
//!
//! - `place`: the reader's position. `known`: the state of a part.
//! - `evaluate`: requests evaluations; `evaluations`: their expressions and the destinations of the values.

mod evaluate;
mod evaluations;
mod known;
mod place;
#[cfg(test)]
mod tests;

pub use evaluations::{ConditionResult, Value};
pub use known::Known;

use super::block::{Task, Typed};
use super::format::{Lesson, Part};
use super::progress::LessonProgress;
use crate::debugger::expr::Expression;
use crate::debugger::{Command, CommandLine};
use evaluations::Evaluations;
use std::sync::Arc;

/// An action of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Runs the next line of the current block.
    Go,
    /// Runs all remaining lines of the block, or the solution of a task.
    All,
    /// Answers the current question with this choice.
    Answer(usize),
    /// Shows one more hint.
    Hint,
    /// Returns the session to the lesson's position.
    ComeBack,
}

/// An effect that the lesson requests.
#[derive(Debug, Clone, PartialEq)]
pub enum LessonEffect {
    /// Run a command.
    Run(CommandLine),
    /// Return the session to the last mark.
    ComeBack,
    /// Mark the session's position.
    Mark,
    /// Evaluate expressions; the values come back with the number.
    Evaluate(usize, Vec<Expression>),
    /// Show a view.
    Show(&'static str),
    /// Store the reader's progress.
    Keep(LessonProgress),
}

/// The command that the worker is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    /// The return to the lesson's position, followed by an action.
    Back(Option<Act>),
    /// The current line of a block, or all of its lines.
    Line { all: bool },
    /// This line of a solution.
    Solution(usize),
    /// A command that the reader typed.
    User { is_read_only: bool },
}

/// A lesson with a reader.
#[derive(Debug, Clone)]
pub struct Reading {
    lesson: Arc<Lesson>,
    known: Vec<Known>,
    /// The index of the current stop; at the end, the number of parts.
    at: usize,
    /// The number of its lines that have run.
    line: usize,
    /// The first part of the current section.
    section: usize,
    /// Questions that the next commands answer.
    open: Vec<usize>,
    started: bool,
    running: Option<Running>,
    /// The lesson requested the running command, and the worker does not have it yet.
    wished: bool,
    /// The running command was interrupted.
    interrupted: bool,
    /// The session is not at the lesson's position: the reader moved it or changed the run.
    elsewhere: bool,
    strayed: bool,
    evaluations: Evaluations,
    /// The number of stops to replay with the stored answers.
    replay: usize,
    before: LessonProgress,
}

impl Reading {
    /// A lesson before its first part. If there is stored progress, it will replay to that position.
    pub fn new(lesson: Arc<Lesson>, before: Option<&LessonProgress>) -> Self {
        let of = lesson.parts.iter().filter(|part| part.is_stop()).count();
        let before = before.cloned().unwrap_or_default();
        // If the number of stops has changed, the stored progress does not apply.
        let replay = if before.is_begun() && before.of == of { before.done } else { 0 };
        let known = lesson.parts.iter().map(Known::of).collect();
        Self {
            known,
            at: 0,
            line: 0,
            section: 0,
            open: vec![],
            started: false,
            running: None,
            wished: false,
            interrupted: false,
            elsewhere: false,
            strayed: false,
            evaluations: Evaluations::default(),
            replay,
            before: LessonProgress { of, ..before },
            lesson,
        }
    }

    /// Starts the lesson when the session is ready.
    pub fn start(&mut self) -> Vec<LessonEffect> {
        if std::mem::replace(&mut self.started, true) {
            return vec![];
        }
        let mut wishes = vec![LessonEffect::Mark];
        self.advance(&mut wishes);
        self.replay_on(&mut wishes);
        wishes
    }

    /// Handles an action of the reader. Actions that do not apply now are ignored.
    pub fn act(&mut self, act: Act) -> Vec<LessonEffect> {
        if !self.started || self.is_busy() || self.running.is_some() {
            return vec![];
        }
        let mut wishes = vec![];
        let lesson = Arc::clone(&self.lesson);
        match (act, lesson.parts.get(self.at)) {
            (Act::Go | Act::All, Some(Part::Commands(_))) => match self.elsewhere {
                true => self.come_back(Some(act), &mut wishes),
                false => self.run_line(act == Act::All, &mut wishes),
            },
            (Act::All, Some(Part::Try(_))) => match self.elsewhere {
                true => self.come_back(Some(act), &mut wishes),
                false => self.run_solution(0, &mut wishes),
            },
            (Act::Answer(choice), Some(Part::Predict(question))) if choice < question.choices.len() => {
                self.answer(Some(choice), &mut wishes);
            }
            (Act::Hint, Some(Part::Try(task))) => {
                let hints = &mut self.known[self.at].hints;
                *hints = (*hints + 1).min(task.hints.len());
            }
            (Act::ComeBack, _) if self.elsewhere => self.come_back(None, &mut wishes),
            _ => {}
        }
        wishes
    }

    /// Handles that the worker gets a command from the lesson or from the reader. A command of the reader's that is the lesson's
    /// next one counts as the lesson's.
    pub fn given(&mut self, command: &Command) {
        if std::mem::take(&mut self.wished) {
            return;
        }
        let expected = match self.stop() {
            Some(Part::Commands(lines)) if !self.elsewhere && self.started => lines.get(self.line),
            _ => None,
        };
        self.running = Some(match expected.is_some_and(|line| line.command == *command) {
            true => Running::Line { all: false },
            false => Running::User { is_read_only: command.is_read_only() },
        });
    }

    /// Handles that the running command is interrupted.
    pub fn interrupt(&mut self) {
        self.interrupted = self.running.is_some();
    }

    /// Handles that a command has finished with these messages; `None` if it failed.
    pub fn ran(&mut self, messages: Option<Vec<String>>) -> Vec<LessonEffect> {
        let mut wishes = vec![];
        let interrupted = std::mem::take(&mut self.interrupted);
        let messages = messages.filter(|_| !interrupted);
        self.wished = false;
        match (self.running.take(), messages) {
            (None, _) => {}
            (Some(Running::User { is_read_only }), _) => {
                self.elsewhere |= !is_read_only;
                self.strayed |= !is_read_only;
                self.follow(&mut wishes);
                if !is_read_only {
                    self.ask_task(&mut wishes);
                }
            }
            (Some(_), None) => {
                // The session's position is unknown: the next attempt starts from the mark.
                self.elsewhere = true;
                self.replay = 0;
            }
            (Some(Running::Back(next)), Some(_)) => {
                (self.elsewhere, self.strayed) = (false, false);
                self.follow(&mut wishes);
                if let Some(next) = next {
                    wishes.extend(self.act(next));
                }
            }
            (Some(Running::Line { all }), Some(messages)) => {
                (self.elsewhere, self.strayed) = (false, false);
                self.known[self.at].messages.push(messages);
                self.line += 1;
                wishes.push(LessonEffect::Mark);
                if self.line < self.commands().len() {
                    if all {
                        self.run_line(true, &mut wishes);
                    }
                } else {
                    let here = self.at;
                    let open = std::mem::take(&mut self.open);
                    self.pass(&open, &mut wishes);
                    self.known[here].answers = open;
                }
            }
            (Some(Running::Solution(line)), Some(messages)) => {
                self.known[self.at].messages.push(messages);
                let lines = self.task().map_or(0, |task| task.solution.len());
                if line + 1 < lines {
                    self.run_solution(line + 1, &mut wishes);
                } else {
                    (self.elsewhere, self.strayed) = (false, false);
                    self.ask_task(&mut wishes);
                    wishes.push(LessonEffect::Mark);
                    self.pass(&[], &mut wishes);
                }
            }
        }
        wishes
    }

    /// Handles that the reader moved the cursor: the numbers of the section are evaluated there.
    pub fn looked(&mut self) -> Vec<LessonEffect> {
        let mut wishes = vec![];
        if self.started && !self.is_busy() {
            self.elsewhere = true;
            self.follow(&mut wishes);
        }
        wishes
    }

    fn commands(&self) -> &[Typed] {
        match self.stop() {
            Some(Part::Commands(lines)) => lines,
            _ => &[],
        }
    }

    fn task(&self) -> Option<&Task> {
        match self.stop() {
            Some(Part::Try(task)) => Some(task),
            _ => None,
        }
    }

    fn come_back(&mut self, next: Option<Act>, wishes: &mut Vec<LessonEffect>) {
        self.running = Some(Running::Back(next));
        self.wished = false;
        wishes.push(LessonEffect::ComeBack);
    }

    fn run_line(&mut self, all: bool, wishes: &mut Vec<LessonEffect>) {
        if let Some(line) = self.commands().get(self.line) {
            wishes.push(LessonEffect::Run(line.line()));
            self.running = Some(Running::Line { all });
            self.wished = true;
        }
    }

    fn run_solution(&mut self, line: usize, wishes: &mut Vec<LessonEffect>) {
        let Some(typed) = self.task().and_then(|task| task.solution.get(line)).map(Typed::line) else {
            return;
        };
        if line == 0 {
            // Drops the messages of an earlier attempt.
            self.known[self.at].messages.clear();
        }
        wishes.push(LessonEffect::Run(typed));
        self.running = Some(Running::Solution(line));
        // The lesson's position stays before the solution until all of it has run.
        self.elsewhere = true;
        self.wished = true;
    }

    fn answer(&mut self, choice: Option<usize>, wishes: &mut Vec<LessonEffect>) {
        self.known[self.at].answer = choice;
        self.open.push(self.at);
        self.pass(&[], wishes);
    }

    /// Finishes the current stop; the answers of `questions` may be revealed.
    fn pass(&mut self, questions: &[usize], wishes: &mut Vec<LessonEffect>) {
        self.at += 1;
        self.line = 0;
        for question in questions {
            self.ask_question(*question, wishes);
        }
        self.advance(wishes);
        if !self.is_replaying() {
            wishes.push(LessonEffect::Keep(self.standing()));
        }
        self.replay_on(wishes);
    }

    /// Shows the parts up to the next stop.
    fn advance(&mut self, wishes: &mut Vec<LessonEffect>) {
        self.section = self.at;
        while let Some(part) = self.lesson.parts.get(self.at).filter(|part| !part.is_stop()) {
            match part {
                Part::View(pointer) => wishes.push(LessonEffect::Show(pointer.view)),
                Part::Expect(expected) => {
                    expected
                        .iter()
                        .enumerate()
                        .for_each(|(index, e)| self.evaluations.condition(self.at, index, e));
                }
                Part::Prose(prose) => self.evaluations.prose(self.at, prose),
                _ => {}
            }
            self.at += 1;
        }
        if self.stop().is_none() {
            // No commands follow, so the answers are revealed here.
            for question in std::mem::take(&mut self.open) {
                self.ask_question(question, wishes);
                if let Some(known) = self.known.last_mut() {
                    known.answers.push(question);
                }
            }
        }
        wishes.extend(self.evaluations.send());
    }

    fn replay_on(&mut self, wishes: &mut Vec<LessonEffect>) {
        if !self.is_replaying() {
            return;
        }
        let lesson = Arc::clone(&self.lesson);
        match lesson.parts.get(self.at) {
            Some(Part::Commands(_)) => self.run_line(true, wishes),
            Some(Part::Try(_)) => self.run_solution(0, wishes),
            Some(Part::Predict(question)) => {
                let asked = self.lesson.parts[..self.at].iter();
                let asked = asked.filter(|part| matches!(part, Part::Predict(_))).count();
                let choice = self.before.answers.get(asked).copied().flatten();
                let choice = choice.filter(|choice| *choice < question.choices.len());
                self.answer(choice, wishes);
            }
            _ => {}
        }
    }
}

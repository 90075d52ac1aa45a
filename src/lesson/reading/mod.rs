//! A lesson with a reader: what is shown, what it waits for, what came of it.
//!
//! [`Reading`] changes nothing outside and computes nothing: what its reader does and what the debugger tells go in,
//! [`Wish`]es come out. A lesson is read from one part to the next; a part ends at a stop, which wants something of the
//! reader: commands that are carried out, a question that is answered, a task that is done.
//!
//! - `place`: where its reader is. `known`: what is known of a part.
//! - `asking`: what is evaluated for the place at hand; `asked`: those expressions, and where their values go.

mod asked;
mod asking;
mod known;
mod place;
#[cfg(test)]
mod tests;

pub use asked::{Held, Value};
pub use known::Known;

use super::block::{Task, Typed};
use super::format::{Lesson, Part};
use super::progress::LessonProgress;
use crate::debugger::expr::Expression;
use crate::debugger::{Command, CommandLine};
use asked::Asked;
use std::sync::Arc;

/// What the reader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Goes on: the next line of the block at hand.
    Go,
    /// All lines that are left of the block; of a task, its solution.
    All,
    /// Answers the question at hand with this choice.
    Answer(usize),
    /// Asks for one more hint.
    Hint,
    /// Comes back to where the lesson was.
    ComeBack,
}

/// What is to be done for the lesson.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// A command is carried out.
    Run(CommandLine),
    /// The session goes back to where it was noted last.
    ComeBack,
    /// It is noted where the session stands.
    Mark,
    /// Expressions are evaluated; their values are told with the number.
    Evaluate(usize, Vec<Expression>),
    /// A view is shown.
    Show(&'static str),
    /// It is kept how far the reader is.
    Keep(LessonProgress),
}

/// What the worker does, as far as it concerns the lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    /// It goes back to where the lesson was, and then on.
    Back(Option<Act>),
    /// It carries out the line at hand of a block, and the others too.
    Line { all: bool },
    /// It carries out this line of a solution.
    Solution(usize),
    /// It carries out a command of the reader's own, which only looks or does more.
    Theirs { looks: bool },
}

/// A lesson with a reader.
#[derive(Debug, Clone)]
pub struct Reading {
    lesson: Arc<Lesson>,
    known: Vec<Known>,
    /// The stop at hand; as many as there are parts when the lesson is over.
    at: usize,
    /// Lines of it that are carried out.
    line: usize,
    /// The first part that was shown with the stop at hand.
    section: usize,
    /// Questions whose answers are told after the next commands.
    open: Vec<usize>,
    started: bool,
    running: Option<Running>,
    /// What runs was asked for by the lesson, and is not yet given to the worker.
    wished: bool,
    /// What runs was interrupted.
    interrupted: bool,
    /// The session is not where the lesson left it: the reader looked elsewhere, or changed something.
    elsewhere: bool,
    strayed: bool,
    asked: Asked,
    /// So many stops are gone through by themselves, as they were earlier.
    replay: usize,
    before: LessonProgress,
}

impl Reading {
    /// A lesson before its first part; or, when the reader was in the middle of it, on the way there.
    pub fn new(lesson: Arc<Lesson>, before: Option<&LessonProgress>) -> Self {
        let of = lesson.parts.iter().filter(|part| part.is_stop()).count();
        let before = before.cloned().unwrap_or_default();
        // A lesson that has other parts now is another.
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
            asked: Asked::default(),
            replay,
            before: LessonProgress { of, ..before },
            lesson,
        }
    }

    /// The session is there.
    pub fn start(&mut self) -> Vec<Wish> {
        if std::mem::replace(&mut self.started, true) {
            return vec![];
        }
        let mut wishes = vec![Wish::Mark];
        self.advance(&mut wishes);
        self.replay_on(&mut wishes);
        wishes
    }

    /// The reader does something. Nothing comes of what makes no sense now.
    pub fn act(&mut self, act: Act) -> Vec<Wish> {
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

    /// The worker is given a command: one that the lesson wished for, or one of the reader's own. A reader's command that the
    /// lesson waits for counts as the lesson's.
    pub fn given(&mut self, command: &Command) {
        if std::mem::take(&mut self.wished) {
            return;
        }
        let awaited = match self.stop() {
            Some(Part::Commands(lines)) if !self.elsewhere && self.started => lines.get(self.line),
            _ => None,
        };
        self.running = Some(match awaited.is_some_and(|line| line.command == *command) {
            true => Running::Line { all: false },
            false => Running::Theirs { looks: command.is_read_only() },
        });
    }

    /// What runs is interrupted.
    pub fn interrupt(&mut self) {
        self.interrupted = self.running.is_some();
    }

    /// A command is done, and said this; `None` when it was not carried out.
    pub fn ran(&mut self, said: Option<Vec<String>>) -> Vec<Wish> {
        let mut wishes = vec![];
        let interrupted = std::mem::take(&mut self.interrupted);
        let said = said.filter(|_| !interrupted);
        self.wished = false;
        match (self.running.take(), said) {
            (None, _) => {}
            (Some(Running::Theirs { looks }), _) => {
                self.elsewhere |= !looks;
                self.strayed |= !looks;
                self.follow(&mut wishes);
                if !looks {
                    self.ask_task(&mut wishes);
                }
            }
            (Some(_), None) => {
                // How far it got is not known: the next try begins where the lesson was.
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
            (Some(Running::Line { all }), Some(said)) => {
                (self.elsewhere, self.strayed) = (false, false);
                self.known[self.at].said.push(said);
                self.line += 1;
                wishes.push(Wish::Mark);
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
            (Some(Running::Solution(line)), Some(said)) => {
                self.known[self.at].said.push(said);
                let lines = self.task().map_or(0, |task| task.solution.len());
                if line + 1 < lines {
                    self.run_solution(line + 1, &mut wishes);
                } else {
                    (self.elsewhere, self.strayed) = (false, false);
                    self.ask_task(&mut wishes);
                    wishes.push(Wish::Mark);
                    self.pass(&[], &mut wishes);
                }
            }
        }
        wishes
    }

    /// The reader looks at another place of what is recorded: the numbers at hand are those of that place.
    pub fn looked(&mut self) -> Vec<Wish> {
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

    fn come_back(&mut self, next: Option<Act>, wishes: &mut Vec<Wish>) {
        self.running = Some(Running::Back(next));
        self.wished = false;
        wishes.push(Wish::ComeBack);
    }

    fn run_line(&mut self, all: bool, wishes: &mut Vec<Wish>) {
        if let Some(line) = self.commands().get(self.line) {
            wishes.push(Wish::Run(line.line()));
            self.running = Some(Running::Line { all });
            self.wished = true;
        }
    }

    fn run_solution(&mut self, line: usize, wishes: &mut Vec<Wish>) {
        let Some(typed) = self.task().and_then(|task| task.solution.get(line)).map(Typed::line) else {
            return;
        };
        if line == 0 {
            // What an earlier attempt said is not said twice.
            self.known[self.at].said.clear();
        }
        wishes.push(Wish::Run(typed));
        self.running = Some(Running::Solution(line));
        // Until it is done whole, the lesson is where it was before it.
        self.elsewhere = true;
        self.wished = true;
    }

    fn answer(&mut self, choice: Option<usize>, wishes: &mut Vec<Wish>) {
        self.known[self.at].answer = choice;
        self.open.push(self.at);
        self.pass(&[], wishes);
    }

    /// The stop at hand is done, and with it the answers of `questions` may be told.
    fn pass(&mut self, questions: &[usize], wishes: &mut Vec<Wish>) {
        self.at += 1;
        self.line = 0;
        for question in questions {
            self.ask_question(*question, wishes);
        }
        self.advance(wishes);
        if !self.is_replaying() {
            wishes.push(Wish::Keep(self.standing()));
        }
        self.replay_on(wishes);
    }

    /// Shows what comes up to the next stop.
    fn advance(&mut self, wishes: &mut Vec<Wish>) {
        self.section = self.at;
        while let Some(part) = self.lesson.parts.get(self.at).filter(|part| !part.is_stop()) {
            match part {
                Part::View(pointer) => wishes.push(Wish::Show(pointer.view)),
                Part::Expect(expected) => {
                    expected
                        .iter()
                        .enumerate()
                        .for_each(|(index, e)| self.asked.condition(self.at, index, e));
                }
                Part::Prose(prose) => self.asked.prose(self.at, prose),
                _ => {}
            }
            self.at += 1;
        }
        if self.stop().is_none() {
            // Nothing more comes that could show them.
            for question in std::mem::take(&mut self.open) {
                self.ask_question(question, wishes);
                if let Some(known) = self.known.last_mut() {
                    known.answers.push(question);
                }
            }
        }
        wishes.extend(self.asked.send());
    }

    fn replay_on(&mut self, wishes: &mut Vec<Wish>) {
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

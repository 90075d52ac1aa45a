//! Runs a lesson on a session without a reader: evaluates its numbers and checks its expectations.

use super::block::{Choice, Expected, Question, Right, Task, Typed};
use super::format::{Lesson, Part, Prose};
use super::problem::Problem;
use crate::debugger::expr::{Answer, Expression};
use crate::debugger::session::Session;
use crate::debugger::{Outcome, SessionError};
use crate::nn::Unwatched;
use crate::pipeline::{Models, Request, RequestError};
use std::sync::Arc;
use tr::tr;

/// The default number of steps.
const STEPS: usize = 20;

/// Runs a lesson without a reader.
#[derive(Debug)]
pub struct LessonRunner<'a> {
    lesson: &'a Lesson,
    session: Session,
    /// Questions that the next commands answer.
    open: Vec<&'a Question>,
}

/// An event of a lesson's run.
#[derive(Debug)]
pub enum LessonEvent<'a> {
    /// Prose in Markdown, with its numbers.
    Prose(String),
    /// A command and its outcome.
    Ran(&'a Typed, Box<Outcome>),
    /// A condition that holds.
    Holds(&'a Expected),
    /// A question.
    Question(&'a Question),
    /// A question's right answer.
    Answer(&'a Question, &'a Choice),
    /// A task; its solution follows.
    Task(&'a Task),
    /// Something that contradicts the lesson.
    Problem(Problem),
}

/// A session with a lesson's initial settings, in which `save` is refused.
///
/// # Errors
/// When a setting is refused or the models cannot run the request.
pub fn session(lesson: &Lesson, models: Arc<Models>) -> Result<Session, SessionError> {
    let request = Request { num_inference_steps: STEPS, ..Request::for_models(&models, "") };
    let mut session = Session::new(models, request).map_err(|e: RequestError| SessionError::Request(e))?;
    session.refuse_save("a lesson does not write files; start `diffuscope` without a lesson");
    for command in &lesson.settings {
        session.run(command, &mut Unwatched)?;
    }
    Ok(session)
}

impl<'a> LessonRunner<'a> {
    /// The lesson before its first part, with its initial settings.
    ///
    /// # Errors
    /// When a setting is refused or the models cannot run the request.
    pub fn start(lesson: &'a Lesson, models: Arc<Models>) -> Result<Self, SessionError> {
        Self::start_with(lesson, models, &[])
    }

    /// The same after further commands, such as `set fault nan_in latents`, to test that the expectations fail.
    ///
    /// # Errors
    /// As [`start`](Self::start), or when a command is refused.
    pub fn start_with(
        lesson: &'a Lesson,
        models: Arc<Models>,
        commands: &[&str],
    ) -> Result<Self, SessionError> {
        let mut session = session(lesson, models)?;
        for line in commands {
            session.run_line(line, &mut Unwatched)?;
        }
        Ok(Self { lesson, session, open: vec![] })
    }

    /// Runs every part, and reports its events.
    pub fn play(&mut self, report: &mut dyn FnMut(LessonEvent<'a>)) {
        let lesson = self.lesson;
        for part in &lesson.parts {
            match part {
                Part::Prose(prose) => self.prose(prose, report),
                Part::View(_) => {}
                Part::Commands(lines) => self.run(lines, report),
                Part::Expect(expected) => self.expect(expected, report),
                Part::Predict(question) => {
                    report(LessonEvent::Question(question));
                    self.open.push(question);
                }
                Part::Try(task) => {
                    report(LessonEvent::Task(task));
                    if task.expected.iter().all(|expected| matches!(self.holds(expected), Ok(true))) {
                        let what = "the task is done before the reader has begun";
                        report(LessonEvent::Problem(lesson.source.problem(task.at.clone(), what)));
                    }
                    self.run(&task.solution, report);
                    self.expect(&task.expected, report);
                }
            }
        }
        self.answer(report);
    }

    fn prose(&self, prose: &Prose, report: &mut dyn FnMut(LessonEvent<'a>)) {
        let (mut text, mut from) = (String::new(), 0);
        for live in &prose.live {
            text.push_str(&prose.text[from..live.within.start]);
            from = live.within.end;
            match live.expression.evaluate(&self.session.here()) {
                Ok(answer) => text.push_str(&shown(&answer)),
                Err(e) => {
                    let at = prose.start + live.within.start..prose.start + live.within.end;
                    report(LessonEvent::Problem(self.lesson.source.problem(at, e.to_string())));
                }
            }
        }
        text.push_str(&prose.text[from..]);
        report(LessonEvent::Prose(text));
    }

    fn run(&mut self, lines: &'a [Typed], report: &mut dyn FnMut(LessonEvent<'a>)) {
        for line in lines {
            match self.session.run(&line.command, &mut Unwatched) {
                Ok(outcome) => report(LessonEvent::Ran(line, outcome.into())),
                Err(e) => {
                    report(LessonEvent::Problem(self.lesson.source.problem(line.at.clone(), e.to_string())))
                }
            }
        }
        self.answer(report);
    }

    fn expect(&self, expected: &'a [Expected], report: &mut dyn FnMut(LessonEvent<'a>)) {
        for expected in expected {
            match self.holds(expected) {
                Ok(true) => report(LessonEvent::Holds(expected)),
                Ok(false) => {
                    let what = tr!("`{}` does not hold", expected.expression.text());
                    let problem = self.lesson.source.problem(expected.at.clone(), what);
                    report(LessonEvent::Problem(problem.help(self.values_in(&expected.expression))));
                }
                Err(e) => report(LessonEvent::Problem(
                    self.lesson.source.problem(expected.at.clone(), e.to_string()),
                )),
            }
        }
    }

    fn holds(&self, expected: &Expected) -> Result<bool, crate::debugger::expr::ExpressionError> {
        expected.expression.holds(&self.session.here())
    }

    /// Answers the open questions: now exactly one choice of each must be right.
    fn answer(&mut self, report: &mut dyn FnMut(LessonEvent<'a>)) {
        for question in std::mem::take(&mut self.open) {
            let mut right = vec![];
            for choice in &question.choices {
                match &choice.right {
                    Right::Always(true) => right.push(choice),
                    Right::Always(false) => {}
                    Right::When(expected) => match self.holds(expected) {
                        Ok(true) => right.push(choice),
                        Ok(false) => {}
                        Err(e) => {
                            report(LessonEvent::Problem(
                                self.lesson.source.problem(expected.at.clone(), e.to_string()),
                            ));
                        }
                    },
                }
            }
            match right[..] {
                [one] => report(LessonEvent::Answer(question, one)),
                _ => {
                    let what = tr!("{} choices are right after the next commands; expected one", right.len());
                    report(LessonEvent::Problem(self.lesson.source.problem(question.at.clone(), what)));
                }
            }
        }
    }

    /// The values of a condition's operands: `latents.std = 0.83, step = 4`.
    fn values_in(&self, expression: &Expression) -> String {
        let mut values: Vec<String> = vec![];
        for operand in operands(expression.text()) {
            let answer = Expression::compile(operand).and_then(|e| e.evaluate(&self.session.here()));
            let Ok(answer) = answer else { continue };
            let value = format!("{operand} = {}", shown(&answer));
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(", ")
    }
}

/// The operands of the comparisons and logical operators of a condition outside parentheses, without literals.
pub(super) fn operands(condition: &str) -> Vec<&str> {
    const BETWEEN: [&str; 8] = ["&&", "||", "<=", ">=", "==", "!=", "<", ">"];
    let (mut operands, mut from, mut depth, mut at) = (vec![], 0, 0usize, 0);
    while let Some(c) = condition[at..].chars().next() {
        depth = match c {
            '(' | '[' => depth + 1,
            ')' | ']' => depth.saturating_sub(1),
            _ => depth,
        };
        let rest = &condition[at..];
        match BETWEEN.iter().find(|between| depth == 0 && rest.starts_with(**between)) {
            Some(between) => {
                operands.push(condition[from..at].trim());
                at += between.len();
                from = at;
            }
            None => at += c.len_utf8(),
        }
    }
    operands.push(condition[from..].trim());
    // A literal's value is already visible.
    let is_number =
        |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
    let is_literal =
        |text: &str| is_number(text.trim_start_matches('-')) || text.starts_with(['"', '[', '\'']);
    operands.retain(|operand| !operand.is_empty() && !is_literal(operand));
    operands
}

/// A value as shown in prose.
pub fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Bool(truth) => truth.to_string(),
        Answer::Number(number) => {
            let text = crate::debugger::text::number(*number);
            if text.contains('e') { text } else { text.trim_end_matches('0').trim_end_matches('.').into() }
        }
        Answer::List(text) | Answer::Text(text) => text.clone(),
        Answer::Tensor(value) => {
            let summary = value.summary();
            let shape = crate::debugger::text::shape(value.tensor().shape());
            tr!(
                "{shape}, mean {}, std {}",
                format_args!("{:.4}", summary.mean),
                format_args!("{:.4}", summary.std),
                shape
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_split_into_operands() {
        assert_eq!(operands("latents.std > 1.0 && step >= 4"), ["latents.std", "step"]);
        assert_eq!(operands("norm(a - b) < 0.1 * norm(a)"), ["norm(a - b)", "0.1 * norm(a)"]);
        assert_eq!(operands("nan == 0"), ["nan"]);
        assert_eq!(operands("shape == [1, 4] && stage != \"a\" || x < -1.5"), ["shape", "stage", "x"]);
        assert_eq!(operands(""), Vec::<&str>::new());
    }
}

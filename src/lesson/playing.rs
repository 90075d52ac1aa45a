//! A lesson on a session, part by part: what it says with the numbers that are true here, and whether what it expects
//! holds.

use super::block::{Choice, Expected, Question, Right, Task, Typed};
use super::format::{Lesson, Part, Prose};
use super::problem::Problem;
use crate::debugger::expr::{Answer, Expression};
use crate::debugger::session::Session;
use crate::debugger::{Outcome, SessionError};
use crate::nn::Unwatched;
use crate::pipeline::{Models, Request, RequestError};
use std::sync::Arc;

/// Steps of a lesson that does not say how many.
const STEPS: usize = 20;

/// A lesson that is carried out without a reader.
#[derive(Debug)]
pub struct LessonRunner<'a> {
    lesson: &'a Lesson,
    session: Session,
    /// Questions whose answers show after the next commands.
    open: Vec<&'a Question>,
}

/// What a part of a lesson came to.
#[derive(Debug)]
pub enum Told<'a> {
    /// Prose, as Markdown, with its numbers.
    Prose(String),
    /// A command, and what it said.
    Ran(&'a Typed, Box<Outcome>),
    /// A condition that holds.
    Holds(&'a Expected),
    /// A question.
    Asked(&'a Question),
    /// A question's answer.
    Answered(&'a Question, &'a Choice),
    /// A task; its solution follows.
    Task(&'a Task),
    /// Something that is not as the lesson says.
    Wrong(Problem),
}

/// A session with the settings that a lesson starts from, in which nothing is saved.
///
/// # Errors
/// When the models cannot run that, or a setting is refused.
pub fn session(lesson: &Lesson, models: Arc<Models>) -> Result<Session, SessionError> {
    let request = Request { num_inference_steps: STEPS, ..Request::for_models(&models, "") };
    let mut session = Session::new(models, request).map_err(|e: RequestError| SessionError::Request(e))?;
    session.refuse_save("a lesson writes no files; `diffuscope` alone does");
    for command in &lesson.settings {
        session.run(command, &mut Unwatched)?;
    }
    Ok(session)
}

impl<'a> LessonRunner<'a> {
    /// A lesson before its first part, with the settings that it starts from.
    ///
    /// # Errors
    /// When the models cannot run that, or a setting is refused.
    pub fn start(lesson: &'a Lesson, models: Arc<Models>) -> Result<Self, SessionError> {
        Self::start_with(lesson, models, &[])
    }

    /// The same with more commands before the first part, such as `set fault nan_in latents`: whether its expectations
    /// would notice.
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

    /// Carries out every part, and tells what each came to.
    pub fn play(&mut self, tell: &mut dyn FnMut(Told<'a>)) {
        let lesson = self.lesson;
        for part in &lesson.parts {
            match part {
                Part::Prose(prose) => self.say(prose, tell),
                Part::View(_) => {}
                Part::Commands(lines) => self.run(lines, tell),
                Part::Expect(expected) => self.expect(expected, tell),
                Part::Predict(question) => {
                    tell(Told::Asked(question));
                    self.open.push(question);
                }
                Part::Try(task) => {
                    tell(Told::Task(task));
                    if task.expected.iter().all(|expected| matches!(self.holds(expected), Ok(true))) {
                        let what = "the task is done before its reader has begun";
                        tell(Told::Wrong(lesson.source.problem(task.at.clone(), what)));
                    }
                    self.run(&task.solution, tell);
                    self.expect(&task.expected, tell);
                }
            }
        }
        self.answer(tell);
    }

    fn say(&self, prose: &Prose, tell: &mut dyn FnMut(Told<'a>)) {
        let (mut text, mut from) = (String::new(), 0);
        for live in &prose.live {
            text.push_str(&prose.text[from..live.within.start]);
            from = live.within.end;
            match live.expression.evaluate(&self.session.here()) {
                Ok(answer) => text.push_str(&told(&answer)),
                Err(e) => {
                    let at = prose.start + live.within.start..prose.start + live.within.end;
                    tell(Told::Wrong(self.lesson.source.problem(at, e.to_string())));
                }
            }
        }
        text.push_str(&prose.text[from..]);
        tell(Told::Prose(text));
    }

    fn run(&mut self, lines: &'a [Typed], tell: &mut dyn FnMut(Told<'a>)) {
        for line in lines {
            match self.session.run(&line.command, &mut Unwatched) {
                Ok(outcome) => tell(Told::Ran(line, outcome.into())),
                Err(e) => tell(Told::Wrong(self.lesson.source.problem(line.at.clone(), e.to_string()))),
            }
        }
        self.answer(tell);
    }

    fn expect(&self, expected: &'a [Expected], tell: &mut dyn FnMut(Told<'a>)) {
        for expected in expected {
            match self.holds(expected) {
                Ok(true) => tell(Told::Holds(expected)),
                Ok(false) => {
                    let what = format!("`{}` does not hold", expected.expression.text());
                    let problem = self.lesson.source.problem(expected.at.clone(), what);
                    tell(Told::Wrong(problem.help(self.values_in(&expected.expression))));
                }
                Err(e) => tell(Told::Wrong(self.lesson.source.problem(expected.at.clone(), e.to_string()))),
            }
        }
    }

    fn holds(&self, expected: &Expected) -> Result<bool, crate::debugger::expr::ExpressionError> {
        expected.expression.holds(&self.session.here())
    }

    /// The answers of the questions that were asked: exactly one choice of each is right now.
    fn answer(&mut self, tell: &mut dyn FnMut(Told<'a>)) {
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
                            tell(Told::Wrong(self.lesson.source.problem(expected.at.clone(), e.to_string())));
                        }
                    },
                }
            }
            match right[..] {
                [one] => tell(Told::Answered(question, one)),
                _ => {
                    let what = format!(
                        "{} choices are right after the commands that follow; expected one",
                        right.len()
                    );
                    tell(Told::Wrong(self.lesson.source.problem(question.at.clone(), what)));
                }
            }
        }
    }

    /// `latents.std = 0.83, step = 4`: the values of what a condition compares.
    fn values_in(&self, expression: &Expression) -> String {
        let mut values: Vec<String> = vec![];
        for operand in operands(expression.text()) {
            let answer = Expression::compile(operand).and_then(|e| e.evaluate(&self.session.here()));
            let Ok(answer) = answer else { continue };
            let value = format!("{operand} = {}", told(&answer));
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(", ")
    }
}

/// What stands between the comparisons and the ands and ors of a condition, outside of parentheses, but for literals.
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
    // What is written out has no value to be told.
    let is_number =
        |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
    let is_literal =
        |text: &str| is_number(text.trim_start_matches('-')) || text.starts_with(['"', '[', '\'']);
    operands.retain(|operand| !operand.is_empty() && !is_literal(operand));
    operands
}

/// A value as prose has it.
pub fn told(answer: &Answer) -> String {
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
            format!("{shape}, mean {:.4}, std {:.4}", summary.mean, summary.std)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_taken_apart() {
        assert_eq!(operands("latents.std > 1.0 && step >= 4"), ["latents.std", "step"]);
        assert_eq!(operands("norm(a - b) < 0.1 * norm(a)"), ["norm(a - b)", "0.1 * norm(a)"]);
        assert_eq!(operands("nan == 0"), ["nan"]);
        assert_eq!(operands("shape == [1, 4] && stage != \"a\" || x < -1.5"), ["shape", "stage", "x"]);
        assert_eq!(operands(""), Vec::<&str>::new());
    }
}

//! The contents of fenced blocks: commands, expectations, a question, a task.

use super::problem::{Problem, Source};
use crate::debugger::expr::Expression;
use crate::debugger::language::arguments::{Nothing, Set};
use crate::debugger::{Command, CommandLine};
use std::ops::Range;
use tr::tr;

/// A line of a block with its position in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The trimmed text.
    pub text: String,
    /// Its position, in bytes.
    pub at: Range<usize>,
}

/// A command of a block with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed {
    /// The command.
    pub command: Command,
    /// The text, without space at its ends.
    pub text: String,
    /// Where it is, in bytes.
    pub at: Range<usize>,
}

impl Typed {
    /// The command as the debugger takes it.
    pub fn line(&self) -> CommandLine {
        CommandLine { command: self.command.clone(), text: self.text.clone() }
    }
}

/// A condition that must hold.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The condition.
    pub expression: Expression,
    /// Its position, in bytes.
    pub at: Range<usize>,
}

/// A question with choices.
#[derive(Debug, Clone)]
pub struct Question {
    /// The question.
    pub question: String,
    /// The choices.
    pub choices: Vec<Choice>,
    /// The explanation of the right answer.
    pub why: String,
    /// Its position, in bytes.
    pub at: Range<usize>,
}

/// An answer to a question.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The answer.
    pub text: String,
    /// Whether it is right.
    pub right: Right,
}

/// Whether an answer is right.
#[derive(Debug, Clone)]
pub enum Right {
    /// As the author says.
    Always(bool),
    /// If a condition holds after the commands that follow the question.
    When(Expected),
}

/// An open task.
#[derive(Debug, Clone)]
pub struct Task {
    /// The task.
    pub task: String,
    /// The conditions that hold when it is done.
    pub expected: Vec<Expected>,
    /// Hints, shown one at a time.
    pub hints: Vec<String>,
    /// Commands that solve it, for the check.
    pub solution: Vec<Typed>,
    /// Its position, in bytes.
    pub at: Range<usize>,
}

/// Parses the lines of blocks, and adds errors to `problems`.
pub struct Reader<'a> {
    /// The file.
    pub source: &'a Source,
    /// The errors found.
    pub problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// Lines of the command language; comments and empty ones are left out.
    pub fn commands(&mut self, lines: Vec<Line>) -> Vec<Typed> {
        let mut commands = vec![];
        for Line { text, at } in lines {
            let refused = match Command::parse(&text) {
                Ok(None) => continue,
                Ok(Some(Command::Save(_))) => tr!("`save` is refused in a lesson"),
                Ok(Some(Command::Quit(Nothing))) => tr!("`quit` is refused in a lesson"),
                Ok(Some(command)) => match checked(&command) {
                    Ok(()) => {
                        commands.push(Typed { command, text, at });
                        continue;
                    }
                    Err(e) => e,
                },
                Err(e) => e.to_string(),
            };
            self.problem(at, refused);
        }
        commands
    }

    /// One condition per line; comments and empty lines are left out.
    pub fn expectations(&mut self, lines: Vec<Line>) -> Vec<Expected> {
        let lines = lines.into_iter().filter(|line| !line.text.is_empty() && !line.text.starts_with("//"));
        lines.filter_map(|line| self.condition(&line.text, line.at)).collect()
    }

    fn condition(&mut self, text: &str, at: Range<usize>) -> Option<Expected> {
        match Expression::compile(text) {
            Ok(expression) => Some(Expected { expression, at }),
            Err(e) => {
                self.problem(at, e.to_string());
                None
            }
        }
    }

    /// The question, then `- [ ] choice`, `- [x] right choice` or `- choice | CONDITION`, then the explanation.
    pub fn question(&mut self, lines: Vec<Line>, at: Range<usize>) -> Question {
        let (mut question, mut why, mut choices) = (vec![], vec![], vec![]);
        for line in lines.into_iter().filter(|line| !line.text.is_empty()) {
            match line.text.strip_prefix("- ") {
                Some(choice) => choices.extend(self.choice(choice, &line.at)),
                None if choices.is_empty() => question.push(line.text),
                None => why.push(line.text),
            }
        }
        if question.is_empty() {
            self.problem(at.clone(), "a predict block without a question before its choices");
        }
        if choices.len() < 2 {
            self.problem(
                at.clone(),
                tr!("a predict block with {} choices; expected two or more", choices.len()),
            );
        }
        if why.is_empty() {
            self.problem(at.clone(), "a predict block without an explanation after its choices");
        }
        let can_be_right = |choice: &Choice| !matches!(choice.right, Right::Always(false));
        if !choices.is_empty() && !choices.iter().any(can_be_right) {
            let what = "no choice is right; expected `- [x] …`, or `- … | CONDITION`";
            self.problem(at.clone(), what);
        }
        Question { question: question.join("\n"), choices, why: why.join("\n"), at }
    }

    fn choice(&mut self, text: &str, at: &Range<usize>) -> Option<Choice> {
        let ticked = text.strip_prefix("[x] ").map(|text| (text, true));
        if let Some((text, right)) = ticked.or_else(|| text.strip_prefix("[ ] ").map(|text| (text, false))) {
            return Some(Choice { text: text.trim().into(), right: Right::Always(right) });
        }
        match text.rsplit_once(" | ") {
            Some((text, condition)) => {
                let expected = self.condition(condition.trim(), at.clone())?;
                Some(Choice { text: text.trim().into(), right: Right::When(expected) })
            }
            None => {
                self.problem(at.clone(), "a choice that is neither right nor wrong; expected `- [ ] …`, `- [x] …` or `- … | CONDITION`");
                None
            }
        }
    }

    /// The task, then lines of `expect: CONDITION`, `hint: …` and `solution: COMMAND`.
    pub fn task(&mut self, lines: Vec<Line>, at: Range<usize>) -> Task {
        let (mut task, mut expected, mut hints, mut solution) = (vec![], vec![], vec![], vec![]);
        for line in lines.into_iter().filter(|line| !line.text.is_empty()) {
            match line.text.split_once(": ") {
                Some(("expect", condition)) => expected.extend(self.condition(condition.trim(), line.at)),
                Some(("hint", hint)) => hints.push(hint.trim().to_string()),
                Some(("solution", command)) => {
                    let line = Line { text: command.trim().into(), at: line.at };
                    solution.extend(self.commands(vec![line]));
                }
                _ => task.push(line.text),
            }
        }
        for (missing, what) in [
            (task.is_empty(), "the task itself"),
            (expected.is_empty(), "`expect: CONDITION`, which is true when it is done"),
            (solution.is_empty(), "`solution: COMMAND`, which the check runs"),
        ] {
            if missing {
                self.problem(at.clone(), tr!("a try block without {what}", what));
            }
        }
        Task { task: task.join("\n"), expected, hints, solution, at }
    }

    /// Adds an error.
    pub fn problem(&mut self, at: Range<usize>, what: impl Into<String>) {
        self.problems.push(self.source.problem(at, what));
    }
}

/// Whether a setting can have the value that a command gives it.
fn checked(command: &Command) -> Result<(), String> {
    match command {
        Command::Set(Set::Setting { setting, value }) => setting.check(value),
        _ => Ok(()),
    }
}

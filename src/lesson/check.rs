//! Checks that lessons hold and that their languages agree.

use super::format::{Lesson, Part};
use super::library::{Entry, LANGUAGES, Library};
use super::playing::{LessonEvent, LessonRunner};
use super::problem::Problem;
use crate::pipeline::Models;
use std::sync::Arc;
use tr::tr;

/// The result of a check.
#[derive(Debug, Default)]
pub struct Checked {
    /// The number of lessons checked, counting each language.
    pub lessons: usize,
    /// The number of conditions that hold.
    pub holds: usize,
    /// The errors.
    pub problems: Vec<Problem>,
}

/// Parses every lesson, runs it on `models`, and compares its languages. `on_file` is called with the name of each file.
pub fn check(library: &Library, models: &Arc<Models>, mut on_file: impl FnMut(&str)) -> Checked {
    let mut checked = Checked::default();
    for entry in &library.entries {
        let mut read = vec![];
        for source in entry.sources() {
            on_file(source.name());
            checked.lessons += 1;
            match Lesson::read(source.clone()) {
                Ok(lesson) => read.push(lesson),
                Err(problems) => checked.problems.extend(problems),
            }
        }
        checked.problems.extend(languages(entry, &read));
        for lesson in &read {
            run(lesson, models, &mut checked);
        }
    }
    checked
}

fn run(lesson: &Lesson, models: &Arc<Models>, checked: &mut Checked) {
    match LessonRunner::start(lesson, Arc::clone(models)) {
        Ok(mut runner) => runner.play(&mut |event| match event {
            LessonEvent::Holds(_) => checked.holds += 1,
            LessonEvent::Problem(problem) => checked.problems.push(problem),
            _ => {}
        }),
        Err(e) => checked.problems.push(lesson.source.problem(0..0, tr!("its settings: {e}", e))),
    }
}

/// Checks that a lesson exists in every language, with the same blocks in the same order.
fn languages(entry: &Entry, read: &[Lesson]) -> Vec<Problem> {
    let mut problems = vec![];
    if entry.is_alone {
        return problems;
    }
    for (language, source) in LANGUAGES.iter().zip(&entry.languages) {
        if source.is_none()
            && let Some(other) = entry.sources().next()
        {
            let problem =
                other.problem(0..0, tr!("no translation: {language}/{}.md is missing", entry.name, language));
            problems.push(problem);
        }
    }
    let [first, second] = read else { return problems };
    let blocks = |lesson: &Lesson| {
        let parts = lesson.parts.iter().filter(|part| !matches!(part, Part::Prose(_)));
        parts.map(|part| (part.kind(), lines(part), place(part))).collect::<Vec<_>>()
    };
    let (first_blocks, second_blocks) = (blocks(first), blocks(second));
    for ((kind, lines, _), (other, others, at)) in first_blocks.iter().zip(&second_blocks) {
        if kind != other || lines != others {
            let what = tr!("this {other} block differs from {}", first.source.name(), other);
            problems.push(
                second.source.problem(at.clone(), what).help(format!("{kind} there: {}", lines.join("; "))),
            );
            return problems;
        }
    }
    if first_blocks.len() != second_blocks.len() {
        let what = tr!("{} blocks; {} has {}", second_blocks.len(), first.source.name(), first_blocks.len());
        problems.push(second.source.problem(0..0, what));
    }
    if first.settings != second.settings {
        problems.push(second.source.problem(0..0, tr!("the settings differ from {}", first.source.name())));
    }
    problems
}

/// The parts of a block that its translation must share: commands and conditions, not words.
fn lines(part: &Part) -> Vec<String> {
    use super::block::Right;
    let conditions = |expected: &[super::block::Expected]| {
        expected.iter().map(|expected| expected.expression.text().to_string()).collect::<Vec<_>>()
    };
    match part {
        Part::Prose(_) => vec![],
        Part::View(pointer) => vec![pointer.view.into()],
        Part::Commands(lines) => lines.iter().map(|line| line.text.clone()).collect(),
        Part::Expect(expected) => conditions(expected),
        Part::Predict(question) => {
            let right = |right: &Right| match right {
                Right::Always(truth) => truth.to_string(),
                Right::When(expected) => expected.expression.text().to_string(),
            };
            question.choices.iter().map(|choice| right(&choice.right)).collect()
        }
        Part::Try(task) => {
            let solution = task.solution.iter().map(|line| line.text.clone());
            conditions(&task.expected).into_iter().chain(solution).collect()
        }
    }
}

fn place(part: &Part) -> std::ops::Range<usize> {
    match part {
        Part::Prose(prose) => prose.start..prose.start,
        Part::View(pointer) => pointer.at.clone(),
        Part::Commands(lines) => lines.first().map_or(0..0, |line| line.at.clone()),
        Part::Expect(expected) => expected.first().map_or(0..0, |expected| expected.at.clone()),
        Part::Predict(question) => question.at.clone(),
        Part::Try(task) => task.at.clone(),
    }
}

//! A lesson's parts as lines: prose, and the input, output and results of each block.

use super::{flow, prose};
use crate::lesson::block::{Choice, Expected, Question, Task, Typed as Command};
use crate::lesson::reading::{ConditionResult, Known, Reading};
use crate::lesson::{Part, reading::Act};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::view::ViewId;
use ratatui::text::{Line, Span};
use tr::tr;

/// A line, and the action of a press on it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line.
    pub line: Line<'static>,
    /// The action.
    pub press: Option<Press>,
}

/// The action of a press on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// The same as a key.
    Act(Act),
    /// Shows a view.
    Show(ViewId),
}

/// The visible part of a lesson.
#[derive(Debug, Default)]
pub struct Drawn {
    /// Its lines.
    pub rows: Vec<Row>,
    /// The first new line: the start of the block that was added last.
    pub news: usize,
}

/// The letter of a choice.
pub fn letter(choice: usize) -> char {
    // A question has few choices; any beyond the letters can be pressed with the mouse.
    u8::try_from(choice).ok().and_then(|choice| b'a'.checked_add(choice)).map_or('?', char::from)
}

/// The lines of all visible parts, in `columns`.
pub fn draw(reading: &Reading, theme: &Theme, columns: usize) -> Drawn {
    let mut writer = Writer { theme, columns, reading, drawn: Drawn::default() };
    writer.front();
    let mut last_stop = 0;
    for (place, part, known) in reading.shown() {
        let here = place == reading.at();
        let from = writer.drawn.rows.len();
        writer.part(part, known, here);
        if part.is_stop() && place < reading.section() {
            last_stop = from;
        }
    }
    writer.end();
    Drawn { news: last_stop, ..writer.drawn }
}

struct Writer<'a> {
    theme: &'a Theme,
    columns: usize,
    reading: &'a Reading,
    drawn: Drawn,
}

impl Writer<'_> {
    fn front(&mut self) {
        let front = &self.reading.lesson().front;
        self.flow(&[Span::styled(text::clean(&front.title), self.theme.focus)]);
        let about = format!("{} ({} min)", text::clean(&front.summary), front.minutes);
        self.flow(&[Span::styled(about, self.theme.faint)]);
    }

    fn part(&mut self, part: &Part, known: &Known, here: bool) {
        let (theme, columns) = (self.theme, self.columns);
        match part {
            Part::Prose(prose) => {
                self.gap();
                self.lines(prose::lines(prose, &known.live, theme, columns));
            }
            Part::View(pointer) => self.view(pointer.view),
            Part::Commands(lines) => self.commands(lines, known, here),
            Part::Expect(expected) => self.conditions(expected, &known.held),
            Part::Predict(question) => self.question(question, known, here),
            Part::Try(task) => self.task(task, known, here),
        }
        for question in &known.answers {
            self.answer(*question);
        }
    }

    fn view(&mut self, name: &str) {
        let Some(tab) = ViewId::named(name) else { return };
        self.gap();
        let spans = [
            Span::styled("→ ", self.theme.key),
            Span::styled(tab.entry().key.to_string(), self.theme.key),
            Span::styled(format!(" {name}"), self.theme.faint),
        ];
        self.pressed(vec![Line::from_iter(spans)], Press::Show(tab));
    }

    fn commands(&mut self, lines: &[Command], known: &Known, here: bool) {
        self.gap();
        let done = if here { self.reading.line() } else { lines.len() };
        for (index, line) in lines.iter().enumerate() {
            let theme = self.theme;
            let current = here && index == done;
            let (mark, of_mark, style) = match index {
                _ if index < done => ("✓ ", theme.done, theme.code.function),
                _ if current => ("▸ ", theme.focus, theme.strong),
                _ => ("  ", theme.faint, theme.code.function),
            };
            let command = Span::styled(text::clean(&line.text), style);
            let lines = flow::hanging(&[Span::styled(mark, of_mark)], &[command], self.columns);
            match current {
                true => self.pressed(lines, Press::Act(Act::Go)),
                false => self.lines(lines),
            }
            self.output(known.messages.get(index));
        }
        if here && !self.reading.is_busy() {
            self.wants(match lines.len() - done {
                0 | 1 => "Enter runs it, or type it",
                _ => "Enter runs the line, x all of them, or type them",
            });
        }
    }

    fn output(&mut self, output: Option<&Vec<String>>) {
        for line in output.into_iter().flatten() {
            let line = Span::styled(text::clean(line), self.theme.faint);
            self.lines(flow::hanging(&[Span::raw("    ")], &[line], self.columns));
        }
    }

    fn conditions(&mut self, expected: &[Expected], held: &[Option<ConditionResult>]) {
        self.gap();
        for (expected, held) in expected.iter().zip(held) {
            self.condition(expected, held.as_ref(), ("✗ ", true));
        }
    }

    /// A condition. `mark` marks one that does not hold; `is_fault` shows that as an error.
    fn condition(
        &mut self,
        expected: &Expected,
        held: Option<&ConditionResult>,
        (mark, is_fault): (&'static str, bool),
    ) {
        let theme = self.theme;
        let (mark, style) = match held {
            None => ("· ", theme.faint),
            Some(held) if held.holds() => ("✓ ", theme.done),
            Some(_) if is_fault => (mark, theme.error),
            Some(_) => (mark, theme.faint),
        };
        let condition = Span::styled(text::clean(expected.expression.text()), theme.faint);
        self.lines(flow::hanging(&[Span::styled(mark, style)], &[condition], self.columns));
        let Some(held) = held.filter(|held| !held.holds() && is_fault) else { return };
        let found = match &held.truth {
            Err(why) => why.clone(),
            Ok(_) => tr!("not true here: {}", held.values.join(", ")),
        };
        let found = Span::styled(text::clean(&found), theme.error);
        self.lines(flow::hanging(&[Span::raw("  ")], &[found], self.columns));
    }

    fn question(&mut self, question: &Question, known: &Known, here: bool) {
        self.gap();
        self.lines(prose::plain(&question.question, self.theme, self.columns));
        for (index, choice) in question.choices.iter().enumerate() {
            let chosen = known.answer == Some(index);
            let mark = if chosen { "▸" } else { " " };
            let first = [
                Span::styled(mark, self.theme.focus),
                Span::styled(format!("{}  ", letter(index)), self.theme.key),
            ];
            let lines = self.choice(choice, &first);
            match here {
                true => self.pressed(lines, Press::Act(Act::Answer(index))),
                false => self.lines(lines),
            }
        }
        if here {
            let letters = question.choices.iter().enumerate().map(|(index, _)| letter(index).to_string());
            let letters: Vec<String> = letters.collect();
            let letters = match &letters[..] {
                [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
                _ => letters.concat(),
            };
            self.wants(&tr!("press {letters} to go on", letters));
        }
    }

    fn choice(&self, choice: &Choice, first: &[Span<'static>]) -> Vec<Line<'static>> {
        let indent: usize = first.iter().map(Span::width).sum();
        let lines = prose::plain(&choice.text, self.theme, self.columns.saturating_sub(indent).max(1));
        let before = |(index, line): (usize, Line<'static>)| {
            let mut spans = if index == 0 { first.to_vec() } else { vec![Span::raw(" ".repeat(indent))] };
            spans.extend(line.spans);
            Line::from(spans)
        };
        lines.into_iter().enumerate().map(before).collect()
    }

    /// The right answer of a question, once it is known, and the user's answer.
    fn answer(&mut self, place: usize) {
        let parts = &self.reading.lesson().parts;
        let (Some(Part::Predict(question)), Some(known)) = (parts.get(place), self.reading.known(place))
        else {
            return;
        };
        let Some(right) = known.right_choices() else { return };
        self.gap();
        let theme = self.theme;
        let is_right = known.answer.is_some_and(|answer| right.contains(&answer));
        if let Some((answer, choice)) = known
            .answer
            .and_then(|answer| Some((answer, question.choices.get(answer)?)))
            .filter(|_| !is_right)
        {
            let first =
                [Span::styled("✗ ", theme.error), Span::styled(format!("{}  ", letter(answer)), theme.key)];
            let lines = self.choice(choice, &first);
            self.lines(lines);
        }
        for index in right {
            let mark = if is_right { "✓ " } else { "→ " };
            let first =
                [Span::styled(mark, theme.done), Span::styled(format!("{}  ", letter(index)), theme.key)];
            let lines = question.choices.get(index).map_or(vec![], |choice| self.choice(choice, &first));
            self.lines(lines);
        }
        self.lines(prose::plain(&question.why, theme, self.columns));
    }

    fn task(&mut self, task: &Task, known: &Known, here: bool) {
        self.gap();
        let bar = [Span::styled("◆ ", self.theme.focus)];
        let lines = prose::plain(&task.task, self.theme, self.columns.saturating_sub(2));
        for (index, line) in lines.into_iter().enumerate() {
            let mut spans = if index == 0 { bar.to_vec() } else { vec![Span::raw("  ")] };
            spans.extend(line.spans);
            self.lines(vec![Line::from(spans)]);
        }
        for (expected, held) in task.expected.iter().zip(&known.held) {
            self.condition(expected, held.as_ref(), ("· ", false));
        }
        for (number, hint) in (1..).zip(task.hints.iter().take(known.hints)) {
            let first = [Span::styled(format!("{number}. "), self.theme.key)];
            let lines = prose::plain(hint, self.theme, self.columns.saturating_sub(3));
            for (index, line) in lines.into_iter().enumerate() {
                let mut spans = if index == 0 { first.to_vec() } else { vec![Span::raw("   ")] };
                spans.extend(line.spans);
                self.lines(vec![Line::from(spans)]);
            }
        }
        for (line, output) in task.solution.iter().zip(&known.messages) {
            let command = Span::styled(text::clean(&line.text), self.theme.code.function);
            self.lines(flow::hanging(&[Span::styled("✓ ", self.theme.done)], &[command], self.columns));
            self.output(Some(output));
        }
        if here && !self.reading.is_busy() {
            let left = task.hints.len().saturating_sub(known.hints);
            let hint = match left {
                0 => String::new(),
                left => tr!("h gives a hint ({left} left), ", left),
            };
            self.wants(&tr!("type commands; {hint}x runs the solution", hint));
        }
    }

    /// The user's options, below the current block.
    fn wants(&mut self, what: &str) {
        let line = Span::styled(what.to_string(), self.theme.faint);
        self.lines(flow::hanging(&[Span::raw("  ")], &[line], self.columns));
        if self.reading.has_strayed() {
            let text =
                "You left the lesson's place: Enter or w returns to it; a timeline keeps your changes.";
            let text = Span::styled(text, self.theme.warning);
            self.lines(flow::hanging(&[Span::raw("  ")], &[text], self.columns));
        }
    }

    fn end(&mut self) {
        if self.reading.is_replaying() {
            self.gap();
            self.flow(&[Span::styled("Restoring your place…", self.theme.here)]);
        } else if self.reading.stop().is_none() {
            self.gap();
            self.flow(&[Span::styled("■ The lesson is done.", self.theme.done)]);
            if self.reading.has_strayed() {
                self.flow(&[Span::styled("w returns to its end.", self.theme.faint)]);
            }
        }
    }

    fn flow(&mut self, spans: &[Span<'static>]) {
        let lines = flow::wrapped(spans, self.columns);
        self.lines(lines);
    }

    fn lines(&mut self, lines: Vec<Line<'static>>) {
        self.drawn.rows.extend(lines.into_iter().map(|line| Row { line, press: None }));
    }

    fn pressed(&mut self, lines: Vec<Line<'static>>, press: Press) {
        self.drawn.rows.extend(lines.into_iter().map(|line| Row { line, press: Some(press) }));
    }

    /// An empty line between two parts.
    fn gap(&mut self) {
        if self.drawn.rows.last().is_some_and(|row| row.line.width() > 0) {
            self.lines(vec![Line::default()]);
        }
    }
}

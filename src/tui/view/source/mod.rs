//! The code of the next or running stage: the current line, the values of its names, and the corresponding code of
//! other
//! projects.
//!
//! - `colour`: the colours of the code. The code itself is [`crate::debugger::source`].

mod colour;
mod values;

pub(super) use colour::coloured;

use super::pane::{Pane, Reply, View};
use crate::debugger::source::{self, Function};
use crate::debugger::view::InsideView;
use crate::phrase::{Phrase, phrase};
use crate::pipeline::Stage;
use crate::scheduler::Class;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{ListView, Scroll, Step};
use crate::tui::state::{Activity, State};
use crate::tui::text;
use crate::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::{Line, Span};
use tr::tr;

const CODE: &str = "code";
const VALUES: &str = "values";
const ELSEWHERE: &str = "elsewhere";

/// The columns before the code: the mark and the number.
const GUTTER: usize = 7;
/// The columns that a key scrolls the code sideways.
const SIDEWAYS: usize = 8;

/// The code of the stage.
#[derive(Debug, Default)]
pub struct Source {
    /// The functions entered from the stage's own, the innermost last, each with the row of the call.
    inside: Vec<(Function, usize)>,
    /// The selected row, and its function.
    selected: Option<(Function, ListView)>,
    /// The first visible column of the code.
    left: usize,
    /// The scroll position of the values.
    scroll: Scroll,
}

/// The stage whose code is shown: the running one, else the next, else the last.
fn stage(state: &State) -> Stage {
    match &state.activity {
        Activity::Running { line: Some((stage, _)), .. } => *stage,
        _ => state.position().unwrap_or(Stage::VaeDecode),
    }
}

/// The running row of the stage's function.
fn running(state: &State) -> Option<usize> {
    match &state.activity {
        Activity::Running { line: Some((stage, path)), .. } => Function::of(*stage).row_of(path),
        _ => Some(inside(state)?.call?.1),
    }
}

/// The function that is shown at first: the one that calls what runs next.
fn outermost(state: &State) -> Function {
    match &state.activity {
        Activity::Running { line: Some((stage, _)), .. } => Function::of(*stage),
        _ => inside(state)
            .and_then(|inside| inside.call)
            .map_or_else(|| Function::of(stage(state)), |(function, _)| function),
    }
}

/// The paused stage, if it is the shown one.
fn inside(state: &State) -> Option<&InsideView> {
    state.view.as_ref().filter(|view| view.cursor == state.cursor())?.inside.as_ref()
}

impl View for Source {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let function = self.function(state);
        let below = (area.height / 3).clamp(5, 11);
        let [code, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(area);
        let [values, elsewhere] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(below);
        let stage = stage(state);
        let when = match (&state.activity, state.position()) {
            (Activity::Running { line: Some(_), .. }, _) => tr!("{stage} is running", stage),
            (_, None) => tr!("the run is complete"),
            _ => match inside(state) {
                Some(inside) if inside.ran => tr!("▶ has run; s or n continues, f finishes"),
                Some(_) => tr!("▶ is next: s into, n over, f finish"),
                None => tr!("{stage} runs next", stage),
            },
        };
        let known = match state.record() {
            _ if inside(state).is_some() => tr!("current values"),
            Some(record) => tr!("values after {}", record.stage),
            None => "values".into(),
        };
        vec![
            Pane::new(CODE, format!("{} · {} · {when}", function.title(), function.path()), code),
            Pane::new(VALUES, known, values),
            Pane::new(ELSEWHERE, format!("{} elsewhere", function.title()), elsewhere),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        match pane {
            CODE => self.draw_code(canvas, area),
            VALUES => {
                let lines = self.values(canvas.state, canvas.theme, area.width);
                canvas.scrolled(&lines, self.scroll.top(lines.len(), area.height.into()), area);
            }
            _ => {
                let lines = self.elsewhere(canvas.state, canvas.theme, area.width);
                canvas.lines(&lines, area);
            }
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(
                    &[KeyCode::Enter],
                    phrase("into"),
                    phrase("show the function that the line calls; Esc returns"),
                )
                .within(&[CODE]),
                ViewKeys::new(
                    &[KeyCode::Char('h'), KeyCode::Char('l')],
                    Phrase::NONE,
                    phrase("scroll the code sideways"),
                )
                .within(&[CODE]),
            ]
        }
    }

    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        match pane {
            CODE => {
                let function = self.function(state);
                let list = self.list(state).step(step, function.text().1.len(), room.height.into());
                self.selected = Some((function, list));
            }
            VALUES => {
                let lines = self.values(state, &Theme::default(), room.width).len();
                self.scroll = self.scroll.step(step, lines, room.height.into());
            }
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn key(&mut self, _: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        match key.code {
            KeyCode::Enter => return self.go_inside(state),
            KeyCode::Esc => return self.come_back(),
            KeyCode::Char('h') => self.left = self.left.saturating_sub(SIDEWAYS),
            KeyCode::Char('l') => {
                let (_, text) = self.function(state).text();
                let widest = text.iter().map(|line| text::width(line)).max().unwrap_or(0);
                self.left = (self.left + SIDEWAYS).min(widest);
            }
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        if pane != CODE {
            return Reply::Unknown;
        }
        let function = self.function(state);
        let rows = function.text().1.len();
        if let Some(row) = self.list(state).row_at(at.y.into(), rows, room.height.into()) {
            self.selected = Some((function, ListView::at(row)));
        }
        Reply::Taken
    }

    fn selected(&self, pane: &str, state: &State) -> Option<String> {
        let (_, text) = self.function(state).text();
        (pane == CODE).then(|| text.get(self.row(state)).map(|line| line.to_string())).flatten()
    }
}

impl Source {
    /// The shown function.
    fn function(&self, state: &State) -> Function {
        self.inside.last().map_or_else(|| outermost(state), |(function, _)| *function)
    }

    fn list(&self, state: &State) -> ListView {
        ListView::at(self.row(state))
    }

    /// The row for keys: the selected one, else the running one, else the first line of code.
    fn row(&self, state: &State) -> usize {
        let function = self.function(state);
        let (_, text) = function.text();
        let running = if self.inside.is_empty() { running(state) } else { None };
        match self.selected {
            Some((of, list)) if of == function => list.selected(text.len()),
            _ => running.unwrap_or_else(|| text.iter().position(|line| !line.starts_with("//")).unwrap_or(0)),
        }
    }

    /// Shows the function that the selected row calls.
    fn go_inside(&mut self, state: &State) -> Reply {
        let function = self.function(state);
        let row = self.row(state);
        let (_, text) = function.text();
        if let Some(called) = text.get(row).and_then(|line| function.called(line, class(state))) {
            self.inside.push((called, row));
            (self.selected, self.left, self.scroll) = (None, 0, Scroll::default());
        }
        Reply::Taken
    }

    /// Shows the function that contains the call of this one.
    fn come_back(&mut self) -> Reply {
        let Some((_, row)) = self.inside.pop() else { return Reply::Unknown };
        // Meanwhile the stage's own function may have changed: then it has no selection.
        self.selected = self.inside.last().map(|(function, _)| (*function, ListView::at(row)));
        (self.left, self.scroll) = (0, Scroll::default());
        Reply::Taken
    }

    fn draw_code(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (state, theme) = (canvas.state, canvas.theme);
        let function = self.function(state);
        let (first, text) = function.text();
        let here = self.row(state);
        let runs = if self.inside.is_empty() { running(state) } else { None };
        let code = colour::coloured(&text, theme);
        let width = usize::from(area.width);
        let line = |(row, code): (usize, Line<'static>)| {
            let mark = if runs == Some(row) { "▶" } else { " " };
            let style = if row == here { theme.selected } else { theme.faint };
            let mut line = Line::from(vec![
                Span::styled(mark, theme.here),
                Span::styled(format!("{:>4}", first + row), style),
                Span::raw("  "),
            ]);
            line.spans.extend(cut(code, self.left));
            let shown = text[row].chars().count().saturating_sub(self.left) + GUTTER;
            if shown > width {
                let kept = cut_after(line, width.saturating_sub(1));
                line = kept;
                line.push_span(Span::styled("…", theme.faint));
            } else if let Some(note) =
                beside(state, function, text[row], function.called(text[row], class(state)))
                && shown + 2 + text::width(&note) <= width
            {
                line.push_span(Span::styled(format!("  {note}"), theme.tensor));
            }
            line
        };
        let lines: Vec<Line<'static>> = code.into_iter().enumerate().map(line).collect();
        let window = self.list(state).window(lines.len(), area.height.into());
        canvas.scrolled(&lines, window.start, area);
    }

    fn elsewhere(&self, state: &State, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        let reference = self.function(state).reference();
        let none = "no corresponding function";
        let entries = [
            ("diffusers", reference.diffusers),
            ("parediffusers", reference.parediffusers.unwrap_or(none)),
            ("source", reference.paper),
        ];
        let mut lines = vec![];
        for (name, note) in entries {
            for (index, part) in
                text::wrapped_path(note, usize::from(width).saturating_sub(14)).into_iter().enumerate()
            {
                let name = if index == 0 { name } else { "" };
                lines.push(Line::from(vec![
                    Span::styled(format!("{name:<13} "), theme.strong),
                    Span::raw(part),
                ]));
            }
        }
        let keys = match self.inside.is_empty() {
            true => "Enter shows a called function (→), h l scroll sideways",
            false => "Esc returns, Enter shows a called function (→)",
        };
        let keys = text::wrapped(keys, width.into());
        lines.extend(keys.into_iter().map(|line| Line::styled(line, theme.faint)));
        lines
    }
}

/// The note beside a line: the function that it calls, or the values of its names.
fn beside(state: &State, function: Function, line: &str, called: Option<Function>) -> Option<String> {
    if let Some(called) = called {
        return Some(format!("→ {}", called.path()));
    }
    let mut bound = source::bound(line).into_iter().filter_map(|name| values::known(state, function, name));
    let first = bound.next()?;
    // With two names, only the table below has room for their values.
    bound.next().is_none().then(|| values::statistics(first))
}

/// The spans of a line from column `left` on.
fn cut(line: Line<'static>, left: usize) -> Vec<Span<'static>> {
    let mut skip = left;
    let mut spans = vec![];
    for span in line.spans {
        let columns = span.width();
        if columns > skip {
            spans.push(Span::styled(text::skipped(&span.content, skip), span.style));
        }
        skip = skip.saturating_sub(columns);
    }
    spans
}

/// The first `columns` of a line.
fn cut_after(line: Line<'static>, columns: usize) -> Line<'static> {
    let mut room = columns;
    let mut kept = Line::default();
    for span in line.spans {
        let width = span.width();
        let content = match width <= room {
            true => span.content.into_owned(),
            false => span.content.chars().take(room).collect(),
        };
        room = room.saturating_sub(width);
        kept.push_span(Span::styled(content, span.style));
    }
    kept
}

/// The class of the run's scheduler.
fn class(state: &State) -> Class {
    state.view.as_ref().and_then(|view| view.schedule.class).unwrap_or(Class::Ddim)
}

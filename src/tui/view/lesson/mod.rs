//! The lesson, beside the view or, on a narrow screen, instead of it.
//!
//! - [`blocks`]: its parts as lines. [`prose`]: Markdown; [`flow`]: lines of styled text.

mod blocks;
mod flow;
mod prose;

use super::pane::{Pane, Reply, View};
use crate::lesson::Part;
use crate::lesson::reading::{Act, Reading};
use crate::phrase::{Phrase, phrase};
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{Scroll, Step};
use crate::tui::state::State;
use crate::tui::text;
use blocks::{Drawn, Press};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::Line;
use tr::tr;

/// The pane's name.
pub const LESSON: &str = "lesson";
/// From this many columns on, the lesson is beside the view.
const BESIDE: u16 = 108;
/// The minimum columns of the view.
const VIEW: u16 = 60;
/// The maximum columns of the lesson: longer lines are hard to read.
const WIDEST: u16 = 76;

/// The areas of the view and of the lesson, when both fit.
pub fn beside(area: Rect) -> Option<[Rect; 2]> {
    let columns = (area.width * 44 / 100).min(area.width.saturating_sub(VIEW + 1)).min(WIDEST);
    let split = Layout::horizontal([Constraint::Min(0), Constraint::Length(columns)]).spacing(1);
    (area.width >= BESIDE).then(|| split.areas(area))
}

/// The lesson's current keys and their hints.
fn hints(reading: &Reading) -> Vec<(String, Phrase)> {
    let mut hints: Vec<(String, Phrase)> = vec![];
    if reading.is_busy() {
        return hints;
    }
    match reading.stop() {
        Some(Part::Commands(lines)) => {
            hints.push(("Enter".into(), phrase("run the line")));
            if reading.line() + 1 < lines.len() {
                hints.push(("x".into(), phrase("run all")));
            }
        }
        Some(Part::Predict(question)) => {
            let letters: Vec<String> =
                (0..question.choices.len()).map(|choice| blocks::letter(choice).to_string()).collect();
            hints.push((letters.join(" "), phrase("answer")));
        }
        Some(Part::Try(_)) => hints.extend([("h".into(), phrase("hint")), ("x".into(), phrase("show how"))]),
        _ => {}
    }
    if reading.has_strayed() {
        hints.push(("w".into(), phrase("return")));
    }
    hints
}

/// The lesson's scroll position.
#[derive(Debug, Default)]
pub struct Lesson {
    /// The first visible row, and the stop at which the user scrolled; `None` shows what is new.
    scrolled: Option<(usize, usize)>,
}

/// The visible rows of a lesson.
struct Window {
    top: usize,
    rows: usize,
    below: usize,
}

impl Lesson {
    fn window(&self, reading: &Reading, drawn: &Drawn, height: u16) -> Window {
        let (all, height) = (drawn.rows.len(), usize::from(height));
        // The last row reports that there are more.
        let rows = if all > height { height.saturating_sub(1) } else { height };
        let last = all.saturating_sub(rows);
        let scrolled = self.scrolled.filter(|(at, _)| *at == reading.at());
        let top = scrolled.map_or(drawn.news, |(_, top)| top).min(last);
        Window { top, rows, below: last - top }
    }

    fn scroll(&mut self, to: usize, reading: &Reading) -> Reply {
        self.scrolled = Some((reading.at(), to));
        Reply::Taken
    }
}

fn drawn(reading: &Reading, canvas: &Canvas<'_>, area: Rect) -> Drawn {
    blocks::draw(reading, canvas.theme, area.width.into())
}

/// The same without colours: only the number of rows and their actions.
fn laid_out(reading: &Reading, room: Size) -> Drawn {
    blocks::draw(reading, &Default::default(), room.width.into())
}

impl View for Lesson {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let title = state.lesson.as_ref().map_or(String::new(), |reading| {
            let (done, of) = reading.progress();
            let place = if done == of { "done".to_string() } else { tr!("part {} of {of}", done + 1, of) };
            format!("{place} · {}", text::clean(&reading.lesson().front.title))
        });
        vec![Pane::new(LESSON, title, area)]
    }

    fn draw(&self, _: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(reading) = &canvas.state.lesson else { return };
        let drawn = drawn(reading, canvas, area);
        let window = self.window(reading, &drawn, area.height);
        let shown = drawn.rows.iter().skip(window.top).take(window.rows);
        let lines: Vec<Line<'static>> = shown.map(|row| row.line.clone()).collect();
        canvas.lines(&lines, area);
        if window.below > 0 {
            let last = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
            let more = tr!("▼ {} more rows", window.below);
            canvas.lines(&[Line::styled(more, canvas.theme.key)], last);
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        use KeyCode::Char;
        const {
            &[
                ViewKeys::new(&[KeyCode::Enter], Phrase::NONE, phrase("run the next line, or continue")),
                ViewKeys::new(&[Char('x')], Phrase::NONE, phrase("run all lines, or a task's solution")),
                ViewKeys::new(
                    &[
                        Char('a'),
                        Char('b'),
                        Char('c'),
                        Char('d'),
                        Char('e'),
                        Char('f'),
                        Char('g'),
                        Char('h'),
                        Char('i'),
                    ],
                    Phrase::NONE,
                    phrase("answer a question, so that the lesson continues; in a task, h shows a hint"),
                ),
            ]
        }
    }

    fn hints(&self, _: &str, state: &State) -> Vec<(String, Phrase)> {
        state.lesson.as_ref().map_or(vec![], hints)
    }

    fn step(&mut self, _: &str, step: Step, room: Size, state: &State) -> Reply {
        let Some(reading) = &state.lesson else { return Reply::Unknown };
        let drawn = laid_out(reading, room);
        let Window { top, rows, .. } = self.window(reading, &drawn, room.height);
        let scroll = Scroll::at(top).step(step, drawn.rows.len(), rows);
        self.scroll(scroll.top(drawn.rows.len(), rows), reading)
    }

    fn key(&mut self, _: &str, key: KeyEvent, room: Size, state: &State) -> Reply {
        let Some(reading) = &state.lesson else { return Reply::Unknown };
        let drawn = laid_out(reading, room);
        let Window { top, rows, below } = self.window(reading, &drawn, room.height);
        // A part that is not visible yet cannot be run or answered.
        let act = |act| if below == 0 { Reply::Lesson(act) } else { Reply::Unknown };
        let asks = matches!(reading.stop(), Some(Part::Predict(_)));
        let page = rows.saturating_sub(1).max(1);
        let reply = match key.code {
            KeyCode::Enter => act(Act::Go),
            KeyCode::Char('x') => act(Act::All),
            KeyCode::Char('h') => act(Act::Hint),
            KeyCode::Char(c @ 'a'..='i') if asks => act(Act::Answer(usize::from(c as u8 - b'a'))),
            _ => return Reply::Unknown,
        };
        match reply {
            Reply::Unknown => self.scroll(top + page.min(below), reading),
            reply => reply,
        }
    }

    fn press(&mut self, _: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(reading) = &state.lesson else { return Reply::Unknown };
        let drawn = laid_out(reading, room);
        let window = self.window(reading, &drawn, room.height);
        let row = usize::from(at.y);
        let pressed = drawn.rows.get(window.top + row).filter(|_| row < window.rows);
        match pressed.and_then(|row| row.press) {
            Some(Press::Act(act)) => Reply::Lesson(act),
            Some(Press::Show(tab)) => Reply::Show(tab),
            None => Reply::Unknown,
        }
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        // The command that the lesson waits for, to type elsewhere.
        let reading = state.lesson.as_ref()?;
        match reading.stop()? {
            Part::Commands(lines) => lines.get(reading.line()).map(|line| line.text.clone()),
            _ => None,
        }
    }
}

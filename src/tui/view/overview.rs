//! The overview: the stages, and of the one before the cursor the pictures, the numbers and the tensors.

use super::pane::{self, Pane, Reply};
use super::{numbers, pictures, rail, table, welcome};
use crate::debugger::record::{NamedPicture, RecordView};
use crate::debugger::view;
use crate::debugger::view::View;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{Scroll, Step};
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Margin, Position, Rect, Size};

/// From this many columns on, the table stands beside the rail, and below it otherwise.
const WIDE: u16 = 104;

/// Rows of the tensors' pane that are left to it at least: its rule, the numbers, a heading, two tensors.
const FEWEST_TABLE_ROWS: u16 = 5;

const STAGES: &str = "stages";
const PICTURES: &str = "pictures";
const TENSORS: &str = "tensors";

/// The overview.
#[derive(Debug, Default)]
pub struct Overview {
    /// Which picture is shown alone, of those that there are.
    enlarged: Option<usize>,
    /// The scroll position of the table.
    table: Scroll,
    /// How latents are shown.
    rendering: Rendering,
}

/// How latents are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rendering {
    /// As the VAE decodes them, once it had time for that; until then as the linear estimate.
    #[default]
    Best,
    /// As the linear estimate.
    Linear,
    /// Their channels in gray.
    Channels,
}

impl Rendering {
    fn next(self) -> Self {
        match self {
            Self::Best => Self::Linear,
            Self::Linear => Self::Channels,
            Self::Channels => Self::Best,
        }
    }

    /// `picture` of a record, or what is to be shown in its place.
    fn of<'a>(self, state: &'a State, record: &'a RecordView, picture: &'a NamedPicture) -> &'a NamedPicture {
        match (self, picture.name) {
            (Self::Channels, "latents") => record.picture("latents.channels").unwrap_or(picture),
            (Self::Linear | Self::Channels, _) => picture,
            (Self::Best, _) => state.best(record, picture),
        }
    }
}

impl pane::View for Overview {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some((view, record)) = state.view.as_deref().zip(state.record()) else {
            let [rail, rest] = beside(area);
            let rail = Pane::new(
                STAGES,
                state.view.as_deref().map_or(String::new(), |v| rail::title(v, state)),
                rail,
            );
            return vec![rail, Pane::new(PICTURES, "", rest)];
        };
        let [rail, drawn, told] = if area.width >= WIDE {
            let [rail, rest] = beside(area);
            let [drawn, told] = above(record, rest);
            [rail, drawn, told]
        } else {
            let [top, told] = above(record, area);
            let [rail, drawn] = beside(top);
            [rail, drawn, told]
        };
        vec![
            Pane::new(STAGES, rail::title(view, state), rail),
            Pane::new(PICTURES, format!("after {}", record.stage), drawn),
            Pane::new(TENSORS, "tensors", told),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        match (pane, state.view.as_deref(), state.record()) {
            (STAGES, Some(view), _) => rail::draw(view, canvas, area),
            (STAGES, None, _) => {}
            (TENSORS, _, Some(record)) => draw_numbers(record, self.table, canvas, area),
            (_, Some(view), Some(record)) => self.draw_pictures(view, record, canvas, area),
            _ => welcome::draw(canvas, area),
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const KEYS: &[ViewKeys] = &[
            ViewKeys {
                keys: &[KeyCode::Char('v')],
                panes: &[],
                hint: "rendering",
                summary: "draw latents decoded by the VAE, as the linear estimate, or as channels",
            },
            ViewKeys {
                keys: &[KeyCode::Enter],
                panes: &[PICTURES],
                hint: "enlarge",
                summary: "in the pictures: show one alone",
            },
        ];
        KEYS
    }

    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        match pane {
            STAGES => Reply::Look(state.cursor().saturating_add_signed(step.rows(room.height.into()))),
            TENSORS => {
                let lines = state.record().map_or(0, |record| record.tensors.len());
                self.table = self.table.step(step, lines, table::visible(lines, room.height));
                Reply::Taken
            }
            _ => Reply::Unknown,
        }
    }

    fn key(&mut self, pane: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        match (pane, key.code) {
            (_, KeyCode::Char('v')) => {
                self.rendering = self.rendering.next();
                Reply::Taken
            }
            (PICTURES, KeyCode::Enter) => {
                self.enlarge(state);
                Reply::Taken
            }
            (PICTURES, KeyCode::Esc) if self.enlarged.take().is_some() => Reply::Taken,
            _ => Reply::Unknown,
        }
    }

    fn press(&mut self, pane: &str, _: Position, _: Size, state: &State) -> Reply {
        if pane == PICTURES {
            self.enlarge(state);
            return Reply::Taken;
        }
        Reply::Unknown
    }

    fn decodes(&self) -> &'static [&'static str] {
        &["pred_original_sample", "latents"]
    }
}

impl Overview {
    /// Shows one picture as large as there is room; then the next; then all.
    fn enlarge(&mut self, state: &State) {
        let count = state.record().map_or(0, |record| shown(record).len());
        let next = self.enlarged.map_or(0, |shown| shown + 1);
        // One alone is as large as it can be already.
        self.enlarged = Some(next).filter(|next| count > 1 && *next < count);
    }

    fn draw_pictures(&self, view: &View, record: &RecordView, canvas: &mut Canvas<'_>, area: Rect) {
        let mut shown = shown(record);
        if let Some(one) = self.enlarged.filter(|one| *one < shown.len()) {
            shown = vec![shown[one]];
        }
        if shown.is_empty() {
            welcome::draw_without_pictures(record.stage, canvas, area.inner(Margin::new(1, 1)));
        } else {
            let shown: Vec<&NamedPicture> =
                shown.into_iter().map(|picture| self.rendering.of(canvas.state, record, picture)).collect();
            pictures::draw(&shown, view.request.width, canvas, area);
        }
    }
}

/// The pictures that a stage is shown by.
fn shown(record: &RecordView) -> Vec<&NamedPicture> {
    view::shown(record.stage).iter().filter_map(|name| record.picture(name)).collect()
}

/// The rail, and what is beside it.
fn beside(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Length(rail::WIDTH), Constraint::Min(0)]).spacing(1).areas(area)
}

/// The pictures, and under them what is told in numbers.
fn above(record: &RecordView, area: Rect) -> [Rect; 2] {
    let numbers = numbers::lines(record, &Theme::default(), area.width).len();
    let rule = 1;
    let wanted = (rule + numbers + table::rows(record)) as u16;
    // The table gives way so that pictures can be made out; it scrolls, and they do not.
    let most = area.height.saturating_sub(rule as u16 + pictures::FEWEST_ROWS).max(FEWEST_TABLE_ROWS);
    Layout::vertical([Constraint::Min(0), Constraint::Length(wanted.min(most))]).areas(area)
}

fn draw_numbers(record: &RecordView, scroll: Scroll, canvas: &mut Canvas<'_>, area: Rect) {
    let mut lines = numbers::lines(record, canvas.theme, area.width);
    // Where rows are scarce, a third of them.
    lines.truncate(usize::from(area.height / 3).max(1));
    let [told, rows] =
        Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(0)]).areas(area);
    canvas.lines(&lines, told);
    table::draw(record, scroll, canvas, rows);
}

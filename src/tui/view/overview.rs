//! The overview: the stages, and the pictures, numbers and tensors of the last finished one.

use super::pane::{self, Pane, Reply};
use super::{numbers, pictures, rail, table, welcome};
use crate::debugger::record::{NamedPicture, RecordView};
use crate::debugger::view;
use crate::debugger::view::View;
use crate::phrase::{Phrase, phrase};
use crate::pipeline::Stage;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{Scroll, Step};
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Margin, Position, Rect, Size};
use tr::tr;

/// From this many columns on, the table is beside the rail; otherwise below it.
const WIDE: u16 = 104;

/// The minimum rows of the tensors' pane: its rule, the numbers, a heading, two tensors.
const FEWEST_TABLE_ROWS: u16 = 5;

const STAGES: &str = "stages";
const PICTURES: &str = "pictures";
const TENSORS: &str = "tensors";

/// The overview.
#[derive(Debug, Default)]
pub struct Overview {
    /// The picture that is shown alone, by its index.
    enlarged: Option<usize>,
    /// The scroll position of the table.
    table: Scroll,
    /// How latents are drawn.
    rendering: Rendering,
}

/// How latents are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rendering {
    /// Decoded by the VAE, or the linear estimate until the VAE is done.
    #[default]
    Best,
    /// The linear estimate.
    Linear,
    /// The channels in gray.
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

    /// `picture` of a record, or the one that this rendering shows instead.
    fn of<'a>(self, state: &'a State, record: &'a RecordView, picture: &'a NamedPicture) -> &'a NamedPicture {
        match (self, picture.name) {
            (Self::Linear | Self::Channels, "image") => record.picture("timemap").unwrap_or(picture),
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
        let [rail, drawn, details] = if area.width >= WIDE {
            let [rail, rest] = beside(area);
            let [drawn, details] = above(record, rest);
            [rail, drawn, details]
        } else {
            let [top, details] = above(record, area);
            let [rail, drawn] = beside(top);
            [rail, drawn, details]
        };
        vec![
            Pane::new(STAGES, rail::title(view, state), rail),
            Pane::new(PICTURES, tr!("after {}: {}", record.stage, meaning(record.stage)), drawn),
            Pane::new(TENSORS, "tensors", details),
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
        const {
            &[
                ViewKeys::new(
                    &[KeyCode::Char('v')],
                    phrase("rendering"),
                    phrase(
                        "draw latents decoded by the VAE, as the linear estimate, or as channels; after vae_decode, when \
                         each pixel settled",
                    ),
                ),
                ViewKeys::new(
                    &[KeyCode::Enter],
                    phrase("enlarge"),
                    phrase("in the pictures: show one alone"),
                )
                .within(&[PICTURES]),
            ]
        }
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
                let is_finished = state.record().is_some_and(|record| record.stage == Stage::VaeDecode);
                self.rendering = match self.rendering {
                    // The finished picture has two renderings.
                    Rendering::Linear if is_finished => Rendering::Best,
                    rendering => rendering.next(),
                };
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
    /// Enlarges the first picture, then the next; after the last, shows all.
    fn enlarge(&mut self, state: &State) {
        let count = state.record().map_or(0, |record| shown(record).len());
        let next = self.enlarged.map_or(0, |shown| shown + 1);
        // A single picture is as large as possible already.
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

/// What the pictures of a stage are.
fn meaning(stage: Stage) -> Phrase {
    match stage {
        Stage::EncodePrompt => phrase("no picture yet"),
        Stage::GetLatent => phrase("the latents that the run begins with"),
        Stage::Denoise { .. } => phrase("latents, expected picture, residuals"),
        Stage::VaeDecode => phrase("the finished picture"),
    }
}

/// The pictures of a stage. The time map is drawn instead of the finished picture, on a key.
fn shown(record: &RecordView) -> Vec<&NamedPicture> {
    let names = view::shown(record.stage).iter().filter(|name| **name != "timemap");
    names.filter_map(|name| record.picture(name)).collect()
}

/// The rail's area and the rest.
fn beside(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Length(rail::WIDTH), Constraint::Min(0)]).spacing(1).areas(area)
}

/// The area of the pictures, and below it that of the numbers and tensors.
fn above(record: &RecordView, area: Rect) -> [Rect; 2] {
    let numbers = numbers::lines(record, &Theme::default(), area.width).len();
    let rule = 1;
    let wanted = (rule + numbers + table::rows(record)) as u16;
    // The table shrinks before the pictures become too small to see; it scrolls, and they do not.
    let most = area.height.saturating_sub(rule as u16 + pictures::FEWEST_ROWS).max(FEWEST_TABLE_ROWS);
    Layout::vertical([Constraint::Min(0), Constraint::Length(wanted.min(most))]).areas(area)
}

fn draw_numbers(record: &RecordView, scroll: Scroll, canvas: &mut Canvas<'_>, area: Rect) {
    let mut lines = numbers::lines(record, canvas.theme, area.width);
    // On a low terminal, a third of the rows.
    lines.truncate(usize::from(area.height / 3).max(1));
    let [details, rows] =
        Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(0)]).areas(area);
    canvas.lines(&lines, details);
    table::draw(record, scroll, canvas, rows);
}

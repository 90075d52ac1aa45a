//! Where each word of a step is attended to, and its effect.
//!
//! - [`found`]: the results, and what is still computed. [`panes`]: draws the panes. [`drawn`]: a cache of maps.
//!   [`strip`]: small maps side by side.

mod drawn;
mod found;
mod panes;
mod strip;

use super::pane::{Pane, Reply, View, previews_of};
use super::welcome;
use crate::debugger::prompt::TokenKind;
use crate::debugger::{Examination, Outcome, Preview};
use crate::phrase::{Phrase, phrase};
use crate::picture::Picture;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{ListView, Step};
use crate::tui::state::State;
use crossterm::event::{KeyCode, KeyEvent};
use drawn::Drawn;
use found::{Found, Row};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use std::cell::RefCell;
use std::sync::Arc;
use strip::{By, Strip};
use tr::tr;

const TOKENS: &str = "tokens";
const MAP: &str = "map";
const EFFECT: &str = "effect";
const PICTURES: &str = "pictures";
const STRIP: &str = "strip";

/// Columns of the tokens, on narrow and on wide terminals.
const NARROW: u16 = 24;
const WIDE: u16 = 34;
/// From this many columns on, a terminal is wide.
const MUCH: u16 = 100;
/// The strip's share of the height.
const STRIP_ROWS: (u16, u16) = (1, 4);
/// The minimum and maximum rows of the strip: its rule, the maps, two captions.
const STRIP_LIMITS: [u16; 2] = [6, 12];
/// With this many rows below the tokens, the picture with and without the word is shown there.
const PAIR: u16 = 10;

/// Where each word of a step is attended to, and its effect.
#[derive(Debug, Default)]
pub struct Attention {
    /// The position of the selected token; `None` is the first word.
    selected: Option<usize>,
    /// The kind of small maps in the strip.
    by: By,
    /// The layer that is selected in the strip; `None` is all.
    layer: Option<usize>,
    /// The head that is selected in the strip.
    head: Option<usize>,
    /// The point whose self-attention is shown: column and row of the latents.
    point: Option<(usize, usize)>,
    /// Rendered maps.
    drawn: RefCell<Drawn>,
}

impl Attention {
    fn found<'a>(&'a self, state: &'a State) -> Option<Found<'a>> {
        let (step, _) = state.step()?;
        Some(Found::of(state, step, self))
    }

    /// The position of the selected token.
    fn at(&self, rows: &[Row]) -> usize {
        let first_word = || rows.iter().position(|row| row.token.kind == TokenKind::Word).unwrap_or(0);
        self.selected.unwrap_or_else(first_word).min(rows.len().saturating_sub(1))
    }
}

impl View for Attention {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some(found) = self.found(state) else { return vec![Pane::new(TOKENS, "attention", area)] };
        let [least, most] = STRIP_LIMITS;
        let high = (area.height * STRIP_ROWS.0 / STRIP_ROWS.1).clamp(least, most);
        let [above, strip] = Layout::vertical([Constraint::Min(0), Constraint::Length(high)]).areas(area);
        let wide = if area.width >= MUCH { WIDE } else { NARROW };
        let [tokens, maps] =
            Layout::horizontal([Constraint::Length(wide), Constraint::Min(0)]).spacing(1).areas(above);
        let [map, effect] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(maps);
        let word = found.word();
        let looked = match self.point {
            Some((x, y)) => tr!("self-attention of {x},{y}", x, y),
            None => tr!("{word}: attended to by", word),
        };
        let listed = found.rows.len() as u16 + 2;
        let pair = tokens.height.saturating_sub(listed) >= PAIR;
        let [tokens, pictures] = match pair {
            true => Layout::vertical([Constraint::Length(listed), Constraint::Min(0)]).areas(tokens),
            false => [tokens, Rect::default()],
        };
        let mut panes = vec![
            Pane::new(TOKENS, format!("{}: attention", found.step.stage), tokens),
            Pane::new(MAP, looked, map),
            Pane::new(EFFECT, tr!("{word}: its effect", word), effect),
            Pane::new(STRIP, strip::title(&found, self, area.width), strip),
        ];
        if pair {
            let title = tr!("{} with {word}, without", found.step.stage, word);
            panes.insert(1, Pane::new(PICTURES, title, pictures));
        }
        panes
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let Some(found) = self.found(state) else {
            return welcome::draw_text(
                "In every step of denoise, each pixel attends to the words of the prompt. This view shows for each word \
                 where the picture attends to it, and the effect of removing the word: the two do not \
                 always agree. `:goto denoise 0` goes to the first step, n runs it.",
                canvas,
                area,
            );
        };
        match pane {
            TOKENS => panes::draw_tokens(&found, canvas, area),
            MAP => self.draw_map(&found, canvas, area),
            EFFECT => self.draw_effect(&found, canvas, area),
            PICTURES => Self::draw_pair(&found, canvas, area),
            _ => Strip::of(&found, self).draw(self, canvas, area),
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(
                    &[KeyCode::Char('h'), KeyCode::Char('l')],
                    phrase("map"),
                    phrase("select the previous or next small map; with a point, move it"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('v')],
                    phrase("by"),
                    phrase("small maps by step, by layer or by head"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('x')],
                    phrase("point"),
                    phrase("show the self-attention of one point; arrows and the mouse move it, Esc ends it"),
                ),
                ViewKeys::new(
                    &[KeyCode::Left, KeyCode::Right],
                    Phrase::NONE,
                    phrase("in the map, with a point: move it"),
                )
                .within(&[MAP]),
            ]
        }
    }

    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        match (pane, self.point, found.size()) {
            (MAP, Some((x, y)), Some((height, _))) => {
                self.point = Some((x, ListView::at(y).step(step, height, 1).selected(height)));
            }
            _ => {
                let rows = found.rows.len();
                self.selected =
                    Some(ListView::at(found.at).step(step, rows, room.height.into()).selected(rows));
            }
        }
        Reply::Taken
    }

    fn key(&mut self, pane: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        let Some(size) = self.found(state).map(|found| found.size()) else { return Reply::Unknown };
        let forth = matches!(key.code, KeyCode::Char('l') | KeyCode::Right);
        match (key.code, self.point, size) {
            (KeyCode::Char('v'), ..) => self.by = self.by.next(),
            (KeyCode::Char('x'), None, Some((height, width))) => self.point = Some((width / 2, height / 2)),
            (KeyCode::Char('x'), ..) | (KeyCode::Esc, Some(_), _) => self.point = None,
            (KeyCode::Char('h' | 'l') | KeyCode::Left | KeyCode::Right, Some((x, y)), Some((_, width)))
                if pane == MAP =>
            {
                let step = Step::Rows(if forth { 1 } else { -1 });
                self.point = Some((ListView::at(x).step(step, width, 1).selected(width), y));
            }
            (KeyCode::Char('h' | 'l'), ..) => return self.choose(forth, state),
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        if pane != TOKENS {
            return Reply::Unknown;
        }
        let rows = found.rows.len();
        if let Some(row) = ListView::at(found.at).row_at(at.y.into(), rows, room.height.into()) {
            self.selected = Some(row);
        }
        Reply::Taken
    }

    fn press_part(&mut self, pane: &str, part: usize, at: Position, room: Size, state: &State) -> Reply {
        if pane == STRIP {
            return self.choose_cell(part, state);
        }
        // A layer may have fewer pixels than the latents, whose columns and rows a point has.
        let Some((height, width)) = self.found(state).and_then(|found| found.size()) else {
            return Reply::Unknown;
        };
        // The middle of the terminal's cell.
        let share = |at: u16, all: u16, count: usize| {
            ((2 * usize::from(at) + 1) * count / (2 * usize::from(all)).max(1)).min(count.saturating_sub(1))
        };
        self.point = Some((share(at.x, room.width, width), share(at.y, room.height, height)));
        Reply::Taken
    }

    fn previews(&self, state: &State) -> Vec<Preview> {
        state.step().map_or(vec![], |(step, _)| previews_of(step, &["pred_original_sample"]))
    }

    fn examines(&self, state: &State) -> Vec<Examination> {
        self.found(state).map_or(vec![], |found| found.examinations(self))
    }

    fn follow(&mut self, outcome: &Outcome) {
        let of_word = outcome.attention().map(|report| &report.positions);
        let positions = of_word.or(outcome.effect().map(|report| &report.positions));
        if let Some(first) = positions.and_then(|positions| positions.first()) {
            self.selected = Some(*first);
        }
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let found = self.found(state)?;
        let mut text = String::from("position\ttoken\tshare\n");
        for (position, row) in found.rows.iter().enumerate() {
            let share = row.share.map_or(String::new(), |share| share.to_string());
            text.push_str(&format!("{position}\t{}\t{share}\n", row.name()));
        }
        Some(text)
    }
}

impl Attention {
    /// Selects the next or the previous small map.
    fn choose(&mut self, forth: bool, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        let strip = Strip::of(&found, self);
        let (at, count) = (strip.chosen, strip.count());
        let next = if forth { at + 1 } else { at.saturating_sub(1) };
        self.choose_cell(next.min(count.saturating_sub(1)), state)
    }

    fn choose_cell(&mut self, cell: usize, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        match self.by {
            By::Steps => return found.steps.get(cell).map_or(Reply::Taken, |(done, _)| Reply::Look(*done)),
            By::Layers => {
                self.layer = cell.checked_sub(1);
                self.head = None;
            }
            By::Heads => self.head = cell.checked_sub(1),
        }
        Reply::Taken
    }
}

/// A rendered picture in an `Arc`.
type Shared = Arc<image::RgbImage>;

/// A picture rendered by this view.
fn picture(image: Shared, of: &Picture) -> Picture {
    Picture { image, label: of.label.clone() }
}

//! All recorded tensors, and the selected one in detail.
//!
//! - [`list`]: the columns of the list, and its order.
//! - [`opened`]: a tensor's values, histogram, channels and change.

mod list;
mod opened;

use super::pane::{Pane, Reply, View};
use super::welcome;
use crate::debugger::record::{RecordId, RecordView, TensorView};
use crate::phrase::phrase;
use crate::tensor::Histogram;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{ListView, Scroll, Step};
use crate::tui::state::State;
use crossterm::event::{KeyCode, KeyEvent};
use list::Order;
use opened::Grid;
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use std::cell::RefCell;
use std::collections::HashMap;
use tr::tr;

const LIST: &str = "list";
const SPREAD: &str = "histogram";
const CHANNELS: &str = "channels";
const VALUES: &str = "values";
const CHANGE: &str = "change";

/// From this size on, the list and the open tensor are side by side.
const ROOMY: Size = Size::new(100, 30);
/// The limit of cached histograms: more than a stage's tensors.
const MOST_KEPT: usize = 256;

/// The tensors.
#[derive(Debug, Default)]
pub struct Tensors {
    order: Order,
    filter: String,
    /// The selected tensor; if the list lacks it, the first is selected.
    selected: String,
    /// Whether it is open, when the list does not fit beside it.
    opened: bool,
    /// The visible part of its values.
    grid: Grid,
    /// The first visible channel.
    channels: Scroll,
    /// A cache of histograms.
    histograms: RefCell<HashMap<(RecordId, String, usize), Histogram>>,
}

/// A tensor with its record.
type Found<'a> = (&'a RecordView, &'a TensorView);

impl Tensors {
    /// The listed tensors, in order.
    fn listed<'a>(&self, state: &'a State) -> Vec<Found<'a>> {
        let all = state.view.as_ref().map_or(vec![], |view| view.tensors(state.cursor()));
        let mut shown: Vec<_> = all.into_iter().filter(|(_, t)| t.row.name.contains(&self.filter)).collect();
        self.order.sort(&mut shown);
        shown
    }

    /// The index of the selected tensor in the list.
    fn at(&self, listed: &[Found<'_>]) -> usize {
        listed.iter().position(|(_, tensor)| tensor.row.name == self.selected).unwrap_or(0)
    }

    fn list(&self, listed: &[Found<'_>]) -> ListView {
        ListView::at(self.at(listed))
    }

    /// The histogram of a tensor in `bins` bins.
    fn histogram(&self, (record, tensor): Found<'_>, bins: usize) -> Histogram {
        let key = (record.id, tensor.row.name.clone(), bins);
        let mut kept = self.histograms.borrow_mut();
        if kept.len() > MOST_KEPT {
            kept.clear();
        }
        kept.entry(key).or_insert_with(|| Histogram::of_values(tensor.values.data(), bins)).clone()
    }
}

impl View for Tensors {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let listed = self.listed(state);
        let all = state.view.as_ref().map_or(0, |view| view.tensors(state.cursor()).len());
        let title = match (self.filter.as_str(), all) {
            (_, 0) => "tensors".into(),
            ("", all) => format!("{all} tensors"),
            (filter, all) => tr!("{} of {all} tensors, with `{filter}`", listed.len(), all, filter),
        };
        let Some((_, tensor)) = listed.get(self.at(&listed)) else {
            return vec![Pane::new(LIST, title, area)];
        };
        let roomy = area.width >= ROOMY.width && area.height >= ROOMY.height;
        let name = &tensor.row.name;
        let [list, rest] = match (roomy, self.opened) {
            (true, _) => {
                // A rule, a heading, a line of keys.
                let rows = (listed.len() + 3) as u16;
                Layout::vertical([Constraint::Length(rows.min(area.height * 2 / 5)), Constraint::Min(0)])
                    .areas(area)
            }
            (false, false) => return vec![Pane::new(LIST, title, area)],
            (false, true) => [Rect { height: 0, ..area }, area],
        };
        let [above, below] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(rest);
        let halves = |area| -> [Rect; 2] {
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(area)
        };
        let ([spread, values], [change, channels]) = (halves(above), halves(below));
        let mut panes = vec![
            Pane::new(SPREAD, format!("{name}: spread"), spread),
            Pane::new(VALUES, self.grid.title(&tensor.values), values),
            Pane::new(CHANGE, "change since the previous stage", change),
            Pane::new(CHANNELS, opened::channels_title(&tensor.values), channels),
        ];
        if roomy {
            panes.insert(0, Pane::new(LIST, title, list));
        }
        panes
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let listed = self.listed(state);
        let selected = self.at(&listed);
        let Some(&found) = listed.get(selected) else {
            let why = if self.filter.is_empty() {
                "No tensors yet. n runs the next stage; its tensors are then listed here, with statistics and a \
                 histogram; Enter opens one."
            } else {
                "No tensor's name contains this. / changes the filter; Esc there shows all."
            };
            return welcome::draw_text(why, canvas, area);
        };
        let (_, tensor) = found;
        match pane {
            LIST => list::draw(self, &listed, selected, canvas, area),
            SPREAD => {
                let bins = usize::from(area.width.saturating_sub(crate::tui::widget::bars::COUNTS)).max(1);
                opened::draw_spread(&tensor.row, &self.histogram(found, bins), canvas, area);
            }
            VALUES => self.grid.draw(&tensor.values, canvas, area),
            CHANNELS => opened::draw_channels(&tensor.values, self.channels, canvas, area),
            _ => {
                let before =
                    state.view.as_ref().and_then(|v| v.tensor_before(&tensor.row.name, state.cursor()));
                opened::draw_change(tensor, before, canvas, area);
            }
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(&[KeyCode::Enter], phrase("open"), phrase("in the list: open the tensor"))
                    .within(&[LIST]),
                ViewKeys::new(
                    &[KeyCode::Char('<'), KeyCode::Char('>')],
                    phrase("sort"),
                    phrase("in the list: sort by the previous or next column"),
                )
                .within(&[LIST]),
                ViewKeys::new(
                    &[KeyCode::Char('.')],
                    phrase("reverse"),
                    phrase("in the list: reverse the order"),
                )
                .within(&[LIST]),
                ViewKeys::new(
                    &[KeyCode::Char('h'), KeyCode::Char('l')],
                    phrase("column"),
                    phrase("in the values: go to the previous or next column"),
                )
                .within(&[VALUES]),
                ViewKeys::new(
                    &[KeyCode::Char('['), KeyCode::Char(']')],
                    phrase("plane"),
                    phrase("in the values: go to the previous or next plane"),
                )
                .within(&[VALUES]),
            ]
        }
    }

    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        let listed = self.listed(state);
        let Some((_, tensor)) = listed.get(self.at(&listed)) else { return Reply::Unknown };
        match pane {
            LIST => {
                let list = self.list(&listed).step(step, listed.len(), list::visible(room.height));
                self.selected.clone_from(&listed[list.selected(listed.len())].1.row.name);
            }
            CHANNELS => {
                let channels = opened::channels(&tensor.values).0;
                let rows = usize::from(room.height.saturating_sub(1));
                self.channels = self.channels.step(step, channels, rows);
            }
            VALUES => self.grid.step(step, room.height, &tensor.values),
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn key(&mut self, pane: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        let listed = self.listed(state);
        let Some((_, tensor)) = listed.get(self.at(&listed)) else { return Reply::Unknown };
        match (pane, key.code) {
            (_, KeyCode::Esc) if self.opened => self.opened = false,
            (LIST, KeyCode::Enter) => self.opened = true,
            (LIST, KeyCode::Char('<')) => self.order.before(),
            (LIST, KeyCode::Char('>')) => self.order.next(),
            (LIST, KeyCode::Char('.')) => self.order.reverse(),
            (VALUES, code) => return self.grid.key(code, &tensor.values),
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        if pane != LIST {
            return Reply::Unknown;
        }
        let listed = self.listed(state);
        if at.y == 0 {
            let found: Vec<_> = listed.iter().map(|(record, tensor)| (*record, *tensor)).collect();
            self.order.press(&found, at.x, room.width);
        } else {
            let rows = list::visible(room.height);
            let row = self.list(&listed).row_at(usize::from(at.y) - 1, listed.len(), rows);
            if let Some((_, tensor)) = row.and_then(|row| listed.get(row)) {
                self.selected.clone_from(&tensor.row.name);
            }
        }
        Reply::Taken
    }

    fn filter(&mut self, text: &str) -> bool {
        self.filter = text.into();
        true
    }

    fn selected(&self, pane: &str, state: &State) -> Option<String> {
        let listed = self.listed(state);
        let (_, tensor) = listed.get(self.at(&listed))?;
        match pane {
            LIST => Some(list::tsv(&listed)),
            VALUES => Some(self.grid.tsv(&tensor.values)),
            _ => Some(list::tsv(&[*listed.get(self.at(&listed))?])),
        }
    }
}

//! Every tensor that there is, and one of them opened.
//!
//! - [`list`]: the columns of the list, and its order.
//! - [`opened`]: the values of one, their spread, its channels, its change.

mod list;
mod opened;

use super::panes::{Pane, Panes, Reply};
use super::welcome;
use crate::debugger::record::{RecordId, RecordView, TensorView};
use crate::tensor::Histogram;
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use crossterm::event::{KeyCode, KeyEvent};
use list::Order;
use opened::Grid;
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use std::cell::RefCell;
use std::collections::HashMap;

const LIST: &str = "list";
const SPREAD: &str = "histogram";
const CHANNELS: &str = "channels";
const VALUES: &str = "values";
const CHANGE: &str = "change";

/// From this size on the list and what is opened are beside each other.
const ROOMY: Size = Size::new(100, 30);
/// Histograms that are kept: more than the tensors of a run's stage.
const MOST_KEPT: usize = 256;

/// The tensors.
#[derive(Debug, Default)]
pub struct Tensors {
    order: Order,
    filter: String,
    /// The tensor that is selected; the first when it is not there.
    selected: String,
    /// Whether it is opened, where there is no room for the list beside it.
    opened: bool,
    /// What of its values is shown.
    grid: Grid,
    /// The first channel that is shown.
    channel: usize,
    /// Histograms, made once each.
    histograms: RefCell<HashMap<(RecordId, String, usize), Histogram>>,
}

/// A tensor with the record that it is in.
type Found<'a> = (&'a RecordView, &'a TensorView);

impl Tensors {
    /// The tensors that are listed, in order.
    fn listed<'a>(&self, state: &'a State) -> Vec<Found<'a>> {
        let all = state.view.as_ref().map_or(vec![], |view| view.tensors(state.cursor()));
        let mut shown: Vec<_> = all.into_iter().filter(|(_, t)| t.row.name.contains(&self.filter)).collect();
        self.order.sort(&mut shown);
        shown
    }

    /// Where the selected tensor is on the list.
    fn at(&self, listed: &[Found<'_>]) -> usize {
        listed.iter().position(|(_, tensor)| tensor.row.name == self.selected).unwrap_or(0)
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

impl Panes for Tensors {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let listed = self.listed(state);
        let all = state.view.as_ref().map_or(0, |view| view.tensors(state.cursor()).len());
        let title = match (self.filter.as_str(), all) {
            (_, 0) => "tensors".into(),
            ("", all) => format!("{all} tensors"),
            (filter, all) => format!("{} of {all} tensors, with `{filter}`", listed.len()),
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
            Pane::new(CHANGE, "change since the stage before", change),
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
                "No tensor is there yet. n runs the next stage; what it makes is listed here, with statistics and the \
                 spread of its values; Enter opens one."
            } else {
                "No tensor has that in its name. / types another; Esc there shows all."
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
            CHANNELS => opened::draw_channels(&tensor.values, self.channel, canvas, area),
            _ => {
                let before =
                    state.view.as_ref().and_then(|v| v.tensor_before(&tensor.row.name, state.cursor()));
                opened::draw_change(tensor, before, canvas, area);
            }
        }
    }

    fn key(&mut self, pane: &str, key: KeyEvent, room: Size, state: &State) -> Reply {
        let listed = self.listed(state);
        let at = self.at(&listed);
        let Some((_, tensor)) = listed.get(at) else { return Reply::Unknown };
        let page = usize::from(room.height).saturating_sub(2).max(1) as isize;
        let rows = match key.code {
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::PageUp => -page,
            KeyCode::PageDown => page,
            _ => 0,
        };
        match (pane, key.code) {
            (_, KeyCode::Esc) if self.opened => self.opened = false,
            (LIST, KeyCode::Enter) => self.opened = true,
            (LIST, KeyCode::Char('<')) => self.order.before(),
            (LIST, KeyCode::Char('>')) => self.order.next(),
            (LIST, KeyCode::Char('.')) => self.order.reverse(),
            (LIST, _) if rows != 0 => {
                let next = at.saturating_add_signed(rows).min(listed.len() - 1);
                self.selected.clone_from(&listed[next].1.row.name);
            }
            (CHANNELS, _) if rows != 0 => {
                let last = opened::channels(&tensor.values).0.saturating_sub(1);
                self.channel = self.channel.min(last).saturating_add_signed(rows).min(last);
            }
            (VALUES, code) => return self.grid.key(code, rows, &tensor.values),
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
            let top = list::top(self.at(&listed), listed.len(), room.height);
            if let Some((_, tensor)) = listed.get(top + usize::from(at.y) - 1) {
                self.selected.clone_from(&tensor.row.name);
            }
        }
        Reply::Taken
    }

    fn wheel(&mut self, pane: &str, rows: i16, room: Size, state: &State) -> Reply {
        let code = if rows < 0 { KeyCode::Up } else { KeyCode::Down };
        self.key(pane, code.into(), room, state)
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

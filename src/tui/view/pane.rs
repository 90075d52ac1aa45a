//! The trait [`View`]: lays out panes, draws them and handles their keys.

use super::ViewId;
use crate::debugger::record::{RecordView, decodable};
use crate::debugger::{Examination, Outcome, Preview};
use crate::lesson::reading::Act;
use crate::phrase::Phrase;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::{self, ViewKeys};
use crate::tui::list::Step;
use crate::tui::state::State;
use crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect, Size};
use std::fmt::Debug;

/// A part of a view that can have the focus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    /// Its name, unique in the view.
    pub name: &'static str,
    /// The text on the rule above it; without a title there is no rule.
    pub title: String,
    /// Its area, with the rule.
    pub area: Rect,
}

impl Pane {
    /// A pane.
    pub fn new(name: &'static str, title: impl Into<String>, area: Rect) -> Self {
        Self { name, title: title.into(), area }
    }
}

/// A view's reply to a key or the mouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The pane ignores it.
    Unknown,
    /// The pane handled it.
    Taken,
    /// Run a line of the command language.
    Run(String),
    /// Show the recorded state after this many stages.
    Look(usize),
    /// Show a view.
    Show(ViewId),
    /// An action of the user in the lesson.
    Lesson(Act),
    /// Show a place: in a comparison, the number of ticks.
    Place(usize),
}

/// A view: its own state, its panes, how each is drawn, and its keys.
///
/// Everything it shows is in the [`State`]. Its own state (a selected row, a scroll position) may be out of range after
/// the
/// state changed; drawing corrects it.
pub trait View: Debug {
    /// Whether the view has a tab while it is not shown.
    fn has_tab(&self, state: &State) -> bool {
        let _ = state;
        true
    }

    /// The panes in `area`. The first has the focus at first. Never empty.
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane>;

    /// Draws the contents of a pane.
    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect);

    /// The keys that the view handles itself: [`key`](Self::key) gets these and Esc, and no others. Keys that move in
    /// lists are
    /// [steps](Self::step).
    fn bindings(&self) -> &'static [ViewKeys] {
        &[]
    }

    /// The keys that are useful in a pane now, each with a hint of a word or two.
    fn hints(&self, pane: &str, state: &State) -> Vec<(String, Phrase)> {
        let _ = state;
        let shown = |keys: &&ViewKeys| !keys.hint.is_empty() && keys.belong_to(pane);
        let hint = |keys: &ViewKeys| (keymap::names(keys.keys), keys.hint);
        self.bindings().iter().filter(shown).map(hint).collect()
    }

    /// Moves in a pane whose contents have `room`.
    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        let _ = (pane, step, room, state);
        Reply::Unknown
    }

    /// Handles a key in a pane whose contents have `room`.
    fn key(&mut self, pane: &str, key: KeyEvent, room: Size, state: &State) -> Reply {
        let _ = (pane, key, room, state);
        Reply::Unknown
    }

    /// Handles a press of the mouse on a pane, at a position of its contents.
    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let _ = (pane, at, room, state);
        Reply::Unknown
    }

    /// Handles a press on a [part](crate::tui::canvas::Target::Part) of a pane, at a position of the part, whose size
    /// is `room`.
    fn press_part(&mut self, pane: &str, part: usize, at: Position, room: Size, state: &State) -> Reply {
        let _ = (pane, part, at, room, state);
        Reply::Unknown
    }

    /// Handles the mouse wheel over a pane; `rows` is positive downwards.
    fn wheel(&mut self, pane: &str, rows: i16, room: Size, state: &State) -> Reply {
        self.step(pane, Step::Rows(rows.into()), room, state)
    }

    /// The tensors that the VAE decodes while this view is shown, in order of preference: some of
    /// [`decodable`](crate::debugger::record::decodable).
    fn decodes(&self) -> &'static [&'static str] {
        &[]
    }

    /// The pictures that the VAE decodes while this view is shown, in order.
    fn previews(&self, state: &State) -> Vec<Preview> {
        state.record().map_or(vec![], |record| previews_of(record, self.decodes()))
    }

    /// The inspections that this view needs, in order.
    fn examines(&self, state: &State) -> Vec<Examination> {
        let _ = state;
        vec![]
    }

    /// Shows only rows that contain `text`. False if nothing can be filtered.
    fn filter(&mut self, text: &str) -> bool {
        let _ = text;
        false
    }

    /// Takes over what a command showed: its word, its row.
    fn follow(&mut self, outcome: &Outcome) {
        let _ = outcome;
    }

    /// The selection, as text to copy.
    fn selected(&self, pane: &str, state: &State) -> Option<String> {
        let _ = (pane, state);
        None
    }
}

/// The requests for a record's pictures, for those of `names` that the VAE can decode.
pub(super) fn previews_of(record: &RecordView, names: &[&'static str]) -> Vec<Preview> {
    let decodable = decodable(record.stage).iter().filter(|name| names.contains(name));
    decodable.map(|name| Preview { record: record.id, name }).collect()
}

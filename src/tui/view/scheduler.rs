//! The scheduler's step in formulas.

use super::panes::{Pane, Panes};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use ratatui::layout::Rect;

/// The scheduler's step in formulas.
#[derive(Debug, Default)]
pub struct Scheduler;

impl Panes for Scheduler {
    fn panes(&self, _: &State, area: Rect) -> Vec<Pane> {
        vec![Pane::new("scheduler", "scheduler", area)]
    }

    fn draw(&self, _: &str, _: &mut Canvas<'_>, _: Rect) {}
}

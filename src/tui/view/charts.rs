//! Numbers over the steps.

use super::panes::{Pane, Panes};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use ratatui::layout::Rect;

/// Numbers over the steps.
#[derive(Debug, Default)]
pub struct Charts;

impl Panes for Charts {
    fn panes(&self, _: &State, area: Rect) -> Vec<Pane> {
        vec![Pane::new("charts", "charts", area)]
    }

    fn draw(&self, _: &str, _: &mut Canvas<'_>, _: Rect) {}
}

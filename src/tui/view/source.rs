//! The code of the stage.

use super::panes::{Pane, Panes};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use ratatui::layout::Rect;

/// The code of the stage.
#[derive(Debug, Default)]
pub struct Source;

impl Panes for Source {
    fn panes(&self, _: &State, area: Rect) -> Vec<Pane> {
        vec![Pane::new("source", "source", area)]
    }

    fn draw(&self, _: &str, _: &mut Canvas<'_>, _: Rect) {}
}

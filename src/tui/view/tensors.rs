//! Every tensor that there is, and one of them opened.

use super::panes::{Pane, Panes};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use ratatui::layout::Rect;

/// Every tensor that there is, and one of them opened.
#[derive(Debug, Default)]
pub struct Tensors;

impl Panes for Tensors {
    fn panes(&self, _: &State, area: Rect) -> Vec<Pane> {
        vec![Pane::new("tensors", "tensors", area)]
    }

    fn draw(&self, _: &str, _: &mut Canvas<'_>, _: Rect) {}
}

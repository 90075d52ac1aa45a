//! Both residuals, and what guidance made of them.

use super::panes::{Pane, Panes};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use ratatui::layout::Rect;

/// Both residuals, and what guidance made of them.
#[derive(Debug, Default)]
pub struct Residuals;

impl Panes for Residuals {
    fn panes(&self, _: &State, area: Rect) -> Vec<Pane> {
        vec![Pane::new("residuals", "residuals", area)]
    }

    fn draw(&self, _: &str, _: &mut Canvas<'_>, _: Rect) {}
}

//! Tokens and embeddings.

use super::panes::{Pane, Panes};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use ratatui::layout::Rect;

/// Tokens and embeddings.
#[derive(Debug, Default)]
pub struct Prompt;

impl Panes for Prompt {
    fn panes(&self, _: &State, area: Rect) -> Vec<Pane> {
        vec![Pane::new("prompt", "prompt", area)]
    }

    fn draw(&self, _: &str, _: &mut Canvas<'_>, _: Rect) {}
}

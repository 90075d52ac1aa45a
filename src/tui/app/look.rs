//! Moving through recorded stages: nothing is computed, and nothing waits for the worker.

use super::{App, Effect};
use crate::tui::state::Activity;

impl App {
    /// Shows the place after `done` stages, as far as it is recorded; in a comparison, of the base.
    pub(super) fn look_at(&mut self, done: usize) -> Vec<Effect> {
        match &self.state.view {
            Some(view) => self.look(view.place_of(done)),
            None => vec![],
        }
    }

    /// Shows a place, as far as it is recorded.
    pub(super) fn look(&mut self, place: usize) -> Vec<Effect> {
        let Some(view) = &self.state.view else { return vec![] };
        let place = place.min(view.last_place());
        if place == self.state.place() {
            return vec![];
        }
        let idle = self.state.activity == Activity::Idle;
        if self.state.is_inside() {
            // A paused stage stays where it is: only the shown place changes.
            self.state.look = Some(place).filter(|place| *place != view.cursor);
            return vec![];
        }
        // At the newest stage the shown place follows what runs.
        self.state.look = Some(place).filter(|place| idle || *place < view.last_place());
        if idle { self.look_elsewhere(place) } else { vec![] }
    }

    /// Plays the recorded stages from the shown place, or from the start when it is the end; or stops.
    pub(super) fn play(&mut self) -> Vec<Effect> {
        let recorded = self.state.view.as_ref().map_or(0, |view| view.last_place());
        self.playing = !self.playing && recorded > 1;
        if self.playing && self.state.place() >= recorded {
            return self.look(1);
        }
        vec![]
    }

    /// The next frame while playing.
    pub(super) fn play_on(&mut self) -> Vec<Effect> {
        let recorded = self.state.view.as_ref().map_or(0, |view| view.last_place());
        let next = self.state.place() + 1;
        self.playing &= next <= recorded;
        if self.playing { self.look(next) } else { vec![] }
    }
}

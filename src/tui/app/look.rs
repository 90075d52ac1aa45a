//! Looking at what is recorded: nothing is computed, and nothing waits for the worker.

use super::{App, Effect};
use crate::tui::state::Activity;

impl App {
    /// Looks at where `done` stages are done, as far as it is recorded; while comparing, of the base.
    pub(super) fn look_at(&mut self, done: usize) -> Vec<Effect> {
        match &self.state.view {
            Some(view) => self.look(view.place_of(done)),
            None => vec![],
        }
    }

    /// Looks at a place, as far as it is recorded.
    pub(super) fn look(&mut self, place: usize) -> Vec<Effect> {
        let Some(view) = &self.state.view else { return vec![] };
        let place = place.min(view.last_place());
        if place == self.state.place() {
            return vec![];
        }
        let idle = self.state.activity == Activity::Idle;
        // At the newest stage the reader goes along with what runs.
        self.state.look = Some(place).filter(|place| idle || *place < view.last_place());
        if idle { self.look_elsewhere(place) } else { vec![] }
    }

    /// Plays what is recorded from where the reader looks, from the start when that is the end; or stops.
    pub(super) fn play(&mut self) -> Vec<Effect> {
        let recorded = self.state.view.as_ref().map_or(0, |view| view.last_place());
        self.playing = !self.playing && recorded > 1;
        if self.playing && self.state.place() >= recorded {
            return self.look(1);
        }
        vec![]
    }

    /// The next frame of what is played.
    pub(super) fn play_on(&mut self) -> Vec<Effect> {
        let recorded = self.state.view.as_ref().map_or(0, |view| view.last_place());
        let next = self.state.place() + 1;
        self.playing &= next <= recorded;
        if self.playing { self.look(next) } else { vec![] }
    }
}

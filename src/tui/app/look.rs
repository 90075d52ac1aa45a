//! Looking at what is recorded: nothing is computed, and nothing waits for the worker.

use super::{App, Effect};
use crate::tui::state::Activity;

impl App {
    /// Looks at where `done` stages are done, as far as it is recorded.
    pub(super) fn look(&mut self, done: usize) -> Vec<Effect> {
        let Some(view) = &self.state.view else { return vec![] };
        let done = done.min(view.recorded());
        if done == self.state.cursor() {
            return vec![];
        }
        let idle = self.state.activity == Activity::Idle;
        // At the newest stage the reader goes along with what runs.
        self.state.look = Some(done).filter(|done| idle || *done < view.recorded());
        if idle { self.look_elsewhere(done) } else { vec![] }
    }

    /// Plays what is recorded from where the reader looks, from the start when that is the end; or stops.
    pub(super) fn play(&mut self) -> Vec<Effect> {
        let recorded = self.state.view.as_ref().map_or(0, |view| view.recorded());
        self.playing = !self.playing && recorded > 1;
        if self.playing && self.state.cursor() >= recorded {
            return self.look(1);
        }
        vec![]
    }

    /// The next frame of what is played.
    pub(super) fn play_on(&mut self) -> Vec<Effect> {
        let recorded = self.state.view.as_ref().map_or(0, |view| view.recorded());
        let next = self.state.cursor() + 1;
        self.playing &= next <= recorded;
        if self.playing { self.look(next) } else { vec![] }
    }
}

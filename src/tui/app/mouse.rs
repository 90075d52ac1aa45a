//! The mouse: it selects, scrolls, goes to stages, and zooms.

use super::{App, Effect, Mode};
use crate::tui::canvas::{self, Hit, Target};
use crate::tui::view::Reply;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;
use std::time::{Duration, Instant};

/// Rows that the wheel turns at once.
const WHEEL: i16 = 3;
/// Two presses within this time are one of two.
const TWICE: Duration = Duration::from_millis(400);

impl App {
    /// What becomes of the mouse.
    pub(super) fn mouse(&mut self, event: MouseEvent, when: Instant) -> Vec<Effect> {
        let place = Position::new(event.column, event.row);
        let Some(hit) = canvas::at(&self.hits, place) else { return vec![] };
        // What was typed or is being read stays open; only the walk behind it is pressed on.
        if !matches!(self.mode, Mode::Walk) {
            return vec![];
        }
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => self.press(hit, place, when),
            MouseEventKind::Drag(MouseButton::Left) => match hit.target {
                Target::Place(place) => self.look(place),
                _ => vec![],
            },
            MouseEventKind::ScrollDown => self.wheel(place, WHEEL),
            MouseEventKind::ScrollUp => self.wheel(place, -WHEEL),
            _ => vec![],
        }
    }

    fn press(&mut self, hit: Hit, place: Position, when: Instant) -> Vec<Effect> {
        match hit.target {
            Target::Tab(tab) => {
                self.show(tab);
                vec![]
            }
            Target::Place(place) => self.look(place),
            Target::Stage(done) => self.look_at(done),
            Target::Gutter(index) => self.toggle_breakpoint(index),
            Target::Pane(name) => {
                self.focus[self.tab.index()] = name;
                let before = self.pressed.replace((name, when));
                if before.is_some_and(|(pane, then)| pane == name && when.duration_since(then) < TWICE) {
                    self.pressed = None;
                    self.zoomed = !self.zoomed;
                    return vec![];
                }
                let at = Position::new(place.x - hit.area.x, place.y - hit.area.y);
                let room = hit.area.as_size();
                let reply = self.views.of_mut(self.tab).press(name, at, room, &self.state);
                self.reply(reply)
            }
        }
    }

    /// The wheel goes to the pane under the mouse, whichever keys go to.
    fn wheel(&mut self, place: Position, rows: i16) -> Vec<Effect> {
        let panes = self.hits.iter().rev().filter_map(|hit| match hit.target {
            Target::Pane(name) if hit.area.contains(place) => Some((name, hit.area.as_size())),
            _ => None,
        });
        let Some((name, room)) = panes.into_iter().next() else { return vec![] };
        let reply = self.views.of_mut(self.tab).wheel(name, rows, room, &self.state);
        self.reply(reply)
    }

    /// What a pane asks for.
    pub(super) fn reply(&mut self, reply: Reply) -> Vec<Effect> {
        match reply {
            Reply::Unknown | Reply::Taken => vec![],
            Reply::Run(line) => self.give(line),
            Reply::Look(done) => self.look_at(done),
            Reply::Place(place) => self.look(place),
        }
    }

    fn toggle_breakpoint(&mut self, index: usize) -> Vec<Effect> {
        let Some(line) = self.state.view.as_ref().and_then(|view| view.stages.get(index)) else {
            return vec![];
        };
        let command = match line.breakpoint {
            Some(id) => format!("delete {id}"),
            None => format!("break {}", line.stage),
        };
        self.give(command)
    }
}

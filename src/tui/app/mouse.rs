//! The mouse: it selects, scrolls, goes to stages, and zooms.

use super::{App, Effect, Mode};
use crate::tui::canvas::{self, Hit, Target};
use crate::tui::state::Kind;
use crate::tui::view::{self, LESSON, Reply};
use crossterm::event::{KeyCode, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;
use std::time::{Duration, Instant};
use tr::tr;

/// Rows per step of the wheel.
const WHEEL: i16 = 3;
/// Two presses within this time are a double press.
const TWICE: Duration = Duration::from_millis(400);

impl App {
    /// Handles a mouse event.
    pub(super) fn mouse(&mut self, event: MouseEvent, when: Instant) -> Vec<Effect> {
        let place = Position::new(event.column, event.row);
        let pressed = event.kind == MouseEventKind::Down(MouseButton::Left);
        if let Some(Target::Key(key)) =
            canvas::at(&self.hits, place).filter(|_| pressed).map(|hit| hit.target)
        {
            return self.key(key);
        }
        if let Mode::Reading(page) = &mut self.mode {
            let key = match event.kind {
                MouseEventKind::ScrollDown => KeyCode::Down,
                MouseEventKind::ScrollUp => KeyCode::Up,
                _ => return vec![],
            };
            for _ in 0..WHEEL {
                page.key(key, view::page_area(self.size));
            }
            return vec![];
        }
        let Some(hit) = canvas::at(&self.hits, place) else { return vec![] };
        // An input line or a page stays open; only the view itself can be pressed.
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
                self.turn_to(tab);
                vec![]
            }
            Target::Stage(done) if self.state.view.as_ref().is_some_and(|view| done > view.recorded()) => {
                if let Some(line) = self.state.view.as_ref().and_then(|view| view.stages.get(done)) {
                    let text = tr!("{0} is still to come: `:until {0}` runs up to it", line.stage);
                    self.say(Kind::Info, &text);
                }
                vec![]
            }
            Target::Place(place) => self.look(place),
            // Handled wherever a line or a page is open too.
            Target::Key(key) => self.key(key),
            Target::Stage(done) => self.look_at(done),
            Target::Gutter(index) => self.toggle_breakpoint(index),
            Target::Pane(name) | Target::Part(name, _) => {
                self.focus_on(name);
                let at = Position::new(place.x - hit.area.x, place.y - hit.area.y);
                let room = hit.area.as_size();
                if name == LESSON {
                    // A press there acts, so that two presses are two actions.
                    let (lesson, state) = self.of_pane_mut(name);
                    let reply = lesson.press(name, at, room, state);
                    if reply != Reply::Unknown {
                        self.pressed = None;
                        return self.reply(reply);
                    }
                }
                let before = self.pressed.replace((name, when));
                if before.is_some_and(|(pane, then)| pane == name && when.duration_since(then) < TWICE) {
                    self.pressed = None;
                    self.zoomed = !self.zoomed;
                    return vec![];
                }
                let (view, state) = self.of_pane_mut(name);
                let reply = match hit.target {
                    Target::Part(_, part) => view.press_part(name, part, at, room, state),
                    _ => view.press(name, at, room, state),
                };
                self.reply(reply)
            }
        }
    }

    /// The wheel scrolls the pane under the mouse, whichever is focused.
    fn wheel(&mut self, place: Position, rows: i16) -> Vec<Effect> {
        let panes = self.hits.iter().rev().filter_map(|hit| match hit.target {
            Target::Pane(name) if hit.area.contains(place) => Some((name, hit.area.as_size())),
            _ => None,
        });
        let Some((name, room)) = panes.into_iter().next() else { return vec![] };
        let (view, state) = self.of_pane_mut(name);
        let reply = view.wheel(name, rows, room, state);
        self.reply(reply)
    }

    /// Carries out a pane's request.
    pub(super) fn reply(&mut self, reply: Reply) -> Vec<Effect> {
        match reply {
            Reply::Unknown | Reply::Taken => vec![],
            Reply::Run(line) => self.give(line),
            Reply::Look(done) => self.look_at(done),
            Reply::Place(place) => self.look(place),
            Reply::Show(tab) => {
                self.turn_to(tab);
                vec![]
            }
            Reply::Lesson(act) => self.act_in_lesson(act),
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

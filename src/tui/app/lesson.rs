//! The lesson beside the views: passes the user's input to its [`Reading`], and carries out its requests.

use super::{App, Effect};
use crate::debugger::worker::COME_BACK;
use crate::lesson::Reading;
use crate::lesson::reading::{Act, LessonEffect};
use crate::tui::state::{Activity, Kind};
use crate::tui::view::{self, ViewId};
use ratatui::layout::Rect;

impl App {
    /// Opens a lesson and gives it the focus.
    pub fn open_lesson(&mut self, reading: Reading) {
        self.state.lesson = Some(reading);
        self.on_lesson = true;
    }

    /// The areas of the view and of the lesson in `body`.
    pub fn split(&self, body: Rect) -> (Option<Rect>, Option<Rect>) {
        if self.state.lesson.is_none() {
            return (Some(body), None);
        }
        match view::beside(body) {
            Some([view, lesson]) if !self.zoomed => (Some(view), Some(lesson)),
            _ if self.on_lesson => (None, Some(body)),
            _ => (Some(body), None),
        }
    }

    /// Whether the lesson covers the view.
    pub fn lesson_covers(&self) -> bool {
        self.on_lesson && self.split(Rect::from(self.size)).0.is_none()
    }

    /// Focuses the lesson, or the view.
    pub(super) fn toggle_lesson(&mut self) {
        match self.state.lesson {
            Some(_) => self.on_lesson = !self.on_lesson,
            None => self.say(Kind::Info, "no lesson is open; `diffuscope lesson run NAME` opens one"),
        }
    }

    /// Handles an action of the user in the lesson.
    pub(super) fn act_in_lesson(&mut self, act: Act) -> Vec<Effect> {
        let idle = self.state.activity == Activity::Idle;
        let Some(lesson) = self.state.lesson.as_mut() else {
            self.toggle_lesson();
            return vec![];
        };
        if !idle {
            self.say(Kind::Info, "a command is running; the lesson continues when it is done");
            return vec![];
        }
        let wishes = lesson.act(act);
        if wishes.is_empty() && act == Act::ComeBack {
            self.say(Kind::Info, "the lesson is already here");
        }
        self.fulfil(wishes)
    }

    /// Carries out a request of the lesson.
    pub(super) fn fulfil(&mut self, wishes: Vec<LessonEffect>) -> Vec<Effect> {
        let mut effects = vec![];
        for wish in wishes {
            match wish {
                LessonEffect::Run(line) => effects.extend(self.order(line)),
                LessonEffect::ComeBack => {
                    self.begin(COME_BACK);
                    effects.push(Effect::ComeBack);
                }
                LessonEffect::Mark => effects.push(Effect::Mark),
                LessonEffect::Evaluate(number, expressions) => {
                    effects.push(Effect::Evaluate(number, expressions))
                }
                LessonEffect::Show(name) => self.tab = ViewId::named(name).unwrap_or(self.tab),
                LessonEffect::Keep(standing) => effects.push(Effect::Keep(standing)),
            }
        }
        effects
    }

    /// The worker moves to another place, and the lesson's numbers are then those of that place.
    pub(super) fn look_elsewhere(&mut self, done: usize) -> Vec<Effect> {
        let wishes = self.state.lesson.as_mut().map_or(vec![], Reading::looked);
        let mut effects = vec![Effect::Look(done)];
        effects.extend(self.fulfil(wishes));
        effects
    }
}

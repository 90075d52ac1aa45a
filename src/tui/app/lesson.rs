//! The lesson that is read beside the views: what its reader does goes to its [`Reading`], and what that wishes for is
//! done.

use super::{App, Effect};
use crate::debugger::worker::COME_BACK;
use crate::lesson::Reading;
use crate::lesson::reading::{Act, LessonEffect};
use crate::tui::state::{Activity, Kind};
use crate::tui::view::{self, ViewId};
use ratatui::layout::Rect;

impl App {
    /// Opens a lesson: it has the keys at first.
    pub fn open_lesson(&mut self, reading: Reading) {
        self.state.lesson = Some(reading);
        self.on_lesson = true;
    }

    /// Where the view is in `body`, and where the lesson.
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

    /// Whether the lesson stands in the place of the view.
    pub fn lesson_covers(&self) -> bool {
        self.on_lesson && self.split(Rect::from(self.size)).0.is_none()
    }

    /// Gives keys to the lesson, or to the view.
    pub(super) fn toggle_lesson(&mut self) {
        match self.state.lesson {
            Some(_) => self.on_lesson = !self.on_lesson,
            None => self.say(Kind::Said, "no lesson is open; `diffuscope lesson run NAME` opens one"),
        }
    }

    /// What the reader does in the lesson.
    pub(super) fn act_in_lesson(&mut self, act: Act) -> Vec<Effect> {
        let idle = self.state.activity == Activity::Idle;
        let Some(lesson) = self.state.lesson.as_mut() else {
            self.toggle_lesson();
            return vec![];
        };
        if !idle {
            self.say(Kind::Said, "something runs; the lesson goes on when it is done");
            return vec![];
        }
        let wishes = lesson.act(act);
        if wishes.is_empty() && act == Act::ComeBack {
            self.say(Kind::Said, "this is where the lesson is");
        }
        self.fulfil(wishes)
    }

    /// Does what the lesson wishes for.
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

    /// The worker is to look elsewhere, and the lesson's numbers are then those of that place.
    pub(super) fn look_elsewhere(&mut self, done: usize) -> Vec<Effect> {
        let wishes = self.state.lesson.as_mut().map_or(vec![], Reading::looked);
        let mut effects = vec![Effect::Look(done)];
        effects.extend(self.fulfil(wishes));
        effects
    }
}

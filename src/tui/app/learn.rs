//! Events of the worker, and what the views need from it.

use super::{App, Effect, Mode};
use crate::debugger::{Event, Preview};
use crate::lesson::Reading;
use crate::tui::Error;
use crate::tui::state::Activity;
use crate::tui::view::ViewId;

impl App {
    pub(super) fn learn(&mut self, event: Event) -> Vec<Effect> {
        let event = match event {
            Event::Evaluated(number, answers) => {
                let wishes = self.state.lesson.as_mut().map(|lesson| lesson.evaluated(number, answers));
                return self.fulfil(wishes.unwrap_or_default());
            }
            event => event,
        };
        let is_ready = matches!(event, Event::Ready(..));
        let said = match &event {
            Event::Done(outcome, _) => Some(outcome.brief()),
            _ => None,
        };
        // What its commands say stands in the lesson.
        let of_lesson = self.state.lesson.as_ref().is_some_and(Reading::is_busy);
        let compared = self.state.is_comparing();
        let news = self.state.learn(event);
        match (compared, self.state.is_comparing()) {
            (false, true) => self.show(ViewId::Compare),
            (true, false) if self.tab == ViewId::Compare => self.show(ViewId::Overview),
            _ => {}
        }
        if let Some(error) = news.load_failed {
            return vec![Effect::End(Err(Error::Load(error)))];
        }
        if news.quit {
            return vec![Effect::End(Ok(()))];
        }
        // A line that is being typed is not taken away.
        let typing = matches!(self.mode, Mode::Typing(..));
        match (news.output, news.picture) {
            (Some(output), _) => {
                self.output = Some(output);
                if !typing && !of_lesson {
                    self.show_output();
                }
            }
            (None, Some(picture)) if !typing => self.mode = Mode::Showing(picture),
            _ => {}
        }
        if !news.idle {
            return vec![];
        }
        let wishes = self.state.lesson.as_mut().map(|lesson| match is_ready {
            true => lesson.start(),
            false => lesson.ran(said),
        });
        let mut effects = self.fulfil(wishes.unwrap_or_default());
        if self.state.activity != Activity::Idle {
            // The lesson goes on from where it is, wherever its reader looked meanwhile.
            self.state.look = None;
            return effects;
        }
        // Where the reader looked meanwhile is where the next command starts; a stage that is stepped through waits.
        if let Some(done) = self.state.look.filter(|_| !self.state.is_inside()) {
            effects.extend(self.look_elsewhere(done));
        }
        if let Some(line) = self.state.waiting.pop_front() {
            effects.extend(self.order(line));
        }
        effects
    }

    /// Asks for the pictures that the view wants of the VAE, when they are others than those asked for last.
    pub(super) fn ask_for_previews(&mut self) -> Option<Effect> {
        let view = self.state.view.as_ref()?;
        let missing = |preview: &Preview| self.state.previews.get(preview.record, preview.name).is_none();
        let wanted: Vec<Preview> = match self.state.record() {
            Some(record) if view.previewing.is_of(record.stage) => {
                self.views.of(self.tab).previews(&self.state).into_iter().filter(missing).collect()
            }
            _ => vec![],
        };
        // What was asked for last and has come since need not be taken back.
        let news = wanted.iter().any(|preview| !self.asked.contains(preview));
        news.then(|| {
            self.asked.clone_from(&wanted);
            Effect::Previews(wanted)
        })
    }

    /// Asks what the view wants to know of the inside of stages, when that is other than what was asked last; what nobody
    /// looks at any more is given up.
    pub(super) fn examine(&mut self) -> Option<Effect> {
        let mut wanted = self.views.of(self.tab).examines(&self.state);
        wanted.retain(|asked| self.state.findings.get(asked).is_none());
        self.examining.retain(|asked| self.state.findings.get(asked).is_none());
        (wanted != self.examining).then(|| {
            self.examining.clone_from(&wanted);
            Effect::Examine(wanted)
        })
    }
}

//! Events of the worker, and requests of the views to it.

use super::{App, Effect, Mode};
use crate::debugger::{Event, Preview};
use crate::lesson::Reading;
use crate::tui::Error;
use crate::tui::state::Activity;
use crate::tui::view::ViewId;

impl App {
    /// The number of the recorded run that was compared last.
    fn difference(&self) -> usize {
        let view = self.state.view.as_ref();
        view.and_then(|view| view.difference.as_ref()).map_or(0, |difference| difference.number)
    }

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
        if let Event::Done(outcome, _) = &event {
            self.views.follow(outcome);
        }
        let was_inside = self.state.is_inside();
        // The lesson shows the output of its own commands.
        let of_lesson = self.state.lesson.as_ref().is_some_and(Reading::is_busy);
        let compared = self.state.is_comparing();
        let difference = self.difference();
        let news = self.state.learn(event);
        // A run that was compared is shown in its own view, not as text.
        let is_compared = self.difference() > difference;
        if is_compared {
            self.show(ViewId::Difference);
        }
        // Only the source shows where a stage is paused.
        let pauses = !was_inside && self.state.is_inside();
        if pauses && self.tab == ViewId::Overview && self.state.lesson.is_none() {
            self.show(ViewId::Source);
        }
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
        // A line that is being typed stays open.
        let typing = matches!(self.mode, Mode::Typing(..));
        match (news.output, news.picture) {
            (Some(output), _) => {
                self.output = Some(output);
                if !typing && !of_lesson && !is_compared {
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
            // The lesson continues at its own place, wherever the user looked meanwhile.
            self.state.look = None;
            return effects;
        }
        // The next command starts where the user looked meanwhile; a paused stage stays paused.
        if let Some(done) = self.state.look.filter(|_| !self.state.is_inside()) {
            effects.extend(self.look_elsewhere(done));
        }
        if let Some(line) = self.state.waiting.pop_front() {
            effects.extend(self.order(line));
        }
        effects
    }

    /// Requests the VAE's pictures that the view shows, when they differ from the last request.
    pub(super) fn ask_for_previews(&mut self) -> Option<Effect> {
        let view = self.state.view.as_ref()?;
        let missing = |preview: &Preview| self.state.previews.get(preview.record, preview.name).is_none();
        let wanted: Vec<Preview> = match self.state.record() {
            Some(record) if view.previewing.is_of(record.stage) => {
                self.views.of(self.tab).previews(&self.state).into_iter().filter(missing).collect()
            }
            _ => vec![],
        };
        // A request that has been answered need not be withdrawn.
        let news = wanted.iter().any(|preview| !self.asked.contains(preview));
        news.then(|| {
            self.asked.clone_from(&wanted);
            Effect::Previews(wanted)
        })
    }

    /// Requests the inspections that the view shows, when they differ from the last request, and withdraws those that
    /// it no
    /// longer needs.
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

//! Moving: the cursor over what is recorded, the run at its tip.

use super::breakpoints::Hit;
use super::scope::Scope;
use super::steps::Walked;
use super::{Session, SessionError, SessionHost};
use crate::debugger::language::place::Place;
use crate::debugger::outcome::{Outcome, Shown};
use crate::debugger::record::TensorRow;
use crate::debugger::timeline::Timeline;
use crate::debugger::timeline::comparison::Comparison;
use crate::pipeline::{self, Snapshot, Stage, StageRecord};
use crate::scheduler::step::timestep_text;
use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::Arc;
use tr::tr;

impl Session {
    /// Advances stage by stage, over recorded ones and at the tip by running them, until `arrived`, a breakpoint, or
    /// the end.
    pub(super) fn go_on(
        &mut self,
        host: &mut dyn SessionHost,
        mut arrived: impl FnMut(&Timeline) -> bool,
    ) -> Result<Outcome, SessionError> {
        if self.timeline().position().is_none() {
            return Err(pipeline::Error::Complete.into());
        }
        let (mut warnings, mut has_moved) = (vec![], false);
        loop {
            match self.forward_one(host) {
                Ok(Walked::Done(warned)) => warnings.extend(warned),
                Ok(Walked::Halted(stopped)) => return self.frame(stopped),
                Err(pipeline::Error::Forward(interrupted @ crate::nn::Error::Interrupted(_))) => {
                    return self.moved(Some(interrupted.to_string()), warnings);
                }
                // The end of a record is where a run stops, and no failure.
                Err(pipeline::Error::NotRecorded(why)) if has_moved => {
                    return self.moved(Some(why), warnings);
                }
                Err(other) => return Err(other.into()),
            }
            has_moved = true;
            let arrived = arrived(self.timeline());
            let hit = self.stop_here(host)?;
            if arrived || hit.is_some() || self.timeline().position().is_none() {
                return self.stopped(hit, warnings);
            }
        }
    }

    /// One stage on, a recorded one or at the tip by running it; of a comparison, one tick. A recorded one runs again where
    /// a breakpoint may stop it at a module.
    fn forward_one(&mut self, host: &mut dyn SessionHost) -> Result<Walked, pipeline::Error> {
        if self.comparing {
            return self.tick_on(host).map(Walked::Done);
        }
        let next = self.timeline().position();
        if self.inside.is_some() || next.is_some_and(|stage| self.may_halt_in(stage)) {
            return self.run_watched(host);
        }
        if self.timeline_mut().forward() {
            return Ok(Walked::Done(vec![]));
        }
        if let Some(stage) = next {
            let modules = self.backend.modules_in(stage, self.timeline().tip().request());
            host.stage_begins(stage, Some(modules));
        }
        let backend = Arc::clone(&self.backend);
        let next = backend.advance(self.timeline().tip(), host)?;
        self.timeline_mut().push(next);
        host.stage_done(self);
        Ok(Walked::Done(self.timeline().here().last().map_or(vec![], |record| record.warnings.clone())))
    }

    /// One stage back; of a comparison, one tick. False at the start.
    fn backward_one(&mut self) -> bool {
        match self.comparison().map(Comparison::tick) {
            Some(0) => false,
            Some(tick) => {
                self.look_tick(tick - 1);
                true
            }
            None => self.timeline_mut().backward(),
        }
    }

    /// Why a run stops here, when it does. In a stage that made NaN or infinity, the module or line that did is searched.
    pub(super) fn stop_here(&mut self, host: &mut dyn SessionHost) -> Result<Option<String>, SessionError> {
        let Some(hit) = self.hit() else { return Ok(None) };
        let told = stop_message(&hit);
        if !matches!(hit, Hit::NotFinite(..)) || self.comparing {
            return Ok(Some(told));
        }
        self.caught = self.timeline().here().records().last().cloned();
        self.find_not_finite(told, host).map(Some)
    }

    /// The breakpoint that stops a run that has just come here, or a comparison: after the tick in which its base came to
    /// the stage, or any variant made what is not finite.
    fn hit(&mut self) -> Option<Hit> {
        let scope = Scope::new(&self.timelines, None, &self.backend, &self.texts, &self.outputs);
        let Some(comparison) = self.comparison.as_ref().filter(|_| self.comparing) else {
            // What stopped the run once, and was looked into, does not stop it again.
            let is_new = |record: &&StageRecord| {
                self.caught.as_ref().is_none_or(|caught| !std::ptr::eq(&**caught, *record))
            };
            let last = scope.last().filter(is_new).map(|record| (None, record));
            let stages: Vec<Stage> = scope.position().into_iter().collect();
            return self.breakpoints.hit(&scope, &stages, last);
        };
        let (mut made, mut stages) = (vec![], vec![]);
        for (member, ran) in comparison.ran() {
            let Some(branch) = self.timelines.get(member.branch) else { continue };
            let records = branch.timeline.here().records();
            let new = ran.clone().filter_map(|done| records.get(done.checked_sub(1)?));
            made.extend(new.map(|record| (Some(branch.name.as_str()), &**record)));
            if Some(member.branch) == comparison.base_branch() {
                let steps = branch.timeline.here().request().steps();
                stages.extend(ran.filter_map(|done| Stage::at(done, &steps)));
            }
        }
        self.breakpoints.hit(&scope, &stages, made)
    }

    /// Over `count` stages; inside a stage, over `count` lines or modules.
    pub(super) fn next(&mut self, count: usize, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        if self.inside.is_some() {
            return self.next_inside(count, host);
        }
        let mut left = count;
        self.go_on(host, |_| {
            left -= 1;
            left == 0
        })
    }

    /// Back over `count` stages, or to the start.
    pub(super) fn back(&mut self, count: usize) -> Result<Outcome, SessionError> {
        if self.leave() {
            return self.moved(None, vec![]);
        }
        self.check_not_at_start()?;
        for _ in 0..count {
            if !self.backward_one() {
                break;
            }
        }
        self.moved(None, vec![])
    }

    /// Back to a breakpoint, or to the start.
    pub(super) fn reverse_continue(&mut self) -> Result<Outcome, SessionError> {
        self.leave();
        self.check_not_at_start()?;
        let mut hit = None;
        while hit.is_none() && self.backward_one() {
            hit = self.hit();
        }
        self.moved(hit.as_ref().map(stop_message), vec![])
    }

    fn check_not_at_start(&self) -> Result<(), SessionError> {
        match self.timeline().cursor() {
            0 => Err(SessionError::Refused(tr!("nothing is before encode_prompt; `next` goes on"))),
            _ => Ok(()),
        }
    }

    /// On to before `place`, which must lie ahead.
    pub(super) fn until(
        &mut self,
        place: Place,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        self.check_place(place)?;
        self.check_any_step(place)?;
        let is_reached = match (place, self.timeline().position()) {
            (_, None) => true,
            (Place::Stage(stage), Some(next)) => stage <= next,
            (Place::AnyStep, Some(next)) => next == Stage::VaeDecode,
        };
        if is_reached {
            let here = self.position_name();
            return Err(SessionError::Refused(tr!(
                "{place} does not lie ahead: {here} is where the run stands; `goto {place}` goes back",
                place,
                here
            )));
        }
        self.go_on(host, |timeline| timeline.position().is_some_and(|next| place.is_at(next)))
    }

    /// To before `place`, either way; `denoise` alone is its first step.
    pub(super) fn goto(&mut self, place: Place, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        self.check_place(place)?;
        let stage = self.stage_at(place)?;
        let target = stage.index(&self.timeline().here().request().steps());
        match target.cmp(&self.timeline().cursor()) {
            Ordering::Greater => self.go_on(host, |timeline| timeline.cursor() == target),
            Ordering::Equal => {
                self.leave();
                self.moved(None, vec![])
            }
            Ordering::Less => {
                self.leave();
                let place = self.comparison().map_or(target, |comparison| comparison.tick_of(target));
                self.look(place);
                self.moved(None, vec![])
            }
        }
    }

    /// To the start, with the settings as they are here; what was recorded is dropped, but for a run that was recorded elsewhere.
    pub(super) fn restart(&mut self) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("restart")?;
        self.leave();
        let request = self.timeline().here().request().clone();
        let Ok(models) = self.backend.models() else {
            self.timeline_mut().look(0);
            return self.moved(None, vec![]);
        };
        let start = Snapshot::start(request, models)?;
        let dropped = self.timeline().recorded();
        self.timelines.current_mut().timeline = Timeline::new(start);
        self.timelines.current_mut().origin = None;
        let mut outcome = self.moved(None, vec![])?;
        if dropped > 0 {
            let stages = if dropped == 1 { "stage" } else { "stages" };
            outcome.messages.push(tr!("{dropped} recorded {stages} dropped", dropped, stages));
        }
        Ok(outcome)
    }

    /// Refuses a step that the run does not have.
    pub(super) fn check_place(&self, place: Place) -> Result<(), SessionError> {
        let Place::Stage(Stage::Denoise { step }) = place else { return Ok(()) };
        let request = self.timeline().here().request();
        let (n, steps) = (request.num_inference_steps, request.steps());
        if steps.contains(&step) {
            return Ok(());
        }
        if steps.is_empty() {
            return self.check_any_step(Place::AnyStep);
        }
        let (first, last) = (steps.start, steps.end - 1);
        // Heun and PNDM call the UNet more often than once a step.
        let of_run = match steps.end {
            calls if calls == n => tr!("{n} steps", n),
            calls => tr!("{n} steps ({calls} calls)", n, calls),
        };
        Err(SessionError::Refused(if step < steps.start {
            tr!(
                "denoise {step} is not in this run: it starts from a picture at strength {}, with denoise {first}; \
                 expected denoise {first} to {last}; a higher strength starts earlier",
                request.strength,
                step,
                first,
                last
            )
        } else {
            tr!(
                "denoise {step} is not in this run of {of_run}; expected denoise {first} to {last}",
                step,
                of_run,
                first,
                last
            )
        }))
    }

    /// Refuses `denoise` where the run has no step.
    fn check_any_step(&self, place: Place) -> Result<(), SessionError> {
        let request = self.timeline().here().request();
        if place == Place::AnyStep && request.steps().is_empty() {
            return Err(SessionError::Refused(tr!(
                "this run has no step of denoise: of {} steps strength {} leaves none; a higher strength does",
                request.num_inference_steps,
                request.strength
            )));
        }
        Ok(())
    }

    /// The stage that `goto` and `fork` mean: `denoise` alone is the first step.
    pub(super) fn stage_at(&self, place: Place) -> Result<Stage, SessionError> {
        self.check_any_step(place)?;
        Ok(match place {
            Place::Stage(stage) => stage,
            Place::AnyStep => Stage::Denoise { step: self.timeline().here().request().steps().start },
        })
    }

    /// What a move shows: where it came to, and what the stage before made.
    pub(super) fn moved(
        &self,
        stopped: Option<String>,
        warnings: Vec<String>,
    ) -> Result<Outcome, SessionError> {
        if let Some(comparison) = self.comparison() {
            return self.compared(comparison, stopped, warnings);
        }
        let here = self.timeline().here();
        let next = match here.position() {
            Some(stage) => format!("next: {stage}"),
            None => tr!("the run is complete"),
        };
        let mut message = match here.last() {
            Some(record) => {
                let timestep =
                    record.step.as_ref().map(|step| format!("t = {}, ", timestep_text(step.timestep)));
                let timestep = timestep.unwrap_or_default();
                let ms = record.took.as_secs_f64() * 1e3;
                let took = match ms {
                    // It ran elsewhere.
                    0. => tr!("recorded"),
                    ms if ms < 1. => format!("{:.0} µs", ms * 1e3),
                    ms => format!("{ms:.0} ms"),
                };
                format!("{} done ({timestep}{took}); {next}", record.stage)
            }
            None => tr!("at the start; {next}", next),
        };
        if !self.timeline().at_tip() {
            // Writing to a string does not fail.
            let ahead = self.timeline().recorded() - self.timeline().cursor();
            let _ = message.write_str(&tr!("; {ahead} recorded ahead", ahead));
        }
        let tensors = here.last().map(TensorRow::of_record).transpose()?.unwrap_or_default();
        let displays = self.displayed();
        let outcome = Outcome { warnings, stopped, ..Outcome::message(message) };
        Ok(outcome.showing(Shown::Tensors(tensors)).showing(Shown::Displays(displays)))
    }
}

/// `latents is`, `latents and image are`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => tr!("nothing is"),
        [one] => format!("{one} is"),
        [first @ .., last] => tr!("{} and {last} are", first.join(", "), last),
    }
}

pub(super) fn stop_message(hit: &Hit) -> String {
    match hit {
        Hit::Reached(breakpoint) => tr!("stopped at {breakpoint}", breakpoint),
        Hit::NotFinite(catchpoint, found) => {
            let told = |(timeline, tensors): &(Option<String>, Vec<&'static str>)| {
                let of = timeline.as_ref().map_or(String::new(), |name| format!(" on {name}"));
                tr!("{} not finite{of}", listed(tensors), of)
            };
            let found = found.iter().map(told).collect::<Vec<_>>().join("; ");
            tr!("stopped at {catchpoint}: {found}", catchpoint, found)
        }
        Hit::Undecided(breakpoint, why) => {
            tr!("stopped at {breakpoint}: its condition cannot be evaluated: {why}", breakpoint, why)
        }
    }
}

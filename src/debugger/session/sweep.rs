//! Sweeping: from which step on a setting no longer matters.

use super::Session;
use super::SessionError;
use super::SessionHost;
use crate::debugger::language::plan::MOST;
use crate::debugger::outcome::Outcome;
use crate::debugger::timeline::Timeline;
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::tree::BranchId;
use crate::pipeline::{self, Lockstep, Setting, Snapshot};
use crate::tensor::PlainTensor;
use std::sync::Arc;
use tr::tr;

/// A change of the run that moves its end by less than this share does not matter any more.
const MATTERS: f64 = 0.01;

impl Session {
    /// Forks before every step from here to the last, each with the setting changed, runs all to the end, and tells how
    /// far each end is from that of the run as it is.
    pub(super) fn sweep(
        &mut self,
        setting: &Setting,
        value: &str,
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("sweep")?;
        self.leave();
        let from = self.timeline().cursor().max(2);
        let all = self.timeline().here().request().steps();
        let steps = all.len();
        if from >= steps + 2 {
            return Err(SessionError::Refused(tr!(
                "no step is left to fork before; `goto denoise` goes back to the first"
            )));
        }
        let count = steps + 2 - from;
        if count >= MOST {
            return Err(SessionError::Refused(tr!(
                "{count} forks; at most {} at once: `goto denoise {}` begins later",
                MOST - 1,
                all.end + 1 - MOST,
                count
            )));
        }
        if setting.fixes_initial_latents() {
            return Err(SessionError::Refused(tr!(
                "{} cannot change once get_latent has run; `compare {} …` compares whole runs",
                setting.name(),
                setting.name()
            )));
        }
        let mut request = self.timeline().here().request().clone();
        setting.set(value, &mut request).map_err(SessionError::Refused)?;
        let models = Arc::clone(self.backend.models()?);
        request.check(&models)?;
        self.check_memory((from..steps + 2).chain([from]).map(|done| (&request, done)))?;
        // Up to the first step there is nothing to fork.
        self.timeline_mut().look(from);
        let mut warnings = vec![];
        if self.timeline().cursor() < from {
            let mut outcome = self.go_on(host, |timeline| timeline.cursor() == from)?;
            if self.timeline().cursor() < from {
                outcome.messages.push(tr!("the sweep ended before its first fork"));
                return Ok(outcome);
            }
            warnings = outcome.warnings;
        }
        // The run itself advances beside the forks: what is before a fork's step is the same for both, and computed once.
        let mut lockstep = Lockstep::new(&models, self.latents_size(), None);
        let mut forks: Vec<Timeline> = vec![];
        for done in from..steps + 3 {
            self.timeline_mut().look(done);
            let here = Snapshot::clone(self.timeline().here());
            if done < steps + 2 {
                let mut fork = self.timeline().branch();
                let changed = here.with_request(request.clone(), &models)?;
                self.check_undoes_no_edit(&changed)?;
                fork.replace_here(changed);
                forks.push(fork);
            }
            let tips: Vec<&Snapshot> =
                std::iter::once(&here).chain(forks.iter().map(Timeline::tip)).collect();
            if let Some(stage) = here.position() {
                host.stage_begins(stage, None);
            }
            let mut next = match lockstep.advance(&tips, &models, host) {
                Ok(next) => next.into_iter(),
                Err(pipeline::Error::Forward(interrupted @ crate::nn::Error::Interrupted(_))) => {
                    let mut outcome = self.moved(Some(interrupted.to_string()), warnings)?;
                    let dropped = tr!(
                        "the sweep ended: {} of {count} forks dropped, all unfinished",
                        forks.len(),
                        count
                    );
                    outcome.messages.push(dropped);
                    return Ok(outcome);
                }
                Err(other) => return Err(other.into()),
            };
            if let Some(of_run) = next.next().filter(|_| self.timeline().at_tip()) {
                self.timeline_mut().push(of_run);
            }
            forks.iter_mut().zip(next).for_each(|(fork, next)| fork.push(next));
            host.stage_done(self);
        }
        self.end_comparison();
        let parent = self.timelines.current().id;
        let mut members: Vec<(BranchId, Vec<String>)> = vec![(parent, vec![tr!("as it is")])];
        for (done, mut fork) in (from..).zip(forks) {
            let step = all.start + done - 2;
            // It branched off where its setting changed.
            fork.look(done);
            let name = self.timelines.free_name(&format!("{}@{step}", setting.name()));
            members.push((self.timelines.add(name, fork, Some(parent)), vec![format!("denoise {step}")]));
        }
        let title = tr!("{} {value} from one step on", setting.name(), value);
        let mut comparison =
            Comparison::new(title, vec![tr!("changed before")], members, &self.timelines, lockstep);
        comparison.sweep = Some(parent);
        comparison.look(steps + 3, &mut self.timelines);
        self.comparison = Some(comparison);
        self.comparing = true;
        self.look_at_base();
        let mut outcome = self.moved(None, warnings)?;
        outcome.messages.push(self.swept(setting, value)?);
        Ok(outcome)
    }

    /// From which step on the change of a sweep does not matter any more.
    fn swept(&self, setting: &Setting, value: &str) -> Result<String, SessionError> {
        let rows = self.variant_rows()?;
        let name = setting.name();
        let forks = &rows[1..];
        let broken = forks.iter().filter(|row| row.difference.is_some_and(f64::is_nan)).count();
        if broken == forks.len() && !self.is_finite_here()? {
            return Ok(tr!(
                "the run without the change ends in NaN or infinity: the effect of {name} {value} cannot be measured",
                name,
                value
            ));
        }
        if broken > 0 {
            return Ok(tr!(
                "{name} {value} makes NaN or infinity of the picture of {broken} of {} forks; `catch nan` stops where it \
                 begins",
                forks.len(),
                name,
                value,
                broken
            ));
        }
        let matters = forks.iter().rposition(|row| row.difference.is_none_or(|d| d >= MATTERS));
        let limit = format!("{} %", MATTERS * 100.);
        Ok(match matters {
            None => tr!(
                "{name} {value} moves the picture by less than {limit}, wherever it sets in",
                name,
                value,
                limit
            ),
            Some(last) if last + 2 == rows.len() => {
                tr!(
                    "{name} {value} still moves the picture by {limit} or more when only the last step has it",
                    name,
                    value,
                    limit
                )
            }
            Some(last) => tr!(
                "from {} on, {name} {value} moves the picture by less than {limit}",
                rows[last + 2].values.join(" "),
                name,
                value,
                limit
            ),
        })
    }

    /// Whether what the stage before the cursor made is all finite.
    fn is_finite_here(&self) -> Result<bool, SessionError> {
        for (_, tensor) in self.timeline().here().last().map_or(&[][..], |record| &record.tensors) {
            if !PlainTensor::of(tensor)?.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

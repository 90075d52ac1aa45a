//! Comparing: several timelines in lockstep.

use super::Session;
use super::SessionError;
use super::SessionHost;
use crate::debugger::language::plan::MOST;
use crate::debugger::language::plan::Plan;
use crate::debugger::outcome::Outcome;
use crate::debugger::outcome::Shown;

use crate::debugger::timeline::comparison::metrics::difference;

use crate::debugger::language::plan::Axis;
use crate::debugger::timeline::Timeline;
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::comparison::Member;
use crate::debugger::timeline::comparison::StepMetrics;

use crate::debugger::language::plan::Variant;
use crate::debugger::timeline::comparison::VariantRow;

use crate::debugger::timeline::tree::BranchId;
use crate::pipeline::{self, Lockstep, Request, Setting, Snapshot, Stage, StageRecord, memory};
use crate::tensor::PlainTensor;
use std::sync::Arc;

/// A change of the run that moves its end by less than this share does not matter any more.
const MATTERS: f64 = 0.01;

impl Session {
    /// Compares variants of the settings here, from the start or from the cursor.
    pub(super) fn compare(&mut self, plan: &Plan) -> Result<Outcome, SessionError> {
        let resized = self.begin_comparison(plan, None)?;
        let count = self.comparison().map_or(0, |comparison| comparison.members.len());
        let mut outcome = Outcome::message(format!(
            "comparing {count} variants of {plan}; next: {}; moving moves all of them, `switch NAME` opens one",
            self.position_name()
        ));
        outcome.messages.extend(resized);
        Ok(outcome.showing(Shown::Variants(self.variant_rows()?)))
    }

    /// Puts a variant of the settings here on a timeline each, from the start or from the cursor, and looks at them
    /// together; `rows_at_once` rows go through the UNet at once, or as many as a rule says. Which pictures are resized, where
    /// pictures or sizes are compared, a line each: every variant has a size of its settings, whatever its picture's.
    ///
    /// # Errors
    /// When a variant cannot run; then none is there.
    pub fn begin_comparison(
        &mut self,
        plan: &Plan,
        rows_at_once: Option<usize>,
    ) -> Result<Vec<String>, SessionError> {
        self.leave();
        let here = self.timeline().here().clone();
        let variants = plan.variants(here.request()).map_err(SessionError::Refused)?;
        if plan.here {
            if here.position().is_none() {
                return Err(SessionError::Refused(
                    "the run is complete: nothing comes after vae_decode; without `here` it is compared from the start"
                        .into(),
                ));
            }
            for axis in &plan.axes {
                self.check_setting_here(&axis.setting, &axis.values[0])?;
            }
        }
        let done = if plan.here { self.timeline().cursor() } else { 0 };
        self.check_memory(variants.iter().map(|variant| (&variant.request, done)))?;
        let resized = self.resized(plan, &variants);
        // All or none: a variant that cannot run is found out before any is made.
        let mut made = vec![];
        for variant in variants {
            let timeline = if plan.here {
                let mut timeline = self.timeline().branch();
                let varied = here.with_request(variant.request, &self.models)?;
                self.check_undoes_no_edit(&varied)?;
                timeline.replace_here(varied);
                timeline
            } else {
                Timeline::new(Snapshot::start(variant.request, &self.models)?)
            };
            made.push((variant.name, variant.values, timeline));
        }
        self.end_comparison();
        let parent = self.timelines.current().id;
        let mut members = vec![];
        for (name, values, timeline) in made {
            let name = self.timelines.free_name(&name);
            members.push((self.timelines.add(name, timeline, Some(parent)), values));
        }
        let axes = plan.axes.iter().map(|axis| axis.name().to_string()).collect();
        let lockstep = Lockstep::new(&self.models, self.latents_size(), rows_at_once);
        let comparison = Comparison::new(plan.to_string(), axes, members, &self.timelines, lockstep);
        self.comparison = Some(comparison);
        self.comparing = true;
        self.look_at_base();
        Ok(resized)
    }

    /// What becomes of the variants' pictures, a line for each picture and size.
    fn resized(&self, plan: &Plan, variants: &[Variant]) -> Vec<String> {
        let varies = |axis: &Axis| ["init_image", "width", "height"].contains(&axis.setting.name());
        if !plan.axes.iter().any(varies) {
            return vec![];
        }
        let mut lines: Vec<String> = vec![];
        for variant in variants {
            let line = self.resized_told(&variant.request);
            lines.extend(line.filter(|line| !lines.contains(line)));
        }
        lines
    }

    /// Height and width of the latents of the settings here.
    fn latents_size(&self) -> (usize, usize) {
        let scale = self.models.vae.config().scale_factor().max(1);
        let request = self.timeline().here().request();
        (request.height / scale, request.width / scale)
    }

    /// Back to the comparison that was left for one of its timelines.
    pub(super) fn compare_again(&mut self) -> Result<Outcome, SessionError> {
        let Some(comparison) = &mut self.comparison else {
            return Err(SessionError::Refused(
                "nothing is compared; `compare guidance_scale 1,3,7.5,15` does".into(),
            ));
        };
        self.inside = None;
        comparison.resume(&mut self.timelines);
        self.comparing = true;
        self.look_at_base();
        self.moved(None, vec![])
    }

    /// Ends the comparison and deletes its timelines.
    pub(super) fn compare_off(&mut self) -> Result<Outcome, SessionError> {
        if self.comparison.is_none() {
            return Err(SessionError::Refused("nothing is compared".into()));
        }
        self.leave();
        self.end_comparison();
        Ok(Outcome::message(format!("comparison ended; on {}", self.timelines.current().name)))
    }

    fn end_comparison(&mut self) {
        let Some(comparison) = self.comparison.take() else { return };
        if std::mem::take(&mut self.comparing) {
            // Back to what the variants were made of.
            let parent = self.timelines.current().origin.as_ref().map(|origin| origin.parent);
            if let Some(parent) = comparison.sweep.or(parent) {
                self.timelines.switch(parent);
            }
        }
        // The run that a sweep was of stays, and so does a variant that was opened and is looked at.
        let kept = [Some(self.timelines.current().id), comparison.sweep];
        for member in comparison.members.iter().filter(|member| !kept.contains(&Some(member.branch))) {
            let gone = self.timelines.get(member.branch).map(|branch| branch.name.clone());
            // The last timeline of all stays.
            let _ = gone.map(|name| self.timelines.delete(&name));
        }
    }

    /// Tells the variants by their difference from another one.
    pub(super) fn compare_base(&mut self, name: &str) -> Result<Outcome, SessionError> {
        let id = self.timelines.named(name)?.id;
        let Some(comparison) = &mut self.comparison else { return self.compare_again() };
        let Some(place) = comparison.members.iter().position(|member| member.branch == id) else {
            return Err(SessionError::Refused(format!("{name} is none of the timelines that are compared")));
        };
        comparison.base = place;
        self.look_at_base();
        Ok(Outcome::message(format!("differences are from {name}"))
            .showing(Shown::Variants(self.variant_rows()?)))
    }

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
            return Err(SessionError::Refused(
                "no step is left to fork before; `goto denoise` goes back to the first".into(),
            ));
        }
        let count = steps + 2 - from;
        if count >= MOST {
            return Err(SessionError::Refused(format!(
                "{count} forks; at most {} at once: `goto denoise {}` begins later",
                MOST - 1,
                all.end + 1 - MOST
            )));
        }
        if setting.fixes_initial_latents() {
            return Err(SessionError::Refused(format!(
                "{} cannot change once get_latent has run; `compare {} …` compares whole runs",
                setting.name(),
                setting.name()
            )));
        }
        let mut request = self.timeline().here().request().clone();
        setting.set(value, &mut request).map_err(SessionError::Refused)?;
        request.check(&self.models)?;
        self.check_memory((from..steps + 2).chain([from]).map(|done| (&request, done)))?;
        // Up to the first step there is nothing to fork.
        self.timeline_mut().look(from);
        let mut warnings = vec![];
        if self.timeline().cursor() < from {
            let mut outcome = self.go_on(host, |timeline| timeline.cursor() == from)?;
            if self.timeline().cursor() < from {
                outcome.messages.push("the sweep ended before its first fork".into());
                return Ok(outcome);
            }
            warnings = outcome.warnings;
        }
        // The run as it is goes on beside the forks: what is before a fork's step is the same for both, and computed once.
        let mut lockstep = Lockstep::new(&self.models, self.latents_size(), None);
        let mut forks: Vec<Timeline> = vec![];
        for done in from..steps + 3 {
            self.timeline_mut().look(done);
            let here = Snapshot::clone(self.timeline().here());
            if done < steps + 2 {
                let mut fork = self.timeline().branch();
                let changed = here.with_request(request.clone(), &self.models)?;
                self.check_undoes_no_edit(&changed)?;
                fork.replace_here(changed);
                forks.push(fork);
            }
            let tips: Vec<&Snapshot> =
                std::iter::once(&here).chain(forks.iter().map(Timeline::tip)).collect();
            if let Some(stage) = here.position() {
                host.stage_begins(stage, None);
            }
            let mut next = match lockstep.advance(&tips, &self.models, host) {
                Ok(next) => next.into_iter(),
                Err(pipeline::Error::Forward(interrupted @ crate::nn::Error::Interrupted(_))) => {
                    let mut outcome = self.moved(Some(interrupted.to_string()), warnings)?;
                    let dropped =
                        format!("the sweep ended: {} of {count} forks dropped, all unfinished", forks.len());
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
        let mut members: Vec<(BranchId, Vec<String>)> = vec![(parent, vec!["as it is".into()])];
        for (done, mut fork) in (from..).zip(forks) {
            let step = all.start + done - 2;
            // It branched off where its setting changed.
            fork.look(done);
            let name = self.timelines.free_name(&format!("{}@{step}", setting.name()));
            members.push((self.timelines.add(name, fork, Some(parent)), vec![format!("denoise {step}")]));
        }
        let title = format!("{} {value} from one step on", setting.name());
        let mut comparison =
            Comparison::new(title, vec!["changed before".into()], members, &self.timelines, lockstep);
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
            return Ok(format!(
                "the run as it is holds NaN or infinity at its end: what {name} {value} moves cannot be told"
            ));
        }
        if broken > 0 {
            return Ok(format!(
                "{name} {value} makes NaN or infinity of the picture of {broken} of {} forks; `catch nan` stops where it \
                 begins",
                forks.len()
            ));
        }
        let matters = forks.iter().rposition(|row| row.difference.is_none_or(|d| d >= MATTERS));
        let limit = format!("{} %", MATTERS * 100.);
        Ok(match matters {
            None => format!("{name} {value} moves the picture by less than {limit}, wherever it sets in"),
            Some(last) if last + 2 == rows.len() => {
                format!(
                    "{name} {value} still moves the picture by {limit} or more when only the last step has it"
                )
            }
            Some(last) => format!(
                "from {} on, {name} {value} moves the picture by less than {limit}",
                rows[last + 2].values.join(" ")
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

    /// Refuses runs that would not have room when all is recorded that each does after so many stages.
    fn check_memory<'a>(&self, runs: impl Iterator<Item = (&'a Request, usize)>) -> Result<(), SessionError> {
        let needed: Vec<u128> =
            runs.map(|(request, done)| memory::needed_by_records(&self.models, request, done)).collect();
        let (count, needed) = (needed.len(), needed.iter().sum::<u128>());
        match memory::available() {
            Some(available) if self.models.device.is_cpu() && needed > u128::from(available) => {
                Err(SessionError::Refused(format!(
                    "{count} runs, all recorded, need about {} of memory and {} are free; expected fewer of them, fewer \
                     steps, or a smaller width and height",
                    memory::said(needed),
                    memory::said(available.into())
                )))
            }
            _ => Ok(()),
        }
    }

    /// One tick of the comparison.
    pub(super) fn tick_on(&mut self, host: &mut dyn SessionHost) -> Result<Vec<String>, pipeline::Error> {
        host.stage_begins(self.timeline().position().unwrap_or(Stage::VaeDecode), None);
        let Some(comparison) = &mut self.comparison else { return Err(pipeline::Error::Complete) };
        let warnings = comparison.advance(&mut self.timelines, &self.models, host)?;
        host.stage_done(self);
        Ok(warnings)
    }

    /// Moves the comparison to where so many ticks are done, as far as all are recorded.
    pub(super) fn look_tick(&mut self, tick: usize) {
        if let Some(comparison) = &mut self.comparison {
            comparison.look(tick, &mut self.timelines);
        }
    }

    /// The base of a comparison is the timeline that questions are about.
    pub(super) fn look_at_base(&mut self) {
        let base = self.comparison.as_ref().filter(|_| self.comparing).and_then(Comparison::base_branch);
        if let Some(base) = base {
            self.timelines.switch(base);
        }
    }

    /// The comparison that is looked at.
    pub fn comparison(&self) -> Option<&Comparison> {
        self.comparison.as_ref().filter(|_| self.comparing)
    }

    /// What the stage before the cursor made, of each variant.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn variant_rows(&self) -> Result<Vec<VariantRow>, SessionError> {
        let Some(comparison) = self.comparison() else { return Ok(vec![]) };
        let record = |id| -> Option<Arc<StageRecord>> {
            self.timelines.get(id)?.timeline.here().records().last().cloned()
        };
        let base = comparison.base_branch().and_then(record);
        let mut rows = vec![];
        for member in &comparison.members {
            let Some(branch) = self.timelines.get(member.branch) else { continue };
            let last = record(member.branch);
            let figures = last.as_deref().map(StepMetrics::of_record).transpose()?.unwrap_or_default();
            let difference = match (&last, &base) {
                (Some(ours), Some(base)) => difference(ours, base)?,
                _ => None,
            };
            rows.push(VariantRow {
                timeline: branch.name.clone(),
                values: member.values.clone(),
                stage: last.map(|record| record.stage.key()).unwrap_or_default(),
                figures,
                difference,
            });
        }
        Ok(rows)
    }

    /// What a move of a comparison shows.
    pub(super) fn compared(
        &self,
        comparison: &Comparison,
        stopped: Option<String>,
        warnings: Vec<String>,
    ) -> Result<Outcome, SessionError> {
        let base = self.timeline();
        let done = match base.here().last() {
            Some(record) => format!("{} done", record.stage),
            None => "at the start".into(),
        };
        let next = match base.position() {
            Some(stage) => format!("next: {stage}"),
            None => "all runs are complete".into(),
        };
        let rows = comparison.rows();
        let mut message = format!(
            "{} variants of {}: {done}; {next}; {} UNet evaluations ({} without sharing)",
            comparison.members.len(),
            comparison.title,
            rows.computed,
            rows.apart
        );
        if comparison.is_uneven() {
            let last = |member: &Member| {
                let done = self.timelines.get(member.branch).map_or(0, |b| b.timeline.cursor());
                done.checked_sub(3).and_then(|step| member.timesteps.get(step)).copied()
            };
            let level = comparison.members.iter().filter_map(last).min();
            if let (Some(level), Some(Stage::Denoise { .. })) = (level, base.position()) {
                message.push_str(&format!("; lined up by noise level, t ≥ {level}"));
            }
        }
        let outcome = Outcome { warnings, stopped, ..Outcome::message(message) };
        Ok(outcome.showing(Shown::Variants(self.variant_rows()?)).showing(Shown::Displays(self.displayed())))
    }
}

//! Comparing: several timelines in lockstep.

use super::Session;
use super::SessionError;
use super::SessionHost;
use crate::debugger::language::plan::Plan;
use crate::debugger::outcome::Outcome;
use crate::debugger::outcome::Shown;
use tr::tr;

use crate::debugger::timeline::comparison::metrics::difference;
use crate::debugger::timeline::tree::LONGEST_WISH;

use crate::debugger::language::plan::Axis;
use crate::debugger::timeline::Timeline;
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::comparison::Member;
use crate::debugger::timeline::comparison::StepMetrics;

use crate::debugger::language::plan::Variant;
use crate::debugger::timeline::comparison::{EmbedsApart, VariantRow, embeds_apart};

use crate::pipeline::{self, Lockstep, Request, Snapshot, Stage, StageRecord, memory};
use crate::scheduler::step::timestep_text;
use std::sync::Arc;

impl Session {
    /// Compares variants of the settings here, from the start or from the cursor.
    pub(super) fn compare(&mut self, plan: &Plan) -> Result<Outcome, SessionError> {
        let resized = self.begin_comparison(plan, None)?;
        let count = self.comparison().map_or(0, |comparison| comparison.members.len());
        let mut outcome = Outcome::message(tr!(
            "comparing {count} variants of {plan}; next: {}; moving moves all of them, `switch NAME` opens one",
            self.position_name(),
            count,
            plan
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
                let varied = here.with_request(variant.request, self.backend.models()?)?;
                self.check_undoes_no_edit(&varied)?;
                timeline.replace_here(varied);
                timeline
            } else {
                Timeline::new(Snapshot::start(variant.request, self.backend.models()?)?)
            };
            made.push((variant.name, variant.values, timeline));
        }
        self.end_comparison();
        let parent = self.timelines.current().id;
        let mut members = vec![];
        // Values say more than the names of settings: `ddim,10` where `scheduler=ddim,num_inference_steps=10` would be cut.
        let is_cut = made.iter().any(|(name, _, _)| name.chars().count() > LONGEST_WISH);
        for (name, values, timeline) in made {
            let name = self.timelines.free_name(&if is_cut { values.join(",") } else { name });
            members.push((self.timelines.add(name, timeline, Some(parent)), values));
        }
        let axes = plan.axes.iter().map(|axis| axis.name().to_string()).collect();
        let lockstep = Lockstep::new(self.backend.models()?, self.latents_size(), rows_at_once);
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
    pub(super) fn latents_size(&self) -> (usize, usize) {
        let scale = self.backend.info().vae_scale_factor.max(1);
        let request = self.timeline().here().request();
        (request.height / scale, request.width / scale)
    }

    /// Back to the comparison that was left for one of its timelines.
    pub(super) fn compare_again(&mut self) -> Result<Outcome, SessionError> {
        let Some(comparison) = &mut self.comparison else {
            return Err(SessionError::Refused(tr!(
                "nothing is compared; `compare guidance_scale 1,3,7.5,15` does"
            )));
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
            return Err(SessionError::Refused(tr!("nothing is compared")));
        }
        self.leave();
        self.end_comparison();
        Ok(Outcome::message(tr!("comparison ended; on {}", self.timelines.current().name)))
    }

    pub(super) fn end_comparison(&mut self) {
        let Some(comparison) = self.comparison.take() else { return };
        if std::mem::take(&mut self.comparing) {
            // Back to what the variants were made of.
            let parent = self.timelines.current().origin.as_ref().map(|origin| origin.parent);
            if let Some(parent) = comparison.sweep.or(parent) {
                self.timelines.switch(parent);
            }
        }
        // The run that a sweep was of stays, and so does a variant that was opened.
        let kept = [Some(self.timelines.current().id), comparison.sweep];
        for member in comparison.members.iter().filter(|member| !kept.contains(&Some(member.branch))) {
            let gone = self.timelines.get(member.branch).map(|branch| branch.name.clone());
            // The last timeline of all stays.
            let _ = gone.map(|name| self.timelines.delete(&name));
        }
    }

    /// Shows the variants' differences from another one.
    pub(super) fn compare_base(&mut self, name: &str) -> Result<Outcome, SessionError> {
        let id = self.timelines.named(name)?.id;
        let Some(comparison) = &mut self.comparison else { return self.compare_again() };
        let Some(place) = comparison.members.iter().position(|member| member.branch == id) else {
            return Err(SessionError::Refused(tr!(
                "{name} is none of the timelines that are compared",
                name
            )));
        };
        comparison.base = place;
        self.look_at_base();
        Ok(Outcome::message(tr!("differences are from {name}", name))
            .showing(Shown::Variants(self.variant_rows()?)))
    }

    /// Refuses runs whose records would not fit the memory; with each, how many stages are done already.
    pub(super) fn check_memory<'a>(
        &self,
        runs: impl Iterator<Item = (&'a Request, usize)>,
    ) -> Result<(), SessionError> {
        let models = self.backend.models()?;
        let needed: Vec<u128> =
            runs.map(|(request, done)| memory::needed_by_records(models, request, done)).collect();
        let (count, needed) = (needed.len(), needed.iter().sum::<u128>());
        match memory::available() {
            Some(available) if models.device.is_cpu() && needed > u128::from(available) => {
                Err(SessionError::Refused(tr!(
                    "{count} runs, all recorded, need about {} of memory and {} are free; expected fewer of them, fewer \
                     steps, or a smaller width and height",
                    memory::human(needed),
                    memory::human(available.into()),
                    count
                )))
            }
            _ => Ok(()),
        }
    }

    /// One tick of the comparison.
    pub(super) fn tick_on(&mut self, host: &mut dyn SessionHost) -> Result<Vec<String>, pipeline::Error> {
        host.stage_begins(self.timeline().position().unwrap_or(Stage::VaeDecode), None);
        let Some(comparison) = &mut self.comparison else { return Err(pipeline::Error::Complete) };
        let warnings = comparison.advance(&mut self.timelines, self.backend.models()?, host)?;
        host.stage_done(self);
        Ok(warnings)
    }

    /// Moves the comparison to where `tick` ticks are done, as far as all are recorded.
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

    /// The comparison that commands are about.
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

    /// How far the embeddings of the variants are apart, if their prompts are in different languages.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn embeds_apart(&self) -> Result<Vec<EmbedsApart>, SessionError> {
        let Some(comparison) = self.comparison() else { return Ok(vec![]) };
        let branches = comparison.members.iter().filter_map(|member| self.timelines.get(member.branch));
        let variants: Vec<_> = branches.map(|branch| (&*branch.name, branch.timeline.here())).collect();
        Ok(embeds_apart(&variants)?)
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
            None => tr!("at the start"),
        };
        let next = match base.position() {
            Some(stage) => format!("next: {stage}"),
            None => tr!("all runs are complete"),
        };
        let rows = comparison.rows();
        let mut message = tr!(
            "{} variants of {}: {done}; {next}; {} UNet evaluations ({} without sharing)",
            comparison.members.len(),
            comparison.title,
            rows.computed,
            rows.apart,
            done,
            next
        );
        if comparison.is_uneven() {
            let last = |member: &Member| {
                let done = self.timelines.get(member.branch).map_or(0, |b| b.timeline.cursor());
                done.checked_sub(3).and_then(|step| member.timesteps.get(step)).copied()
            };
            let level = comparison.members.iter().filter_map(last).min_by(f64::total_cmp);
            if let (Some(level), Some(Stage::Denoise { .. })) = (level, base.position()) {
                message.push_str(&tr!("; lined up by noise level, t ≥ {}", timestep_text(level)));
            }
        }
        let mut outcome = Outcome { warnings, stopped, ..Outcome::message(message) };
        if base.here().last().is_some_and(|record| record.stage == Stage::EncodePrompt) {
            outcome = outcome.showing(Shown::Embeds(self.embeds_apart()?));
        }
        Ok(outcome.showing(Shown::Variants(self.variant_rows()?)).showing(Shown::Displays(self.displayed())))
    }
}

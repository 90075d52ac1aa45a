//! Several timelines that advance together, one for each variant.
//!
//! - [`alignment`]: which stages of the variants are shown side by side.
//! - [`metrics`]: the numbers that describe a step of a variant.

pub mod alignment;
mod embeds;
pub mod metrics;

pub use crate::debugger::language::plan::{Axis, Plan, Variant};
pub use alignment::{Alignment, Member};
pub use embeds::{EmbedsApart, embeds_apart};
pub use metrics::{StepMetrics, VariantRow};

use super::tree::{BranchId, TimelineTree};
use crate::nn::Probe;
use crate::pipeline::lockstep::Rows;
use crate::pipeline::{Error, Lockstep, Models, Snapshot};

/// Variants in lockstep, a tick of their [`Alignment`] at a time.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What is varied: `guidance_scale by seed`.
    pub title: String,
    /// What each axis is called.
    pub axes: Vec<String>,
    /// The variants.
    pub members: Vec<Member>,
    /// The place of the variant that differences are from.
    pub base: usize,
    /// How many ticks are done where its reader looks.
    tick: usize,
    lockstep: Lockstep,
    /// Of a sweep, the run as it is: each other variant changed a setting after a number of stages.
    pub sweep: Option<BranchId>,
}

impl Comparison {
    /// A comparison of timelines, which stands where the first of them does.
    pub fn new(
        title: String,
        axes: Vec<String>,
        members: Vec<(BranchId, Vec<String>)>,
        timelines: &TimelineTree,
        lockstep: Lockstep,
    ) -> Self {
        let tick = members.first().and_then(|(id, _)| timelines.get(*id)).map_or(0, |b| b.timeline.cursor());
        let member = |(branch, values)| {
            let (timesteps, sigmas) = levels(timelines, branch);
            Member { branch, values, timesteps, sigmas }
        };
        Self {
            title,
            axes,
            members: members.into_iter().map(member).collect(),
            base: 0,
            tick,
            lockstep,
            sweep: None,
        }
    }

    /// Which stages of the variants are shown side by side.
    pub fn lineup(&self) -> Alignment<'_> {
        Alignment::of(&self.members)
    }

    /// How many ticks there are: the stages of the variant with the most steps.
    pub fn ticks(&self) -> usize {
        self.lineup().ticks()
    }

    /// After how many ticks all is recorded.
    pub fn recorded(&self, timelines: &TimelineTree) -> usize {
        let recorded = self.members.iter().map(|member| {
            // A deleted timeline holds nothing up.
            (member, timelines.get(member.branch).map_or(usize::MAX, |b| b.timeline.recorded()))
        });
        self.lineup().recorded(recorded)
    }

    /// How many ticks are done where its reader looks.
    pub fn tick(&self) -> usize {
        self.tick
    }

    /// The rows of the UNet so far.
    pub fn rows(&self) -> Rows {
        self.lockstep.rows()
    }

    /// How many rows go through the UNet together at most.
    pub fn rows_at_once(&self) -> usize {
        self.lockstep.rows_at_once()
    }

    /// Whether the variants differ in which timesteps they visit, and so are lined up by noise level.
    pub fn is_uneven(&self) -> bool {
        self.members.iter().any(|member| member.timesteps != self.members[0].timesteps)
    }

    /// The timeline of the variant that differences are from.
    pub fn base_branch(&self) -> Option<BranchId> {
        self.members.get(self.base).map(|member| member.branch)
    }

    /// The first tick after which the base has done `done` stages.
    pub fn tick_of(&self, done: usize) -> usize {
        self.members.get(self.base).map_or(0, |base| self.lineup().tick_of(base, done))
    }

    /// The stages of each variant that ran in the last tick, by how many it has done after each; of one that had no stage
    /// in it, none.
    pub fn ran(&self) -> impl Iterator<Item = (&Member, std::ops::RangeInclusive<usize>)> {
        let (lineup, tick) = (self.lineup(), self.tick);
        self.members.iter().map(move |member| (member, lineup.stages(member, tick)))
    }

    /// Moves every cursor to where `tick` ticks are done, as far as all are recorded.
    pub fn look(&mut self, tick: usize, timelines: &mut TimelineTree) {
        self.tick = tick.min(self.recorded(timelines));
        let lineup = self.lineup();
        for member in &self.members {
            if let Some(branch) = timelines.get_mut(member.branch) {
                branch.timeline.look(lineup.done(member, self.tick));
            }
        }
    }

    /// Looks at the variants anew, of which one was opened and may have other settings now.
    pub fn resume(&mut self, timelines: &mut TimelineTree) {
        for member in &mut self.members {
            (member.timesteps, member.sigmas) = levels(timelines, member.branch);
        }
        self.look(self.tick, timelines);
    }

    /// One tick on, running what is not recorded. What a reader should know of what ran.
    ///
    /// # Errors
    /// [`Error::Complete`] after the last tick; else a stage's, or the probe's. The cursors are then where they were.
    pub fn advance(
        &mut self,
        timelines: &mut TimelineTree,
        models: &Models,
        probe: &mut dyn Probe,
    ) -> Result<Vec<String>, Error> {
        if self.tick == self.ticks() {
            return Err(Error::Complete);
        }
        let next = self.record(self.tick + 1, timelines, models, probe);
        // Of variants that differ in their steps some may have run when one failed.
        self.look(self.tick + usize::from(next.is_ok()), timelines);
        next
    }

    /// Runs what is not recorded up to where `tick` ticks are done. What a reader should know of it.
    fn record(
        &mut self,
        tick: usize,
        timelines: &mut TimelineTree,
        models: &Models,
        probe: &mut dyn Probe,
    ) -> Result<Vec<String>, Error> {
        let mut warnings = vec![];
        loop {
            let lineup = Alignment::of(&self.members);
            let lags = |member: &&Member| {
                let recorded = timelines.get(member.branch).map(|branch| branch.timeline.recorded());
                recorded.is_some_and(|recorded| recorded < lineup.done(member, tick))
            };
            let late: Vec<BranchId> = self.members.iter().filter(lags).map(|m| m.branch).collect();
            if late.is_empty() {
                return Ok(warnings);
            }
            let tips: Vec<&Snapshot> =
                late.iter().filter_map(|id| Some(timelines.get(*id)?.timeline.tip())).collect();
            let next = self.lockstep.advance(&tips, models, probe)?;
            for (id, next) in late.iter().zip(next) {
                for warning in next.last().iter().flat_map(|record| &record.warnings) {
                    if !warnings.contains(warning) {
                        warnings.push(warning.clone());
                    }
                }
                if let Some(branch) = timelines.get_mut(*id) {
                    branch.timeline.push(next);
                }
            }
        }
    }

    /// Forgets the variant of a timeline that was deleted. Whether any is left.
    ///
    /// Where it was the one with the most steps, ticks are then those of another, and so is how many are done.
    pub fn forget(&mut self, branch: BranchId) -> bool {
        let Some(place) = self.members.iter().position(|member| member.branch == branch) else {
            return !self.members.is_empty();
        };
        let before = self.lineup();
        let rest = || self.members.iter().filter(|member| member.branch != branch);
        let most = Alignment::of(rest()).timesteps();
        let counts = rest().find(|member| member.timesteps == most);
        // What it has done is what it counts.
        self.tick = counts.map_or(0, |member| before.done(member, self.tick));
        self.members.remove(place);
        self.base =
            if self.base > place { self.base - 1 } else { self.base.min(self.members.len().max(1) - 1) };
        !self.members.is_empty()
    }
}

/// The timesteps that a timeline's newest settings visit.
fn levels(timelines: &TimelineTree, branch: BranchId) -> (Vec<f64>, Vec<f32>) {
    let Some(branch) = timelines.get(branch) else { return (vec![], vec![]) };
    let tip = branch.timeline.tip();
    (tip.timesteps().to_vec(), tip.sigmas().to_vec())
}

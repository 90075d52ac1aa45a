//! Several timelines that go on together, one for each variant.
//!
//! - [`plan`]: what is varied, as it is typed.
//! - [`figures`]: what a step of a variant is told by.

pub mod figures;
pub mod plan;

pub use figures::{Figures, VariantRow};
pub use plan::{Axis, Plan, Variant};

use super::timelines::{BranchId, Timelines};
use crate::nn::Probe;
use crate::pipeline::lockstep::Rows;
use crate::pipeline::{Error, Lockstep, Models, Snapshot};

/// Variants in lockstep.
///
/// A tick is a stage of the variant with the most steps. The others keep up with it by noise level: after a tick each
/// has done the steps whose timestep is not below that variant's.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What is varied: `guidance_scale by seed`.
    pub title: String,
    /// What each axis is called.
    pub axes: Vec<&'static str>,
    /// The variants.
    pub members: Vec<Member>,
    /// The place of the variant that the others are told by the difference from.
    pub base: usize,
    /// How many ticks are done where its reader looks.
    tick: usize,
    lockstep: Lockstep,
    /// Of a sweep: each variant but the base changed a setting after so many stages.
    pub sweep: bool,
}

/// A variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its timeline.
    pub branch: BranchId,
    /// Its value of each axis.
    pub values: Vec<String>,
    /// The timesteps of its steps, the first first.
    pub timesteps: Vec<usize>,
}

impl Member {
    /// How many stages it has done after `tick` ticks of a variant with these timesteps.
    pub fn done(&self, tick: usize, reference: &[usize]) -> usize {
        let (own, all) = (self.timesteps.len(), reference.len());
        match tick {
            0..=2 => tick,
            _ if tick >= all + 3 => own + 3,
            _ if tick == all + 2 => own + 2,
            _ => 2 + self.timesteps.iter().filter(|timestep| **timestep >= reference[tick - 3]).count(),
        }
    }
}

/// The timesteps of the variant with the most steps: what the ticks are counted by.
pub fn reference(members: &[Member]) -> &[usize] {
    let most = members.iter().map(|member| member.timesteps.as_slice()).reduce(|most, other| {
        // The first of those that have as many.
        if other.len() > most.len() { other } else { most }
    });
    most.unwrap_or_default()
}

impl Comparison {
    /// A comparison of timelines, which stands where the first of them does.
    pub fn new(
        title: String,
        axes: Vec<&'static str>,
        members: Vec<(BranchId, Vec<String>)>,
        timelines: &Timelines,
        lockstep: Lockstep,
    ) -> Self {
        let snapshot = |id| timelines.get(id).map(|branch| branch.timeline.here());
        let tick = members.first().and_then(|(id, _)| timelines.get(*id)).map_or(0, |b| b.timeline.cursor());
        let timesteps = |id| snapshot(id).map_or(vec![], |here| here.timesteps().to_vec());
        let member = |(branch, values)| Member { branch, values, timesteps: timesteps(branch) };
        Self {
            title,
            axes,
            members: members.into_iter().map(member).collect(),
            base: 0,
            tick,
            lockstep,
            sweep: false,
        }
    }

    /// How many ticks there are: the stages of the variant with the most steps.
    pub fn ticks(&self) -> usize {
        reference(&self.members).len() + 3
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

    /// The timeline of the variant that the others are told by the difference from.
    pub fn base_branch(&self) -> Option<BranchId> {
        self.members.get(self.base).map(|member| member.branch)
    }

    /// The first tick after which the base has done so many stages.
    pub fn tick_of(&self, done: usize) -> usize {
        let all = reference(&self.members);
        let base = self.members.get(self.base);
        let is_there = |tick: &usize| base.is_none_or(|base| base.done(*tick, all) >= done);
        (0..=self.ticks()).find(is_there).unwrap_or(self.ticks())
    }

    /// Moves every cursor to where `tick` ticks are done, as far as all are recorded.
    pub fn look(&mut self, tick: usize, timelines: &mut Timelines) {
        let all = reference(&self.members);
        let is_recorded = |tick: usize| {
            self.members.iter().all(|member| {
                timelines.get(member.branch).is_none_or(|b| b.timeline.recorded() >= member.done(tick, all))
            })
        };
        self.tick = (0..=tick.min(self.ticks())).rev().find(|tick| is_recorded(*tick)).unwrap_or(0);
        for member in &self.members {
            if let Some(branch) = timelines.get_mut(member.branch) {
                branch.timeline.look(member.done(self.tick, all));
            }
        }
    }

    /// One tick on, running what is not recorded. What a reader should know of what ran.
    ///
    /// # Errors
    /// [`Error::Complete`] behind the last tick; else a stage's, or the probe's. The cursors then stay.
    pub fn advance(
        &mut self,
        timelines: &mut Timelines,
        models: &Models,
        probe: &mut dyn Probe,
    ) -> Result<Vec<String>, Error> {
        if self.tick == self.ticks() {
            return Err(Error::Complete);
        }
        let all = reference(&self.members).to_vec();
        let mut warnings = vec![];
        loop {
            let behind = |member: &&Member| {
                let recorded = timelines.get(member.branch).map(|branch| branch.timeline.recorded());
                recorded.is_some_and(|recorded| recorded < member.done(self.tick + 1, &all))
            };
            let behind: Vec<BranchId> = self.members.iter().filter(behind).map(|m| m.branch).collect();
            if behind.is_empty() {
                break;
            }
            let tips: Vec<&Snapshot> =
                behind.iter().filter_map(|id| Some(timelines.get(*id)?.timeline.tip())).collect();
            let next = self.lockstep.advance(&tips, models, probe)?;
            for (id, next) in behind.iter().zip(next) {
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
        self.look(self.tick + 1, timelines);
        Ok(warnings)
    }

    /// Forgets the variant of a timeline that was deleted. Whether any is left.
    pub fn forget(&mut self, branch: BranchId) -> bool {
        if let Some(place) = self.members.iter().position(|member| member.branch == branch) {
            self.members.remove(place);
            self.base =
                if self.base > place { self.base - 1 } else { self.base.min(self.members.len().max(1) - 1) };
        }
        !self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(counts: &[usize]) -> Vec<Member> {
        let member = |n: &usize| Member {
            branch: BranchId::default(),
            values: vec![],
            timesteps: (0..*n).rev().map(|k| k * (1000 / n) + 1).collect(),
        };
        counts.iter().map(member).collect()
    }

    #[test]
    fn fewer_steps_keep_up_by_noise_level() {
        let members = members(&[4, 10]);
        let all = reference(&members);
        assert_eq!(all[..3], [901, 801, 701]);
        let done: Vec<usize> = (0..=13).map(|tick| members[0].done(tick, all)).collect();
        // 751, 501, 251, 1 against 901, 801, 701, …
        assert_eq!(done, [0, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 7]);
        let done: Vec<usize> = (0..=13).map(|tick| members[1].done(tick, all)).collect();
        assert_eq!(done, (0..=13).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_variant_does_all_its_steps_in_order(counts in proptest::collection::vec(1usize..60, 1..5)) {
            let members = members(&counts);
            let all = reference(&members);
            let last = all.len() + 3;
            for member in &members {
                let done: Vec<usize> = (0..=last).map(|tick| member.done(tick, all)).collect();
                prop_assert!(done.windows(2).all(|pair| pair[0] <= pair[1]));
                prop_assert_eq!(done[last], member.timesteps.len() + 3);
                prop_assert_eq!(done[last - 1], member.timesteps.len() + 2);
            }
        }
    }
}

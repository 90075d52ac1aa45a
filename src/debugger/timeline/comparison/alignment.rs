//! Which stages of variants with unequal numbers of steps are shown side by side.

use crate::debugger::timeline::tree::BranchId;

/// A variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its timeline.
    pub branch: BranchId,
    /// Its value of each axis.
    pub values: Vec<String>,
    /// The timesteps of its steps, in order.
    pub timesteps: Vec<f64>,
    /// Sigma at each of them: the noise level.
    pub sigmas: Vec<f32>,
}

/// The ticks of a comparison: each is a stage of the variant with the most steps, the first of those that have as many.
/// The others keep up with it by noise level: after a tick each has done the steps whose sigma is not below that
/// variant's.
#[derive(Debug, Clone, Copy)]
pub struct Alignment<'a>(Option<&'a Member>);

/// Two sigmas that differ by less count as the same noise level: schedulers round them differently.
const SAME: f32 = 1.0001;

impl<'a> Alignment<'a> {
    /// The ticks of these variants.
    pub fn of(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let members = members.into_iter();
        Self(members.reduce(|most, other| if other.sigmas.len() > most.sigmas.len() { other } else { most }))
    }

    /// The timesteps that the ticks are counted by.
    pub fn timesteps(self) -> &'a [f64] {
        self.0.map_or(&[], |member| &member.timesteps)
    }

    fn sigmas(self) -> &'a [f32] {
        self.0.map_or(&[], |member| &member.sigmas)
    }

    /// How many ticks there are.
    pub fn ticks(self) -> usize {
        self.sigmas().len() + 3
    }

    /// How many stages a variant has done after `tick` ticks.
    pub fn done(self, member: &Member, tick: usize) -> usize {
        let (own, all) = (member.sigmas.len(), self.sigmas().len());
        match tick {
            0..=2 => tick,
            _ if tick >= all + 3 => own + 3,
            _ if tick == all + 2 => own + 2,
            _ => {
                let sigmas = self.sigmas();
                let level = sigmas[tick - 3];
                let is_same = |sigma: &&f32| **sigma * SAME >= level && **sigma <= level * SAME;
                // Heun and PNDM come to a level twice: the first time all others do it once.
                let times = sigmas[..=tick - 3].iter().filter(is_same).count();
                let above = member.sigmas.iter().filter(|sigma| **sigma > level * SAME).count();
                2 + above + member.sigmas.iter().filter(is_same).count().min(times)
            }
        }
    }

    /// The stages that a variant does in tick `tick`, each by how many are done after it.
    pub fn stages(self, member: &Member, tick: usize) -> std::ops::RangeInclusive<usize> {
        let before = tick.checked_sub(1).map_or(0, |before| self.done(member, before) + 1);
        before..=self.done(member, tick)
    }

    /// The first tick after which a variant has done `done` stages.
    pub fn tick_of(self, member: &Member, done: usize) -> usize {
        (0..self.ticks()).find(|tick| self.done(member, *tick) >= done).unwrap_or(self.ticks())
    }

    /// After how many ticks all is recorded, of variants with how many stages are recorded of each.
    pub fn recorded<'m>(self, members: impl IntoIterator<Item = (&'m Member, usize)> + Clone) -> usize {
        let is_recorded = |tick: &usize| {
            members.clone().into_iter().all(|(member, recorded)| recorded >= self.done(member, *tick))
        };
        let ticks: Vec<usize> = (1..=self.ticks()).collect();
        ticks.partition_point(is_recorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(counts: &[usize]) -> Vec<Member> {
        let member = |n: &usize| {
            let timesteps: Vec<f64> = (0..*n).rev().map(|k| (k * (1000 / n) + 1) as f64).collect();
            let sigmas = timesteps.iter().map(|t| *t as f32 / 100.).collect();
            Member { branch: BranchId::default(), values: vec![], timesteps, sigmas }
        };
        counts.iter().map(member).collect()
    }

    #[test]
    fn fewer_steps_keep_up_by_noise_level() {
        let members = members(&[4, 10]);
        let lineup = Alignment::of(&members);
        assert_eq!(lineup.timesteps()[..3], [901., 801., 701.]);
        let done = |index: usize| (0..=13).map(|tick| lineup.done(&members[index], tick)).collect::<Vec<_>>();
        // 751, 501, 251, 1 against 901, 801, 701, …
        assert_eq!(done(0), [0, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 7]);
        assert_eq!(done(1), (0..=13).collect::<Vec<_>>());
        // A place of the one with fewer steps stands for several ticks; it comes to it with the first of them.
        assert_eq!((lineup.tick_of(&members[0], 4), lineup.tick_of(&members[0], 7)), (7, 13));
        assert_eq!(lineup.stages(&members[0], 7), 4..=4);
        assert!(lineup.stages(&members[0], 8).is_empty());
        assert_eq!(lineup.recorded(members.iter().zip([4, 11])), 9);
        assert_eq!(lineup.recorded(members.iter().zip([7, 7])), 7);
    }

    #[test]
    fn a_level_that_comes_twice_is_two_ticks() {
        let mut members = members(&[4, 4]);
        // Heun: 751, 501, 501, 251, 251, 1, 1.
        let twice = |list: &mut Vec<f64>| {
            *list = list.iter().enumerate().flat_map(|(i, t)| vec![*t; if i == 0 { 1 } else { 2 }]).collect();
        };
        twice(&mut members[1].timesteps);
        members[1].sigmas = members[1].timesteps.iter().map(|t| *t as f32 / 100.).collect();
        let lineup = Alignment::of(&members);
        let done = |index: usize| (2..=9).map(|tick| lineup.done(&members[index], tick)).collect::<Vec<_>>();
        assert_eq!(done(1), (2..=9).collect::<Vec<_>>());
        assert_eq!(done(0), [2, 3, 4, 4, 5, 5, 6, 6]);
    }

    proptest! {
        #[test]
        fn every_variant_does_all_its_steps_in_order(counts in proptest::collection::vec(1usize..60, 1..5)) {
            let members = members(&counts);
            let lineup = Alignment::of(&members);
            let last = lineup.ticks();
            for member in &members {
                let done: Vec<usize> = (0..=last).map(|tick| lineup.done(member, tick)).collect();
                prop_assert!(done.windows(2).all(|pair| pair[0] <= pair[1]));
                prop_assert_eq!(done[last], member.timesteps.len() + 3);
                prop_assert_eq!(done[last - 1], member.timesteps.len() + 2);
                // Tick by tick it does every stage once.
                let stages: Vec<usize> = (0..=last).flat_map(|tick| lineup.stages(member, tick)).collect();
                prop_assert_eq!(stages, (0..=done[last]).collect::<Vec<_>>());
            }
        }
    }
}

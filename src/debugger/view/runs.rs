//! Several timelines: their tree, and a comparison.

use super::viewer::RecordViews;
use crate::debugger::record::RecordView;
use crate::debugger::session::Session;
use crate::debugger::timeline::comparison::{Alignment, Member};
use crate::pipeline::lockstep::Rows;
use crate::pipeline::{Request, Stage};
use std::sync::Arc;
use tr::tr;

/// A timeline, as a tree of them shows it.
#[derive(Debug, Clone)]
pub struct TimelineView {
    /// What its reader calls it.
    pub name: String,
    /// How many timelines are above it.
    pub depth: usize,
    /// Whether it is the current one.
    pub is_current: bool,
    /// Where it branched off, and what it is called there: `denoise 3`.
    pub branched: Option<Branched>,
    /// How many stages are done at its cursor, how many are recorded, and how many there are.
    pub done: [usize; 3],
    /// The stage that runs next at its cursor.
    pub position: Option<Stage>,
    /// What the newest stage made.
    pub tip: Option<Arc<RecordView>>,
}

/// Where a timeline branched off another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branched {
    /// The other's name.
    pub parent: String,
    /// The stage that it was before.
    pub before: String,
    /// How many stages were done.
    pub done: usize,
    /// What is another there, such as `guidance_scale 7.5 → 12`.
    pub changes: Vec<String>,
}

/// Timelines that are compared.
#[derive(Debug, Clone)]
pub struct ComparisonView {
    /// What is varied: `guidance_scale by seed`.
    pub title: String,
    /// What each axis is called.
    pub axes: Vec<String>,
    /// The variants.
    pub variants: Vec<VariantView>,
    /// The index of the base, from which the differences of the others are measured.
    pub base: usize,
    /// How many ticks are done where its reader looks.
    pub tick: usize,
    /// After how many ticks all is recorded.
    pub recorded: usize,
    /// The rows of the UNet so far.
    pub rows: Rows,
    /// Whether the variants have different numbers of steps, and are lined up by noise level.
    pub is_uneven: bool,
    /// Whether it is a sweep: each variant but the base changed a setting before another step.
    pub is_sweep: bool,
}

/// A variant of a comparison.
#[derive(Debug, Clone)]
pub struct VariantView {
    /// Its timeline.
    pub name: String,
    /// Its timesteps.
    pub member: Member,
    /// Its settings.
    pub request: Request,
    /// What every recorded stage made.
    pub records: Vec<Arc<RecordView>>,
}

impl ComparisonView {
    /// Which stages of the variants are shown side by side.
    pub fn lineup(&self) -> Alignment<'_> {
        Alignment::of(self.variants.iter().map(|variant| &variant.member))
    }

    /// How many ticks there are.
    pub fn ticks(&self) -> usize {
        self.lineup().ticks()
    }

    /// The first tick after which the base has done a number of stages.
    pub fn tick_of(&self, done: usize) -> usize {
        self.variants.get(self.base).map_or(0, |base| self.lineup().tick_of(&base.member, done))
    }

    /// The number of stages that the base has done after a number of ticks.
    pub fn done(&self, tick: usize) -> usize {
        self.variants.get(self.base).map_or(0, |base| self.lineup().done(&base.member, tick))
    }

    /// The newest record of a variant after a number of ticks.
    pub fn record<'a>(&self, variant: &'a VariantView, tick: usize) -> Option<&'a Arc<RecordView>> {
        variant.records.get(self.lineup().done(&variant.member, tick).checked_sub(1)?)
    }
}

/// Every timeline of a session, below the one that it branched off.
pub(super) fn timelines(
    session: &Session,
    views: &mut RecordViews,
) -> candle_core::Result<Vec<TimelineView>> {
    let timelines = session.timelines();
    let mut of = |(depth, branch): (usize, &crate::debugger::timeline::tree::Branch)| {
        let timeline = &branch.timeline;
        let steps = timeline.tip().request().steps();
        let branched = branch.origin.as_ref().map(|origin| Branched {
            parent: timelines.get(origin.parent).map_or(String::new(), |parent| parent.name.clone()),
            before: Stage::at(origin.done, &steps).map_or(tr!("the end"), |stage| stage.to_string()),
            done: origin.done,
            changes: (timelines.changed(branch).iter().map(ToString::to_string))
                .chain(timelines.edited(branch).iter().map(ToString::to_string))
                .collect(),
        });
        let records = timeline.tip().records();
        let views = views.of(records, session.backend().info())?;
        Ok(TimelineView {
            name: branch.name.clone(),
            depth,
            is_current: branch.id == timelines.current().id,
            branched,
            done: [timeline.cursor(), timeline.recorded(), steps.len() + 3],
            position: timeline.position(),
            tip: views.last().cloned(),
        })
    };
    timelines.tree().into_iter().map(&mut of).collect()
}

/// The comparison that is shown, if any.
pub(super) fn comparison(
    session: &Session,
    views: &mut RecordViews,
) -> candle_core::Result<Option<ComparisonView>> {
    let Some(comparison) = session.comparison() else { return Ok(None) };
    let mut variants = vec![];
    for member in &comparison.members {
        let Some(branch) = session.timelines().get(member.branch) else { continue };
        let tip = branch.timeline.tip();
        variants.push(VariantView {
            name: branch.name.clone(),
            member: member.clone(),
            request: tip.request().clone(),
            records: views.of(&branch.timeline.records(), session.backend().info())?,
        });
    }
    Ok(Some(ComparisonView {
        title: comparison.title.clone(),
        axes: comparison.axes.clone(),
        variants,
        base: comparison.base,
        tick: comparison.tick(),
        recorded: comparison.recorded(session.timelines()),
        rows: comparison.rows(),
        is_uneven: comparison.is_uneven(),
        is_sweep: comparison.sweep.is_some(),
    }))
}

//! Makes the views of a session. It remembers what it made: a record is copied from its device and drawn once.

use super::{InsideView, PartOfStep, ScheduleView, StageLine, View, runs};
use crate::debugger::backend::ModelInfo;
use crate::debugger::inspect::features::Kept;
use crate::debugger::inspect::{Examination, InspectError, InspectQuery, Inspection};
use crate::debugger::record::{RecordId, RecordView, pictures};
use crate::debugger::session::Session;
use crate::debugger::timeline::tree::TimelineTree;
use crate::nn::{Path, Probe};
use crate::pipeline::{Stage, StageRecord};
use crate::scheduler::{SchedulerConfig, betas};
use candle_core::Tensor;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// What an interface was shown of a session, and the numbers that its records have there.
#[derive(Debug, Default)]
pub struct Viewer {
    records: RecordViews,
    /// The module output that was drawn last.
    drawn: Option<Kept>,
}

impl Viewer {
    /// The session as an interface shows it.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn view(&mut self, session: &Session) -> candle_core::Result<View> {
        of(session, &mut self.records)
    }

    /// The record with this number; `None` when no timeline has it any more.
    pub fn record(&self, id: RecordId) -> Option<Arc<StageRecord>> {
        self.records.find(id).map(|(record, _)| record)
    }

    /// A tensor of the record with this number, or one of its predictions from one residual alone; `None` when no
    /// timeline has the record any more.
    ///
    /// # Errors
    /// When a prediction cannot be computed on the device.
    pub fn tensor(&self, id: RecordId, name: &str) -> candle_core::Result<Option<Tensor>> {
        let Some((record, before)) = self.records.find(id) else { return Ok(None) };
        if let Some(tensor) = record.tensor(name) {
            return Ok(Some(tensor.clone()));
        }
        let before = before.as_ref().and_then(|before| before.tensor("latents"));
        let x0_predictions = pictures::x0_predictions(&record, before)?;
        Ok(x0_predictions.into_iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor))
    }

    /// Answers a query about the inside of a recorded stage by running the stage again, to its end or as far as the answer
    /// needs. `host` can interrupt it at every module. The session does not change.
    ///
    /// # Errors
    /// [`InspectError`]; [`Gone`](InspectError::Gone) where no timeline has the record any more.
    pub fn examine(
        &mut self,
        session: &Session,
        query: &Examination,
        host: &mut dyn Probe,
    ) -> Result<Inspection, InspectError> {
        if let InspectQuery::Sides { difference, row, of } = query.asked {
            let known = session.difference().filter(|known| known.number == difference);
            let known = known.ok_or(InspectError::Gone)?;
            let is_interrupted = || host.wants(&Path::new("unet"));
            let pictures = known.pictures(session.backend(), row, of, &is_interrupted)?;
            return Ok(Inspection::Sides(pictures));
        }
        let record = self.record(query.record).ok_or(InspectError::Gone)?;
        query.asked.carry_out(session.timelines(), session.backend(), &record, &mut self.drawn, host)
    }
}

/// The records of a session as an interface has them, each made once.
#[derive(Debug, Default)]
pub(super) struct RecordViews {
    /// By where a record is, which is held, so that no other comes to be there.
    known: HashMap<*const StageRecord, Known>,
    made: usize,
}

/// A record with what it is shown as.
#[derive(Debug)]
struct Known {
    record: Arc<StageRecord>,
    before: Option<Arc<StageRecord>>,
    view: Arc<RecordView>,
}

impl RecordViews {
    /// The views of the records of a run.
    pub(super) fn of(
        &mut self,
        records: &[Arc<StageRecord>],
        models: &ModelInfo,
    ) -> candle_core::Result<Vec<Arc<RecordView>>> {
        let before = std::iter::once(None).chain(records.iter().map(Some));
        let mut views: Vec<Arc<RecordView>> = vec![];
        for (record, before) in records.iter().zip(before) {
            let key = Arc::as_ptr(record);
            if let Some(known) = self.known.get(&key) {
                views.push(Arc::clone(&known.view));
                continue;
            }
            self.made += 1;
            let latents = before.and_then(|before| before.tensor("latents"));
            let mut view = RecordView::of(record, latents, RecordId(self.made), models)?;
            if record.stage == Stage::VaeDecode {
                view.pictures.extend(pictures::timemap(&views));
            }
            let view = Arc::new(view);
            let known =
                Known { record: Arc::clone(record), before: before.cloned(), view: Arc::clone(&view) };
            self.known.insert(key, known);
            views.push(view);
        }
        Ok(views)
    }

    /// Forgets what is not in any of these runs.
    fn keep(&mut self, runs: &TimelineTree) {
        let snapshots = runs.list().iter().flat_map(|branch| branch.timeline.snapshots());
        let alive: HashSet<*const StageRecord> =
            snapshots.flat_map(|snapshot| snapshot.records()).map(Arc::as_ptr).collect();
        self.known.retain(|key, _| alive.contains(key));
    }

    /// The record that has this number, and the one before it.
    fn find(&self, id: RecordId) -> Option<Found> {
        let known = self.known.values().find(|known| known.view.id == id)?;
        Some((Arc::clone(&known.record), known.before.clone()))
    }
}

/// The place of a call of the UNet in its step; `None` where a step has one call.
fn part_of_step(stage: Stage, steps: &Range<usize>, config: &SchedulerConfig) -> Option<PartOfStep> {
    let Stage::Denoise { step } = stage else { return None };
    // The scheduler counts from where the run begins.
    let call = step.checked_sub(steps.start)?;
    let calls = config.class.calls_of_step(config, call);
    let calls = calls.start..calls.end.min(steps.len());
    match (calls.len(), call) {
        (1, _) => None,
        (_, call) if call == calls.start => Some(PartOfStep::First),
        (_, call) if call + 1 == calls.end => Some(PartOfStep::Last),
        _ => Some(PartOfStep::Middle),
    }
}

/// A record, and the one before it.
type Found = (Arc<StageRecord>, Option<Arc<StageRecord>>);

/// The view of a session.
///
/// # Errors
/// When a tensor cannot be copied from its device.
fn of(session: &Session, views: &mut RecordViews) -> candle_core::Result<View> {
    let timeline = session.timeline();
    let here = timeline.here();
    let steps = here.request().steps();
    let ran = timeline.records();
    let line = |index: usize| {
        let stage = Stage::at(index, &steps)?;
        let breakpoint = session.breakpoints().list().iter().find(|b| b.place.is_at(stage)).map(|b| b.id);
        let part = part_of_step(stage, &steps, here.scheduler().config());
        let took = ran.get(index).map(|record| record.took).filter(|took| !took.is_zero());
        Some(StageLine { stage, took, breakpoint, part })
    };
    views.keep(session.timelines());
    Ok(View {
        request: here.request().clone(),
        stages: (0..).map_while(line).collect(),
        schedule: Arc::new(ScheduleView {
            alphas_cumprod: betas::alphas_cumprod(here.scheduler().config()),
            timesteps: here.timesteps().into(),
            sigmas: here.scheduler().sigmas()[steps.start..].to_vec(),
            calls: steps.end,
            name: here.request().scheduler.name(),
            class: Some(here.scheduler().config().class),
            order: here.scheduler().config().class.order(),
        }),
        cursor: timeline.cursor(),
        position: here.position(),
        inside: session.inside().map(InsideView::of).transpose()?,
        module_breakpoints: session.breakpoints().at_modules(),
        displays: session.displayed(),
        previewing: session.previewing(),
        records: views.of(&ran, session.backend().info())?,
        timelines: runs::timelines(session, views)?,
        comparison: runs::comparison(session, views)?,
        difference: session.difference().cloned(),
    })
}

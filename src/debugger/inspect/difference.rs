//! A recorded run, compared: where it first differs from another one, or from what the loaded models compute.

use super::InspectError;
use crate::debugger::backend::Backend;
use crate::picture::Picture;
use crate::picture::features::Row as BatchRow;
use crate::picture::sides::sides;
use crate::pipeline;
use crate::trace::Trace;
use crate::trace::diff::forced::Watch;
use crate::trace::diff::{Comparison, DiffError, Row, Sides, judge, pair};
use std::path::Path;
use tr::tr;

/// The most numbers of a tensor that is drawn whole, of two recorded runs.
const MOST: usize = 1 << 22;

/// A recorded run, compared.
#[derive(Debug)]
pub struct Difference {
    /// A comparison that is made later has a larger number.
    pub number: usize,
    /// The run that is judged.
    pub found: String,
    /// What it is compared with.
    pub reference: String,
    /// The rows, and the reasons of the first difference.
    pub comparison: Comparison,
    /// The trace that was opened for it.
    trace: Trace,
}

impl Difference {
    /// Compares the trace in `folder` with the loaded models: each recorded module on its recorded inputs. A session on a recorded run
    /// compares that run, with the trace as the reference.
    ///
    /// # Errors
    /// When the trace cannot be read, has nothing to compare, or `is_interrupted`.
    pub fn of(
        backend: &Backend,
        folder: &Path,
        tolerance: Option<f64>,
        number: usize,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, DiffError> {
        let trace = Trace::open(folder)?;
        let (found, reference, comparison) = match (backend.recording(), backend.models()) {
            (Some(recording), _) => {
                let comparison = pair::compare(recording.trace(), &trace, tolerance)?;
                (recording.trace().name().to_string(), trace.name().to_string(), comparison)
            }
            (None, Ok(models)) => {
                let watch = Watch { is_interrupted, wanted: None };
                let (comparison, _) = judge::judge_watched(&trace, models, tolerance, &watch)?;
                (trace.name().to_string(), backend.info().name.clone(), comparison)
            }
            (None, Err(e)) => return Err(DiffError::Refused(e.to_string())),
        };
        Ok(Self { number, found, reference, comparison, trace })
    }

    /// Both tensors of a row as pictures, and their distance.
    ///
    /// # Errors
    /// When they cannot be computed, or are no pictures.
    pub fn pictures(
        &self,
        backend: &Backend,
        row: usize,
        of: BatchRow,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<[Picture; 3], InspectError> {
        let Some(row) = self.comparison.rows.get(row) else { return Err(InspectError::Gone) };
        let Some(Sides { found, reference }) = self.tensors(backend, row, is_interrupted)? else {
            return Err(InspectError::Refused(tr!("{}: the tensors are no pictures", row.path)));
        };
        let latents = self.trace.stages().iter().find_map(|stage| stage.on_disk("latents"));
        let latents = match latents.as_ref().map(|latents| &latents.shape[..]) {
            Some(&[_, _, height, width]) => (height, width),
            _ => (1, 1),
        };
        sides(&found, &reference, of, latents).map_err(InspectError::Refused)
    }

    fn tensors(
        &self,
        backend: &Backend,
        row: &Row,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Sides>, InspectError> {
        let failed = |e: DiffError| match e {
            DiffError::Forward(e) => InspectError::Pipeline(pipeline::Error::Forward(e)),
            other => InspectError::Refused(other.to_string()),
        };
        match backend.recording() {
            Some(recording) => pair::sides(recording.trace(), &self.trace, row, MOST).map_err(failed),
            None => judge::sides(&self.trace, backend.models()?, row, is_interrupted).map_err(failed),
        }
    }
}

//! What a module made, as a picture.

use super::InspectError;
use crate::debugger::backend::Backend;
use crate::debugger::language::features::FeatureQuery;
use crate::debugger::replay::outputs;
use crate::debugger::text::shape as shape_text;
use crate::nn::Probe;
use crate::picture::Picture;
use crate::picture::features::Features;
use crate::pipeline;
use crate::pipeline::models::runs_in;
use crate::pipeline::{Snapshot, StageRecord};
use crate::tensor::PlainTensor;
use crate::trace::reduced::{Reduced, reduced};
use std::sync::Arc;
use tr::tr;

/// Bytes of what a module made that are kept for when it is drawn in another way.
const ROOM: usize = 64 << 20;

/// What a module made that was drawn last.
#[derive(Debug)]
pub struct Kept {
    record: Arc<StageRecord>,
    path: String,
    made: Reduced,
}

/// Re-runs the stage of `record`, which follows `before`, up to the module, and draws the module's output. Of a recorded run, reads it.
/// What is in `kept` is drawn without.
///
/// # Errors
/// The stage's, or the host's; [`Refused`](InspectError::Refused) where there is no such module in the stage, or it makes
/// no picture.
pub fn examine(
    backend: &Backend,
    record: &Arc<StageRecord>,
    before: &Snapshot,
    asked: &FeatureQuery,
    kept: &mut Option<Kept>,
    host: &mut dyn Probe,
) -> Result<Picture, InspectError> {
    let known = kept.as_ref().filter(|kept| Arc::ptr_eq(&kept.record, record) && kept.path == asked.path);
    let Reduced { output: made, side } = match known {
        Some(known) => known.made.clone(),
        None => {
            let made = made_by(backend, before, &asked.path, host)?;
            let fits = size_of_val(made.output.data()) <= ROOM;
            let (record, path) = (Arc::clone(record), asked.path.clone());
            *kept = fits.then(|| Kept { record, path, made: made.clone() });
            made
        }
    };
    let request = before.request();
    let scale = backend.info().vae_scale_factor;
    let features = Features::of(&made, asked.row, (request.height / scale, request.width / scale))
        .map_err(|why| InspectError::Refused(tr!("{} is no picture: {why}", asked.path, why)))?;
    let picture = features.picture(asked.drawn);
    let rows = made.shape().first().copied().unwrap_or(1);
    let row = if rows == 1 { String::new() } else { format!(" ({})", asked.row.name()) };
    let reduced = if side == 1 { String::new() } else { tr!(", averaged over {side}×{side}", side) };
    Ok(Picture { label: format!("{}{row}{reduced}", picture.label), ..picture })
}

fn made_by(
    backend: &Backend,
    before: &Snapshot,
    path: &str,
    host: &mut dyn Probe,
) -> Result<Reduced, InspectError> {
    let stage = before.position().ok_or(pipeline::Error::Complete)?;
    if !outputs::has(backend.info(), |known| known == path) {
        return Err(InspectError::Refused(outputs::unknown(backend.info(), path)));
    }
    if !runs_in(stage, before.request(), path) {
        let runs = outputs::stage_of(path);
        return Err(InspectError::Refused(tr!(
            "{path} runs in {runs}, and {stage} is before the cursor",
            path,
            runs,
            stage
        )));
    }
    if let Some(recording) = backend.recording() {
        let (stage, call) = recording.call(stage, path)?;
        let made = reduced(stage, call, ROOM / size_of::<f32>()).map_err(pipeline::Error::from)?;
        return made.ok_or_else(|| {
            let shape = stage.output_on_disk(call).map_or(String::new(), |output| shape_text(&output.shape));
            InspectError::Refused(tr!("{path}: its shape is {shape}, too large for a picture", path, shape))
        });
    }
    let output = PlainTensor::of(&outputs::output_of(backend, before, path, host)?)?;
    Ok(Reduced { output, side: 1 })
}

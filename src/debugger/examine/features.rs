//! What a module made, as a picture.

use super::{ExamineError, again};
use crate::nn::{Path, Probe, Result};
use crate::picture::Picture;
use crate::picture::features::{Drawn, Features, Row};
use crate::pipeline::models::runs_in;
use crate::pipeline::{self, Models, Snapshot, StageRecord};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::sync::Arc;

/// Feature maps, and how they are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeaturesAsked {
    /// The module.
    pub path: String,
    /// How its channels are drawn.
    pub drawn: Drawn,
    /// Which row of the batch.
    pub row: Row,
}

/// Bytes of what a module made that are kept for when it is drawn in another way.
const ROOM: usize = 64 << 20;

/// What a module made that was drawn last.
#[derive(Debug)]
pub struct Kept {
    record: Arc<StageRecord>,
    path: String,
    made: PlainTensor,
}

/// Runs the stage that made `record`, which follows `before`, once more as far as the module, and draws what that makes.
/// What is in `kept` is drawn without.
///
/// # Errors
/// The stage's, or the host's; [`Refused`](ExamineError::Refused) where there is no such module in the stage, or it makes
/// no picture.
pub fn examine(
    models: &Models,
    record: &Arc<StageRecord>,
    before: &Snapshot,
    asked: &FeaturesAsked,
    kept: &mut Option<Kept>,
    host: &mut dyn Probe,
) -> std::result::Result<Picture, ExamineError> {
    let known = kept.as_ref().filter(|kept| Arc::ptr_eq(&kept.record, record) && kept.path == asked.path);
    let made = match known {
        Some(known) => known.made.clone(),
        None => {
            let made = made_by(models, before, &asked.path, host)?;
            let fits = size_of_val(made.data()) <= ROOM;
            let (record, path) = (Arc::clone(record), asked.path.clone());
            *kept = fits.then(|| Kept { record, path, made: made.clone() });
            made
        }
    };
    let request = before.request();
    let scale = models.vae.config().scale_factor();
    let features = Features::of(&made, asked.row, (request.height / scale, request.width / scale))
        .map_err(|why| ExamineError::Refused(format!("{} is no picture: {why}", asked.path)))?;
    let picture = features.picture(asked.drawn);
    let rows = made.shape().first().copied().unwrap_or(1);
    let row = if rows == 1 { String::new() } else { format!(" ({})", asked.row.name()) };
    Ok(Picture { label: format!("{}{row}", picture.label), ..picture })
}

fn made_by(
    models: &Models,
    before: &Snapshot,
    path: &str,
    host: &mut dyn Probe,
) -> std::result::Result<PlainTensor, ExamineError> {
    let stage = before.position().ok_or(pipeline::Error::Complete)?;
    let unknown = || {
        let near =
            models.anatomy.iter().map(|module| (strsim::jaro_winkler(path, &module.path), &module.path));
        let near = near.filter(|(how, _)| *how > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
        let meant = near.map_or(String::new(), |(_, near)| format!("did you mean `{near}`? "));
        ExamineError::Refused(format!("`{path}` is no module of {stage}; {meant}`info modules` lists them"))
    };
    if !runs_in(stage, before.request(), path) {
        return Err(unknown());
    }
    let mut seeking = Seeking { path, found: None };
    match (again::run(models, before, &mut seeking, host), seeking.found) {
        (_, Some(made)) => Ok(PlainTensor::of(&made)?),
        (Err(error), None) => Err(error.into()),
        (Ok(_), None) => Err(unknown()),
    }
}

/// Takes what a module makes, and has the stage end there.
struct Seeking<'a> {
    path: &'a str,
    found: Option<Tensor>,
}

impl Probe for Seeking<'_> {
    fn wants(&self, path: &Path) -> bool {
        path.as_str() == self.path
    }

    fn visit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        self.found = Some(output);
        Err(again::enough(path))
    }
}

//! Queries about the inside of a recorded stage. The inside is not recorded: the stage runs again from the snapshot before it,
//! watched by a probe, and what is recorded does not change.
//!
//! - [`Examination`]: a query about one record. [`Inspection`]: its answer.
//! - [`difference`]: a recorded run, compared. [`modules`]: every module of a stage. [`features`]: the output of one as a picture. [`lora`]: what a LoRA does. [`attention`]: where the words of the
//!   prompt attend, and what they do.

pub mod attention;
pub mod difference;
pub mod features;
pub mod lora;
pub mod modules;

pub use attention::{AttentionRun, Effect, EffectRun, PointRun};
pub use lora::LoraRun;
pub use modules::{ModuleRow, ModuleRun, ModulesRun};

use super::backend::Backend;
use super::language::attention::AttentionFilter;
use super::language::features::FeatureQuery;
use super::record::RecordId;
use super::replay;
use super::timeline::tree::TimelineTree;
use crate::nn;
use crate::nn::Probe;
use crate::picture::Picture;
use crate::picture::features::Row;
use crate::pipeline;
use crate::pipeline::StageRecord;
use crate::pipeline::attention::Split;
use features::Kept;
use std::sync::Arc;
use tr::tr;

/// A query about the modules of a recorded stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Examination {
    /// The record of the stage.
    pub record: RecordId,
    /// The query.
    pub asked: InspectQuery,
}

/// A query about the modules of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InspectQuery {
    /// The inputs, output and time of each module.
    Modules,
    /// Where the picture attends to each word in a step of `denoise`; the padding counts as one token.
    Attention(AttentionFilter, Split),
    /// Where a point of the latents, column and row, attends to in a step of `denoise`.
    Point((usize, usize), AttentionFilter),
    /// The effect of the tokens at these positions in a step of `denoise`.
    Effect(Vec<usize>),
    /// What the run's LoRAs do to each module.
    Loras,
    /// The output of a module, as a picture.
    Features(FeatureQuery),
    /// Both tensors of a row of a comparison, as pictures. It is no query about a record.
    Sides {
        /// The comparison's number.
        difference: usize,
        /// The index of the row.
        row: usize,
        /// The row of the batch.
        of: Row,
    },
}

/// The answer to a query: plain numbers and pictures.
#[derive(Debug, Clone, PartialEq)]
pub enum Inspection {
    /// Of [`InspectQuery::Modules`].
    Modules(ModulesRun),
    /// Of [`InspectQuery::Attention`].
    Attention(AttentionRun),
    /// Of [`InspectQuery::Point`].
    Point(PointRun),
    /// Of [`InspectQuery::Effect`].
    Effect(EffectRun),
    /// Of [`InspectQuery::Loras`].
    Loras(LoraRun),
    /// Of [`InspectQuery::Features`].
    Picture(Picture),
    /// Of [`InspectQuery::Sides`]: the judged run's, the reference's, and their distance.
    Sides([Picture; 3]),
}

/// An error of a query.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The record is gone.
    #[error("{}", tr!("that stage is no longer recorded; run it again"))]
    Gone,
    /// The stage did not run again.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// The query has no answer: what was found, and what would be right.
    #[error("{0}")]
    Refused(String),
}

impl InspectError {
    /// Whether the stage was interrupted: the query can be repeated.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Pipeline(pipeline::Error::Forward(nn::Error::Interrupted(_))))
    }
}

impl From<candle_core::Error> for InspectError {
    fn from(error: candle_core::Error) -> Self {
        Self::Pipeline(error.into())
    }
}

impl InspectQuery {
    /// Answers the query by running the stage of `record` again, to its end or as far as the answer needs. `host` can
    /// interrupt it at every module. `kept` holds the module output that was drawn last.
    ///
    /// # Errors
    /// [`InspectError`]; [`Gone`](InspectError::Gone) where no timeline has the record any more.
    pub fn carry_out(
        &self,
        timelines: &TimelineTree,
        backend: &Backend,
        record: &Arc<StageRecord>,
        kept: &mut Option<Kept>,
        host: &mut dyn Probe,
    ) -> Result<Inspection, InspectError> {
        let before = replay::before(timelines, record, backend).ok_or(InspectError::Gone)?;
        match self {
            Self::Modules => modules::examine(backend, &before, host).map(Inspection::Modules),
            Self::Attention(focus, split) => {
                let run = attention::attention(backend, &[before], focus, *split, host)?;
                Ok(Inspection::Attention(run.folded()))
            }
            Self::Point(point, focus) => {
                attention::point(backend, &[before], *point, focus, host).map(Inspection::Point)
            }
            Self::Effect(positions) => {
                let models = backend.models()?;
                let latents = before.tensor("latents").map(|(_, latents)| latents.dims4()).transpose()?;
                let decodes = latents
                    .is_some_and(|(_, _, height, width)| attention::is_affordable(models, (height, width)));
                attention::effect(backend, &before, positions, decodes, host).map(Inspection::Effect)
            }
            Self::Loras => lora::change(backend, &before, None, false, host).map(Inspection::Loras),
            Self::Sides { .. } => Err(InspectError::Gone),
            Self::Features(asked) => {
                features::examine(backend, record, &before, asked, kept, host).map(Inspection::Picture)
            }
        }
    }
}

impl Inspection {
    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Modules(run) => run.bytes(),
            Self::Attention(run) => run.bytes(),
            Self::Point(run) => run.map.len() * 4,
            Self::Effect(run) => run.bytes(),
            Self::Loras(run) => run.bytes(),
            Self::Picture(picture) => picture.image.as_raw().len(),
            Self::Sides(pictures) => pictures.iter().map(|picture| picture.image.as_raw().len()).sum(),
        }
    }
}

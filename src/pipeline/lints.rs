//! Lints: what is wrong with a run, told from its tensors after a stage. Each is a check, and says its finding in a sentence.

use super::{Stage, StageRecord};
use crate::nn::Result;
use crate::phrase::{Phrase, phrase};
use crate::tensor::{PlainTensor, Summary};
use std::sync::Arc;
use tr::tr;

/// A check of the stage that has just run.
pub trait Lint: Sync {
    /// What it looks for, in a few words.
    fn summary(&self) -> Phrase;

    /// What it finds in `last`, whose run has the records `before`; `None` if all is well.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    fn check(&self, before: &[Arc<StageRecord>], last: &StageRecord) -> Result<Option<String>>;
}

/// Every lint.
pub const LINTS: [&dyn Lint; 2] = [&NotFinite, &OneColour];

/// What all lints find.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub fn findings(before: &[Arc<StageRecord>], last: &StageRecord) -> Result<Vec<String>> {
    LINTS.iter().filter_map(|lint| lint.check(before, last).transpose()).collect()
}

/// Whether a tensor of the run has NaN or infinite values.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub fn is_finite(records: &[Arc<StageRecord>]) -> Result<bool> {
    for record in records {
        if not_finite(record)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// "latents has 1024 of 1024 values that are NaN or infinite, the first after denoise 3; `catch nan` stops at the module that makes them".
struct NotFinite;

impl Lint for NotFinite {
    fn summary(&self) -> Phrase {
        phrase("values that are NaN or infinite")
    }

    fn check(&self, before: &[Arc<StageRecord>], last: &StageRecord) -> Result<Option<String>> {
        let Some((name, count, of)) = not_finite(last)? else { return Ok(None) };
        let mut first = None;
        for record in before {
            if let Some((name, ..)) = not_finite(record)? {
                first = Some((name, record.stage));
                break;
            }
        }
        Ok(match first {
            None => Some(tr!(
                "{name} has {count} of {of} values that are NaN or infinite, the first of this run; `restart`, `catch nan` and `continue` \
                 stop at the module that makes them",
                name,
                count,
                of
            )),
            // Once is enough, and again for the picture.
            Some((first, stage)) if last.stage == Stage::VaeDecode => Some(tr!(
                "{name} has {count} of {of} values that are NaN or infinite; the first were in {first} after {stage}",
                name,
                count,
                of,
                first,
                stage
            )),
            Some(_) => None,
        })
    }
}

/// The first tensor of a stage with values that are not finite: how many, and of how many.
fn not_finite(record: &StageRecord) -> Result<Option<(&'static str, usize, usize)>> {
    for (name, tensor) in record.tensors.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
        let plain = PlainTensor::of(tensor)?;
        let count = plain.data().iter().filter(|value| !value.is_finite()).count();
        if count > 0 {
            return Ok(Some((name, count, plain.data().len())));
        }
    }
    Ok(None)
}

/// "the picture is black": a safety checker's picture, a NaN, or latents that are not scaled.
struct OneColour;

/// The largest value of a black picture, and the largest standard deviation of a channel of one colour: 1 of 255.
const NOTHING: f64 = 1. / 255.;

impl Lint for OneColour {
    fn summary(&self) -> Phrase {
        phrase("a picture that is black or of one colour")
    }

    fn check(&self, _: &[Arc<StageRecord>], last: &StageRecord) -> Result<Option<String>> {
        let Some(image) = last.tensor("image") else { return Ok(None) };
        let image = PlainTensor::of(image)?;
        let channels: Vec<Summary> = (0..3)
            .filter_map(|channel| image.plane(channel))
            .map(|(_, _, plane)| Summary::of_values(plane))
            .collect();
        let is_flat = channels.len() == 3
            && channels.iter().all(|channel| channel.nan + channel.inf == 0 && channel.std <= NOTHING);
        if !is_flat {
            return Ok(None);
        }
        Ok(Some(match channels.iter().all(|channel| channel.max <= NOTHING) {
            true => tr!("the picture is black"),
            false => tr!("the picture is of one colour"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{SchedulerChoice, scheduler};
    use candle_core::{Device, Tensor};
    use std::time::Duration;

    fn record(stage: Stage, name: &'static str, values: Vec<f32>) -> Arc<StageRecord> {
        let side = (values.len() / 3).isqrt();
        let tensor = Tensor::from_vec(values, (1, 3, side, side), &Device::Cpu).unwrap();
        let scheduler = scheduler(SchedulerChoice::default().config(), 4, 0.).unwrap();
        Arc::new(StageRecord {
            stage,
            tensors: vec![(name, tensor)],
            step: None,
            guidance_scale: 7.5,
            scheduler,
            sigma: None,
            edited: vec![],
            warnings: vec![],
            cut: [None, None],
            took: Duration::ZERO,
        })
    }

    #[test]
    fn the_first_that_is_not_finite_is_named_and_again_for_the_picture() {
        let denoise = |step, value: f32| record(Stage::Denoise { step }, "latents", vec![value; 12]);
        let (well, bad) = (denoise(0, 1.), denoise(1, f32::NAN));
        assert_eq!(findings(&[], &well).unwrap(), Vec::<String>::new());
        let found = findings(&[Arc::clone(&well)], &bad).unwrap();
        assert!(
            found[0].starts_with("latents has 12 of 12 values that are NaN or infinite, the first"),
            "{found:?}"
        );
        let next = denoise(2, f32::INFINITY);
        let before = [well, bad, next];
        assert_eq!(findings(&before[..2], &before[2]).unwrap(), Vec::<String>::new());
        let found = findings(&before, &record(Stage::VaeDecode, "image", vec![f32::NAN; 12])).unwrap();
        assert!(found[0].ends_with("the first were in latents after denoise 1"), "{found:?}");
        assert!(!is_finite(&before).unwrap() && is_finite(&before[..1]).unwrap());
    }

    #[test]
    fn a_picture_of_one_colour_is_named() {
        let found = |values: Vec<f32>| findings(&[], &record(Stage::VaeDecode, "image", values)).unwrap();
        assert_eq!(found(vec![0.; 12]), ["the picture is black"]);
        assert_eq!(found([[1.; 4], [0.5; 4], [0.; 4]].concat()), ["the picture is of one colour"]);
        assert_eq!(found((0..12).map(|i| i as f32 / 12.).collect()), Vec::<String>::new());
        assert!(LINTS.iter().all(|lint| !lint.summary().is_empty()));
    }
}

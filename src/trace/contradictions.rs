//! What a trace says of itself that its tensors contradict.

use super::Trace;
use super::run::abridged;
use crate::pipeline::{Request, Stage};
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use candle_core::Tensor;
use tr::tr;

/// Relative differences up to this are rounding, in sixteen bits too.
pub const SAME: f64 = 1e-2;

/// ‖a − b‖ / ‖b‖; `None` if the shapes differ.
pub fn apart(a: &Tensor, b: &Tensor) -> Option<f64> {
    let values = |tensor: &Tensor| PlainTensor::of(tensor).ok();
    let (a, b) = (values(a)?, values(b)?);
    (a.shape() == b.shape()).then(|| relative_difference(a.data(), b.data()))
}

/// The guidance scale of a recorded step, and what is wrong with the one that the settings say.
pub fn guidance(tensors: &[(&'static str, Tensor)], scale: f64) -> (f64, Vec<String>) {
    let of = |name: &str| {
        let found = tensors.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, tensor)| PlainTensor::of(tensor).ok())
    };
    let (Some(uncond), Some(text)) = (of("uncond_residual"), of("text_cond_residual")) else {
        return (scale, vec![]);
    };
    let Some(guided) = of("guided_noise_residual") else { return (scale, vec![]) };
    let is_one_shape = uncond.shape() == text.shape() && text.shape() == guided.shape();
    if !is_one_shape || ![&uncond, &text, &guided].iter().all(|tensor| tensor.is_finite()) {
        return (scale, vec![]);
    }
    let at = |index: usize| [&uncond, &text, &guided].map(|tensor| f64::from(tensor.data()[index]));
    let all = || (0..guided.data().len()).map(at);
    let push: f64 = all().map(|[u, t, _]| (t - u).powi(2)).sum();
    let norm: f64 = all().map(|[_, _, g]| g.powi(2)).sum();
    if push == 0. || norm == 0. {
        return (scale, vec![]);
    }
    let away =
        |scale: f64| (all().map(|[u, t, g]| (u + scale * (t - u) - g).powi(2)).sum::<f64>() / norm).sqrt();
    if away(scale) <= SAME {
        return (scale, vec![]);
    }
    let fitted = all().map(|[u, t, g]| (g - u) * (t - u)).sum::<f64>() / push;
    if away(fitted) <= SAME {
        let fitted = (fitted * 1e3).round() / 1e3;
        return (
            fitted,
            vec![tr!("guidance_scale is {scale} in the settings, and {fitted} in this step", scale, fitted)],
        );
    }
    let told = tr!(
        "the guided residual is not uncond_residual + guidance_scale · (text_cond_residual − uncond_residual)"
    );
    (f64::NAN, vec![told])
}

/// Why a schedule is not the recorded one.
pub fn contradiction(trace: &Trace, request: &Request, ours: &[f64]) -> Option<String> {
    let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3;
    let theirs = trace.manifest().scheduler.as_ref().map_or(&[][..], |entry| &entry.timesteps);
    // With a start image, a trace has the last timesteps alone.
    let tail = ours.len().checked_sub(theirs.len()).map(|start| &ours[start..]);
    if !theirs.is_empty() && !tail.is_some_and(|tail| tail.iter().zip(theirs).all(is_near)) {
        return Some(tr!(
            "the timesteps are {found} and not {expected}, which follow from the settings",
            found = abridged(theirs),
            expected = abridged(ours)
        ));
    }
    if !is_part(trace, request) {
        let steps = request.steps();
        return Some(tr!(
            "the recorded steps are not a part of the {} that follow from the settings",
            steps.len()
        ));
    }
    trace.stages().iter().find_map(|stage| match (stage.stage, stage.timestep) {
        (Stage::Denoise { step }, Some(found)) => {
            let expected = ours.get(step).copied().filter(|expected| !is_near((&found, expected)))?;
            let stage = stage.stage;
            Some(tr!("the timestep of {stage} is {found} and not {expected}", stage, found, expected))
        }
        _ => None,
    })
}

/// Whether every recorded step is one of the run.
pub fn is_part(trace: &Trace, request: &Request) -> bool {
    let steps = request.steps();
    trace.stages().iter().all(|stage| match stage.stage {
        Stage::Denoise { step } => steps.contains(&step),
        _ => true,
    })
}

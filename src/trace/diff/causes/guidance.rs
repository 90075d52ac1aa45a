//! Mistakes in the lines around the UNet: which row is which, and classifier-free guidance.

use super::{Candidate, Case};
use crate::nn::Result;
use crate::pipeline::lines;
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use tr::tr;

type Candidates = Result<Vec<Candidate>>;

/// Both residuals and the scale, if the line is guidance.
fn guided<'c>(case: &'c Case<'_>) -> Result<Option<(&'c Tensor, &'c Tensor, f64)>> {
    let is_it = case.path == lines::GUIDANCE.as_str();
    let (true, [_, uncond, text, scale]) = (is_it, &case.inputs[..]) else { return Ok(None) };
    let scale = scale.flatten_all()?.get(0)?.to_scalar::<f32>()?;
    Ok(Some((uncond, text, scale.into())))
}

/// The rows of guidance exchanged: by the line that runs the UNet, or by guidance itself.
pub fn rows_swapped(case: &Case<'_>) -> Candidates {
    if let (true, [_, other]) = (case.path == lines::UNET.as_str(), &case.inputs[..]) {
        return Ok(vec![Candidate::new("", other.clone())]);
    }
    let Some((uncond, text, scale)) = guided(case)? else { return Ok(vec![]) };
    let swapped = (text + ((uncond - text)? * scale)?)?;
    Ok(vec![Candidate::new("", swapped)])
}

/// Another guidance scale: the one that fits best. In Ho and Salimans' paper, the weight is one less than diffusers' scale.
pub fn scale(case: &Case<'_>) -> Candidates {
    let Some((uncond, text, scale)) = guided(case)? else { return Ok(vec![]) };
    let (uncond_of, text_of) = (PlainTensor::of(uncond)?, PlainTensor::of(text)?);
    let expected = case.recorded().data();
    if expected.len() != uncond_of.data().len() {
        return Ok(vec![]);
    }
    let (mut along, mut length) = (0., 0.);
    for ((uncond, text), guided) in uncond_of.data().iter().zip(text_of.data()).zip(expected) {
        let direction = f64::from(*text) - f64::from(*uncond);
        along += (f64::from(*guided) - f64::from(*uncond)) * direction;
        length += direction * direction;
    }
    let fitted = along / length;
    if !fitted.is_finite() {
        return Ok(vec![]);
    }
    let found = format!("{fitted:.4}");
    let detail = tr!("{} and not {scale}", found.trim_end_matches('0').trim_end_matches('.'), scale);
    Ok(vec![Candidate::new(detail, (uncond + ((text - uncond)? * fitted)?)?)])
}

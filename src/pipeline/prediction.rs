//! Whether a UNet predicts the noise (epsilon) or the velocity (v), found out with one call.
//!
//! At t = 999 the latents are noise and almost nothing else. A UNet that predicts the noise gives them back. The velocity there is
//! almost −x₀, an image that the latents hardly contain.

use super::Error;
use crate::checkpoint::single::prediction::Prediction;
use crate::checkpoint::{LoadError, ModelSource};
use crate::model::{ClipTextModel, ClipTokenizer, UNet2DConditionModel};
use crate::nn::Unwatched;
use crate::tensor::Generator;
use candle_core::{DType, Device, Tensor};
use tr::tr;

/// The last timestep of training.
const T: f64 = 999.;
/// Height and width of the latents: few, as the answer does not depend on them.
const SIZE: usize = 32;
/// From this correlation on, the output is the noise.
const EPSILON_FROM: f64 = 0.8;
/// Up to this correlation, of either sign, the output is the velocity.
const V_TO: f64 = 0.5;

/// The models that are asked.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Text → token ids.
    pub tokenizer: &'a ClipTokenizer,
    /// Token ids → embeddings.
    pub text_encoder: &'a ClipTextModel,
    /// The UNet in question.
    pub unet: &'a UNet2DConditionModel,
    /// The device of computation.
    pub device: &'a Device,
    /// The dtype of the models.
    pub dtype: DType,
}

/// `source` with the prediction type of its UNet.
///
/// # Errors
/// When the UNet cannot run, or the correlation says neither.
pub fn found_out(source: &ModelSource, models: Asked<'_>) -> Result<ModelSource, LoadError> {
    let wrong =
        |found: String, expected: String| LoadError::File { path: source.to_string(), found, expected };
    let figure = correlation(models)
        .map_err(|e| wrong(e.to_string(), tr!("a UNet that can run, or --prediction-type")))?;
    let shown = format!("{figure:.3}");
    match judged(figure) {
        Some(prediction) => {
            let why = tr!(
                "{source}: it predicts {prediction}: at t = 999 the UNet's output correlates with the latents by {shown} (epsilon \
                 from {EPSILON_FROM} on, v up to {V_TO}); --prediction-type spares this call",
                source,
                prediction,
                shown,
                EPSILON_FROM,
                V_TO
            );
            Ok(source.with_prediction(prediction, why))
        }
        None => Err(wrong(
            tr!(
                "at t = 999 the UNet's output correlates with the latents by {shown}, which is neither epsilon (from {EPSILON_FROM} \
                 on) nor v (up to {V_TO})",
                shown,
                EPSILON_FROM,
                V_TO
            ),
            tr!("--prediction-type epsilon or v_prediction"),
        )),
    }
}

/// The prediction type that a correlation says.
fn judged(correlation: f64) -> Option<Prediction> {
    match correlation {
        c if c >= EPSILON_FROM => Some(Prediction::Epsilon),
        c if c.abs() <= V_TO => Some(Prediction::VPrediction),
        _ => None,
    }
}

/// The correlation of pure noise with the UNet's output for it at t = 999, with an empty prompt.
///
/// # Errors
/// When the device fails.
pub fn correlation(models: Asked<'_>) -> Result<f64, Error> {
    let Asked { tokenizer, text_encoder, unet, device, dtype } = models;
    let prompt = tokenizer.encode("")?;
    let row = |ids: &[u32]| Tensor::from_iter(ids.iter().map(|&id| i64::from(id)), device)?.unsqueeze(0);
    let mask = row(&prompt.attention_mask)?;
    let mask = text_encoder.config().use_attention_mask.then_some(&mask);
    let embeds = text_encoder.forward(&row(&prompt.input_ids)?, mask, &[], &mut Unwatched)?;
    let shape = [1, unet.config().in_channels, SIZE, SIZE];
    let noise = Generator::manual_seed(0).randn(shape.iter().product());
    let latents = Tensor::from_slice(&noise, &shape, device)?.to_dtype(dtype)?;
    let output = unet.forward(&latents, T, &embeds, None, &mut Unwatched)?;
    let output = output.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(pearson(&noise, &output))
}

/// Pearson's correlation coefficient; NaN if a side is constant.
fn pearson(a: &[f32], b: &[f32]) -> f64 {
    let mean = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0., 0., 0.);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a) - mean_a, f64::from(b) - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Models;

    #[test]
    fn a_correlation_says_which_or_neither() {
        for (correlation, prediction) in [
            (1., Some(Prediction::Epsilon)),
            (0.8, Some(Prediction::Epsilon)),
            (0.79, None),
            (0.51, None),
            (0.5, Some(Prediction::VPrediction)),
            (0.07, Some(Prediction::VPrediction)),
            (-0.5, Some(Prediction::VPrediction)),
            (-0.6, None),
            (f64::NAN, None),
        ] {
            assert_eq!(judged(correlation), prediction, "{correlation}");
        }
    }

    #[test]
    fn pearsons_coefficient() {
        assert!((pearson(&[1., 2., 3.], &[2., 4., 6.]) - 1.).abs() < 1e-12);
        assert!((pearson(&[1., 2., 3.], &[-1., -2., -3.]) + 1.).abs() < 1e-12);
        assert!(pearson(&[1., -1., 1., -1.], &[1., 1., -1., -1.]).abs() < 1e-12);
        assert!(pearson(&[1., 2.], &[3., 3.]).is_nan());
    }

    /// The bundled model was trained to predict v.
    #[test]
    #[cfg(feature = "bundled")]
    fn a_trained_model_that_predicts_v() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        let Models { tokenizer, text_encoder, unet, device, dtype, .. } = &models;
        let figure = correlation(Asked { tokenizer, text_encoder, unet, device, dtype: *dtype }).unwrap();
        println!("{figure}");
        assert_eq!(models.scheduler.config().prediction_type.name(), "v_prediction");
        assert_eq!(judged(figure), Some(Prediction::VPrediction), "{figure}");
    }
}

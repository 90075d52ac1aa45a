//! What the UNet's output is: the noise (epsilon), or the velocity (v), as a file's metadata says.

use super::super::LoadError;
use super::shapes::Header;
use crate::nn::error::abridged;
use std::fmt;
use std::str::FromStr;
use tr::tr;

/// The type of prediction, under diffusers' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise in the latents.
    Epsilon,
    /// √ᾱ·ε − √(1−ᾱ)·x₀ (Salimans and Ho, 2022, "Progressive Distillation", appendix D).
    VPrediction,
}

impl Prediction {
    /// diffusers' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::VPrediction => "v_prediction",
        }
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Prediction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Epsilon, Self::VPrediction]
            .into_iter()
            .find(|prediction| prediction.name() == text)
            .ok_or_else(|| tr!("expected epsilon or v_prediction"))
    }
}

/// Keys of `__metadata__` that say it, with their values: those of the ModelSpec standard, then kohya's `sd-scripts`.
const METADATA: [(&str, &[(&str, Prediction)]); 3] = [
    (
        "modelspec.prediction_type",
        &[
            ("epsilon", Prediction::Epsilon),
            ("v", Prediction::VPrediction),
            ("v_prediction", Prediction::VPrediction),
        ],
    ),
    (
        "modelspec.architecture",
        &[
            ("stable-diffusion-v2-512", Prediction::Epsilon),
            ("stable-diffusion-v2-768-v", Prediction::VPrediction),
        ],
    ),
    (
        "ss_base_model_version",
        &[
            ("sd_v1", Prediction::Epsilon),
            ("sd_v1_v", Prediction::VPrediction),
            ("sd_v2", Prediction::Epsilon),
            ("sd_v2_v", Prediction::VPrediction),
        ],
    ),
];

/// The prediction that the metadata say, and the entry that says it.
///
/// # Errors
/// When `modelspec.prediction_type` has a value that is neither.
pub fn of_metadata(header: Header<'_>) -> Result<Option<(Prediction, String)>, LoadError> {
    for (key, values) in METADATA {
        let Some(found) = header.0.metadata(key) else { continue };
        let known = values.iter().find(|(value, _)| *value == found);
        if let Some((_, prediction)) = known {
            return Ok(Some((*prediction, format!("`{key}` {found:?}"))));
        }
        if key == METADATA[0].0 {
            let found = tr!("`{key}` in its metadata is {}", format_args!("{:?}", abridged(found)), key);
            return Err(header.wrong(found, r#""epsilon" or "v", or --prediction-type"#));
        }
    }
    Ok(None)
}

//! Typical bugs of pipelines, made on purpose to show their effects. Each is a probe around the stage; models and stages do not
//! contain them.

use super::snapshot::Stage;
use super::{Models, lines};
use crate::nn::{Path, Probe, Result};
use crate::phrase::{Phrase, phrase};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;
use tr::tr;

/// A deliberate bug. In files it is written as in `set fault`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Fault {
    /// Latents are not divided by the scaling factor before decoding.
    NoScalingFactor,
    /// The decoded image is not mapped from [−1, 1] to [0, 1].
    NoDenormalize,
    /// The scheduler takes v for noise.
    EpsilonForV,
    /// The residuals with and without the prompt are swapped.
    SwappedResiduals,
    /// Height and width of the first noise are swapped.
    TransposedLatents,
    /// The UNet gets the step's number instead of the timestep.
    WrongTimestep,
    /// One value of a tensor is NaN.
    NanIn(NanTensor),
}

/// A tensor into which a fault can insert NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NanTensor {
    /// `prompt_embeds`.
    PromptEmbeds,
    /// `negative_prompt_embeds`.
    NegativePromptEmbeds,
    /// `latents` of `get_latent` and of every step.
    Latents,
    /// `uncond_residual`.
    UncondResidual,
    /// `text_cond_residual`.
    TextCondResidual,
    /// `guided_noise_residual`.
    GuidedNoiseResidual,
    /// `image`.
    Image,
}

impl NanTensor {
    /// Every tensor with its name.
    const ALL: [(&'static str, Self); 7] = [
        ("prompt_embeds", Self::PromptEmbeds),
        ("negative_prompt_embeds", Self::NegativePromptEmbeds),
        ("latents", Self::Latents),
        ("uncond_residual", Self::UncondResidual),
        ("text_cond_residual", Self::TextCondResidual),
        ("guided_noise_residual", Self::GuidedNoiseResidual),
        ("image", Self::Image),
    ];

    /// Its row in the output of the line at `path`; `None` if another line produces it.
    fn row_at(self, path: &Path) -> Option<usize> {
        let is = |line: &std::sync::LazyLock<Path>| path == &**line;
        let (is_made, row) = match self {
            Self::PromptEmbeds => (is(&lines::TEXT_ENCODER), 1),
            Self::NegativePromptEmbeds => (is(&lines::TEXT_ENCODER), 0),
            // Without steps, the start image's latents are the only ones.
            Self::Latents => {
                let made_by = [&lines::ENCODE, &lines::RANDN, &lines::ADD_NOISE, &lines::SCHEDULER_STEP];
                (made_by.into_iter().any(is), 0)
            }
            Self::UncondResidual => (is(&lines::UNET), 0),
            Self::TextCondResidual => (is(&lines::UNET), 1),
            Self::GuidedNoiseResidual => (is(&lines::GUIDANCE), 0),
            Self::Image => (is(&lines::DENORMALIZE), 0),
        };
        is_made.then_some(row)
    }
}

impl Fault {
    /// Every fault without an argument: its name and a description.
    pub const ALL: [(&'static str, Self, Phrase); 6] = [
        (
            "no_scaling_factor",
            Self::NoScalingFactor,
            phrase("latents are not divided by the VAE's scaling factor"),
        ),
        ("no_denormalize", Self::NoDenormalize, phrase("the decoded picture stays between -1 and 1")),
        ("epsilon_for_v", Self::EpsilonForV, phrase("the scheduler takes v for noise")),
        (
            "swapped_residuals",
            Self::SwappedResiduals,
            phrase("the residuals with and without the prompt are swapped"),
        ),
        (
            "transposed_latents",
            Self::TransposedLatents,
            phrase("height and width of the first noise are swapped"),
        ),
        (
            "wrong_timestep",
            Self::WrongTimestep,
            phrase("the UNet gets the step's number instead of the timestep"),
        ),
    ];

    /// Whether the fault occurs in `stage`.
    pub fn is_made_in(self, stage: Stage) -> bool {
        match self {
            Self::NoScalingFactor | Self::NoDenormalize | Self::NanIn(NanTensor::Image) => {
                stage == Stage::VaeDecode
            }
            Self::TransposedLatents => stage == Stage::GetLatent,
            Self::NanIn(NanTensor::PromptEmbeds | NanTensor::NegativePromptEmbeds) => {
                stage == Stage::EncodePrompt
            }
            Self::NanIn(NanTensor::Latents) => matches!(stage, Stage::GetLatent | Stage::Denoise { .. }),
            Self::EpsilonForV
            | Self::SwappedResiduals
            | Self::WrongTimestep
            | Self::NanIn(
                NanTensor::UncondResidual | NanTensor::TextCondResidual | NanTensor::GuidedNoiseResidual,
            ) => matches!(stage, Stage::Denoise { .. }),
        }
    }

    /// Parses a fault: a name of [`ALL`](Self::ALL), or `nan_in TENSOR`.
    ///
    /// # Errors
    /// The expected names.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        if let Some((_, fault, _)) = Self::ALL.iter().find(|(name, ..)| *name == text) {
            return Ok(*fault);
        }
        let known = || NanTensor::ALL.map(|(name, _)| name).join(", ");
        match text.strip_prefix("nan_in").map(str::trim) {
            Some(tensor) => match NanTensor::ALL.iter().find(|(name, _)| *name == tensor) {
                Some((_, watched)) => Ok(Self::NanIn(*watched)),
                None => Err(tr!("nan_in takes a tensor: {}", known())),
            },
            None => {
                let names = Self::ALL.map(|(name, ..)| name).join(", ");
                Err(tr!("expected one of {names}, nan_in TENSOR, off", names))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::NanIn(tensor) = self {
            let name = NanTensor::ALL.iter().find(|(_, known)| known == tensor).map_or("", |(name, _)| name);
            return write!(f, "nan_in {name}");
        }
        f.write_str(Self::ALL.iter().find(|(_, known, _)| known == self).map_or("", |(name, ..)| name))
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        Self::parse(&text).map_err(|expected| tr!("unknown fault `{text}`: {expected}", text, expected))
    }
}

/// A probe that makes the fault and passes everything else to another probe.
pub(super) struct Faulty<'a> {
    pub fault: Option<Fault>,
    pub stage: Stage,
    pub models: &'a Models,
    pub probe: &'a mut dyn Probe,
}

impl Faulty<'_> {
    /// Whether the fault occurs at `path`.
    fn is_at(&self, path: &Path) -> bool {
        let is = |line: &std::sync::LazyLock<Path>| path == &**line;
        let Some(fault) = self.fault else { return false };
        match fault {
            Fault::NoScalingFactor => is(&lines::SCALE),
            Fault::NoDenormalize => is(&lines::DENORMALIZE),
            Fault::SwappedResiduals | Fault::WrongTimestep => is(&lines::UNET),
            Fault::TransposedLatents => is(&lines::RANDN),
            Fault::NanIn(tensor) => tensor.row_at(path).is_some(),
            // `Request::check` changes the scheduler instead.
            Fault::EpsilonForV => false,
        }
    }
}

impl Probe for Faulty<'_> {
    fn wants(&self, path: &Path) -> bool {
        self.is_at(path) || self.probe.wants(path)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        if self.probe.wants(path) { self.probe.enter(path, inputs) } else { Ok(()) }
    }

    fn intercept(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        match (self.fault, inputs, self.stage) {
            (Some(Fault::NoScalingFactor | Fault::NoDenormalize), [given, ..], _) if self.is_at(path) => {
                return Ok(Some((*given).clone()));
            }
            (Some(Fault::WrongTimestep), [sample, embeds, cond @ ..], Stage::Denoise { step })
                if self.is_at(path) =>
            {
                let (unet, cond) = (&self.models.unet, cond.first().copied());
                let residual = unet.forward(sample, step as f64, embeds, cond, self.probe)?;
                return Ok(Some(residual.to_dtype(DType::F32)?));
            }
            _ => {}
        }
        if self.probe.wants(path) { self.probe.intercept(path, inputs) } else { Ok(None) }
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let output = match self.fault {
            Some(Fault::SwappedResiduals) if self.is_at(path) => {
                Tensor::cat(&[output.narrow(0, 1, 1)?, output.narrow(0, 0, 1)?], 0)?
            }
            Some(Fault::TransposedLatents) if self.is_at(path) => output.transpose(2, 3)?.contiguous()?,
            Some(Fault::NanIn(tensor)) => match tensor.row_at(path) {
                Some(row) => with_nan(&output, row)?,
                None => output,
            },
            _ => output,
        };
        if self.probe.wants(path) { self.probe.exit(path, output) } else { Ok(output) }
    }
}

/// `tensor` with NaN as the first value of a row.
fn with_nan(tensor: &Tensor, row: usize) -> Result<Tensor> {
    let (shape, dtype) = (tensor.shape().clone(), tensor.dtype());
    let mut values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let rows = shape.dims().first().copied().unwrap_or(1).max(1);
    let first = row * (values.len() / rows);
    if let Some(value) = values.get_mut(first) {
        *value = f32::NAN;
    }
    Ok(Tensor::from_vec(values, shape, tensor.device())?.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for (name, fault, _) in Fault::ALL {
            assert_eq!((Fault::parse(name), fault.to_string().as_str()), (Ok(fault), name));
        }
        for (name, tensor) in NanTensor::ALL {
            let text = format!("nan_in {name}");
            assert_eq!(
                (Fault::parse(&text), Fault::NanIn(tensor).to_string()),
                (Ok(Fault::NanIn(tensor)), text.clone())
            );
        }
        let text = serde_json::to_string(&Fault::NanIn(NanTensor::Latents)).unwrap();
        assert_eq!(text, "\"nan_in latents\"");
        assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), Fault::NanIn(NanTensor::Latents));
        assert!(Fault::parse("nan_in x").unwrap_err().contains("prompt_embeds"));
        assert!(Fault::parse("").unwrap_err().contains("no_scaling_factor"));
    }
}

//! The reason of a difference: known mistakes are tried on this program's module until its output is the recorded one.
//!
//! A mistake is an entry of `HYPOTHESES`: a name, a sentence, and the outputs that it predicts for a `Case`. To add one, add an
//! entry, its function in `modules`, `wiring` or `guidance`, and a run with the mistake in `tests/library/trace_mistakes.rs`.
//!
//! - `case`: the module, its inputs, and what was recorded. `layers`: layers without submodules, from weights.
//! - `modules`: mistakes in a module. `wiring`: mistakes in what a container gives to a submodule.
//! - `guidance`: mistakes in the lines around the UNet.

mod case;
pub mod evidence;
mod guidance;
mod layers;
mod modules;
mod wiring;

pub use case::{Case, Observed};

use crate::nn::Result;
use crate::phrase::{Phrase, phrase};
use crate::pipeline::Models;
use crate::tensor::compare::relative_difference;
use crate::tensor::{PlainTensor, Summary};
use candle_core::{DType, Device, Tensor};
use layers::Layer;
use serde_json::{Value, json};

/// A known mistake.
struct Hypothesis {
    /// Its name in `--json`.
    name: &'static str,
    /// What it says, as the start of a sentence that ends with the candidate's detail.
    says: Phrase,
    /// The tensors that it predicts in place of the recorded one; none where it does not apply.
    predict: fn(&Case<'_>) -> Result<Vec<Candidate>>,
    /// Whether the mistake is in the module, or in what its container gives to it.
    place: Place,
}

/// Where a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the module.
    Module,
    /// In the container.
    Wiring,
}

/// A tensor that a mistake predicts.
pub struct Candidate {
    /// The value that was found, such as `1e-6`; empty if there is nothing to choose.
    detail: String,
    output: Tensor,
}

impl Candidate {
    fn new(detail: impl Into<String>, output: Tensor) -> Self {
        Self { detail: detail.into(), output }
    }
}

/// The candidate that fits best, if any has the recorded shape. The others are not kept: an output can have hundreds of megabytes.
fn best(case: &Case<'_>, candidates: impl IntoIterator<Item = Result<Candidate>>) -> Result<Vec<Candidate>> {
    let mut best: Option<(f64, Candidate)> = None;
    for candidate in candidates {
        let candidate = candidate?;
        if let Some(fits) = case.fits(&candidate.output)?
            && best.as_ref().is_none_or(|(known, _)| fits < *known)
        {
            best = Some((fits, candidate));
        }
    }
    Ok(best.into_iter().map(|(_, candidate)| candidate).collect())
}

/// A mistake that explains the difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// The mistake's name.
    pub name: &'static str,
    /// A sentence.
    pub says: String,
    /// Where the mistake is.
    pub place: Place,
    /// The relative difference with the mistake made here.
    pub fits: f64,
    /// The relative difference without it.
    pub without: f64,
}

impl Cause {
    /// As `--json` shows it.
    pub fn json(&self) -> Value {
        let finite = |value: f64| value.is_finite().then_some(value);
        json!({ "name": self.name, "says": self.says, "fits": self.fits, "without": finite(self.without) })
    }
}

/// The reasons that were found, best first, and every name that was tried.
#[derive(Debug, Default)]
pub struct Causes {
    /// Mistakes that bring the module within its tolerance.
    pub found: Vec<Cause>,
    /// The names of all mistakes that apply to the module.
    pub tried: Vec<&'static str>,
    /// The best one that does not fit, for a module that nothing explains.
    pub nearest: Option<Cause>,
    /// What the trace says of the module that is other than here.
    pub evidence: Vec<String>,
    /// Statistics of the tensor as recorded and as computed here.
    pub statistics: Option<(Summary, Summary)>,
}

const HYPOTHESES: &[Hypothesis] = &[
    Hypothesis {
        name: "epsilon",
        says: phrase("the normalization has another epsilon:"),
        predict: modules::epsilon,
        place: Place::Module,
    },
    Hypothesis {
        name: "groups",
        says: phrase("the group normalization has another number of groups:"),
        predict: modules::groups,
        place: Place::Module,
    },
    Hypothesis {
        name: "activation",
        says: phrase("the activation is another function:"),
        predict: modules::activation,
        place: Place::Module,
    },
    Hypothesis {
        name: "geglu_halves",
        says: phrase("GEGLU's halves are swapped"),
        predict: modules::geglu_halves,
        place: Place::Module,
    },
    Hypothesis {
        name: "geglu_activation",
        says: phrase("GEGLU's gate has another function:"),
        predict: modules::geglu_activation,
        place: Place::Module,
    },
    Hypothesis {
        name: "bias_missing",
        says: phrase("the bias is missing"),
        predict: modules::bias_missing,
        place: Place::Module,
    },
    Hypothesis {
        name: "weight_transposed",
        says: phrase("the weight is transposed"),
        predict: modules::weight_transposed,
        place: Place::Module,
    },
    Hypothesis {
        name: "weight_rounded",
        says: phrase("the weight is rounded to 16 bits:"),
        predict: modules::weight_rounded,
        place: Place::Module,
    },
    Hypothesis {
        name: "residual_missing",
        says: phrase("the residual is not added"),
        predict: modules::residual_missing,
        place: Place::Module,
    },
    Hypothesis {
        name: "time_frequencies",
        says: phrase("the time embedding differs:"),
        predict: modules::time_frequencies,
        place: Place::Module,
    },
    Hypothesis {
        name: "activation_before",
        says: phrase("the activation before this module is another function:"),
        predict: wiring::activation_before,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "attention_scale",
        says: phrase("the attention has another scale:"),
        predict: wiring::attention_scale,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "attention_heads",
        says: phrase("the attention has another number of heads:"),
        predict: wiring::attention_heads,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "attention_mask",
        says: phrase("the attention has no causal mask"),
        predict: wiring::attention_mask,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "residual_not_added",
        says: phrase("the residual is not added before this module"),
        predict: wiring::residual_not_added,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "time_not_added",
        says: phrase("the time embedding is not added"),
        predict: wiring::time_not_added,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "skip_order",
        says: phrase("the skip connection is another one:"),
        predict: wiring::skip_order,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "upsampling",
        says: phrase("the upsampling is another one:"),
        predict: wiring::upsampling,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "padding",
        says: phrase("the padding is on another side:"),
        predict: wiring::padding,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "scaling_factor",
        says: phrase("the scaling factor is another one:"),
        predict: wiring::scaling_factor,
        place: Place::Wiring,
    },
    Hypothesis {
        name: "rows_swapped",
        says: phrase("the rows of guidance are swapped"),
        predict: guidance::rows_swapped,
        place: Place::Module,
    },
    Hypothesis {
        name: "guidance_scale",
        says: phrase("the guidance scale is another one:"),
        predict: guidance::scale,
        place: Place::Module,
    },
];

/// The name of every known mistake.
pub fn names() -> impl Iterator<Item = &'static str> {
    HYPOTHESES.iter().map(|hypothesis| hypothesis.name)
}

/// The relative difference of the recorded output of a layer from its output in `f64`; `None` for a module that is no layer with
/// weights. The fast kernels of the CPU round more than others do, which is no one's mistake.
///
/// # Errors
/// When the weights cannot be read.
pub fn exact(models: &Models, path: &str, inputs: &[Tensor], expected: &PlainTensor) -> Result<Option<f64>> {
    let (Some(layer), Some(x)) = (Layer::load(models, path)?, inputs.first()) else { return Ok(None) };
    let x = x.to_device(&Device::Cpu)?;
    let stride = layers::stride(&x, expected.shape());
    // What candle has no kernel for stays as it is.
    let Ok(output) = layer.widened().and_then(|layer| layer.forward(&x.to_dtype(DType::F64)?, stride)) else {
        return Ok(None);
    };
    let output = PlainTensor::of(&output)?;
    let same = output.shape() == expected.shape();
    Ok(same.then(|| relative_difference(output.data(), expected.data())))
}

/// Tries every mistake on `case`.
///
/// # Errors
/// When the device fails, or a file cannot be read.
pub fn find(case: &Case<'_>) -> Result<Causes> {
    let mut causes = Causes { evidence: case.evidence.says.clone(), ..Causes::default() };
    for hypothesis in HYPOTHESES.iter().filter(|hypothesis| case.evidence.allows(hypothesis.name)) {
        let candidates = (hypothesis.predict)(case)?;
        let mut best: Option<Cause> = None;
        for Candidate { detail, output } in candidates {
            let Some(fits) = case.fits(&output)? else { continue };
            if best.as_ref().is_none_or(|best| fits < best.fits) {
                let says = [hypothesis.says.to_string().as_str(), &detail].join(" ").trim_end().to_string();
                let (name, place) = (hypothesis.name, hypothesis.place);
                best = Some(Cause { name, says, place, fits, without: case.without });
            }
        }
        let Some(best) = best else { continue };
        causes.tried.push(hypothesis.name);
        if best.fits <= case.tolerance {
            causes.found.push(best);
        } else if best.fits < 0.5 * best.without
            && causes.nearest.as_ref().is_none_or(|known| best.fits < known.fits)
        {
            causes.nearest = Some(best);
        }
    }
    causes.found.sort_by(|a, b| a.fits.total_cmp(&b.fits));
    Ok(causes)
}

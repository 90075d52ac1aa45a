//! Mistakes in a module: each predicts the module's output from its inputs.

use super::layers::{Kind, Layer};
use super::{Candidate, Case, best};
use crate::model::unet::UNetConfig;
use crate::model::unet::embeddings::Timesteps;
use crate::nn::activation::{gelu, quick_gelu, silu};
use crate::nn::load_report::Norm;
use crate::nn::{Path, Result, Unwatched};
use candle_core::{DType, Device, Tensor};
use tr::tr;

type Candidates = Result<Vec<Candidate>>;

/// The module's layer and first input, if its output differs.
fn layer_and_input<'c>(case: &'c Case<'_>) -> Result<Option<(Layer, &'c Tensor)>> {
    if !case.is_output() {
        return Ok(None);
    }
    Ok(case.layer()?.zip(case.inputs.first()))
}

/// Another epsilon: the usual ones, then a search around the best of a grid.
pub fn epsilon(case: &Case<'_>) -> Candidates {
    let Some((layer, x)) = layer_and_input(case)? else { return Ok(vec![]) };
    let with = |eps: f64| match layer.kind {
        Kind::Norm(Norm::Group { groups, .. }) => layer.group_norm(x, groups, eps).ok(),
        Kind::Norm(Norm::Layer { .. }) => layer.layer_norm(x, eps).ok(),
        _ => None,
    };
    let mut best: Option<(f64, f64, Candidate)> = None;
    let mut consider = |eps: f64| -> Result<Option<f64>> {
        if let Some(output) = with(eps)
            && let Some(fits) = case.fits(&output)?
            && best.as_ref().is_none_or(|(known, ..)| fits < *known)
        {
            best = Some((fits, eps, Candidate::new(format!("{eps:.1e}"), output)));
        }
        Ok(best.as_ref().map(|(_, eps, _)| *eps))
    };
    // Whole decades first: among equals, the round value is the reason.
    let mut at = None;
    for exponent in -12..=-1 {
        at = consider(10f64.powi(exponent))?;
    }
    let Some(mut at) = at else { return Ok(vec![]) };
    // Between the decades, in ever smaller steps of the exponent.
    let mut step = 0.5;
    while step > 1e-3 {
        for factor in [10f64.powf(-step), 10f64.powf(step)] {
            at = consider(at * factor)?.unwrap_or(at);
        }
        step /= 2.;
    }
    Ok(best.into_iter().map(|(.., candidate)| candidate).collect())
}

/// Another number of groups.
pub fn groups(case: &Case<'_>) -> Candidates {
    let Some((layer, x)) = layer_and_input(case)? else { return Ok(vec![]) };
    let Kind::Norm(Norm::Group { groups, eps }) = layer.kind else { return Ok(vec![]) };
    let channels = x.dim(1)?;
    let others = (1..=channels).filter(|n| channels % n == 0 && *n != groups);
    best(
        case,
        others.filter_map(|n| Some(Ok(Candidate::new(n.to_string(), layer.group_norm(x, n, eps).ok()?)))),
    )
}

type Function = fn(&Tensor) -> candle_core::Result<Tensor>;

/// The activations that are tried.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("silu", silu),
    ("relu", Tensor::relu),
    ("gelu", gelu),
    ("tanh gelu", Tensor::gelu),
    ("quick gelu", quick_gelu),
    ("none", |x| Ok(x.clone())),
];

/// Another activation.
pub fn activation(case: &Case<'_>) -> Candidates {
    let is_activation = matches!(case.name(), "nonlinearity" | "act" | "conv_act" | "activation_fn");
    let Some(x) = case.inputs.first().filter(|_| is_activation && case.is_output()) else {
        return Ok(vec![]);
    };
    best(case, FUNCTIONS.iter().map(|(name, function)| Ok(Candidate::new(*name, function(x)?))))
}

/// The halves of GEGLU's projection: the hidden states and the gate.
fn geglu(case: &Case<'_>) -> Result<Option<(Tensor, Tensor)>> {
    if !case.path.ends_with(".ff.net.0") || !case.is_output() {
        return Ok(None);
    }
    let projected = case.output_of(&format!("{}.proj", case.path))?;
    let Some(projected) = projected else { return Ok(None) };
    let halves = projected.chunk(2, candle_core::D::Minus1)?;
    Ok(halves.first().cloned().zip(halves.get(1).cloned()))
}

/// GEGLU with the gate first.
pub fn geglu_halves(case: &Case<'_>) -> Candidates {
    let Some((hidden_states, gate)) = geglu(case)? else { return Ok(vec![]) };
    Ok(vec![Candidate::new("", (gate * gelu(&hidden_states.contiguous()?)?)?)])
}

/// GEGLU with another function.
pub fn geglu_activation(case: &Case<'_>) -> Candidates {
    let Some((hidden_states, gate)) = geglu(case)? else { return Ok(vec![]) };
    let gate = gate.contiguous()?;
    let outputs = FUNCTIONS
        .iter()
        .filter(|(name, _)| *name != "gelu")
        .map(|(name, function)| Ok(Candidate::new(*name, (&hidden_states * function(&gate)?)?)));
    best(case, outputs)
}

/// The layer without its bias.
pub fn bias_missing(case: &Case<'_>) -> Candidates {
    let Some((layer, x)) = layer_and_input(case)? else { return Ok(vec![]) };
    if layer.bias.is_none() {
        return Ok(vec![]);
    }
    let layer = Layer { bias: None, ..layer };
    Ok(layer.forward(x, case.stride()).ok().map(|y| Candidate::new("", y)).into_iter().collect())
}

/// A square weight that is transposed.
pub fn weight_transposed(case: &Case<'_>) -> Candidates {
    let Some((layer, x)) = layer_and_input(case)? else { return Ok(vec![]) };
    let dims = layer.weight.dims();
    if dims.len() < 2 || dims[0] != dims[1] {
        return Ok(vec![]);
    }
    let mut found = vec![];
    let mut consider = |detail: &str, weight: candle_core::Result<Tensor>| {
        let weight = weight.and_then(|weight| weight.contiguous());
        let layer = weight.map(|weight| Layer { weight, ..layer.clone() });
        if let Ok(output) = layer.and_then(|layer| layer.forward(x, case.stride())) {
            found.push(Candidate::new(detail, output));
        }
    };
    consider("in its outputs and inputs", layer.weight.transpose(0, 1));
    if dims.len() == 4 {
        consider("in height and width", layer.weight.transpose(2, 3));
    }
    Ok(found)
}

/// The weight with fewer bits.
pub fn weight_rounded(case: &Case<'_>) -> Candidates {
    let Some((layer, x)) = layer_and_input(case)? else { return Ok(vec![]) };
    let rounded = |dtype: DType, with_bias: bool| -> candle_core::Result<Tensor> {
        let round = |tensor: &Tensor| tensor.to_dtype(dtype)?.to_dtype(DType::F32);
        let bias = match &layer.bias {
            Some(bias) if with_bias => Some(round(bias)?),
            other => other.clone(),
        };
        Layer { weight: round(&layer.weight)?, bias, ..layer.clone() }.forward(x, case.stride())
    };
    let mut found = vec![];
    for (name, dtype) in [("float16", DType::F16), ("bfloat16", DType::BF16)] {
        for with_bias in [true, false] {
            found.extend(rounded(dtype, with_bias).ok().map(|y| Candidate::new(name, y)));
        }
    }
    Ok(found)
}

/// The last submodule's output alone.
pub fn residual_missing(case: &Case<'_>) -> Candidates {
    if !case.is_output() {
        return Ok(vec![]);
    }
    let last = if case.path.contains(".resnets.") {
        "conv2"
    } else if case.path.contains(".transformer_blocks.") {
        "ff"
    } else if case.path.contains(".layers.") {
        "mlp"
    } else if case.path.contains(".attentions.") {
        "proj_out"
    } else {
        return Ok(vec![]);
    };
    let output = case.output_of(&format!("{}.{last}", case.path))?;
    Ok(output.map(|output| Candidate::new("", output)).into_iter().collect())
}

/// Sine and cosine exchanged, another shift of the frequencies, a timestep that is off by one.
pub fn time_frequencies(case: &Case<'_>) -> Candidates {
    if case.path != "unet.time_proj" || !case.is_output() {
        return Ok(vec![]);
    }
    let (config, Some(timestep)) = (case.models.unet.config(), case.stage.timestep) else {
        return Ok(vec![]);
    };
    let sample = Tensor::zeros((case.stage.rows.len().max(1), 1), DType::F32, &Device::Cpu)?;
    let embedding = |t: f64, flip_sin_to_cos: bool, freq_shift: f64| {
        let config = UNetConfig { flip_sin_to_cos, freq_shift, ..config.clone() };
        Timesteps::new(Path::new(&case.path), &config).forward(t, &sample, &mut Unwatched)
    };
    let (flip, shift) = (config.flip_sin_to_cos, config.freq_shift);
    let mut found = vec![Candidate::new(
        "sine and cosine are exchanged (flip_sin_to_cos)",
        embedding(timestep, !flip, shift)?,
    )];
    for other in [0., 1.] {
        if other != shift {
            let detail = tr!("freq_shift is {other}", other);
            found.push(Candidate::new(detail, embedding(timestep, flip, other)?));
        }
    }
    for offset in [-1., 1.] {
        let detail = tr!("the timestep is {} and not {timestep}", timestep + offset, timestep);
        found.push(Candidate::new(detail, embedding(timestep + offset, flip, shift)?));
    }
    Ok(found)
}

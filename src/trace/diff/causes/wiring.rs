//! Mistakes in what a container gives to a submodule: each predicts that input.

use super::modules::FUNCTIONS;
use super::{Candidate, Case, best};
use crate::nn::Result;
use crate::pipeline::Stage;
use candle_core::{D, DType, Device, Tensor};
use tr::tr;

type Candidates = Result<Vec<Candidate>>;

/// What the predicted inputs mean for what was recorded.
fn seen(case: &Case<'_>, inputs: Vec<(String, Tensor)>) -> Candidates {
    let outputs = inputs.into_iter().filter_map(|(detail, input)| {
        let output = input.contiguous().map_err(Into::into).and_then(|input| case.seen(input));
        output.map(|output| output.map(|output| Candidate::new(detail, output))).transpose()
    });
    best(case, outputs)
}

/// The queries, keys and values of the attention whose output projection the module is, and its number of heads.
struct Attention {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: usize,
    is_causal: bool,
}

fn attention(case: &Case<'_>) -> Result<Option<Attention>> {
    let of = |attention: &str, names: [&str; 3], heads, is_causal| -> Result<Option<Attention>> {
        let [query, key, value] = names.map(|name| case.output_of(&format!("{attention}.{name}")));
        let (Some(query), Some(key), Some(value)) = (query?, key?, value?) else { return Ok(None) };
        Ok(Some(Attention { query, key, value, heads, is_causal }))
    };
    let projections = ["to_q", "to_k", "to_v"];
    if let Some(attention) = case.path.strip_suffix(".to_out.0") {
        // The VAE's attention has one head.
        let heads = case.models.heads_at(attention).unwrap_or(1);
        return of(attention, projections, heads, false);
    }
    if let Some(attention) = case.path.strip_suffix(".out_proj") {
        let heads = case.models.text_encoder.config().num_attention_heads;
        return of(attention, ["q_proj", "k_proj", "v_proj"], heads, true);
    }
    Ok(None)
}

impl Attention {
    /// softmax(q·kᵀ · `scale`)·v in `f64`: (B, N, C).
    fn attend(&self, heads: usize, scale: f64, is_causal: bool) -> candle_core::Result<Tensor> {
        let split = |x: &Tensor| {
            let (batch, n, channels) = x.dims3()?;
            let x = x.to_dtype(DType::F64)?.reshape((batch, n, heads, channels / heads))?;
            x.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let mut scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? * scale)?;
        if is_causal {
            let (n, m) = (scores.dim(2)?, scores.dim(3)?);
            let above = (0..n).flat_map(|i| (0..m).map(move |j| if j > i { -1e30 } else { 0f64 }));
            scores = scores.broadcast_add(&Tensor::from_iter(above, &Device::Cpu)?.reshape((n, m))?)?;
        }
        let probs = candle_nn::ops::softmax(&scores, D::Minus1)?;
        probs.matmul(&value)?.transpose(1, 2)?.flatten_from(2)?.to_dtype(DType::F32)
    }

    fn usual(&self, heads: usize) -> f64 {
        let channels = self.query.dims().last().copied().unwrap_or(heads);
        1. / ((channels / heads.max(1)).max(1) as f64).sqrt()
    }
}

/// An attention without its scale, or with another one.
pub fn attention_scale(case: &Case<'_>) -> Candidates {
    let Some(attention) = attention(case)? else { return Ok(vec![]) };
    let usual = attention.usual(attention.heads);
    let channels = attention.query.dims().last().copied().unwrap_or(1).max(1) as f64;
    let scales = [
        ("1, which is none", 1.),
        ("1 / √channels, as if it had one head", 1. / channels.sqrt()),
        ("1 / d and not 1 / √d", usual * usual),
        ("applied twice, to the queries and to the keys alike", usual.powi(4)),
        ("1 / √heads", 1. / (attention.heads.max(1) as f64).sqrt()),
        ("half of it", usual / 2.),
        ("twice of it", usual * 2.),
    ];
    let mut inputs = vec![];
    for (detail, scale) in scales.into_iter().filter(|(_, scale)| (scale / usual - 1.).abs() > 1e-9) {
        let input = attention.attend(attention.heads, scale, attention.is_causal)?;
        inputs.push((detail.to_string(), input));
    }
    seen(case, inputs)
}

/// An attention with another number of heads, such as the head's size.
pub fn attention_heads(case: &Case<'_>) -> Candidates {
    let Some(attention) = attention(case)? else { return Ok(vec![]) };
    let channels = attention.query.dims().last().copied().unwrap_or(0);
    let mut inputs = vec![];
    for heads in (1..=channels).filter(|n| channels % n == 0 && *n != attention.heads && *n <= 64) {
        let input = attention.attend(heads, attention.usual(heads), attention.is_causal)?;
        let size = channels / attention.heads.max(1);
        let detail = match heads == size {
            true => tr!("{heads}, the size of a head, and not {}", attention.heads, heads),
            false => tr!("{heads} and not {}", attention.heads, heads),
        };
        inputs.push((detail, input));
    }
    seen(case, inputs)
}

/// The text encoder's attention to later tokens.
pub fn attention_mask(case: &Case<'_>) -> Candidates {
    let Some(attention) = attention(case)?.filter(|attention| attention.is_causal) else { return Ok(vec![]) };
    let input = attention.attend(attention.heads, attention.usual(attention.heads), false)?;
    seen(case, vec![(String::new(), input)])
}

/// Another activation before a layer. Many ports have no module for it.
pub fn activation_before(case: &Case<'_>) -> Candidates {
    let Some((block, name)) = case.path.rsplit_once('.') else { return Ok(vec![]) };
    let before = match name {
        "conv1" => "norm1",
        "conv2" => "norm2",
        "conv_out" => "conv_norm_out",
        "linear_2" => "linear_1",
        "fc2" => "fc1",
        _ => return Ok(vec![]),
    };
    let Some(x) = case.output_of(&format!("{block}.{before}"))? else { return Ok(vec![]) };
    let x = x.contiguous()?;
    let inputs = FUNCTIONS.iter().map(|(name, function)| Ok((name.to_string(), function(&x)?)));
    seen(case, inputs.collect::<Result<_>>()?)
}

/// A transformer block that does not add its residual before the next normalization.
pub fn residual_not_added(case: &Case<'_>) -> Candidates {
    let Some((block, _)) = case.path.rsplit_once('.') else { return Ok(vec![]) };
    let before = match case.name() {
        "norm2" if block.contains("transformer_blocks") => "attn1",
        "norm3" => "attn2",
        "layer_norm2" => "self_attn",
        _ => return Ok(vec![]),
    };
    let Some(output) = case.output_of(&format!("{block}.{before}"))? else { return Ok(vec![]) };
    seen(case, vec![(String::new(), output)])
}

/// A residual block without the time embedding.
pub fn time_not_added(case: &Case<'_>) -> Candidates {
    let Some(block) = case.path.strip_suffix(".norm2").filter(|block| block.contains(".resnets.")) else {
        return Ok(vec![]);
    };
    let Some(output) = case.output_of(&format!("{block}.conv1"))? else { return Ok(vec![]) };
    seen(case, vec![(String::new(), output)])
}

/// An up block with another skip connection, or with the skip connection first.
pub fn skip_order(case: &Case<'_>) -> Candidates {
    // The first layer of a residual block has the block's own input.
    let block = case.path.strip_suffix(".norm1").unwrap_or(&case.path);
    if !(block.starts_with("unet.up_blocks.") && block.contains(".resnets.")) {
        return Ok(vec![]);
    }
    let Some(joined) = case.inputs.first() else { return Ok(vec![]) };
    let skips = &case.skips;
    // The right one is the end of this program's input.
    let channels = joined.dim(1)?;
    let mut right = None;
    for (path, skip) in skips {
        let own = skip.dim(1)?;
        if skip.dims()[2..] != joined.dims()[2..] || own >= channels {
            continue;
        }
        let end = joined.narrow(1, channels - own, own)?;
        if (end - skip)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()? == 0. {
            right = Some((path.clone(), skip.clone()));
            break;
        }
    }
    let Some((right, skip)) = right else { return Ok(vec![]) };
    let hidden_states = joined.narrow(1, 0, channels - skip.dim(1)?)?.contiguous()?;
    let mut inputs =
        vec![("the skip connection comes first".to_string(), Tensor::cat(&[&skip, &hidden_states], 1)?)];
    for (path, other) in skips.iter().filter(|(path, other)| *path != right && other.dims() == skip.dims()) {
        inputs.push((tr!("{path} and not {right}", path, right), Tensor::cat(&[&hidden_states, other], 1)?));
    }
    seen(case, inputs)
}

/// Bilinear for nearest upsampling, with and without aligned corners.
pub fn upsampling(case: &Case<'_>) -> Candidates {
    let is_it = case.path.contains(".upsamplers.") && case.name() == "conv";
    let (Some((_, of_container)), true) = (case.container(), is_it) else { return Ok(vec![]) };
    let (Some(x), Some(here)) = (of_container.first(), case.inputs.first()) else { return Ok(vec![]) };
    let (_, _, h, w) = here.dims4()?;
    let x = x.contiguous()?;
    let inputs = [("bilinear", false), ("bilinear with aligned corners", true)];
    let inputs = inputs
        .into_iter()
        .map(|(detail, aligned)| Ok((detail.to_string(), x.upsample_bilinear2d(h, w, aligned)?)))
        .collect::<Result<_>>()?;
    seen(case, inputs)
}

/// The VAE encoder's downsampling with its padding on another side.
pub fn padding(case: &Case<'_>) -> Candidates {
    let is_it = case.path.contains(".downsamplers.") && case.name() == "conv";
    let (Some((_, of_container)), true) = (case.container(), is_it) else { return Ok(vec![]) };
    let Some(x) = of_container.first() else { return Ok(vec![]) };
    let pad = |(left, right): (usize, usize), (top, bottom): (usize, usize)| -> Result<Tensor> {
        Ok(x.pad_with_zeros(D::Minus1, left, right)?.pad_with_zeros(D::Minus2, top, bottom)?)
    };
    let mut inputs = vec![
        ("left and top".to_string(), pad((1, 0), (1, 0))?),
        ("left and bottom".to_string(), pad((1, 0), (0, 1))?),
        ("right and top".to_string(), pad((0, 1), (1, 0))?),
    ];
    if case.inputs.first().is_some_and(|here| here.dims() != x.dims()) {
        // A convolution that pads on all sides itself.
        inputs.push(("all sides, by the convolution".to_string(), x.clone()));
    } else {
        inputs.push(("right and bottom".to_string(), pad((0, 1), (0, 1))?));
    }
    seen(case, inputs)
}

/// The VAE's decoder with other latents.
pub fn scaling_factor(case: &Case<'_>) -> Candidates {
    let is_first = matches!(case.path.as_str(), "vae.post_quant_conv" | "vae.decoder.conv_in");
    let Some(z) = case.inputs.first().filter(|_| is_first && case.stage.stage == Stage::VaeDecode) else {
        return Ok(vec![]);
    };
    let factor = case.models.vae.config().scaling_factor;
    let mut inputs = vec![
        ("none".to_string(), (z * factor)?),
        (tr!("multiplied by {factor} and not divided", factor), (z * (factor * factor))?),
    ];
    for other in [0.18215, 0.13025, 0.3611, 1.5305].into_iter().filter(|other| *other != factor) {
        inputs.push((tr!("{other} and not {factor}", other, factor), (z * (factor / other))?));
    }
    seen(case, inputs)
}

//! What a recorded step attends to, and what a word does in it.

use super::InspectError;
use crate::debugger::backend::{Backend, ModelInfo};
use crate::debugger::language::attention::AttentionFilter;
use crate::debugger::prompt::{self, TokenKind, TokenView};
use crate::debugger::{record, replay};
use crate::model::ClipTokenizer;
use crate::nn::{Probe, Unwatched};
use crate::picture::{Picture, decoded};
use crate::pipeline;
use crate::pipeline::ablation::{Agreement, EffectMap, without};
use crate::pipeline::attention::{CrossAttention, Layer, SelfAttention, Size, Split, TokenMaps};
use crate::pipeline::{Models, Snapshot, Stage, stages};
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use tr::tr;

/// Where the picture attends to each word, in a step.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionRun {
    /// The steps that are summed.
    pub steps: Vec<usize>,
    /// The latents' height and width.
    pub size: Size,
    /// The tokens of the prompt, 77 a chunk with the padding, unless [`folded`](Self::folded).
    pub tokens: Vec<TokenView>,
    /// The weight of each token; empty if all are 1.
    pub weights: Vec<f32>,
    /// How many tokens the last one stands for: more than one where the padding is folded.
    pub last_counts: usize,
    /// The layers that were looked into.
    pub layers: Vec<Layer>,
    /// Maps of the tokens: as many as [`Split`] says.
    pub maps: Vec<TokenMaps>,
}

/// What a point looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRun {
    /// The steps that are averaged.
    pub steps: Vec<usize>,
    /// The latents' height and width.
    pub size: Size,
    /// The layers that were looked into, of every step.
    pub layers: Vec<Layer>,
    /// (height, width), 1 in all.
    pub map: Vec<f32>,
}

/// What a word does in a step.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectRun {
    /// The step.
    pub step: usize,
    /// The latents' height and width.
    pub size: Size,
    /// The positions whose embeddings were replaced.
    pub positions: Vec<usize>,
    /// The position that they were replaced by.
    pub replaced_by: usize,
    /// Whether that is padding; the prompt may fill all of its chunks.
    pub by_padding: bool,
    /// DAAM's map of these tokens in the step as it was.
    pub attention: Vec<f32>,
    /// The heads that are summed in it, of all layers.
    pub heads: usize,
    /// The tensors that changed, in order: `guided_noise_residual`, `pred_original_sample`, `latents`.
    pub effects: Vec<Effect>,
    /// The step's `pred_original_sample` as it was, and without the word.
    pub pictures: [Picture; 2],
}

/// How other a tensor is without the word.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The tensor.
    pub name: &'static str,
    /// The norm of the difference at each pixel.
    pub map: EffectMap,
    /// ‖without − with‖ / ‖with‖.
    pub relative: f64,
    /// How alike the map is to the attention's.
    pub agreement: Agreement,
}

/// The tensors in which a word's effect is measured.
pub const AFFECTED: [&str; 3] = ["guided_noise_residual", "pred_original_sample", "latents"];
/// Pixels up to which the VAE decodes pictures on a CPU while its reader waits.
const AFFORDABLE: usize = 256 * 256;

impl AttentionRun {
    /// This run with the padding at the end as one token, in about a fifth of the memory.
    pub fn folded(&self) -> Self {
        let words = self.tokens.iter().rposition(|token| token.kind != TokenKind::Padding);
        let first = words.map_or(0, |last| last + 1);
        if first + 1 >= self.tokens.len() {
            return self.clone();
        }
        Self {
            tokens: self.tokens[..=first].to_vec(),
            weights: self.weights.iter().take(first + 1).copied().collect(),
            last_counts: self.tokens.len() - first,
            maps: self.maps.iter().map(|maps| maps.folded(first)).collect(),
            ..self.clone()
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let tokens = self.tokens.len() * size_of::<TokenView>() + 16 * self.tokens.len();
        tokens + self.maps.iter().map(|maps| 4 * maps.tokens * maps.size.0 * maps.size.1).sum::<usize>()
    }
}

impl EffectRun {
    pub(super) fn bytes(&self) -> usize {
        let pixels = |picture: &Picture| picture.image.as_raw().len();
        self.attention.len() * 4 * 4 + self.pictures.iter().map(pixels).sum::<usize>()
    }
}

/// The position of the first padding token, and whether there is one; without, the last position.
fn first_padding(tokens: &[TokenView]) -> (usize, bool) {
    let first = tokens.iter().position(|token| token.kind == TokenKind::Padding);
    (first.unwrap_or(tokens.len().saturating_sub(1)), first.is_some())
}

/// The tokens of the prompt that a snapshot's embeddings are of.
///
/// # Errors
/// The device's.
pub fn tokens(at: &Snapshot, tokenizer: Option<&ClipTokenizer>) -> candle_core::Result<Vec<TokenView>> {
    let (Some((_, ids)), Some(tokenizer)) = (at.tensor("input_ids"), tokenizer) else { return Ok(vec![]) };
    // Ids are below 2²⁴, which `f32` holds exactly.
    let ids: Vec<u32> = PlainTensor::of(ids)?.data().iter().map(|id| *id as u32).collect();
    Ok(prompt::tokens(&ids, tokenizer))
}

/// The weights of those tokens; none if all are 1.
fn weights(at: &Snapshot) -> candle_core::Result<Vec<f32>> {
    let Some((_, weights)) = at.tensor("prompt_weights") else { return Ok(vec![]) };
    Ok(PlainTensor::of(weights)?.data().to_vec())
}

/// The step that follows `before`, and its latents' height and width.
fn step_of(before: &Snapshot) -> Result<(usize, Size), InspectError> {
    let refused = |found: String| InspectError::Refused(found);
    let step = match before.position() {
        Some(Stage::Denoise { step }) => step,
        Some(other) => {
            return Err(refused(tr!("{other} attends to no prompt; expected a step of denoise", other)));
        }
        None => return Err(pipeline::Error::Complete.into()),
    };
    let latents = before.tensor("latents").map(|(_, latents)| latents.dims4()).transpose()?;
    match latents {
        Some((_, _, height, width)) => Ok((step, (height, width))),
        None => Err(refused(tr!("there are no latents before the step"))),
    }
}

/// The paths of the attentions of that kind, `attn1` or `attn2`.
pub fn attentions<'a>(models: &'a ModelInfo, kind: &'a str) -> impl Iterator<Item = &'a str> {
    let paths = models.modules.iter().map(|path| path.as_str());
    let mut known = std::collections::HashSet::new();
    paths.filter(move |path| {
        path.starts_with("unet.") && path.rsplit('.').next() == Some(kind) && known.insert(*path)
    })
}

/// Whether any layer is looked into.
fn check(models: &ModelInfo, focus: &AttentionFilter, kind: &str) -> Result<(), InspectError> {
    if attentions(models, kind).any(|path| focus.is_in(path)) {
        return Ok(());
    }
    let known: Vec<&str> = attentions(models, kind).collect();
    let what = if kind == "attn1" { "self-attention" } else { "cross-attention" };
    let pattern = focus.layer.as_ref().map_or("", |pattern| pattern.as_str());
    Err(InspectError::Refused(match known.is_empty() {
        true => tr!("the UNet has no {what}", what),
        false => tr!("no {what} is in `{pattern}`; expected one of {}", known.join(", "), what, pattern),
    }))
}

/// Whether a recorded step has the queries and keys of a layer, and how many heads those have.
fn require(
    backend: &Backend,
    before: &Snapshot,
    focus: &AttentionFilter,
    kind: &str,
) -> Result<(), InspectError> {
    let (Some(recording), Some(stage)) = (backend.recording(), before.position()) else { return Ok(()) };
    let is_wanted = |path: &str| path.rsplit('.').next() == Some(kind) && focus.is_in(path);
    recording.require(stage, &is_wanted, &["to_q", "to_k"])?;
    let wanted = attentions(backend.info(), kind).filter(|path| focus.is_in(path));
    for (path, heads) in wanted.filter_map(|path| Some((path, backend.info().heads_at(path)?))) {
        let query = recording.call(stage, &[path, ".to_q"].concat());
        let width = query.ok().and_then(|(stage, call)| stage.output_on_disk(call)?.shape.last().copied());
        match width {
            Some(width) if heads == 0 || width % heads != 0 => {
                return Err(InspectError::Refused(tr!(
                    "{path}: {heads} heads do not divide its width {width}",
                    path,
                    heads,
                    width
                )));
            }
            Some(_) => return Ok(()),
            None => {}
        }
    }
    Err(InspectError::Refused(tr!(
        "the trace does not say how many heads the attentions have; expected `heads` in the attributes of `modules`, see docs/trace.md"
    )))
}

/// Whether a layer has the head.
fn check_head(models: &ModelInfo, layers: &[Layer], focus: &AttentionFilter) -> Result<(), InspectError> {
    let Some(head) = focus.head.filter(|_| layers.is_empty()) else { return Ok(()) };
    let most = models.unet_heads().unwrap_or(0);
    Err(InspectError::Refused(tr!(
        "no layer there has a head {head}; the layers of this UNet have at most {most}, counted from 0",
        head,
        most
    )))
}

/// Re-runs the step after each of `before`, and sums where the picture attends to its words.
///
/// # Errors
/// [`InspectError`].
pub fn attention(
    backend: &Backend,
    before: &[Snapshot],
    focus: &AttentionFilter,
    split: Split,
    host: &mut dyn Probe,
) -> Result<AttentionRun, InspectError> {
    check(backend.info(), focus, "attn2")?;
    let Some(first) = before.first() else { return Err(pipeline::Error::Complete.into()) };
    let (_, size) = step_of(first)?;
    let is_wanted = |path: &str| focus.is_in(path);
    let mut watching = CrossAttention::new(size, &is_wanted, focus.head, split);
    let (mut steps, mut of_prompt, mut of_tokens) = (vec![], vec![], vec![]);
    for before in before {
        let before = backend.encoded(before, host)?;
        steps.push(step_of(&before)?.0);
        require(backend, &before, focus, "attn2")?;
        of_prompt = tokens(&before, backend.info().tokenizer.as_deref())?;
        of_tokens = weights(&before)?;
        replay::run(backend, &before, &mut watching, host)?;
    }
    let (layers, maps) = watching.done();
    check_head(backend.info(), &layers, focus)?;
    Ok(AttentionRun { steps, size, tokens: of_prompt, weights: of_tokens, last_counts: 1, layers, maps })
}

/// Re-runs the step after each of `before`, and sums where the point at column and row `point` attends to.
///
/// # Errors
/// [`InspectError`]; a point outside of the latents.
pub fn point(
    backend: &Backend,
    before: &[Snapshot],
    point: (usize, usize),
    focus: &AttentionFilter,
    host: &mut dyn Probe,
) -> Result<PointRun, InspectError> {
    check(backend.info(), focus, "attn1")?;
    let Some(first) = before.first() else { return Err(pipeline::Error::Complete.into()) };
    let (_, size) = step_of(first)?;
    if point.0 >= size.1 || point.1 >= size.0 {
        return Err(InspectError::Refused(tr!(
            "{},{} is no point of latents that are {} wide and {} high; expected X 0 to {}, Y 0 to {}",
            point.0,
            point.1,
            size.1,
            size.0,
            size.1 - 1,
            size.0 - 1
        )));
    }
    let is_wanted = |path: &str| focus.is_in(path);
    let heads = |path: &str| backend.info().heads_at(path);
    let mut watching = SelfAttention::new(size, point, &is_wanted, &heads, focus.head);
    let mut steps = vec![];
    for before in before {
        steps.push(step_of(before)?.0);
        require(backend, before, focus, "attn1")?;
        replay::run(backend, before, &mut watching, host)?;
    }
    let (layers, map) = watching.done();
    check_head(backend.info(), &layers, focus)?;
    Ok(PointRun { steps, size, layers, map })
}

/// Whether the VAE shall decode while its reader waits for something else.
pub fn is_affordable(models: &Models, size: Size) -> bool {
    let scale = models.vae.config().scale_factor();
    !models.device.is_cpu() || size.0 * size.1 * scale * scale <= AFFORDABLE
}

/// The picture of `pred_original_sample`: decoded by the VAE where `decodes`, else the instant one.
///
/// # Errors
/// The VAE's, or the host's.
pub fn picture(
    backend: &Backend,
    sample: &Tensor,
    decodes: bool,
    host: &mut dyn Probe,
) -> Result<Picture, InspectError> {
    let made = match decodes {
        true => decoded::picture(&PlainTensor::of(&stages::vae_decode(backend.models()?, sample, host)?)?),
        false => record::picture("pred_original_sample", &PlainTensor::of(sample)?, backend.info()),
    };
    made.ok_or_else(|| InspectError::Refused(tr!("pred_original_sample is no picture")))
}

/// Runs the step that follows `before` twice, as it was and with the embeddings at `positions` replaced by the padding's.
///
/// # Errors
/// [`InspectError`].
pub fn effect(
    backend: &Backend,
    before: &Snapshot,
    positions: &[usize],
    decodes: bool,
    host: &mut dyn Probe,
) -> Result<EffectRun, InspectError> {
    let models = backend.models()?;
    let before = before.encoded(models, host)?;
    let (step, size) = step_of(&before)?;
    let of_prompt = tokens(&before, Some(&models.tokenizer))?;
    let (replaced_by, by_padding) = first_padding(&of_prompt);
    // Padding is what it is: it stays.
    let is_padding =
        |position: &usize| of_prompt.get(*position).is_some_and(|token| token.kind == TokenKind::Padding);
    let replaced: Vec<usize> = positions.iter().copied().filter(|position| !is_padding(position)).collect();
    let ablated = without(&before, &replaced, replaced_by, models, &mut Unwatched)?;

    // Both are watched in the same way, so that all that differs is the word.
    let all = |_: &str| true;
    let mut watching = CrossAttention::new(size, &all, None, Split::Whole);
    let was = replay::run(backend, &before, &mut watching, host)?;
    let is = replay::run(backend, &ablated, &mut CrossAttention::new(size, &all, None, Split::Whole), host)?;
    let (layers, maps) = watching.done();
    let attention = maps.first().map_or_else(|| vec![0.; size.0 * size.1], |maps| maps.of(positions));

    let mut effects = vec![];
    for name in AFFECTED {
        let (Some((_, was)), Some((_, is))) = (was.tensor(name), is.tensor(name)) else { continue };
        let (was, is) = (PlainTensor::of(was)?, PlainTensor::of(is)?);
        let Some(map) = EffectMap::between(&was, &is) else { continue };
        let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let agreement = Agreement::of(&attention, &map.values);
        effects.push(Effect { name, relative: norm(&map.values) / norm(was.data()), map, agreement });
    }
    let missing = || InspectError::Refused(tr!("the step made no pred_original_sample"));
    let mut pictures = vec![];
    for run in [&was, &is] {
        let (_, sample) = run.tensor("pred_original_sample").ok_or_else(missing)?;
        pictures.push(picture(backend, sample, decodes, host)?);
    }
    let pictures = pictures.try_into().map_err(|_| missing())?;
    let heads = layers.iter().map(|layer| layer.heads).sum();
    Ok(EffectRun {
        step,
        size,
        positions: positions.to_vec(),
        replaced_by,
        by_padding,
        attention,
        heads,
        effects,
        pictures,
    })
}

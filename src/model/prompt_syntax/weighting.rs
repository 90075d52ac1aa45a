//! The text encoder's output → embeddings in which words have weights, by the formula of each program (`docs/prompts.md`).

use super::{PromptSyntax, Prompts, Tokenized};
use crate::model::tokenizer::MODEL_MAX_LENGTH;
use candle_core::{DType, Result, Tensor};
use std::f64::consts::FRAC_PI_2;
use std::ops::Range;

/// compel's smallest weight of a piece that fades out.
const LEAST: f64 = 1e-5;

/// What the text encoder gets: the chunks of the negative prompt and of the prompt, then what their weights need.
#[derive(Debug)]
pub struct Rows {
    input_ids: Tensor,
    attention_mask: Option<Tensor>,
    clip_skip: Vec<usize>,
    syntax: PromptSyntax,
    /// Of the negative prompt and of the prompt.
    prompts: [Weighted; 2],
    /// The row of an empty prompt.
    empty: Option<usize>,
}

/// The weights of a prompt, and compel's variants of it.
#[derive(Debug)]
struct Weighted {
    /// Its chunks, as rows of the batch.
    rows: Range<usize>,
    weights: Vec<f32>,
    fading: Vec<Fading>,
}

/// A piece of compel with a weight below 1: chunks in which it is masked.
#[derive(Debug)]
struct Fading {
    /// How much the prompt without it counts, beside 1 for the prompt with it.
    share: f64,
    /// Of each chunk that it touches, the number and the row of the batch.
    masked: Vec<(usize, usize)>,
}

impl Rows {
    /// The rows for the negative prompt and the prompt, whose ids are `input_ids` (2, 77·n).
    ///
    /// As in diffusers, the embeddings of the prompt skip the last `clip_skip` layers and those of the negative prompt skip none. The
    /// other programs skip them for both.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        prompts: &Prompts,
        input_ids: &Tensor,
        clip_skip: usize,
        use_attention_mask: bool,
    ) -> Result<Self> {
        let (syntax, device) = (prompts.syntax, input_ids.device());
        let [negative, prompt] = &prompts.of_both;
        let chunks = input_ids.dim(1)? / MODEL_MAX_LENGTH;
        let both = input_ids.reshape((2 * chunks, MODEL_MAX_LENGTH))?;
        let (mut ids, mut rows) = (vec![both.clone()], 2 * chunks);
        let is_weighted = negative.is_weighted() || prompt.is_weighted();
        let empty = (is_weighted && syntax != PromptSyntax::A1111).then_some(rows);
        if empty.is_some() {
            let [bos, eos, pad] = prompts.special_ids.map(i64::from);
            let row = [bos, eos].into_iter().chain(std::iter::repeat(pad)).take(MODEL_MAX_LENGTH);
            ids.push(Tensor::from_iter(row, device)?.unsqueeze(0)?);
            rows += 1;
        }
        // Only compel masks words; the other programs attend to all.
        let mut masks = vec![1u32; rows * MODEL_MAX_LENGTH];
        let of_plain = syntax == PromptSyntax::Plain && use_attention_mask;
        if of_plain {
            masks = [&*negative.attention_mask, &prompt.attention_mask].concat();
        }
        let mut fading = |prompt: &Tokenized, first: usize| -> Result<Vec<Fading>> {
            let mut all = vec![];
            for (span, weight) in &prompt.reduced {
                let touched = span.start / MODEL_MAX_LENGTH..(span.end - 1) / MODEL_MAX_LENGTH + 1;
                ids.push(both.narrow(0, first + touched.start, touched.len())?);
                let places = touched.start * MODEL_MAX_LENGTH..touched.end * MODEL_MAX_LENGTH;
                masks.extend(places.map(|place| u32::from(!span.contains(&place) || is_border(place))));
                let share = ((1. - weight.max(LEAST)) * FRAC_PI_2).tan();
                all.push(Fading { share, masked: touched.clone().zip(rows..).collect() });
                rows += touched.len();
            }
            Ok(all)
        };
        let [of_negative, of_prompt] = [fading(negative, 0)?, fading(prompt, chunks)?];
        let is_masked = of_plain || !of_negative.is_empty() || !of_prompt.is_empty();
        let mask = || Tensor::from_vec(masks, (rows, MODEL_MAX_LENGTH), device);
        let mut clip_skips = vec![clip_skip; rows];
        if !syntax.skips_both() {
            clip_skips[..chunks].fill(0);
        }
        let weighted = |of: &Tokenized, rows, fading| Weighted { rows, weights: of.weights.clone(), fading };
        Ok(Self {
            input_ids: if ids.len() == 1 { both } else { Tensor::cat(&ids, 0)? },
            attention_mask: is_masked.then(mask).transpose()?,
            clip_skip: clip_skips,
            syntax,
            prompts: [
                weighted(negative, 0..chunks, of_negative),
                weighted(prompt, chunks..2 * chunks, of_prompt),
            ],
            empty,
        })
    }

    /// Ids (B, 77), the mask of 0 and 1 (B, 77), if there is one, and for each row the number of the text encoder's last layers that it
    /// skips.
    pub fn inputs(&self) -> (&Tensor, Option<&Tensor>, &[usize]) {
        (&self.input_ids, self.attention_mask.as_ref(), &self.clip_skip)
    }

    /// The text encoder's output (B, 77, C) → the embeddings of the negative prompt and of the prompt: (2, 77·n, C).
    ///
    /// # Errors
    /// When the device fails.
    pub fn embeddings(&self, hidden_states: &Tensor) -> Result<Tensor> {
        let [negative, prompt] = &self.prompts;
        let (chunks, width) = (negative.rows.len(), hidden_states.dim(2)?);
        let both = hidden_states.narrow(0, 0, negative.rows.len() + prompt.rows.len())?;
        let both = match self.prompts.iter().any(Weighted::is_weighted) {
            false => both,
            true => {
                let of = hidden_states.to_dtype(DType::F32)?;
                let rows = [self.weighted(negative, &of)?, self.weighted(prompt, &of)?];
                Tensor::cat(&rows, 0)?.to_dtype(hidden_states.dtype())?
            }
        };
        both.reshape((2, chunks * MODEL_MAX_LENGTH, width))
    }

    /// The chunks of a prompt with its weights: (n, 77, C).
    fn weighted(&self, prompt: &Weighted, hidden_states: &Tensor) -> Result<Tensor> {
        let rows = prompt.rows.clone().enumerate();
        let chunk = |(chunk, row): (usize, usize)| {
            let z = hidden_states.narrow(0, row, 1)?;
            let weights = prompt.weights_of(chunk, &z)?;
            match (self.syntax, weights, self.empty) {
                (_, None, _) if prompt.fading.is_empty() => Ok(z),
                (PromptSyntax::A1111, Some(weights), _) => multiplied(&z, &weights),
                (_, weights, Some(empty)) => {
                    let empty = hidden_states.narrow(0, empty, 1)?;
                    let base = interpolated(&z, &empty, weights.as_ref())?;
                    prompt.faded(chunk, &base, &empty, weights.as_ref(), hidden_states)
                }
                _ => Ok(z),
            }
        };
        Tensor::cat(&rows.map(chunk).collect::<Result<Vec<_>>>()?, 0)
    }
}

/// Whether compel never masks a place: the first and the last of a chunk.
fn is_border(place: usize) -> bool {
    [0, MODEL_MAX_LENGTH - 1].contains(&(place % MODEL_MAX_LENGTH))
}

/// A1111: z · w, scaled so that the mean of the chunk is the one before.
fn multiplied(z: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let weighted = z.broadcast_mul(weights)?;
    let scale = (z.mean_all()? / weighted.mean_all()?)?;
    weighted.broadcast_mul(&scale)
}

/// ComfyUI and compel: from the empty prompt to z, and beyond: e + (z - e) · w.
fn interpolated(z: &Tensor, empty: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    let Some(weights) = weights else { return Ok(z.clone()) };
    let weighted = ((z - empty)?.broadcast_mul(weights)? + empty)?;
    // Rows of weight 1 stay as they are, without rounding.
    weights.eq(1f32)?.broadcast_as(z.shape())?.where_cond(z, &weighted)
}

impl Weighted {
    fn is_weighted(&self) -> bool {
        self.weights.iter().any(|weight| *weight != 1.)
    }

    /// The weights of a chunk (1, 77, 1), unless all are 1.
    fn weights_of(&self, chunk: usize, like: &Tensor) -> Result<Option<Tensor>> {
        let weights = &self.weights[chunk * MODEL_MAX_LENGTH..][..MODEL_MAX_LENGTH];
        let is_weighted = weights.iter().any(|weight| *weight != 1.);
        let tensor = || Tensor::from_slice(weights, (1, MODEL_MAX_LENGTH, 1), like.device());
        is_weighted.then(tensor).transpose()
    }

    /// compel: the mean of the chunk with all pieces, and of the chunk without each piece whose weight w is below 1, which counts
    /// tan((1 - w) · π/2).
    fn faded(
        &self,
        chunk: usize,
        base: &Tensor,
        empty: &Tensor,
        weights: Option<&Tensor>,
        hidden_states: &Tensor,
    ) -> Result<Tensor> {
        let total: f64 = 1. + self.fading.iter().map(|fading| fading.share).sum::<f64>();
        let mut sum = (base / total)?;
        for fading in &self.fading {
            let masked = fading.masked.iter().find(|(touched, _)| *touched == chunk);
            let without = match masked {
                Some(&(_, row)) => interpolated(&hidden_states.narrow(0, row, 1)?, empty, weights)?,
                None => base.clone(),
            };
            sum = (sum + (without * (fading.share / total))?)?;
        }
        Ok(sum)
    }
}

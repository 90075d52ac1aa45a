//! Attention maps of a step of `denoise`: probes add the probabilities of each attention to maps, so that no layer's
//! probabilities are stored.
//!
//! Tang et al., 2023 ("What the DAAM: Interpreting Stable Diffusion Using Cross Attention", section 3): the map of a token is
//! the sum, over heads and cross-attention layers, of the probabilities with which each pixel attends to it, resized bicubically
//! to the latents' size, with negative values set to 0. The start token, the end token and the padding have maps too.

mod maps;

pub use maps::TokenMaps;

use crate::nn::attention::{ATTENTION_PROBS, attention_probs};
use crate::nn::{Error, Path, Probe, Result};
use crate::tensor::bicubic;
use candle_core::{DType, IndexOp, Tensor};
use tr::tr;

/// The row of a step's batch that has the prompt; the one before it has the negative prompt.
const PROMPT_ROW: usize = 1;
/// The last name of a cross-attention's path, and of a self-attention's: diffusers'.
const CROSS: &str = "attn2";
const SELF: &str = "attn1";
/// diffusers' names of an attention's projections. The query is computed first.
const QUERY: &str = "to_q";
const KEY: &str = "to_k";

/// Height and width.
pub type Size = (usize, usize);

/// An attention layer whose probabilities were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The attention's path.
    pub path: String,
    /// Its heads.
    pub heads: usize,
    /// The height and width of its feature maps.
    pub size: Size,
}

/// How the maps of a step are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// One for all layers, at the latents' size: DAAM.
    Whole,
    /// One for each layer, at the layer's size, averaged over heads.
    Layers,
    /// One for each head of the first layer, at the layer's size.
    Heads,
}

/// A probe that sums the probabilities of cross-attentions into maps of the tokens, over all steps that it observes.
pub struct CrossAttention<'a> {
    size: Size,
    is_wanted: &'a dyn Fn(&str) -> bool,
    head: Option<usize>,
    split: Split,
    layers: Vec<Layer>,
    maps: Vec<TokenMaps>,
}

impl<'a> CrossAttention<'a> {
    /// A probe for latents of `size`. It reads the attentions for whose path `is_wanted` is true: one head, or all.
    pub fn new(size: Size, is_wanted: &'a dyn Fn(&str) -> bool, head: Option<usize>, split: Split) -> Self {
        Self { size, is_wanted, head, split, layers: vec![], maps: vec![] }
    }

    /// The layers that were read, in running order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layers that were read, and the maps, grouped by [`Split`].
    pub fn done(self) -> (Vec<Layer>, Vec<TokenMaps>) {
        (self.layers, self.maps)
    }

    /// The layer's index in the list; a new layer is appended.
    fn place_of(&mut self, layer: Layer) -> usize {
        let known = self.layers.iter().position(|known| known.path == layer.path);
        known.unwrap_or_else(|| {
            self.layers.push(layer);
            self.layers.len() - 1
        })
    }

    /// Adds the probabilities of one layer in one step. `probs` (heads, N, tokens).
    fn fold(&mut self, layer: Layer, probs: &Tensor) -> Result<()> {
        let (heads, _, tokens) = probs.dims3()?;
        let chosen = match self.head {
            // The layer has fewer heads.
            Some(head) if head >= heads => return Ok(()),
            Some(head) => head..head + 1,
            None => 0..heads,
        };
        let (size, averaged) = (layer.size, chosen.len() as f32);
        let place = self.place_of(layer);
        for (index, head) in chosen.enumerate() {
            let mut values: Vec<f32> = probs.i(head)?.flatten_all()?.to_vec1()?;
            match self.split {
                Split::Whole => {
                    let latents = self.size;
                    let mut large = bicubic::resized(&values, tokens, size, latents).unwrap_or_default();
                    // Not `max`, which would drop NaN.
                    large.iter_mut().filter(|value| **value < 0.).for_each(|value| *value = 0.);
                    self.maps_at(0, latents, tokens).add(&large);
                }
                Split::Layers => {
                    values.iter_mut().for_each(|value| *value /= averaged);
                    self.maps_at(place, size, tokens).add(&values);
                }
                Split::Heads if place == 0 => self.maps_at(index, size, tokens).add(&values),
                Split::Heads => {}
            }
        }
        Ok(())
    }

    fn maps_at(&mut self, index: usize, size: Size, tokens: usize) -> &mut TokenMaps {
        while self.maps.len() <= index {
            self.maps.push(TokenMaps::zero(size, tokens));
        }
        &mut self.maps[index]
    }
}

impl Probe for CrossAttention<'_> {
    fn wants(&self, path: &Path) -> bool {
        cross_attention_of(path).is_some_and(|path| (self.is_wanted)(path))
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        if let Some(path) = cross_attention_of(path) {
            let probs = prompt_row(&output)?;
            let (heads, pixels, _) = probs.dims3()?;
            let layer = Layer { path: path.into(), heads, size: size_of(path, self.size, pixels)? };
            self.fold(layer, &probs)?;
        }
        Ok(output)
    }
}

/// A probe that averages the self-attention of one pixel into a map at the latents' size: averaged over heads, scaled to a sum of
/// 1 in each layer, averaged over layers.
///
/// It is computed from queries and keys for that pixel alone: the probabilities of all pixels take the square of their number.
pub struct SelfAttention<'a> {
    size: Size,
    /// Column and row in the latents.
    point: (usize, usize),
    is_wanted: &'a dyn Fn(&str) -> bool,
    /// The heads of the attention at a path.
    heads: &'a dyn Fn(&str) -> Option<usize>,
    head: Option<usize>,
    /// The pixel's query in the running layer: (1, 1, C).
    query: Option<Tensor>,
    layers: Vec<Layer>,
    sum: Vec<f32>,
}

impl<'a> SelfAttention<'a> {
    /// A probe for the pixel at column and row `point` of latents of `size`. It reads the attentions for whose path `is_wanted` is
    /// true: one head, or all of `heads`.
    pub fn new(
        size: Size,
        point: (usize, usize),
        is_wanted: &'a dyn Fn(&str) -> bool,
        heads: &'a dyn Fn(&str) -> Option<usize>,
        head: Option<usize>,
    ) -> Self {
        let sum = vec![0.; size.0 * size.1];
        Self { size, point, is_wanted, heads, head, query: None, layers: vec![], sum }
    }

    /// The layers that were read, and the map: (height, width), with a sum of 1.
    pub fn done(self) -> (Vec<Layer>, Vec<f32>) {
        let layers = self.layers.len().max(1) as f32;
        let map = self.sum.iter().map(|value| value / layers).collect();
        (self.layers, map)
    }

    /// Adds one layer in one step. `keys` (1, N, C).
    fn fold(&mut self, layer: Layer, query: &Tensor, keys: &Tensor) -> Result<()> {
        let probs = attention_probs(query, keys, None, layer.heads)?.squeeze(0)?;
        let probs = match self.head {
            // The layer has fewer heads.
            Some(head) if head >= layer.heads => return Ok(()),
            Some(head) => probs.narrow(0, head, 1)?,
            None => probs,
        };
        let row: Vec<f32> = probs.mean(0)?.flatten_all()?.to_vec1()?;
        let mut large = bicubic::resized(&row, 1, layer.size, self.size).unwrap_or_default();
        large.iter_mut().filter(|value| **value < 0.).for_each(|value| *value = 0.);
        let all: f32 = large.iter().sum();
        self.sum.iter_mut().zip(large).for_each(|(sum, value)| *sum += value / all);
        self.layers.push(layer);
        Ok(())
    }
}

impl Probe for SelfAttention<'_> {
    fn wants(&self, path: &Path) -> bool {
        let attention = projection_of(path, QUERY).or_else(|| projection_of(path, KEY));
        attention.is_some_and(|path| (self.is_wanted)(path))
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let rows = prompt_row(&output)?;
        let pixels = rows.dim(0)?;
        if let Some(path) = projection_of(path, QUERY) {
            let size = size_of(path, self.size, pixels)?;
            // The layer's pixel that contains the point.
            let (x, y) = (self.point.0 * size.1 / self.size.1, self.point.1 * size.0 / self.size.0);
            self.query = Some(rows.narrow(0, (y * size.1 + x).min(pixels - 1), 1)?.unsqueeze(0)?);
        } else if let (Some(path), Some(query)) = (projection_of(path, KEY), self.query.take())
            && let Some(heads) = (self.heads)(path)
        {
            let layer = Layer { path: path.into(), heads, size: size_of(path, self.size, pixels)? };
            self.fold(layer, &query, &rows.unsqueeze(0)?)?;
        }
        Ok(output)
    }
}

/// The path of the self-attention whose projection of that name is at `path`.
fn projection_of<'a>(path: &'a Path, name: &str) -> Option<&'a str> {
    let attention = path.as_str().strip_suffix(name)?.strip_suffix('.')?;
    (attention.starts_with("unet.") && attention.rsplit('.').next() == Some(SELF)).then_some(attention)
}

/// The path of the cross-attention whose probabilities are at `path`.
fn cross_attention_of(path: &Path) -> Option<&str> {
    let attention = path.as_str().strip_suffix(ATTENTION_PROBS)?.strip_suffix('.')?;
    (attention.starts_with("unet.") && attention.rsplit('.').next() == Some(CROSS)).then_some(attention)
}

/// (B, …) → (…): the row of the prompt, in `f32`.
fn prompt_row(batch: &Tensor) -> Result<Tensor> {
    let row = PROMPT_ROW.min(batch.dim(0)?.saturating_sub(1));
    Ok(batch.i(row)?.to_dtype(DType::F32)?)
}

fn size_of(path: &str, latents: Size, pixels: usize) -> Result<Size> {
    level_of(latents, pixels).ok_or_else(|| {
        let (height, width) = latents;
        Error::Input(tr!(
            "{path}: {pixels} pixels do not match a level of {height}×{width} latents; expected sides halved and rounded up",
            path, pixels, height, width
        ))
    })
}

/// The height and width of the UNet's level with `pixels` pixels: the latents' size, halved and rounded up at each level. `None`
/// if no level matches.
pub fn level_of(latents: Size, pixels: usize) -> Option<Size> {
    let levels = std::iter::successors(Some(latents), |&(h, w)| {
        (h > 1 || w > 1).then(|| (h.div_ceil(2), w.div_ceil(2)))
    });
    levels.into_iter().find(|(h, w)| h * w == pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn probs(heads: usize, pixels: usize, tokens: usize, row: impl Fn(usize, usize, usize) -> f32) -> Tensor {
        let value = |i: usize| row(i / (pixels * tokens), i / tokens % pixels, i % tokens);
        let prompt: Vec<f32> = (0..heads * pixels * tokens).map(value).collect();
        let negative = vec![9.; prompt.len()];
        Tensor::from_vec([negative, prompt].concat(), (2, heads, pixels, tokens), &Device::Cpu).unwrap()
    }

    fn path(layer: &str) -> Path {
        Path::new(layer).join(ATTENTION_PROBS)
    }

    #[test]
    fn levels_halve_and_round_up() {
        assert_eq!(level_of((5, 9), 45), Some((5, 9)));
        assert_eq!(level_of((5, 9), 15), Some((3, 5)));
        assert_eq!(level_of((5, 9), 6), Some((2, 3)));
        assert_eq!(level_of((5, 9), 7), None);
        assert_eq!(level_of((12, 20), 15), Some((3, 5)));
        assert_eq!(level_of((1, 1), 1), Some((1, 1)));
    }

    #[test]
    fn heads_and_layers_are_summed_from_the_prompts_row() {
        let all = |_: &str| true;
        let mut probe = CrossAttention::new((2, 2), &all, None, Split::Whole);
        let (large, small) = (path("unet.a.attn2"), path("unet.mid.attn2"));
        assert!(probe.wants(&large) && !probe.wants(&path("unet.a.attn1")));
        assert!(!probe.wants(&Path::new("unet.a.attn2")) && !probe.wants(&path("text_encoder.attn2")));
        // Pixel p attends to token p in the first layer, to token 1 in the second.
        probe.exit(&large, probs(2, 4, 4, |_, p, t| f32::from(u8::from(p == t)))).unwrap();
        probe.exit(&small, probs(1, 1, 4, |_, _, t| f32::from(u8::from(t == 1)))).unwrap();
        let (layers, maps) = probe.done();
        assert_eq!(layers.iter().map(|layer| layer.size).collect::<Vec<_>>(), [(2, 2), (1, 1)]);
        assert_eq!(maps[0].of(&[0]), [2., 0., 0., 0.]);
        assert_eq!(maps[0].of(&[1]), [1., 3., 1., 1.]);
        assert_eq!(maps[0].of(&[2, 3, 99]), [0., 0., 2., 2.]);
        assert_eq!(maps[0].shares(), [2. / 12., 6. / 12., 2. / 12., 2. / 12.]);
    }

    #[test]
    fn layers_and_heads_apart() {
        let all = |_: &str| true;
        let by_head = |h: usize, _: usize, t: usize| f32::from(u8::from(h == t));
        let mut layers = CrossAttention::new((2, 2), &all, None, Split::Layers);
        let mut heads = CrossAttention::new((2, 2), &all, None, Split::Heads);
        let mut one = CrossAttention::new((2, 2), &all, Some(1), Split::Layers);
        for probe in [&mut layers, &mut heads, &mut one] {
            probe.exit(&path("unet.a.attn2"), probs(2, 4, 2, by_head)).unwrap();
        }
        assert_eq!(layers.done().1[0].of(&[0]), [0.5; 4]);
        let heads = heads.done().1;
        assert_eq!((heads.len(), heads[1].of(&[0]), heads[1].of(&[1])), (2, vec![0.; 4], vec![1.; 4]));
        assert_eq!(one.done().1[0].of(&[1]), [1.; 4]);
        let mut none = CrossAttention::new((2, 2), &all, Some(2), Split::Whole);
        none.exit(&path("unet.a.attn2"), probs(2, 4, 2, by_head)).unwrap();
        assert!(none.layers().is_empty());
    }

    #[test]
    fn pixels_that_match_no_level_are_an_error_and_nan_stays() {
        let all = |_: &str| true;
        let mut probe = CrossAttention::new((2, 2), &all, None, Split::Whole);
        let e = probe.exit(&path("unet.a.attn2"), probs(1, 3, 2, |_, _, _| 0.5)).unwrap_err();
        assert!(e.to_string().contains("3 pixels do not match a level of 2×2 latents"), "{e}");
        probe.exit(&path("unet.a.attn2"), probs(1, 1, 2, |_, _, _| f32::NAN)).unwrap();
        assert!(probe.done().1[0].of(&[0])[3].is_nan());
    }

    #[test]
    fn the_self_attention_of_a_point_has_a_sum_of_1() {
        let all = |_: &str| true;
        let mut probe = SelfAttention::new((2, 4), (3, 1), &all, &|_| Some(2), None);
        let (to_q, to_k) = (Path::new("unet.a.attn1.to_q"), Path::new("unet.a.attn1.to_k"));
        assert!(probe.wants(&to_q) && probe.wants(&to_k) && !probe.wants(&Path::new("unet.a.attn2.to_q")));
        // Every pixel has its own channel in both heads, and attends to itself.
        let own = |n: usize| (0..8).map(move |c| f32::from(u8::from(n == c)) * 30.);
        let row: Vec<f32> = (0..8).flat_map(|n| own(n).chain(own(n))).collect();
        let both = Tensor::from_vec([row.clone(), row].concat(), (2, 8, 16), &Device::Cpu).unwrap();
        probe.exit(&to_q, both.clone()).unwrap();
        probe.exit(&to_k, both).unwrap();
        let (layers, map) = probe.done();
        assert_eq!((layers.len(), layers[0].size), (1, (2, 4)));
        assert!((map[7] - 1.).abs() < 1e-6 && map[..7].iter().all(|value| *value < 1e-6), "{map:?}");
    }
}

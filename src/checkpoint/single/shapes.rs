//! What the keys and shapes of a single file say of its models: blocks, channels, widths.
//!
//! Numbers of heads and of groups leave no trace in shapes. They are those of the published models: [`super::configs`].

use super::super::LoadError;
use super::names::{self, Names};
use crate::nn::weights::WeightsFile;
use std::collections::BTreeSet;
use tr::tr;

/// The keys of a file, from its header.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a>(pub &'a WeightsFile);

/// The blocks of the UNet. Levels are counted from full size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UNetShape {
    /// Channels of the latents that it takes.
    pub in_channels: usize,
    /// Channels of its output.
    pub out_channels: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Resnets of each level on the way down.
    pub layers: usize,
    /// Which levels have transformers on the way down.
    pub down_attends: Vec<bool>,
    /// Which levels have transformers on the way up.
    pub up_attends: Vec<bool>,
    /// Blocks of each level's transformers.
    pub transformer_layers: Vec<usize>,
    /// Width of the text embeddings that it attends to.
    pub context: usize,
    /// The key that says so.
    pub context_key: String,
    /// Whether the transformers' projections are linear layers, not 1×1 convolutions.
    pub is_linear: bool,
}

/// The blocks of the VAE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeShape {
    /// Channels of each level, from full size down.
    pub channels: Vec<usize>,
    /// Resnets of each level of the encoder.
    pub layers: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Whether a 1×1 convolution follows the encoder, and one precedes the decoder.
    pub quant_convs: (bool, bool),
}

/// The text encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextShape {
    /// Whether its layout is OpenCLIP's.
    pub is_open_clip: bool,
    /// What its keys begin with.
    pub prefix: &'static str,
    /// Number of tokens.
    pub vocabulary: usize,
    /// The largest number of tokens of a prompt.
    pub positions: usize,
    /// Width of an embedding.
    pub width: usize,
    /// Width of the MLP's hidden layer.
    pub hidden: usize,
    /// The layers that run.
    pub layers: usize,
    /// The layers in the file.
    pub stored_layers: usize,
}

const UNET: &str = "model.diffusion_model.";
/// More blocks than any UNet of this layout has.
const MAX_BLOCKS: usize = 64;
/// The layers of Stable Diffusion 2's text encoder: all of OpenCLIP ViT-H/14's but the last.
const OPEN_CLIP_LAYERS: (usize, usize) = (1024, 23);

impl<'a> Header<'a> {
    /// Whether the file has the tensor `key`.
    pub fn has(self, key: &str) -> bool {
        self.0.info(key).is_some()
    }

    /// Every key.
    pub fn keys(self) -> impl Iterator<Item = String> + use<'a> {
        self.0.tensors().map(|(key, _)| key)
    }

    /// The size of the tensor `key` in dimension `dim`.
    pub fn size(self, key: &str, dim: usize) -> Result<usize, LoadError> {
        let Some(info) = self.0.info(key) else {
            return Err(self.wrong(tr!("there is no tensor `{key}`", key), ORIGINAL));
        };
        let size = info.shape.get(dim).copied().filter(|&size| size > 0);
        size.ok_or_else(|| {
            let found = tr!("tensor `{key}` has shape {}", format_args!("{:?}", info.shape), key);
            self.wrong(found, &tr!("at least {} dimensions, none of them 0", dim + 1))
        })
    }

    /// An error in the file.
    pub fn wrong(self, found: String, expected: &str) -> LoadError {
        LoadError::File { path: self.0.name().into(), found, expected: expected.into() }
    }

    /// The numbers that follow `prefix` in keys: `input_blocks.11.0.…` has 11.
    fn numbers(self, prefix: &str) -> BTreeSet<usize> {
        let number = |key: String| key.strip_prefix(prefix)?.split('.').next()?.parse().ok();
        self.keys().filter_map(number).collect()
    }

    /// The number of blocks whose keys begin with `prefix`: 0, 1, 2, … without a gap.
    fn count(self, prefix: &str) -> Result<usize, LoadError> {
        let numbers = self.numbers(prefix);
        let count = numbers.len();
        if count > MAX_BLOCKS || !numbers.iter().copied().eq(0..count) {
            let missing = (0..count).find(|i| !numbers.contains(i)).unwrap_or(count);
            let found = tr!("{count} blocks `{prefix}…` without number {missing}", count, prefix, missing);
            return Err(
                self.wrong(found, &tr!("at most {MAX_BLOCKS}, numbered from 0 without a gap", MAX_BLOCKS))
            );
        }
        Ok(count)
    }

    /// The channels that the convolution `key` gives: whole groups of 32, as every group norm of these models has.
    fn channels(self, key: &str) -> Result<usize, LoadError> {
        let channels = self.size(key, 0)?;
        if channels.is_multiple_of(super::configs::GROUPS) {
            return Ok(channels);
        }
        let found = tr!("tensor `{key}` gives {channels} channels", key, channels);
        Err(self.wrong(found, &tr!("a multiple of 32, the groups of Stable Diffusion's group norms")))
    }
}

/// What is right instead of a file of another layout.
pub const ORIGINAL: &str = "a checkpoint of Stable Diffusion 1 or 2 in the original layout";

impl UNetShape {
    /// Reads the shapes.
    ///
    /// # Errors
    /// When the blocks do not form levels of equal depth.
    pub fn read(header: Header<'_>) -> Result<Self, LoadError> {
        let blocks = header.count(&format!("{UNET}input_blocks."))?;
        let is_halving = |&block: &usize| header.has(&format!("{UNET}input_blocks.{block}.0.op.weight"));
        let halvings: Vec<usize> = (0..blocks).filter(is_halving).collect();
        let (levels, first) = (halvings.len() + 1, halvings.first().copied().unwrap_or(blocks));
        let layers = first.saturating_sub(1);
        let is_regular = halvings.iter().enumerate().all(|(i, &block)| block == (i + 1) * (layers + 1));
        if layers == 0 || !is_regular || blocks != levels * (layers + 1) {
            let found =
                tr!("{blocks} blocks `{UNET}input_blocks.…` in {levels} levels", blocks, UNET, levels);
            return Err(header.wrong(found, &tr!("as many resnets in each level")));
        }
        let first_of = |level: usize| format!("{UNET}input_blocks.{}", 1 + level * (layers + 1));
        let first_up = |level: usize| format!("{UNET}output_blocks.{}", (levels - 1 - level) * (layers + 1));
        let attends = |block: String| header.has(&format!("{block}.1.transformer_blocks.0.norm1.weight"));
        let down_attends: Vec<bool> = (0..levels).map(|level| attends(first_of(level))).collect();
        let up_attends: Vec<bool> = (0..levels).map(|level| attends(first_up(level))).collect();
        let Some(attending) = down_attends.iter().position(|attends| *attends) else {
            let key = format!("{}.1.transformer_blocks.0.norm1.weight", first_of(0));
            return Err(header.wrong(tr!("there is no tensor `{key}`", key), ORIGINAL));
        };
        let channels = |level| header.channels(&format!("{}.0.out_layers.3.weight", first_of(level)));
        let transformer = |level: usize| {
            if !down_attends[level] {
                return Ok(1);
            }
            header.count(&format!("{}.1.transformer_blocks.", first_of(level)))
        };
        let context_key = format!("{}.1.transformer_blocks.0.attn2.to_k.weight", first_of(attending));
        let projection = format!("{}.1.proj_in.weight", first_of(attending));
        header.size(&projection, 1)?;
        Ok(Self {
            in_channels: header.size(&format!("{UNET}input_blocks.0.0.weight"), 1)?,
            out_channels: header.size(&format!("{UNET}out.2.weight"), 0)?,
            channels: (0..levels).map(channels).collect::<Result<_, _>>()?,
            layers,
            transformer_layers: (0..levels).map(transformer).collect::<Result<_, _>>()?,
            context: header.size(&context_key, 1)?,
            context_key,
            is_linear: header.0.info(&projection).is_some_and(|info| info.shape.len() == 2),
            down_attends,
            up_attends,
        })
    }

    /// Its modules' names.
    pub fn names(&self) -> Names {
        names::unet(self.layers, &self.down_attends, &self.up_attends)
    }
}

impl VaeShape {
    /// Reads the shapes of a VAE whose keys begin with `prefix`: in diffusers' layout, or in the original one.
    ///
    /// # Errors
    /// When a tensor is missing.
    pub fn read(header: Header<'_>, prefix: &str, is_diffusers: bool) -> Result<Self, LoadError> {
        let (level, block) = if is_diffusers { ("down_blocks", "resnets") } else { ("down", "block") };
        let levels = header.count(&format!("{prefix}encoder.{level}."))?;
        let of_level = |i| format!("{prefix}encoder.{level}.{i}.{block}.");
        let channels = |i| header.channels(&format!("{}0.conv1.weight", of_level(i)));
        Ok(Self {
            latent_channels: header.size(&format!("{prefix}decoder.conv_in.weight"), 1)?,
            // At least one level, so that a file without any names what it lacks.
            channels: (0..levels.max(1)).map(channels).collect::<Result<_, _>>()?,
            layers: header.count(&of_level(0))?,
            quant_convs: (
                header.has(&format!("{prefix}quant_conv.weight")),
                header.has(&format!("{prefix}post_quant_conv.weight")),
            ),
        })
    }

    /// Its modules' names in the original layout.
    pub fn names(&self, prefix: &str) -> Names {
        names::vae(prefix, self.channels.len(), self.layers)
    }
}

impl TextShape {
    /// Reads the shapes; `None` without a text encoder of either layout.
    ///
    /// # Errors
    /// When a tensor is missing.
    pub fn read(header: Header<'_>) -> Result<Option<Self>, LoadError> {
        const OPEN_CLIP: &str = "cond_stage_model.model.";
        for prefix in ["cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."] {
            if header.has(&format!("{prefix}embeddings.position_embedding.weight")) {
                return Self::of(
                    header,
                    false,
                    prefix,
                    [
                        "embeddings.position_embedding.weight",
                        "embeddings.token_embedding.weight",
                        "encoder.layers.",
                        "mlp.fc1.weight",
                    ],
                )
                .map(Some);
            }
        }
        if header.has(&format!("{OPEN_CLIP}positional_embedding")) {
            let keys = [
                "positional_embedding",
                "token_embedding.weight",
                "transformer.resblocks.",
                "mlp.c_fc.weight",
            ];
            return Self::of(header, true, OPEN_CLIP, keys).map(Some);
        }
        Ok(None)
    }

    fn of(
        header: Header<'_>,
        is_open_clip: bool,
        prefix: &'static str,
        [positions, tokens, layers, hidden]: [&str; 4],
    ) -> Result<Self, LoadError> {
        let key = |name: &str| format!("{prefix}{name}");
        let stored_layers = header.count(&key(layers))?;
        let width = header.size(&key(positions), 1)?;
        let heads = super::configs::text_heads(width);
        if !width.is_multiple_of(heads) {
            let found = tr!("tensor `{}` has width {width}", key(positions), width);
            return Err(header.wrong(found, &tr!("a multiple of 64, the width of a head in CLIP")));
        }
        Ok(Self {
            is_open_clip,
            prefix,
            vocabulary: header.size(&key(tokens), 0)?,
            positions: header.size(&key(positions), 0)?,
            width,
            hidden: header.size(&format!("{prefix}{layers}0.{hidden}"), 0)?,
            // Stable Diffusion 2 leaves out the last layer. A whole OpenCLIP, which has a projection of the text, holds it.
            layers: match (is_open_clip, width == OPEN_CLIP_LAYERS.0) {
                (true, true) => OPEN_CLIP_LAYERS.1,
                (true, false) if header.has(&key("text_projection")) => stored_layers.saturating_sub(1),
                _ => stored_layers,
            },
            stored_layers,
        })
    }

    /// Its modules' names.
    pub fn names(&self) -> Names {
        if self.is_open_clip { names::open_clip(self.layers) } else { names::clip(self.prefix) }
    }

    /// Whether no module reads the tensor `key`, by design.
    pub fn is_left_out(&self, key: &str) -> bool {
        const UNUSED: [&str; 4] = ["text_projection", "logit_scale", "attn_mask", "embeddings.position_ids"];
        let Some(name) = key.strip_prefix(self.prefix) else { return false };
        let layer =
            name.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split('.').next()?.parse().ok());
        UNUSED.contains(&name) || layer.is_some_and(|layer: usize| layer >= self.layers)
    }
}

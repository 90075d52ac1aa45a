//! `vae/config.json`.

use super::EPS;
use crate::model::resnet::ResnetConfig;
use crate::nn::{ConfigError, ConfigFile};
use crate::phrase::phrase;
use serde_json::{Value, json};
use tr::tr;

/// The VAE's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    /// Channels of the encoder's input: 3.
    pub in_channels: usize,
    /// Channels of the decoder's output: 3.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each level, from full size down.
    pub block_out_channels: Vec<usize>,
    /// Resnets per level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Factor by which latents are scaled to a variance of about 1, as the UNet takes them.
    pub scaling_factor: f64,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the mid blocks have an attention.
    pub mid_block_add_attention: bool,
}

impl VaeConfig {
    /// Reads the file, with diffusers' defaults for absent keys.
    ///
    /// # Errors
    /// When a known key has an unsupported value, or the values are inconsistent.
    pub fn read(file: &ConfigFile) -> std::result::Result<Self, ConfigError> {
        let block_out_channels = match file.raw("block_out_channels") {
            None | Some(Value::Null) => vec![64],
            Some(Value::Array(list)) if !list.is_empty() => {
                file.counts("block_out_channels", list.len(), 1)?
            }
            Some(_) => {
                return Err(file.wrong("block_out_channels", phrase("a list of channels, one per level")));
            }
        };
        let levels = block_out_channels.len();
        for (key, kind) in
            [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]
        {
            file.only(key, &[json!(vec![kind; levels])])?;
        }
        let norm_num_groups = file.count("norm_num_groups", 32)?;
        if let Some(c) = block_out_channels.iter().find(|&c| c % norm_num_groups != 0) {
            return Err(
                file.wrong("norm_num_groups", tr!("a divisor of every `block_out_channels`, {c} too", c))
            );
        }
        let scaling_factor = file.number("scaling_factor", 0.18215)?;
        if scaling_factor == 0. {
            return Err(
                file.wrong("scaling_factor", phrase("a number other than 0: latents are divided by it"))
            );
        }
        file.only("act_fn", &[json!("silu"), json!("swish")])?;
        for key in ["latents_mean", "latents_std"] {
            file.only(key, &[Value::Null])?;
        }
        file.only("shift_factor", &[Value::Null, json!(0), json!(0.0)])?;
        // No effect: the size in training, and a precaution for f16.
        for key in ["sample_size", "force_upcast"] {
            file.raw(key);
        }
        let flag = |key| file.or(key, true, phrase("true or false"));
        Ok(Self {
            in_channels: file.count("in_channels", 3)?,
            out_channels: file.count("out_channels", 3)?,
            latent_channels: file.count("latent_channels", 4)?,
            block_out_channels,
            layers_per_block: file.count("layers_per_block", 1)?,
            norm_num_groups,
            scaling_factor,
            use_quant_conv: flag("use_quant_conv")?,
            use_post_quant_conv: flag("use_post_quant_conv")?,
            mid_block_add_attention: flag("mid_block_add_attention")?,
        })
    }

    /// Pixels per latent in each direction: 8 with four levels.
    pub fn scale_factor(&self) -> usize {
        1usize.checked_shl(self.block_out_channels.len() as u32 - 1).unwrap_or(usize::MAX)
    }

    /// Channels of the level `i`, counted from full size.
    pub(super) fn channels(&self, i: usize) -> usize {
        self.block_out_channels[i]
    }

    /// Channels of the innermost level.
    pub(super) fn innermost(&self) -> usize {
        // `read` refuses an empty list of levels.
        self.block_out_channels[self.block_out_channels.len() - 1]
    }

    /// The sizes of a resnet.
    pub(super) fn resnet(&self, in_channels: usize, out_channels: usize) -> ResnetConfig {
        ResnetConfig {
            in_channels,
            out_channels,
            temb_channels: None,
            groups: self.norm_num_groups,
            eps: EPS,
        }
    }
}

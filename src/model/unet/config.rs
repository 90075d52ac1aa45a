//! `unet/config.json`.

use crate::nn::config::one_of;
use crate::nn::{ConfigError, ConfigFile};
use crate::phrase::phrase;
use serde_json::{Value, json};
use tr::tr;

/// The UNet's configuration, level by level.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Channels of the input latents.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// The levels, from full size down.
    pub blocks: Vec<LevelConfig>,
    /// False if `mid_block_type` is null.
    pub has_mid_block: bool,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Epsilon of the resnets' group norms and of `conv_norm_out`.
    pub norm_eps: f64,
    /// Padding of the downsampling convolution: 1, or 0 (then the input is padded on two sides).
    pub downsample_padding: usize,
    /// Whether a transformer's projections are linear layers (Stable Diffusion 2) or 1×1 convolutions (Stable Diffusion 1).
    pub use_linear_projection: bool,
    /// Whether the time embedding is [cos, sin] instead of [sin, cos].
    pub flip_sin_to_cos: bool,
    /// Subtracted from the divisor of the time embedding's frequencies.
    pub freq_shift: f64,
    /// Height and width of the latents in training.
    pub sample_size: (usize, usize),
    /// Width of the guidance scale's embedding, which a latent consistency model takes as an input (Luo et al., 2023,
    /// "Latent Consistency Models", section 4.1). `None` for any other model.
    pub time_cond_proj_dim: Option<usize>,
}

/// One level: the down block and the up block of the same size.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelConfig {
    /// Channels.
    pub channels: usize,
    /// Resnets of the down block; the up block has one more.
    pub layers: usize,
    /// Heads of an attention. The key is `attention_head_dim` for historical reasons.
    pub heads: usize,
    /// Width of the prompt embeddings.
    pub cross_attention_dim: usize,
    /// Transformer blocks after each resnet.
    pub transformer_layers: usize,
    /// Whether the down block has attentions (`CrossAttnDownBlock2D`).
    pub down_attends: bool,
    /// Whether the up block has attentions (`CrossAttnUpBlock2D`).
    pub up_attends: bool,
}

impl UNetConfig {
    /// Reads the file, with diffusers' defaults for absent keys.
    ///
    /// # Errors
    /// When a known key has an unsupported value, or the values are inconsistent.
    pub fn read(file: &ConfigFile) -> Result<Self, ConfigError> {
        refuse_unsupported(file)?;
        let channels: Vec<usize> = match file.raw("block_out_channels") {
            None | Some(Value::Null) => vec![320, 640, 1280, 1280],
            Some(Value::Array(list)) if !list.is_empty() => {
                file.counts("block_out_channels", list.len(), 1)?
            }
            Some(_) => {
                return Err(file.wrong("block_out_channels", phrase("a list of channels, one per level")));
            }
        };
        let levels = channels.len();
        let down =
            attends(file, "down_block_types", levels, "DownBlock2D", "CrossAttnDownBlock2D", &DEFAULT_DOWN)?;
        let up = attends(file, "up_block_types", levels, "UpBlock2D", "CrossAttnUpBlock2D", &DEFAULT_UP)?;
        let layers = file.counts("layers_per_block", levels, 2)?;
        let heads = file.counts("attention_head_dim", levels, 8)?;
        let cross_attention_dim = file.counts("cross_attention_dim", levels, 1280)?;
        let transformer_layers = file.counts("transformer_layers_per_block", levels, 1)?;

        let norm_num_groups = file.count("norm_num_groups", 32)?;
        if let Some(c) = channels.iter().find(|&c| c % norm_num_groups != 0) {
            return Err(
                file.wrong("norm_num_groups", tr!("a divisor of every `block_out_channels`, {c} too", c))
            );
        }
        let blocks: Vec<LevelConfig> = (0..levels)
            .map(|i| LevelConfig {
                channels: channels[i],
                layers: layers[i],
                heads: heads[i],
                cross_attention_dim: cross_attention_dim[i],
                transformer_layers: transformer_layers[i],
                down_attends: down[i],
                up_attends: up[levels - 1 - i],
            })
            .collect();
        let has_mid_block = mid_block(file)?;
        let misfit = blocks.iter().enumerate().find(|(i, level)| {
            let attends = level.down_attends || level.up_attends || (has_mid_block && i + 1 == levels);
            attends && level.channels % level.heads != 0
        });
        if let Some((i, level)) = misfit {
            let expected = tr!("heads that divide the {} channels of level {i}", level.channels, i);
            return Err(file.wrong("attention_head_dim", &expected));
        }
        let downsample_padding = file.or("downsample_padding", 1, phrase("0 or 1"))?;
        if downsample_padding > 1 {
            return Err(file.wrong("downsample_padding", phrase("0 or 1")));
        }
        Ok(Self {
            in_channels: file.count("in_channels", 4)?,
            out_channels: file.count("out_channels", 4)?,
            blocks,
            has_mid_block,
            norm_num_groups,
            norm_eps: file.number("norm_eps", 1e-5)?,
            downsample_padding,
            use_linear_projection: file.or("use_linear_projection", false, phrase("true or false"))?,
            flip_sin_to_cos: file.or("flip_sin_to_cos", true, phrase("true or false"))?,
            freq_shift: file.number("freq_shift", 0.)?,
            sample_size: sample_size(file)?,
            time_cond_proj_dim: time_cond_proj_dim(file)?,
        })
    }

    /// The innermost level.
    pub fn innermost(&self) -> &LevelConfig {
        // `read` refuses an empty list of levels.
        &self.blocks[self.blocks.len() - 1]
    }

    /// Width of the time embedding: four times the first level's channels.
    pub fn time_embed_dim(&self) -> usize {
        4 * self.blocks[0].channels
    }
}

const DEFAULT_DOWN: [bool; 4] = [true, true, true, false];
const DEFAULT_UP: [bool; 4] = [false, true, true, true];

/// Whether each of a list of block types has attentions.
fn attends(
    file: &ConfigFile,
    key: &str,
    levels: usize,
    plain: &str,
    attending: &str,
    default: &[bool],
) -> Result<Vec<bool>, ConfigError> {
    let expected = tr!("a list of {levels} block types, each {}", one_of([plain, attending].iter()), levels);
    let list = match file.get::<Vec<String>>(key, &expected)? {
        None => default.to_vec(),
        Some(types) => types
            .iter()
            .map(|name| match name.as_str() {
                name if name == plain => Ok(false),
                name if name == attending => Ok(true),
                _ => Err(file.wrong(key, &expected)),
            })
            .collect::<Result<_, _>>()?,
    };
    if list.len() == levels { Ok(list) } else { Err(file.wrong(key, &expected)) }
}

/// Whether there is a mid block: an absent key means diffusers' default, null means none.
fn mid_block(file: &ConfigFile) -> Result<bool, ConfigError> {
    match file.raw("mid_block_type") {
        None => Ok(true),
        Some(Value::Null) => Ok(false),
        Some(Value::String(name)) if name == "UNetMidBlock2DCrossAttn" => Ok(true),
        Some(_) => Err(file.wrong("mid_block_type", phrase(r#"one of "UNetMidBlock2DCrossAttn", null"#))),
    }
}

/// `sample_size`: a number, or a height and a width. Files of diffusers before 0.9 often have 32 by mistake: its pipeline
/// replaces any number below 64 by 64.
fn sample_size(file: &ConfigFile) -> Result<(usize, usize), ConfigError> {
    let size = file.counts("sample_size", 2, 64)?;
    let is_list = matches!(file.raw("sample_size"), Some(Value::Array(_)));
    let version: Option<String> = file.get("_diffusers_version", phrase("a version"))?;
    if !is_list && version.is_some_and(|version| is_before_0_9(&version)) {
        return Ok((size[0].max(64), size[1].max(64)));
    }
    Ok((size[0], size[1]))
}

/// `time_cond_proj_dim`. Two or three columns have one frequency, which diffusers divides by zero.
fn time_cond_proj_dim(file: &ConfigFile) -> Result<Option<usize>, ConfigError> {
    const KEY: &str = "time_cond_proj_dim";
    match file.raw(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => match file.count(KEY, 0)? {
            ..4 => Err(file.wrong(KEY, phrase("null or a count of at least 4"))),
            dim => Ok(Some(dim)),
        },
    }
}

/// Whether a version of diffusers is below 0.9.0. 0.9.0.dev0 is not.
fn is_before_0_9(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    parts.next() == Some(Some(0)) && matches!(parts.next(), Some(Some(0..9)))
}

/// Refuses options of diffusers' UNet that Stable Diffusion 1 and 2 do not use.
fn refuse_unsupported(file: &ConfigFile) -> Result<(), ConfigError> {
    let (null, no, yes) = (json!(null), json!(false), json!(true));
    for key in [
        "class_embed_type",
        "num_class_embeds",
        "addition_embed_type",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "time_embedding_act_fn",
        "time_embedding_dim",
        "timestep_post_act",
        "num_attention_heads",
        "cross_attention_norm",
        "reverse_transformer_layers_per_block",
    ] {
        file.only(key, std::slice::from_ref(&null))?;
    }
    for key in
        ["center_input_sample", "dual_cross_attention", "resnet_skip_time_act", "class_embeddings_concat"]
    {
        file.only(key, std::slice::from_ref(&no))?;
    }
    file.only("act_fn", &[json!("silu"), json!("swish")])?;
    file.only("resnet_time_scale_shift", &[json!("default")])?;
    file.only("time_embedding_type", &[json!("positional")])?;
    file.only("attention_type", &[json!("default")])?;
    file.only("conv_in_kernel", &[json!(3)])?;
    file.only("conv_out_kernel", &[json!(3)])?;
    file.only("mid_block_scale_factor", &[json!(1), json!(1.0)])?;
    file.only("resnet_out_scale_factor", &[json!(1), json!(1.0)])?;
    file.only("mid_block_only_cross_attention", &[null.clone(), no.clone()])?;
    // Scores never overflow in f16 here, with or without this option.
    file.only("upcast_attention", &[null, no.clone(), yes])?;
    match file.raw("only_cross_attention") {
        Some(Value::Array(list)) if list.iter().all(|v| *v == no) => {}
        _ => file.only("only_cross_attention", &[no])?,
    }
    // No effect: dropout, and details of options that are refused above.
    for key in [
        "dropout",
        "addition_embed_type_num_heads",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
        "resnet_time_scale_shift",
    ] {
        file.raw(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UNetConfig, String> {
        let file = ConfigFile::parse("unet/config.json", text.as_bytes()).map_err(|e| e.to_string())?;
        UNetConfig::read(&file).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_stable_diffusion_1() {
        let config = read("{}").unwrap();
        assert_eq!(config.blocks.iter().map(|b| b.channels).collect::<Vec<_>>(), [320, 640, 1280, 1280]);
        assert!(config.has_mid_block && !config.innermost().down_attends && config.blocks[0].up_attends);
    }

    #[test]
    fn null_means_no_mid_block_and_absent_means_the_default() {
        assert!(!read(r#"{"mid_block_type": null}"#).unwrap().has_mid_block);
        assert!(read(r#"{"mid_block_type": "UNetMidBlock2D"}"#).unwrap_err().contains("mid_block_type"));
    }

    #[test]
    fn small_sample_sizes_of_old_files_become_64() {
        for (text, size) in [
            (r#"{"_diffusers_version": "0.6.0", "sample_size": 32}"#, (64, 64)),
            (r#"{"_diffusers_version": "0.8.1", "sample_size": 96}"#, (96, 96)),
            (r#"{"_diffusers_version": "0.2.2", "sample_size": [32, 40]}"#, (32, 40)),
            (r#"{"_diffusers_version": "0.9.0.dev0", "sample_size": 32}"#, (32, 32)),
            (r#"{"_diffusers_version": "0.24.0", "sample_size": 32}"#, (32, 32)),
            (r#"{"_diffusers_version": "1.0", "sample_size": 32}"#, (32, 32)),
            (r#"{"_diffusers_version": "?", "sample_size": 32}"#, (32, 32)),
            (r#"{"sample_size": 32}"#, (32, 32)),
            (r#"{"sample_size": null}"#, (64, 64)),
        ] {
            assert_eq!(read(text).unwrap().sample_size, size, "{text}");
        }
    }

    #[test]
    fn the_width_of_the_guidance_scale_is_a_count() {
        for (text, dim) in [
            ("{}", None),
            (r#"{"time_cond_proj_dim": null}"#, None),
            (r#"{"time_cond_proj_dim": 256}"#, Some(256)),
            (r#"{"time_cond_proj_dim": 9}"#, Some(9)),
        ] {
            assert_eq!(read(text).unwrap().time_cond_proj_dim, dim, "{text}");
        }
        for value in ["0", "-8", "8.5", "\"256\"", "[256]", "true", "99999999999", "2", "3"] {
            let error = read(&format!("{{\"time_cond_proj_dim\": {value}}}")).unwrap_err();
            assert!(error.contains(&format!("`time_cond_proj_dim` is {value}")), "{value}: {error}");
        }
    }

    #[test]
    fn null_is_absent() {
        let nulls = r#"{"block_out_channels": null, "norm_num_groups": null, "act_fn": null, "norm_eps": null, "in_channels": null,
            "down_block_types": null, "layers_per_block": null, "center_input_sample": null, "resnet_time_scale_shift": null,
            "conv_in_kernel": null, "only_cross_attention": null, "flip_sin_to_cos": null, "cross_attention_dim": null}"#;
        assert_eq!(read(nulls), read("{}"));
    }

    #[test]
    fn invalid_configurations_are_refused() {
        for (text, expected) in [
            (r#"{"attention_head_dim": 0}"#, "`attention_head_dim` is 0"),
            (r#"{"attention_head_dim": 7}"#, "`attention_head_dim` is 7"),
            (r#"{"norm_num_groups": 7}"#, "`norm_num_groups` is 7"),
            (r#"{"block_out_channels": []}"#, "`block_out_channels` is []"),
            (r#"{"block_out_channels": [32]}"#, "`down_block_types` is absent"),
            (r#"{"layers_per_block": [1, 2]}"#, "`layers_per_block` is [1,2]"),
            (r#"{"layers_per_block": 99999999999}"#, "`layers_per_block` is 99999999999"),
            (r#"{"class_embed_type": "timestep"}"#, r#"`class_embed_type` is "timestep"; expected null"#),
            (r#"{"down_block_types": ["AttnDownBlock2D"]}"#, "`down_block_types`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

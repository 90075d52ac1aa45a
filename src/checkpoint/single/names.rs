//! The names of modules in the two layouts: diffusers', and the original one of Latent Diffusion (LDM), which single files have.
//!
//! Each function is a table for one component: diffusers' name of a module, and the original one. What follows a module's name
//! (`.weight`, `.bias`, and all names below a transformer) is equal in both. diffusers converts the other way around, in
//! `convert_ldm_unet_checkpoint`, `convert_ldm_vae_checkpoint` and `convert_open_clip_checkpoint`.

use crate::nn::weights::view::{StoredNames, Viewed};
use std::fmt::Display;

/// A module in both layouts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    diffusers: String,
    ldm: String,
    /// The module's number, if the original layout has it in one tensor with two others.
    third: Option<usize>,
    /// Whether the original layout has a 1×1 convolution instead of a linear layer.
    is_conv: bool,
}

/// The modules of a component in both layouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pairs: Vec<Pair>,
    /// What every key of the component begins with in the file: `model.diffusion_model.`.
    prefix: String,
    /// Whether the averaged weights are read: `model_ema.`, and the key without its dots.
    is_ema: bool,
}

/// A resnet of the UNet. LDM numbers the layers of two sequences: norm, SiLU, (dropout,) convolution.
const UNET_RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// A resnet of the VAE.
const VAE_RESNET: [(&str, &str); 5] = [
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("conv_shortcut", "nin_shortcut"),
];

/// The VAE's attention. Its projections are 1×1 convolutions in LDM.
const VAE_ATTENTION: [(&str, &str); 4] =
    [("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")];

/// A layer of the text encoder, in transformers and in OpenCLIP.
const OPEN_CLIP_LAYER: [(&str, &str); 5] = [
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("self_attn.out_proj", "attn.out_proj"),
];

/// The UNet. LDM numbers all blocks on the way down in one list, each convolution that halves the size among them, and likewise
/// on the way up. `down_attends` and `up_attends` say which levels have transformers, from full size down.
pub fn unet(layers: usize, down_attends: &[bool], up_attends: &[bool]) -> Names {
    let mut names = Names::new("model.diffusion_model.");
    names.add("time_embedding.linear_1", "time_embed.0");
    names.add("time_embedding.linear_2", "time_embed.2");
    names.add("conv_in", "input_blocks.0.0");

    let levels = down_attends.len();
    let mut block = 1;
    for (level, attends) in down_attends.iter().enumerate() {
        for layer in 0..layers {
            let ours = format!("down_blocks.{level}");
            names.all(format!("{ours}.resnets.{layer}"), format!("input_blocks.{block}.0"), &UNET_RESNET);
            if *attends {
                names.add(format!("{ours}.attentions.{layer}"), format!("input_blocks.{block}.1"));
            }
            block += 1;
        }
        if level + 1 < levels {
            names.add(
                format!("down_blocks.{level}.downsamplers.0.conv"),
                format!("input_blocks.{block}.0.op"),
            );
            block += 1;
        }
    }

    names.all("mid_block.resnets.0", "middle_block.0", &UNET_RESNET);
    names.add("mid_block.attentions.0", "middle_block.1");
    names.all("mid_block.resnets.1", "middle_block.2", &UNET_RESNET);

    // The way up begins at the innermost level.
    let mut block = 0;
    for (number, attends) in up_attends.iter().rev().enumerate() {
        for layer in 0..=layers {
            let ours = format!("up_blocks.{number}");
            names.all(format!("{ours}.resnets.{layer}"), format!("output_blocks.{block}.0"), &UNET_RESNET);
            if *attends {
                names.add(format!("{ours}.attentions.{layer}"), format!("output_blocks.{block}.1"));
            }
            block += 1;
        }
        if number + 1 < levels {
            // It follows the transformer, if there is one.
            let place = if *attends { 2 } else { 1 };
            let last = block - 1;
            names.add(
                format!("up_blocks.{number}.upsamplers.0.conv"),
                format!("output_blocks.{last}.{place}.conv"),
            );
        }
    }

    names.add("conv_norm_out", "out.0");
    names.add("conv_out", "out.2");
    names
}

/// The VAE, whose file begins its keys with `prefix`. LDM counts the decoder's levels from full size, diffusers from the innermost.
/// `layers` are those of the encoder; the decoder has one more.
pub fn vae(prefix: &str, levels: usize, layers: usize) -> Names {
    let mut names = Names::new(prefix);
    names.add("quant_conv", "quant_conv");
    names.add("post_quant_conv", "post_quant_conv");
    for half in ["encoder", "decoder"] {
        names.add(format!("{half}.conv_in"), format!("{half}.conv_in"));
        names.add(format!("{half}.conv_norm_out"), format!("{half}.norm_out"));
        names.add(format!("{half}.conv_out"), format!("{half}.conv_out"));
        let (ours, theirs) = (format!("{half}.mid_block"), format!("{half}.mid"));
        names.all(format!("{ours}.resnets.0"), format!("{theirs}.block_1"), &VAE_RESNET);
        names.all(format!("{ours}.resnets.1"), format!("{theirs}.block_2"), &VAE_RESNET);
        names.add(format!("{ours}.attentions.0.group_norm"), format!("{theirs}.attn_1.norm"));
        for (projection, theirs_too) in VAE_ATTENTION {
            let ldm = format!("{theirs}.attn_1.{theirs_too}");
            names.push(format!("{ours}.attentions.0.{projection}"), ldm, None, true);
        }
    }
    for level in 0..levels {
        let (ours, theirs) = (format!("encoder.down_blocks.{level}"), format!("encoder.down.{level}"));
        for layer in 0..layers {
            names.all(format!("{ours}.resnets.{layer}"), format!("{theirs}.block.{layer}"), &VAE_RESNET);
        }
        names.add(format!("{ours}.downsamplers.0.conv"), format!("{theirs}.downsample.conv"));

        let number = levels - 1 - level;
        let (ours, theirs) = (format!("decoder.up_blocks.{number}"), format!("decoder.up.{level}"));
        for layer in 0..=layers {
            names.all(format!("{ours}.resnets.{layer}"), format!("{theirs}.block.{layer}"), &VAE_RESNET);
        }
        names.add(format!("{ours}.upsamplers.0.conv"), format!("{theirs}.upsample.conv"));
    }
    names
}

/// The text encoder of Stable Diffusion 1: transformers' own names.
pub fn clip(prefix: &str) -> Names {
    let mut names = Names::new(prefix);
    for module in ["embeddings", "encoder", "final_layer_norm"] {
        names.add(module, module);
    }
    names
}

/// The text encoder of Stable Diffusion 2: OpenCLIP's names. Query, key and value are one tensor, a third of its rows each.
pub fn open_clip(layers: usize) -> Names {
    let mut names = Names::new("cond_stage_model.model.");
    names.add("embeddings.token_embedding", "token_embedding");
    names.add("embeddings.position_embedding.weight", "positional_embedding");
    for layer in 0..layers {
        let (ours, theirs) = (format!("encoder.layers.{layer}"), format!("transformer.resblocks.{layer}"));
        names.all(&ours, &theirs, &OPEN_CLIP_LAYER);
        for (third, projection) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
            for tensor in ["weight", "bias"] {
                let ldm = format!("{theirs}.attn.in_proj_{tensor}");
                names.push(format!("{ours}.self_attn.{projection}.{tensor}"), ldm, Some(third), false);
            }
        }
    }
    names.add("final_layer_norm", "ln_final");
    names
}

/// Names that are diffusers' already, as a VAE's own file has them.
pub fn same(modules: &[&str]) -> Names {
    let mut names = Names::new("");
    modules.iter().for_each(|module| names.add(module, module));
    names
}

impl Names {
    fn new(prefix: &str) -> Self {
        Self { pairs: vec![], prefix: prefix.into(), is_ema: false }
    }

    fn push(&mut self, diffusers: String, ldm: String, third: Option<usize>, is_conv: bool) {
        self.pairs.push(Pair { diffusers, ldm, third, is_conv });
    }

    fn add(&mut self, diffusers: impl Display, ldm: impl Display) {
        self.push(diffusers.to_string(), ldm.to_string(), None, false);
    }

    fn all(&mut self, diffusers: impl Display, ldm: impl Display, parts: &[(&str, &str)]) {
        parts.iter().for_each(|(ours, theirs)| {
            self.add(format_args!("{diffusers}.{ours}"), format_args!("{ldm}.{theirs}"));
        });
    }

    /// The same modules with their averaged weights.
    pub fn ema(self) -> Self {
        Self { is_ema: true, ..self }
    }

    /// The file's key for the original key `ldm`: LDM's `LitEma` removes the dots.
    fn in_file(&self, ldm: &str) -> String {
        let whole = format!("{}{ldm}", self.prefix);
        match whole.split_once('.') {
            Some((_, rest)) if self.is_ema => format!("model_ema.{}", rest.replace('.', "")),
            _ => whole,
        }
    }

    /// The file's key for diffusers' `key`; `None` if no module has it.
    pub fn to_ldm(&self, key: &str) -> Option<String> {
        let found = self.pairs.iter().find_map(|pair| Some((pair, below(key, &pair.diffusers)?)));
        found.map(|(pair, rest)| self.in_file(&format!("{}{rest}", pair.ldm)))
    }

    /// The tensors that diffusers makes of the file's plain key `stored`: three of query, key and value in one, otherwise one. A
    /// tensor of an unknown module keeps its key. Empty if the key belongs to another component.
    pub fn of_stored(&self, stored: &str) -> Vec<Viewed> {
        let Some(ldm) = stored.strip_prefix(&self.prefix) else { return vec![] };
        let view = |pair: &Pair| {
            let rest = below(ldm, &pair.ldm)?;
            Some(Viewed {
                key: format!("{}{rest}", pair.diffusers),
                stored: self.in_file(ldm),
                part: pair.third.map(|third| (third, 3)),
                is_squeezed: pair.is_conv,
            })
        };
        let known: Vec<_> = self.pairs.iter().filter_map(view).collect();
        if known.is_empty() {
            let key = stored.to_string();
            return vec![Viewed { key: key.clone(), stored: key, part: None, is_squeezed: false }];
        }
        known
    }
}

impl StoredNames for Names {
    fn stored(&self, key: &str) -> String {
        self.to_ldm(key).unwrap_or_else(|| key.into())
    }
}

/// What follows the module `name` in `key`: `.weight`, or nothing.
fn below<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    key.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Every module in the file has one name here, and back.
    fn there_and_back(names: &Names) {
        let mut keys = BTreeSet::new();
        for pair in &names.pairs {
            let key = format!("{}.weight", pair.diffusers);
            let stored = names.to_ldm(&key).unwrap();
            let back = names.of_stored(&stored);
            assert!(
                back.iter().any(|viewed| viewed.key == key && viewed.stored == stored),
                "{key}: {back:?}"
            );
            assert!(keys.insert(key), "{}: twice", pair.diffusers);
        }
    }

    proptest! {
        #[test]
        fn unets_of_any_depth(layers in 1usize..5, levels in proptest::collection::vec(any::<(bool, bool)>(), 1..6)) {
            let (down, up): (Vec<bool>, Vec<bool>) = levels.into_iter().unzip();
            there_and_back(&unet(layers, &down, &up));
        }

        #[test]
        fn vaes_of_any_depth(levels in 1usize..6, layers in 1usize..5) {
            there_and_back(&vae("first_stage_model.", levels, layers));
        }

        #[test]
        fn no_key_panics(key: String, prefix in "(first_stage_model|model.diffusion_model|cond_stage_model.model)?[.]?") {
            let key = format!("{prefix}{key}");
            for names in [unet(2, &[true, false], &[true, false]), vae("first_stage_model.", 2, 1), open_clip(2)] {
                let _ = (names.to_ldm(&key), names.of_stored(&key), names.stored(&key));
            }
        }
    }

    #[test]
    fn query_key_and_value_are_thirds_of_one_tensor() {
        let names = open_clip(1);
        let viewed = names.of_stored("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias");
        let parts: Vec<_> = viewed.into_iter().map(|viewed| (viewed.key, viewed.part)).collect();
        let expected = ["q", "k", "v"].iter().enumerate();
        let expected: Vec<_> = expected
            .map(|(i, name)| (format!("encoder.layers.0.self_attn.{name}_proj.bias"), Some((i, 3))))
            .collect();
        assert_eq!(parts, expected);
    }
}

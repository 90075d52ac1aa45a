//! The keys of a LoRA's tensors: which module a tensor belongs to, and what it is there.
//!
//! Trainers write the name of a module in two ways: with its dots (`unet.mid_block.attentions.0…`), or with underscores instead
//! (kohya's `lora_unet_mid_block_attentions_0…`). Underscores cannot be undone without the model's modules, so [`Key::module`] has
//! underscores in either case.

use crate::phrase::{Phrase, phrase};

/// A key, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The component that the key names; `None` if it names none.
    pub component: Option<Component>,
    /// The module's path in its component, with underscores instead of dots.
    pub module: String,
    /// What the tensor is.
    pub role: Role,
    /// Who writes keys like this.
    pub layout: Layout,
}

/// A component that a LoRA can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// `unet`.
    UNet,
    /// `text_encoder`.
    TextEncoder,
}

impl Component {
    /// diffusers' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UNet => "unet",
            Self::TextEncoder => "text_encoder",
        }
    }
}

/// What a tensor is in ΔW = (α / r) · B · A (Hu et al., 2021, "LoRA", section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A: from the module's inputs to r numbers.
    Down,
    /// B: from r numbers to the module's outputs.
    Up,
    /// α.
    Alpha,
}

/// Who writes such keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// kohya's sd-scripts, and most files for A1111 and ComfyUI.
    Kohya,
    /// diffusers, before it used peft.
    Diffusers,
    /// peft, which diffusers uses since.
    Peft,
}

impl Layout {
    /// Its name.
    pub fn name(self) -> Phrase {
        match self {
            Self::Kohya => phrase("kohya's"),
            Self::Diffusers => phrase("diffusers'"),
            Self::Peft => phrase("peft's"),
        }
    }
}

/// A key that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// A tensor of another method, which is refused.
    Method(Phrase),
    /// No key of a LoRA for Stable Diffusion 1 or 2.
    Unknown,
}

/// What follows a module's name in a key. A `*` is any one name: peft's name of the adapter.
const ENDINGS: [(&str, Role, Layout); 13] = [
    (".lora_down.weight", Role::Down, Layout::Kohya),
    (".lora_up.weight", Role::Up, Layout::Kohya),
    (".alpha", Role::Alpha, Layout::Kohya),
    ("_lora.down.weight", Role::Down, Layout::Diffusers),
    ("_lora.up.weight", Role::Up, Layout::Diffusers),
    (".lora.down.weight", Role::Down, Layout::Diffusers),
    (".lora.up.weight", Role::Up, Layout::Diffusers),
    (".lora_linear_layer.down.weight", Role::Down, Layout::Diffusers),
    (".lora_linear_layer.up.weight", Role::Up, Layout::Diffusers),
    (".lora_A.weight", Role::Down, Layout::Peft),
    (".lora_B.weight", Role::Up, Layout::Peft),
    (".lora_A.*.weight", Role::Down, Layout::Peft),
    (".lora_B.*.weight", Role::Up, Layout::Peft),
];

/// Parts of keys that only other methods have.
const METHODS: [(&str, Phrase); 13] = [
    (".lora_mid.", phrase("LoCon with a middle convolution (`lora_mid`)")),
    (".hada_w", phrase("LoHa")),
    (".hada_t", phrase("LoHa")),
    (".lokr_w", phrase("LoKr")),
    (".lokr_t", phrase("LoKr")),
    (".dora_scale", phrase("DoRA")),
    (".lora_magnitude_vector", phrase("DoRA")),
    (".oft_", phrase("OFT")),
    (".boft_", phrase("BOFT")),
    (".lora_embedding_", phrase("a LoRA of an embedding table")),
    (".w_norm", phrase("whole differences of weights")),
    (".b_norm", phrase("whole differences of weights")),
    (".on_input", phrase("IA³")),
];

/// The ends of keys of whole differences of weights.
const DIFFERENCES: [&str; 2] = [".diff", ".diff_b"];

/// What stands before a module's name, and the component that it names. The first match is used.
const STARTS: [(&str, Option<Component>); 7] = [
    ("lora_unet_", Some(Component::UNet)),
    ("lora_te_", Some(Component::TextEncoder)),
    ("unet.", Some(Component::UNet)),
    ("text_encoder.", Some(Component::TextEncoder)),
    // ComfyUI's name of the UNet.
    ("diffusion_model.", Some(Component::UNet)),
    ("base_model.model.", None),
    ("", None),
];

impl Key {
    /// Reads a tensor's key.
    ///
    /// # Errors
    /// [`Unread`] for a tensor of another method, and for a key of no known form.
    pub fn parse(key: &str) -> Result<Self, Unread> {
        if let Some((_, method)) = METHODS.iter().find(|(part, _)| key.contains(part)) {
            return Err(Unread::Method(*method));
        }
        if DIFFERENCES.iter().any(|end| key.ends_with(end)) {
            return Err(Unread::Method(phrase("whole differences of weights")));
        }
        let ending = |(ending, role, layout): &(&str, Role, Layout)| {
            Some((without_ending(key, ending)?, *role, *layout))
        };
        let (name, role, layout) = ENDINGS.iter().find_map(ending).ok_or(Unread::Unknown)?;
        let start =
            |(start, component): &(&str, Option<Component>)| Some((name.strip_prefix(start)?, *component));
        let (name, component) = STARTS.iter().find_map(start).ok_or(Unread::Unknown)?;
        // diffusers' attention processors held the projections' LoRAs.
        let module = name.replace(".processor.", ".").replace('.', "_");
        if module.is_empty() {
            return Err(Unread::Unknown);
        }
        Ok(Self { component, module, role, layout })
    }
}

/// `key` without its ending, in which a `*` is any one name.
fn without_ending<'a>(key: &'a str, ending: &str) -> Option<&'a str> {
    let Some((before, after)) = ending.split_once('*') else { return key.strip_suffix(ending) };
    let (key, name) = key.strip_suffix(after)?.rsplit_once('.')?;
    if name.is_empty() {
        return None;
    }
    key.strip_suffix(before.strip_suffix('.')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_keys_of_every_layout() {
        use Component::{TextEncoder, UNet};
        use Layout::{Diffusers, Kohya, Peft};
        use Role::{Alpha, Down, Up};
        for (key, component, module, role, layout) in [
            (
                "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
                Some(UNet),
                "mid_block_attentions_0_proj_in",
                Down,
                Kohya,
            ),
            (
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
                Some(TextEncoder),
                "text_model_encoder_layers_0_mlp_fc1",
                Up,
                Kohya,
            ),
            ("lora_unet_output_blocks_5_2_conv.alpha", Some(UNet), "output_blocks_5_2_conv", Alpha, Kohya),
            (
                "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
                Some(UNet),
                "mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
                Down,
                Diffusers,
            ),
            (
                "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
                None,
                "mid_block_attentions_0_transformer_blocks_0_attn1_to_out",
                Up,
                Diffusers,
            ),
            ("unet.conv_in.lora.down.weight", Some(UNet), "conv_in", Down, Diffusers),
            (
                "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.up.weight",
                Some(TextEncoder),
                "text_model_encoder_layers_1_self_attn_q_proj",
                Up,
                Diffusers,
            ),
            (
                "unet.up_blocks.0.resnets.0.conv1.lora_A.weight",
                Some(UNet),
                "up_blocks_0_resnets_0_conv1",
                Down,
                Peft,
            ),
            ("base_model.model.conv_out.lora_B.default.weight", None, "conv_out", Up, Peft),
            (
                "diffusion_model.input_blocks.1.1.proj_in.lora_up.weight",
                Some(UNet),
                "input_blocks_1_1_proj_in",
                Up,
                Kohya,
            ),
        ] {
            assert_eq!(Key::parse(key), Ok(Key { component, module: module.into(), role, layout }), "{key}");
        }
    }

    #[test]
    fn other_methods_are_named() {
        for (key, method) in [
            ("lora_unet_conv_in.lora_mid.weight", "LoCon with a middle convolution (`lora_mid`)"),
            ("lora_unet_conv_in.hada_w1_a", "LoHa"),
            ("lora_unet_conv_in.lokr_w2", "LoKr"),
            ("lora_unet_conv_in.dora_scale", "DoRA"),
            ("unet.conv_in.lora_magnitude_vector", "DoRA"),
            ("lora_unet_conv_in.diff", "whole differences of weights"),
        ] {
            let Err(Unread::Method(found)) = Key::parse(key) else { panic!("{key}") };
            assert_eq!(found.to_string(), method, "{key}");
        }
        for key in [
            "",
            "alpha",
            ".alpha",
            "conv_in.weight",
            "unet..lora_A..weight",
            "bundle_emb.x.string_to_param.*",
            "lora_unet_.alpha",
        ] {
            assert_eq!(Key::parse(key), Err(Unread::Unknown), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_key_panics(start in "(lora_unet_|lora_te_|unet\\.|base_model\\.model\\.)?", key: String, end in "(\\.lora_A\\.|\\.weight|_lora\\.down\\.weight|\\.alpha)?") {
            let _ = Key::parse(&format!("{start}{key}{end}"));
        }
    }
}

//! The modules that a LoRA's keys name.

use super::keys::Component;
use crate::checkpoint::single::names;
use std::collections::HashMap;

/// The blocks of the UNet, for LDM's names of its modules.
#[derive(Debug, Clone)]
pub struct Blocks {
    /// Resnets of each level on the way down.
    pub layers: usize,
    /// Which levels have transformers on the way down, from full size.
    pub down_attends: Vec<bool>,
    /// Which levels have transformers on the way up, from full size.
    pub up_attends: Vec<bool>,
}

/// The modules of a model by the names that keys have for them.
#[derive(Debug)]
pub struct Names(HashMap<(Component, String), String>);

/// The text encoder's projections as diffusers' old attention processors called them.
const OLD_PROJECTIONS: [(&str, &str); 4] =
    [("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")];

impl Names {
    /// The names of `modules`, which are paths such as `unet.conv_in`. Without `blocks`, LDM's names are left out.
    pub fn new<'a>(modules: impl IntoIterator<Item = &'a str>, blocks: Option<&Blocks>) -> Self {
        let ldm = blocks.map(|of| names::unet(of.layers, &of.down_attends, &of.up_attends));
        let mut all = HashMap::new();
        let mut add = |component, name: &str, path: &str| {
            all.entry((component, name.replace('.', "_"))).or_insert_with(|| path.to_string());
        };
        for path in modules {
            if let Some(name) = path.strip_prefix("unet.") {
                add(Component::UNet, name, path);
                if let Some(attention) = name.strip_suffix(".to_out.0") {
                    add(Component::UNet, &format!("{attention}.to_out"), path);
                }
                let stored = ldm.as_ref().and_then(|ldm| ldm.to_ldm(name));
                if let Some(stored) =
                    stored.as_deref().and_then(|key| key.strip_prefix("model.diffusion_model."))
                {
                    add(Component::UNet, stored, path);
                }
            } else if let Some(name) = path.strip_prefix("text_encoder.") {
                // transformers 4 has a module `text_model` around these.
                let mut spellings = vec![name.to_string()];
                let projection =
                    OLD_PROJECTIONS.iter().find_map(|(new, old)| Some((name.strip_suffix(new)?, old)));
                spellings.extend(projection.map(|(attention, old)| format!("{attention}{old}")));
                for name in spellings {
                    add(Component::TextEncoder, &name, path);
                    add(Component::TextEncoder, &format!("text_model.{name}"), path);
                }
            }
        }
        Self(all)
    }

    /// The path of the module that a key names, if the model has it.
    pub fn find(&self, component: Option<Component>, module: &str) -> Option<&str> {
        let components = match component {
            Some(component) => vec![component],
            None => vec![Component::UNet, Component::TextEncoder],
        };
        components
            .into_iter()
            .find_map(|component| self.0.get(&(component, module.to_string())))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_by_every_name() {
        let modules = [
            "unet.down_blocks.0.downsamplers.0.conv",
            "unet.up_blocks.1.upsamplers.0.conv",
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
            "unet.down_blocks.1.resnets.0.conv_shortcut",
            "text_encoder.encoder.layers.0.self_attn.q_proj",
        ];
        let attends = || vec![true, true, true, false];
        let blocks = Blocks { layers: 2, down_attends: attends(), up_attends: attends() };
        let names = Names::new(modules, Some(&blocks));
        let unet = Some(Component::UNet);
        for (component, name, module) in [
            (unet, "down_blocks_0_downsamplers_0_conv", modules[0]),
            (unet, "input_blocks_3_0_op", modules[0]),
            (None, "input_blocks_3_0_op", modules[0]),
            (unet, "output_blocks_5_2_conv", modules[1]),
            (unet, "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0", modules[2]),
            (unet, "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out", modules[2]),
            (unet, "input_blocks_4_1_transformer_blocks_0_attn1_to_out_0", modules[2]),
            (unet, "input_blocks_4_0_skip_connection", modules[3]),
            (Some(Component::TextEncoder), "text_model_encoder_layers_0_self_attn_q_proj", modules[4]),
            (Some(Component::TextEncoder), "encoder_layers_0_self_attn_to_q", modules[4]),
            (None, "text_model_encoder_layers_0_self_attn_q_proj", modules[4]),
        ] {
            assert_eq!(names.find(component, name), Some(module), "{name}");
        }
        assert_eq!(names.find(Some(Component::TextEncoder), "input_blocks_3_0_op"), None);
        assert_eq!(names.find(unet, "input_blocks_4_1_proj_in"), None);
    }
}

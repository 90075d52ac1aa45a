//! peft's settings in a LoRA's header: diffusers' `save_lora_weights` writes them under `lora_adapter_metadata`.

use super::keys::Component;
use super::wrong;
use crate::checkpoint::LoadError;
use crate::nn::error::abridged;
use crate::nn::weights::WeightsFile;
use serde_json::{Map, Value};
use tr::tr;

const ENTRY: &str = "lora_adapter_metadata";

/// The settings, with keys such as `unet.lora_alpha`. Empty if the file has none.
#[derive(Debug, Default)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads the entry of the header.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(file: &WeightsFile) -> Result<Self, LoadError> {
        let Some(text) = file.metadata(ENTRY) else { return Ok(Self::default()) };
        serde_json::from_str(text).map(Self).map_err(|e| {
            let found = tr!("`{ENTRY}` in its header: {}", abridged(&e.to_string()), ENTRY);
            wrong(file.name(), found, tr!("a JSON object, as diffusers writes it"))
        })
    }

    /// α of a module and whether it is divided by √r (peft's `use_rslora`); `None` if nothing says so.
    pub fn alpha(&self, component: Option<Component>, module: &str) -> Option<(f64, bool)> {
        let component = component?.name();
        let setting = |name: &str| self.0.get(&format!("{component}.{name}"));
        let pattern = setting("alpha_pattern").and_then(Value::as_object);
        // A pattern is the end of a path.
        let is_of = |pattern: &str| {
            let before = module.strip_suffix(&*pattern.replace('.', "_"));
            before.is_some_and(|before| before.is_empty() || before.ends_with('_'))
        };
        let own =
            pattern.and_then(|all| all.iter().find(|(pattern, _)| is_of(pattern))).map(|(_, alpha)| alpha);
        let alpha = own.or_else(|| setting("lora_alpha"))?.as_f64().filter(|alpha| alpha.is_finite())?;
        Some((alpha, setting("use_rslora").and_then(Value::as_bool).unwrap_or(false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_comes_before_the_rest() {
        let json = r#"{"unet.r": 8, "unet.lora_alpha": 16, "unet.alpha_pattern": {"attn2.to_q": 4}, "text_encoder.lora_alpha": 2, "text_encoder.use_rslora": true}"#;
        let metadata = Metadata(serde_json::from_str(json).unwrap());
        let unet = |module| metadata.alpha(Some(Component::UNet), module);
        assert_eq!(unet("mid_block_attentions_0_transformer_blocks_0_attn1_to_q"), Some((16., false)));
        assert_eq!(unet("mid_block_attentions_0_transformer_blocks_0_attn2_to_q"), Some((4., false)));
        assert_eq!(unet("x_notattn2_to_q"), Some((16., false)));
        assert_eq!(metadata.alpha(Some(Component::TextEncoder), "x"), Some((2., true)));
        assert_eq!(metadata.alpha(None, "x"), None);
        assert_eq!(Metadata::default().alpha(Some(Component::UNet), "x"), None);
    }
}

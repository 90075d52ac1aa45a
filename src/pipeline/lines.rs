//! The paths of stage lines, by which a probe sees them.

use super::Stage;
use crate::nn::Path;
use std::sync::LazyLock;

macro_rules! lines {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        $($(#[$doc])* pub static $name: LazyLock<Path> = LazyLock::new(|| Path::new($path));)*
        /// Every line, in the order of a run.
        pub const ALL: &[&str] = &[$($path),*];
    };
}

lines! {
    /// Prompts → ids (2, 77): the negative prompt, then the prompt.
    TOKENIZE = "encode_prompt.tokenize";
    /// Ids → embeddings: (2, 77) → (2, 77, C).
    TEXT_ENCODER = "encode_prompt.text_encoder";
    /// The start image → its latents: (1, 3, H, W), 0 to 1 → (1, 4, h, w).
    ENCODE = "get_latent.encode";
    /// The seed → noise (1, 4, h, w).
    RANDN = "get_latent.randn";
    /// The start image's latents, noise and a timestep → noisy latents: (1, 4, h, w).
    ADD_NOISE = "get_latent.add_noise";
    /// Latents and embeddings → both residuals: (2, 4, h, w), (2, 77, C) → (2, 4, h, w).
    UNET = "denoise.unet";
    /// Both residuals → the guided one: (1, 4, h, w) each.
    GUIDANCE = "denoise.guidance";
    /// The guided residual, the timestep and the latents → less noisy latents: (1, 4, h, w).
    SCHEDULER_STEP = "denoise.scheduler_step";
    /// Latents → unscaled latents: (1, 4, h, w).
    SCALE = "vae_decode.scale";
    /// Unscaled latents → an image: (1, 4, h, w) → (1, 3, H, W), about -1 to 1.
    DECODE = "vae_decode.decode";
    /// The image with values from 0 to 1: (1, 3, H, W).
    DENORMALIZE = "vae_decode.denormalize";
}

/// The line of `stage` in which the module at `path` runs; `None` if the stage does not run it.
pub fn running(stage: Stage, path: &str) -> Option<&'static str> {
    let mut names = path.split('.');
    let (model, part) = (names.next()?, names.next());
    let line = match (stage, model, part) {
        (Stage::EncodePrompt, "text_encoder", _) => &TEXT_ENCODER,
        (Stage::GetLatent, "vae", Some("encoder" | "quant_conv")) => &ENCODE,
        (Stage::Denoise { .. }, "unet", _) => &UNET,
        (Stage::VaeDecode, "vae", Some("decoder" | "post_quant_conv")) => &DECODE,
        _ => return None,
    };
    ALL.iter().copied().find(|known| *known == line.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_runs_in_one_stage_at_most() {
        let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
        for (path, lines) in [
            ("text_encoder.encoder.layers.0", vec!["encode_prompt.text_encoder"]),
            ("vae.encoder.conv_in", vec!["get_latent.encode"]),
            ("vae.quant_conv", vec!["get_latent.encode"]),
            ("unet", vec!["denoise.unet"]),
            ("unetwork", vec![]),
            ("vae.decoder", vec!["vae_decode.decode"]),
            ("vae.post_quant_conv", vec!["vae_decode.decode"]),
            ("vae", vec![]),
            ("denoise.guidance", vec![]),
        ] {
            let found: Vec<&str> = stages.iter().filter_map(|stage| running(*stage, path)).collect();
            assert_eq!(found, lines, "{path}");
        }
    }
}

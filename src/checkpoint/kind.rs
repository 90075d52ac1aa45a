//! The pipeline class of a checkpoint: the supported ones, and descriptions of the others.

use crate::nn::error::abridged;
use crate::nn::{ConfigError, ConfigFile};
use serde_json::json;
use tr::tr;

/// The supported pipelines. All have the same components; the last two are for latent consistency models, which
/// `StableDiffusionPipeline` runs in the same way.
const SUPPORTED: [&str; 4] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
];

/// The expected class, for messages.
const EXPECTED: &str = "\"StableDiffusionPipeline\", text to image with Stable Diffusion 1 or 2";

/// Descriptions of diffusers' pipelines by a part of their class. The first match is used.
const OTHERS: [(&str, &str); 29] = [
    ("Flax", "weights for JAX; the branch `main` of most models has them for PyTorch"),
    ("Onnx", "programs for ONNX Runtime, without separate weights"),
    ("ControlNet", "a ControlNet: a second network conditioned on outlines, depth or poses"),
    ("Adapter", "a T2I-Adapter: a second network conditioned on outlines, depth or poses"),
    ("StableDiffusionXL", "Stable Diffusion XL: two text encoders, and a UNet conditioned on sizes"),
    ("StableDiffusion3", "Stable Diffusion 3: a transformer instead of the UNet, trained by flow matching"),
    ("Inpaint", "inpainting: a UNet of 9 channels, for a mask and a masked image"),
    ("Depth2Img", "depth to image: a UNet of 5 channels, for a depth map"),
    ("InstructPix2Pix", "InstructPix2Pix: a UNet of 8 channels, for the image to edit"),
    ("LatentUpscale", "an upscaler of latents"),
    ("Upscale", "an upscaler: a UNet of 7 channels, for a small image"),
    ("UnCLIP", "unCLIP: conditioned on CLIP image embeddings, which a prior makes from the text"),
    ("ImageVariation", "image variations: an image encoder instead of the text encoder"),
    ("GLIGEN", "GLIGEN: attention to boxes besides the text"),
    ("LDM3D", "LDM3D: images with depth maps"),
    ("StableVideo", "Stable Video Diffusion: a video from an image"),
    ("Video", "a video model"),
    ("AnimateDiff", "a video model"),
    ("Flux", "FLUX: a transformer instead of the UNet, trained by flow matching"),
    ("PixArt", "PixArt: a transformer instead of the UNet"),
    ("HunyuanDiT", "Hunyuan-DiT: a transformer instead of the UNet"),
    ("Sana", "Sana: a transformer instead of the UNet"),
    ("AuraFlow", "AuraFlow: a transformer instead of the UNet, trained by flow matching"),
    ("StableCascade", "Stable Cascade: a cascade of three models"),
    ("Wuerstchen", "Würstchen: a cascade of three models"),
    ("Kandinsky", "Kandinsky: a prior and a decoder with another autoencoder"),
    ("IFPipeline", "DeepFloyd IF: diffusion of pixels instead of latents"),
    ("AltDiffusion", "AltDiffusion: another text encoder"),
    ("Audio", "an audio model"),
];

/// A pipeline of an unsupported class.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", tr!(
    "`_class_name` is {class}, {what}; expected {EXPECTED}",
    class = format_args!("{:?}", .class), what = .what, EXPECTED = .EXPECTED
))]
pub struct OtherKind {
    /// Its class in diffusers.
    pub class: String,
    /// Its description.
    pub what: &'static str,
}

/// Checks that the pipeline `class` of diffusers is supported.
///
/// # Errors
/// [`OtherKind`] with a description if it is not.
pub fn check_class(class: &str) -> Result<(), OtherKind> {
    if SUPPORTED.contains(&class) {
        return Ok(());
    }
    let known = OTHERS.iter().find(|(part, _)| class.contains(part));
    let what = known.map_or("which is unknown", |(_, what)| what);
    Err(OtherKind { class: abridged(class), what })
}

/// The inputs of a UNet besides latents, by its number of input channels; `None` if unknown.
pub fn unet_of_channels(in_channels: usize) -> Option<&'static str> {
    match in_channels {
        5 => Some("depth to image takes 5, with a depth map"),
        7 => Some("the 4x upscaler takes 7, with a small image"),
        8 => Some("InstructPix2Pix takes 8, with the image to edit"),
        9 => Some("inpainting takes 9, with a mask and a masked image"),
        _ => None,
    }
}

/// Checks the classes of the components in `model_index.json`. Components that a run does not use (a safety checker, a feature
/// extractor, an image encoder) are ignored.
///
/// # Errors
/// When a component has another class.
pub fn check_parts(index: &ConfigFile) -> Result<(), ConfigError> {
    for (component, library, class) in [
        ("text_encoder", "transformers", "CLIPTextModel"),
        ("unet", "diffusers", "UNet2DConditionModel"),
        ("vae", "diffusers", "AutoencoderKL"),
    ] {
        index.only(component, &[json!([library, class])])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_to_image_is_supported() {
        assert_eq!(SUPPORTED.map(check_class), [const { Ok(()) }; 4]);
    }

    #[test]
    fn other_pipelines_are_described() {
        for (class, what) in [
            ("StableDiffusionInpaintPipeline", "inpainting: a UNet of 9 channels"),
            ("StableDiffusionXLPipeline", "Stable Diffusion XL"),
            ("StableDiffusionXLInpaintPipeline", "Stable Diffusion XL"),
            ("StableDiffusion3Pipeline", "Stable Diffusion 3"),
            ("FluxPipeline", "FLUX"),
            ("StableDiffusionControlNetPipeline", "a ControlNet"),
            ("StableDiffusionUpscalePipeline", "an upscaler"),
            ("StableDiffusionLatentUpscalePipeline", "an upscaler"),
            ("StableDiffusionDepth2ImgPipeline", "depth to image"),
            ("StableUnCLIPImg2ImgPipeline", "unCLIP"),
            ("FlaxStableDiffusionPipeline", "weights for JAX"),
            ("StableDiffusionOnnxPipeline", "programs for ONNX"),
            ("StableDiffusionPipelineSafe", "which is unknown"),
        ] {
            let error = check_class(class).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`_class_name` is \"{class}\", {what}")), "{error}");
            assert!(
                error.contains("; expected \"StableDiffusionPipeline\"") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}

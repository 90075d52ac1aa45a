//! Which pipeline a checkpoint was made for: what is run here, and what the others are.

use crate::nn::error::abridged;
use crate::nn::{ConfigError, ConfigFile};
use serde_json::json;

/// The pipelines that are made of the four parts that a run has here: text encoder, UNet, VAE and scheduler. The second is the
/// same model, saved by somebody who began with pictures.
const RUN: [&str; 2] = ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"];

/// What would be right.
const EXPECTED: &str = "\"StableDiffusionPipeline\", text to image with Stable Diffusion 1 or 2";

/// Pipelines of diffusers by a part of their name, and what they are. The first that fits is it.
const OTHERS: [(&str, &str); 30] = [
    ("Flax", "weights for JAX, which the branch `main` of most models has for PyTorch"),
    ("Onnx", "programs for ONNX Runtime, which hold no plain weights"),
    ("ControlNet", "a ControlNet: a second network that is led by outlines, depth or poses"),
    ("Adapter", "a T2I-Adapter: a second network that is led by outlines, depth or poses"),
    ("StableDiffusionXL", "Stable Diffusion XL: two text encoders, and a UNet that is told sizes"),
    (
        "StableDiffusion3",
        "Stable Diffusion 3: a transformer in the place of the UNet, trained by flow matching",
    ),
    ("Inpaint", "inpainting: a UNet of 9 channels that is given a mask and what is left of a picture"),
    ("Depth2Img", "depth to image: a UNet of 5 channels that is given a depth map"),
    ("InstructPix2Pix", "InstructPix2Pix: a UNet of 8 channels that is given the picture to edit"),
    ("LatentUpscale", "an upscaler: it makes a picture larger"),
    ("Upscale", "an upscaler: it makes a picture larger, with a UNet of 7 channels"),
    ("UnCLIP", "unCLIP: led by CLIP's embeddings of a picture, which another model makes of a text"),
    ("ImageVariation", "variations of a picture: an image encoder in the place of the text encoder"),
    ("GLIGEN", "GLIGEN: attention to boxes that are given beside the text"),
    ("LDM3D", "LDM3D: pictures with their depth"),
    ("StableVideo", "Stable Video Diffusion: a video of a picture"),
    ("Video", "a model of videos"),
    ("AnimateDiff", "a model of videos"),
    ("Flux", "FLUX: a transformer in the place of the UNet, trained by flow matching"),
    ("PixArt", "PixArt: a transformer in the place of the UNet"),
    ("HunyuanDiT", "Hunyuan-DiT: a transformer in the place of the UNet"),
    ("Sana", "Sana: a transformer in the place of the UNet"),
    ("AuraFlow", "AuraFlow: a transformer in the place of the UNet, trained by flow matching"),
    ("StableCascade", "Stable Cascade: three models one after the other"),
    ("Wuerstchen", "Würstchen: three models one after the other"),
    ("Kandinsky", "Kandinsky: a prior and a decoder with another autoencoder"),
    ("IFPipeline", "DeepFloyd IF: pixels and no latents"),
    ("AltDiffusion", "AltDiffusion: another text encoder"),
    ("LatentConsistency", "a latent consistency model: a UNet that is told the guidance scale"),
    ("Audio", "a model of sounds"),
];

/// A pipeline of a class that is not run here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`_class_name` is {class:?}, {what}; expected {EXPECTED}")]
pub struct OtherKind {
    /// Its class in diffusers.
    pub class: String,
    /// What it is.
    pub what: &'static str,
}

/// Whether the pipeline `class` of diffusers is one that is run here.
///
/// # Errors
/// When it is not: [`OtherKind`] says what it is.
pub fn check_class(class: &str) -> Result<(), OtherKind> {
    if RUN.contains(&class) {
        return Ok(());
    }
    let known = OTHERS.iter().find(|(part, _)| class.contains(part));
    let what = known.map_or("which is not known here", |(_, what)| what);
    Err(OtherKind { class: abridged(class), what })
}

/// What the UNet takes besides latents, told from its number of channels; `None` where nothing is known of it.
pub fn unet_of_channels(in_channels: usize) -> Option<&'static str> {
    match in_channels {
        5 => Some("depth to image takes 5, a depth map too"),
        7 => Some("the 4x upscaler takes 7, a small picture too"),
        8 => Some("InstructPix2Pix takes 8, the picture to edit too"),
        9 => Some("inpainting takes 9, a mask and what is left of a picture too"),
        _ => None,
    }
}

/// Whether the parts in `model_index.json` are of the classes that are run here. Others that it may have (a safety checker, a
/// feature extractor, an image encoder, with a class or with nulls) make no difference to a run.
///
/// # Errors
/// When one is of another class.
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
    fn text_to_image_is_run() {
        assert_eq!(RUN.map(check_class), [Ok(()), Ok(())]);
    }

    #[test]
    fn others_are_told_by_name() {
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
            ("LatentConsistencyModelPipeline", "a latent consistency model"),
            ("StableDiffusionPipelineSafe", "which is not known here"),
        ] {
            let said = check_class(class).unwrap_err().to_string();
            assert!(said.starts_with(&format!("`_class_name` is \"{class}\", {what}")), "{said}");
            assert!(
                said.contains("; expected \"StableDiffusionPipeline\"") && !said.contains('\n'),
                "{said}"
            );
        }
    }
}

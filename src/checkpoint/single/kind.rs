//! What a single file is that is not a checkpoint of Stable Diffusion 1 or 2, told from its keys.

use super::super::{LoadError, kind};
use super::shapes::{Header, ORIGINAL};
use crate::nn::error::abridged;
use crate::phrase::{Phrase, phrase};
use std::path::Path;
use tr::tr;

/// Where words in a key stand.
enum Mark {
    Start(&'static str),
    Within(&'static str),
}

use Mark::{Start, Within};

/// Keys that only other models have, and what those are. The first match is used: a file of Stable Diffusion XL, for example, has keys
/// of Stable Diffusion 1 too.
const OTHERS: [(Mark, Phrase); 40] = [
    (Within("lora_unet_"), LORA),
    (Within("lora_te"), LORA),
    (Within(".lora_"), LORA),
    (Within("lora_up."), LORA),
    (Within(".lora."), LORA),
    (Within("hada_w1"), LORA),
    (Within("lokr_w"), LORA),
    (Within("motion_modules."), phrase("a motion module of AnimateDiff")),
    (Start("control_model."), CONTROLNET),
    (Within("controlnet_"), CONTROLNET),
    (Start("input_hint_block."), CONTROLNET),
    (Start("adapter."), phrase("a T2I-Adapter")),
    (Start("image_proj"), phrase("an IP-Adapter")),
    (
        Start("conditioner.embedders.1."),
        phrase("Stable Diffusion XL: two text encoders, and a UNet conditioned on sizes"),
    ),
    (Start("conditioner.embedders.0.model."), phrase("the refiner of Stable Diffusion XL")),
    (Start("conditioner."), phrase("a model of Stability's generative-models, such as Stable Diffusion XL")),
    (
        Within("joint_blocks."),
        phrase("Stable Diffusion 3: a transformer instead of the UNet, trained by flow matching"),
    ),
    (Within("double_blocks."), phrase("FLUX, or a model built like it: a transformer instead of the UNet")),
    (Within("double_layers."), phrase("AuraFlow: a transformer instead of the UNet")),
    (Within("cap_embedder."), phrase("Lumina, or a model built like it: a transformer instead of the UNet")),
    (Within("patchify_proj."), phrase("LTX-Video: a video model")),
    (Within("temporal_"), phrase("a video model")),
    (Within("time_stack."), phrase("Stable Video Diffusion: a video from an image")),
    (Start("clip_txt_mapper."), phrase("Stable Cascade: a cascade of three models")),
    (Within("cond_stage_model.roberta."), phrase("AltDiffusion: another text encoder")),
    (
        Start("cond_stage_model.model.visual."),
        phrase("image variations: an image encoder instead of the text encoder"),
    ),
    (
        Start("cond_stage_model.mapper."),
        phrase("image variations: an image encoder instead of the text encoder"),
    ),
    (
        Start("embedder.model.visual."),
        phrase("unCLIP: conditioned on CLIP image embeddings, which a prior makes from the text"),
    ),
    (
        Start("noise_augmentor."),
        phrase("unCLIP: conditioned on CLIP image embeddings, which a prior makes from the text"),
    ),
    (
        Start("model.diffusion_model.label_emb."),
        phrase("a UNet conditioned on more than a text: an upscaler, unCLIP or Stable Diffusion XL"),
    ),
    (Start("depth_model."), phrase("depth to image: a UNet of 5 channels, for a depth map")),
    (Within("position_net."), phrase("GLIGEN: attention to boxes besides the text")),
    (Start("emb_params"), EMBEDDING),
    (Start("string_to_param"), EMBEDDING),
    (Start("clip_l"), phrase("a textual inversion of Stable Diffusion XL")),
    (
        Start("down_blocks."),
        phrase("a UNet alone in the diffusers layout, which is the file of a folder with a configuration"),
    ),
    (Start("text_model."), phrase("a text encoder alone")),
    (Within("double_stream_blocks."), phrase("HiDream: a transformer instead of the UNet")),
    (Within("transformer_blocks.0.norm1_context."), phrase("a transformer in the diffusers layout")),
    (Within("vision_model."), phrase("a CLIP with an image encoder, such as a safety checker")),
];

const LORA: Phrase = phrase("a LoRA alone, which `--lora` takes");
const CONTROLNET: Phrase = phrase("a ControlNet: a second network conditioned on outlines, depth or poses");
const EMBEDDING: Phrase = phrase("a textual inversion alone, which is a word for a model and is none");

/// Files that are not read, by their endings.
const ENDINGS: [(&[&str], Phrase); 2] = [
    (
        &["ckpt", "pt", "pth", "bin", "pkl", "pickle"],
        phrase("a PyTorch pickle by its name, which is a program and never read"),
    ),
    (&["gguf"], phrase("a GGUF file by its name, whose weights are quantized")),
];

/// The endings of single files, read or not.
fn ending(path: &Path) -> String {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase()
}

/// Whether a file's name is that of a checkpoint in one file.
pub fn is_safetensors(path: &Path) -> bool {
    ending(path) == "safetensors"
}

/// Refuses a file by its name; `None` if it may be something else.
pub fn refused_by_name(path: &Path) -> Option<LoadError> {
    let ending = ending(path);
    let (_, what) = ENDINGS.iter().find(|(endings, _)| endings.contains(&&*ending))?;
    let (path, found) = (path.display().to_string(), what.to_string());
    Some(LoadError::File { path, found, expected: tr!("the same weights as .safetensors") })
}

/// Checks that the file is no other model.
///
/// # Errors
/// With the name of the model, and the key that says so.
pub fn check(header: Header<'_>) -> Result<(), LoadError> {
    let Some(first) = header.keys().next() else {
        return Err(header.wrong(tr!("it holds no tensors"), ORIGINAL));
    };
    if let Some((key, what)) = other(header) {
        return Err(header.wrong(tr!("{what} (tensor `{key}`)", what, key), ORIGINAL));
    }
    if !header.has("model.diffusion_model.input_blocks.0.0.weight") {
        let is_vae = |key: &String| {
            ["first_stage_model.", "encoder.", "decoder."].iter().any(|start| key.starts_with(start))
        };
        let has_unet = header.keys().any(|key| key.starts_with("model.diffusion_model."));
        let found = match header.keys().find(is_vae).filter(|_| !has_unet) {
            Some(key) => tr!("a VAE alone, which `--vae` takes (tensor `{key}`)", key),
            None => tr!(
                "there is no tensor `model.diffusion_model.input_blocks.0.0.weight`; the first is `{}`",
                abridged(&first)
            ),
        };
        return Err(header.wrong(found, ORIGINAL));
    }
    let key = "model.diffusion_model.input_blocks.0.0.weight";
    let channels = header.size(key, 1)?;
    if let Some(what) = kind::unet_of_channels(channels) {
        let found = tr!("its UNet takes {channels} channels (tensor `{key}`): {what}", channels, key, what);
        return Err(header.wrong(found, ORIGINAL));
    }
    Ok(())
}

/// The other model that the file is, and the key that says so.
fn other(header: Header<'_>) -> Option<(String, Phrase)> {
    let keys: Vec<String> = header.keys().collect();
    OTHERS.iter().find_map(|(mark, what)| {
        let is_it = |key: &&String| match mark {
            Start(words) => key.starts_with(words),
            Within(words) => key.contains(words),
        };
        keys.iter().find(is_it).map(|key| (abridged(key), *what))
    })
}

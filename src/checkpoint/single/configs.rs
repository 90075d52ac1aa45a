//! The small files of a checkpoint folder, as a single file's models have them: configurations with the values that shapes give, and
//! with those of the published models where shapes say nothing. So it is with heads, groups, activations and the scheduler.

use super::Family;
use super::prediction::Prediction;
use super::shapes::{TextShape, UNetShape, VaeShape};
use serde_json::{Value, json};

/// Groups of every group norm.
pub const GROUPS: usize = 32;
/// Width of a head, in CLIP and in the UNet of Stable Diffusion 2.
const HEAD: usize = 64;
/// Heads of each attention in the UNet of Stable Diffusion 1.
const HEADS: usize = 8;

/// Heads of the text encoder: 12 of 768 channels, 16 of 1024.
pub fn text_heads(width: usize) -> usize {
    (width / HEAD).max(1)
}

/// `model_index.json`.
pub fn model_index(family: Family, prediction: Prediction) -> Value {
    json!({
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", scheduler_class(family, prediction)],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
}

/// The scheduler of the published model: DDIM for Stable Diffusion 2 with v-prediction, otherwise PNDM.
pub fn scheduler_class(family: Family, prediction: Prediction) -> &'static str {
    match (family, prediction) {
        (Family::Two, Prediction::VPrediction) => "DDIMScheduler",
        _ => "PNDMScheduler",
    }
}

/// `scheduler/scheduler_config.json`.
pub fn scheduler(family: Family, prediction: Prediction) -> Value {
    json!({
        "_class_name": scheduler_class(family, prediction),
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": prediction.name(),
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "steps_offset": 1,
        "trained_betas": null,
    })
}

/// `unet/config.json`. Stable Diffusion 2 with v-prediction was trained on images of 768 pixels, the others on 512.
pub fn unet(shape: &UNetShape, family: Family, prediction: Prediction) -> Value {
    let types = |attends: &[bool], [with, without]: [&'static str; 2]| -> Vec<&str> {
        attends.iter().map(|attends| if *attends { with } else { without }).collect()
    };
    let up: Vec<bool> = shape.up_attends.iter().rev().copied().collect();
    let heads = match family {
        Family::One => json!(HEADS),
        Family::Two => shape.channels.iter().map(|channels| (channels / HEAD).max(1)).collect(),
    };
    json!({
        "_class_name": "UNet2DConditionModel",
        "attention_head_dim": heads,
        "block_out_channels": shape.channels,
        "cross_attention_dim": shape.context,
        "down_block_types": types(&shape.down_attends, ["CrossAttnDownBlock2D", "DownBlock2D"]),
        "in_channels": shape.in_channels,
        "layers_per_block": shape.layers,
        "norm_num_groups": GROUPS,
        "out_channels": shape.out_channels,
        "sample_size": sample_size(family, prediction),
        "transformer_layers_per_block": shape.transformer_layers,
        "up_block_types": types(&up, ["CrossAttnUpBlock2D", "UpBlock2D"]),
        "use_linear_projection": shape.is_linear,
    })
}

/// Height and width of the latents in training.
pub fn sample_size(family: Family, prediction: Prediction) -> usize {
    if (family, prediction) == (Family::Two, Prediction::VPrediction) { 96 } else { 64 }
}

/// `vae/config.json`.
pub fn vae(shape: &VaeShape) -> Value {
    let levels = shape.channels.len();
    json!({
        "_class_name": "AutoencoderKL",
        "block_out_channels": shape.channels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "latent_channels": shape.latent_channels,
        "layers_per_block": shape.layers,
        "norm_num_groups": GROUPS,
        "scaling_factor": 0.18215,
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "use_post_quant_conv": shape.quant_convs.1,
        "use_quant_conv": shape.quant_convs.0,
    })
}

/// `text_encoder/config.json`.
pub fn text_encoder(shape: &TextShape, family: Family) -> Value {
    json!({
        "hidden_act": match family { Family::One => "quick_gelu", Family::Two => "gelu" },
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": shape.positions,
        "model_type": "clip_text_model",
        "num_attention_heads": text_heads(shape.width),
        "num_hidden_layers": shape.layers,
        "vocab_size": shape.vocabulary,
    })
}

/// `tokenizer/special_tokens_map.json`: prompts are padded with the end, or with `!`.
pub fn special_tokens(family: Family) -> Value {
    json!({
        "bos_token": token("<|startoftext|>"),
        "eos_token": token("<|endoftext|>"),
        "pad_token": padding(family),
        "unk_token": token("<|endoftext|>"),
    })
}

/// `tokenizer/tokenizer_config.json`.
pub fn tokenizer() -> Value {
    let token = |content| {
        let mut token = token(content);
        token["__type"] = json!("AddedToken");
        token
    };
    json!({
        "add_prefix_space": false,
        "bos_token": token("<|startoftext|>"),
        "do_lower_case": true,
        "eos_token": token("<|endoftext|>"),
        "errors": "replace",
        "model_max_length": 77,
        // The published files of both have this one; the other file overrules it.
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": token("<|endoftext|>"),
    })
}

fn padding(family: Family) -> &'static str {
    match family {
        Family::One => "<|endoftext|>",
        Family::Two => "!",
    }
}

fn token(content: &str) -> Value {
    json!({ "content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false })
}

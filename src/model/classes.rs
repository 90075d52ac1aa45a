//! The names of modules' inputs, as the parameters of `forward` in diffusers and transformers.

use crate::nn::attention::ATTENTION_PROBS;

/// The names of the `count` inputs of the module at `path`, in the order in which a probe sees them.
pub fn inputs(path: &str, count: usize) -> Vec<&'static str> {
    const SAMPLE: &[&str] = &["sample"];
    const STATES: &[&str] = &["hidden_states"];
    const TIMED: &[&str] = &["hidden_states", "temb"];
    const ATTENDING: &[&str] = &["hidden_states", "encoder_hidden_states"];
    const BLOCK: &[&str] = &["hidden_states", "temb", "encoder_hidden_states"];
    const LAYER: &[&str] = &["input"];
    const MORE: [&str; 4] = ["input", "input_1", "input_2", "input_3"];
    let names: Vec<&str> = path.split('.').collect();
    let known = match names[..] {
        _ if path.ends_with(ATTENTION_PROBS) => &["query", "key"],
        ["text_encoder"] | ["text_encoder", "embeddings"] => &["input_ids"][..],
        ["unet"] => &["sample", "encoder_hidden_states", "timestep_cond"],
        ["unet", "time_embedding"] => &["sample", "condition"],
        ["unet", "down_blocks" | "up_blocks", _] | ["unet", "mid_block"] => BLOCK,
        ["vae", "encoder" | "decoder"] => SAMPLE,
        ["vae", _, "down_blocks" | "up_blocks", _] | ["vae", _, "mid_block"] => STATES,
        ["vae", .., "attentions", _] => STATES,
        [.., "attentions" | "transformer_blocks", _] | [.., "attn1" | "attn2"] => ATTENDING,
        [.., "resnets", _] => TIMED,
        [.., "ff" | "mlp" | "self_attn" | "encoder"] | [.., "ff", "net", "0"] => STATES,
        [.., "downsamplers" | "upsamplers" | "layers", _] => STATES,
        _ => LAYER,
    };
    known.iter().chain(MORE.iter().skip(known.len())).copied().take(count).collect()
}

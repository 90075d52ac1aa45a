//! The glossary of `help WORD`: every tensor of a run, the symbols of the papers, and the views.
//!
//! A setting explains itself in `pipeline::settings`, a number of a step in `scheduler::names`; both are found here too.

use crate::phrase::{Phrase, phrase};
use crate::pipeline::Setting;
use crate::scheduler::names::NUMBERS;
use tr::tr;

/// A word, explained.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The word, as diffusers or a paper has it.
    pub word: &'static str,
    /// Other spellings.
    pub also: &'static [&'static str],
    /// What it is.
    pub meaning: Phrase,
    /// Its formula or its source.
    pub source: &'static str,
    /// The command that shows it.
    pub shows: &'static str,
}

const fn entry(
    word: &'static str,
    also: &'static [&'static str],
    meaning: Phrase,
    source: &'static str,
    shows: &'static str,
) -> Entry {
    Entry { word, also, meaning, source, shows }
}

/// Tensors, symbols, views.
pub const GLOSSARY: &[Entry] = &[
    // Tensors, in the order in which a run makes them.
    entry(
        "input_ids",
        &["negative_input_ids", "token", "tokens"],
        phrase(
            "the prompt as token ids: 77 numbers, the rest is padding. A token is a word or a part of one.",
        ),
        "CLIPTokenizer",
        "print input_ids",
    ),
    entry(
        "prompt_embeds",
        &["negative_prompt_embeds", "embeddings"],
        phrase(
            "the prompt as the UNet reads it: a vector for each of the 77 tokens, made by the text encoder.",
        ),
        "CLIPTextModel, last_hidden_state: (1, 77, C)",
        "print prompt_embeds",
    ),
    entry(
        "noise",
        &[],
        phrase("random numbers of mean 0 and standard deviation 1, drawn from the seed."),
        "torch.randn(generator=torch.Generator(\"cpu\").manual_seed(seed)): (1, 4, h, w)",
        "print latents",
    ),
    entry(
        "latents",
        &["prev_sample", "x_t", "init_latents"],
        phrase(
            "the picture in the VAE's small space, an eighth of its height and width, 4 channels. It begins as noise; every step removes some. `prev_sample` is what a step makes.",
        ),
        "(1, 4, h, w)",
        "show latents",
    ),
    entry(
        "uncond_residual",
        &["residual"],
        phrase("what the UNet predicts with the negative prompt: the noise in the latents (epsilon), or v."),
        "first row of the UNet's output: (1, 4, h, w)",
        "show uncond_residual",
    ),
    entry(
        "text_cond_residual",
        &[],
        phrase("what the UNet predicts with the prompt."),
        "second row of the UNet's output: (1, 4, h, w)",
        "show text_cond_residual",
    ),
    entry(
        "guided_noise_residual",
        &["guidance", "cfg"],
        phrase(
            "both predictions combined: the difference that the prompt makes is enlarged by the guidance scale.",
        ),
        "uncond + guidance_scale · (text − uncond); Ho and Salimans, 2022, equation 6",
        "show guided_noise_residual",
    ),
    entry(
        "pred_original_sample",
        &["x0", "x_0"],
        phrase("the picture without noise, as one step estimates it from the latents and the prediction."),
        "epsilon: (x_t − √(1 − ᾱ_t) · ε) / √ᾱ_t; v: √ᾱ_t · x_t − √(1 − ᾱ_t) · v",
        "show pred_original_sample",
    ),
    entry(
        "pred_epsilon",
        &["epsilon", "ε"],
        phrase(
            "the noise in the latents, as one step estimates it. A model that predicts v has it by a formula.",
        ),
        "v: √ᾱ_t · v + √(1 − ᾱ_t) · x_t",
        "print pred_epsilon",
    ),
    entry(
        "pred_sample_direction",
        &[],
        phrase("the part of the next latents that points back to x_t: less noise of the same kind."),
        "√(1 − ᾱ_prev − σ_t²) · ε; Song et al., 2020 (DDIM), equation 12",
        "print pred_sample_direction",
    ),
    entry(
        "variance_noise",
        &[],
        phrase(
            "new noise that a step adds: with DDIM at eta above 0, and with ancestral and SDE schedulers.",
        ),
        "σ_t · z",
        "print variance_noise",
    ),
    entry(
        "image",
        &[],
        phrase("the finished picture: values from 0 to 1, three channels, decoded from the last latents."),
        "(vae.decode(latents / scaling_factor) / 2 + 0.5).clamp(0, 1): (1, 3, H, W)",
        "show image",
    ),
    // Symbols and terms.
    entry(
        "v_prediction",
        &["v", "velocity", "v-prediction"],
        phrase(
            "some models predict v instead of the noise: a mixture of noise and picture that stays well scaled at every noise level. Its residuals look unlike noise, and the last ones like the negative of the picture.",
        ),
        "v = √ᾱ_t · ε − √(1 − ᾱ_t) · x_0; Salimans and Ho, 2022, appendix D",
        "info scheduler",
    ),
    entry(
        "beta",
        &["β", "betas", "β_t"],
        phrase("the variance of the noise that training adds between two of its timesteps."),
        "Ho et al., 2020 (DDPM), equation 2",
        "info scheduler",
    ),
    entry(
        "alpha_bar",
        &["ᾱ", "ᾱ_t", "alphas_cumprod", "alpha"],
        phrase(
            "how much of the picture is left at timestep t, as a variance: 1 is the picture alone, 0 noise alone.",
        ),
        "ᾱ_t = Π (1 − β_s), s ≤ t; DDPM, section 2",
        "print alpha_bar(timesteps[0])",
    ),
    entry(
        "timestep",
        &["t", "timesteps"],
        phrase(
            "the noise level that the UNet gets: 999 is noise, 0 the picture. A run visits some of the 1000.",
        ),
        "scheduler.timesteps",
        "print timesteps",
    ),
    entry(
        "sigmas",
        &["σ"],
        phrase("the noise levels of a run as standard deviations, where the picture has the scale 1."),
        "σ_t = √((1 − ᾱ_t) / ᾱ_t); Karras et al., 2022",
        "print sigmas",
    ),
    entry(
        "snr",
        &["log-snr", "λ"],
        phrase("the ratio of picture to noise at a timestep; λ is half of its logarithm."),
        "ᾱ_t / (1 − ᾱ_t); λ_t = log(√ᾱ_t / √(1 − ᾱ_t))",
        "print lambda_t",
    ),
    entry(
        "scaling_factor",
        &[],
        phrase("the number that brings the VAE's latents to a standard deviation of about 1."),
        "AutoencoderKL.config.scaling_factor: 0.18215 in Stable Diffusion 1 and 2",
        "list",
    ),
    entry(
        "unet",
        &["UNet2DConditionModel"],
        phrase(
            "the network that predicts the noise in the latents. It runs once a step, on both prompts in one batch.",
        ),
        "Ronneberger et al., 2015; Rombach et al., 2022, section 3.3",
        "info modules unet.*",
    ),
    entry(
        "vae",
        &["AutoencoderKL", "vae_decode"],
        phrase(
            "the network between pictures and latents: its decoder makes the picture of the last latents.",
        ),
        "Rombach et al., 2022, section 3.1",
        "info modules vae.*",
    ),
    entry(
        "text_encoder",
        &["clip", "encode_prompt", "CLIPTextModel"],
        phrase("the network that turns token ids into embeddings."),
        "Radford et al., 2021 (CLIP)",
        "info modules text_encoder.*",
    ),
    entry(
        "attention",
        &["cross-attention", "attn1", "attn2"],
        phrase(
            "the layers in which the picture's positions look at one another (attn1), and at the tokens of the prompt (attn2).",
        ),
        "softmax(Q · Kᵀ / √d) · V; Vaswani et al., 2017",
        "show attention",
    ),
    entry(
        "denoise",
        &["step", "get_latent"],
        phrase(
            "a stage: one call of the UNet and the scheduler's step. `get_latent`, before it, draws the first noise.",
        ),
        "StableDiffusionPipeline.__call__",
        "until denoise",
    ),
    entry(
        "lora",
        &[],
        phrase("a small file that changes weights of a model: two narrow matrices for each module."),
        "ΔW = scale · (α / r) · B · A; Hu et al., 2021",
        "info lora",
    ),
    entry(
        "timemap",
        &[],
        phrase("which step each pixel's value was settled in: dark pixels settle early, light ones late."),
        "the first step from which pred_original_sample stays near its last value",
        "show timemap",
    ),
    entry(
        "trace",
        &["record"],
        phrase(
            "a folder with every stage of a run, and the modules that were asked for: written here or by another program.",
        ),
        "docs/trace.md",
        "save trace FOLDER",
    ),
    entry(
        "snapshot",
        &["timeline", "fork"],
        phrase(
            "a run between two stages, which never changes. A timeline is a list of them; a changed setting starts a new one.",
        ),
        "docs/timelines.md",
        "info timelines",
    ),
    // Views.
    entry(
        "overview",
        &[],
        phrase("a view: where the run stands, the picture so far, the latents."),
        "",
        "key 1",
    ),
    entry("tensors", &[], phrase("a view: every tensor so far with its shape and statistics."), "", "key 2"),
    entry(
        "residuals",
        &[],
        phrase("a view: what the UNet predicts without and with the prompt, and what guidance makes of it."),
        "",
        "key 3",
    ),
    entry(
        "charts",
        &[],
        phrase("a view: statistics of the latents and residuals over the steps."),
        "",
        "key 6",
    ),
    entry("source", &[], phrase("a view: the source code of the stage that runs next."), "", "key 7"),
    entry(
        "model",
        &["modules"],
        phrase("a view: the modules of the models, with the output of each."),
        "",
        "key 0",
    ),
    entry("difference", &["diff"], phrase("a view: a recorded run, compared module by module."), "", "key D"),
];

/// What a word means: a line for each thing of that name.
///
/// # Errors
/// When nothing has that name: the names that begin like it.
pub fn explained(word: &str) -> Result<Vec<String>, String> {
    let is_it = |name: &str| name.eq_ignore_ascii_case(word);
    let mut lines = vec![];
    for entry in
        GLOSSARY.iter().filter(|entry| is_it(entry.word) || entry.also.iter().any(|also| is_it(also)))
    {
        lines.push(format!("{}: {}", entry.word, entry.meaning));
        if !entry.source.is_empty() {
            lines.push(format!("  {}", entry.source));
        }
        lines.push(tr!("  shown by {}", entry.shows));
    }
    if let Some(setting) = Setting::all().find(|setting| is_it(setting.name())) {
        lines.push(tr!("{word}: a setting: {}", setting.entry().summary, word));
        let help = setting.entry().help;
        if !help.is_empty() {
            lines.push(format!("  {help}"));
        }
        lines.push(tr!("  shown by info request, changed by set {word}", word));
    }
    if let Some((name, meaning)) = NUMBERS.iter().find(|(name, _)| is_it(name)) {
        lines.push(tr!("{name}: a number of a step: {meaning}", name, meaning));
        lines.push(tr!("  shown by print {name}", name));
    }
    if lines.is_empty() { Err(nearest(word)) } else { Ok(lines) }
}

/// Every word that is explained.
pub fn words() -> Vec<&'static str> {
    let settings = Setting::all().map(|setting| setting.entry().name);
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    GLOSSARY.iter().map(|entry| entry.word).chain(settings).chain(numbers).collect()
}

/// The words that begin like `word`, or all of the glossary.
fn nearest(word: &str) -> String {
    let start: String = word.chars().take(3).collect::<String>().to_lowercase();
    let near: Vec<&str> = words().into_iter().filter(|known| known.starts_with(&start)).collect();
    match near[..] {
        [] => GLOSSARY.iter().map(|entry| entry.word).collect::<Vec<_>>().join(", "),
        _ => near.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::Command;
    use std::collections::HashSet;

    #[test]
    fn every_word_is_explained_once() {
        let mut seen = HashSet::new();
        for entry in GLOSSARY {
            for word in [entry.word].iter().chain(entry.also) {
                assert!(seen.insert(word.to_lowercase()), "{word}: twice");
                assert!(explained(word).unwrap()[0].starts_with(entry.word), "{word}");
            }
        }
        for word in words() {
            assert!(!explained(word).unwrap().is_empty(), "{word}");
        }
    }

    #[test]
    fn what_shows_it_is_a_command_or_a_key() {
        for entry in GLOSSARY.iter().filter(|entry| !entry.shows.starts_with("key ")) {
            assert!(Command::parse(entry.shows).unwrap().is_some(), "{}: {}", entry.word, entry.shows);
        }
    }

    #[test]
    fn an_unknown_word_names_what_begins_like_it() {
        assert_eq!(explained("latnets").unwrap_err(), "latents");
        assert!(explained("xyz").unwrap_err().contains("latents"));
        assert!(explained("").is_err());
    }
}

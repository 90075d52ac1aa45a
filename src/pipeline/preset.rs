//! Recommended settings of distilled checkpoints, which their files do not contain.

use crate::checkpoint::ModelSource;
use crate::nn::{ConfigError, ConfigFile};
use crate::phrase::phrase;
use crate::scheduler::{Class, PredictionType, SchedulerConfig, TimestepSpacing};
use tr::tr;

/// Default settings of a distilled checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The checkpoint's name.
    pub name: &'static str,
    /// Steps of `denoise`.
    pub num_inference_steps: usize,
    /// 1 means the text-conditioned residual alone, as 0 does in diffusers.
    pub guidance_scale: f64,
}

/// SD-Turbo (Sauer et al., 2023, "Adversarial Diffusion Distillation"): one step.
pub const SD_TURBO: Preset = Preset { name: "SD-Turbo", num_inference_steps: 1, guidance_scale: 1. };

/// A latent consistency model (Luo et al., 2023): the defaults of diffusers' `LatentConsistencyModelPipeline`.
pub const LATENT_CONSISTENCY: Preset =
    Preset { name: "a latent consistency model", num_inference_steps: 4, guidance_scale: 8.5 };

impl Preset {
    /// The preset of a checkpoint. A latent consistency model is recognised by `time_cond_proj_dim` in the UNet's configuration.
    /// SD-Turbo and its fine-tunes are recognised by two conditions, which must both be true:
    ///
    /// - the scheduler is Euler with trailing spacing, epsilon prediction and no rescaled betas;
    /// - `turbo` is a word of the name of the repository or folder, or of `_name_or_path` in the pipeline's or the UNet's
    ///   configuration.
    ///
    /// One is not enough: ordinary fine-tunes have such schedulers too, and names are arbitrary.
    ///
    /// # Errors
    /// When a name in a file is not a string.
    pub fn of(
        source: &ModelSource,
        [index, unet]: [&ConfigFile; 2],
        config: &SchedulerConfig,
    ) -> Result<Option<Self>, ConfigError> {
        if unet.raw("time_cond_proj_dim").is_some_and(|dim| !dim.is_null()) {
            return Ok(Some(LATENT_CONSISTENCY));
        }
        let is_euler = matches!(config.class, Class::EulerDiscrete | Class::EulerAncestralDiscrete);
        let is_distilled = is_euler
            && config.timestep_spacing == TimestepSpacing::Trailing
            && config.prediction_type == PredictionType::Epsilon
            && !config.rescale_betas_zero_snr;
        let mut names = source.own_names();
        for file in [index, unet] {
            names.extend(file.get::<String>("_name_or_path", phrase("a name"))?);
        }
        Ok((is_distilled && names.iter().any(|name| says_turbo(name))).then_some(SD_TURBO))
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, num_inference_steps: steps, guidance_scale } = self;
        let steps = if *steps == 1 { "1 step".to_string() } else { format!("{steps} steps") };
        f.write_str(&tr!(
            "{name}'s preset: {steps}, guidance_scale {guidance_scale}",
            name,
            steps,
            guidance_scale
        ))
    }
}

/// Whether `turbo` is a word of the name. In a path, only the last component and folders of the hub's cache are searched.
fn says_turbo(name: &str) -> bool {
    let mut parts = name.split(['/', '\\']).filter(|part| !part.is_empty()).rev();
    let last = parts.next().into_iter();
    last.chain(parts.filter(|part| part.starts_with("models--")))
        .flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric()))
        .any(|word| word.eq_ignore_ascii_case("turbo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turbo_is_a_word() {
        for name in [
            "stabilityai/sd-turbo",
            "sd-turbo",
            "/models/SD_Turbo/",
            "/home/someone/.cache/huggingface/hub/models--stabilityai--sd-turbo/snapshots/b261bac6fd2cf515557d5d0707481eafa0485ec2/unet",
        ] {
            assert!(says_turbo(name), "{name}");
        }
        for name in [
            "",
            "turbocharged",
            "turbo/stable-diffusion-2-1",
            "/home/turbo/models/sd21",
            "stable-diffusion-2",
        ] {
            assert!(!says_turbo(name), "{name}");
        }
    }
}

//! Settings that a checkpoint wants and its files do not say.

use crate::checkpoint::ModelSource;
use crate::nn::{ConfigError, ConfigFile};
use crate::scheduler::DdimConfig;
use crate::scheduler::config::{PredictionType, TimestepSpacing};

/// What a run of a distilled checkpoint is set to, where its reader asks for nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Whose it is.
    pub name: &'static str,
    /// Steps of `denoise`.
    pub num_inference_steps: usize,
    /// 1: the residual with the prompt alone. diffusers' users write 0 for the same.
    pub guidance_scale: f64,
}

/// SD-Turbo (Sauer et al., 2023, "Adversarial Diffusion Distillation"): one step from noise to the picture.
pub const SD_TURBO: Preset = Preset { name: "SD-Turbo", num_inference_steps: 1, guidance_scale: 1. };

impl Preset {
    /// The preset of a checkpoint. Two things together make SD-Turbo, or what was tuned from it:
    ///
    /// - its scheduler's file is Euler's, with trailing spacing, of noise, and without rescaled betas;
    /// - it is called turbo: a word of the repository's or folder's name, or of the name that the pipeline or the UNet was
    ///   loaded from when it was saved (`_name_or_path`).
    ///
    /// Neither alone: ordinary fine-tunes have such schedulers too, and names are free.
    ///
    /// # Errors
    /// When a file has something else than text where a name belongs.
    pub fn of(
        source: &ModelSource,
        [index, unet, scheduler]: [&ConfigFile; 3],
        config: &DdimConfig,
    ) -> Result<Option<Self>, ConfigError> {
        let class: Option<String> = scheduler.get("_class_name", "a class name")?;
        let is_euler = class.is_some_and(|class| class.starts_with("Euler"));
        let is_distilled = is_euler
            && config.timestep_spacing == TimestepSpacing::Trailing
            && config.prediction_type == PredictionType::Epsilon
            && !config.rescale_betas_zero_snr;
        let mut names = source.own_names();
        for file in [index, unet] {
            names.extend(file.get::<String>("_name_or_path", "a name")?);
        }
        Ok((is_distilled && names.iter().any(|name| says_turbo(name))).then_some(SD_TURBO))
    }

    /// The scheduler as the preset wants it: the one step ends at the picture, and not at timestep 0, which would leave 3% of
    /// the noise in it.
    pub fn applied_to(&self, config: DdimConfig) -> DdimConfig {
        DdimConfig { set_alpha_to_one: true, ..config }
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, num_inference_steps: steps, guidance_scale } = self;
        let steps = if *steps == 1 { "1 step".to_string() } else { format!("{steps} steps") };
        write!(f, "{name}'s preset: {steps}, guidance_scale {guidance_scale}, set_alpha_to_one true")
    }
}

/// Whether `turbo` is a word of the name. Of a path the last part counts, and a folder of the hub's cache, which has the
/// repository's name.
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

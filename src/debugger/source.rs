//! The code of the stages, as it is in the program, and what it is called elsewhere.

use crate::pipeline::{Stage, lines};
use std::ops::Range;

/// A file of the program's own source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the repository.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The four stages.
pub const STAGES: SourceFile =
    SourceFile { path: "src/pipeline/stages.rs", text: include_str!("../pipeline/stages.rs") };
/// The scheduler's step.
pub const DDIM: SourceFile =
    SourceFile { path: "src/scheduler/ddim.rs", text: include_str!("../scheduler/ddim.rs") };

/// A function of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The file.
    pub file: SourceFile,
    /// Its lines in the file, from 0, with the comment before it.
    pub lines: Range<usize>,
}

impl Function {
    /// The function `name` of `file`; `None` when it has none.
    fn find(file: SourceFile, name: &str) -> Option<Self> {
        let start =
            file.text.lines().position(|line| line.trim_start().starts_with(&format!("pub fn {name}(")))?;
        let indent = file.text.lines().nth(start)?.len() - file.text.lines().nth(start)?.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = start + file.text.lines().skip(start).position(|line| line == closing)?;
        let is_comment = |line: &&str| line.trim_start().starts_with("///");
        let before: Vec<&str> = file.text.lines().take(start).collect();
        let comment = before.iter().rev().take_while(|line| is_comment(line)).count();
        Some(Self { file, lines: start - comment..end + 1 })
    }

    /// The function that runs a stage.
    pub fn of_stage(stage: Stage) -> Option<Self> {
        Self::find(STAGES, stage.name())
    }

    /// The scheduler's step.
    pub fn of_scheduler_step() -> Option<Self> {
        Self::find(DDIM, "step")
    }

    /// The lines themselves.
    pub fn text(&self) -> Vec<&'static str> {
        self.file.text.lines().skip(self.lines.start).take(self.lines.len()).collect()
    }

    /// Where in the file the line of a stage is that announces itself as `path`: `denoise.unet`.
    pub fn line_of(&self, path: &str) -> Option<usize> {
        let name = path.rsplit('.').next()?.to_uppercase();
        let called = format!("&lines::{name},");
        self.text().iter().position(|line| line.contains(&called)).map(|line| self.lines.start + line)
    }
}

/// What a stage is called elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// In diffusers.
    pub diffusers: &'static str,
    /// In parediffusers.
    pub parediffusers: &'static str,
    /// Where its formulas are from.
    pub from: &'static str,
}

impl Elsewhere {
    /// Of a stage.
    pub fn of(stage: Stage) -> Self {
        match stage {
            Stage::EncodePrompt => Self {
                diffusers: "StableDiffusionPipeline.encode_prompt",
                parediffusers: "PareDiffusionPipeline.encode_prompt",
                from: "Radford et al., 2021 (CLIP)",
            },
            Stage::GetLatent => Self {
                diffusers: "StableDiffusionPipeline.prepare_latents",
                parediffusers: "PareDiffusionPipeline.get_latent",
                from: "Rombach et al., 2022, section 3",
            },
            Stage::Denoise { .. } => Self {
                diffusers: "StableDiffusionPipeline.__call__, its denoising loop; DDIMScheduler.step",
                parediffusers: "PareDiffusionPipeline.denoise; DDIMScheduler.step",
                from: "Ho and Salimans, 2022, equation 6; Song et al., 2021, formula 12",
            },
            Stage::VaeDecode => Self {
                diffusers: "AutoencoderKL.decode; VaeImageProcessor.postprocess",
                parediffusers: "PareDiffusionPipeline.vae_decode",
                from: "Rombach et al., 2022, section 3.1",
            },
        }
    }
}

/// The names of a line's inputs, in the order in which the probe is given them.
pub fn inputs(path: &str) -> &'static [&'static str] {
    match path {
        "encode_prompt.text_encoder" => &["input_ids"],
        "denoise.unet" => &["latent_model_input", "prompt_embeds"],
        "denoise.guidance" => &["uncond_residual", "text_cond_residual"],
        "denoise.scheduler_step" => &["guided_noise_residual", "timestep", "latents"],
        "vae_decode.scale" => &["latents"],
        "vae_decode.decode" => &["z"],
        "vae_decode.denormalize" => &["decoded"],
        _ => &[],
    }
}

/// The names of what a line makes: of one with two rows the negative prompt's first.
pub fn outputs(path: &str) -> &'static [&'static str] {
    match path {
        "encode_prompt.tokenize" => &["negative_input_ids", "input_ids"],
        "encode_prompt.text_encoder" => &["negative_prompt_embeds", "prompt_embeds"],
        "get_latent.randn" => &["latents"],
        "denoise.unet" => &["uncond_residual", "text_cond_residual"],
        "denoise.guidance" => &["guided_noise_residual"],
        "denoise.scheduler_step" => &["latents"],
        "vae_decode.scale" => &["z"],
        "vae_decode.decode" => &["decoded"],
        "vae_decode.denormalize" => &["image"],
        _ => &[],
    }
}

/// The lines of a stage, in the order in which it comes by.
pub fn lines_of(stage: Stage) -> impl Iterator<Item = &'static str> {
    lines::ALL.iter().copied().filter(move |line| line.split('.').next() == Some(stage.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_every_stage_is_found() {
        let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
        let mut found = 0;
        for stage in stages {
            let function = Function::of_stage(stage).unwrap();
            assert!(function.text()[0].starts_with("///") && function.text().last() == Some(&"}"));
            let at: Vec<usize> = lines_of(stage).map(|line| function.line_of(line).unwrap()).collect();
            assert!(at.is_sorted() && at.iter().all(|line| function.lines.contains(line)));
            assert!(lines_of(stage).all(|line| !outputs(line).is_empty()));
            found += at.len();
        }
        assert_eq!(found, lines::ALL.len());
        assert!(
            Function::of_scheduler_step().unwrap().text().iter().any(|line| line.contains("formula (12)"))
        );
    }
}

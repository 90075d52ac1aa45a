//! The code that is shown: this program's own, as it was when it was built.

use crate::pipeline::Stage;

/// A file of the program.
struct File {
    path: &'static str,
    text: &'static str,
}

const FILES: [File; 5] = [
    File { path: "src/pipeline/stages.rs", text: include_str!("../../../pipeline/stages.rs") },
    File { path: "src/scheduler/ddim.rs", text: include_str!("../../../scheduler/ddim.rs") },
    File { path: "src/model/clip.rs", text: include_str!("../../../model/clip.rs") },
    File { path: "src/model/unet/mod.rs", text: include_str!("../../../model/unet/mod.rs") },
    File { path: "src/model/vae.rs", text: include_str!("../../../model/vae.rs") },
];
// Their places in the list.
const STAGES: usize = 0;
const DDIM: usize = 1;
const CLIP: usize = 2;
const UNET: usize = 3;
const VAE: usize = 4;

/// What a call looks like, and the function that it calls.
const CALLS: [(&str, Function); 8] = [
    ("scheduler.step(", Function::new(DDIM, "step")),
    ("self.coefficients(", Function::new(DDIM, "coefficients")),
    ("self.bounded(", Function::new(DDIM, "bounded")),
    ("threshold_sample(", Function::new(DDIM, "threshold_sample")),
    ("text_encoder.forward(", Function::new(CLIP, "forward")),
    ("unet.forward(", Function::new(UNET, "forward")),
    ("vae.decode(", Function::new(VAE, "decode")),
    ("randn(", Function::new(STAGES, "randn")),
];

/// A function of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    file: usize,
    name: &'static str,
}

/// Where a function comes from and what is like it elsewhere.
pub(super) struct Kin {
    /// diffusers' function, or transformers'.
    pub(super) theirs: &'static str,
    /// parediffusers', where it has one.
    pub(super) pare: Option<&'static str>,
    /// What was published of it.
    pub(super) source: &'static str,
}

impl Function {
    const fn new(file: usize, name: &'static str) -> Self {
        Self { file, name }
    }

    /// The function that a stage is.
    pub(super) fn of(stage: Stage) -> Self {
        Self::new(
            STAGES,
            match stage {
                Stage::EncodePrompt => "encode_prompt",
                Stage::GetLatent => "get_latent",
                Stage::Denoise { .. } => "denoise",
                Stage::VaeDecode => "vae_decode",
            },
        )
    }

    /// The function that is called in `line`, if it can be shown and is not this one.
    pub(super) fn called(self, line: &str) -> Option<Self> {
        let code = line.split("//").next().unwrap_or(line);
        let call = CALLS.iter().find(|(call, _)| code.contains(call) && !code.contains("fn "))?;
        Some(call.1).filter(|called| *called != self)
    }

    /// The function's name.
    pub(super) fn name(self) -> &'static str {
        self.name
    }

    /// The file that it is in.
    pub(super) fn path(self) -> &'static str {
        FILES[self.file].path
    }

    /// Whether it is the scheduler's step, whose numbers are known.
    pub(super) fn is_step(self) -> bool {
        self.file == DDIM
    }

    /// The number of its first line in the file, and its text, with the comment above it.
    pub(super) fn text(self) -> (usize, Vec<&'static str>) {
        let lines: Vec<&str> = FILES[self.file].text.lines().collect();
        let heads = [format!("pub fn {}(", self.name), format!("fn {}(", self.name)];
        let is_head = |head: &String| lines.iter().position(|line| line.trim_start().starts_with(head));
        let Some(head) = heads.iter().find_map(is_head) else { return (1, vec![]) };
        let above = |line: &&str| matches!(line.trim_start().get(..2), Some("//" | "#["));
        let first = head - lines[..head].iter().rev().take_while(|line| above(line)).count();
        let indent = lines[head].len() - lines[head].trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let last = lines[head..].iter().position(|line| **line == end).map_or(head, |rows| head + rows);
        (first + 1, lines[first..=last].iter().map(|line| line.get(indent..).unwrap_or_default()).collect())
    }

    /// The row of the text that announces itself through the probe by this path.
    pub(super) fn row_of(self, path: &str) -> Option<usize> {
        let constant = format!("lines::{}", path.rsplit('.').next()?.to_uppercase());
        self.text().1.iter().position(|line| line.contains(&constant))
    }

    /// What is like it elsewhere.
    pub(super) fn kin(self) -> Kin {
        let kin = |theirs, pare, source| Kin { theirs, pare, source };
        match (self.file, self.name) {
            (STAGES, "encode_prompt") => kin(
                "StableDiffusionPipeline.encode_prompt",
                Some("PareDiffusionPipeline.encode_prompt"),
                "CLIP: Radford et al., 2021",
            ),
            (STAGES, "get_latent") => kin(
                "StableDiffusionPipeline.prepare_latents",
                Some("PareDiffusionPipeline.get_latent"),
                "x_T ~ N(0, I): Ho et al., 2020, algorithm 2",
            ),
            (STAGES, "randn") => kin("randn_tensor", Some("PareDiffusionPipeline.get_latent"), "torch.randn"),
            (STAGES, "denoise") => kin(
                "StableDiffusionPipeline.__call__, the denoising loop",
                Some("PareDiffusionPipeline.denoise"),
                "guidance: Ho and Salimans, 2022, equation 6",
            ),
            (STAGES, _) => kin(
                "AutoencoderKL.decode, VaeImageProcessor.denormalize",
                Some("PareDiffusionPipeline.vae_decode"),
                "latents: Rombach et al., 2022",
            ),
            (DDIM, "step") => kin(
                "DDIMScheduler.step",
                Some("PareDDIMScheduler.step"),
                "DDIM: Song et al., 2021, formulas 12 and 16",
            ),
            (DDIM, "coefficients") => {
                kin("DDIMScheduler._get_variance", None, "σ: Song et al., 2021, formula 16")
            }
            (DDIM, _) => kin(
                "DDIMScheduler._threshold_sample",
                None,
                "thresholding: Saharia et al., 2022, section 2.3",
            ),
            (CLIP, _) => kin("CLIPTextModel.forward (transformers)", None, "CLIP: Radford et al., 2021"),
            (UNET, _) => kin(
                "UNet2DConditionModel.forward",
                Some("PareUNet2DConditionModel.forward"),
                "U-Net: Ronneberger et al., 2015",
            ),
            _ => {
                kin("AutoencoderKL.decode", Some("PareAutoencoderKL.decode"), "latents: Rombach et al., 2022")
            }
        }
    }
}

/// The names that a line of code gives a value to: behind `let`, or before `:`, as fields and arguments are.
pub(super) fn bound(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    let names = match line.strip_prefix("let ") {
        Some(rest) => rest.split(" = ").next().unwrap_or_default().trim_end_matches(" ="),
        None => match line.split_once(": ") {
            Some((name, _)) if line.ends_with(',') => name,
            _ => "",
        },
    };
    if names.starts_with("//") {
        return vec![];
    }
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    names.split(|c| !is_name(c)).filter(|name| !name.is_empty() && *name != "mut").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::lines;

    #[test]
    fn every_line_of_a_stage_is_found() {
        let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
        for path in lines::ALL {
            let stage = stages.iter().map(|stage| Function::of(*stage)).find(|f| path.starts_with(f.name));
            assert!(stage.unwrap().row_of(path).is_some(), "{path}");
        }
    }

    #[test]
    fn every_function_that_is_called_is_shown_whole() {
        for (_, function) in CALLS {
            let (first, text) = function.text();
            assert!(first > 1 && text.len() > 3, "{function:?}");
            assert_eq!(text.last(), Some(&"}"), "{function:?}");
        }
        let denoise = Function::of(Stage::Denoise { step: 0 });
        assert!(denoise.text().1.iter().any(|line| denoise.called(line).is_some_and(Function::is_step)));
    }

    #[test]
    fn names_that_a_line_binds() {
        assert_eq!(bound("    let (a_t, b) = (1, 2);"), ["a_t", "b"]);
        assert_eq!(bound("let mut prev_sample = x;"), ["prev_sample"]);
        assert_eq!(bound("    latents: &Tensor,"), ["latents"]);
        assert!(bound("/// latents: the, noise,").is_empty());
        assert!(bound("Ok(image)").is_empty());
    }
}

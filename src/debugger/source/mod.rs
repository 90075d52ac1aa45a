//! The source code of the stages and of the functions that they call, as it was when the program was built, with its counterparts in
//! diffusers and in the article. [`module`]: the same for a module, by its path. [`scheduler`]: the sources of the schedulers.

pub mod module;
pub mod scheduler;

use crate::model::classes::{self, Forward};
use crate::pipeline::{Stage, lines};
use crate::scheduler::Class;

/// A file of the program whose code can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The stages.
    Stages,
    /// A scheduler.
    Scheduler(Class),
    /// What every scheduler's step is made of.
    Step,
    /// The code of modules.
    Module(classes::File),
}

impl File {
    /// Its path in the program, and its text.
    fn content(self) -> (&'static str, &'static str) {
        match self {
            Self::Stages => ("src/pipeline/stages.rs", include_str!("../../pipeline/stages.rs")),
            Self::Scheduler(class) => (scheduler::of(class).path, scheduler::of(class).text),
            Self::Step => ("src/scheduler/working.rs", include_str!("../../scheduler/working.rs")),
            Self::Module(file) => file.content(),
        }
    }
}

/// What a call looks like, and the function that it calls. [`scheduler::CALLS`] has those in a scheduler's file.
const CALLS: [(&str, Function); 12] = [
    ("step.predictions(", Function::new(File::Step, "predictions")),
    ("step.prediction_in_sigma(", Function::new(File::Step, "prediction_in_sigma")),
    ("step.prediction_in_next_sigma(", Function::new(File::Step, "prediction_in_next_sigma")),
    ("self.in_sigma(", Function::new(File::Step, "in_sigma")),
    ("step.combine(", Function::new(File::Step, "divided")),
    ("step.divided(", Function::new(File::Step, "divided")),
    ("threshold_sample(", Function::new(File::Step, "threshold_sample")),
    (
        "text_encoder.forward(",
        Function::method(File::Module(classes::File::Clip), "ClipTextModel", "forward"),
    ),
    ("unet.forward(", Function::method(File::Module(classes::File::UNet), "UNet2DConditionModel", "forward")),
    ("vae.encode(", Function::method(File::Module(classes::File::Vae), "AutoencoderKL", "encode")),
    ("vae.decode(", Function::method(File::Module(classes::File::Vae), "AutoencoderKL", "decode")),
    ("randn(", Function::new(File::Stages, "randn")),
];

/// A function of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    file: File,
    /// The type that it is of, where the file has several functions of that name.
    owner: Option<&'static str>,
    name: &'static str,
}

/// The counterparts of a function elsewhere.
pub struct Reference {
    /// diffusers' function, or transformers'.
    pub diffusers: &'static str,
    /// parediffusers', where it has one.
    pub parediffusers: Option<&'static str>,
    /// What was published about it.
    pub paper: &'static str,
}

impl Function {
    const fn new(file: File, name: &'static str) -> Self {
        Self { file, owner: None, name }
    }

    /// The function `name` of the type `owner`.
    pub const fn method(file: File, owner: &'static str, name: &'static str) -> Self {
        Self { file, owner: Some(owner), name }
    }

    /// The forward pass of a class of modules.
    pub fn forward(of: &Forward) -> Self {
        Self::method(File::Module(of.file), of.owner, "forward")
    }

    /// The function that a stage is.
    pub fn of(stage: Stage) -> Self {
        Self::new(
            File::Stages,
            match stage {
                Stage::EncodePrompt => "encode_prompt",
                Stage::GetLatent => "get_latent",
                Stage::Denoise { .. } => "denoise",
                Stage::VaeDecode => "vae_decode",
            },
        )
    }

    /// The function that is called in `line`, if it can be shown and is not this one, in a run with a scheduler of that class.
    pub fn called(self, line: &str, class: Class) -> Option<Self> {
        let code = line.split("//").next().unwrap_or(line);
        let is_in = |call: &str| code.contains(call) && !code.contains("fn ");
        let of_scheduler = scheduler::CALLS
            .iter()
            .filter(|(call, _)| is_in(call))
            .map(|(_, name)| Self::new(File::Scheduler(class), name))
            .find(|function| !function.text().1.is_empty());
        let fixed = || CALLS.iter().find(|(call, _)| is_in(call)).map(|(_, function)| *function);
        of_scheduler.or_else(fixed).filter(|called| *called != self)
    }

    /// The function's name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The function's name with the type that it is of: `Transformer2DModel::forward`.
    pub fn title(self) -> String {
        self.owner.map_or(self.name.into(), |owner| format!("{owner}::{}", self.name))
    }

    /// The file that it is in.
    pub fn path(self) -> &'static str {
        self.file.content().0
    }

    /// Whether it is the scheduler's step, whose numbers are known.
    pub fn is_step(self) -> bool {
        matches!(self.file, File::Scheduler(_) | File::Step) && self.name != "add_noise"
    }

    /// The number of its first line in the file, and its text, with the comment above it.
    pub fn text(self) -> (usize, Vec<&'static str>) {
        let lines: Vec<&str> = self.file.content().1.lines().collect();
        let heads = [format!("pub fn {}(", self.name), format!("fn {}(", self.name)];
        let owner = self.owner.map(|owner| format!("impl {owner} {{"));
        let begin = owner.and_then(|owner| lines.iter().position(|line| **line == *owner)).unwrap_or(0);
        let is_head = |head: &String| {
            let rest = lines[begin..].iter();
            Some(begin + rest.into_iter().position(|line| line.trim_start().starts_with(head))?)
        };
        let Some(head) = heads.iter().find_map(is_head) else { return (1, vec![]) };
        let above = |line: &&str| matches!(line.trim_start().get(..2), Some("//" | "#["));
        let first = head - lines[..head].iter().rev().take_while(|line| above(line)).count();
        let indent = lines[head].len() - lines[head].trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let last = lines[head..].iter().position(|line| **line == end).map_or(head, |rows| head + rows);
        (first + 1, lines[first..=last].iter().map(|line| line.get(indent..).unwrap_or_default()).collect())
    }

    /// The row of the text that announces itself through the probe by this path.
    pub fn row_of(self, path: &str) -> Option<usize> {
        let constant = format!("lines::{}", path.rsplit('.').next()?.to_uppercase());
        self.text().1.iter().position(|line| line.contains(&constant))
    }

    /// Where in the file, from 1, the line is that announces itself by this path.
    pub fn line_of(self, path: &str) -> Option<usize> {
        Some(self.text().0 + self.row_of(path)?)
    }

    /// Its counterparts elsewhere.
    pub fn reference(self) -> Reference {
        let reference = |diffusers, parediffusers, paper| Reference { diffusers, parediffusers, paper };
        if let Some(forward) = self.owner.filter(|_| self.name == "forward").and_then(Forward::of_type) {
            return reference(forward.reference, forward.parediffusers, forward.paper);
        }
        match (self.file, self.name) {
            (File::Stages, "encode_prompt") => reference(
                "StableDiffusionPipeline.encode_prompt",
                Some("PareDiffusionPipeline.encode_prompt"),
                "CLIP: Radford et al., 2021",
            ),
            (File::Stages, "get_latent") => reference(
                "prepare_latents of StableDiffusionPipeline and …Img2ImgPipeline",
                Some("PareDiffusionPipeline.get_latent"),
                "x_T ~ N(0, I): Ho et al., 2020, algorithm 2",
            ),
            (File::Stages, "randn") => {
                reference("randn_tensor", Some("PareDiffusionPipeline.get_latent"), "torch.randn")
            }
            (File::Stages, "denoise") => reference(
                "StableDiffusionPipeline.__call__, the denoising loop",
                Some("PareDiffusionPipeline.denoise"),
                "guidance: Ho and Salimans, 2022, equation 6",
            ),
            (File::Stages, _) => reference(
                "AutoencoderKL.decode, VaeImageProcessor.denormalize",
                Some("PareDiffusionPipeline.vae_decode"),
                "latents: Rombach et al., 2022",
            ),
            (File::Scheduler(class), "add_noise") => reference(
                scheduler::of(class).add_noise,
                None,
                "the forward process: Ho et al., 2020, equation 4",
            ),
            (File::Scheduler(Class::Ddim), "coefficients") => {
                reference("DDIMScheduler._get_variance", None, "σ: Song et al., 2021, formula 16")
            }
            (File::Scheduler(class), _) => {
                let own = (class == Class::Ddim).then_some("PareDDIMScheduler.step");
                reference(scheduler::of(class).step, own, scheduler::of(class).paper)
            }
            (File::Step, "threshold_sample") => {
                reference("_threshold_sample", None, "thresholding: Saharia et al., 2022, section 2.3")
            }
            (File::Step, _) => reference(
                "step, where it computes pred_original_sample",
                None,
                "x₀ of a prediction: Salimans and Ho, 2022, appendix D",
            ),
            (File::Module(_), "encode") => {
                reference("AutoencoderKL.encode", None, "latents: Rombach et al., 2022")
            }
            _ => reference(
                "AutoencoderKL.decode",
                Some("PareAutoencoderKL.decode"),
                "latents: Rombach et al., 2022",
            ),
        }
    }
}

/// The names of a line's inputs, in the order in which the probe is given them.
pub fn inputs(path: &str) -> &'static [&'static str] {
    match path {
        "encode_prompt.text_encoder" => &["input_ids"],
        "get_latent.encode" => &["init_image"],
        "get_latent.add_noise" => &["init_latents", "noise", "timestep"],
        "denoise.unet" => &["latent_model_input", "prompt_embeds", "timestep_cond"],
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
        "get_latent.encode" => &["init_latents"],
        "get_latent.randn" => &["noise"],
        "get_latent.add_noise" => &["latents"],
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

/// The names of what a stage makes from the line at `path` on.
pub fn made_from(path: &str) -> impl Iterator<Item = &'static str> {
    let stage = path.split('.').next();
    let lines = lines::ALL.iter().skip_while(move |line| **line != path);
    lines.filter(move |line| line.split('.').next() == stage).flat_map(|line| outputs(line)).copied()
}

/// The names that a line of code gives a value to: after `let`, or before `:`, as fields and arguments are.
pub fn bound(line: &str) -> Vec<&str> {
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

    #[test]
    fn every_line_of_a_stage_is_found() {
        let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
        for path in lines::ALL {
            let stage = stages.iter().map(|stage| Function::of(*stage)).find(|f| path.starts_with(f.name));
            assert!(stage.unwrap().row_of(path).is_some(), "{path}");
            assert!(!outputs(path).is_empty(), "{path}");
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
        assert!(
            denoise
                .text()
                .1
                .iter()
                .any(|line| denoise.called(line, Class::Ddim).is_some_and(Function::is_step))
        );
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

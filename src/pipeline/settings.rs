//! The settings of a run, in one table beside [`Request`].
//!
//! An [`Entry`] says what a setting is called (diffusers' name), how it is read from a request and written to it, how its value is
//! parsed and shown, and what it is for. The table drives the program's flags, `set` and its completion, the names in
//! expressions, `info request`, the text in a PNG, the metadata of a dump, the axes of a comparison and the lines of a
//! saved timeline. Whether models can run a value is a question for [`Request::check`].
//!
//! `setting`: the handle. `value`: the types that a setting can have.
//!
//! To add a setting, add a field to [`Request`] and an entry to [`SETTINGS`].
//!
//! A setting is a handle, [`Setting`], found by its name; nothing outside this file lists them. So some runs can have more settings
//! than others: an entry with the name `scheduler.*` is a family. It stands for `scheduler.use_karras_sigmas` and for all other
//! members that `members` finds in a request; `get` and `set` receive the member's name. A line such as `set
//! scheduler.use_karras_sigmas …` parses without a run, and [`Setting::set`] refuses a member that the run does not have. The members
//! of `scheduler.*` are the arguments that differ from the checkpoint's; all others can be set too. A family has no flag. An expression sees the name before the dot; a scope gives it a map of the members.

mod setting;
mod value;

pub use setting::Setting;
pub use value::{Access, Chosen, Field, Value, ValueError};

use super::Request;
use crate::model::prompt_syntax::PromptSyntax;
use crate::phrase::{Phrase, phrase};
use crate::scheduler::Class;

/// Every setting, in the order in which they are listed.
pub const SETTINGS: &[Entry] = &[
    Entry {
        name: "prompt",
        flags: &["prompt"],
        value: "PROMPT",
        summary: phrase("the prompt"),
        help: phrase("The prompt [default: depends on the model]"),
        field: Field::Text(Access { get: |r, _| r.prompt.clone(), set: |r, _, text| r.set_prompt(text) }),
        ..OF_STAGES
    },
    Entry {
        name: "negative_prompt",
        flags: &["negative-prompt"],
        value: "PROMPT",
        summary: phrase("what to avoid"),
        help: phrase("The negative prompt: what to avoid"),
        quiet: true,
        field: Field::Text(Access {
            get: |r, _| r.negative_prompt.clone(),
            set: |r, _, text| r.negative_prompt = text,
        }),
        ..OF_STAGES
    },
    Entry {
        name: "prompt_syntax",
        flags: &["prompt-syntax"],
        value: "SYNTAX",
        parameter: "Prompt syntax",
        summary: phrase("the prompts' language: plain, a1111, …"),
        help: phrase(
            "Language of the prompts, with weights and chunks of 75 tokens: plain, a1111, comfy, compel [default: plain]",
        ),
        quiet: true,
        field: Field::Chosen(Chosen {
            get: |r, _| r.prompt_syntax.name().into(),
            set: |r, _, name| {
                r.set_prompt_syntax(PromptSyntax::named(name)?);
                Ok(())
            },
        }),
        ..OF_STAGES
    },
    Entry {
        name: "clip_skip",
        flags: &["clip-skip"],
        value: "LAYERS",
        parameter: "Clip skip",
        summary: phrase("last layers that the prompt skips"),
        help: phrase(
            "Number of the text encoder's last layers that the embeddings of the prompt skip; the negative prompt skips none with the plain syntax, and as many with the others [default: 0]",
        ),
        quiet: true,
        field: Field::Count(
            Access { get: |r, _| r.clip_skip, set: |r, _, layers| r.clip_skip = layers },
            "layers",
        ),
        ..OF_STAGES
    },
    Entry {
        name: "height",
        flags: &["height"],
        value: "PX",
        summary: phrase("in pixels"),
        help: phrase(
            "Height in pixels, a multiple of 8 [default: the model's training size, or the height of the start image]",
        ),
        field: Field::Count(Access { get: |r, _| r.height, set: |r, _, pixels| r.height = pixels }, "pixels"),
        ..OF_RUN
    },
    Entry {
        name: "width",
        flags: &["width"],
        value: "PX",
        summary: phrase("in pixels"),
        help: phrase(
            "Width in pixels, a multiple of 8 [default: the model's training size, or the width of the start image]",
        ),
        field: Field::Count(Access { get: |r, _| r.width, set: |r, _, pixels| r.width = pixels }, "pixels"),
        ..OF_RUN
    },
    Entry {
        name: "num_inference_steps",
        flags: &["steps", "num-inference-steps"],
        value: "N",
        parameter: "Steps",
        summary: phrase("the number of denoising steps"),
        help: phrase("Number of denoising steps [default: 20; SD-Turbo: 1]"),
        field: Field::Count(
            Access { get: |r, _| r.num_inference_steps, set: |r, _, steps| r.num_inference_steps = steps },
            "steps",
        ),
        ..OF_RUN
    },
    Entry {
        name: "guidance_scale",
        flags: &["guidance-scale"],
        value: "SCALE",
        parameter: "CFG scale",
        summary: phrase("weight of the text-conditioned residual"),
        help: phrase("Weight of the text-conditioned residual; 1 is no guidance [default: 7.5; SD-Turbo: 1]"),
        field: Field::Number(
            Access { get: |r, _| r.guidance_scale, set: |r, _, scale| r.guidance_scale = scale },
            "a number",
        ),
        ..OF_STAGES
    },
    Entry {
        name: "seed",
        flags: &["seed"],
        value: "SEED",
        parameter: "Seed",
        summary: phrase("of the noise"),
        help: phrase(
            "Seed of the noise, as in torch.Generator(\"cpu\").manual_seed(SEED): -2^63 to 2^64-1. -1 is an ordinary seed, as in \
               torch [default: 0]",
        ),
        field: Field::Seed(Access { get: |r, _| r.seed, set: |r, _, seed| r.seed = seed }),
        ..OF_RUN
    },
    Entry {
        name: "eta",
        flags: &["eta"],
        value: "ETA",
        parameter: "Eta DDIM",
        summary: phrase("new noise in each step of DDIM, 0 to 1"),
        help: phrase("New noise in each step of DDIM: 0 none, 1 as much as DDPM [default: 0]"),
        quiet: true,
        applies: |request| request.scheduler.config().class == Class::Ddim,
        field: Field::Number(
            Access { get: |r, _| r.eta, set: |r, _, eta| r.eta = eta },
            "a number from 0 to 1",
        ),
        ..OF_STAGES
    },
    Entry {
        name: "scheduler",
        flags: &["scheduler"],
        value: "NAME",
        summary: phrase("the scheduler, such as euler or dpm++2m-karras"),
        help: phrase(
            "Scheduler: ddim, ddpm, pndm, euler, euler-a, heun, lms, dpm++2m, dpm++3m, dpm++2m-sde, dpm++2m-sde-heun, dpm++3m-sde, unipc, lcm, most \
               of them with -karras too, or a class of diffusers [default: the checkpoint's own]",
        ),
        field: Field::Chosen(Chosen {
            get: |r, _| r.scheduler.name(),
            set: |r, _, name| {
                r.scheduler = r.scheduler.renamed(name)?;
                Ok(())
            },
        }),
        ..OF_RUN
    },
    Entry {
        name: "scheduler.*",
        summary: phrase("an argument of the scheduler"),
        members: |r| r.scheduler.changed().into_iter().map(String::from).collect(),
        field: Field::Chosen(Chosen {
            get: |r, member| r.scheduler.argument(member),
            set: |r, member, text| {
                let config = r.scheduler.config().with(member, text)?;
                r.scheduler = r.scheduler.with_config(config);
                Ok(())
            },
        }),
        ..OF_RUN
    },
    Entry {
        name: "lora.*",
        summary: phrase("the scale of a LoRA"),
        members: |r| r.loras.iter().map(|lora| lora.name.clone()).collect(),
        field: Field::Number(
            Access {
                get: |r, member| r.lora(member).map_or(0., |lora| lora.scale),
                set: |r, member, scale| {
                    if let Some(lora) = r.loras.iter_mut().find(|lora| lora.name == member) {
                        lora.scale = scale;
                    }
                },
            },
            "a number",
        ),
        ..OF_STAGES
    },
    Entry {
        name: "init_image",
        flags: &["init-image"],
        value: "FILE",
        parameter: "Init image",
        summary: phrase("the start image"),
        help: phrase("Start image, for image to image: a file, or sample:apple, cat, house, pizza"),
        field: Field::Picture(Access {
            get: |r, _| r.init_image.clone(),
            set: |r, _, picture| r.init_image = picture,
        }),
        ..OF_RUN
    },
    Entry {
        name: "strength",
        flags: &["strength"],
        value: "STRENGTH",
        parameter: "Denoising strength",
        summary: phrase("the fraction of the steps that run"),
        help: phrase("With a start image, the fraction of the steps that run: 0 none, 1 all [default: 0.8]"),
        applies: |request| request.init_image.is_some(),
        field: Field::Number(
            Access { get: |r, _| r.strength, set: |r, _, strength| r.strength = strength },
            "a number from 0 to 1",
        ),
        ..OF_RUN
    },
    Entry {
        name: "fault",
        parameter: "Fault",
        summary: phrase("a known mistake, made on purpose"),
        field: Field::Fault(Access { get: |r, _| r.fault, set: |r, _, fault| r.fault = fault }),
        ..OF_STAGES
    },
];

/// A setting as the table has it.
#[derive(Debug)]
pub struct Entry {
    /// diffusers' name; `NAME.*` for a family of settings that only some runs have.
    pub name: &'static str,
    /// The program's flags for it without their dashes, the one that is shown first; empty where it has none.
    pub flags: &'static [&'static str],
    /// What a flag's help calls its value.
    pub value: &'static str,
    /// The key in a PNG's chunk `parameters`; empty where it has none, or a place of its own there.
    pub parameter: &'static str,
    /// What it is, in a few words.
    pub summary: Phrase,
    /// What it is, as the flag's help has it.
    pub help: Phrase,
    /// Of what part of a run it is.
    pub of: Of,
    /// Whether short texts leave it out while it has its default.
    pub quiet: bool,
    /// Whether it has a meaning in such a run.
    pub applies: fn(&Request) -> bool,
    /// Of a family, the members that such a run has.
    pub members: fn(&Request) -> Vec<String>,
    /// Where a request keeps it, and how it is typed.
    pub field: Field,
}

/// Of what part of a run a setting is: until when it can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The whole run: it fixes the initial latents, and cannot change once `get_latent` has run.
    Run,
    /// The stages that are still to come.
    Stages,
}

/// An entry's defaults.
const OF_STAGES: Entry = Entry {
    name: "",
    flags: &[],
    value: "",
    parameter: "",
    summary: Phrase::NONE,
    help: Phrase::NONE,
    of: Of::Stages,
    quiet: false,
    applies: |_| true,
    members: |_| vec![],
    field: Field::Text(Access { get: |_, _| String::new(), set: |_, _, _| () }),
};
const OF_RUN: Entry = Entry { of: Of::Run, ..OF_STAGES };

impl Entry {
    /// Of a family, what the names of its members begin with: `scheduler.`.
    pub fn family(&self) -> Option<&'static str> {
        self.name.strip_suffix('*')
    }
}

#[cfg(test)]
mod tests;

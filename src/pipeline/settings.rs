//! The settings of a run, in one table beside [`Request`].
//!
//! An [`Entry`] says what a setting is called (diffusers' name), how it is read from a request and written to it, how its value is
//! parsed and shown, and what it is for. The table drives the program's flags, `set` and its completion, the names in
//! expressions, `info request`, the text in a PNG, the metadata of a dump, the axes of a comparison and the lines of a
//! saved timeline. Whether models can run a value is a question for [`Request::check`].
//!
//! To add a setting, add a field to [`Request`] and an entry to [`SETTINGS`].
//!
//! A setting is a handle, [`Setting`], found by its name; nothing outside of this file lists them. So some runs can have more of
//! them than others: an entry with the name `scheduler.*` is a family. It stands for `scheduler.use_karras_sigmas` and for whatever else
//! its `members` finds in a request; `get` and `set` are told which member is meant. A line such as `set
//! scheduler.use_karras_sigmas …` parses without a run, and [`Setting::set`] refuses a member that the run does not have. A
//! family has no flag. An expression sees the name before the dot; a scope gives it a map of the members.

use super::{Fault, InitImage, Request, Seed};
use crate::nn::error::abridged;
use crate::pipeline::seed::SeedError;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Every setting, in the order in which they are listed.
pub const SETTINGS: &[Entry] = &[
    Entry {
        name: "prompt",
        flags: &["prompt"],
        value: "PROMPT",
        summary: "what the picture shall show",
        help: "The prompt [default: one that suits the model]",
        field: Field::Text(Access { get: |r, _| r.prompt.clone(), set: |r, _, text| r.prompt = text }),
        ..OF_STAGES
    },
    Entry {
        name: "negative_prompt",
        flags: &["negative-prompt"],
        value: "PROMPT",
        summary: "what the picture shall not show",
        help: "The negative prompt: what to avoid",
        quiet: true,
        field: Field::Text(Access {
            get: |r, _| r.negative_prompt.clone(),
            set: |r, _, text| r.negative_prompt = text,
        }),
        ..OF_STAGES
    },
    Entry {
        name: "height",
        flags: &["height"],
        value: "PX",
        summary: "of the picture, in pixels",
        help: "Height in pixels [default: what the model was trained on, or the height of the picture to start from, in multiples of 8]",
        field: Field::Count(Access { get: |r, _| r.height, set: |r, _, pixels| r.height = pixels }, "pixels"),
        ..OF_RUN
    },
    Entry {
        name: "width",
        flags: &["width"],
        value: "PX",
        summary: "of the picture, in pixels",
        help: "Width in pixels [default: what the model was trained on, or the width of the picture to start from, in multiples of 8]",
        field: Field::Count(Access { get: |r, _| r.width, set: |r, _, pixels| r.width = pixels }, "pixels"),
        ..OF_RUN
    },
    Entry {
        name: "num_inference_steps",
        flags: &["steps", "num-inference-steps"],
        value: "N",
        parameter: "Steps",
        summary: "steps of denoise",
        help: "Steps of denoise [default: 20; of SD-Turbo 1]",
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
        summary: "how strongly the prompt guides",
        help: "How far to go from the unconditional residual to the text-conditioned one, and beyond [default: 7.5; of SD-Turbo 1]",
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
        summary: "what the noise is drawn from",
        help: "What the noise is drawn from, as torch.Generator(\"cpu\").manual_seed(SEED): -2^63 to 2^64-1. -1 is torch's -1, not a \
               random seed [default: 0]",
        field: Field::Seed(Access { get: |r, _| r.seed, set: |r, _, seed| r.seed = seed }),
        ..OF_RUN
    },
    Entry {
        name: "eta",
        flags: &["eta"],
        value: "ETA",
        parameter: "Eta",
        summary: "fresh noise in each step, 0 to 1",
        help: "Fresh noise in each step: 0 none (DDIM), 1 as much as DDPM [default: 0]",
        quiet: true,
        field: Field::Number(
            Access { get: |r, _| r.eta, set: |r, _, eta| r.eta = eta },
            "a number from 0 to 1",
        ),
        ..OF_STAGES
    },
    Entry {
        name: "init_image",
        flags: &["init-image"],
        value: "FILE",
        parameter: "Init image",
        summary: "a picture to start from",
        help: "A picture to start from, instead of noise alone: a file, or sample:apple, cat, house, pizza",
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
        summary: "how much of the run init_image leaves",
        help: "How much of the run a picture to start from leaves to be done: 0 none of it, 1 all [default: 0.8]",
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
        summary: "a known mistake, made on purpose",
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
    pub summary: &'static str,
    /// What it is, as the flag's help has it.
    pub help: &'static str,
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
    summary: "",
    help: "",
    of: Of::Stages,
    quiet: false,
    applies: |_| true,
    members: |_| vec![],
    field: Field::Text(Access { get: |_, _| String::new(), set: |_, _, _| () }),
};
const OF_RUN: Entry = Entry { of: Of::Run, ..OF_STAGES };

/// How a request is read and changed. The text is the member of a family, else empty.
#[derive(Debug)]
pub struct Access<T> {
    /// The value in a request.
    pub get: fn(&Request, &str) -> T,
    /// Puts a value into a request.
    pub set: fn(&mut Request, &str, T),
}

/// Where a request keeps a setting, by the type of its value.
#[derive(Debug)]
pub enum Field {
    /// A text.
    Text(Access<String>),
    /// A whole number of something: its plural.
    Count(Access<usize>, &'static str),
    /// A number, and what is expected of it.
    Number(Access<f64>, &'static str),
    /// A seed.
    Seed(Access<Seed>),
    /// A picture, or none.
    Picture(Access<Option<InitImage>>),
    /// A fault, or none.
    Fault(Access<Option<Fault>>),
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Count(usize),
    /// A number.
    Number(f64),
    /// A seed.
    Seed(Seed),
    /// A picture, or none.
    Picture(Option<InitImage>),
    /// A fault, or none.
    Fault(Option<Fault>),
}

impl Value {
    /// The value in JSON: as a request has it, `null` for a picture or a fault that is not there.
    pub fn json(&self) -> serde_json::Value {
        // Numbers and texts always have a JSON.
        let json = match self {
            Self::Text(text) => serde_json::to_value(text),
            Self::Count(count) => serde_json::to_value(count),
            Self::Number(number) => serde_json::to_value(number),
            Self::Seed(seed) => serde_json::to_value(seed),
            Self::Picture(picture) => serde_json::to_value(picture),
            Self::Fault(fault) => serde_json::to_value(fault),
        };
        json.unwrap_or_default()
    }

    /// Whether it is the absence of a picture or a fault.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Picture(None) | Self::Fault(None))
    }

    /// As it is typed, but of a file its name alone: a reader's folders are not for others.
    pub fn without_folder(&self) -> String {
        match self {
            Self::Picture(Some(picture)) => picture.file_name().into(),
            other => other.to_string(),
        }
    }

    /// The value in a message: texts in quotes.
    pub fn in_message(&self) -> String {
        match self {
            Self::Text(_) | Self::Picture(Some(_)) => self.json().to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Value {
    /// The value as it is typed, without quotes: a number without `.0`, `off` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Seed(seed) => seed.fmt(f),
            Self::Picture(Some(picture)) => f.write_str(picture.name()),
            Self::Fault(Some(fault)) => fault.fmt(f),
            Self::Picture(None) | Self::Fault(None) => f.write_str("off"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

/// Why a text is no value of a setting: the end of a sentence that begins with the setting.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// It is something else; what was expected.
    #[error("cannot be `{found}`; {expected}")]
    Other {
        /// The text, abridged.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A picture that cannot be opened.
    #[error(transparent)]
    Picture(#[from] super::init_image::InitImageError),
    /// A member that the run's family does not have.
    #[error("is no setting of this run; expected {0}")]
    Member(String),
}

/// A setting: an entry of the table, or a member of a family in it.
#[derive(Debug, Clone)]
pub struct Setting {
    entry: &'static Entry,
    name: Cow<'static, str>,
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Setting {}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl Setting {
    /// The settings that every run has.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::all_in(SETTINGS)
    }

    /// The settings of a run: those of every run, and the members of its families.
    pub fn of(request: &Request) -> Vec<Self> {
        Self::of_in(SETTINGS, request)
    }

    /// The setting of that name. Whether a run has a member of a family is known where the run is.
    pub fn find(name: &str) -> Option<Self> {
        Self::find_in(SETTINGS, name)
    }

    fn all_in(table: &'static [Entry]) -> impl Iterator<Item = Self> {
        let fixed = table.iter().filter(|entry| entry.family().is_none());
        fixed.map(|entry| Self { entry, name: entry.name.into() })
    }

    fn of_in(table: &'static [Entry], request: &Request) -> Vec<Self> {
        let of = |entry: &'static Entry| match entry.family() {
            None => vec![Self { entry, name: entry.name.into() }],
            Some(family) => {
                let members = (entry.members)(request).into_iter();
                members.map(|member| Self { entry, name: format!("{family}{member}").into() }).collect()
            }
        };
        table.iter().flat_map(of).collect()
    }

    fn find_in(table: &'static [Entry], name: &str) -> Option<Self> {
        let fixed = Self::all_in(table).find(|setting| setting.name == name);
        let is_member = |entry: &&Entry| {
            entry
                .family()
                .and_then(|family| name.strip_prefix(family))
                .is_some_and(|member| !member.is_empty())
        };
        let member =
            || table.iter().find(is_member).map(|entry| Self { entry, name: name.to_string().into() });
        fixed.or_else(member)
    }

    /// diffusers' name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entry that the setting has in the table.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    fn member(&self) -> &str {
        self.entry.family().and_then(|family| self.name.strip_prefix(family)).unwrap_or_default()
    }

    /// Its value in a request.
    pub fn get(&self, request: &Request) -> Value {
        let member = self.member();
        match &self.entry.field {
            Field::Text(access) => Value::Text((access.get)(request, member)),
            Field::Count(access, _) => Value::Count((access.get)(request, member)),
            Field::Number(access, _) => Value::Number((access.get)(request, member)),
            Field::Seed(access) => Value::Seed((access.get)(request, member)),
            Field::Picture(access) => Value::Picture((access.get)(request, member)),
            Field::Fault(access) => Value::Fault((access.get)(request, member)),
        }
    }

    /// Parses a value and puts it into a request. Whether models can run that is not checked.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn parse_into(&self, text: &str, request: &mut Request) -> Result<(), ValueError> {
        let member = self.member();
        if self.entry.family().is_some() {
            let members = (self.entry.members)(request);
            if !members.iter().any(|known| known == member) {
                return Err(ValueError::Member(members.join(", ")));
            }
        }
        match &self.entry.field {
            Field::Text(access) => (access.set)(request, member, text.into()),
            Field::Count(access, unit) => {
                (access.set)(request, member, parsed(text, &format!("a number of {unit}"))?);
            }
            Field::Number(access, expected) => (access.set)(request, member, parsed(text, expected)?),
            Field::Seed(access) => {
                let seed = text.parse().map_err(|e: SeedError| other(text, e.to_string()))?;
                (access.set)(request, member, seed);
            }
            Field::Picture(access) => {
                let picture = (text != "off").then(|| InitImage::open(text)).transpose()?;
                (access.set)(request, member, picture);
            }
            Field::Fault(access) => {
                let fault = (text != "off").then(|| Fault::parse(text)).transpose();
                (access.set)(request, member, fault.map_err(|expected| other(text, expected))?);
            }
        }
        Ok(())
    }

    /// As [`parse_into`](Self::parse_into), with an error that names the setting.
    ///
    /// # Errors
    /// What was found and what would be right, in a line.
    pub fn set(&self, text: &str, request: &mut Request) -> Result<(), String> {
        self.parse_into(text, request).map_err(|e| match e {
            ValueError::Picture(e) => format!("{}: {e}", self.name),
            e => format!("{} {e}", self.name),
        })
    }

    /// Whether it can have that value at all. Of a member of a family that is known where the run is.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn check(&self, text: &str) -> Result<(), String> {
        match self.entry.family() {
            Some(_) => Ok(()),
            None => self.set(text, &mut Request::default()),
        }
    }

    /// Gives `to` the value that `from` has.
    pub fn copy(&self, from: &Request, to: &mut Request) {
        let member = self.member();
        match &self.entry.field {
            Field::Text(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Count(access, _) => (access.set)(to, member, (access.get)(from, member)),
            Field::Number(access, _) => (access.set)(to, member, (access.get)(from, member)),
            Field::Seed(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Picture(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Fault(access) => (access.set)(to, member, (access.get)(from, member)),
        }
    }

    /// Whether its value is a text, which may hold spaces and commas.
    pub fn is_text(&self) -> bool {
        matches!(self.entry.field, Field::Text(_) | Field::Picture(_))
    }

    /// Whether its value is a whole number.
    pub fn is_whole(&self) -> bool {
        matches!(self.entry.field, Field::Count(..) | Field::Seed(_))
    }

    /// Whether its value names a file.
    pub fn is_file(&self) -> bool {
        matches!(self.entry.field, Field::Picture(_))
    }

    /// Whether runs can be compared by it. A fault's place in a run decides whether it can be made at all.
    pub fn is_compared(&self) -> bool {
        !matches!(self.entry.field, Field::Fault(_))
    }

    /// Whether expressions know it by its name.
    pub fn is_in_expressions(&self) -> bool {
        !matches!(self.entry.field, Field::Picture(_) | Field::Fault(_))
    }

    /// Whether it fixes the initial latents, so that it cannot change once `get_latent` has run.
    pub fn fixes_initial_latents(&self) -> bool {
        self.entry.of == Of::Run
    }

    /// Whether the value in a request means something: it is not off, and what it depends on is there.
    pub fn applies(&self, request: &Request) -> bool {
        (self.entry.applies)(request) && !self.get(request).is_off()
    }

    /// Whether a short text about a run has it.
    pub fn is_in_short_texts(&self, request: &Request) -> bool {
        let is_default = || self.get(request) == self.get(&Request::default());
        self.applies(request) && !(self.entry.quiet && is_default())
    }

    /// Values that can be typed, each with its meaning; nothing where there is no end of them.
    pub fn values(&self) -> Vec<(String, &'static str)> {
        let off = || ("off".to_string(), "");
        match self.entry.field {
            Field::Picture(_) => {
                let samples = InitImage::samples().map(|name| (format!("sample:{name}"), "a drawing"));
                samples.into_iter().chain([off()]).collect()
            }
            Field::Fault(_) => {
                let faults = Fault::ALL.iter().map(|(name, _, help)| (name.to_string(), *help));
                let nan_in = ("nan_in".to_string(), "a value of a tensor is not a number");
                faults.chain([nan_in, off()]).collect()
            }
            Field::Text(_) | Field::Count(..) | Field::Number(..) | Field::Seed(_) => vec![],
        }
    }
}

impl Entry {
    /// Of a family, what the names of its members begin with: `scheduler.`.
    fn family(&self) -> Option<&'static str> {
        self.name.strip_suffix('*')
    }
}

fn parsed<T: std::str::FromStr>(text: &str, expected: &str) -> Result<T, ValueError> {
    text.parse().map_err(|_| other(text, format!("expected {expected}")))
}

fn other(found: &str, expected: String) -> ValueError {
    ValueError::Other { found: abridged(found), expected }
}

#[cfg(test)]
mod tests;

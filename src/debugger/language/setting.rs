//! Settings, and what else `set`, `info` and `diff` name: preview policies, topics, sides.

use crate::debugger::text::abridged;
use crate::debugger::text::quoted;
use crate::pipeline::seed::SeedError;
use crate::pipeline::{InitImage, Request, Stage};
use std::fmt;

/// Of which steps the VAE makes pictures when nothing else is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviewPolicy {
    /// Of every N-th.
    Every(usize),
    /// Of none.
    Off,
}

impl Default for PreviewPolicy {
    fn default() -> Self {
        Self::Every(1)
    }
}

impl PreviewPolicy {
    /// Whether the VAE makes pictures of `stage`.
    pub fn is_of(self, stage: Stage) -> bool {
        match (self, stage) {
            (Self::Off, _) => false,
            (Self::Every(n), Stage::Denoise { step }) => step % n.max(1) == 0,
            _ => true,
        }
    }
}

impl fmt::Display for PreviewPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(1) => f.write_str("every step"),
            Self::Every(n) => write!(f, "every {n} steps"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// What `info` tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The breakpoints.
    Breakpoints,
    /// What is displayed after every stop.
    Display,
    /// Where a stage that is stepped through waits.
    Frame,
    /// The settings.
    Request,
    /// The scheduler: whose it is, and which timesteps the run visits.
    Scheduler,
    /// Every tensor so far.
    Tensors,
    /// The tree of timelines.
    Timelines,
}

impl Topic {
    /// Every topic with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("breakpoints", Self::Breakpoints),
        ("display", Self::Display),
        ("frame", Self::Frame),
        ("request", Self::Request),
        ("scheduler", Self::Scheduler),
        ("tensors", Self::Tensors),
        ("timelines", Self::Timelines),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, topic)| *topic == self).map_or("", |(name, _)| name)
    }
}

/// A side of `diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// `@K`: the state after `denoise K` of this timeline.
    After(usize),
    /// A timeline, or a file of tensors.
    Named(String),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(step) => write!(f, "@{step}"),
            Self::Named(name) => f.write_str(&quoted(name)),
        }
    }
}

/// What `set` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `Request::prompt`.
    Prompt,
    /// `Request::negative_prompt`.
    NegativePrompt,
    /// `Request::height`.
    Height,
    /// `Request::width`.
    Width,
    /// `Request::num_inference_steps`.
    NumInferenceSteps,
    /// `Request::guidance_scale`.
    GuidanceScale,
    /// `Request::seed`.
    Seed,
    /// `Request::eta`.
    Eta,
    /// `Request::init_image`.
    InitImage,
    /// `Request::strength`.
    Strength,
}

impl Setting {
    /// Every setting with its name.
    pub const ALL: [(&'static str, Self); 10] = [
        ("prompt", Self::Prompt),
        ("negative_prompt", Self::NegativePrompt),
        ("height", Self::Height),
        ("width", Self::Width),
        ("num_inference_steps", Self::NumInferenceSteps),
        ("guidance_scale", Self::GuidanceScale),
        ("seed", Self::Seed),
        ("eta", Self::Eta),
        ("init_image", Self::InitImage),
        ("strength", Self::Strength),
    ];

    /// The setting's name: diffusers'.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, setting)| *setting == self).map_or("", |(name, _)| name)
    }

    /// Gives it a value in `request`.
    ///
    /// # Errors
    /// What was found and what would be right, in a line. Whether models can run that is not asked.
    pub fn put(self, value: &str, request: &mut Request) -> Result<(), String> {
        match self {
            Self::Prompt => request.prompt = value.into(),
            Self::NegativePrompt => request.negative_prompt = value.into(),
            Self::Height => request.height = self.parsed(value, "a number of pixels")?,
            Self::Width => request.width = self.parsed(value, "a number of pixels")?,
            Self::NumInferenceSteps => {
                request.num_inference_steps = self.parsed(value, "a number of steps")?;
            }
            Self::GuidanceScale => request.guidance_scale = self.parsed(value, "a number")?,
            Self::Seed => {
                request.seed = value.parse().map_err(|e: SeedError| self.cannot_be(value, &e.to_string()))?;
            }
            Self::Eta => request.eta = self.parsed(value, "a number from 0 to 1")?,
            Self::InitImage if value == "off" => request.init_image = None,
            Self::InitImage => {
                request.init_image = Some(InitImage::open(value).map_err(|e| format!("init_image: {e}"))?);
            }
            Self::Strength => request.strength = self.parsed(value, "a number from 0 to 1")?,
        }
        Ok(())
    }

    /// Whether it can have that value at all.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn check(self, value: &str) -> Result<(), String> {
        self.put(value, &mut Request::default())
    }

    fn parsed<T: std::str::FromStr>(self, value: &str, expected: &str) -> Result<T, String> {
        value.parse().map_err(|_| self.cannot_be(value, &format!("expected {expected}")))
    }

    fn cannot_be(self, value: &str, expected: &str) -> String {
        format!("{} cannot be `{}`; {expected}", self.name(), abridged(value))
    }

    /// Whether its value is a text, which may hold spaces and commas.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Prompt | Self::NegativePrompt | Self::InitImage)
    }

    /// Whether it is settled by what `get_latent` draws: then it cannot change afterwards.
    pub fn fixes_initial_latents(self) -> bool {
        matches!(
            self,
            Self::Seed
                | Self::Height
                | Self::Width
                | Self::NumInferenceSteps
                | Self::InitImage
                | Self::Strength
        )
    }
}

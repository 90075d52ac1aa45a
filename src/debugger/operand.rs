//! What commands are about: places, topics, settings.

use crate::pipeline::Stage;
use std::fmt;

/// A place to stop before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One stage.
    Stage(Stage),
    /// `denoise` without a number: every step for `break`, the next one for `until`.
    AnyStep,
}

impl Place {
    /// Whether a run that stands before `stage` stands here.
    pub fn is_at(self, stage: Stage) -> bool {
        match self {
            Self::Stage(place) => place == stage,
            Self::AnyStep => matches!(stage, Stage::Denoise { .. }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(stage) => stage.fmt(f),
            Self::AnyStep => f.write_str("denoise"),
        }
    }
}

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The thread that computes panics now.
    WorkerPanic,
    /// The next frame panics.
    DrawPanic,
}

/// Of which steps the VAE makes pictures when nothing else is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previewing {
    /// Of every N-th.
    Every(usize),
    /// Of none.
    Off,
}

impl Default for Previewing {
    fn default() -> Self {
        Self::Every(1)
    }
}

impl Previewing {
    /// Whether the VAE makes pictures of `stage`.
    pub fn is_of(self, stage: Stage) -> bool {
        match (self, stage) {
            (Self::Off, _) => false,
            (Self::Every(n), Stage::Denoise { step }) => step % n.max(1) == 0,
            _ => true,
        }
    }
}

impl fmt::Display for Previewing {
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
    /// Every tensor so far.
    Tensors,
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
}

impl Setting {
    /// Every setting with its name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("prompt", Self::Prompt),
        ("negative_prompt", Self::NegativePrompt),
        ("height", Self::Height),
        ("width", Self::Width),
        ("num_inference_steps", Self::NumInferenceSteps),
        ("guidance_scale", Self::GuidanceScale),
        ("seed", Self::Seed),
        ("eta", Self::Eta),
    ];

    /// The setting's name: diffusers'.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, setting)| *setting == self).map_or("", |(name, _)| name)
    }
}

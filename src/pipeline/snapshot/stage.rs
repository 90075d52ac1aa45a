//! The stages of the pipeline, and the names of their tensors.

use crate::scheduler::names;
use std::fmt;
use std::ops::Range;

/// Names of the tensors of stages before the scheduler's step.
const BEFORE_STEP: [&str; 12] = [
    "input_ids",
    "negative_input_ids",
    "prompt_weights",
    "negative_prompt_weights",
    "prompt_embeds",
    "negative_prompt_embeds",
    "init_image",
    "init_latents",
    "noise",
    "uncond_residual",
    "text_cond_residual",
    "guided_noise_residual",
];

/// Names of the stages' tensors, in the order of the run.
pub fn tensor_names() -> impl Iterator<Item = &'static str> {
    let of_step = names::TENSORS.iter().map(|(name, _)| *name);
    BEFORE_STEP.into_iter().chain(of_step).chain(["latents", "image"])
}

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Prompts → embeddings.
    EncodePrompt,
    /// A seed → noise.
    GetLatent,
    /// One denoising step.
    Denoise {
        /// Its number, from 0.
        step: usize,
    },
    /// Latents → an image.
    VaeDecode,
}

impl Stage {
    /// The stage's name, that of its function.
    pub fn name(self) -> &'static str {
        match self {
            Self::EncodePrompt => "encode_prompt",
            Self::GetLatent => "get_latent",
            Self::Denoise { .. } => "denoise",
            Self::VaeDecode => "vae_decode",
        }
    }

    /// The stage's name in a dump's keys: `denoise.012`.
    pub fn key(self) -> String {
        match self {
            Self::Denoise { step } => format!("denoise.{step:03}"),
            _ => self.name().into(),
        }
    }

    /// The stage of a dump's key: the inverse of [`key`](Self::key).
    pub fn of_key(key: &str) -> Option<Self> {
        match key.split_once('.') {
            Some(("denoise", step)) => step.parse().ok().map(|step| Self::Denoise { step }),
            _ => [Self::EncodePrompt, Self::GetLatent, Self::VaeDecode]
                .into_iter()
                .find(|stage| stage.name() == key),
        }
    }

    /// The stage at `index` of a run with these [`steps`](crate::pipeline::Request::steps); `None` after the last.
    pub fn at(index: usize, steps: &Range<usize>) -> Option<Self> {
        match index {
            0 => Some(Self::EncodePrompt),
            1 => Some(Self::GetLatent),
            i if i < steps.len() + 2 => Some(Self::Denoise { step: steps.start + i - 2 }),
            i if i == steps.len() + 2 => Some(Self::VaeDecode),
            _ => None,
        }
    }

    /// The index of the stage in a run with these steps: the inverse of [`at`](Self::at). A step that the run lacks has the index
    /// of the nearest one.
    pub fn index(self, steps: &Range<usize>) -> usize {
        match self {
            Self::EncodePrompt => 0,
            Self::GetLatent => 1,
            Self::Denoise { step } => step.clamp(steps.start, steps.end.max(steps.start)) - steps.start + 2,
            Self::VaeDecode => steps.len() + 2,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denoise { step } => write!(f, "denoise {step}"),
            _ => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn at_and_index_are_inverse(index in 0usize..2000, first in 0usize..50, steps in 0usize..1000) {
            let steps = first..first + steps;
            match Stage::at(index, &steps) {
                Some(stage) => prop_assert_eq!(stage.index(&steps), index),
                None => prop_assert!(index > steps.len() + 2),
            }
        }

        #[test]
        fn every_step_has_a_place(step in 0usize..2000, first in 0usize..50, steps in 0usize..1000) {
            let place = Stage::Denoise { step }.index(&(first..first + steps));
            prop_assert!((2..=steps + 2).contains(&place));
        }
    }

    #[test]
    fn keys_sort_as_steps_do() {
        assert_eq!(Stage::Denoise { step: 7 }.key(), "denoise.007");
        assert_eq!(Stage::Denoise { step: 7 }.to_string(), "denoise 7");
        assert_eq!(Stage::VaeDecode.key(), "vae_decode");
        for stage in [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 1234 }, Stage::VaeDecode]
        {
            assert_eq!(Stage::of_key(&stage.key()), Some(stage));
        }
        assert_eq!((Stage::of_key("denoise"), Stage::of_key("latents")), (None, None));
    }
}

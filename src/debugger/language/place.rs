//! Places to stop at: a stage, a module, a condition.

use crate::debugger::text::abridged;
use crate::nn::pattern::Pattern;
use crate::pipeline::Stage;
use std::fmt;
use tr::tr;

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

/// Where a breakpoint stops a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Before a stage.
    Before(Place),
    /// At modules: before each, or where its condition asks for what the module makes, after it.
    Module(Pattern),
    /// After any module or line of which the condition holds: `catch if EXPR`.
    Condition,
    /// After a stage that made NaN or infinity: `catch nan`.
    NotFinite,
}

impl fmt::Display for Stop {
    /// As `break` and `catch` name it; a condition is named with its expression.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(place) => place.fmt(f),
            Self::Module(pattern) => pattern.fmt(f),
            Self::Condition => f.write_str("if"),
            Self::NotFinite => f.write_str("nan"),
        }
    }
}

impl Stop {
    /// Whether a run that stands before `stage` is stopped there.
    pub fn is_at(&self, stage: Stage) -> bool {
        matches!(self, Self::Before(place) if place.is_at(stage))
    }
}

/// `encode_prompt`, `get_latent`, `denoise [K]` (also `denoise.012`), `vae_decode`.
pub fn parse_place(text: &str) -> Result<Place, String> {
    let expected = "encode_prompt, get_latent, denoise [K] or vae_decode";
    match text {
        "encode_prompt" => return Ok(Place::Stage(Stage::EncodePrompt)),
        "get_latent" => return Ok(Place::Stage(Stage::GetLatent)),
        "denoise" => return Ok(Place::AnyStep),
        "vae_decode" => return Ok(Place::Stage(Stage::VaeDecode)),
        "" => return Err(tr!("no stage named: {expected}", expected)),
        _ => {}
    }
    let step = text.strip_prefix("denoise").map(|rest| rest.trim_start_matches('.').trim());
    match step.map(str::parse) {
        Some(Ok(step)) => Ok(Place::Stage(Stage::Denoise { step })),
        _ => Err(tr!("`{}` is no stage: {expected}", abridged(text), expected)),
    }
}

/// A stage, or modules by a pattern: `unet.*.attn2`.
pub fn parse_stop(text: &str) -> Result<Stop, String> {
    match parse_place(text) {
        Ok(place) => Ok(Stop::Before(place)),
        // Names of stages have no dot but `denoise.012`.
        Err(_) if text.contains(['.', '*']) || MODELS.contains(&text) => {
            Pattern::parse(text).map(Stop::Module).map_err(|e| e.to_string())
        }
        Err(e) => Err(tr!("{e}, or a module such as unet.mid_block", e)),
    }
}

/// The models whose modules can be named.
const MODELS: [&str; 3] = ["text_encoder", "unet", "vae"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = Place> {
        let fixed = [Stage::EncodePrompt, Stage::GetLatent, Stage::VaeDecode].map(Place::Stage);
        let step = any::<usize>().prop_map(|step| Place::Stage(Stage::Denoise { step }));
        prop_oneof![prop::sample::select(fixed.to_vec()), step, Just(Place::AnyStep)]
    }

    proptest! {
        #[test]
        fn a_place_is_written_and_parsed_again(place in places()) {
            prop_assert_eq!(parse_place(&place.to_string()), Ok(place));
            prop_assert_eq!(parse_stop(&place.to_string()), Ok(Stop::Before(place)));
        }

        #[test]
        fn a_stop_at_modules_is_written_and_parsed_again(path in "(text_encoder|unet|vae)(\\.[a-z0-9_*]{1,8}){0,4}") {
            let stop = parse_stop(&path).unwrap();
            prop_assert!(matches!(stop, Stop::Module(_)));
            prop_assert_eq!(parse_stop(&stop.to_string()), Ok(stop));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (parse_place(&text), parse_stop(&text));
        }
    }
}

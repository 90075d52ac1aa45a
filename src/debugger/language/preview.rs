//! Which steps the VAE decodes.

use crate::debugger::text::abridged;
use crate::pipeline::Stage;
use std::fmt;

/// The steps whose latents the VAE decodes while nothing else is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviewPolicy {
    /// Every N-th.
    Every(usize),
    /// None.
    Off,
}

impl Default for PreviewPolicy {
    fn default() -> Self {
        Self::Every(1)
    }
}

impl PreviewPolicy {
    /// Parses `every`, `every N`, `off`.
    ///
    /// # Errors
    /// What was found and what would be right, in a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let n = match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["off"] => return Ok(Self::Off),
            ["every" | "on"] => Some(1),
            ["every", n] => n.parse().ok().filter(|n| *n > 0),
            _ => None,
        };
        n.map(Self::Every).ok_or_else(|| format!("preview cannot be `{}`: every N or off", abridged(text)))
    }

    /// Whether the VAE decodes the pictures of `stage`.
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

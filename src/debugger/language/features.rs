//! `show features` and `show timemap`: feature maps, and how they are drawn.

use super::arguments::Look;
use crate::debugger::text::{abridged, words};
use crate::nn::pattern::Pattern;
use crate::picture::features::{Drawn, Row};
use std::path::PathBuf;
use tr::tr;

/// Feature maps, and how they are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeatureQuery {
    /// The module.
    pub path: String,
    /// How its channels are drawn.
    pub drawn: Drawn,
    /// Which row of the batch.
    pub row: Row,
}

/// `features PATH [HOW] [ROW]` and `timemap [within X]`; to be saved, with a file after the path or the word.
pub(super) fn parse(rest: &str, saves: bool) -> Result<(Look, Option<PathBuf>), String> {
    let words = words(rest);
    let taken = |from: usize| -> Result<(Option<PathBuf>, &[&str]), String> {
        match (saves, words.get(from)) {
            (false, _) => Ok((None, words.get(from..).unwrap_or_default())),
            (true, Some(file)) => Ok((Some((*file).into()), &words[from + 1..])),
            (true, None) => Err(tr!("a file is needed, which ends with .png")),
        }
    };
    if words.first() == Some(&"timemap") {
        let (file, rest) = taken(1)?;
        return Ok((time_map(rest)?, file));
    }
    let path = *words.get(1).ok_or("no module named, such as unet.mid_block")?;
    if !Pattern::parse(path).is_ok_and(|pattern| pattern.is_one()) {
        return Err(tr!("`{}` is not the path of one module, such as unet.mid_block", abridged(path)));
    }
    let (file, rest) = taken(2)?;
    let mut asked = FeatureQuery { path: path.into(), drawn: Drawn::default(), row: Row::default() };
    for word in rest {
        let drawn = Drawn::ALL.iter().find(|(name, _)| name == word);
        let row = Row::ALL.iter().find(|(name, _)| name == word);
        match (drawn, row) {
            (Some((_, drawn)), _) => asked.drawn = *drawn,
            (_, Some((_, row))) => asked.row = *row,
            _ => {
                let rows = Row::ALL.iter().map(|(name, _)| *name);
                let known =
                    Drawn::ALL.iter().map(|(name, _)| *name).chain(rows).collect::<Vec<_>>().join(", ");
                return Err(tr!("`{}` is no way to draw features, which are {known}", abridged(word), known));
            }
        }
    }
    Ok((Look::Features(asked), file))
}

/// `[within X]`.
fn time_map(rest: &[&str]) -> Result<Look, String> {
    match rest {
        [] => Ok(Look::TimeMap { within: None }),
        ["within", x] => {
            let within: Option<f64> = x.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.);
            let within = within.ok_or_else(|| tr!("`{}` is no tolerance of 0 or more", abridged(x)))?;
            Ok(Look::TimeMap { within: Some(within) })
        }
        _ => Err(tr!("`{}` is not expected after timemap", abridged(&rest.join(" ")))),
    }
}

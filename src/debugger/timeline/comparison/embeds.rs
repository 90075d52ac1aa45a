//! How far the embeddings of variants are apart, pair by pair: what other prompts, or another `prompt_syntax`, make of the same text.

use crate::pipeline::Snapshot;
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use serde::Serialize;
use std::fmt;
use tr::tr;

const NAME: &str = "prompt_embeds";

/// The distance of the embeddings of two variants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbedsApart {
    /// Both timelines.
    pub timelines: [String; 2],
    /// The rows of each: 77 a chunk.
    pub rows: [usize; 2],
    /// ‖first − second‖ / ‖second‖, of the rows that both have.
    pub difference: f64,
}

impl fmt::Display for EmbedsApart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([a, b], [rows, others]) = (&self.timelines, self.rows);
        let common = match rows == others {
            true => tr!("{rows} rows", rows),
            false => tr!("the first {} of {rows} and {others} rows", rows.min(others), rows, others),
        };
        let difference = format_args!("{:.4}", self.difference);
        f.write_str(&tr!(
            "{NAME} of {a} and {b}: relative difference {difference} ({common})",
            NAME,
            a,
            b,
            difference,
            common
        ))
    }
}

/// The distances between the embeddings of each two variants whose prompts are in different languages.
///
/// # Errors
/// When a tensor cannot be copied from its device.
pub fn embeds_apart(variants: &[(&str, &Snapshot)]) -> candle_core::Result<Vec<EmbedsApart>> {
    let mut apart = vec![];
    for (place, (a, ours)) in variants.iter().enumerate() {
        for (b, theirs) in &variants[place + 1..] {
            if ours.request().prompt_syntax == theirs.request().prompt_syntax {
                continue;
            }
            let (Some((_, ours)), Some((_, theirs))) = (ours.tensor(NAME), theirs.tensor(NAME)) else {
                continue;
            };
            let rows = [ours.dim(1)?, theirs.dim(1)?];
            let common = rows[0].min(rows[1]);
            let [ours, theirs] = [ours, theirs].map(|embeds| PlainTensor::of(&embeds.narrow(1, 0, common)?));
            let difference = relative_difference(ours?.data(), theirs?.data());
            apart.push(EmbedsApart { timelines: [a.to_string(), b.to_string()], rows, difference });
        }
    }
    Ok(apart)
}

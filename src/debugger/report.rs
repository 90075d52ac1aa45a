//! What a command shows, as text and as JSON.

use super::attended::{AttentionReport, EffectReport};
use super::command::Command;
use super::comparison::VariantRow;
use super::examine::ModuleRow;
use super::value::TensorValue;
use crate::picture::Picture;
use crate::pipeline::{Stage, StageRecord};
use crate::tensor::{PlainTensor, Summary};
use serde::Serialize;
use std::fmt::Write;

/// A row of the tensor table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorRow {
    /// The tensor's name: diffusers'.
    pub name: String,
    /// The stage that made it, as in a dump's keys; empty for the value of an expression.
    pub stage: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its dtype on the device.
    pub dtype: &'static str,
    /// Its statistics.
    #[serde(flatten)]
    pub summary: Summary,
}

impl TensorRow {
    /// The row of a tensor that `stage` made.
    pub fn new(name: &str, stage: Option<Stage>, tensor: &PlainTensor) -> Self {
        Self {
            name: name.into(),
            stage: stage.map(Stage::key).unwrap_or_default(),
            shape: tensor.shape().into(),
            dtype: tensor.dtype().as_str(),
            summary: tensor.into(),
        }
    }

    /// The row of an expression's value.
    pub fn of_value(name: &str, value: &TensorValue) -> Self {
        Self { summary: *value.summary(), ..Self::new(name, None, value.tensor()) }
    }

    /// The rows of everything that a stage left behind.
    ///
    /// # Errors
    /// When a tensor cannot be copied from its device.
    pub fn of_record(record: &StageRecord) -> candle_core::Result<Vec<Self>> {
        let row = |(name, tensor): &(&'static str, _)| {
            Ok(Self::new(name, Some(record.stage), &PlainTensor::of(tensor)?))
        };
        record.tensors.iter().map(row).collect()
    }
}

/// What a command did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// The command as it was given.
    pub command: String,
    /// The stage that runs next, or `complete`.
    pub position: String,
    /// What there is to say, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// What a reader should know: a prompt that was cut, stages that were dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why a run stopped before it was told to: a breakpoint, an interruption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The value of an expression that is no tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// Tensors: those of the stage that ran, or those asked for.
    pub tensors: Vec<TensorRow>,
    /// Modules that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleRow>,
    /// What is compared, a variant each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantRow>,
    /// What differs between two runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diffs: Vec<DiffRow>,
    /// What words or a point look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<AttentionReport>,
    /// What a word does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectReport>,
    /// The picture to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<ShownPicture>,
    /// What is displayed after every stop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub displays: Vec<Displayed>,
    /// Whether the command was `quit`.
    #[serde(skip)]
    pub quit: bool,
}

/// How far a tensor is from its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiffRow {
    /// Its key in a dump, or its name.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The reference's.
    pub reference_shape: Vec<usize>,
    /// ‖ours − reference‖ / ‖reference‖; `None` where the shapes differ.
    pub relative: Option<f64>,
    /// The largest difference of a value.
    pub max_abs: Option<f64>,
}

/// A picture that was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct ShownPicture {
    /// The tensor's name.
    pub name: String,
    /// How the pixels came from the tensor.
    pub label: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The picture.
    #[serde(skip)]
    pub picture: Picture,
}

/// An expression that is displayed after every stop, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Displayed {
    /// Its number, from 1.
    pub id: usize,
    /// The expression.
    pub expression: String,
    /// Its value as text; of a tensor its shape and statistics.
    pub value: String,
}

impl std::fmt::Display for Displayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} = {}", self.id, self.expression, self.value)
    }
}

impl Outcome {
    /// The outcome as lines of text, without its warnings, which go elsewhere.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.messages.iter().chain(&self.stopped) {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&table(&self.tensors));
        text.push_str(&module_table(&self.modules));
        text.push_str(&variant_table(&self.variants));
        text.push_str(&diff_table(&self.diffs));
        text.push_str(&self.attention.as_ref().map_or(String::new(), AttentionReport::table));
        text.push_str(&self.effect.as_ref().map_or(String::new(), EffectReport::table));
        for displayed in &self.displays {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{displayed}");
        }
        text
    }

    /// What it said in few short lines, for a narrow place: of a move where it came to, of a tensor what it is told by.
    pub fn brief(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.messages.iter().chain(&self.stopped).cloned().collect();
        let command = Command::parse(&self.command).ok().flatten();
        if !command.is_some_and(|command| command.moves()) {
            lines.extend(self.tensors.iter().map(|row| {
                let s = &row.summary;
                let [mean, std, min, max] = [s.mean, s.std, s.min, s.max].map(number);
                let bad = if s.nan + s.inf == 0 {
                    String::new()
                } else {
                    format!(", {} not finite", s.nan + s.inf)
                };
                format!("{} {}: mean {mean}, std {std}, {min} to {max}{bad}", row.name, shape(&row.shape))
            }));
        }
        lines.extend(self.diffs.iter().map(|row| match row.relative {
            Some(relative) => format!("{}: {relative:.2e} of its length", row.tensor),
            None => format!("{}: {} against {}", row.tensor, shape(&row.shape), shape(&row.reference_shape)),
        }));
        lines.extend(self.displays.iter().map(ToString::to_string));
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }
}

/// The tensor table as text; empty without rows.
pub fn table(rows: &[TensorRow]) -> String {
    let heads = ["name", "shape", "dtype", "mean", "std", "min", "max", "nan", "inf"];
    let cells = rows.iter().map(|row| {
        let s = &row.summary;
        let [mean, std, min, max] = [s.mean, s.std, s.min, s.max].map(number);
        let (name, dtype) = (full_name(row, rows), row.dtype.to_string());
        vec![name, shape(&row.shape), dtype, mean, std, min, max, s.nan.to_string(), s.inf.to_string()]
    });
    aligned(&heads, 3, &cells.collect::<Vec<_>>())
}

/// Modules as text; empty without any.
fn module_table(rows: &[ModuleRow]) -> String {
    let heads =
        ["module", "parameters", "in", "out", "dtype", "ms", "mean", "std", "min", "max", "nan", "inf"];
    let cells = rows.iter().map(|row| {
        let mut cells = vec![row.path.clone(), grouped(row.parameters)];
        match &row.made {
            Some(made) => {
                let s = &made.summary;
                let inputs = made.inputs.iter().map(|input| shape(input)).collect::<Vec<_>>().join(" ");
                cells.extend([
                    inputs,
                    shape(&made.shape),
                    made.dtype.into(),
                    format!("{:.2}", made.milliseconds),
                ]);
                cells.extend([s.mean, s.std, s.min, s.max].map(number));
                cells.extend([s.nan.to_string(), s.inf.to_string()]);
            }
            None => cells.extend((2..heads.len()).map(|_| "–".to_string())),
        }
        cells
    });
    aligned(&heads, 1, &cells.collect::<Vec<_>>())
}

/// A count with its thousands apart: `859 520 964`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes().iter().enumerate().map(|(at, digit)| {
        let gap = if at > 0 && at % 3 == first { " " } else { "" };
        format!("{gap}{}", *digit as char)
    });
    groups.collect()
}

/// Variants as text; empty without any.
fn variant_table(rows: &[VariantRow]) -> String {
    let heads = ["timeline", "stage", "std", "‖uncond‖", "‖text‖", "cosine", "from base"];
    let some = |value: Option<f64>| value.map_or_else(|| "–".to_string(), number);
    let cells = rows.iter().map(|row| {
        let figures = &row.figures;
        let numbers = [figures.std, figures.uncond_norm, figures.text_norm, figures.cosine, row.difference];
        [row.timeline.clone(), row.stage.clone()].into_iter().chain(numbers.map(some)).collect::<Vec<_>>()
    });
    aligned(&heads, 2, &cells.collect::<Vec<_>>())
}

/// Differences as text; empty without any.
fn diff_table(rows: &[DiffRow]) -> String {
    let heads = ["tensor", "shape", "relative", "largest"];
    let cells = rows.iter().map(|row| match (row.relative, row.max_abs) {
        (Some(relative), Some(largest)) => {
            vec![row.tensor.clone(), shape(&row.shape), format!("{relative:.2e}"), format!("{largest:.2e}")]
        }
        _ => {
            let shapes = format!("{} against {}", shape(&row.shape), shape(&row.reference_shape));
            vec![row.tensor.clone(), shapes, "–".into(), "–".into()]
        }
    });
    aligned(&heads, 2, &cells.collect::<Vec<_>>())
}

/// A table of texts: the first `left` columns to the left, the others to the right.
pub(super) fn aligned(heads: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < left { format!("  {cell:width$}") } else { format!("  {cell:>width$}") }
        });
        cells.collect::<String>().trim_end().to_string() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(heads.to_vec())).chain(rows).collect()
}

/// A row's name, with its stage where the table has rows of several.
fn full_name(row: &TensorRow, rows: &[TensorRow]) -> String {
    let several = rows.iter().any(|other| other.stage != row.stage);
    if several { format!("{}/{}", row.stage, row.name) } else { row.name.clone() }
}

/// A shape as a table shows it: `1×4×16×16`.
pub fn shape(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "scalar".into();
    }
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// A number in at most ten characters.
pub fn number(v: f64) -> String {
    let magnitude = v.abs();
    if v.is_nan() {
        "NaN".into()
    } else if magnitude == 0. || (1e-3..1e5).contains(&magnitude) {
        format!("{v:.4}")
    } else {
        format!("{v:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_ten_characters() {
        for v in [0., -1., 12345.6789, -99999.9, 1e-9, -f64::MAX, f64::NAN, f64::INFINITY] {
            assert!(number(v).len() <= 11, "{}", number(v));
        }
        assert_eq!(number(-0.12345), "-0.1235");
        assert_eq!(number(3.2e-7), "3.20e-7");
    }

    #[test]
    fn a_nan_is_null_in_json() {
        let tensor = PlainTensor::from_values(&[1], vec![f32::NAN]).unwrap();
        let json = serde_json::to_value(TensorRow::new("latents", Some(Stage::GetLatent), &tensor)).unwrap();
        assert_eq!(json["mean"], serde_json::Value::Null);
        assert_eq!(json["nan"], 1);
        assert_eq!(json["stage"], "get_latent");
    }
}

//! What a command shows, as text and as JSON. `attention`: the reports on attention and on the effect of a word. `lora`: those on LoRAs.
//! `tables`: variants and differences.

pub mod attention;
pub mod lora;
mod tables;

use super::inspect::ModuleRow;
use super::record::TensorRow;
use super::text::{aligned, grouped, number, shape};
use super::timeline::comparison::{EmbedsApart, VariantRow};
use crate::picture::Picture;
use attention::{AttentionReport, EffectReport};
use lora::LoraEffect;
use serde::ser::{Serialize, SerializeMap, Serializer};
use tables::{diff_table, variant_table};
use tr::tr;

/// What a command did, and what it shows.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The command as it was given.
    pub command: String,
    /// The stage that runs next, or `complete`.
    pub position: String,
    /// Messages, a line each.
    pub messages: Vec<String>,
    /// Warnings: a prompt that was cut, stages that were dropped.
    pub warnings: Vec<String>,
    /// Why a run stopped early: a breakpoint, an interruption.
    pub stopped: Option<String>,
    /// What it shows, in the order of [`Shown`], each kind at most once: [`show`](Self::show) keeps it so.
    pub shown: Vec<Shown>,
    /// Whether the command moved the cursor, so that the tensors are those of the place it moved to.
    pub moved: bool,
    /// What its messages are.
    pub form: Form,
    /// Whether the command was `quit`.
    pub quit: bool,
}

/// What the messages of a command are, for an interface that lays them out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Sentences: a few of them need no page.
    #[default]
    Sentences,
    /// A text to be read on a page of its own: help.
    Page,
    /// Lines of code, which are not wrapped.
    Code,
}

/// Something that a command shows. The order of the variants is the order on screen and in JSON.
#[derive(Debug, Clone)]
pub enum Shown {
    /// The value of an expression that is no tensor, or the answer of `info` as data.
    Value(serde_json::Value),
    /// Tensors: those of the stage that ran, or those asked for.
    Tensors(Vec<TensorRow>),
    /// Modules.
    Modules(Vec<ModuleRow>),
    /// The compared variants.
    Variants(Vec<VariantRow>),
    /// How far the embeddings of variants are apart.
    Embeds(Vec<EmbedsApart>),
    /// The tensors that differ between two runs.
    Diffs(Vec<DiffRow>),
    /// Where words or a point attend.
    Attention(AttentionReport),
    /// What a word does.
    Effect(EffectReport),
    /// What LoRAs do.
    Lora(LoraEffect),
    /// A picture.
    Picture(ShownPicture),
    /// The displayed expressions.
    Displays(Vec<Displayed>),
}

impl Shown {
    /// Its place in the order.
    fn rank(&self) -> usize {
        match self {
            Self::Value(_) => 0,
            Self::Tensors(_) => 1,
            Self::Modules(_) => 2,
            Self::Variants(_) => 3,
            Self::Embeds(_) => 4,
            Self::Diffs(_) => 5,
            Self::Attention(_) => 6,
            Self::Effect(_) => 7,
            Self::Lora(_) => 8,
            Self::Picture(_) => 9,
            Self::Displays(_) => 10,
        }
    }

    /// Whether it is an empty list, which is not shown.
    fn is_empty(&self) -> bool {
        match self {
            Self::Tensors(rows) => rows.is_empty(),
            Self::Modules(rows) => rows.is_empty(),
            Self::Variants(rows) => rows.is_empty(),
            Self::Embeds(pairs) => pairs.is_empty(),
            Self::Diffs(rows) => rows.is_empty(),
            Self::Displays(rows) => rows.is_empty(),
            Self::Value(_) | Self::Attention(_) | Self::Effect(_) | Self::Lora(_) | Self::Picture(_) => false,
        }
    }

    /// As lines of text. A value and a picture have none: messages say what they are.
    fn text(&self) -> String {
        match self {
            Self::Value(_) | Self::Picture(_) => String::new(),
            Self::Tensors(rows) => table(rows),
            Self::Modules(rows) => module_table(rows),
            Self::Variants(rows) => variant_table(rows),
            Self::Embeds(pairs) => pairs.iter().map(|pair| format!("{pair}\n")).collect(),
            Self::Diffs(rows) => diff_table(rows),
            Self::Attention(report) => report.table(),
            Self::Effect(report) => report.table(),
            Self::Lora(report) => report.table(),
            Self::Displays(rows) => rows.iter().map(|row| format!("{row}\n")).collect(),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("command", &self.command)?;
        map.serialize_entry("position", &self.position)?;
        if !self.messages.is_empty() {
            map.serialize_entry("messages", &self.messages)?;
        }
        if !self.warnings.is_empty() {
            map.serialize_entry("warnings", &self.warnings)?;
        }
        if let Some(stopped) = &self.stopped {
            map.serialize_entry("stopped", stopped)?;
        }
        // The list of tensors is always there, also an empty one.
        let has_tensors = self.shown.iter().any(|shown| matches!(shown, Shown::Tensors(_)));
        let none = (!has_tensors).then(|| Shown::Tensors(vec![]));
        let mut shown: Vec<&Shown> = self.shown.iter().chain(&none).collect();
        shown.sort_by_key(|shown| shown.rank());
        for shown in shown {
            match shown {
                Shown::Value(value) => map.serialize_entry("value", value)?,
                Shown::Tensors(rows) => map.serialize_entry("tensors", rows)?,
                Shown::Modules(rows) => map.serialize_entry("modules", rows)?,
                Shown::Variants(rows) => map.serialize_entry("variants", rows)?,
                Shown::Embeds(pairs) => map.serialize_entry("embeds", pairs)?,
                Shown::Diffs(rows) => map.serialize_entry("diffs", rows)?,
                Shown::Attention(report) => map.serialize_entry("attention", report)?,
                Shown::Effect(report) => map.serialize_entry("effect", report)?,
                Shown::Lora(report) => map.serialize_entry("lora", report)?,
                Shown::Picture(picture) => map.serialize_entry("picture", picture)?,
                Shown::Displays(rows) => map.serialize_entry("displays", rows)?,
            }
        }
        map.end()
    }
}

/// How far a tensor is from its reference.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
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
#[derive(Debug, Clone, serde::Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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
    /// The outcome of a command that says one line.
    pub fn message(text: impl Into<String>) -> Self {
        Self::lines(vec![text.into()])
    }

    /// The outcome of a command that says some lines.
    pub fn lines(messages: Vec<String>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// The same, showing something more.
    pub fn showing(mut self, shown: Shown) -> Self {
        self.show(shown);
        self
    }

    /// Shows something more; of the same kind, in its place.
    pub fn show(&mut self, shown: Shown) {
        self.shown.retain(|known| known.rank() != shown.rank());
        if !shown.is_empty() {
            let place = self.shown.partition_point(|known| known.rank() < shown.rank());
            self.shown.insert(place, shown);
        }
    }

    fn find<'a, T>(&'a self, of: impl Fn(&'a Shown) -> Option<T>) -> Option<T> {
        self.shown.iter().find_map(of)
    }

    /// The tensors that it shows.
    pub fn tensors(&self) -> &[TensorRow] {
        self.find(|shown| if let Shown::Tensors(rows) = shown { Some(&rows[..]) } else { None })
            .unwrap_or_default()
    }

    /// The variants that it shows.
    pub fn variants(&self) -> &[VariantRow] {
        self.find(|shown| if let Shown::Variants(rows) = shown { Some(&rows[..]) } else { None })
            .unwrap_or_default()
    }

    /// The differences that it shows.
    pub fn diffs(&self) -> &[DiffRow] {
        self.find(|shown| if let Shown::Diffs(rows) = shown { Some(&rows[..]) } else { None })
            .unwrap_or_default()
    }

    /// The displayed expressions that it shows.
    pub fn displays(&self) -> &[Displayed] {
        self.find(|shown| if let Shown::Displays(rows) = shown { Some(&rows[..]) } else { None })
            .unwrap_or_default()
    }

    /// The value that it shows.
    pub fn value(&self) -> Option<&serde_json::Value> {
        self.find(|shown| if let Shown::Value(value) = shown { Some(value) } else { None })
    }

    /// The effect of a word that it shows.
    pub fn effect(&self) -> Option<&EffectReport> {
        self.find(|shown| if let Shown::Effect(report) = shown { Some(report) } else { None })
    }

    /// The picture that it shows.
    pub fn picture(&self) -> Option<&ShownPicture> {
        self.find(|shown| if let Shown::Picture(picture) = shown { Some(picture) } else { None })
    }

    /// The outcome as lines of text, without its warnings, which go elsewhere.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.messages.iter().chain(&self.stopped) {
            text.push_str(line);
            text.push('\n');
        }
        self.shown.iter().for_each(|shown| text.push_str(&shown.text()));
        text
    }

    /// The outcome in few short lines, for a narrow place. After a move the tensors are left out: the views show them.
    pub fn brief(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.messages.iter().chain(&self.stopped).cloned().collect();
        if !self.moved {
            lines.extend(self.tensors().iter().map(|row| {
                let s = &row.summary;
                let [mean, std, min, max] = [s.mean, s.std, s.min, s.max].map(number);
                let bad =
                    if s.nan + s.inf == 0 { String::new() } else { tr!(", {} not finite", s.nan + s.inf) };
                tr!(
                    "{} {}: mean {mean}, std {std}, {min} to {max}{bad}",
                    row.name,
                    shape(&row.shape),
                    mean,
                    std,
                    min,
                    max,
                    bad
                )
            }));
        }
        lines.extend(self.diffs().iter().map(|row| match row.relative {
            Some(relative) => format!("{}: {relative:.2e} relative L2", row.tensor),
            None => format!("{}: {} against {}", row.tensor, shape(&row.shape), shape(&row.reference_shape)),
        }));
        lines.extend(self.displays().iter().map(ToString::to_string));
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
        let mut cells = vec![row.path.clone(), row.parameters.map_or(String::new(), grouped)];
        match &row.made {
            Some(made) => {
                let s = &made.summary;
                let inputs = made.inputs.iter().map(|input| shape(input)).collect::<Vec<_>>().join(" ");
                cells.extend([
                    inputs,
                    shape(&made.shape),
                    made.dtype.into(),
                    made.milliseconds.map_or(String::new(), |ms| format!("{ms:.2}")),
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

/// A row's name, with its stage where the table has rows of several.
fn full_name(row: &TensorRow, rows: &[TensorRow]) -> String {
    let several = rows.iter().any(|other| other.stage != row.stage);
    if several { format!("{}/{}", row.stage, row.name) } else { row.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Stage;
    use crate::tensor::PlainTensor;

    #[test]
    fn a_nan_is_null_in_json() {
        let tensor = PlainTensor::from_values(&[1], vec![f32::NAN]).unwrap();
        let json = serde_json::to_value(TensorRow::new("latents", Some(Stage::GetLatent), &tensor)).unwrap();
        assert_eq!(json["mean"], serde_json::Value::Null);
        assert_eq!(json["nan"], 1);
        assert_eq!(json["stage"], "get_latent");
    }
}

//! A tensor changed by hand: `latents[0,:,8,8] = 0`, `prompt_embeds *= 1.5`.

use super::expression::{Answer, Expression, ExpressionError};
use crate::nn::error::without_backtrace;
use crate::pipeline::Snapshot;
use crate::tensor::PlainTensor;
use candle_core::Tensor;

/// What goes into later stages, and so is worth changing.
pub const EDITABLE: [&str; 3] = ["latents", "prompt_embeds", "negative_prompt_embeds"];

/// A change of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The tensor.
    name: String,
    /// Of each dimension, the part that is changed; all of those that are not named.
    part: Vec<Part>,
    operation: Operation,
    value: Expression,
    /// The edit as it was typed.
    text: String,
}

/// A part of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `:`, `2..`, `..5`, `2..5`: the end is not in it.
    Range(Option<i64>, Option<i64>),
    /// `8`; counted from the end where it is negative.
    One(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put,
    Multiply,
    Add,
}

/// Why a tensor was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The value is none.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// What is wrong, and what would be right.
    #[error("{0}")]
    Wrong(String),
    /// The device's.
    #[error("a tensor could not be copied from or to its device: {0}")]
    Device(candle_core::Error),
}

impl From<candle_core::Error> for EditError {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(without_backtrace(error))
    }
}

impl Edit {
    /// Parses `NAME[PARTS] = EXPR`, with `*=` or `+=` as well. `None` where it is not of that form.
    ///
    /// # Errors
    /// What is wrong with a part or the expression, in a line.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (left, right) = text.split_once('=')?;
        let (left, operation) = match left.trim_end() {
            left if left.ends_with('*') => (left.trim_end_matches('*'), Operation::Multiply),
            left if left.ends_with('+') => (left.trim_end_matches('+'), Operation::Add),
            left => (left, Operation::Put),
        };
        let left = left.trim();
        let (name, part) = match left.split_once('[') {
            Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(']'))),
            None => (left, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        Some(Self::of(name, part, operation, right.trim(), text.trim()))
    }

    fn of(
        name: &str,
        part: Option<Option<&str>>,
        operation: Operation,
        value: &str,
        text: &str,
    ) -> Result<Self, String> {
        if !EDITABLE.contains(&name) {
            return Err(format!(
                "`{}` is neither a setting nor a tensor that goes into what comes next: {}",
                super::arguments::abridged(name),
                EDITABLE.join(", ")
            ));
        }
        let part = match part {
            None => vec![],
            Some(None) => {
                return Err(format!("`{}` has no `]` at its end", super::arguments::abridged(text)));
            }
            Some(Some(parts)) => parts.split(',').map(parse_part).collect::<Result<_, _>>()?,
        };
        let value = Expression::compile(value).map_err(|e| e.to_string())?;
        Ok(Self { name: name.into(), part, operation, value, text: text.into() })
    }

    /// The edit as it was typed, behind `set`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tensor that it changes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The run with the tensor changed.
    ///
    /// # Errors
    /// [`EditError`] says what was found and what would be right.
    pub fn apply(&self, snapshot: &Snapshot) -> Result<Snapshot, EditError> {
        let missing = || EditError::Wrong(format!("{} is not there yet; `next` makes it", self.name));
        let (_, tensor) = snapshot.tensor(&self.name).ok_or_else(missing)?;
        let shape = tensor.dims().to_vec();
        let places = self.places(&shape)?;
        let count = places.len();
        let new: Vec<f32> = match self.value.evaluate(snapshot)? {
            Answer::Number(number) => vec![number as f32; count],
            Answer::Text(text) => match text.parse::<f32>() {
                Ok(number) => vec![number; count],
                Err(_) => return Err(self.no_value(&text)),
            },
            Answer::Tensor(value) if value.tensor().data().len() == count => value.tensor().data().to_vec(),
            Answer::Tensor(value) => {
                return Err(EditError::Wrong(format!(
                    "`{}` has the shape {:?}, {} values; {} are changed",
                    self.value.text(),
                    value.tensor().shape(),
                    value.tensor().data().len(),
                    count
                )));
            }
            Answer::Bool(truth) => return Err(self.no_value(&truth.to_string())),
        };
        let mut values = PlainTensor::of(tensor)?.data().to_vec();
        for (place, new) in places.into_iter().zip(new) {
            match self.operation {
                Operation::Put => values[place] = new,
                Operation::Multiply => values[place] *= new,
                Operation::Add => values[place] += new,
            }
        }
        let changed = Tensor::from_vec(values, shape, tensor.device())?.to_dtype(tensor.dtype())?;
        snapshot.with_tensor(&self.name, changed, &self.text).ok_or_else(missing)
    }

    fn no_value(&self, found: &str) -> EditError {
        EditError::Wrong(format!("`{}` is {found}; expected a tensor or a number", self.value.text()))
    }

    /// The places of the values that are changed, in row-major order.
    fn places(&self, shape: &[usize]) -> Result<Vec<usize>, EditError> {
        if self.part.len() > shape.len() {
            return Err(EditError::Wrong(format!(
                "{} has {} dimensions, {shape:?}; {} are named",
                self.name,
                shape.len(),
                self.part.len()
            )));
        }
        let mut places = vec![0];
        for (dimension, size) in shape.iter().enumerate() {
            let range = match self.part.get(dimension) {
                None => 0..*size,
                Some(part) => part.within(*size).ok_or_else(|| {
                    EditError::Wrong(format!(
                        "dimension {dimension} of {} has {size} places; `{}` is not among them",
                        self.name, part
                    ))
                })?,
            };
            places = places
                .into_iter()
                .flat_map(|place: usize| range.clone().map(move |index| place * size + index))
                .collect();
        }
        Ok(places)
    }
}

impl Part {
    /// The places of a dimension of `size` that it means; `None` where it has none, or lies beyond.
    fn within(self, size: usize) -> Option<std::ops::Range<usize>> {
        let at = |index: i64| {
            let index = if index < 0 { index.checked_add(size as i64)? } else { index };
            usize::try_from(index).ok()
        };
        let range = match self {
            Self::One(index) => at(index)?..at(index)? + 1,
            Self::Range(from, to) => from.map_or(Some(0), at)?..to.map_or(Some(size), at)?,
        };
        (range.start < range.end && range.end <= size).then_some(range)
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = |end: Option<i64>| end.map_or(String::new(), |end| end.to_string());
        match self {
            Self::One(index) => write!(f, "{index}"),
            Self::Range(None, None) => f.write_str(":"),
            Self::Range(from, to) => write!(f, "{}..{}", end(*from), end(*to)),
        }
    }
}

/// `:`, `8`, `-1`, `2..5`, `2..`, `..5`.
fn parse_part(text: &str) -> Result<Part, String> {
    let text = text.trim();
    let wrong = || {
        let found = super::arguments::abridged(text);
        format!("`{found}` is no part of a dimension: expected a number, a..b or :")
    };
    let end = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| wrong()),
    };
    match text.split_once("..") {
        _ if text == ":" => Ok(Part::Range(None, None)),
        Some((from, to)) => Ok(Part::Range(end(from)?, end(to)?)),
        None => Ok(Part::One(text.parse().map_err(|_| wrong())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Edit {
        Edit::parse(text).unwrap().unwrap()
    }

    #[test]
    fn parts_are_places_in_row_major_order() {
        let places = |text: &str| parsed(text).places(&[1, 2, 2, 3]).unwrap();
        assert_eq!(places("latents = 0"), (0..12).collect::<Vec<_>>());
        assert_eq!(places("latents[0,:,1,2] = 0"), [5, 11]);
        assert_eq!(places("latents[0, 1, 0..2, -2..] *= 2"), [7, 8, 10, 11]);
        assert_eq!(places("latents[0,-1] += 1"), (6..12).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| Edit::parse(text).unwrap().unwrap_err();
        assert!(said("image = 0").contains("`image` is neither a setting nor a tensor"));
        assert!(said("latents[0,x] = 0").contains("`x` is no part"));
        assert!(said("latents[0 = 0").contains("no `]`"));
        assert!(said("latents = ").contains("expression") || !said("latents = ").is_empty());
        let beyond = |text: &str| parsed(text).places(&[1, 4]).unwrap_err().to_string();
        assert!(
            beyond("latents[0,4] = 0").contains("dimension 1 of latents has 4 places; `4` is not among them")
        );
        assert!(beyond("latents[0,3..2] = 0").contains("`3..2`"));
        assert!(beyond("latents[0,0,0] = 0").contains("3 are named"));
        assert!(Edit::parse("guidance scale 7").is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = Edit::parse(&text);
        }

        #[test]
        fn no_part_makes_it_panic(part in "[0-9:., -]{0,24}", a in 0usize..5, b in 1usize..5) {
            let edit = Edit::parse(&format!("latents[{part}] = 1"));
            let places = edit.and_then(Result::ok).and_then(|edit| edit.places(&[a, b]).ok());
            prop_assert!(places.unwrap_or_default().iter().all(|place| *place < a * b));
        }
    }
}

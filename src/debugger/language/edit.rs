//! A tensor changed by hand: `latents[0,:,8,8] = 0`, `prompt_embeds *= 1.5`.

use crate::debugger::expr::names::Resolver;
use crate::debugger::expr::slice::{Indices, Slice};
use crate::debugger::expr::{Answer, Expression, ExpressionError};
use crate::debugger::text::abridged;
use crate::nn::error::without_backtrace;
use crate::pipeline::Snapshot;
use crate::tensor::PlainTensor;
use candle_core::Tensor;

/// The tensors that later stages take as inputs.
pub const EDITABLE: [&str; 3] = ["latents", "prompt_embeds", "negative_prompt_embeds"];

/// A change of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The tensor.
    name: String,
    /// The part that is changed.
    parts: Slice,
    operation: Operation,
    value: Expression,
    /// The edit as it was typed.
    text: String,
}

/// What is done with the old value and the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::debugger) enum Operation {
    Put,
    Multiply,
    Add,
}

impl Operation {
    /// `LEFT =`, `LEFT *=`, `LEFT +=` without the `=`: the left side, and which it is.
    pub(in crate::debugger) fn split(left: &str) -> (&str, Self) {
        match left.trim_end() {
            left if left.ends_with('*') => (left.trim_end_matches('*'), Self::Multiply),
            left if left.ends_with('+') => (left.trim_end_matches('+'), Self::Add),
            left => (left, Self::Put),
        }
    }

    /// Changes the values at these places.
    pub(in crate::debugger) fn change(self, values: &mut [f32], places: &[usize], new: &[f32]) {
        for (place, new) in places.iter().zip(new) {
            match self {
                Self::Put => values[*place] = *new,
                Self::Multiply => values[*place] *= new,
                Self::Add => values[*place] += new,
            }
        }
    }
}

/// The `count` values that `answer`, which `text` came to, puts in places of the shape `changed`: a number in each, a tensor
/// of as many values, or of one row for each of several, as numpy and torch have it.
pub(in crate::debugger) fn spread(
    answer: &Answer,
    text: &str,
    count: usize,
    changed: &[usize],
) -> Result<Vec<f32>, EditError> {
    let no_value =
        |found: &str| EditError::Wrong(format!("`{text}` is {found}; expected a tensor or a number"));
    match answer {
        Answer::Number(number) => Ok(vec![*number as f32; count]),
        Answer::List(_) => Err(no_value("a list")),
        Answer::Text(found) => match found.parse::<f32>() {
            Ok(number) => Ok(vec![number; count]),
            Err(_) => Err(no_value(found)),
        },
        Answer::Tensor(value) if value.tensor().data().len() == count => Ok(value.tensor().data().to_vec()),
        Answer::Tensor(value) if changed.ends_with(value.tensor().shape()) && count > 0 => {
            Ok(value.tensor().data().iter().copied().cycle().take(count).collect())
        }
        Answer::Tensor(value) => Err(EditError::Wrong(format!(
            "`{text}` has the shape {:?}, {} values; {count} are changed, of the shape {changed:?}",
            value.tensor().shape(),
            value.tensor().data().len(),
        ))),
        Answer::Bool(truth) => Err(no_value(&truth.to_string())),
    }
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
        let (left, operation) = Operation::split(left);
        let left = left.trim();
        let (name, parts) = match left.split_once('[') {
            Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(']'))),
            None => (left, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        Some(Self::of(name, parts, operation, right.trim(), text.trim()))
    }

    fn of(
        name: &str,
        parts: Option<Option<&str>>,
        operation: Operation,
        value: &str,
        text: &str,
    ) -> Result<Self, String> {
        if !EDITABLE.contains(&name) {
            return Err(format!(
                "`{}` is neither a setting nor a tensor that goes into what comes next: {}",
                abridged(name),
                EDITABLE.join(", ")
            ));
        }
        let parts = match parts {
            None => Slice::default(),
            Some(None) => {
                return Err(format!("`{}` has no `]` at its end", abridged(text)));
            }
            Some(Some(parts)) => Slice::parse(parts)?,
        };
        let value = Expression::compile(value).map_err(|e| e.to_string())?;
        Ok(Self { name: name.into(), parts, operation, value, text: text.into() })
    }

    /// The edit as it was typed, after `set`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tensor that it changes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `state` with the tensor changed; `names` gives the names in the new value.
    ///
    /// # Errors
    /// [`EditError`] says what was found and what would be right.
    pub fn apply(&self, state: &Snapshot, names: &dyn Resolver) -> Result<Snapshot, EditError> {
        let missing = || EditError::Wrong(format!("{} is not there yet; `next` makes it", self.name));
        let (_, tensor) = state.tensor(&self.name).ok_or_else(missing)?;
        let shape = tensor.dims().to_vec();
        let Indices { places, shape: changed } =
            self.parts.within(&shape, &self.name).map_err(EditError::Wrong)?;
        let answer = self.value.evaluate(names)?;
        let new = spread(&answer, self.value.text(), places.len(), &changed)?;
        let mut values = PlainTensor::of(tensor)?.data().to_vec();
        self.operation.change(&mut values, &places, &new);
        let changed = Tensor::from_vec(values, shape, tensor.device())?.to_dtype(tensor.dtype())?;
        state.with_tensor(&self.name, changed, &self.text).ok_or_else(missing)
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
    fn an_edit_is_taken_apart() {
        let edit = parsed("prompt_embeds[0, 2..77, :] *= lerp(a[0,2,:], embed(\"b = c\")[0,2,:], 0.3)");
        assert_eq!((edit.name(), edit.operation), ("prompt_embeds", Operation::Multiply));
        assert_eq!(edit.parts, Slice::parse("0,2..77,:").unwrap());
        assert_eq!(edit.value.text(), "lerp(a[0,2,:], embed(\"b = c\")[0,2,:], 0.3)");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| Edit::parse(text).unwrap().unwrap_err();
        assert!(said("image = 0").contains("`image` is neither a setting nor a tensor"));
        assert!(said("latents[0,x] = 0").contains("`x` is no part"));
        assert!(said("latents[0 = 0").contains("no `]`"));
        assert!(said("latents = ").contains("is no expression"), "{}", said("latents = "));
        assert!(Edit::parse("guidance scale 7").is_none());
    }

    proptest! {
        #[test]
        fn an_edit_is_written_and_parsed_again(
            name in 0..EDITABLE.len(), parts in "(\\[-?[0-9](,:){0,2}(,[0-9]?\\.\\.[0-9]?)?\\])?", sign in "[*+]?", value in "-?[0-9]",
        ) {
            let edit = parsed(&format!("{}{parts} {sign}= {value}", EDITABLE[name]));
            prop_assert_eq!(Edit::parse(edit.text()).and_then(Result::ok), Some(edit));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = Edit::parse(&text);
        }
    }
}

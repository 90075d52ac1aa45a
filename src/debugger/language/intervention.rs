//! The output of a module, changed by hand: `t("unet.mid_block") *= 0`.

use super::edit::{EditError, Operation, spread};
use crate::debugger::expr::Expression;
use crate::debugger::expr::names::Resolver;
use crate::debugger::expr::slice::{Indices, Slice};
use crate::debugger::text::abridged;
use crate::nn::Error;
use crate::nn::pattern::Pattern;
use crate::pipeline::Intervention;
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use std::sync::Arc;
use tr::tr;

/// A change of modules' outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleEdit {
    modules: Pattern,
    /// The part of the output that is changed.
    parts: Slice,
    operation: Operation,
    value: Expression,
    /// The edit as it was typed.
    text: String,
}

impl ModuleEdit {
    /// Parses `t("MODULE")[PARTS] = EXPR`, with `*=` or `+=` as well. `None` where it does not begin with `t(`.
    ///
    /// # Errors
    /// What is wrong with the module, a part or the expression, in a line.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let rest = text.trim().strip_prefix("t(")?;
        Some(Self::of(rest, text.trim()))
    }

    fn of(rest: &str, text: &str) -> Result<Self, String> {
        let form = "expected t(\"MODULE\") with =, *= or += and an expression";
        let shown = abridged(text);
        let (module, rest) =
            rest.split_once(')').ok_or_else(|| tr!("`{shown}` has no `)`; {form}", shown, form))?;
        let quoted = |quote: char| module.trim().strip_prefix(quote)?.strip_suffix(quote);
        let module = quoted('"')
            .or_else(|| quoted('\''))
            .ok_or_else(|| tr!("`{}` is no module in quotes; {form}", abridged(module), form))?;
        let modules = Pattern::parse(module).map_err(|e| e.to_string())?;
        let (left, value) =
            rest.split_once('=').ok_or_else(|| tr!("`{shown}` has no `=`; {form}", shown, form))?;
        let (left, operation) = Operation::split(left);
        let parts = match left.trim() {
            "" => Slice::default(),
            parts => match parts.strip_prefix('[').and_then(|parts| parts.strip_suffix(']')) {
                Some(parts) => Slice::parse(parts)?,
                None => return Err(tr!("`{}` is no part; {form}", abridged(parts), form)),
            },
        };
        let value = Expression::compile(value.trim()).map_err(|e| e.to_string())?;
        Ok(Self { modules, parts, operation, value, text: text.into() })
    }

    /// The edit as it was typed, after `set`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The modules whose outputs it changes.
    pub fn modules(&self) -> &Pattern {
        &self.modules
    }

    /// The intervention on modules from here on. The value is evaluated now; whether it fits an output is checked when that is made.
    ///
    /// # Errors
    /// When the value has none here, or is neither a number nor a tensor.
    pub fn intervention(&self, names: &dyn Resolver) -> Result<Intervention, EditError> {
        let answer = self.value.evaluate(names)?;
        // A value that is neither a number nor a tensor is refused now.
        if !matches!(answer, crate::debugger::expr::Answer::Tensor(_)) {
            spread(&answer, self.value.text(), 1, &[])?;
        }
        let (edit, pattern) = (self.clone(), self.modules.clone());
        Ok(Intervention {
            text: self.text.as_str().into(),
            only: None,
            is_at: Arc::new(move |path| pattern.matches(path.as_str())),
            change: Arc::new(move |path, output| {
                let shape = output.dims().to_vec();
                let wrong =
                    |why: String| Error::Input(tr!("`set {}` at {path}: {why}", edit.text, path, why));
                let Indices { places, shape: changed } =
                    edit.parts.within(&shape, "its output").map_err(wrong)?;
                let new = spread(&answer, edit.value.text(), places.len(), &changed)
                    .map_err(|e| wrong(e.to_string()))?;
                let mut values = PlainTensor::of(&output)?.data().to_vec();
                edit.operation.change(&mut values, &places, &new);
                Ok(Tensor::from_vec(values, shape, output.device())?.to_dtype(output.dtype())?)
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_edit_of_a_module_is_taken_apart() {
        let edit = ModuleEdit::parse("t(\"unet.*.attn2\")[1, :, 2..5] *= 0.5").unwrap().unwrap();
        assert_eq!((edit.modules().as_str(), edit.operation), ("unet.*.attn2", Operation::Multiply));
        assert_eq!(edit.parts, Slice::parse("1, :, 2..5").unwrap());
        assert_eq!(edit.value.text(), "0.5");
        assert!(ModuleEdit::parse("t = 3").is_none() && ModuleEdit::parse("latents = 0").is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| ModuleEdit::parse(text).unwrap().unwrap_err();
        assert!(said("t(unet.mid_block) = 0").contains("no module in quotes"));
        assert!(said("t(\"unet..x\") = 0").contains("is no path of a module"));
        assert!(said("t(\"unet\") 0").contains("has no `=`"));
        assert!(said("t(\"unet\")x = 0").contains("`x` is no part"));
        assert!(said("t(\"unet\"").contains("has no `)`"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "t\\(\\PC{0,60}") {
            let _ = ModuleEdit::parse(&text);
        }
    }
}

//! Conditions and values, in CEL (the Common Expression Language).

use super::value::{self, TensorValue};
use crate::pipeline::{Snapshot, Stage};
use crate::tensor::PlainTensor;
use cel::common::ast::{Expr, operators};
use cel::common::types::{CelDouble, CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use std::sync::{Arc, LazyLock};

/// An expression, compiled.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    program: Arc<IdedExpr>,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Why an expression has no value.
#[derive(Debug, thiserror::Error)]
pub enum ExpressionError {
    /// It is not CEL.
    #[error("`{text}` is no expression: {reason}")]
    Syntax {
        /// The expression.
        text: String,
        /// What the parser says, in a line.
        reason: String,
    },
    /// It cannot be evaluated here.
    #[error("`{text}`: {reason}")]
    Evaluation {
        /// The expression.
        text: String,
        /// Why not, and what would be right.
        reason: String,
    },
    /// A condition that is neither true nor false.
    #[error("`{text}` is {found}; expected a condition, such as `{text} > 1.0`")]
    NotACondition {
        /// The expression.
        text: String,
        /// Its value.
        found: String,
    },
}

/// What an expression comes to.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A tensor.
    Tensor(TensorValue),
    /// A truth value.
    Bool(bool),
    /// A number with a fraction.
    Number(f64),
    /// Anything else, as text.
    Text(String),
}

/// An expression must be no longer than this: the parser is recursive.
const MAX_LENGTH: usize = 1000;
/// Nor nested deeper than this.
const MAX_DEPTH: usize = 60;

/// CEL's own functions, and those that a tensor has.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    use value::{abs_number, cos, lerp, max_abs, norm, sqrt_number, sqrt_tensor};
    let mut env = Env::stdlib();
    let declared = [
        cel::add_overload!(env, fn norm: (TensorValue) -> CelDouble, name = "norm"),
        cel::add_overload!(env, fn max_abs: (TensorValue) -> CelDouble, name = "max_abs"),
        cel::add_overload!(env, fn cos: (TensorValue, TensorValue) -> Result<CelDouble>, name = "cos"),
        cel::add_overload!(env, fn lerp: (TensorValue, TensorValue, CelDouble) -> Result<TensorValue>, name = "lerp"),
        cel::add_overload!(env, fn sqrt_tensor: (TensorValue) -> Result<TensorValue>, name = "sqrt"),
        cel::add_overload!(env, fn sqrt_number: (CelDouble) -> CelDouble, name = "sqrt"),
        cel::add_overload!(env, fn abs_number: (CelDouble) -> CelDouble, name = "abs"),
    ];
    debug_assert!(declared.iter().all(Result::is_ok), "a function is declared twice: {declared:?}");
    Arc::new(env)
});

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`ExpressionError::Syntax`].
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        let wrong =
            |reason: String| ExpressionError::Syntax { text: text.chars().take(80).collect(), reason };
        if text.len() > MAX_LENGTH {
            return Err(wrong(format!("it has {} characters; expected at most {MAX_LENGTH}", text.len())));
        }
        if depth(text) > MAX_DEPTH {
            return Err(wrong(format!("it is nested deeper than {MAX_DEPTH}")));
        }
        match ENVIRONMENT.compile(text) {
            Ok(program) => {
                let mut expression = program.expression().clone();
                tensors_first(&mut expression);
                Ok(Self { text: text.into(), program: Arc::new(expression) })
            }
            Err(e) => Err(wrong(one_line(&e.to_string()))),
        }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates on what a run has made so far.
    ///
    /// # Errors
    /// [`ExpressionError::Evaluation`], which names what is not there and what is.
    pub fn evaluate(&self, snapshot: &Snapshot) -> Result<Answer, ExpressionError> {
        let names = Names(snapshot);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&names);
        let failed = |e: ExecutionError| {
            let reason = explain(&e, snapshot);
            ExpressionError::Evaluation { text: self.text.clone(), reason }
        };
        let value = Value::resolve_val(&self.program, &context).map_err(failed)?;
        if let Some(tensor) = value.downcast_ref::<TensorValue>() {
            return Ok(Answer::Tensor(tensor.clone()));
        }
        match Value::try_from(value.as_ref()).map_err(failed)? {
            Value::Bool(truth) => Ok(Answer::Bool(truth)),
            Value::Float(number) => Ok(Answer::Number(number)),
            Value::Int(number) => Ok(Answer::Text(number.to_string())),
            Value::UInt(number) => Ok(Answer::Text(number.to_string())),
            Value::String(text) => Ok(Answer::Text(text.to_string())),
            other => Ok(Answer::Text(format!("{other:?}"))),
        }
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), and when it is no condition.
    pub fn holds(&self, snapshot: &Snapshot) -> Result<bool, ExpressionError> {
        match self.evaluate(snapshot)? {
            Answer::Bool(truth) => Ok(truth),
            other => Err(ExpressionError::NotACondition { text: self.text.clone(), found: other.kind() }),
        }
    }
}

impl Answer {
    fn kind(&self) -> String {
        match self {
            Self::Tensor(_) => "a tensor".into(),
            Self::Bool(truth) => truth.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Names that are no tensors, by what they are of.
pub(super) const NAMES: [&str; 14] = [
    "step",
    "stage",
    "prompt",
    "negative_prompt",
    "height",
    "width",
    "num_inference_steps",
    "guidance_scale",
    "seed",
    "eta",
    "timestep",
    "alpha_prod_t",
    "alpha_prod_t_prev",
    "beta_prod_t",
];

/// What names mean: tensors by their newest value, settings, the position, the last step's numbers. A tensor is
/// copied from its device when it is asked for.
struct Names<'a>(&'a Snapshot);

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let request = self.0.request();
        let int = |n: i64| Some(CowVal::owned(CelInt::from(n)));
        let double = |x: f64| Some(CowVal::owned(CelDouble::from(x)));
        let string = |s: &str| Some(CowVal::owned(CelString::from(s.to_string())));
        let last = self.0.last().and_then(|record| record.coefficients);
        match name {
            "step" => match self.0.position() {
                Some(Stage::Denoise { step }) => int(step as i64),
                _ => None,
            },
            "stage" => string(self.0.position().map_or("complete", Stage::name)),
            "prompt" => string(&request.prompt),
            "negative_prompt" => string(&request.negative_prompt),
            "height" => int(request.height as i64),
            "width" => int(request.width as i64),
            "num_inference_steps" => int(request.num_inference_steps as i64),
            "guidance_scale" => double(request.guidance_scale),
            "seed" => int(request.seed),
            "eta" => double(request.eta),
            "timestep" => last.and_then(|c| int(c.timestep as i64)),
            "alpha_prod_t" => last.and_then(|c| double(c.alpha_prod_t.into())),
            "alpha_prod_t_prev" => last.and_then(|c| double(c.alpha_prod_t_prev.into())),
            "beta_prod_t" => last.and_then(|c| double(c.beta_prod_t.into())),
            _ => {
                let (_, tensor) = self.0.tensor(name)?;
                let plain = PlainTensor::of(tensor).ok()?;
                Some(CowVal::owned(TensorValue::new(plain)))
            }
        }
    }
}

/// What an evaluation's failure means here, and what would be right.
fn explain(error: &ExecutionError, snapshot: &Snapshot) -> String {
    match error {
        ExecutionError::UndeclaredReference(name) if name.as_str() == "step" => {
            "step is only there while a step of denoise is next".into()
        }
        ExecutionError::UndeclaredReference(name) => {
            let mut known: Vec<&str> = vec![];
            for (tensor, _) in snapshot.records().iter().flat_map(|record| &record.tensors) {
                if !known.contains(tensor) {
                    known.push(tensor);
                }
            }
            known.extend(NAMES);
            format!("`{name}` is not there; expected one of {}", known.join(", "))
        }
        ExecutionError::UnsupportedBinaryOperator(..) => {
            "these do not go together: numbers must both be whole (2) or both decimal (2.0), and in a sum a tensor \
             stands left of a number (latents + 2.0)"
                .into()
        }
        ExecutionError::FunctionError { message, .. } => one_line(message),
        other => one_line(&other.to_string()),
    }
}

/// Puts the number of a product behind: CEL asks the left operand to multiply, and its numbers know no tensors.
fn tensors_first(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| tensors_first(target));
            call.args.iter_mut().for_each(tensors_first);
            if call.func_name == operators::MULTIPLY && is_number(&call.args[0].expr) {
                call.args.reverse();
            }
        }
        Expr::Select(select) => tensors_first(&mut select.operand),
        _ => {}
    }
}

fn is_number(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(_) => true,
        Expr::Ident(name) => NAMES.contains(&name.as_str()),
        _ => false,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How deep an expression is nested, or chained by operators that nest it.
fn depth(text: &str) -> usize {
    let (mut deep, mut deepest) = (0usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => deep += 1,
            ')' | ']' | '}' => deep = deep.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(deep);
    }
    let unary = text.split(|c| c != '-' && c != '!').map(str::len).max().unwrap_or(0);
    deepest.max(unary).max(text.matches('?').count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_expression_says_so_in_a_line() {
        for text in ["latents.std >", "1 +", ")", "\"", &"(".repeat(500), &"-".repeat(900), &"x".repeat(2000)]
        {
            let error = Expression::compile(text).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9_.()+*/<>=!&|?:\"' \\[\\]-]{0,120}") {
            let _ = Expression::compile(&text);
        }
    }
}

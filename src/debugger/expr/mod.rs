//! Conditions and values, in CEL (the Common Expression Language).
//!
//! - [`names`]: the names there are, and the trait that gives them values.
//! - [`value`]: a tensor in an expression. [`mod@slice`]: a part of one. `syntax`: what is wrong with an expression.
//! - `rewrite`: what is done to an expression so that CEL can evaluate it.

pub mod names;
mod rewrite;
pub mod slice;
mod syntax;
pub mod value;

use crate::phrase::{Phrase, phrase};
use cel::common::types::CelDouble;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use names::Resolver;
use rewrite::{as_cel, depth, rewrite};
use std::sync::{Arc, LazyLock};
use tr::tr;
use value::{Function, TensorValue};

/// An expression, compiled.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    program: Arc<IdedExpr>,
    /// Modules whose outputs it uses.
    modules: Arc<[AskedModule]>,
}

/// A module whose output an expression uses: the argument of `t`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AskedModule {
    /// `t(path)`: the current one.
    Here,
    /// `t("unet.mid_block")`.
    Named(String),
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
    #[error("{}", tr!("`{text}` is no expression: {reason}", text = .text, reason = .reason))]
    Syntax {
        /// The expression.
        text: String,
        /// What the parser says, in a line.
        reason: String,
    },
    /// It uses a name that is not there.
    #[error("`{text}`: {reason}")]
    Missing {
        /// The expression.
        text: String,
        /// The name.
        name: String,
        /// When that is there, or what is there.
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
    #[error("{}", tr!(
        "`{text}` is {found}; expected a condition, such as `{text} > 1.0`",
        text = .text, found = .found
    ))]
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
    /// A list, as it is printed.
    List(String),
    /// Anything else, as text.
    Text(String),
}

/// An expression must be no longer than this: the parser is recursive.
const MAX_LENGTH: usize = 1000;
/// Nor nested deeper than this.
const MAX_DEPTH: usize = 60;

/// CEL's own functions, and those that a tensor has.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    use value::{abs_number, abs_tensor, clamp, cos, lerp, max_abs, norm, psnr, sqrt_number, sqrt_tensor};
    let mut env = Env::stdlib();
    let declared = [
        cel::add_overload!(env, fn norm: (TensorValue) -> CelDouble, name = "norm"),
        cel::add_overload!(env, fn max_abs: (TensorValue) -> CelDouble, name = "max_abs"),
        cel::add_overload!(env, fn cos: (TensorValue, TensorValue) -> Result<CelDouble>, name = "cos"),
        cel::add_overload!(env, fn psnr: (TensorValue, TensorValue) -> Result<CelDouble>, name = "psnr"),
        cel::add_overload!(env, fn clamp: (TensorValue, CelDouble, CelDouble) -> Result<TensorValue>, name = "clamp"),
        cel::add_overload!(env, fn abs_tensor: (TensorValue) -> Result<TensorValue>, name = "abs"),
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
            return Err(wrong(tr!(
                "it has {} characters; expected at most {MAX_LENGTH}",
                text.len(),
                MAX_LENGTH
            )));
        }
        if depth(text) > MAX_DEPTH {
            return Err(wrong(tr!("it is nested deeper than {MAX_DEPTH}", MAX_DEPTH)));
        }
        match ENVIRONMENT.compile(&as_cel(text)) {
            Ok(program) => {
                let mut expression = program.expression().clone();
                let mut modules = vec![];
                rewrite(&mut expression, &mut modules).map_err(wrong)?;
                Ok(Self { text: text.into(), program: Arc::new(expression), modules: modules.into() })
            }
            Err(e) => Err(wrong(syntax::told(&e.to_string()))),
        }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The modules that it names, whose outputs it uses.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter_map(|asked| match asked {
            AskedModule::Here => None,
            AskedModule::Named(path) => Some(path.as_str()),
        })
    }

    /// Whether it uses the output of the current module, or of a module that `is_own`.
    pub fn asks_for_output(&self, is_own: impl Fn(&str) -> bool) -> bool {
        self.modules.contains(&AskedModule::Here) || self.modules().any(is_own)
    }

    /// Evaluates on what a run has made so far.
    ///
    /// # Errors
    /// [`ExpressionError::Evaluation`], which names what is not there and what is.
    pub fn evaluate(&self, resolver: &dyn Resolver) -> Result<Answer, ExpressionError> {
        let names = Names(resolver);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&names);
        let failed = |e: ExecutionError| {
            let (text, reason) = (self.text.clone(), explain(&e, &self.text, resolver));
            match e {
                ExecutionError::UndeclaredReference(name) if !is_called(&name, &text) => {
                    ExpressionError::Missing { text, name: name.to_string(), reason }
                }
                _ => ExpressionError::Evaluation { text, reason },
            }
        };
        let value = Value::resolve_val(&self.program, &context).map_err(failed)?;
        if let Some(tensor) = value.downcast_ref::<TensorValue>() {
            return Ok(Answer::Tensor(tensor.clone()));
        }
        if let Some(function) = value.downcast_ref::<Function>() {
            let reason = tr!("`{}` wants more arguments", function.name());
            return Err(ExpressionError::Evaluation { text: self.text.clone(), reason });
        }
        match Value::try_from(value.as_ref()).map_err(failed)? {
            Value::Bool(truth) => Ok(Answer::Bool(truth)),
            Value::Float(number) => Ok(Answer::Number(number)),
            Value::Int(number) => Ok(Answer::Text(number.to_string())),
            Value::UInt(number) => Ok(Answer::Text(number.to_string())),
            Value::String(text) => Ok(Answer::Text(text.to_string())),
            list @ Value::List(_) => Ok(Answer::List(listed(&list))),
            other => Ok(Answer::Text(format!("{other:?}"))),
        }
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), and when it is no condition.
    pub fn holds(&self, resolver: &dyn Resolver) -> Result<bool, ExpressionError> {
        match self.evaluate(resolver)? {
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
            Self::List(_) => "a list".into(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// A value in a list as it is printed.
fn listed(value: &Value) -> String {
    match value {
        Value::List(values) => {
            format!("[{}]", values.iter().map(listed).collect::<Vec<_>>().join(", "))
        }
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::String(text) => format!("{text:?}"),
        other => format!("{other:?}"),
    }
}

/// Functions of an expression: how each is called, and what it gives.
pub const FUNCTIONS: [(&str, Phrase); 16] = [
    ("norm(t)", phrase("the Euclidean norm")),
    ("max_abs(t)", phrase("the largest magnitude")),
    ("cos(a, b)", phrase("the cosine of the angle between two tensors")),
    ("psnr(a, b)", phrase("how like two pictures of values 0 to 1 are, in dB")),
    ("lerp(a, b, x)", phrase("a + x · (b − a), element by element")),
    ("clamp(t, low, high)", phrase("every element brought between both")),
    ("sqrt(x)", phrase("of a number or a tensor")),
    ("abs(x)", phrase("of a number or a tensor")),
    ("embed(\"TEXT\")", phrase("the text's embeddings, as prompt_embeds are a prompt's")),
    ("at(STEP, \"TENSOR\")", phrase("a tensor as it was after that step, or after \"get_latent\"")),
    ("of(\"TIMELINE\", \"TENSOR\")", phrase("a tensor of another timeline, where it stands")),
    ("of(\"TIMELINE\", STEP, \"TENSOR\")", phrase("a tensor of another timeline after that step")),
    (
        "t(\"MODULE\")",
        phrase("a module's output in the current stage, or in the last one; t(path) at a breakpoint"),
    ),
    ("at(STEP, \"MODULE\")", phrase("its output in that step; of(\"TIMELINE\", STEP, \"MODULE\") likewise")),
    ("alpha_bar(t)", phrase("ᾱ of a training timestep, such as timesteps[step]")),
    ("lora(\"NAME\")", phrase("the scale of a LoRA")),
];

/// What names mean.
struct Names<'a>(&'a dyn Resolver);

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        self.0.resolve(name).map(CowVal::Owned)
    }
}

/// What an evaluation's failure means here, and what would be right.
fn explain(error: &ExecutionError, text: &str, resolver: &dyn Resolver) -> String {
    match error {
        ExecutionError::UndeclaredReference(name) if name.as_str() == "step" => {
            tr!("step is only there while a step of denoise is next")
        }
        ExecutionError::UndeclaredReference(name) if names::is_of_a_step(name) => {
            tr!(
                "{name} is there after a step of denoise with a scheduler that has it; timesteps[step], sigmas[step] and \
                 alpha_bar(timesteps[step]) are there before",
                name
            )
        }
        ExecutionError::UndeclaredReference(name) if is_called(name, text) => {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(call, _)| *call).collect();
            tr!("there is no function `{name}`; expected one of {}", known.join(", "), name)
        }
        ExecutionError::UndeclaredReference(name) => {
            let mut known = resolver.tensors();
            known.extend(names::plain());
            tr!("`{name}` is not there; expected one of {}", known.join(", "), name)
        }
        ExecutionError::UnsupportedBinaryOperator(_, Value::UInt(large), Value::Int(other))
        | ExecutionError::UnsupportedBinaryOperator(_, Value::Int(other), Value::UInt(large)) => {
            let why = match i64::try_from(*large) {
                Ok(_) => String::new(),
                Err(_) => tr!(" as it is beyond {}", i64::MAX),
            };
            let expected = match other {
                0.. => tr!("`{other}u`, which has none either", other),
                _ => tr!("a number that is not negative"),
            };
            tr!(
                "{large} has no sign{why}, and {other} has one; expected {expected}",
                large, why, other, expected
            )
        }
        ExecutionError::UnsupportedBinaryOperator(..) => {
            "these do not go together: numbers must both be whole (2) or both decimal (2.0), and a number cannot be \
             divided by a tensor"
                .into()
        }
        ExecutionError::Overflow(..) => tr!(
            "the result is beyond the whole numbers: {} to {}, and with `u`, without a sign, up to {}",
            i64::MIN, i64::MAX, u64::MAX
        ),
        ExecutionError::FunctionError { message, .. } => one_line(message),
        other => one_line(&other.to_string()),
    }
}

/// Whether a name is called in an expression, as a function is.
fn is_called(name: &str, text: &str) -> bool {
    text.contains(&format!("{name}("))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

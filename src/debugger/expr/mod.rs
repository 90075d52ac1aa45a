//! Conditions and values, in CEL (the Common Expression Language).
//!
//! - [`names`]: the names there are, and the trait that gives them values.
//! - [`value`]: a tensor in an expression. [`mod@slice`]: a part of one. `syntax`: what is wrong with an expression.

pub mod names;
pub mod slice;
mod syntax;
pub mod value;

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::common::types::CelDouble;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use names::{OF_A_STEP, Resolver};
use std::sync::{Arc, LazyLock};
use value::{FIELDS, Function, TensorValue};

/// An expression, compiled.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    program: Arc<IdedExpr>,
    /// Modules whose outputs it asks for.
    modules: Arc<[AskedModule]>,
}

/// A module of which an expression asks for what it made: the argument of `t`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AskedModule {
    /// `t(path)`: the one at hand.
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
    #[error("`{text}` is no expression: {reason}")]
    Syntax {
        /// The expression.
        text: String,
        /// What the parser says, in a line.
        reason: String,
    },
    /// It asks for what is not there.
    #[error("`{text}`: {reason}")]
    Missing {
        /// The expression.
        text: String,
        /// What it asks for.
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
            return Err(wrong(format!("it has {} characters; expected at most {MAX_LENGTH}", text.len())));
        }
        if depth(text) > MAX_DEPTH {
            return Err(wrong(format!("it is nested deeper than {MAX_DEPTH}")));
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

    /// The modules that it names, whose outputs it asks for.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter_map(|asked| match asked {
            AskedModule::Here => None,
            AskedModule::Named(path) => Some(path.as_str()),
        })
    }

    /// Whether it asks for what the module at hand makes, or a module that `is_own`.
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
            let reason = format!("`{}` wants more arguments", function.name());
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
pub const FUNCTIONS: [(&str, &str); 15] = [
    ("norm(t)", "the Euclidean norm"),
    ("max_abs(t)", "the largest magnitude"),
    ("cos(a, b)", "the cosine of the angle between two tensors"),
    ("psnr(a, b)", "how like two pictures of values 0 to 1 are, in dB"),
    ("lerp(a, b, x)", "a + x · (b − a), element by element"),
    ("clamp(t, low, high)", "every element brought between both"),
    ("sqrt(x)", "of a number or a tensor"),
    ("abs(x)", "of a number or a tensor"),
    ("embed(\"TEXT\")", "the text's embeddings, as prompt_embeds are a prompt's"),
    ("at(STEP, \"TENSOR\")", "a tensor as it was after that step, or after \"get_latent\""),
    ("of(\"TIMELINE\", \"TENSOR\")", "a tensor of another timeline, where it stands"),
    ("of(\"TIMELINE\", STEP, \"TENSOR\")", "a tensor of another timeline after that step"),
    ("t(\"MODULE\")", "what a module made in the stage at hand, or in the last one; t(path) at a breakpoint"),
    ("at(STEP, \"MODULE\")", "what it made in that step; of(\"TIMELINE\", STEP, \"MODULE\") likewise"),
    ("alpha_bar(t)", "ᾱ of a training timestep, such as timesteps[step]"),
];

/// Functions that know the run, with how many arguments they take.
const OF_THE_RUN: [(&str, std::ops::RangeInclusive<usize>); 5] =
    [("embed", 1..=1), ("at", 2..=2), ("of", 2..=3), ("alpha_bar", 1..=1), ("t", 1..=1)];

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
            "step is only there while a step of denoise is next".into()
        }
        ExecutionError::UndeclaredReference(name) if OF_A_STEP.contains(&name.as_str()) => {
            format!("{name} is there after a step of denoise; alpha_bar(timesteps[0]) needs none")
        }
        ExecutionError::UndeclaredReference(name) if is_called(name, text) => {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(call, _)| *call).collect();
            format!("there is no function `{name}`; expected one of {}", known.join(", "))
        }
        ExecutionError::UndeclaredReference(name) => {
            let mut known = resolver.tensors();
            known.extend(names::plain());
            format!("`{name}` is not there; expected one of {}", known.join(", "))
        }
        ExecutionError::UnsupportedBinaryOperator(_, Value::UInt(large), Value::Int(other))
        | ExecutionError::UnsupportedBinaryOperator(_, Value::Int(other), Value::UInt(large)) => {
            let why = match i64::try_from(*large) {
                Ok(_) => String::new(),
                Err(_) => format!(" as it is beyond {}", i64::MAX),
            };
            let expected = match other {
                0.. => format!("`{other}u`, which has none either"),
                _ => "a number that is not negative".into(),
            };
            format!("{large} has no sign{why}, and {other} has one; expected {expected}")
        }
        ExecutionError::UnsupportedBinaryOperator(..) => {
            "these do not go together: numbers must both be whole (2) or both decimal (2.0), and a number cannot be \
             divided by a tensor"
                .into()
        }
        ExecutionError::Overflow(..) => format!(
            "the result is beyond the whole numbers: {} to {}, and with `u`, without a sign, up to {}",
            i64::MIN,
            i64::MAX,
            u64::MAX
        ),
        ExecutionError::FunctionError { message, .. } => one_line(message),
        other => one_line(&other.to_string()),
    }
}

/// Whether a name is called in an expression, as a function is.
fn is_called(name: &str, text: &str) -> bool {
    text.contains(&format!("{name}("))
}

/// Makes of an expression what CEL can evaluate: calls of functions that know the run become indices, and of a number and a
/// tensor the tensor comes first, as CEL asks the left operand and its numbers know no tensors.
fn rewrite(expression: &mut IdedExpr, modules: &mut Vec<AskedModule>) -> Result<(), String> {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().try_for_each(|target| rewrite(target, modules))?;
            call.args.iter_mut().try_for_each(|argument| rewrite(argument, modules))?;
            let known = OF_THE_RUN.iter().find(|(name, _)| *name == call.func_name && call.target.is_none());
            if let Some((name, count)) = known {
                if !count.contains(&call.args.len()) {
                    let usage = FUNCTIONS.iter().filter(|(usage, _)| usage.starts_with(&format!("{name}(")));
                    let usage: Vec<&str> = usage.map(|(usage, _)| *usage).collect();
                    return Err(format!("{name} is called as {}", usage.join(" or ")));
                }
                if *name == "t" {
                    modules.extend(asked(&call.args[0].expr));
                }
                *expression = indexed(expression.id, name, std::mem::take(&mut call.args));
                return Ok(());
            }
            let [left, right] = &call.args[..] else { return Ok(()) };
            if !is_number(&left.expr) || is_number(&right.expr) {
                return Ok(());
            }
            match call.func_name.as_str() {
                operators::MULTIPLY | operators::ADD => call.args.reverse(),
                // a − t is −(t − a).
                operators::SUBSTRACT => {
                    call.args.reverse();
                    let id = expression.id;
                    let difference = std::mem::take(expression);
                    let args = vec![difference];
                    let negated = CallExpr { func_name: operators::NEGATE.into(), target: None, args };
                    *expression = IdedExpr { id, expr: Expr::Call(negated) };
                }
                _ => {}
            }
            Ok(())
        }
        Expr::Select(select) => rewrite(&mut select.operand, modules),
        Expr::List(list) => list.elements.iter_mut().try_for_each(|element| rewrite(element, modules)),
        Expr::Comprehension(of) => {
            let parts =
                [&mut of.iter_range, &mut of.accu_init, &mut of.loop_cond, &mut of.loop_step, &mut of.result];
            parts.into_iter().try_for_each(|part| rewrite(part, modules))
        }
        _ => Ok(()),
    }
}

/// The module that an argument of `t` names; `None` where that is only known when it is evaluated.
fn asked(argument: &Expr) -> Option<AskedModule> {
    match argument {
        Expr::Ident(name) if name == "path" => Some(AskedModule::Here),
        Expr::Literal(LiteralValue::String(path)) => Some(AskedModule::Named(path.inner().to_string())),
        _ => None,
    }
}

/// `name[a][b]` of `name(a, b)`.
fn indexed(id: u64, name: &str, arguments: Vec<IdedExpr>) -> IdedExpr {
    let function = IdedExpr { id, expr: Expr::Ident(name.into()) };
    arguments.into_iter().fold(function, |of, argument| {
        let args = vec![of, argument];
        IdedExpr { id, expr: Expr::Call(CallExpr { func_name: operators::INDEX.into(), target: None, args }) }
    })
}

/// Whether an expression is a number, whatever the run.
fn is_number(expression: &Expr) -> bool {
    const OF_TENSORS: [&str; 4] = ["norm", "max_abs", "cos", "psnr"];
    match expression {
        Expr::Literal(_) => true,
        Expr::Ident(name) => names::is_plain(name),
        Expr::Select(select) => FIELDS.split(", ").any(|field| field == select.field),
        Expr::Call(call) if OF_TENSORS.contains(&call.func_name.as_str()) => true,
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let is = |name: &str| matches!(&call.args[0].expr, Expr::Ident(of) if of == name);
            is("timesteps") || is("alpha_bar")
        }
        Expr::Call(call) => {
            const OF_NUMBERS: [&str; 7] = [
                "sqrt",
                "abs",
                operators::NEGATE,
                operators::ADD,
                operators::SUBSTRACT,
                operators::MULTIPLY,
                operators::DIVIDE,
            ];
            OF_NUMBERS.contains(&call.func_name.as_str()) && call.args.iter().all(|arg| is_number(&arg.expr))
        }
        _ => false,
    }
}

/// The expression as CEL reads it: parts of tensors, `t[0,2..5,:]`, in quotes, as CEL's brackets hold one value; and whole numbers
/// from 2^63 on, which large seeds are, marked as having no sign.
fn as_cel(text: &str) -> String {
    let (mut made, mut quote, mut escaped) = (String::with_capacity(text.len()), None, false);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c.is_ascii_digit() && !made.ends_with(is_of_a_number_or_name) => {
                let length = rest.as_str().find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.as_str().len());
                let digits = format!("{c}{}", &rest.as_str()[..length]);
                let is_whole = !rest.as_str()[length..].starts_with(is_of_a_number_or_name);
                // -2^63 is one number for CEL, with its sign.
                let is_least = made.trim_end().ends_with('-') && digits == "9223372036854775808";
                let is_large = digits.parse::<i64>().is_err() && digits.parse::<u64>().is_ok();
                rest = rest.as_str()[length..].chars();
                made.push_str(&digits);
                if is_whole && is_large && !is_least {
                    made.push('u');
                }
                continue;
            }
            None if c == '[' => {
                let behind = made.trim_end().chars().next_back();
                let indexes = behind.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | ']'));
                let inner = rest.as_str().split(']').next().unwrap_or_default();
                let is_part = |c: char| c.is_ascii_digit() || matches!(c, ',' | ':' | '.' | '-' | ' ');
                let several = inner.contains([',', ':']) || inner.contains("..");
                if indexes && several && inner.chars().all(is_part) && inner.len() < rest.as_str().len() {
                    made.push_str(&format!("[\"{inner}\"]"));
                    rest = rest.as_str()[inner.len() + 1..].chars();
                    continue;
                }
            }
            None => {}
        }
        made.push(c);
    }
    made
}

/// Whether a character next to digits makes them a part of a name or of a decimal number.
fn is_of_a_number_or_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.')
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
    use crate::tensor::PlainTensor;
    use cel::common::types::{CelInt, CelString};
    use cel::common::value::Val;
    use proptest::prelude::*;

    /// Names from a table: expressions need no run.
    struct Table;

    impl Resolver for Table {
        fn resolve(&self, name: &str) -> Option<Box<dyn Val>> {
            Some(match name {
                "latents" => {
                    let values = PlainTensor::from_values(&[2, 3], vec![0., 1., 2., 3., 4., 5.]).unwrap();
                    Box::new(TensorValue::new(values))
                }
                "step" => CowVal::owned(CelInt::from(3)).into_owned(),
                "prompt" => CowVal::owned(CelString::from("a cat".to_string())).into_owned(),
                _ => return None,
            })
        }

        fn tensors(&self) -> Vec<&'static str> {
            vec!["latents"]
        }
    }

    #[test]
    fn names_come_from_any_resolver() {
        let value = |text: &str| Expression::compile(text).unwrap().evaluate(&Table);
        assert!(matches!(value("latents.max"), Ok(Answer::Number(5.))));
        assert!(matches!(value("latents[1,:].mean == 4.0 && prompt == \"a cat\""), Ok(Answer::Bool(true))));
        assert!(matches!(value("latents * 2.0"), Ok(Answer::Tensor(_))));
        assert!(matches!(value("[step, step + 1]"), Ok(Answer::List(text)) if text == "[3, 4]"));
        let missing = value("latnts.max").unwrap_err().to_string();
        assert!(missing.contains("`latnts` is not there; expected one of latents"), "{missing}");
        let list = Expression::compile("[1]").unwrap().holds(&Table).unwrap_err().to_string();
        assert!(list.contains("is a list; expected a condition"), "{list}");
    }

    #[test]
    fn what_is_no_expression_says_so_in_a_line() {
        for text in ["latents.std >", "1 +", ")", "\"", &"(".repeat(500), &"-".repeat(900), &"x".repeat(2000)]
        {
            let error = Expression::compile(text).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_cel_writes_otherwise_is_brought_to_it() {
        for (text, expected) in [
            ("latents[0,2,:].std", "latents[\"0,2,:\"].std"),
            ("embed(\"a[1,2]\")[0, 2..5]", "embed(\"a[1,2]\")[\"0, 2..5\"]"),
            ("x[0][1:2] + [1,2][0]", "x[0][\"1:2\"] + [1,2][0]"),
            ("'it\\'s [1,2]' + x[1,", "'it\\'s [1,2]' + x[1,"),
            ("seed==18446744073709551615&& x", "seed==18446744073709551615u&& x"),
            ("9223372036854775808u + 9223372036854775807", "9223372036854775808u + 9223372036854775807"),
            (
                "-9223372036854775808 + 15680208700286123456.5",
                "-9223372036854775808 + 15680208700286123456.5",
            ),
            (
                "'18446744073709551615' + a18446744073709551615",
                "'18446744073709551615' + a18446744073709551615",
            ),
            ("18446744073709551616", "18446744073709551616"),
        ] {
            assert_eq!(as_cel(text), expected);
        }
    }

    #[test]
    fn a_function_of_the_run_says_how_it_is_called() {
        let said = |text: &str| Expression::compile(text).unwrap_err().to_string();
        assert!(said("at(3)").contains("at is called as at(STEP, \"TENSOR\")"), "{}", said("at(3)"));
        assert!(said("of(\"main\")").contains(" or of(\"TIMELINE\", STEP"));
        assert!(said("embed()").contains("embed(\"TEXT\")"));
    }

    proptest! {
        #[test]
        fn no_expression_makes_an_evaluation_panic(
            text in "(latents|step|prompt|norm|cos|lerp|clamp|max_abs|[0-9.]{1,3}|[-+*/<>=!&|?:,. ()\\[\\]]|\\.std|\\[0,:\\]){1,12}",
        ) {
            if let Ok(expression) = Expression::compile(&text) {
                let _ = expression.evaluate(&Table);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9_.()+*/<>=!&|?:\"' \\[\\]-]{0,120}") {
            let _ = Expression::compile(&text);
        }
    }
}

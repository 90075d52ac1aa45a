//! A tensor as a CEL value: its statistics by `.name`, and arithmetic element by element.

use super::slice::{Indices, Slice};
use crate::tensor::{PlainTensor, Summary, compare};
use cel::common::traits::{Adder, Divider, Indexer, Multiplier, Negator, Subtractor};
use cel::common::types::{CelDouble, CelInt, CelString, CelUInt, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{ExecutionError, Value};
use std::any::Any;
use std::sync::{Arc, OnceLock};
use tr::tr;

static TENSOR: Type = Type::new_unspecified_type("tensor");

/// The statistics that a tensor has in an expression.
pub const FIELDS: &str = "shape, dtype, mean, std, min, max, l2, nan, inf";

/// A tensor in an expression. Its statistics are computed when they are first asked for.
#[derive(Debug, Clone)]
pub struct TensorValue {
    tensor: PlainTensor,
    summary: OnceLock<Summary>,
}

impl TensorValue {
    /// The value of a tensor.
    pub fn new(tensor: PlainTensor) -> Self {
        Self { tensor, summary: OnceLock::new() }
    }

    /// The tensor of the value.
    pub fn tensor(&self) -> &PlainTensor {
        &self.tensor
    }

    /// Its statistics.
    pub fn summary(&self) -> &Summary {
        self.summary.get_or_init(|| (&self.tensor).into())
    }

    fn map(&self, f: impl Fn(f32) -> f32) -> Result<Self, ExecutionError> {
        let data = self.tensor.data().iter().map(|&v| f(v)).collect();
        PlainTensor::from_values(self.tensor.shape(), data).map(Self::new).ok_or_else(|| mistake("shape"))
    }

    /// `f` of each element and the element of `rhs` at its place, or the number that `rhs` is.
    fn zip(&self, what: &str, rhs: &dyn Val, f: impl Fn(f32, f32) -> f32) -> Result<Self, ExecutionError> {
        if let Some(number) = number(rhs) {
            return self.map(|v| f(v, number as f32));
        }
        let Some(other) = rhs.downcast_ref::<Self>() else {
            return Err(mistake(&tr!(
                "a tensor {what} something that is neither a tensor nor a number",
                what
            )));
        };
        self.same_shape(other)?;
        let data = self.tensor.data().iter().zip(other.tensor.data()).map(|(&a, &b)| f(a, b)).collect();
        PlainTensor::from_values(self.tensor.shape(), data).map(Self::new).ok_or_else(|| mistake("shape"))
    }

    /// A part of it: a tensor, or where every dimension has one place named a number.
    fn part<'v>(&self, parts: &Slice) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        let Indices { places, shape } =
            parts.within(self.tensor.shape(), "the tensor").map_err(|e| mistake(&e))?;
        let data: Vec<f32> = places.into_iter().map(|place| self.tensor.data()[place]).collect();
        match (&data[..], &shape[..]) {
            ([value], []) => Ok(Box::new(CelDouble::from(f64::from(*value)))),
            _ => match PlainTensor::from_values(&shape, data) {
                Some(part) => Ok(Box::new(Self::new(part))),
                None => Err(mistake("shape")),
            },
        }
    }

    fn same_shape(&self, other: &Self) -> Result<(), ExecutionError> {
        let (a, b) = (self.tensor.shape(), other.tensor.shape());
        if a == b {
            Ok(())
        } else {
            Err(mistake(&tr!(
                "shapes {a} and {b}; expected the same",
                a = format_args!("{:?}", a),
                b = format_args!("{:?}", b)
            )))
        }
    }
}

pub(in crate::debugger) fn mistake(message: &str) -> ExecutionError {
    ExecutionError::function_error("tensor", message)
}

pub(in crate::debugger) fn number(value: &dyn Val) -> Option<f64> {
    let double = value.downcast_ref::<CelDouble>().map(|v| *v.inner());
    let whole = || value.downcast_ref::<CelInt>().map(|v| *v.inner() as f64);
    double.or_else(whole).or_else(|| value.downcast_ref::<CelUInt>().map(|v| *v.inner() as f64))
}

impl Val for TensorValue {
    fn get_type(&self) -> &Type {
        &TENSOR
    }
    fn cel_type() -> &'static Type {
        &TENSOR
    }
    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| {
            self.tensor.shape() == other.tensor.shape() && self.tensor.data() == other.tensor.data()
        })
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_multiplier<'b, 'v>(&'b self) -> Option<&'b (dyn Multiplier + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_divider<'b, 'v>(&'b self) -> Option<&'b (dyn Divider + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_negator<'b, 'v>(&'b self) -> Option<&'b (dyn Negator + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
}

impl StaticVal for TensorValue {}

macro_rules! elementwise {
    ($($operator:ident, $method:ident, $word:literal, $f:expr;)*) => {
        $(impl $operator for TensorValue {
            fn $method<'b, 'v>(&'b self, rhs: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
            where
                Self: 'v,
            {
                // The operand is only read; `clone_as_boxed` gives one that borrows nothing.
                Ok(CowVal::owned(self.zip($word, rhs.clone_as_boxed().as_ref(), $f)?))
            }
        })*
    };
}

elementwise! {
    Adder, add, "+", |a, b| a + b;
    Subtractor, sub, "-", |a, b| a - b;
    Multiplier, mul, "*", |a, b| a * b;
    Divider, div, "/", |a, b| a / b;
}

impl Negator for TensorValue {
    fn negate<'v>(&self) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(Box::new(self.map(|v| -v)?))
    }
}

impl Indexer for TensorValue {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        if let Some(index) = index.downcast_ref::<CelInt>() {
            return self.part(&Slice::one(*index.inner())).map(CowVal::Owned);
        }
        let double = |v: f64| Ok(CowVal::owned(CelDouble::from(v)));
        let count = |v: usize| Ok(CowVal::owned(CelInt::from(v as i64)));
        let name =
            index.downcast_ref::<CelString<'_>>().map(|name| name.inner().to_string()).unwrap_or_default();
        match name.as_str() {
            "mean" => double(self.summary().mean),
            "std" => double(self.summary().std),
            "min" => double(self.summary().min),
            "max" => double(self.summary().max),
            "l2" => double(self.summary().l2),
            "nan" => count(self.summary().nan),
            "inf" => count(self.summary().inf),
            "dtype" => Ok(CowVal::owned(CelString::from(self.tensor.dtype().as_str().to_string()))),
            "shape" => {
                let shape: Vec<i64> = self.tensor.shape().iter().map(|&n| n as i64).collect();
                Ok(CowVal::Owned(Value::from(shape).try_into()?))
            }
            parts if !parts.starts_with(char::is_alphabetic) => {
                let parts = Slice::parse(parts).map_err(|e| mistake(&e))?;
                self.part(&parts).map(CowVal::Owned)
            }
            _ => Err(mistake(&tr!("a tensor has no `{name}`; expected one of {FIELDS}", name, FIELDS))),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// A function that knows the run. An expression calls it by an index: `at(3, "latents")` is compiled to `at[3]["latents"]`, as
/// CEL's own functions know nothing but their arguments.
#[derive(Clone)]
pub struct Function {
    name: &'static str,
    call: Arc<Call>,
}

type Call = dyn Fn(&dyn Val) -> Result<Box<dyn Val>, ExecutionError> + Send + Sync;

impl Function {
    /// A function of one argument.
    pub fn new(
        name: &'static str,
        call: impl Fn(&dyn Val) -> Result<Box<dyn Val>, ExecutionError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, call: Arc::new(call) }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

static FUNCTION: Type = Type::new_unspecified_type("function");

impl Val for Function {
    fn get_type(&self) -> &Type {
        &FUNCTION
    }
    fn cel_type() -> &'static Type {
        &FUNCTION
    }
    fn equals(&self, _: &dyn Val) -> bool {
        false
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
}

impl StaticVal for Function {}

impl Indexer for Function {
    fn get<'b, 'v>(&'b self, argument: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        (self.call)(argument).map(CowVal::Owned)
    }

    fn steal<'v>(self: Box<Self>, argument: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        (self.call)(argument).map(|value| value as Box<dyn Val + 'v>)
    }
}

/// `norm(t)`: the Euclidean norm.
pub fn norm(t: &TensorValue) -> CelDouble {
    t.summary().l2.into()
}

/// `max_abs(t)`: the largest magnitude.
pub fn max_abs(t: &TensorValue) -> CelDouble {
    t.summary().max.abs().max(t.summary().min.abs()).into()
}

/// `cos(a, b)`: the cosine of the angle between two tensors.
pub fn cos(a: &TensorValue, b: &TensorValue) -> Result<CelDouble, ExecutionError> {
    a.same_shape(b)?;
    Ok(compare::cosine(a.tensor.data(), b.tensor.data()).into())
}

/// `psnr(a, b)`: the peak signal-to-noise ratio of two pictures of values 0 to 1, in dB.
pub fn psnr(a: &TensorValue, b: &TensorValue) -> Result<CelDouble, ExecutionError> {
    a.same_shape(b)?;
    Ok(compare::psnr(a.tensor.data(), b.tensor.data(), 1.).into())
}

/// `clamp(t, low, high)`: every element brought between both.
pub fn clamp(t: &TensorValue, low: &CelDouble, high: &CelDouble) -> Result<TensorValue, ExecutionError> {
    let (low, high) = (*low.inner() as f32, *high.inner() as f32);
    if low > high || low.is_nan() || high.is_nan() {
        return Err(mistake(&tr!("clamp: {low} to {high} is no range", low, high)));
    }
    t.map(|v| v.clamp(low, high))
}

/// `abs(t)` of a tensor, element by element.
pub fn abs_tensor(t: &TensorValue) -> Result<TensorValue, ExecutionError> {
    t.map(f32::abs)
}

/// `lerp(a, b, t)`: a + t · (b − a), element by element.
pub fn lerp(a: &TensorValue, b: &TensorValue, t: &CelDouble) -> Result<TensorValue, ExecutionError> {
    let t = *t.inner() as f32;
    a.zip("to", b, |a, b| a + t * (b - a))
}

/// `sqrt(t)` of a tensor, element by element.
pub fn sqrt_tensor(t: &TensorValue) -> Result<TensorValue, ExecutionError> {
    t.map(f32::sqrt)
}

/// `sqrt(x)` of a number.
pub fn sqrt_number(x: &CelDouble) -> CelDouble {
    x.inner().sqrt().into()
}

/// `abs(x)` of a number.
pub fn abs_number(x: &CelDouble) -> CelDouble {
    x.inner().abs().into()
}

//! The types that an argument's value can have, and how they are read from JSON.

use crate::nn::config::{MAX_COUNT, one_of};
use crate::scheduler::config::{
    AlgorithmType, BetaSchedule, FinalSigmasType, InterpolationType, PredictionType, SolverType,
    TimestepSpacing, TimestepType, VarianceType,
};
use serde_json::Value;
use tr::tr;

/// A type that an argument's value can have.
pub trait ArgumentValue {
    /// Takes a value from JSON; the error says what would be right.
    ///
    /// # Errors
    /// When it is of another type.
    fn assign(&mut self, value: &Value) -> Result<(), String>;

    /// The value as JSON.
    fn json(&self) -> Value;
}

impl ArgumentValue for bool {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        *self = value.as_bool().ok_or_else(|| tr!("true or false"))?;
        Ok(())
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

impl ArgumentValue for usize {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        let count = value.as_u64().filter(|count| *count <= MAX_COUNT as u64);
        *self = count
            .ok_or_else(|| tr!("a whole number of at most {MAX_COUNT}, and not below 0", MAX_COUNT))?
            as usize;
        Ok(())
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

impl ArgumentValue for f64 {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        // Python writes -Infinity, which JSON lacks.
        let infinite = || (value.as_str() == Some("-Infinity")).then_some(f64::NEG_INFINITY);
        *self = value.as_f64().or_else(infinite).ok_or_else(|| tr!("a number"))?;
        Ok(())
    }

    fn json(&self) -> Value {
        if *self == f64::NEG_INFINITY { "-Infinity".into() } else { (*self).into() }
    }
}

impl ArgumentValue for Option<f64> {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        *self = match value {
            Value::Null => None,
            value => Some(value.as_f64().ok_or_else(|| tr!("a number, or null"))?),
        };
        Ok(())
    }

    fn json(&self) -> Value {
        (*self).into()
    }
}

impl ArgumentValue for Option<Vec<f32>> {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        let expected = |_| tr!("a list of betas, one per training timestep, or null");
        *self = serde_json::from_value(value.clone()).map_err(expected)?;
        Ok(())
    }

    fn json(&self) -> Value {
        self.clone().into()
    }
}

impl ArgumentValue for Vec<usize> {
    fn assign(&mut self, value: &Value) -> Result<(), String> {
        *self = serde_json::from_value(value.clone()).map_err(|_| tr!("a list of steps, such as [0, 2]"))?;
        Ok(())
    }

    fn json(&self) -> Value {
        self.clone().into()
    }
}

macro_rules! named_values {
    ($($name:ident)*) => {
        $(impl ArgumentValue for $name {
            fn assign(&mut self, value: &Value) -> Result<(), String> {
                let known = Self::ALL.iter().find(|(name, _)| value.as_str() == Some(name));
                let names = || one_of(Self::ALL.iter().map(|(name, _)| format!("{name:?}")));
                *self = known.map(|(_, known)| *known).ok_or_else(names)?;
                Ok(())
            }

            fn json(&self) -> Value {
                self.name().into()
            }
        })*
    };
}

named_values!(
    BetaSchedule PredictionType TimestepSpacing InterpolationType TimestepType FinalSigmasType VarianceType AlgorithmType
    SolverType
);

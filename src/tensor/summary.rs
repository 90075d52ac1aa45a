//! The statistics that a tensor table shows.

use super::PlainTensor;
use serde::Serialize;

/// Statistics of a tensor's values.
///
/// The moments are over the finite values; `nan` and `inf` count the others. Sums are accumulated in `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with Bessel's correction, the default of `torch.std`; 0 for one value.
    pub std: f64,
    /// Smallest finite value.
    pub min: f64,
    /// Largest finite value.
    pub max: f64,
    /// Euclidean norm.
    pub l2: f64,
    /// How many values are NaN.
    pub nan: usize,
    /// How many values are infinite, of either sign.
    pub inf: usize,
}

impl Summary {
    /// The statistics of `values`. With no finite value, mean, std, min, max and l2 are NaN.
    pub fn of_values(values: &[f32]) -> Self {
        let nan = values.iter().filter(|v| v.is_nan()).count();
        let inf = values.iter().filter(|v| v.is_infinite()).count();
        let finite = || values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
        let n = values.len() - nan - inf;
        if n == 0 {
            let none = f64::NAN;
            return Self { mean: none, std: none, min: none, max: none, l2: none, nan, inf };
        }
        let mean = finite().sum::<f64>() / n as f64;
        let squares: f64 = finite().map(|v| (v - mean).powi(2)).sum();
        Self {
            mean,
            std: (squares / (n - 1).max(1) as f64).sqrt(),
            min: finite().fold(f64::INFINITY, f64::min),
            max: finite().fold(f64::NEG_INFINITY, f64::max),
            l2: finite().map(|v| v * v).sum::<f64>().sqrt(),
            nan,
            inf,
        }
    }
}

impl From<&PlainTensor> for Summary {
    fn from(tensor: &PlainTensor) -> Self {
        Self::of_values(tensor.data())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_as_torch() {
        // torch.tensor([1., 2., 3., 4.]): mean 2.5, std 1.2910, norm 5.4772
        let s = Summary::of_values(&[1., 2., 3., 4.]);
        assert_eq!((s.mean, s.min, s.max), (2.5, 1., 4.));
        assert!((s.std - 1.290_994_448_735_805_6).abs() < 1e-12);
        assert!((s.l2 - 30f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn values_that_are_not_finite_are_counted_and_left_out() {
        let s = Summary::of_values(&[f32::NAN, 1., f32::INFINITY, 3., f32::NEG_INFINITY]);
        assert_eq!((s.nan, s.inf, s.mean, s.min, s.max), (1, 2, 2., 1., 3.));
        assert!(Summary::of_values(&[f32::NAN]).mean.is_nan());
        assert!(Summary::of_values(&[]).std.is_nan());
    }

    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(Summary::of_values(&[7.]).std, 0.);
    }
}

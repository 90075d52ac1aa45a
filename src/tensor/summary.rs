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

/// The statistics of values that arrive in pieces, so that a tensor larger than the memory has them too.
#[derive(Debug, Clone, Default)]
pub struct RunningSummary {
    finite: usize,
    mean: f64,
    /// Σ (v − mean)².
    squares: f64,
    /// Σ v².
    square: f64,
    range: Option<(f64, f64)>,
    nan: usize,
    inf: usize,
}

impl RunningSummary {
    /// Adds a piece. Moments are merged as in Chan, Golub and LeVeque, 1979 ("Updating formulae", equation 2.1).
    pub fn push(&mut self, values: &[f32]) {
        let piece = Summary::of_values(values);
        self.nan += piece.nan;
        self.inf += piece.inf;
        let n = values.len() - piece.nan - piece.inf;
        if n == 0 {
            return;
        }
        let (old, new) = (self.finite as f64, n as f64);
        let delta = piece.mean - self.mean;
        self.squares += piece.std.powi(2) * (n - 1) as f64 + delta.powi(2) * old * new / (old + new);
        self.mean += delta * new / (old + new);
        self.square += piece.l2.powi(2);
        self.finite += n;
        let (min, max) = self.range.unwrap_or((piece.min, piece.max));
        self.range = Some((min.min(piece.min), max.max(piece.max)));
    }

    /// The statistics of all pieces.
    pub fn summary(&self) -> Summary {
        let Some((min, max)) = self.range else {
            return Summary { nan: self.nan, inf: self.inf, ..Summary::of_values(&[]) };
        };
        let std = (self.squares / (self.finite - 1).max(1) as f64).sqrt();
        let l2 = self.square.sqrt();
        Summary { mean: self.mean, std, min, max, l2, nan: self.nan, inf: self.inf }
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
    fn pieces_have_the_statistics_of_the_whole() {
        let mut values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 3. + 100.).collect();
        (values[17], values[500], values[900]) = (f32::NAN, f32::INFINITY, -7.);
        for size in [1, 7, 333, 2000] {
            let mut running = RunningSummary::default();
            values.chunks(size).for_each(|piece| running.push(piece));
            let (found, whole) = (running.summary(), Summary::of_values(&values));
            assert_eq!((found.min, found.max, found.nan, found.inf), (whole.min, whole.max, 1, 1));
            for (a, b) in [(found.mean, whole.mean), (found.std, whole.std), (found.l2, whole.l2)] {
                assert!((a - b).abs() <= 1e-12 * b.abs(), "pieces of {size}: {a} and {b}");
            }
        }
        let mut none = RunningSummary::default();
        none.push(&[f32::NAN]);
        assert!(none.summary().mean.is_nan() && none.summary().nan == 1);
    }

    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(Summary::of_values(&[7.]).std, 0.);
    }
}

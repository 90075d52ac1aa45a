//! The distribution of a tensor's values.

/// Counts of finite values in bins of equal width from the smallest to the largest.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub low: f32,
    /// Upper edge of the last bin, inclusive.
    pub high: f32,
    /// One count per bin.
    pub counts: Vec<usize>,
}

impl Histogram {
    /// Sorts `values` into `bins` bins (at least one). NaN and Inf are left out.
    pub fn of_values(values: &[f32], bins: usize) -> Self {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let low = finite().fold(f32::INFINITY, f32::min);
        let high = finite().fold(f32::NEG_INFINITY, f32::max);
        let mut counts = vec![0; bins.max(1)];
        let last = counts.len() - 1;
        // In f64, so that the difference of two f32 values cannot overflow.
        let width = f64::from(high) - f64::from(low);
        for v in finite() {
            let at = if width > 0. { (f64::from(v) - f64::from(low)) / width } else { 0. };
            counts[((at * (last + 1) as f64) as usize).min(last)] += 1;
        }
        Self { low, high, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_belong_to_the_bins_they_bound() {
        let h = Histogram::of_values(&[0., 1., 2., 3., 4.], 4);
        assert_eq!((h.low, h.high, h.counts), (0., 4., vec![1, 1, 1, 2]));
    }

    proptest! {
        #[test]
        fn every_finite_value_is_counted_once(values: Vec<f32>, bins in 0usize..40) {
            let finite = values.iter().filter(|v| v.is_finite()).count();
            prop_assert_eq!(Histogram::of_values(&values, bins).counts.iter().sum::<usize>(), finite);
        }
    }
}

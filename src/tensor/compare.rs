//! Distance measures between two tensors.

/// ‖a − b‖ / ‖b‖, with `b` the reference; 0 when both are zero, infinite when only `b` is.
///
/// NaN on either side makes the result NaN, so that a comparison with a bound fails.
pub fn relative_difference(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = RelativeDifference::default();
    sums.add(a, b);
    sums.value()
}

/// [`relative_difference`] of tensors that are read in pieces.
#[derive(Debug, Default, Clone, Copy)]
pub struct RelativeDifference {
    difference: f64,
    reference: f64,
}

impl RelativeDifference {
    /// Adds a piece of both.
    pub fn add(&mut self, a: &[f32], b: &[f32]) {
        self.difference += a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>();
        self.reference += b.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>();
    }

    /// The difference of all pieces.
    pub fn value(self) -> f64 {
        if self.difference == 0. { 0. } else { (self.difference / self.reference).sqrt() }
    }
}

/// The cosine of the angle between two tensors as vectors; 0 when either is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0., 0., 0.);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa * bb == 0. { 0. } else { ab / (aa.sqrt() * bb.sqrt()) }
}

/// ‖a − b‖, summed in `f64`.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
}

/// The component of `v` along `axis` (negative when it points the other way), and the length of the rest, which is orthogonal
/// to it. If `axis` is zero, all of `v` is orthogonal.
pub fn along_and_across(v: &[f32], axis: &[f32]) -> (f64, f64) {
    let (mut dot, mut vv, mut aa) = (0., 0., 0.);
    for (&v, &a) in v.iter().zip(axis) {
        let (v, a) = (f64::from(v), f64::from(a));
        dot += v * a;
        vv += v * v;
        aa += a * a;
    }
    let along = if aa == 0. { 0. } else { dot / aa.sqrt() };
    // Rounding can make it slightly negative.
    let across = vv - along * along;
    (along, if across < 0. { 0. } else { across.sqrt() })
}

/// Peak signal-to-noise ratio in dB of two images whose values lie in `0..=peak`; infinite when equal.
pub fn psnr(a: &[f32], b: &[f32], peak: f64) -> f64 {
    let mse: f64 =
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>() / a.len() as f64;
    10. * (peak * peak / mse).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_difference_is_against_the_second() {
        assert_eq!(relative_difference(&[2., 0.], &[1., 0.]), 1.);
        assert_eq!(relative_difference(&[0.], &[0.]), 0.);
        assert_eq!(relative_difference(&[1.], &[0.]), f64::INFINITY);
        assert!(relative_difference(&[f32::NAN], &[1.]).is_nan());
    }

    #[test]
    fn cosine_ignores_length() {
        assert!((cosine(&[1., 1.], &[3., 3.]) - 1.).abs() < 1e-15);
        assert_eq!(cosine(&[1., 0.], &[0., 5.]), 0.);
        assert_eq!(cosine(&[0., 0.], &[0., 5.]), 0.);
    }

    #[test]
    fn a_vector_has_a_part_along_and_one_across() {
        assert_eq!(along_and_across(&[3., 4.], &[2., 0.]), (3., 4.));
        assert_eq!(along_and_across(&[-3., 0.], &[5., 0.]), (-3., 0.));
        assert_eq!(along_and_across(&[3., 4.], &[0., 0.]), (0., 5.));
        assert!(along_and_across(&[f32::NAN, 1.], &[1., 0.]).1.is_nan());
        assert_eq!(distance(&[1., 2.], &[4., 6.]), 5.);
    }

    #[test]
    fn psnr_in_decibels() {
        assert!((psnr(&[0.1, 0.1], &[0., 0.], 1.) - 20.).abs() < 1e-5);
        assert_eq!(psnr(&[0.5], &[0.5], 1.), f64::INFINITY);
    }
}

//! Principal components of many channels.

use super::Generator;

/// A direction in which channels vary together.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// A unit vector with one entry per channel. Its entry of largest magnitude is positive.
    pub direction: Vec<f64>,
    /// Its share of the total variance, from 0 to 1.
    pub share: f64,
}

/// The mean of samples, and the directions of largest variance.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// The mean of each channel.
    pub mean: Vec<f64>,
    /// The directions, by falling variance.
    pub components: Vec<Component>,
}

/// Extra directions to iterate on: the next variance may be nearly as large as the last one returned.
const OVERSAMPLING: usize = 5;
const ITERATIONS: usize = 80;

impl Principal {
    /// The `count` largest components of `samples`, which have one value per channel each: the eigenvectors of their
    /// covariance, by block power iteration (Halko, Martinsson and Tropp, 2011, section 4.5). The start is fixed, so that
    /// the same samples give the same components. Fewer if there are fewer channels. `None` if there are no samples, or
    /// their lengths differ.
    pub fn of(samples: &[Vec<f64>], count: usize) -> Option<Self> {
        let channels = samples.first()?.len();
        if samples.iter().any(|sample| sample.len() != channels) {
            return None;
        }
        let n = samples.len() as f64;
        let mean: Vec<f64> = (0..channels).map(|c| samples.iter().map(|s| s[c]).sum::<f64>() / n).collect();
        let covariance = covariance(samples, &mean);
        let total: f64 = (0..channels).map(|c| covariance[c * channels + c]).sum();

        let width = (count + OVERSAMPLING).min(channels);
        let mut generator = Generator::manual_seed(0);
        let mut basis: Vec<Vec<f64>> =
            (0..width).map(|_| generator.randn(channels).into_iter().map(f64::from).collect()).collect();
        orthonormalize(&mut basis);
        for _ in 0..ITERATIONS {
            basis = basis.iter().map(|direction| product(&covariance, direction)).collect();
            orthonormalize(&mut basis);
        }
        // The eigenvectors within the span of the basis (Rayleigh–Ritz).
        let images: Vec<Vec<f64>> = basis.iter().map(|direction| product(&covariance, direction)).collect();
        let small = basis.iter().map(|a| images.iter().map(|b| dot(a, b)).collect()).collect();
        let mut axes = eigen(small);
        axes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let component = |(variance, axis): (f64, Vec<f64>)| {
            let at =
                |c: usize| axis.iter().zip(&basis).map(|(weight, direction)| weight * direction[c]).sum();
            let mut direction: Vec<f64> = (0..channels).map(at).collect();
            let largest = direction
                .iter()
                .copied()
                .fold(0., |most: f64, v| if v.abs() > most.abs() { v } else { most });
            if largest < 0. {
                direction.iter_mut().for_each(|v| *v = -*v);
            }
            Component { direction, share: if total > 0. { (variance / total).clamp(0., 1.) } else { 0. } }
        };
        Some(Self { components: axes.into_iter().take(count).map(component).collect(), mean })
    }

    /// The coordinates of a sample along each component, relative to the mean.
    pub fn project(&self, sample: &[f64]) -> Vec<f64> {
        let along = |component: &Component| {
            let values = sample.iter().zip(&self.mean).zip(&component.direction);
            values.map(|((value, mean), direction)| (value - mean) * direction).sum()
        };
        self.components.iter().map(along).collect()
    }
}

/// The covariance matrix of the channels, row-major.
fn covariance(samples: &[Vec<f64>], mean: &[f64]) -> Vec<f64> {
    let channels = mean.len();
    let mut sums = vec![0.; channels * channels];
    let mut centred = vec![0.; channels];
    for sample in samples {
        for (centred, (value, mean)) in centred.iter_mut().zip(sample.iter().zip(mean)) {
            *centred = value - mean;
        }
        for (a, row) in centred.iter().zip(sums.chunks_exact_mut(channels.max(1))) {
            row.iter_mut().zip(&centred).for_each(|(sum, b)| *sum += a * b);
        }
    }
    let over = (samples.len().max(2) - 1) as f64;
    sums.iter_mut().for_each(|sum| *sum /= over);
    sums
}

fn product(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(vector.len().max(1)).map(|row| dot(row, vector)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gram–Schmidt, twice per vector: once is not enough in floating point. A vector that depends on earlier ones becomes 0.
fn orthonormalize(basis: &mut [Vec<f64>]) {
    for at in 0..basis.len() {
        let (done, rest) = basis.split_at_mut(at);
        let direction = &mut rest[0];
        let before = dot(direction, direction).sqrt();
        for other in done.iter().chain(done.iter()) {
            let along = dot(direction, other);
            direction.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
        }
        let length = dot(direction, direction).sqrt();
        // A remainder this small is rounding error.
        let scale = if length > before * 1e-10 && length > 0. { 1. / length } else { 0. };
        direction.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Eigenvalues and eigenvectors of a small symmetric matrix, by Jacobi rotations.
fn eigen(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let n = matrix.len();
    let unit = |i: usize| (0..n).map(|j| f64::from(u8::from(i == j))).collect::<Vec<f64>>();
    // A row is an eigenvector.
    let mut vectors: Vec<Vec<f64>> = (0..n).map(unit).collect();
    for _ in 0..50 {
        let off: f64 =
            (0..n).flat_map(|p| (0..p).map(move |q| (p, q))).map(|(p, q)| matrix[p][q].powi(2)).sum();
        if off == 0. {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if matrix[p][q] == 0. {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2. * matrix[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.).sqrt());
                let t = if theta == 0. { 1. } else { t };
                let c = 1. / (t * t + 1.).sqrt();
                let s = t * c;
                for row in &mut matrix {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                for of in [&mut matrix, &mut vectors] {
                    let (upper, lower) = of.split_at_mut(q);
                    for (a, b) in upper[p].iter_mut().zip(&mut lower[0]) {
                        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
                    }
                }
            }
        }
    }
    (0..n).map(|i| matrix[i][i]).zip(vectors).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples that lie around a mean along known axes, with known variances.
    fn along(axes: &[(Vec<f64>, f64)], mean: &[f64]) -> Vec<Vec<f64>> {
        let mut samples = vec![];
        for (axis, variance) in axes {
            // Two samples on each axis: their variance along it is 2·d²/(n − 1).
            let d = (variance * (2 * axes.len() - 1) as f64 / 2.).sqrt();
            for sign in [-1., 1.] {
                samples.push(mean.iter().zip(axis).map(|(m, a)| m + sign * d * a).collect());
            }
        }
        samples
    }

    #[test]
    fn known_axes_are_found_with_their_variances_and_signs() {
        let (third, half) = (1. / 3f64.sqrt(), 1. / 2f64.sqrt());
        let sixth = 1. / 6f64.sqrt();
        let axes = [
            (vec![-third, -third, -third, 0.], 9.),
            (vec![half, -half, 0., 0.], 4.),
            (vec![sixth, sixth, -2. * sixth, 0.], 1.),
            (vec![0., 0., 0., 1.], 0.5),
        ];
        let found = Principal::of(&along(&axes, &[1., 2., 3., 4.]), 3).unwrap();
        assert_eq!(found.components.len(), 3);
        let expected = [vec![third; 3], vec![half, -half, 0.], vec![-sixth, -sixth, 2. * sixth]];
        for ((component, expected), share) in found.components.iter().zip(&expected).zip([9., 4., 1.]) {
            assert!((component.share - share / 14.5).abs() < 1e-9, "{}", component.share);
            let sign = dot(&component.direction[..3], expected).signum();
            for (a, b) in component.direction.iter().zip(expected.iter().chain(&[0.])) {
                assert!((a - sign * b).abs() < 1e-9, "{:?}", component.direction);
            }
            let largest =
                component.direction.iter().copied().fold(0f64, |m, v| if v.abs() > m.abs() { v } else { m });
            assert!(largest > 0.);
        }
        assert!(found.mean.iter().zip([1., 2., 3., 4.]).all(|(a, b)| (a - b).abs() < 1e-12));
        let projected = found.project(&[1. + third, 2. + third, 3. + third, 4.]);
        assert!((projected[0] - 1.).abs() < 1e-9 && projected[1].abs() < 1e-9, "{projected:?}");
    }

    #[test]
    fn nearly_equal_variances_are_separated() {
        let axis = |at: usize| (0..12).map(|c| f64::from(u8::from(c == at))).collect::<Vec<f64>>();
        let axes: Vec<(Vec<f64>, f64)> = (0..12).map(|c| (axis(c), 1. - 0.02 * c as f64)).collect();
        let found = Principal::of(&along(&axes, &[0.; 12]), 3).unwrap();
        for (at, component) in found.components.iter().enumerate() {
            assert!((component.direction[at] - 1.).abs() < 1e-2, "{:?}", component.direction);
        }
    }

    #[test]
    fn what_does_not_vary_has_no_share() {
        let found = Principal::of(&[vec![2., 3.], vec![2., 3.]], 3).unwrap();
        assert_eq!(found.components.len(), 2);
        assert!(found.components.iter().all(|c| c.share == 0. && c.direction.iter().all(|v| v.is_finite())));
        assert_eq!(Principal::of(&[], 3), None);
        assert_eq!(Principal::of(&[vec![1.], vec![1., 2.]], 3), None);
        let one = Principal::of(&[vec![1.]], 3).unwrap();
        assert!(one.components[0].share == 0.);
    }
}

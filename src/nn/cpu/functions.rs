//! exp and erf as polynomials that the compiler can vectorize, and [`wide`], which makes it do so.

/// Runs `work`, compiled for the vector instructions of this processor.
#[inline(always)]
pub fn wide<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// e^x within 2 units in the last place. x is clamped to -87.3..=88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r, with e^r by its series: these terms suffice for |r| < 0.35.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88. { 88. } else { x };
    // Adding and subtracting 1.5·2²³ rounds to an integer.
    const ROUND: f32 = 12_582_912.;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.;
    // 2^n, built from its bits.
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// erf(x) within 4e-7, by a rational approximation in the manner of W. J. Cody, with Eigen's coefficients.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    // From here on erf rounds to 1.
    const ONE: f32 = 3.92;
    let s = x * x;
    let mut p = -2.726_142_3e-10;
    p = p * s + 2.770_681_4e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_4e-5;
    p = p * s - 7.349_906_3e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5;
    q = q * s - 2.133_740_6e-4;
    q = q * s - 1.682_826_9e-3;
    q = q * s - 7.373_329e-3;
    q = q * s - 1.426_473_9e-2;
    let y = x * p / q;
    let y = if x > ONE { 1. } else { y };
    if x < -ONE { -1. } else { y }
}

/// x · sigmoid(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1. + exp(-x))
}

/// x · Φ(x).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1. + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// x · sigmoid(1.702 x).
#[inline(always)]
pub fn quick_gelu(x: f32) -> f32 {
    x / (1. + exp(-1.702 * x))
}

/// The sum of `of` over `values`: in `f32` by 16 lanes over runs of 256, then in `f64`.
#[inline(always)]
pub fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0f64;
    for run in values.chunks(256) {
        let mut lanes = [0f32; 16];
        let (whole, rest) = run.as_chunks::<16>();
        for sixteen in whole {
            for (lane, &x) in lanes.iter_mut().zip(sixteen) {
                *lane += of(x);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += of(x);
        }
        total += f64::from(sum_of(lanes));
    }
    total
}

/// The sum of 16 lanes, added pairwise.
#[inline(always)]
pub fn sum_of(mut lanes: [f32; 16]) -> f32 {
    let mut n = 16;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            lanes[i] += lanes[i + n];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_matches_f64() {
        for i in -8730..=8800 {
            let x = i as f32 / 100.;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.).abs() < 2.5e-7, "exp({x}) = {ours:e}, not {exact:e}");
        }
        assert_eq!(exp(0.), 1.);
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(-1e30) < 2e-38 && exp(1e30).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_matches_its_integral() {
        // Simpson's rule from 0, in steps of 1/400.
        let density = |t: f64| (-t * t).exp() * 2. / std::f64::consts::PI.sqrt();
        let (mut integral, h) = (0f64, 1. / 400.);
        for i in 0..2000 {
            let t = f64::from(i) * h;
            let x = t as f32;
            assert!((f64::from(erf(x)) - integral).abs() < 4e-7, "erf({x}) = {}, not {integral}", erf(x));
            assert_eq!(erf(-x), -erf(x));
            integral += h / 6. * (density(t) + 4. * density(t + h / 2.) + density(t + h));
        }
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn sums_of_any_length() {
        for n in [0usize, 1, 15, 16, 17, 255, 256, 257, 1000] {
            let values: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(sum(&values, |x| x), (n * (n + 1) / 2) as f64);
        }
    }

    #[test]
    fn nan_stays_nan() {
        for f in [silu, gelu, quick_gelu] {
            assert!(f(f32::NAN).is_nan());
            assert_eq!(f(0.), 0.);
            assert!((f(50.) - 50.).abs() < 1e-4 && f(-50.).abs() < 1e-6);
        }
    }
}

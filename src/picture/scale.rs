//! A sequential colour scale of growing lightness.

use image::Rgb;

/// matplotlib's `inferno` at nine equidistant points.
const INFERNO: [[f32; 3]; 9] = [
    [0., 0., 4.],
    [31., 12., 72.],
    [85., 15., 109.],
    [136., 34., 106.],
    [186., 54., 85.],
    [227., 89., 51.],
    [249., 140., 10.],
    [249., 201., 50.],
    [252., 255., 164.],
];

/// The colour of values that are not finite.
pub const NOT_FINITE: Rgb<u8> = Rgb([0, 200, 80]);

/// The colour of a share from 0 (nearly black) through red to 1 (light yellow); [`NOT_FINITE`] for NaN.
pub fn sequential(share: f32) -> Rgb<u8> {
    if !share.is_finite() {
        return NOT_FINITE;
    }
    let place = share.clamp(0., 1.) * (INFERNO.len() - 1) as f32;
    let below = (place as usize).min(INFERNO.len() - 2);
    let part = place - below as f32;
    let mix = |i: usize| INFERNO[below][i] + (INFERNO[below + 1][i] - INFERNO[below][i]) * part;
    Rgb([0, 1, 2].map(|i| mix(i).round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_lighter() {
        let luma = |share: f32| sequential(share).0.map(u32::from).iter().sum::<u32>();
        let lumas: Vec<u32> = (0..=20).map(|i| luma(i as f32 / 20.)).collect();
        assert!(lumas.is_sorted(), "{lumas:?}");
        assert_eq!((sequential(-1.), sequential(2.)), (sequential(0.), sequential(1.)));
        assert_eq!(sequential(f32::NAN), NOT_FINITE);
    }
}

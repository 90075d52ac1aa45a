//! Signed tensors on a diverging colour scale.

use super::Picture;
use super::grid::grid;
use crate::tensor::PlainTensor;
use image::{Rgb, RgbImage};

/// The largest finite magnitude of a tensor: the end of a symmetric scale.
pub fn reach(tensor: &PlainTensor) -> f32 {
    tensor.data().iter().filter(|v| v.is_finite()).fold(0f32, |most, v| most.max(v.abs()))
}

/// Every channel of `tensor` (1, C, h, w): blue below 0, white at 0, red above, saturated at ±`reach`. Values that are not finite
/// are green. `None` for another shape.
pub fn diverging(tensor: &PlainTensor, reach: f32) -> Option<Picture> {
    let (h, w, _) = tensor.plane(0)?;
    let count = tensor.shape()[1];
    let cells: Vec<RgbImage> = (0..count)
        .map(|c| {
            let (_, _, plane) = tensor.plane(c)?;
            Some(RgbImage::from_fn(w as u32, h as u32, |x, y| {
                colour(plane[y as usize * w + x as usize], reach)
            }))
        })
        .collect::<Option<_>>()?;
    Some(Picture::new(
        grid(&cells),
        format!("{count} channel{}, ±{reach:.2}", if count == 1 { "" } else { "s" }),
    ))
}

const BELOW: [f32; 3] = [33., 102., 172.];
const ZERO: [f32; 3] = [247., 247., 247.];
const ABOVE: [f32; 3] = [178., 24., 43.];
const NOT_FINITE: [u8; 3] = [0, 200, 80];

/// The colour of `v` on the scale of [`diverging`].
pub fn colour(v: f32, reach: f32) -> Rgb<u8> {
    if !v.is_finite() {
        return Rgb(NOT_FINITE);
    }
    let share = if reach > 0. { (v / reach).clamp(-1., 1.) } else { 0. };
    let end = if share < 0. { BELOW } else { ABOVE };
    let mix = |i: usize| ZERO[i] + (end[i] - ZERO[i]) * share.abs();
    Rgb([0, 1, 2].map(|i| mix(i).round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_white_and_the_ends_are_blue_and_red() {
        let tensor = PlainTensor::from_values(&[1, 1, 1, 4], vec![-2., 0., 2., f32::NAN]).unwrap();
        let picture = diverging(&tensor, reach(&tensor)).unwrap();
        let at = |x| picture.image.get_pixel(x, 0).0;
        assert_eq!([at(0), at(1), at(2), at(3)], [[33, 102, 172], [247; 3], [178, 24, 43], NOT_FINITE]);
        assert_eq!(picture.label, "1 channel, ±2.00");
    }
}

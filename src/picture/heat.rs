//! Heat maps of non-negative values, alone or over an image.

use super::Picture;
use super::scale::sequential as colour;
use crate::tensor::bicubic;
use image::{Rgb, RgbImage};
use std::ops::RangeInclusive;

/// The brightness of an image under a heat map.
const DIMMED: f32 = 0.6;
/// The opacity of the largest value.
const COVERED: f32 = 0.85;

/// The smallest and the largest value shown.
pub type Scale = RangeInclusive<f32>;

/// The smallest and the largest finite value of all maps.
pub fn scale<'a>(maps: impl IntoIterator<Item = &'a [f32]>) -> Scale {
    let finite = maps.into_iter().flatten().filter(|value| value.is_finite());
    let (low, high) = finite.fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    if low > high { 0. ..=0. } else { low..=high }
}

/// The position of `value` on `scale`, from 0 to 1; 0 if the scale is a single value.
fn share(value: f32, scale: &Scale) -> f32 {
    let wide = scale.end() - scale.start();
    if wide > 0. { ((value - scale.start()) / wide).clamp(0., 1.) } else { 0. }
}

/// `values` (height, width) as a heat map. `None` when they do not fill the size.
pub fn map(values: &[f32], (height, width): (usize, usize), scale: &Scale) -> Option<Picture> {
    if values.is_empty() || height * width != values.len() {
        return None;
    }
    let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
        colour(share(values[y as usize * width + x as usize], scale))
    });
    Some(Picture::new(image, label(scale)))
}

/// `values` (height, width), resized bicubically, over `picture` in gray. `None` when they do not fill the size.
pub fn over(picture: &Picture, values: &[f32], size: (usize, usize), scale: &Scale) -> Option<Picture> {
    let (width, height) = picture.image.dimensions();
    let large = bicubic::resized(values, 1, size, (height as usize, width as usize))?;
    let image = RgbImage::from_fn(width, height, |x, y| {
        let below = picture.image.get_pixel(x, y).0.map(f32::from);
        // Luma weights of ITU-R BT.601.
        let gray = (0.299 * below[0] + 0.587 * below[1] + 0.114 * below[2]) * DIMMED;
        let share = share(large[y as usize * width as usize + x as usize], scale);
        let heat = colour(share).0.map(f32::from);
        let covered = if share.is_finite() { COVERED * share.sqrt() } else { 1. };
        Rgb(heat.map(|heat| (gray * (1. - covered) + heat * covered).round() as u8))
    });
    Some(Picture::new(image, format!("{}, over: {}", label(scale), picture.label)))
}

/// The label of a scale: `0.012 to 0.34`.
fn label(scale: &Scale) -> String {
    format!("{} to {}", short(*scale.start()), short(*scale.end()))
}

/// A number with three significant digits.
pub fn short(value: f32) -> String {
    match value.abs() {
        0. => "0".into(),
        magnitude if (0.001..1000.).contains(&magnitude) => {
            let digits = (2 - magnitude.log10().floor() as i32).clamp(0, 5) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_scaled_and_labelled() {
        let values = [0.01, 0.02, f32::NAN, 0.034];
        let scale = scale([&values[..]]);
        let picture = map(&values, (2, 2), &scale).unwrap();
        let at = |x, y| *picture.image.get_pixel(x, y);
        assert_eq!((at(0, 0), at(1, 1), at(0, 1)), (colour(0.), colour(1.), colour(f32::NAN)));
        assert_eq!(picture.label, "0.0100 to 0.0340");
        assert_eq!(map(&values, (2, 3), &scale), None);
        assert_eq!(super::scale([&[f32::NAN][..]]), 0. ..=0.);
    }

    #[test]
    fn the_image_shows_through_where_values_are_small() {
        let mut below = RgbImage::from_pixel(4, 4, Rgb([0; 3]));
        below.put_pixel(0, 0, Rgb([200; 3]));
        let picture = Picture::new(below, "decoded by the VAE");
        let drawn = over(&picture, &[0., 1., 0., 1.], (2, 2), &(0. ..=1.)).unwrap();
        assert_eq!(drawn.image.get_pixel(0, 0).0, [120; 3]);
        assert_ne!(drawn.image.get_pixel(3, 0), drawn.image.get_pixel(0, 3));
        assert!(over(&picture, &[0.; 3], (2, 2), &(0. ..=1.)).is_none());
    }
}

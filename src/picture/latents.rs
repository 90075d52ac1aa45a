//! Latents as colours without the VAE.

use super::Picture;
use super::grid::grid;
use crate::model::LatentRgbFactors;
use crate::tensor::PlainTensor;
use image::{Rgb, RgbImage};
use tr::tr;

/// A fast preview of scaled `latents` (1, C, h, w): the linear estimate if there are factors, otherwise the channels in gray.
/// `None` for another shape.
pub fn estimate(latents: &PlainTensor, factors: Option<&LatentRgbFactors>) -> Option<Picture> {
    match factors {
        Some(factors) => linear(latents, factors),
        None => channels(latents),
    }
}

/// A linear map from latent channels to RGB, pixel by pixel.
fn linear(latents: &PlainTensor, map: &LatentRgbFactors) -> Option<Picture> {
    let (h, w, _) = latents.plane(0)?;
    let planes: Vec<&[f32]> =
        (0..map.factors.len()).map(|c| Some(latents.plane(c)?.2)).collect::<Option<_>>()?;
    let image = RgbImage::from_fn(w as u32, h as u32, |x, y| {
        let i = y as usize * w + x as usize;
        Rgb([0, 1, 2].map(|rgb| {
            let row = |(plane, factors): (&&[f32], &[f32; 3])| plane[i] * factors[rgb];
            byte(map.bias[rgb] + planes.iter().zip(&map.factors).map(row).sum::<f32>())
        }))
    });
    Some(Picture::new(image, "linear estimate"))
}

/// Each channel in gray, from -3 to 3: latents have a variance of about 1. `None` unless the shape is (1, C, h, w).
pub fn channels(latents: &PlainTensor) -> Option<Picture> {
    let (h, w, _) = latents.plane(0)?;
    let count = latents.shape()[1];
    let cells: Vec<RgbImage> = (0..count)
        .map(|c| {
            let (_, _, plane) = latents.plane(c)?;
            let gray = |v: f32| Rgb([byte((v + 3.) / 6.); 3]);
            Some(RgbImage::from_fn(w as u32, h as u32, |x, y| gray(plane[y as usize * w + x as usize])))
        })
        .collect::<Option<_>>()?;
    Some(Picture::new(grid(&cells), tr!("{count} channels, -3 to 3", count)))
}

/// 0 to 1 as a byte; NaN is 0.
fn byte(v: f32) -> u8 {
    (v.clamp(0., 1.) * 255.).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents() -> PlainTensor {
        PlainTensor::from_values(&[1, 4, 1, 2], vec![1., 0., 0., 0., 0., 0., 0., f32::NAN]).unwrap()
    }

    #[test]
    fn the_estimate_is_factors_and_bias() {
        let factors = vec![[0.5, 0., 0.], [0.; 3], [0.; 3], [0.; 3]];
        let map = LatentRgbFactors { factors, bias: [0.25, 1., 0.] };
        let picture = estimate(&latents(), Some(&map)).unwrap();
        assert_eq!(picture.image.get_pixel(0, 0), &Rgb([191, 255, 0]));
        assert_eq!(picture.label, "linear estimate");
    }

    #[test]
    fn without_factors_the_channels_are_shown() {
        let picture = estimate(&latents(), None).unwrap();
        assert_eq!(picture.image.dimensions(), (4, 2));
        assert_eq!(picture.label, "4 channels, -3 to 3");
    }

    #[test]
    fn other_shapes_give_none() {
        let ids = PlainTensor::from_values(&[1, 2], vec![1., 2.]).unwrap();
        assert_eq!(estimate(&ids, None), None);
    }
}

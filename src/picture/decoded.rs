//! The decoded image.

use super::Picture;
use crate::tensor::PlainTensor;
use image::{Rgb, RgbImage};

/// `image` (1, 3, H, W) with values from 0 to 1 as bytes, rounded half to even as in diffusers. `None` for another shape.
pub fn picture(image: &PlainTensor) -> Option<Picture> {
    let (h, w, red) = image.plane(0)?;
    let (green, blue) = (image.plane(1)?.2, image.plane(2)?.2);
    let byte = |v: f32| (v.clamp(0., 1.) * 255.).round_ties_even() as u8;
    let pixels = RgbImage::from_fn(w as u32, h as u32, |x, y| {
        let i = y as usize * w + x as usize;
        Rgb([byte(red[i]), byte(green[i]), byte(blue[i])])
    });
    Some(Picture::new(pixels, "decoded by the VAE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_goes_to_even() {
        let half = |n: f32| (n + 0.5) / 255.;
        let image = PlainTensor::from_values(&[1, 3, 1, 1], vec![half(2.), half(3.), 2.]).unwrap();
        assert_eq!(picture(&image).unwrap().image.get_pixel(0, 0).0, [2, 4, 255]);
    }
}

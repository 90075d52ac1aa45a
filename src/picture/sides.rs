//! Two tensors as pictures on one scale, and how far apart they are at each pixel.

use super::Picture;
use super::features::{Features, Row};
use super::residual::{colour, reach};
use super::scale::sequential;
use super::{decoded, scale};
use crate::tensor::{PlainTensor, Summary};
use image::{Rgb, RgbImage};
use tr::tr;

/// `found`, `reference`, and their distance at each pixel. Images are drawn in colour, feature maps by their norm over the channels,
/// embeddings as tokens × channels. `latents` (h, w) tells tokens that are pixels.
///
/// # Errors
/// When the shapes differ, or are no picture's.
pub fn sides(
    found: &PlainTensor,
    reference: &PlainTensor,
    row: Row,
    latents: (usize, usize),
) -> Result<[Picture; 3], String> {
    if found.shape() != reference.shape() {
        let text =
            |tensor: &PlainTensor| tensor.shape().iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        return Err(tr!("the shapes differ: {}, and {} in the reference", text(found), text(reference)));
    }
    let (a, b) = match (Features::of(found, row, latents), Features::of(reference, row, latents)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(why), _) | (_, Err(why)) => return tokens(found, reference, row).ok_or(why),
    };
    let heat = distance(&a, &b);
    if let ([1, 3, ..], Some(found), Some(reference)) =
        (found.shape(), decoded::picture(found), decoded::picture(reference))
    {
        return Ok([found, reference, heat]);
    }
    let norms = [a.norm(), b.norm()];
    let Summary { min, max, .. } = Summary::of_values(&norms.concat());
    let share = |v: f32| if max > min { (v - min as f32) / (max - min) as f32 } else { 0. };
    let drawn = norms.map(|norm| {
        let label = tr!(
            "norm over the channels, {min} to {max}",
            min = format_args!("{min:.2}"),
            max = format_args!("{max:.2}")
        );
        Picture::new(a.image(|pixel| shade(norm[pixel], share)), label)
    });
    let [found, reference] = drawn;
    Ok([found, reference, heat])
}

fn shade(value: f32, share: impl Fn(f32) -> f32) -> Rgb<u8> {
    if value.is_finite() { sequential(share(value)) } else { scale::NOT_FINITE }
}

/// ‖a − b‖ over the channels at each pixel.
fn distance(a: &Features, b: &Features) -> Picture {
    let distances = a.minus(b).norm();
    let most = Summary::of_values(&distances).max;
    let largest = Summary::of_values(&b.norm()).max;
    let label = tr!(
        "distance at each pixel, up to {most}: {percent} % of the largest norm",
        most = format_args!("{most:.2e}"),
        percent = match 100. * most / largest {
            percent if percent >= 1. => format!("{percent:.0}"),
            percent => format!("{percent:.1e}"),
        }
    );
    let share = |value: f32| if most > 0. { value / most as f32 } else { 0. };
    Picture::new(a.image(|pixel| shade(distances[pixel], share)), label)
}

/// (B, tokens, channels) as pictures of tokens × channels.
fn tokens(found: &PlainTensor, reference: &PlainTensor, row: Row) -> Option<[Picture; 3]> {
    let &[batch, tokens, channels] = found.shape() else { return None };
    let of = if row == Row::Uncond || batch == 1 { 0 } else { batch.checked_sub(1)? };
    let part = |tensor: &PlainTensor| {
        let count = tokens * channels;
        PlainTensor::from_values(&[tokens, channels], tensor.data()[of * count..(of + 1) * count].to_vec())
    };
    let (a, b) = (part(found)?, part(reference)?);
    let apart = a.data().iter().zip(b.data()).map(|(a, b)| a - b).collect();
    let apart = PlainTensor::from_values(&[tokens, channels], apart)?;
    let draw = |tensor: &PlainTensor, most: f32, what: String| {
        let at = |x: u32, y: u32| colour(tensor.data()[y as usize * channels + x as usize], most);
        Picture::new(RgbImage::from_fn(channels as u32, tokens as u32, at), what)
    };
    let most = reach(&a).max(reach(&b));
    let of_apart = reach(&apart);
    let label = || tr!("tokens × channels, ±{most}", most = format_args!("{most:.2}"));
    let label_apart = tr!("difference, ±{of_apart}", of_apart = format_args!("{of_apart:.2e}"));
    Some([draw(&a, most, label()), draw(&b, most, label()), draw(&apart, of_apart, label_apart)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], value: impl Fn(usize) -> f32) -> PlainTensor {
        let count = shape.iter().product();
        PlainTensor::from_values(shape, (0..count).map(value).collect()).unwrap()
    }

    #[test]
    fn the_heat_is_where_they_differ() {
        let reference = tensor(&[2, 3, 2, 2], |i| i as f32);
        // The last pixel of the second row's last channel.
        let found = tensor(&[2, 3, 2, 2], |i| if i == 23 { 9. } else { i as f32 });
        let [_, _, heat] = sides(&found, &reference, Row::Text, (2, 2)).unwrap();
        let hottest = |picture: &Picture| {
            let pixels = picture.image.enumerate_pixels();
            pixels
                .max_by_key(|(_, _, pixel)| pixel.0.iter().map(|c| u32::from(*c)).sum::<u32>())
                .map(|(x, y, _)| (x, y))
        };
        assert_eq!(hottest(&heat), Some((1, 1)));
        let [a, b, equal] = sides(&found, &reference, Row::Uncond, (2, 2)).unwrap();
        assert_eq!((a.image, equal.label.contains("0.00e0")), (b.image, true));
    }

    #[test]
    fn images_keep_their_colours_and_embeddings_are_tokens() {
        let image = tensor(&[1, 3, 2, 2], |i| i as f32 / 12.);
        assert_eq!(
            sides(&image, &image, Row::Text, (1, 1)).unwrap()[0].image,
            decoded::picture(&image).unwrap().image
        );
        let embeds = tensor(&[1, 5, 7], |i| i as f32);
        assert_eq!(sides(&embeds, &embeds, Row::Text, (8, 8)).unwrap()[2].image.dimensions(), (7, 5));
        let flat = tensor(&[2, 4], |_| 0.);
        assert!(sides(&flat, &flat, Row::Text, (8, 8)).unwrap_err().contains("its shape is 2×4"));
        assert!(sides(&flat, &embeds, Row::Text, (8, 8)).unwrap_err().contains("2×4, and 1×5×7"));
    }
}

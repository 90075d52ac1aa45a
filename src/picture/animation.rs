//! Frames as a GIF that goes on for ever.

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, ImageError, RgbImage};

/// How long a frame is shown, and the last one, in milliseconds.
const FRAME: [u32; 2] = [150, 1500];
/// Of 1 (the best colours) to 30 (the fastest).
const SPEED: i32 = 10;

/// The bytes of a GIF file of `count` frames, each asked of `frame` by its number. The last one stays longer.
///
/// # Errors
/// Those of `frame`, and the encoder's.
pub fn gif<E: From<ImageError>>(
    count: usize,
    mut frame: impl FnMut(usize) -> Result<RgbImage, E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = vec![];
    {
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, SPEED);
        encoder.set_repeat(Repeat::Infinite)?;
        for index in 0..count {
            let time = FRAME[usize::from(index + 1 == count)];
            let drawn = DynamicImage::ImageRgb8(frame(index)?).into_rgba8();
            encoder.encode_frame(Frame::from_parts(drawn, 0, 0, Delay::from_numer_denom_ms(time, 1)))?;
        }
    }
    Ok(bytes)
}

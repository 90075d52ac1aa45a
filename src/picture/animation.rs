//! Frames as a looping GIF.

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, ImageError, RgbImage};

/// Durations of a frame and of the last frame, in milliseconds.
const FRAME: [u32; 2] = [150, 1500];
/// The encoder's speed, from 1 (best colours) to 30 (fastest).
const SPEED: i32 = 10;

/// The bytes of a GIF file of `count` frames, which `frame` makes by number. The last one is shown longer.
///
/// # Errors
/// Those of `frame` and of the encoder.
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

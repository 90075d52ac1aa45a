//! Reads and decodes image files, within limits.

use super::{InitImageError, MOST_BYTES, MOST_PIXELS, format};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use tr::tr;

/// The memory limit of a decoder, in bytes: the largest image in RGB.
const MOST_MEMORY: u64 = 3 * (MOST_PIXELS as u64).pow(2);

/// Reads a file of at most [`MOST_BYTES`].
///
/// # Errors
/// When it is not a file, cannot be read, or is too large.
pub(super) fn read(name: &str) -> Result<Vec<u8>, InitImageError> {
    let wrong = |found: String| InitImageError::File { file: name.into(), found };
    let system = |e: std::io::Error| InitImageError::Unreadable { file: name.into(), found: e.to_string() };
    let path = Path::new(name);
    // Opening or reading a pipe may block for ever.
    if !path.metadata().map_err(system)?.is_file() {
        return Err(wrong(if path.is_dir() { "a folder" } else { "not a regular file" }.into()));
    }
    let mut bytes = vec![];
    let file = BufReader::new(File::open(path).map_err(system)?);
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(InitImageError::Huge { file: name.into(), found: tr!("a larger file") });
    }
    Ok(bytes)
}

/// Decodes an image, turned as its orientation says, on a white background.
///
/// # Errors
/// When the format is unsupported, the image is broken, or it is too large.
pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<RgbImage, InitImageError> {
    let wrong = |found: String| InitImageError::File { file: name.into(), found };
    let huge = |found: String| InitImageError::Huge { file: name.into(), found };
    if let Some(what) = format::unsupported(bytes) {
        return Err(wrong(tr!("{what}, which is not supported", what)));
    }
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| wrong(e.to_string()))?;
    const READ: [ImageFormat; 4] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif];
    if !reader.format().is_some_and(|format| READ.contains(&format)) {
        let found = if bytes.is_empty() { "an empty file" } else { "not an image of a known format" };
        return Err(wrong(found.into()));
    }
    let is_whole = match reader.format() {
        Some(ImageFormat::Jpeg) => is_whole_jpeg(bytes),
        Some(ImageFormat::WebP) => is_whole_webp(bytes),
        _ => true,
    };
    if !is_whole {
        return Err(wrong(TRUNCATED.into()));
    }
    let broken = |e: ImageError| match e {
        ImageError::Limits(_) => huge(tr!("an image that takes more memory")),
        other if is_truncated(&other) => wrong(TRUNCATED.into()),
        other => wrong(format!("broken: {}", one_line(&other.to_string()))),
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    // Only the header is read here.
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width > MOST_PIXELS || height > MOST_PIXELS {
        return Err(huge(format!("{width}×{height} pixels")));
    }
    if decoder.total_bytes() > MOST_MEMORY {
        return Err(huge(tr!(
            "{width}×{height} pixels of {} bytes",
            decoder.color_type().bytes_per_pixel(),
            width,
            height
        )));
    }
    // The EXIF orientation of a camera's image.
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    Ok(on_white(picture))
}

/// Whether an end marker follows the last scan: JPEG decoders fill in missing data.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const SCAN: [u8; 2] = [0xff, 0xda];
    const END: [u8; 2] = [0xff, 0xd9];
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last(END) > last(SCAN)
}

/// Whether the file is as long as its header says: the WebP decoder reports missing data as corrupt.
fn is_whole_webp(bytes: &[u8]) -> bool {
    // `RIFF` and the length of the rest.
    const HEAD: usize = 8;
    let length = bytes.get(4..HEAD).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
    length.is_some_and(|length| bytes.len() - HEAD >= length as usize)
}

/// The message about a truncated file.
const TRUNCATED: &str = "broken: the file is truncated";

/// Whether a decoder reached the end of the data: as an I/O error, or by its message.
fn is_truncated(error: &ImageError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let read = error.downcast_ref::<std::io::Error>();
        if read.is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    let text = error.to_string().to_ascii_lowercase();
    ["unexpected end of", "unexpected eof", "failed to fill whole buffer"]
        .iter()
        .any(|words| text.contains(words))
}

/// Blends an image with white by its alpha channel.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [r, g, b, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgba, RgbaImage};
    use proptest::prelude::*;

    fn png(picture: &RgbaImage) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn transparent_pixels_become_white() {
        let mut picture = RgbaImage::from_pixel(2, 1, Rgba([200, 0, 0, 0]));
        picture.put_pixel(1, 0, Rgba([0, 0, 0, 128]));
        let decoded = decode("x.png", &png(&picture)).unwrap();
        assert_eq!(decoded.get_pixel(0, 0).0, [255; 3]);
        assert_eq!(decoded.get_pixel(1, 0).0, [127; 3]);
    }

    #[test]
    fn files_that_are_not_images_are_refused() {
        let error = |bytes: &[u8]| decode("x.png", bytes).unwrap_err().to_string();
        assert!(error(b"").contains("x.png: an empty file; expected an image, PNG"));
        assert!(error(b"prompt: a cat").contains("not an image of a known format"));
        let whole = png(&RgbaImage::from_pixel(64, 64, Rgba([1, 2, 3, 255])));
        for cut in [8, 20, 40, whole.len() / 2, whole.len() - 20] {
            assert!(error(&whole[..cut]).contains("x.png: broken: "), "{cut}");
        }
        // A header that says 100,000 pixels wide.
        let mut wide = whole.clone();
        wide[16..20].copy_from_slice(&100_000u32.to_be_bytes());
        let crc = crc(&wide[12..29]);
        wide[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(
            error(&wide).contains("100000×64 pixels; expected at most 64 MB and 8192×8192"),
            "{}",
            error(&wide)
        );
    }

    #[test]
    fn jpeg_and_webp_are_read_and_truncated_ones_refused() {
        let picture = RgbImage::from_fn(64, 48, |x, y| Rgb([x as u8 * 4, y as u8 * 5, 90]));
        for format in [ImageFormat::Jpeg, ImageFormat::WebP] {
            let mut bytes = Cursor::new(vec![]);
            picture.write_to(&mut bytes, format).unwrap();
            let bytes = bytes.into_inner();
            let decoded = decode("x", &bytes).unwrap();
            assert_eq!(decoded.dimensions(), (64, 48));
            let off = decoded.as_raw().iter().zip(picture.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off < Some(60), "{format:?}: {off:?}");
            for cut in [12, bytes.len() / 2, bytes.len() - 40] {
                let error = decode("x", &bytes[..cut]);
                assert!(error.is_err_and(|e| e.to_string().contains("broken")), "{format:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn unsupported_formats_are_named() {
        let error = |bytes: &[u8]| decode("x", bytes).unwrap_err().to_string();
        for (bytes, what) in [
            (&b"BM\x36\x30\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..], "a BMP picture"),
            (b"II*\0\x08\0\0\0", "a TIFF picture"),
            (b"MM\0*\0\0\0\x08", "a TIFF picture"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIF picture"),
            (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
            (b"\xff\x0a\xfa\x7f", "a JPEG XL picture"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
            (b"8BPS\0\x01", "a Photoshop picture"),
            (b"\0\0\x01\0\x01\0", "an icon"),
            (b"P6\n2 2\n255\n", "a PNM picture"),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG picture"),
            (b"<!DOCTYPE HTML><p>404", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a git LFS pointer"),
        ] {
            let expected =
                format!("x: {what}, which is not supported; expected an image, PNG, JPEG, WebP or GIF");
            assert!(error(bytes).starts_with(&expected), "{}", error(bytes));
        }
        assert!(error(b"BMX is a bicycle").contains("not an image of a known format"));
        assert!(error(b"BM").contains("not an image of a known format"));
    }

    /// As in Pillow.
    #[test]
    fn the_first_frame_of_a_gif_is_used() {
        let frame = |colour: [u8; 4]| image::Frame::new(RgbaImage::from_pixel(8, 6, Rgba(colour)));
        let mut bytes = vec![];
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        encoder.encode_frames([frame([255, 0, 0, 255]), frame([0, 0, 255, 255])]).unwrap();
        drop(encoder);
        let decoded = decode("x.gif", &bytes).unwrap();
        assert_eq!((decoded.dimensions(), decoded.get_pixel(3, 3).0), ((8, 6), [255, 0, 0]));
        let error = decode("x.gif", &bytes[..20]).unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }

    /// The checksum of a PNG's chunk.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
            })
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic(start in 0usize..4, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let starts: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b""];
            let _ = decode("x", &[starts[start], &rest].concat());
        }

        #[test]
        fn no_changed_byte_panics(at in 0usize..500, byte in any::<u8>()) {
            let mut bytes = png(&RgbaImage::from_pixel(9, 7, Rgba([1, 2, 3, 4])));
            let place = at % bytes.len();
            bytes[place] = byte;
            let _ = decode("x", &bytes);
        }
    }
}

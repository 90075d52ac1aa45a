//! A picture that a run starts from: read from a file, or one of the drawings that the program carries.

use super::picture_format;
use candle_core::{Device, Tensor};
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, Serializer};
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

/// The drawings that the program carries, by name; `lessons/samples/README.md` says whose they are.
const SAMPLES: [(&str, &[u8]); 4] = [
    ("apple", include_bytes!("../../lessons/samples/apple.png")),
    ("cat", include_bytes!("../../lessons/samples/cat.png")),
    ("house", include_bytes!("../../lessons/samples/house.png")),
    ("pizza", include_bytes!("../../lessons/samples/pizza.png")),
];
/// What stands before the name of one of them.
const SAMPLE: &str = "sample:";
/// The largest file that is read, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// The most pixels of a side.
const MOST_PIXELS: u32 = 8192;
/// The most memory that a decoder may take, in bytes: a picture of the most pixels in RGB.
const MOST_MEMORY: u64 = 3 * (MOST_PIXELS as u64).pow(2);

/// A picture to start from (diffusers' `image`).
#[derive(Debug, Clone)]
pub struct InitImage {
    name: String,
    picture: Arc<RgbImage>,
}

/// Why a picture cannot be started from.
#[derive(Debug, thiserror::Error)]
pub enum InitImageError {
    /// A file that is none, or cannot be read.
    #[error("{file}: {found}; expected a picture, PNG, JPEG, WebP or GIF, or `sample:` and one of {}", InitImage::samples().join(", "))]
    File {
        /// As it was named.
        file: String,
        /// What is wrong with it.
        found: String,
    },
    /// A file that the system does not let be read.
    #[error("{file}: {found}; expected a readable file, or `sample:` and one of {}", InitImage::samples().join(", "))]
    Unreadable {
        /// As it was named.
        file: String,
        /// What the system says.
        found: String,
    },
    /// A file or a picture that is too large.
    #[error("{file}: {found}; expected at most {} MB and {MOST_PIXELS}×{MOST_PIXELS} pixels", MOST_BYTES >> 20)]
    Huge {
        /// As it was named.
        file: String,
        /// How large it is.
        found: String,
    },
    /// A picture that is another than the one that was kept.
    #[error("{file}: another picture ({found}); expected the one of {expected} that the run started from")]
    Another {
        /// As it was named.
        file: String,
        /// What it is.
        found: String,
        /// What was kept.
        expected: String,
    },
    /// A picture without room for a single latent.
    #[error(
        "{file}: {width}×{height} pixels; expected at least {least}×{least}, or a size for the run: --width and --height"
    )]
    Small {
        /// As it was named.
        file: String,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// The least side.
        least: usize,
    },
    /// There is no drawing of that name.
    #[error("there is no sample `{name}`; expected one of {}", InitImage::samples().join(", "))]
    Sample {
        /// The name.
        name: String,
    },
}

impl InitImage {
    /// The names of the drawings that the program carries.
    pub fn samples() -> [&'static str; SAMPLES.len()] {
        SAMPLES.map(|(name, _)| name)
    }

    /// Reads a picture: `sample:NAME`, or a file. What is transparent is put on white.
    ///
    /// # Errors
    /// [`InitImageError`].
    pub fn open(name: &str) -> Result<Self, InitImageError> {
        let bytes = match name.strip_prefix(SAMPLE) {
            Some(sample) => {
                let known = SAMPLES.iter().find(|(known, _)| *known == sample);
                let unknown = || InitImageError::Sample { name: sample.chars().take(40).collect() };
                known.ok_or_else(unknown)?.1.to_vec()
            }
            None => read(name)?,
        };
        Ok(Self { name: name.into(), picture: Arc::new(decode(name, &bytes)?) })
    }

    /// As it was named: a file, or `sample:NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a file that others read calls it: the file's name without its folders, or `sample:NAME`.
    pub fn file_name(&self) -> &str {
        file_name(&self.name)
    }

    /// Its height and width in pixels, as it is seen: turned as a camera's picture says.
    pub fn size(&self) -> (usize, usize) {
        (self.picture.height() as usize, self.picture.width() as usize)
    }

    /// The picture in the run's size, values 0 to 1: (1, 3, `height`, `width`).
    ///
    /// Another size is brought to it by Lanczos' filter, as diffusers' `VaeImageProcessor` has Pillow do it. Pillow rounds to bytes
    /// between its two passes and we do not: fewer than 1 in 1000 of a drawing's values are off by more than 1/255, beside hard
    /// edges, and those by 9/255 at most.
    ///
    /// # Errors
    /// The device's.
    pub fn tensor(&self, height: usize, width: usize, device: &Device) -> candle_core::Result<Tensor> {
        let picture = match self.size() {
            own if own == (height, width) => RgbImage::clone(&self.picture),
            _ => image::imageops::resize(&*self.picture, width as u32, height as u32, FilterType::Lanczos3),
        };
        let values: Vec<f32> = picture.into_raw().into_iter().map(|byte| f32::from(byte) / 255.).collect();
        Tensor::from_vec(values, (1, height, width, 3), device)?.permute((0, 3, 1, 2))?.contiguous()
    }
}

/// The same name and the same pixels: a file may have changed.
impl PartialEq for InitImage {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.picture, &other.picture) || self.picture == other.picture;
        self.name == other.name && same
    }
}

/// Its name.
impl Serialize for InitImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// What tells a picture from others of its name, without the folder that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitImageRecord {
    /// The file's name, or `sample:NAME`.
    pub name: String,
    width: usize,
    height: usize,
    /// SHA-256 of the pixels, row by row in RGB.
    sha256: String,
}

impl InitImageRecord {
    /// Reads the picture again: a sample, or the file of that name in the working folder.
    ///
    /// # Errors
    /// Where it is not there, or is another.
    pub fn open(&self) -> Result<InitImage, InitImageError> {
        let image = InitImage::open(&self.name)?;
        let found = Self::from(&image);
        if found == *self {
            return Ok(image);
        }
        let [found, expected] = [&found, self].map(|record| format!("{}×{}", record.width, record.height));
        Err(InitImageError::Another { file: self.name.clone(), found, expected })
    }
}

impl From<&InitImage> for InitImageRecord {
    fn from(image: &InitImage) -> Self {
        let (height, width) = image.size();
        let sha256 = digest(&SHA256, image.picture.as_raw());
        let sha256 = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: image.file_name().into(), width, height, sha256 }
    }
}

/// The name of the file in a path; of `sample:NAME` all of it.
pub fn file_name(name: &str) -> &str {
    match name.starts_with(SAMPLE) {
        true => name,
        false => Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name),
    }
}

fn read(name: &str) -> Result<Vec<u8>, InitImageError> {
    let wrong = |found: String| InitImageError::File { file: name.into(), found };
    let system = |e: std::io::Error| InitImageError::Unreadable { file: name.into(), found: e.to_string() };
    let path = Path::new(name);
    // A pipe may never end, and opening one may wait for ever.
    if !path.metadata().map_err(system)?.is_file() {
        return Err(wrong(if path.is_dir() { "a folder" } else { "no file" }.into()));
    }
    let mut bytes = vec![];
    let file = BufReader::new(File::open(path).map_err(system)?);
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(InitImageError::Huge { file: name.into(), found: "a larger file".into() });
    }
    Ok(bytes)
}

fn decode(name: &str, bytes: &[u8]) -> Result<RgbImage, InitImageError> {
    let wrong = |found: String| InitImageError::File { file: name.into(), found };
    let huge = |found: String| InitImageError::Huge { file: name.into(), found };
    if let Some(what) = picture_format::not_read(bytes) {
        return Err(wrong(format!("{what}, which is not read")));
    }
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| wrong(e.to_string()))?;
    const READ: [ImageFormat; 4] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif];
    if !reader.format().is_some_and(|format| READ.contains(&format)) {
        let found = if bytes.is_empty() { "an empty file" } else { "no picture of a known kind" };
        return Err(wrong(found.into()));
    }
    let is_whole = match reader.format() {
        Some(ImageFormat::Jpeg) => is_whole_jpeg(bytes),
        Some(ImageFormat::WebP) => is_whole_webp(bytes),
        _ => true,
    };
    if !is_whole {
        return Err(wrong(CUT_SHORT.into()));
    }
    let broken = |e: ImageError| match e {
        ImageError::Limits(_) => huge("a picture that takes more memory".into()),
        other if is_cut_short(&other) => wrong(CUT_SHORT.into()),
        other => wrong(format!("broken: {}", one_line(&other.to_string()))),
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    // The header is read, and nothing that is as large as it says.
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width > MOST_PIXELS || height > MOST_PIXELS {
        return Err(huge(format!("{width}×{height} pixels")));
    }
    if decoder.total_bytes() > MOST_MEMORY {
        return Err(huge(format!(
            "{width}×{height} pixels of {} bytes",
            decoder.color_type().bytes_per_pixel()
        )));
    }
    // A camera's pictures may lie on their side, and say so.
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    Ok(on_white(picture))
}

/// Whether there is an end behind the last scan: a decoder of JPEG makes up what is missing.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const SCAN: [u8; 2] = [0xff, 0xda];
    const END: [u8; 2] = [0xff, 0xd9];
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last(END) > last(SCAN)
}

/// Whether there are as many bytes as the file's head says: a decoder of WebP calls what is missing corrupt.
fn is_whole_webp(bytes: &[u8]) -> bool {
    // `RIFF` and the length of all that follows.
    const HEAD: usize = 8;
    let length = bytes.get(4..HEAD).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
    length.is_some_and(|length| bytes.len() - HEAD >= length as usize)
}

/// What is said of a file that ends too early.
const CUT_SHORT: &str = "broken: it ends before the picture does";

/// Whether a decoder ran out of bytes: as an error of reading, or in words of its own.
fn is_cut_short(error: &ImageError) -> bool {
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

/// A picture on a white ground.
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
    fn every_sample_is_a_small_square() {
        for name in InitImage::samples() {
            let sample = InitImage::open(&format!("sample:{name}")).unwrap();
            assert_eq!(sample.picture.dimensions(), (128, 128), "{name}");
        }
        let error = InitImage::open("sample:dragon").unwrap_err().to_string();
        assert!(error.contains("no sample `dragon`; expected one of apple, cat"), "{error}");
    }

    #[test]
    fn what_is_transparent_is_white() {
        let mut picture = RgbaImage::from_pixel(2, 1, Rgba([200, 0, 0, 0]));
        picture.put_pixel(1, 0, Rgba([0, 0, 0, 128]));
        let decoded = decode("x.png", &png(&picture)).unwrap();
        assert_eq!(decoded.get_pixel(0, 0).0, [255; 3]);
        assert_eq!(decoded.get_pixel(1, 0).0, [127; 3]);
    }

    #[test]
    fn values_are_rows_of_channels_in_the_size_asked_for() {
        let mut picture = RgbImage::from_pixel(4, 2, Rgb([255, 0, 51]));
        picture.put_pixel(3, 1, Rgb([0, 255, 0]));
        let image = InitImage { name: "x".into(), picture: Arc::new(picture) };
        let tensor = image.tensor(2, 4, &Device::Cpu).unwrap();
        assert_eq!(tensor.dims(), [1, 3, 2, 4]);
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!((values[0], values[8], values[16]), (1., 0., 0.2));
        assert_eq!((values[7], values[15], values[23]), (0., 1., 0.));
        // A plain part stays plain in another size.
        let larger = image.tensor(16, 8, &Device::Cpu).unwrap();
        assert_eq!(larger.dims(), [1, 3, 16, 8]);
        let corner: Vec<f32> = larger.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!((corner[0], corner[128], corner[256]), (1., 0., 0.2));
    }

    #[test]
    fn what_is_no_picture_says_so() {
        let said = |bytes: &[u8]| decode("x.png", bytes).unwrap_err().to_string();
        assert!(said(b"").contains("x.png: an empty file; expected a picture, PNG"));
        assert!(said(b"prompt: a cat").contains("no picture of a known kind"));
        let whole = png(&RgbaImage::from_pixel(64, 64, Rgba([1, 2, 3, 255])));
        for cut in [8, 20, 40, whole.len() / 2, whole.len() - 20] {
            assert!(said(&whole[..cut]).contains("x.png: broken: "), "{cut}");
        }
        // 100,000 pixels wide, says the header.
        let mut wide = whole.clone();
        wide[16..20].copy_from_slice(&100_000u32.to_be_bytes());
        let crc = crc(&wide[12..29]);
        wide[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(
            said(&wide).contains("100000×64 pixels; expected at most 64 MB and 8192×8192"),
            "{}",
            said(&wide)
        );
    }

    #[test]
    fn other_kinds_are_read_and_broken_ones_refused() {
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
    fn formats_that_are_not_read_are_named() {
        let said = |bytes: &[u8]| decode("x", bytes).unwrap_err().to_string();
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
            (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of git LFS"),
        ] {
            let expected =
                format!("x: {what}, which is not read; expected a picture, PNG, JPEG, WebP or GIF");
            assert!(said(bytes).starts_with(&expected), "{}", said(bytes));
        }
        assert!(said(b"BMX is a bicycle").contains("no picture of a known kind"));
        assert!(said(b"BM").contains("no picture of a known kind"));
    }

    /// Of several frames the first, as in Pillow.
    #[test]
    fn of_a_gif_the_first_frame() {
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

    #[test]
    fn what_is_no_file_says_so() {
        let said = |name: &str| InitImage::open(name).unwrap_err().to_string();
        assert!(said("/").contains("/: a folder; expected a picture"));
        assert!(said("not-there.png").contains("not-there.png: No such file"));
        #[cfg(unix)]
        assert!(said("/dev/zero").contains("/dev/zero: no file"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(start in 0usize..4, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let starts: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b""];
            let _ = decode("x", &[starts[start], &rest].concat());
        }

        #[test]
        fn no_change_of_a_picture_makes_it_panic(at in 0usize..500, byte in any::<u8>()) {
            let mut bytes = png(&RgbaImage::from_pixel(9, 7, Rgba([1, 2, 3, 4])));
            let place = at % bytes.len();
            bytes[place] = byte;
            let _ = decode("x", &bytes);
        }
    }
}

//! The start image of a run: a file, or one of the bundled drawings.
//!
//! - `decode`: reads and decodes files. `format`: unsupported formats.

mod decode;
mod format;

use crate::tensor::PlainTensor;
use candle_core::{Device, Tensor};
use decode::{decode, read};
use image::RgbImage;
use image::imageops::FilterType;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, Serializer};
use std::path::Path;
use std::sync::Arc;
use tr::tr;

/// The bundled drawings by name. `lessons/samples/README.md` states their origin.
const SAMPLES: [(&str, &[u8]); 4] = [
    ("apple", include_bytes!("../../../lessons/samples/apple.png")),
    ("cat", include_bytes!("../../../lessons/samples/cat.png")),
    ("house", include_bytes!("../../../lessons/samples/house.png")),
    ("pizza", include_bytes!("../../../lessons/samples/pizza.png")),
];
/// The prefix of their names.
const SAMPLE: &str = "sample:";
/// The largest file, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// The longest side, in pixels.
const MOST_PIXELS: u32 = 8192;

/// A start image (diffusers' `image`).
#[derive(Debug, Clone)]
pub struct InitImage {
    name: String,
    picture: Arc<RgbImage>,
}

/// Why a start image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InitImageError {
    /// Not an image file, or a broken one.
    #[error("{}", tr!(
        "{file}: {found}; expected an image, PNG, JPEG, WebP or GIF, or `sample:` and one of {}",
        InitImage::samples().join(", "), file = .file, found = .found
    ))]
    File {
        /// The name as given.
        file: String,
        /// What is wrong with it.
        found: String,
    },
    /// A file that cannot be read.
    #[error("{}", tr!(
        "{file}: {found}; expected a readable file, or `sample:` and one of {}",
        InitImage::samples().join(", "), file = .file, found = .found
    ))]
    Unreadable {
        /// The name as given.
        file: String,
        /// The system's message.
        found: String,
    },
    /// A file or an image that is too large.
    #[error("{}", tr!(
        "{file}: {found}; expected at most {} MB and {MOST_PIXELS}×{MOST_PIXELS} pixels",
        MOST_BYTES >> 20, file = .file, found = .found, MOST_PIXELS = .MOST_PIXELS
    ))]
    Huge {
        /// The name as given.
        file: String,
        /// How large it is.
        found: String,
    },
    /// An image that differs from the recorded one.
    #[error("{}", tr!(
        "{file}: a different image ({found}); expected the one of {expected} that the run started from",
        file = .file, found = .found, expected = .expected
    ))]
    Another {
        /// The name as given.
        file: String,
        /// Its size.
        found: String,
        /// The recorded size.
        expected: String,
    },
    /// An image smaller than one latent.
    #[error(
        "{}", tr!(
            "{file}: {width}×{height} pixels; expected at least {least}×{least}, or a size for the run: --width and --height",
            file = .file, width = .width, height = .height, least = .least
        ))]
    Small {
        /// The name as given.
        file: String,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// The least side.
        least: usize,
    },
    /// There is no drawing of that name.
    #[error("{}", tr!(
        "there is no sample `{name}`; expected one of {}",
        InitImage::samples().join(", "), name = .name
    ))]
    Sample {
        /// The name.
        name: String,
    },
}

impl InitImage {
    /// The names of the bundled drawings.
    pub fn samples() -> [&'static str; SAMPLES.len()] {
        SAMPLES.map(|(name, _)| name)
    }

    /// Reads `sample:NAME` or a file. Transparent pixels are blended with white.
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

    /// The start image of a recorded run, from its tensor with values from 0 to 1: (1, 3, H, W). `None` for another shape.
    pub fn of_recorded(name: &str, image: &PlainTensor) -> Option<Self> {
        let planes = [image.plane(0)?, image.plane(1)?, image.plane(2)?];
        let (height, width, _) = planes[0];
        let byte = |value: f32| (value.clamp(0., 1.) * 255.).round_ties_even() as u8;
        let picture = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            image::Rgb(planes.map(|(_, width, plane)| byte(plane[y as usize * width + x as usize])))
        });
        Some(Self { name: name.into(), picture: Arc::new(picture) })
    }

    /// The name as given: a file, or `sample:NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's name without its folders, or `sample:NAME`: for files that are shared.
    pub fn file_name(&self) -> &str {
        file_name(&self.name)
    }

    /// Its height and width in pixels, after rotation by the EXIF orientation.
    pub fn size(&self) -> (usize, usize) {
        (self.picture.height() as usize, self.picture.width() as usize)
    }

    /// The image at the run's size with values from 0 to 1: (1, 3, `height`, `width`).
    ///
    /// It is resized with Lanczos' filter, as in diffusers' `VaeImageProcessor`. Pillow rounds to bytes between its two passes, this
    /// code does not: fewer than 1 in 1000 values of a drawing differ by more than 1/255, at sharp edges, and by 9/255 at most.
    ///
    /// # Errors
    /// When the device fails.
    pub fn tensor(&self, height: usize, width: usize, device: &Device) -> candle_core::Result<Tensor> {
        let picture = match self.size() {
            own if own == (height, width) => RgbImage::clone(&self.picture),
            _ => image::imageops::resize(&*self.picture, width as u32, height as u32, FilterType::Lanczos3),
        };
        let values: Vec<f32> = picture.into_raw().into_iter().map(|byte| f32::from(byte) / 255.).collect();
        Tensor::from_vec(values, (1, height, width, 3), device)?.permute((0, 3, 1, 2))?.contiguous()
    }
}

/// Equal names and equal pixels: a file may have changed.
impl PartialEq for InitImage {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.picture, &other.picture) || self.picture == other.picture;
        self.name == other.name && same
    }
}

/// As its name.
impl Serialize for InitImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// Identifies a start image by name, size and digest, without its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitImageRecord {
    /// The file's name, or `sample:NAME`.
    pub name: String,
    width: usize,
    height: usize,
    /// SHA-256 of the RGB pixels, row-major.
    sha256: String,
}

impl InitImageRecord {
    /// Reads the image again: a sample, or the file of that name in the working directory.
    ///
    /// # Errors
    /// When it does not exist or differs.
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

/// The last component of a path; `sample:NAME` unchanged.
pub fn file_name(name: &str) -> &str {
    match name.starts_with(SAMPLE) {
        true => name,
        false => Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

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
    fn the_tensor_is_channels_first_and_has_the_requested_size() {
        let mut picture = RgbImage::from_pixel(4, 2, Rgb([255, 0, 51]));
        picture.put_pixel(3, 1, Rgb([0, 255, 0]));
        let image = InitImage { name: "x".into(), picture: Arc::new(picture) };
        let tensor = image.tensor(2, 4, &Device::Cpu).unwrap();
        assert_eq!(tensor.dims(), [1, 3, 2, 4]);
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!((values[0], values[8], values[16]), (1., 0., 0.2));
        assert_eq!((values[7], values[15], values[23]), (0., 1., 0.));
        // A uniform area keeps its colour at another size.
        let larger = image.tensor(16, 8, &Device::Cpu).unwrap();
        assert_eq!(larger.dims(), [1, 3, 16, 8]);
        let corner: Vec<f32> = larger.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!((corner[0], corner[128], corner[256]), (1., 0., 0.2));
    }

    #[test]
    fn paths_that_are_not_files_are_refused() {
        let error = |name: &str| InitImage::open(name).unwrap_err().to_string();
        assert!(error("/").contains("/: a folder; expected an image"));
        assert!(error("not-there.png").contains("not-there.png: No such file"));
        #[cfg(unix)]
        assert!(error("/dev/zero").contains("/dev/zero: not a regular file"));
    }
}

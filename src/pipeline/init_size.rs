//! The size of a run with a start image: the image's own size, or one to which the image is resized.

use super::InitImage;
use super::init_image::InitImageError;
use tr::tr;

/// The height and width in pixels of a run with a start image: each as given, or else the image's own, rounded down to a multiple
/// of `multiple` (diffusers `VaeImageProcessor.get_default_height_width`).
///
/// # Errors
/// When a side is not given and the image's own is smaller than `multiple`.
pub fn filled_in(
    image: &InitImage,
    given: (Option<usize>, Option<usize>),
    multiple: usize,
) -> Result<(usize, usize), InitImageError> {
    let (height, width) = image.size();
    let side = |given: Option<usize>, own: usize| match given {
        None if own < multiple => {
            Err(InitImageError::Small { file: image.file_name().into(), width, height, least: multiple })
        }
        None => Ok(own - own % multiple),
        Some(given) => Ok(given),
    };
    Ok((side(given.0, height)?, side(given.1, width)?))
}

/// The remark that a run has the size of its start image.
pub fn own_size_remark(image: &InitImage, (height, width): (usize, usize), multiple: usize) -> String {
    let (own_height, own_width) = image.size();
    let name = image.file_name();
    match (own_height, own_width) == (height, width) {
        true => tr!("image to image at {width}×{height} pixels, the size of {name}", width, height, name),
        false => tr!(
            "image to image at {width}×{height} pixels, the size of {name} ({own_width}×{own_height}) in multiples of {multiple}",
            width,
            height,
            name,
            own_width,
            own_height,
            multiple
        ),
    }
}

/// How a start image is resized to the size of a run. As in diffusers' `VaeImageProcessor.resize`, the aspect ratio may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resized {
    /// Not at all: the sizes are equal.
    Not,
    /// The aspect ratio stays, up to rounding to a multiple of eight.
    Scaled,
    /// The aspect ratio changes.
    Squeezed,
}

impl Resized {
    /// How `image` is resized for a run of this height and width, whose sides are multiples of `multiple`.
    pub fn of(image: &InitImage, (height, width): (usize, usize), multiple: usize) -> Self {
        let (own_height, own_width) = image.size();
        // Each side after scaling by the other side's factor.
        let [across, down] = [(own_width, height, own_height), (own_height, width, own_width)]
            .map(|(side, by, of)| side as f64 * by as f64 / of.max(1) as f64);
        let is_near = |scaled: f64, side: usize| (scaled - side as f64).abs() < multiple as f64;
        match (own_height, own_width) == (height, width) {
            true => Self::Not,
            false if is_near(across, width) || is_near(down, height) => Self::Scaled,
            false => Self::Squeezed,
        }
    }

    /// A sentence about it; `None` if the image is not resized.
    pub fn remark(self, image: &InitImage, (height, width): (usize, usize)) -> Option<String> {
        let (own_height, own_width) = image.size();
        let line = tr!(
            "{} ({own_width}×{own_height}) is resized to {width}×{height}",
            image.file_name(),
            own_width,
            own_height,
            width,
            height
        );
        match self {
            Self::Not => None,
            Self::Scaled => Some(line),
            Self::Squeezed => Some(tr!("{line}: its aspect ratio changes", line)),
        }
    }
}

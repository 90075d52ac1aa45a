//! The size of a run that starts from a picture: the picture's own, or one to which the picture is resized.

use super::InitImage;
use super::init_image::InitImageError;

/// The size of a run that starts from a picture: the height and width that are given, and for each that is not the picture's own,
/// brought down to a multiple of `multiple`, as diffusers' `VaeImageProcessor.get_default_height_width` has it. Height and width in
/// pixels.
///
/// # Errors
/// Where a side that is not given is smaller than `multiple` in the picture.
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

/// That a run has its picture's size, in a line.
pub fn own_told(image: &InitImage, (height, width): (usize, usize), multiple: usize) -> String {
    let (own_height, own_width) = image.size();
    let name = image.file_name();
    match (own_height, own_width) == (height, width) {
        true => format!("image to image at {width}×{height} pixels, the size of {name}"),
        false => format!(
            "image to image at {width}×{height} pixels, the size of {name} ({own_width}×{own_height}) in multiples of {multiple}"
        ),
    }
}

/// What becomes of a picture in a run of a size: diffusers' `VaeImageProcessor.resize` brings it to that height and width whatever
/// its shape is, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resized {
    /// It has that size.
    Not,
    /// It has that shape, to within what a multiple of eight takes off.
    Scaled,
    /// It is squeezed or stretched.
    Squeezed,
}

impl Resized {
    /// What becomes of `image` in a run of this height and width, whose sides are multiples of `multiple`.
    pub fn of(image: &InitImage, (height, width): (usize, usize), multiple: usize) -> Self {
        let (own_height, own_width) = image.size();
        // Each side, of a picture scaled by the other one.
        let [across, down] = [(own_width, height, own_height), (own_height, width, own_width)]
            .map(|(side, by, of)| side as f64 * by as f64 / of.max(1) as f64);
        let is_near = |scaled: f64, side: usize| (scaled - side as f64).abs() < multiple as f64;
        match (own_height, own_width) == (height, width) {
            true => Self::Not,
            false if is_near(across, width) || is_near(down, height) => Self::Scaled,
            false => Self::Squeezed,
        }
    }

    /// In a line; `None` where the picture stays as it is.
    pub fn told(self, image: &InitImage, (height, width): (usize, usize)) -> Option<String> {
        let (own_height, own_width) = image.size();
        let line = format!("{} ({own_width}×{own_height}) is resized to {width}×{height}", image.file_name());
        match self {
            Self::Not => None,
            Self::Scaled => Some(line),
            Self::Squeezed => Some(format!("{line}: its shape changes")),
        }
    }
}

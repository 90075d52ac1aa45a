//! A tensor in a trace's file, compared in pieces: an output of a VAE can have hundreds of megabytes.

use super::TraceError;
use super::manifest::Layout;
use super::reader::{channels_first, dtype, shape_in};
use crate::nn::weights::WeightsFile;
use crate::tensor::compare::RelativeDifference;
use candle_core::DType;
use std::ops::{ControlFlow, Range};

/// Numbers of a piece: 4 MiB as `f32`.
const PIECE: usize = 1 << 20;

/// A tensor in a trace's file.
#[derive(Debug)]
pub struct OnDisk<'a> {
    file: &'a WeightsFile,
    key: String,
    /// The shape in the order batch, channels, height, width.
    pub shape: Vec<usize>,
    /// Its dtype.
    pub dtype: DType,
    /// The number of its numbers. In the file's order of dimensions, their product is known not to overflow.
    pub count: usize,
    /// Whether the file has the channels last.
    pub is_channels_last: bool,
}

impl<'a> OnDisk<'a> {
    /// The tensor `key` of `file`, if there is one.
    pub(super) fn find(file: &'a WeightsFile, key: &str, layout: Layout) -> Option<Self> {
        let info = file.info(key)?;
        let is_channels_last = layout == Layout::Nhwc && info.shape.len() == 4;
        let count = info.shape.iter().product();
        let (shape, dtype) = (shape_in(layout, &info.shape), dtype(info.dtype));
        Some(Self { file, key: key.into(), shape, dtype, count, is_channels_last })
    }

    /// ‖a − b‖ / ‖b‖ with `b` the reference; `None` if the shapes differ. Both are read in pieces.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn relative_difference(&self, reference: &Self) -> Result<Option<f64>, TraceError> {
        if self.shape != reference.shape {
            return Ok(None);
        }
        let mut sums = RelativeDifference::default();
        match self.shape[..] {
            // One dimension is 0, and another one may be any number.
            _ if self.count == 0 => {}
            [batch, channels, height, width] if self.is_channels_last != reference.is_channels_last => {
                let rows = (PIECE / (channels * width).max(1)).clamp(1, height.max(1));
                for image in 0..batch {
                    for top in (0..height).step_by(rows) {
                        let of = top..(top + rows).min(height);
                        sums.add(&self.rows(image, of.clone())?, &reference.rows(image, of)?);
                    }
                }
            }
            _ => {
                for at in (0..self.count).step_by(PIECE) {
                    sums.add(&self.values(at..at + PIECE)?, &reference.values(at..at + PIECE)?);
                }
            }
        }
        Ok(Some(sums.value()))
    }

    /// Calls `each` with the numbers in the file's order, piece by piece, and with the index of each piece's first number. It may end
    /// it. Memory stays small however large the tensor is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pieces(&self, mut each: impl FnMut(usize, &[f32]) -> ControlFlow<()>) -> Result<(), TraceError> {
        for at in (0..self.count).step_by(PIECE) {
            if each(at, &self.values(at..at + PIECE)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn values(&self, range: Range<usize>) -> Result<Vec<f32>, TraceError> {
        Ok(self.file.values(&self.key, range)?)
    }

    /// Some rows of an image, channel by channel, of a tensor of four dimensions.
    fn rows(&self, image: usize, rows: Range<usize>) -> Result<Vec<f32>, TraceError> {
        let [_, channels, height, width] = self.shape[..] else { return Ok(vec![]) };
        if self.is_channels_last {
            let row = width * channels;
            let start = image * height * row;
            let values = self.values(start + rows.start * row..start + rows.end * row)?;
            return Ok(channels_first(&values, [1, rows.len(), width, channels]));
        }
        let mut all = Vec::with_capacity(channels * rows.len() * width);
        for channel in 0..channels {
            let start = (image * channels + channel) * height * width;
            all.extend(self.values(start + rows.start * width..start + rows.end * width)?);
        }
        Ok(all)
    }
}

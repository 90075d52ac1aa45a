//! The output of a recorded call in a size that fits the memory, read piece by piece.

use super::{RecordedCall, TraceError, TraceStage};
use crate::tensor::PlainTensor;
use std::ops::ControlFlow;

/// An output whose pixels are averaged over squares.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduced {
    /// The output: (B, C, ⌈H / side⌉, ⌈W / side⌉), or as it is recorded if `side` is 1.
    pub output: PlainTensor,
    /// The side of the squares.
    pub side: usize,
}

/// The output of `call` with at most about `most` numbers; `None` if it is not recorded, or if it is too large and has no pixels.
///
/// # Errors
/// When the file cannot be read.
pub fn reduced(stage: &TraceStage, call: &RecordedCall, most: usize) -> Result<Option<Reduced>, TraceError> {
    let Some(whole) = stage.output_on_disk(call) else { return Ok(None) };
    if whole.count <= most {
        return Ok(stage.output(call)?.map(|output| Reduced { output, side: 1 }));
    }
    let &[rows, channels, height, width] = &whole.shape[..] else { return Ok(None) };
    let side = (1..).find(|side| rows * channels * height.div_ceil(*side) * width.div_ceil(*side) <= most);
    // One square covers everything in the end.
    let side = side.unwrap_or(1).min(height.max(width));
    let (h, w) = (height.div_ceil(side), width.div_ceil(side));
    let mut sums = vec![0f32; rows * channels * h * w];
    whole.pieces(|start, piece| {
        for (at, value) in (start..).zip(piece) {
            let (row, channel, y, x) = match whole.is_channels_last {
                true => {
                    let pixel = at / channels;
                    (pixel / (height * width), at % channels, pixel / width % height, pixel % width)
                }
                false => {
                    let plane = at / (height * width);
                    (plane / channels, plane % channels, at / width % height, at % width)
                }
            };
            sums[((row * channels + channel) * h + y / side) * w + x / side] += value;
        }
        ControlFlow::Continue(())
    })?;
    for (at, sum) in sums.iter_mut().enumerate() {
        let (y, x) = (at / w % h, at % w);
        let inside = |place: usize, all: usize| ((place + 1) * side).min(all) - place * side;
        *sum /= (inside(y, height) * inside(x, width)) as f32;
    }
    let output = PlainTensor::stored(&[rows, channels, h, w], whole.dtype, sums);
    Ok(output.map(|output| Reduced { output, side }))
}

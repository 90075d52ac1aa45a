//! A tensor's values on the host.

use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// A tensor copied to the host as `f32`, cheap to clone and to send to another thread.
///
/// `dtype` is the dtype on the device, which tables show.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainTensor {
    shape: Arc<[usize]>,
    dtype: DType,
    data: Arc<[f32]>,
}

impl PlainTensor {
    /// Copies `tensor` (any shape, dtype and device) to the host.
    ///
    /// # Errors
    /// When the device cannot convert or copy it.
    pub fn of(tensor: &Tensor) -> candle_core::Result<Self> {
        let data = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Self { shape: tensor.dims().into(), dtype: tensor.dtype(), data: data.into() })
    }

    /// A tensor of values computed on the host. `None` when `data` does not fill `shape`.
    pub fn from_values(shape: &[usize], data: Vec<f32>) -> Option<Self> {
        // Without the zero first, a product of other dimensions may overflow.
        let count = match shape.contains(&0) {
            true => Some(0),
            false => shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)),
        };
        (count == Some(data.len())).then(|| Self {
            shape: shape.into(),
            dtype: DType::F32,
            data: data.into(),
        })
    }

    /// A tensor that a file stores as `dtype`. `None` when `data` does not fill `shape`.
    pub fn stored(shape: &[usize], dtype: DType, data: Vec<f32>) -> Option<Self> {
        Self::from_values(shape, data).map(|plain| Self { dtype, ..plain })
    }

    /// The values on `device`, as `dtype`.
    ///
    /// # Errors
    /// When the device cannot hold them.
    pub fn to_device(&self, device: &Device, dtype: DType) -> candle_core::Result<Tensor> {
        Tensor::from_slice(&self.data, &*self.shape, device)?.to_dtype(dtype)
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The dtype that the tensor has on its device.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Every value, in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Whether no value is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.data.iter().all(|value| value.is_finite())
    }

    /// Channel `c` of a (1, C, H, W) tensor as `(H, W, values)`; `None` for other shapes.
    pub fn plane(&self, c: usize) -> Option<(usize, usize, &[f32])> {
        let &[1, channels, h, w] = &*self.shape else {
            return None;
        };
        (c < channels).then(|| (h, w, &self.data[c * h * w..(c + 1) * h * w]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_one_channel() {
        let tensor = Tensor::arange(0f32, 12f32, &Device::Cpu).unwrap();
        let plain = PlainTensor::of(&tensor.reshape((1, 3, 2, 2)).unwrap()).unwrap();
        assert_eq!(plain.plane(1), Some((2, 2, &[4., 5., 6., 7.][..])));
        assert_eq!(plain.plane(3), None);
    }
}

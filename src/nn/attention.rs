//! Scaled dot-product attention (Vaswani et al., 2017, equation 1), head by head.

use super::layers::needs_widening;
use candle_core::{D, DType, Result, Tensor};

/// softmax(`query`·`key`ᵀ / √d + `mask`)·`value` in `heads` heads of width d = C / `heads`.
///
/// `query` (B, N, C), `key` and `value` (B, M, C), `mask` (N, M) or (B, 1, N, M), added to the scores → (B, N, C).
///
/// The query is scaled before the product and the softmax taken in `f32`, so that f16 does not overflow.
///
/// # Errors
/// When the shapes do not fit, or the device fails.
pub fn scaled_dot_product_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    heads: usize,
) -> Result<Tensor> {
    if needs_widening(query) {
        let [query, key, value] = [query, key, value].map(|x| x.to_dtype(DType::F32));
        let mixed = scaled_dot_product_attention(&query?, &key?, &value?, mask, heads)?;
        return mixed.to_dtype(DType::BF16);
    }
    let (batch, n, channels) = query.dims3()?;
    let width = channels / heads;
    // (B, N, C) → (B, heads, N, d)
    let split = |x: &Tensor| x.reshape((batch, x.dim(1)?, heads, width))?.transpose(1, 2)?.contiguous();
    let query = split(&(query / (width as f64).sqrt())?)?;
    let scores = query.matmul(&split(key)?.t()?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(&mask.to_dtype(DType::F32)?)?,
        None => scores,
    };
    let probabilities = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(value.dtype())?;
    let mixed = probabilities.matmul(&split(value)?)?;
    debug_assert_eq!(mixed.dim(D::Minus1)?, width);
    mixed.transpose(1, 2)?.reshape((batch, n, channels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensor<const N: usize>(values: &[[f32; 2]; N]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap().unsqueeze(0).unwrap()
    }

    #[test]
    fn equal_scores_average_the_values() {
        let (q, k) = (tensor(&[[0., 0.]]), tensor(&[[1., 2.], [3., 4.]]));
        let v = tensor(&[[2., 10.], [4., 30.]]);
        let out = scaled_dot_product_attention(&q, &k, &v, None, 1).unwrap();
        assert_eq!(out.to_vec3::<f32>().unwrap(), [[[3., 20.]]]);
    }

    #[test]
    fn a_mask_of_minus_infinity_hides() {
        let (q, k) = (tensor(&[[1., 1.]]), tensor(&[[1., 2.], [3., 4.]]));
        let v = tensor(&[[2., 10.], [4., 30.]]);
        let mask = Tensor::new(&[[0f32, f32::NEG_INFINITY]], &Device::Cpu).unwrap();
        let out = scaled_dot_product_attention(&q, &k, &v, Some(&mask), 2).unwrap();
        assert_eq!(out.to_vec3::<f32>().unwrap(), [[[2., 10.]]]);
    }
}

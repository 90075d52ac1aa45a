//! Scaled dot-product attention (Vaswani et al., 2017, equation 1), head by head.

use super::cpu;
use super::error::Result as ProbedResult;
use super::probe::{Path, Probe, watch};
use candle_core::{D, DType, Result, Tensor};

/// The last name in the path of an attention's probabilities.
pub const ATTENTION_PROBS: &str = "attention_probs";

/// Attention without its projections, in several heads (diffusers `AttnProcessor`).
///
/// The probabilities are a module of their own, `attention_probs` under the attention's path: (B, heads, N, M), each row a
/// softmax. They are computed only if a probe wants them; a probe may replace them.
#[derive(Debug, Clone)]
pub struct DotProductAttention {
    attention_probs: Path,
    heads: usize,
}

impl DotProductAttention {
    /// The attention at `path`, in `heads` heads.
    pub fn new(path: &Path, heads: usize) -> Self {
        Self { attention_probs: path.join(ATTENTION_PROBS), heads }
    }

    /// The number of heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// As [`scaled_dot_product_attention`], and its probabilities pass through `probe`.
    ///
    /// # Errors
    /// When the shapes do not match, or the device fails.
    pub fn forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> ProbedResult<Tensor> {
        if !probe.wants(&self.attention_probs) {
            return Ok(scaled_dot_product_attention(query, key, value, mask, self.heads)?);
        }
        let probs = watch(probe, &self.attention_probs, &[query, key], |_| {
            Ok(attention_probs(query, key, mask, self.heads)?)
        })?;
        Ok(attended(&probs, value)?)
    }
}

/// softmax(`query`·`key`ᵀ / √d + `mask`) in `f32`: `query` (B, N, C), `key` (B, M, C) → (B, `heads`, N, M).
///
/// # Errors
/// When the shapes do not match, or the device fails.
pub fn attention_probs(query: &Tensor, key: &Tensor, mask: Option<&Tensor>, heads: usize) -> Result<Tensor> {
    if query.dtype() != DType::F32 && query.device().is_cpu() {
        return attention_probs(&query.to_dtype(DType::F32)?, &key.to_dtype(DType::F32)?, mask, heads);
    }
    let width = query.dim(D::Minus1)? / heads;
    let query = split(&(query / (width as f64).sqrt())?, heads)?;
    let scores = query.matmul(&split(key, heads)?.t()?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(&mask.to_dtype(DType::F32)?)?,
        None => scores,
    };
    candle_nn::ops::softmax_last_dim(&scores)
}

/// `probs` (B, heads, N, M) times `value` (B, M, C) → (B, N, C), in the dtype of `value`.
fn attended(probs: &Tensor, value: &Tensor) -> Result<Tensor> {
    if value.dtype() != DType::F32 && value.device().is_cpu() {
        return attended(probs, &value.to_dtype(DType::F32)?)?.to_dtype(value.dtype());
    }
    let (batch, heads, n, _) = probs.dims4()?;
    let mixed = probs.to_dtype(value.dtype())?.matmul(&split(value, heads)?)?;
    mixed.transpose(1, 2)?.reshape((batch, n, value.dim(D::Minus1)?))
}

/// (B, N, C) → (B, `heads`, N, C / `heads`).
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, n, channels) = x.dims3()?;
    x.reshape((batch, n, heads, channels / heads))?.transpose(1, 2)?.contiguous()
}

/// softmax(`query`·`key`ᵀ / √d + `mask`)·`value` in `heads` heads of width d = C / `heads`.
///
/// `query` (B, N, C), `key` and `value` (B, M, C), `mask` (N, M) or (B, 1, N, M), added to the scores → (B, N, C).
///
/// The query is scaled before the product and the softmax taken in `f32`, so that f16 does not overflow.
///
/// # Errors
/// When the shapes do not match, or the device fails.
pub fn scaled_dot_product_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    heads: usize,
) -> Result<Tensor> {
    if mask.is_none() && cpu::supports(query) {
        return cpu::attention::attention(query, key, value, heads);
    }
    plain(query, key, value, mask, heads)
}

/// The same, with the whole score matrix in memory.
pub(super) fn plain(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    heads: usize,
) -> Result<Tensor> {
    attended(&attention_probs(query, key, mask, heads)?, value)
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

    /// Products of queries and keys above 65504, the largest f16, as in f16 runs of Stable Diffusion 2.1. A product in f16 is
    /// infinite; every path here matches f32.
    #[test]
    fn large_scores_do_not_overflow_in_f16() {
        struct Wanting(Option<Tensor>);
        impl Probe for Wanting {
            fn wants(&self, _: &Path) -> bool {
                true
            }
            fn exit(&mut self, _: &Path, output: Tensor) -> ProbedResult<Tensor> {
                self.0 = Some(output.clone());
                Ok(output)
            }
        }
        let (n, width, heads) = (5, 64, 2);
        let of = |seed| {
            let values = crate::tensor::Generator::manual_seed(seed).randn(n * width * heads);
            let large = Tensor::from_vec(values, (1, n, width * heads), &Device::Cpu).unwrap() * 300.;
            large.unwrap().to_dtype(DType::F16).unwrap()
        };
        let (q, k, v) = (of(0), of(1), of(2));
        let numbers =
            |x: &Tensor| x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let scores = split(&q, heads).unwrap().matmul(&split(&k, heads).unwrap().t().unwrap()).unwrap();
        assert_eq!(scores.dtype(), DType::F16);
        assert!(numbers(&scores).iter().any(|score| score.is_infinite()), "a product in f16 overflows");

        let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let exact = numbers(&plain(&wide(&q), &wide(&k), &wide(&v), None, heads).unwrap());
        let mut probe = Wanting(None);
        let attend = DotProductAttention::new(&Path::new("unet.attn1"), heads);
        let none = Tensor::zeros((n, n), DType::F16, &Device::Cpu).unwrap();
        for (how, made) in [
            ("watched", attend.forward(&q, &k, &v, None, &mut probe).unwrap()),
            ("unwatched", attend.forward(&q, &k, &v, None, &mut crate::nn::Unwatched).unwrap()),
            ("fused", cpu::attention::attention(&q, &k, &v, heads).unwrap()),
            ("plain", plain(&q, &k, &v, None, heads).unwrap()),
            ("masked", scaled_dot_product_attention(&q, &k, &v, Some(&none), heads).unwrap()),
        ] {
            assert_eq!(made.dtype(), DType::F16, "{how}");
            for (a, b) in numbers(&made).iter().zip(&exact) {
                assert!((a - b).abs() <= 1e-3 * b.abs().max(1.), "{how}: {a} and in f32 {b}");
            }
        }
        let probs = probe.0.unwrap();
        let sums = numbers(&probs.sum(D::Minus1).unwrap());
        assert!(sums.iter().all(|sum| (sum - 1.).abs() < 1e-5), "{sums:?}");
    }

    #[test]
    fn a_mask_of_minus_infinity_masks() {
        let (q, k) = (tensor(&[[1., 1.]]), tensor(&[[1., 2.], [3., 4.]]));
        let v = tensor(&[[2., 10.], [4., 30.]]);
        let mask = Tensor::new(&[[0f32, f32::NEG_INFINITY]], &Device::Cpu).unwrap();
        let out = scaled_dot_product_attention(&q, &k, &v, Some(&mask), 2).unwrap();
        assert_eq!(out.to_vec3::<f32>().unwrap(), [[[2., 10.]]]);
    }
}

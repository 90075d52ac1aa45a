//! Weights from a formula, bit for bit those of `tools/fixtures/formula.py`.

use candle_core::{Device, Tensor};

/// The 64-bit FNV-1a hash.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// Numbers in [-1, 1): element i is splitmix64's output i + 1, seeded with the hash of `name`.
pub fn uniform(name: &str) -> impl Iterator<Item = f32> + use<> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let h = fnv1a(name.bytes());
    (1u64..).map(move |i| {
        let z = h.wrapping_add(i.wrapping_mul(GOLDEN));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // 24 bits fit an f32 exactly, and so does the result.
        ((z ^ (z >> 31)) >> 40) as f32 * 2f32.powi(-23) - 1.
    })
}

/// The tensor `key` of `component` (`text_encoder`, `unet`, `vae`), the key as it stands in the checkpoint's file.
pub fn weight(component: &str, key: &str, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    if key.ends_with("position_ids") {
        let ids: Vec<i64> = (0..count as i64).collect();
        return Tensor::from_vec(ids, shape, &Device::Cpu).unwrap();
    }
    let u = uniform(&format!("{component}/{key}")).take(count);
    let values: Vec<f32> = if key.ends_with("embedding.weight") {
        u.map(|u| u * 0.5).collect()
    } else if shape.len() >= 2 {
        let fan_in: usize = shape[1..].iter().product();
        let scale = (3. / fan_in as f64).sqrt() as f32;
        u.map(|u| u * scale).collect()
    } else if key.ends_with(".weight") {
        u.map(|u| 1. + 0.1 * u).collect()
    } else {
        u.map(|u| 0.05 * u).collect()
    };
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

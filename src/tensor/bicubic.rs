//! Bicubic interpolation, as `F.interpolate(mode="bicubic", align_corners=False)` in torch, without antialiasing.

/// Keys' cubic kernel (1981) has one parameter; this is torch's.
const A: f32 = -0.75;

/// The four source pixels of an output pixel: index and weight of each.
type Taps = [(usize, f32); 4];

/// Resizes `values` from `from` = (h', w') to `to` = (h, w): (h', w', C) → (h, w, C). At the same size nothing changes. Border
/// pixels are repeated outside the image. `None` when `values` does not fill `from`, or a size is 0.
pub fn resized(
    values: &[f32],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
) -> Option<Vec<f32>> {
    let count = |size: (usize, usize)| size.0.checked_mul(size.1)?.checked_mul(channels);
    if count(from)? != values.len() || [from.0, from.1, to.0, to.1, channels].contains(&0) {
        return None;
    }
    if from == to {
        return Some(values.to_vec());
    }
    let (rows, columns) = (taps(from.0, to.0), taps(from.1, to.1));
    // First the width, then the height.
    let mut wide = vec![0f32; from.0 * to.1 * channels];
    for (small, large) in values.chunks(from.1 * channels).zip(wide.chunks_mut(to.1 * channels)) {
        for (taps, pixel) in columns.iter().zip(large.chunks_mut(channels)) {
            for (at, weight) in taps {
                add(pixel, &small[at * channels..][..channels], *weight);
            }
        }
    }
    let mut resized = vec![0f32; count(to)?];
    let row = to.1 * channels;
    for (taps, large) in rows.iter().zip(resized.chunks_mut(row)) {
        for (at, weight) in taps {
            add(large, &wide[at * row..][..row], *weight);
        }
    }
    Some(resized)
}

fn add(sum: &mut [f32], values: &[f32], weight: f32) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

/// The taps of each of `large` output pixels in a row of `small` source pixels.
fn taps(small: usize, large: usize) -> Vec<Taps> {
    let tap = |pixel: usize| {
        let at = (pixel as f32 + 0.5) * small as f32 / large as f32 - 0.5;
        let (first, share) = (at.floor(), at - at.floor());
        [-1i64, 0, 1, 2].map(|offset| {
            let place = (first as i64 + offset).clamp(0, small as i64 - 1);
            (place as usize, kernel(share - offset as f32))
        })
    };
    (0..large).map(tap).collect()
}

fn kernel(x: f32) -> f32 {
    let x = x.abs();
    match x {
        _ if x <= 1. => ((A + 2.) * x - (A + 3.)) * x * x + 1.,
        _ if x < 2. => ((A * x - 5. * A) * x + 8. * A) * x - 4. * A,
        _ => 0.,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.nn.functional.interpolate(x, size=(4, 5), mode="bicubic")`.
    #[test]
    fn as_torch_enlarges() {
        let x = [1., -2., 3., 0.5, 4., -1.];
        let expected = [
            1.406547, -0.813195, -2.632812, 0.807298, 4.003125, 1.033344, 0.097235, -0.640625, 0.922844,
            2.35625, 0.418656, 1.596766, 2.640625, 1.113156, -0.356250, 0.045453, 2.507195, 4.632812,
            1.228702, -2.003125,
        ];
        let ours = resized(&x, 1, (2, 3), (4, 5)).unwrap();
        for (ours, expected) in ours.iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-5, "{ours} {expected}");
        }
    }

    #[test]
    fn channels_are_planes_of_their_own_and_their_sums_stay() {
        let two: Vec<f32> = (0..6).flat_map(|i| [i as f32, 1. - i as f32]).collect();
        let both = resized(&two, 2, (3, 2), (7, 5)).unwrap();
        let one: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let alone = resized(&one, 1, (3, 2), (7, 5)).unwrap();
        for (pixel, alone) in both.chunks(2).zip(alone) {
            assert!((pixel[0] - alone).abs() < 1e-5);
            assert!((pixel[0] + pixel[1] - 1.).abs() < 1e-5, "the kernel's weights are 1 in all");
        }
    }

    #[test]
    fn the_same_size_changes_nothing_and_a_wrong_size_is_refused() {
        let x = [1., f32::NAN, 3., 4.];
        let same = resized(&x, 1, (2, 2), (2, 2)).unwrap();
        assert!(same[1].is_nan() && same[2] == 3.);
        assert_eq!(resized(&x, 1, (2, 3), (4, 4)), None);
        assert_eq!(resized(&[], 1, (0, 2), (4, 4)), None);
    }
}

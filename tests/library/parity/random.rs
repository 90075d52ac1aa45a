//! `Generator::randn` against `torch.randn` on the CPU.

use crate::fixture::Fixture;
use diffuscope::pipeline::Seed;
use diffuscope::tensor::Generator;

/// torch on a CPU without AVX2 differs from torch on one with it by this much; we from either by less.
const BOUND: f32 = 2e-6;

/// Seeds as Python writes them: -2^63 to 2^64 - 1.
fn generator(seed: &str) -> Generator {
    Generator::manual_seed(seed.parse::<Seed>().unwrap().folded())
}

/// The largest |ours - theirs|; NaN stays NaN.
#[track_caller]
fn largest_difference(ours: &[f32], theirs: &[f32], what: &str) -> f32 {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    differences.fold(0., |most, d| if d > most || d.is_nan() { d } else { most })
}

/// Notes the largest difference in `most` and fails where it is too large.
#[track_caller]
fn compare(ours: &[f32], theirs: &[f32], what: &str, most: &mut f32) {
    let difference = largest_difference(ours, theirs, what);
    assert!(difference <= BOUND, "{what}: off by {difference:e}, expected at most {BOUND:e}");
    *most = most.max(difference);
}

/// Every seed and size, and the draw after it.
#[test]
fn first_and_second_draws() {
    let fixture = Fixture::open("randn");
    let mut most = 0.;
    let mut in_part = 0;
    for seed in fixture.setting("seeds").split(' ') {
        for size in [1, 15, 16, 17, 1000, 16384] {
            let mut generator = generator(seed);
            for key in [format!("{seed}/{size}"), format!("{seed}/{size}/second")] {
                let ours = generator.randn(size);
                if fixture.has(&key) {
                    compare(&ours, &fixture.f32(&key), &key, &mut most);
                    continue;
                }
                // Stored in part: both ends, and the sum of all.
                in_part += 1;
                compare(&ours[..32], &fixture.f32(&format!("{key}/first")), &key, &mut most);
                compare(&ours[size - 32..], &fixture.f32(&format!("{key}/last")), &key, &mut most);
                let sum: f64 = ours.iter().map(|&x| f64::from(x)).sum();
                let theirs = fixture.f64(&format!("{key}/sum"))[0];
                assert!(
                    (sum - theirs).abs() <= f64::from(BOUND) * size as f64,
                    "{key}: sum {sum}, torch {theirs}"
                );
            }
        }
    }
    println!("largest difference: {most:e}");
    assert_eq!(in_part, 2 * 18, "draws of 16384 that are stored in part");
}

/// Draws of all sizes in a row: a draw under 16 keeps half a pair, and a large one between leaves it alone.
#[test]
fn draws_in_a_row() {
    let fixture = Fixture::open("randn");
    let mut most = 0.;
    for row in ["mixed", "mixed.1", "mixed.2"] {
        let mut generator = generator("42");
        for (i, size) in fixture.setting(&format!("{row}/sizes")).split(' ').enumerate() {
            let key = format!("{row}/{i}/{size}");
            compare(&generator.randn(size.parse().unwrap()), &fixture.f32(&key), &key, &mut most);
        }
    }
    println!("largest difference: {most:e}");
}

/// Torch's seeds are 64 bits wide, and the engine sees 32 of them.
#[test]
fn seeds_that_share_their_low_bits_draw_the_same() {
    let draw = |seed| generator(seed).randn(17);
    assert_eq!(draw("-1"), draw("4294967295"));
    assert_eq!(draw("5"), draw("4294967301"));
    assert_eq!(draw("0"), draw("-9223372036854775808"));
}

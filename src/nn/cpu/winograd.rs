//! 3×3 convolutions with a quarter of the multiplications (Winograd, 1980; Lavin and Gray, 2015: F(4×4, 3×3)).
//!
//! A tile of 4×4 outputs depends on 6×6 pixels. The input transform and the filter transform give 36 values each, which are
//! multiplied element by element and summed over channels: 36 matrix products instead of one that is nine times as deep. The
//! output transform gives the 16 outputs. The matrices are those of the paper's section 4.3, for the points 0, ±1, ±2, ∞. This file
//! is over 400 lines because the three transforms share their layouts.

#![allow(unsafe_code)]

use super::conv::Sizes;
use super::functions::wide;
use super::gemm::{Output, Strided, product_alone};
use super::par::{self, DisjointMut};
use super::weight::{PackedCache, SMALL, Weight};
use std::ops::Range;

/// The largest transformed input of a band, in elements: it should stay in cache.
const BAND: usize = 4 << 20;
/// The largest transformed filters of a task, in elements.
const KERNELS: usize = 1 << 20;
/// Values in a transformed tile.
const TILE: usize = 36;
/// Filters that are transformed at once.
const LANES: usize = 16;
/// With fewer tiles, vector instructions run over outputs instead of tiles.
const FEW: usize = 16;

/// Whether this is faster: the channels are enough, and the tiles outweigh the cost of the filter transform.
pub(super) fn suits(sizes: Sizes) -> bool {
    let Sizes { batch, channels, height, width, side, stride, padding, .. } = sizes;
    (side, stride, padding) == (3, 1, 1)
        && channels >= 16
        && batch * height.div_ceil(4) * width.div_ceil(4) >= 8
}

/// `x` (B, C, H, W), `weight` (O, C, 3, 3), `bias` (O) → (B, O, H, W).
pub(super) fn conv3x3(
    x: &[f32],
    weight: Weight<'_>,
    bias: &[f32],
    out: &DisjointMut<'_>,
    sizes: Sizes,
    cache: &PackedCache,
) {
    let Sizes { batch, channels, outputs, height, width, .. } = sizes;
    let (rows, across) = (height.div_ceil(4), width.div_ceil(4));
    let cached = (channels * outputs * 9 <= SMALL).then(|| {
        cache.packed.get_or_init(|| {
            let mut kernels = vec![0f32; TILE * outputs * channels];
            weight.with(0..outputs * channels * 9, |weight| filter_transform(weight, channels, &mut kernels));
            kernels
        })
    });
    // The rows of tiles of all images.
    let all = batch * rows;
    let at_once = (BAND / (TILE * channels * across)).clamp(1, all.max(1));
    for top in (0..all).step_by(at_once) {
        let band = top..(top + at_once).min(all);
        let tiles = band.len() * across;
        let parts = par::parts(TILE * tiles * channels * outputs, outputs / LANES);
        let parts = parts.max(outputs.div_ceil(128)).max((outputs * channels * TILE).div_ceil(KERNELS));
        let parts = parts.min(outputs.div_ceil(LANES)).next_multiple_of(if parts > 1 { 2 } else { 1 });
        par::scratch(TILE * channels * tiles, |pixels| {
            input_transform(x, pixels, band.clone(), sizes);
            let pixels: &[f32] = pixels;
            par::for_each(parts, |i| {
                let of = par::part(i, parts, outputs, LANES);
                par::scratch(TILE * of.len() * tiles, |products| {
                    let by_tiles = tiles < FEW;
                    let multiply = |kernels: &[f32], first: usize, outputs: usize, products: &mut [f32]| {
                        for tap in 0..TILE {
                            let kernels =
                                (kernels, Strided::rows(tap * channels * outputs + first, outputs).t());
                            let pixels = (pixels, Strided::rows(tap * channels * tiles, tiles));
                            let start = tap * of.len() * tiles;
                            let made = if by_tiles {
                                Strided::rows(start, of.len()).t()
                            } else {
                                Strided::rows(start, tiles)
                            };
                            let sizes = (of.len(), channels, tiles);
                            product_alone(sizes, kernels, pixels, (&mut *products, made), Output::Overwrite);
                        }
                    };
                    match cached {
                        Some(kernels) => multiply(kernels, of.start, outputs, products),
                        None => par::scratch(TILE * of.len() * channels, |kernels| {
                            let range = of.start * channels * 9..of.end * channels * 9;
                            weight.with(range, |weight| filter_transform(weight, channels, kernels));
                            multiply(kernels, 0, of.len(), products);
                        }),
                    }
                    if by_tiles {
                        output_transform_by_tile(products, bias, out, of.clone(), band.clone(), sizes);
                    } else {
                        output_transform(products, bias, out, of.clone(), band.clone(), sizes);
                    }
                });
            });
        });
    }
}

/// The filter transform: (O, C, 3, 3) → G g Gᵀ of each filter: (36, C, O).
fn filter_transform(weight: &[f32], channels: usize, kernels: &mut [f32]) {
    let outputs = weight.len() / (9 * channels);
    for first in (0..outputs).step_by(LANES) {
        let lanes = LANES.min(outputs - first);
        let weight = &weight[first * channels * 9..(first + lanes) * channels * 9];
        wide(
            #[inline(always)]
            || {
                for channel in 0..channels {
                    // Each of the nine taps, then each of the 36 values, for one output a lane.
                    let mut taps = [[0f32; LANES]; 9];
                    for lane in 0..lanes {
                        let nine = &weight[(lane * channels + channel) * 9..][..9];
                        for (tap, &value) in taps.iter_mut().zip(nine) {
                            tap[lane] = value;
                        }
                    }
                    // G g: three columns of six. Then each row times Gᵀ.
                    let down: [_; 3] = std::array::from_fn(
                        #[inline(always)]
                        |column| apply_g(taps[column], taps[3 + column], taps[6 + column]),
                    );
                    let rows = down[0].iter().zip(&down[1]).zip(&down[2]);
                    for (row, ((&a, &b), &c)) in rows.enumerate() {
                        let across = apply_g(a, b, c);
                        for (column, values) in across.iter().enumerate() {
                            let start = ((row * 6 + column) * channels + channel) * outputs + first;
                            kernels[start..start + lanes].copy_from_slice(&values[..lanes]);
                        }
                    }
                }
            },
        );
    }
}

/// G (a, b, c) in each lane.
#[inline(always)]
fn apply_g(a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [[f32; LANES]; 6] {
    const SIXTH: f32 = 1. / 6.;
    let mut out = [[0f32; LANES]; 6];
    for i in 0..LANES {
        let (a, b, c) = (a[i], b[i], c[i]);
        let (ends, quarter) = ((a + c) * -SIXTH, a * (1. / 24.) + c * SIXTH);
        out[0][i] = a * 0.25;
        out[1][i] = ends - b * SIXTH;
        out[2][i] = ends + b * SIXTH;
        out[3][i] = quarter + b * (1. / 12.);
        out[4][i] = quarter - b * (1. / 12.);
        out[5][i] = c;
    }
    out
}

/// Writes `of` six lines to six other lines of the same length, element by element. Separate arguments tell the compiler that
/// the lines do not overlap.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "one argument for each output line")]
fn write_six(
    from: [&[f32]; 6],
    a: &mut [f32],
    b: &mut [f32],
    c: &mut [f32],
    d: &mut [f32],
    e: &mut [f32],
    f: &mut [f32],
    of: impl Fn([f32; 6]) -> [f32; 6],
) {
    let n = a.len();
    let (b, c, d, e, f) = (&mut b[..n], &mut c[..n], &mut d[..n], &mut e[..n], &mut f[..n]);
    let [u, v, w, x, y, z] = from;
    let (u, v, w, x, y, z) = (&u[..n], &v[..n], &w[..n], &x[..n], &y[..n], &z[..n]);
    for i in 0..n {
        [a[i], b[i], c[i], d[i], e[i], f[i]] = of([u[i], v[i], w[i], x[i], y[i], z[i]]);
    }
}

/// Bᵀ d.
#[inline(always)]
fn apply_bt(d: [f32; 6]) -> [f32; 6] {
    let (even, odd) = (d[4] - 4. * d[2], d[3] - 4. * d[1]);
    let (near, far) = (d[4] - d[2], 2. * (d[3] - d[1]));
    [
        4. * d[0] - 5. * d[2] + d[4],
        even + odd,
        even - odd,
        near + far,
        near - far,
        4. * d[1] - 5. * d[3] + d[5],
    ]
}

/// Aᵀ m.
#[inline(always)]
fn apply_at(m: [f32; 6]) -> [f32; 4] {
    let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
    let (far_sum, far_difference) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + sum + far_sum,
        difference + 2. * far_difference,
        sum + 4. * far_sum,
        difference + 8. * far_difference + m[5],
    ]
}

/// The input transform of a band of rows of tiles: (B, C, H, W) → Bᵀ d B of each tile: (36, C, tiles).
fn input_transform(x: &[f32], pixels: &mut [f32], band: Range<usize>, sizes: Sizes) {
    let Sizes { channels, height, width, .. } = sizes;
    let (rows, across) = (height.div_ceil(4), width.div_ceil(4));
    let tiles = band.len() * across;
    let pixels = DisjointMut::new(pixels);
    let at_once = ((1 << 12) / tiles.max(1)).clamp(1, channels);
    par::for_each(channels.div_ceil(at_once), |task| {
        // `plain` holds pixel (r, p) of all tiles in line 6 r + p; `down` holds Bᵀ d.
        par::scratch(2 * TILE * tiles, |lines| {
            let (plain, down) = lines.split_at_mut(TILE * tiles);
            for channel in task * at_once..((task + 1) * at_once).min(channels) {
                for (i, row) in band.clone().enumerate() {
                    let plane = (row / rows * channels + channel) * height * width;
                    let plane = &x[plane..plane + height * width];
                    for (r, parts) in plain.chunks_exact_mut(6 * tiles).enumerate() {
                        let y = (row % rows * 4 + r).checked_sub(1).filter(|&y| y < height);
                        let line = y.map(|y| &plane[y * width..(y + 1) * width]);
                        let at = i * across..(i + 1) * across;
                        let [a, b, c, d, e, f] = six_mut(parts, tiles);
                        let to = (&mut a[at.clone()], &mut b[at.clone()], &mut c[at.clone()]);
                        let more = (&mut d[at.clone()], &mut e[at.clone()], &mut f[at]);
                        wide(
                            #[inline(always)]
                            || {
                                part_by_four(
                                    line.unwrap_or_default(),
                                    to.0,
                                    to.1,
                                    to.2,
                                    more.0,
                                    more.1,
                                    more.2,
                                )
                            },
                        );
                    }
                }
                let from: [&[f32]; 6] = std::array::from_fn(|r| &plain[r * 6 * tiles..(r + 1) * 6 * tiles]);
                let [a, b, c, d, e, f] = six_mut(down, 6 * tiles);
                wide(
                    #[inline(always)]
                    || write_six(from, a, b, c, d, e, f, apply_bt),
                );
                for (r, parts) in down.chunks_exact(6 * tiles).enumerate() {
                    let to = |column: usize| {
                        let start = ((r * 6 + column) * channels + channel) * tiles;
                        // SAFETY: no other task has this channel, and columns do not overlap.
                        unsafe { pixels.slice_mut(start..start + tiles) }
                    };
                    let t = (to(0), to(1), to(2), to(3), to(4), to(5));
                    let from: [&[f32]; 6] = std::array::from_fn(|p| &parts[p * tiles..(p + 1) * tiles]);
                    wide(
                        #[inline(always)]
                        || write_six(from, t.0, t.1, t.2, t.3, t.4, t.5, apply_bt),
                    );
                }
            }
        });
    });
}

/// Six parts of `len` elements each.
#[inline(always)]
fn six_mut(values: &mut [f32], len: usize) -> [&mut [f32]; 6] {
    let (a, rest) = values.split_at_mut(len);
    let (b, rest) = rest.split_at_mut(len);
    let (c, rest) = rest.split_at_mut(len);
    let (d, rest) = rest.split_at_mut(len);
    let (e, rest) = rest.split_at_mut(len);
    [a, b, c, d, e, &mut rest[..len]]
}

/// Splits a row of an image into six parts: pixel 4 i + p - 1 goes to index i of part p. Outside the row pixels are 0.
#[inline(always)]
fn part_by_four(
    row: &[f32],
    p0: &mut [f32],
    p1: &mut [f32],
    p2: &mut [f32],
    p3: &mut [f32],
    p4: &mut [f32],
    p5: &mut [f32],
) {
    let across = p0.len();
    let (fours, rest) = row.as_chunks::<4>();
    let whole = fours.len();
    {
        let (p1, p2, p3, p4) = (&mut p1[..whole], &mut p2[..whole], &mut p3[..whole], &mut p4[..whole]);
        for (i, four) in fours.iter().enumerate() {
            [p1[i], p2[i], p3[i], p4[i]] = *four;
        }
    }
    if whole < across {
        // The row ends within a group of four, or is missing.
        for (p, part) in [&mut *p1, &mut *p2, &mut *p3, &mut *p4].into_iter().enumerate() {
            part[whole..].fill(0.);
            part[whole] = rest.get(p).copied().unwrap_or(0.);
        }
    }
    p0[0] = 0.;
    p0[1..].copy_from_slice(&p4[..across - 1]);
    p5[..across - 1].copy_from_slice(&p1[1..]);
    p5[across - 1] = 0.;
}

/// The output transform of a band of rows of tiles, for the outputs `of`: (36, `of`, tiles) → Aᵀ m A of each tile, plus `bias`, in
/// `out` (B, O, H, W).
fn output_transform(
    products: &[f32],
    bias: &[f32],
    out: &DisjointMut<'_>,
    of: Range<usize>,
    band: Range<usize>,
    sizes: Sizes,
) {
    let Sizes { outputs, height, width, .. } = sizes;
    let (rows, across) = (height.div_ceil(4), width.div_ceil(4));
    let tiles = band.len() * across;
    par::scratch((4 * 6 + 4) * tiles, |lines| {
        // `down` holds Aᵀ m; `fours` holds one line of each tile's outputs.
        let (down, fours) = lines.split_at_mut(4 * 6 * tiles);
        for (i, o) in of.clone().enumerate() {
            for (column, to) in down.chunks_exact_mut(4 * tiles).enumerate() {
                let line = |r: usize| &products[((r * 6 + column) * of.len() + i) * tiles..][..tiles];
                let from: [&[f32]; 6] = std::array::from_fn(line);
                let (a, rest) = to.split_at_mut(tiles);
                let (b, rest) = rest.split_at_mut(tiles);
                let (c, d) = rest.split_at_mut(tiles);
                wide(
                    #[inline(always)]
                    || write_four(from, a, b, c, d),
                );
            }
            for y in 0..4 {
                let from: [&[f32]; 6] =
                    std::array::from_fn(|column| &down[(column * 4 + y) * tiles..][..tiles]);
                wide(
                    #[inline(always)]
                    || write_fours(from, &mut fours.as_chunks_mut::<4>().0[..tiles], bias[o]),
                );
                for (row, fours) in band.clone().zip(fours.chunks_exact(4 * across)) {
                    let top = row % rows * 4 + y;
                    if top < height {
                        let start = ((row / rows * outputs + o) * height + top) * width;
                        // SAFETY: no other task has this output, and tasks of other bands do not run now.
                        unsafe { out.slice_mut(start..start + width) }.copy_from_slice(&fours[..width]);
                    }
                }
            }
        }
    });
}

/// [`output_transform`] of (36, tiles, `of`), for few tiles: one tile at a time, vectorized over outputs.
fn output_transform_by_tile(
    products: &[f32],
    bias: &[f32],
    out: &DisjointMut<'_>,
    of: Range<usize>,
    band: Range<usize>,
    sizes: Sizes,
) {
    let Sizes { outputs, height, width, .. } = sizes;
    let (rows, across) = (height.div_ceil(4), width.div_ceil(4));
    let (tiles, n) = (band.len() * across, of.len());
    par::scratch((4 * 6 + 4) * n, |lines| {
        let (down, fours) = lines.split_at_mut(4 * 6 * n);
        for tile in 0..tiles {
            for (column, to) in down.chunks_exact_mut((4 * n).max(1)).enumerate() {
                let line = |r: usize| &products[((r * 6 + column) * tiles + tile) * n..][..n];
                let from: [&[f32]; 6] = std::array::from_fn(line);
                let (a, rest) = to.split_at_mut(n);
                let (b, rest) = rest.split_at_mut(n);
                let (c, d) = rest.split_at_mut(n);
                wide(
                    #[inline(always)]
                    || write_four(from, a, b, c, d),
                );
            }
            let (row, left) = (band.start + tile / across, tile % across * 4);
            let inside = 4.min(width - left);
            for y in (0..4).take_while(|y| row % rows * 4 + y < height) {
                let from: [&[f32]; 6] = std::array::from_fn(|column| &down[(column * 4 + y) * n..][..n]);
                let fours = &mut fours.as_chunks_mut::<4>().0[..n];
                wide(
                    #[inline(always)]
                    || write_fours(from, fours, 0.),
                );
                for (o, four) in of.clone().zip(fours) {
                    let line = (row / rows * outputs + o) * height + row % rows * 4 + y;
                    // SAFETY: no other task has this output, and tasks of other bands do not run now.
                    let to = unsafe { out.slice_mut(line * width + left..line * width + left + inside) };
                    to.iter_mut().zip(four).for_each(|(to, value)| *to = *value + bias[o]);
                }
            }
        }
    });
}

/// Writes [`apply_at`] of six lines to four other lines of the same length, as [`write_six`] does.
#[inline(always)]
fn write_four(from: [&[f32]; 6], a: &mut [f32], b: &mut [f32], c: &mut [f32], d: &mut [f32]) {
    let n = a.len();
    let (b, c, d) = (&mut b[..n], &mut c[..n], &mut d[..n]);
    let [u, v, w, x, y, z] = from;
    let (u, v, w, x, y, z) = (&u[..n], &v[..n], &w[..n], &x[..n], &y[..n], &z[..n]);
    for i in 0..n {
        [a[i], b[i], c[i], d[i]] = apply_at([u[i], v[i], w[i], x[i], y[i], z[i]]);
    }
}

/// Writes [`apply_at`] of six lines plus `bias`: four values for each element.
#[inline(always)]
fn write_fours(from: [&[f32]; 6], fours: &mut [[f32; 4]], bias: f32) {
    let n = fours.len();
    let [u, v, w, x, y, z] = from;
    let (u, v, w, x, y, z) = (&u[..n], &v[..n], &w[..n], &x[..n], &y[..n], &z[..n]);
    for i in 0..n {
        let [a, b, c, d] = apply_at([u[i], v[i], w[i], x[i], y[i], z[i]]);
        fours[i] = [a + bias, b + bias, c + bias, d + bias];
    }
}

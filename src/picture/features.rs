//! Feature maps of a module: channel by channel, as principal components, as mean and norm.

use super::Picture;
use super::grid::grid;
use super::residual::{colour, reach};
use super::scale::{NOT_FINITE, sequential};
use crate::tensor::principal::Principal;
use crate::tensor::{PlainTensor, Summary};
use image::{Rgb, RgbImage};
use tr::tr;

/// How channels are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Drawn {
    /// As three principal components in red, green and blue.
    #[default]
    Pca,
    /// Each channel in gray from its smallest value to its largest.
    Grid,
    /// As [`Grid`](Self::Grid), by falling standard deviation.
    Sorted,
    /// Their mean.
    Mean,
    /// Their Euclidean norm.
    Norm,
}

/// A row of the UNet's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Row {
    /// With the prompt.
    #[default]
    Text,
    /// Without the prompt, or under the negative prompt.
    Uncond,
    /// With the prompt − without.
    Difference,
}

impl Drawn {
    /// Every drawing with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("pca", Self::Pca),
        ("grid", Self::Grid),
        ("sorted", Self::Sorted),
        ("mean", Self::Mean),
        ("norm", Self::Norm),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, drawn)| *drawn == self).map_or("", |(name, _)| name)
    }
}

impl Row {
    /// Every row with its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("text", Self::Text), ("uncond", Self::Uncond), ("difference", Self::Difference)];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, row)| *row == self).map_or("", |(name, _)| name)
    }
}

/// The feature maps of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    height: usize,
    width: usize,
    /// One map per channel, row-major.
    channels: Vec<Vec<f32>>,
}

/// The approximate side of a grid in pixels: larger maps are reduced by averaging squares.
const MOST: usize = 1536;
/// The largest number of pixels for principal components, evenly spread.
const SAMPLES: usize = 4096;
/// Standard deviations of a component that its colour range covers on either side.
const SPAN: f64 = 2.5;

impl Features {
    /// The channels of a row of `output`: (B, C, H, W), or tokens (B, N, C) that are the N pixels of a level of `latents` (h, w).
    /// If B is 1, `row` is ignored.
    ///
    /// # Errors
    /// When the shape is another: what was found and what would be right.
    pub fn of(output: &PlainTensor, row: Row, latents: (usize, usize)) -> Result<Self, String> {
        let (batch, channels, height, width, is_tokens) = match *output.shape() {
            [b, c, h, w] => (b, c, h, w, false),
            [b, n, c] => {
                let (h, w) = folded(n, latents).ok_or_else(|| {
                    tr!(
                        "its shape is {b}×{n}×{c}, and {n} tokens do not match a level of {}×{} latents",
                        latents.0,
                        latents.1,
                        b,
                        n,
                        c
                    )
                })?;
                (b, c, h, w, true)
            }
            ref other => {
                let shape = other.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
                return Err(tr!(
                    "its shape is {shape}; expected channels of pixels, or tokens that are pixels",
                    shape
                ));
            }
        };
        let pixels = height * width;
        if batch == 0 || channels == 0 || pixels == 0 {
            return Err(tr!("it is empty"));
        }
        let value = |b: usize, c: usize, pixel: usize| match is_tokens {
            true => output.data()[(b * pixels + pixel) * channels + c],
            false => output.data()[(b * channels + c) * pixels + pixel],
        };
        let of = |c: usize, pixel: usize| match row {
            _ if batch == 1 => value(0, c, pixel),
            Row::Uncond => value(0, c, pixel),
            Row::Text => value(1, c, pixel),
            Row::Difference => value(1, c, pixel) - value(0, c, pixel),
        };
        let channels = (0..channels).map(|c| (0..pixels).map(|pixel| of(c, pixel)).collect()).collect();
        Ok(Self { height, width, channels })
    }

    /// The drawing of the channels.
    pub fn picture(&self, drawn: Drawn) -> Picture {
        match drawn {
            Drawn::Grid | Drawn::Sorted => self.grid(drawn == Drawn::Sorted),
            Drawn::Pca => self.principal(),
            Drawn::Mean => {
                let mean = self.over_channels(|values| values.sum::<f32>() / self.channels.len() as f32);
                let reach =
                    PlainTensor::from_values(&[mean.len()], mean.clone()).map_or(0., |mean| reach(&mean));
                let image = self.image(|pixel| colour(mean[pixel], reach));
                Picture::new(
                    image,
                    tr!(
                        "mean of {} channels, ±{reach}",
                        self.channels.len(),
                        reach = format_args!("{:.3}", reach)
                    ),
                )
            }
            Drawn::Norm => {
                let norm = self.norm();
                let Summary { min, max, .. } = Summary::of_values(&norm);
                let share =
                    |v: f32| if max > min { (v - min as f32) / (max - min) as f32 } else { v - min as f32 };
                let image = self.image(|pixel| sequential(share(norm[pixel])));
                Picture::new(
                    image,
                    tr!(
                        "norm over {} channels, {min} to {max}",
                        self.channels.len(),
                        min = format_args!("{:.2}", min),
                        max = format_args!("{:.2}", max)
                    ),
                )
            }
        }
    }

    /// The Euclidean norm over the channels at each pixel.
    pub fn norm(&self) -> Vec<f32> {
        self.over_channels(|values| values.map(|v| v * v).sum::<f32>().sqrt())
    }

    /// The difference to feature maps of the same shape.
    pub fn minus(&self, other: &Self) -> Self {
        let pairs = self.channels.iter().zip(&other.channels);
        let channels = pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect()).collect();
        Self { channels, ..*self }
    }

    /// An image of their size.
    pub fn image(&self, colour: impl Fn(usize) -> Rgb<u8>) -> RgbImage {
        let at = |x: u32, y: u32| colour(y as usize * self.width + x as usize);
        RgbImage::from_fn(self.width as u32, self.height as u32, at)
    }

    fn over_channels(&self, of: impl Fn(&mut dyn Iterator<Item = f32>) -> f32) -> Vec<f32> {
        let value = |pixel: usize| of(&mut self.channels.iter().map(|channel| channel[pixel]));
        (0..self.height * self.width).map(value).collect()
    }

    fn grid(&self, sorted: bool) -> Picture {
        let count = self.channels.len();
        let columns = (count as f64).sqrt().ceil() as usize;
        let shrink = (columns * self.height.max(self.width)).div_ceil(MOST).max(1);
        let mut summed: Vec<(&Vec<f32>, Summary)> =
            self.channels.iter().map(|channel| (channel, Summary::of_values(channel))).collect();
        if sorted {
            summed.sort_by(|(_, a), (_, b)| b.std.total_cmp(&a.std));
        }
        let cells: Vec<RgbImage> = summed.iter().map(|(channel, s)| self.cell(channel, s, shrink)).collect();
        let order = if sorted { ", by falling std" } else { "" };
        Picture::new(grid(&cells), tr!("{count} channels, each from its min to its max{order}", count, order))
    }

    /// A channel in gray, with a dark line on the right and below if it is large enough.
    fn cell(&self, channel: &[f32], summary: &Summary, shrink: usize) -> RgbImage {
        const LINE: Rgb<u8> = Rgb([24, 28, 36]);
        let (w, h) = (self.width.div_ceil(shrink), self.height.div_ceil(shrink));
        let line = usize::from(w >= 8 && h >= 8);
        let (min, max) = (summary.min as f32, summary.max as f32);
        let gray = |v: f32| match v.is_finite() {
            true if max > min => Rgb([((v - min) / (max - min) * 255.).round() as u8; 3]),
            true => Rgb([127; 3]),
            false => NOT_FINITE,
        };
        RgbImage::from_fn((w + line) as u32, (h + line) as u32, |x, y| {
            let (x, y) = (x as usize, y as usize);
            if x >= w || y >= h {
                return LINE;
            }
            let rows = y * shrink..((y + 1) * shrink).min(self.height);
            let columns = x * shrink..((x + 1) * shrink).min(self.width);
            let count = (rows.len() * columns.len()) as f32;
            let values = rows.flat_map(|y| columns.clone().map(move |x| channel[y * self.width + x]));
            gray(values.sum::<f32>() / count)
        })
    }

    fn principal(&self) -> Picture {
        let pixels = self.height * self.width;
        let sample = |pixel: usize| -> Vec<f64> {
            self.channels.iter().map(|channel| f64::from(channel[pixel])).collect()
        };
        let every = pixels.div_ceil(SAMPLES).max(1);
        let samples: Vec<Vec<f64>> = (0..pixels)
            .step_by(every)
            .map(sample)
            .filter(|sample| sample.iter().all(|value| value.is_finite()))
            .collect();
        let Some(principal) = Principal::of(&samples, 3) else {
            return Picture::new(self.image(|_| NOT_FINITE), "no pixel is finite");
        };
        let projected: Vec<Vec<f64>> = (0..pixels).map(|pixel| principal.project(&sample(pixel))).collect();
        let spread = |axis: usize| {
            let values: Vec<f32> = projected.iter().map(|values| values[axis] as f32).collect();
            Summary::of_values(&values).std
        };
        let spreads: Vec<f64> = (0..principal.components.len()).map(spread).collect();
        let image = self.image(|pixel| {
            let values = &projected[pixel];
            if values.iter().any(|value| !value.is_finite()) {
                return NOT_FINITE;
            }
            Rgb([0, 1, 2].map(|axis| match (values.get(axis), spreads.get(axis)) {
                (Some(value), Some(spread)) if *spread > 0. => {
                    ((value / (2. * SPAN * spread) + 0.5).clamp(0., 1.) * 255.).round() as u8
                }
                _ => 127,
            }))
        });
        let shares = principal.components.iter().map(|c| format!("{:.0} %", c.share * 100.));
        let shares = shares.collect::<Vec<_>>().join(" + ");
        Picture::new(image, tr!("principal components of {} channels: {shares}", self.channels.len(), shares))
    }
}

/// Height and width of the level of these latents that has `n` pixels.
fn folded(n: usize, (mut h, mut w): (usize, usize)) -> Option<(usize, usize)> {
    loop {
        if h * w == n {
            return Some((h, w));
        }
        if h * w < n || (h, w) == (1, 1) {
            return None;
        }
        (h, w) = (h.div_ceil(2), w.div_ceil(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of two channels of 2×3 pixels.
    fn made() -> PlainTensor {
        PlainTensor::from_values(&[2, 2, 2, 3], (0..24).map(|v| v as f32).collect()).unwrap()
    }

    #[test]
    fn rows_and_tokens_are_the_same_pixels() {
        let text = Features::of(&made(), Row::Text, (2, 3)).unwrap();
        assert_eq!(text.channels[1], [18., 19., 20., 21., 22., 23.]);
        let difference = Features::of(&made(), Row::Difference, (2, 3)).unwrap();
        assert!(difference.channels.iter().flatten().all(|v| *v == 12.));
        let mut tokens = vec![];
        for row in 0..2 {
            for pixel in 0..6 {
                tokens.extend((0..2).map(|c| made().data()[row * 12 + c * 6 + pixel]));
            }
        }
        let tokens = PlainTensor::from_values(&[2, 6, 2], tokens).unwrap();
        for (_, row) in Row::ALL {
            assert_eq!(Features::of(&tokens, row, (4, 6)), Features::of(&made(), row, (4, 6)));
        }
        assert_eq!(
            (folded(6, (3, 5)), folded(1, (8, 8)), folded(77, (64, 64))),
            (Some((2, 3)), Some((1, 1)), None)
        );
        let error = Features::of(&tokens, Row::Text, (8, 8)).unwrap_err();
        assert!(error.contains("6 tokens do not match a level of 8×8 latents"), "{error}");
        let flat = PlainTensor::from_values(&[2, 4], vec![0.; 8]).unwrap();
        assert!(Features::of(&flat, Row::Text, (8, 8)).unwrap_err().contains("its shape is 2×4"));
    }

    #[test]
    fn a_single_row_is_drawn_for_any_row() {
        let one = PlainTensor::from_values(&[1, 1, 1, 2], vec![1., 3.]).unwrap();
        let features = Features::of(&one, Row::Difference, (1, 2)).unwrap();
        assert_eq!(features.channels, [[1., 3.]]);
    }

    #[test]
    fn channels_span_black_to_white_and_sort_by_std() {
        let made = PlainTensor::from_values(&[1, 2, 1, 2], vec![5., 5.5, 9., -9.]).unwrap();
        let features = Features::of(&made, Row::Text, (1, 2)).unwrap();
        let pixels = |drawn| features.picture(drawn).image.pixels().map(|p| p[0]).collect::<Vec<_>>();
        assert_eq!(pixels(Drawn::Grid), [0, 255, 255, 0]);
        assert_eq!(pixels(Drawn::Sorted), [255, 0, 0, 255]);
        let mean = features.picture(Drawn::Mean);
        assert_eq!(
            (mean.label.as_str(), mean.image.get_pixel(0, 0)),
            ("mean of 2 channels, ±7.000", &colour(7., 7.))
        );
        let norm = features.picture(Drawn::Norm).label;
        assert_eq!(norm, "norm over 2 channels, 10.30 to 10.55");
    }

    #[test]
    fn the_first_component_is_red() {
        // One channel varies strongly with x, another weakly with y, a third is constant.
        let values = |f: fn(usize, usize) -> f32| (0..16).map(move |i| f(i % 4, i / 4));
        let data = values(|x, _| 10. * x as f32).chain(values(|_, y| y as f32)).chain(values(|_, _| 3.));
        let made = PlainTensor::from_values(&[1, 3, 4, 4], data.collect()).unwrap();
        let picture = Features::of(&made, Row::Text, (4, 4)).unwrap().picture(Drawn::Pca);
        let at = |x, y| picture.image.get_pixel(x, y).0;
        assert!(at(0, 0)[0] < at(3, 0)[0] && at(0, 0)[0] == at(0, 3)[0], "{picture:?}");
        assert!(at(0, 0)[1] < at(0, 3)[1] && at(0, 0)[1] == at(3, 0)[1]);
        assert_eq!(at(0, 0)[2], 127);
        assert_eq!(picture.label, "principal components of 3 channels: 99 % + 1 % + 0 %");
    }

    #[test]
    fn values_that_are_not_finite_are_green_in_every_drawing() {
        let mut values = vec![1.; 32];
        values[5] = f32::NAN;
        values[0] = 2.;
        let made = PlainTensor::from_values(&[1, 2, 4, 4], values).unwrap();
        let features = Features::of(&made, Row::Text, (4, 4)).unwrap();
        for (name, drawn) in Drawn::ALL {
            assert!(features.picture(drawn).image.pixels().any(|pixel| *pixel == NOT_FINITE), "{name}");
        }
        let none = PlainTensor::from_values(&[1, 1, 1, 1], vec![f32::NAN]).unwrap();
        for (_, drawn) in Drawn::ALL {
            Features::of(&none, Row::Text, (1, 1)).unwrap().picture(drawn);
        }
    }
}

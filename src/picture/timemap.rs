//! The step at which each pixel settles on its final value.

use super::Picture;
use super::scale::sequential;
use crate::tensor::{PlainTensor, Summary};
use image::RgbImage;
use tr::tr;

/// The default tolerance, in standard deviations of the final prediction.
pub const TOLERANCE: f64 = 0.5;

/// The step at which each pixel of a run's predictions settles.
///
/// x_k is `pred_original_sample` (1, C, h, w) of the k-th step, x_n that of the last. The distance of a pixel at step k is the
/// largest |x_k − x_n| over its channels. A pixel settles at the first step from which on all distances are at most `tolerance` ×
/// the standard deviation of all values of x_n. Pixels that are not finite at the last step never settle.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeMap {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// For each pixel, row-major, the index of the step at which it settles.
    pub settled: Vec<Option<usize>>,
    /// After each step, the share of pixels that have settled, from 0 to 1.
    pub shares: Vec<f64>,
    /// See [`TimeMap`].
    pub tolerance: f64,
}

impl TimeMap {
    /// The map of the predictions of consecutive steps. `None` for fewer than two, or for tensors of another shape.
    pub fn of(predicted: &[&PlainTensor], tolerance: f64) -> Option<Self> {
        let [first, .., last] = predicted else { return None };
        let &[1, channels, height, width] = last.shape() else { return None };
        if predicted.iter().any(|tensor| tensor.shape() != first.shape()) || first.shape() != last.shape() {
            return None;
        }
        let most = tolerance * Summary::from(*last).std;
        let pixels = height * width;
        let is_near = |tensor: &PlainTensor, pixel: usize| {
            let values = (0..channels).map(|c| c * pixels + pixel);
            values.into_iter().all(|at| f64::from((tensor.data()[at] - last.data()[at]).abs()) <= most)
        };
        let settles = |pixel: usize| {
            let far = predicted.iter().rposition(|tensor| !is_near(tensor, pixel));
            far.map_or(Some(0), |far| Some(far + 1).filter(|settled| *settled < predicted.len()))
        };
        let settled: Vec<Option<usize>> = (0..pixels).map(settles).collect();
        let by = |step: usize| settled.iter().flatten().filter(|settled| **settled <= step).count();
        let shares = (0..predicted.len()).map(|step| by(step) as f64 / pixels.max(1) as f64).collect();
        Some(Self { height, width, settled, shares, tolerance })
    }

    /// The index of the first step at which at least this share of the pixels has settled.
    pub fn reached(&self, share: f64) -> Option<usize> {
        self.shares.iter().position(|reached| *reached >= share)
    }

    /// The map as an image: dark for pixels that settle early, light for late ones, green for those that never settle. `steps` are
    /// the numbers of the steps.
    pub fn picture(&self, steps: &[usize]) -> Picture {
        let (first, last) = (self.settled.iter().flatten().min(), self.settled.iter().flatten().max());
        let (first, last) = (first.copied().unwrap_or(0), last.copied().unwrap_or(0));
        let image = RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let settled = self.settled[y as usize * self.width + x as usize];
            let share = |settled: usize| (settled - first) as f32 / (last - first).max(1) as f32;
            sequential(settled.map_or(f32::NAN, share))
        });
        let step = |at: usize| steps.get(at).map_or(String::new(), usize::to_string);
        let half = self.reached(0.5);
        let half = half.map_or(String::new(), |at| tr!("; half of the pixels by step {}", step(at)));
        // The default tolerance is left out: the caption is below a small image.
        let within = match self.tolerance == TOLERANCE {
            true => String::new(),
            false => tr!("within {} std: ", self.tolerance),
        };
        let label = tr!(
            "{within}dark = settled early (step {}), light = late ({}){half}",
            step(first),
            step(last),
            within,
            half
        );
        Picture::new(image, label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tensor(values: &[f32]) -> PlainTensor {
        PlainTensor::from_values(&[1, 2, 1, values.len() / 2], values.to_vec()).unwrap()
    }

    #[test]
    fn a_pixel_settles_when_all_later_steps_are_near() {
        // Two channels of three pixels: the first is final from the start; the second comes near, leaves, and comes back; the
        // third moves in its second channel only.
        let steps = [
            tensor(&[1., 5., 0., -1., 0., 9.]),
            tensor(&[1., 0., 0., -1., 0., 9.]),
            tensor(&[1., 5., 0., -1., 0., 0.]),
            tensor(&[1., 0., 0., -1., 0., 0.]),
        ];
        let steps: Vec<&PlainTensor> = steps.iter().collect();
        let map = TimeMap::of(&steps, 0.5).unwrap();
        assert_eq!(map.settled, [Some(0), Some(3), Some(2)]);
        let third = 1. / 3.;
        assert_eq!(map.shares, [third, third, 2. * third, 1.]);
        assert_eq!((map.reached(0.5), map.reached(1.)), (Some(2), Some(3)));
        let picture = map.picture(&[7, 8, 9, 10]);
        assert_eq!(
            picture.label,
            "dark = settled early (step 7), light = late (10); half of the pixels by step 9"
        );
        assert_eq!(picture.image.get_pixel(0, 0), &sequential(0.));
        assert_eq!(picture.image.get_pixel(1, 0), &sequential(1.));
        assert_eq!(TimeMap::of(&steps[..1], 0.5), None);
    }

    #[test]
    fn pixels_that_are_not_finite_never_settle() {
        let (a, b) = (tensor(&[0., 0., 1., 1.]), tensor(&[0., f32::NAN, 1., 1.]));
        let map = TimeMap::of(&[&a, &b], 0.1).unwrap();
        assert_eq!((map.settled.clone(), map.shares.clone()), (vec![Some(0), None], vec![0.5, 0.5]));
        assert_eq!(map.picture(&[0, 1]).image.get_pixel(1, 0), &super::super::scale::NOT_FINITE);
    }

    proptest! {
        #[test]
        fn a_wider_tolerance_settles_no_later(values in prop::collection::vec(prop::collection::vec(-3f32..3., 8), 2..6), a in 0f64..2., b in 0f64..2.) {
            let steps: Vec<PlainTensor> = values.iter().map(|values| tensor(values)).collect();
            let steps: Vec<&PlainTensor> = steps.iter().collect();
            let (narrow, wide) = (TimeMap::of(&steps, a.min(b)).unwrap(), TimeMap::of(&steps, a.max(b)).unwrap());
            for (narrow, wide) in narrow.settled.iter().zip(&wide.settled) {
                prop_assert!(wide <= narrow);
            }
            prop_assert!(narrow.shares.is_sorted() && narrow.shares.last() == Some(&1.));
        }
    }
}

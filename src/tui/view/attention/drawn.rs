//! A cache of rendered maps: every frame draws the same ones again.

use super::{Shared, picture};
use crate::picture::{Picture, heat};
use image::Rgb;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The limit: a strip of many steps, and a few large ones.
const KEPT: usize = 256;

/// Pictures by their contents' hash.
#[derive(Debug, Default)]
pub struct Drawn {
    /// Holds the picture below the map, so that its address is not reused.
    known: VecDeque<(u64, Option<Shared>, Picture)>,
}

impl Drawn {
    /// A map over a picture.
    pub fn over(
        &mut self,
        below: &Picture,
        values: &[f32],
        size: (usize, usize),
        scale: &heat::Scale,
    ) -> Option<Picture> {
        let key = key(Some(&below.image), values, size, scale, 0);
        self.known_or(key, Some(&below.image), || heat::over(below, values, size, scale))
    }

    /// A map alone.
    pub fn map(&mut self, values: &[f32], size: (usize, usize), scale: &heat::Scale) -> Option<Picture> {
        self.known_or(key(None, values, size, scale, 0), None, || heat::map(values, size, scale))
    }

    /// A picture with a point of the latents marked on it.
    pub fn marked(
        &mut self,
        below: &Picture,
        (x, y): (usize, usize),
        (height, width): (usize, usize),
        mark: Rgb<u8>,
    ) -> Picture {
        let key = key(Some(&below.image), &[], (x, y), &(0. ..=0.), 1);
        let draw = || {
            let mut image = (*below.image).clone();
            let (w, h) = image.dimensions();
            let edge = |at: usize, count: usize, all: u32| (at as u64 * u64::from(all) / count as u64) as u32;
            let (left, right) = (edge(x, width, w), edge(x + 1, width, w).max(edge(x, width, w) + 1));
            let (top, bottom) = (edge(y, height, h), edge(y + 1, height, h).max(edge(y, height, h) + 1));
            for row in top..bottom.min(h) {
                (left..right.min(w)).for_each(|column| image.put_pixel(column, row, mark));
            }
            Some(picture(Arc::new(image), below))
        };
        self.known_or(key, Some(&below.image), draw).unwrap_or_else(|| below.clone())
    }

    fn known_or(
        &mut self,
        key: u64,
        below: Option<&Shared>,
        make: impl FnOnce() -> Option<Picture>,
    ) -> Option<Picture> {
        if let Some(at) = self.known.iter().position(|(known, _, _)| *known == key) {
            let entry = self.known.remove(at)?;
            let found = entry.2.clone();
            self.known.push_back(entry);
            return Some(found);
        }
        let made = make()?;
        self.known.push_back((key, below.cloned(), made.clone()));
        if self.known.len() > KEPT {
            self.known.pop_front();
        }
        Some(made)
    }
}

fn key(below: Option<&Shared>, values: &[f32], size: (usize, usize), scale: &heat::Scale, kind: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    (below.map(Arc::as_ptr), size, scale.start().to_bits(), scale.end().to_bits(), kind).hash(&mut hasher);
    values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn the_same_is_made_once_and_another_anew() {
        let mut drawn = Drawn::default();
        let mut map = |values: &[f32]| drawn.map(values, (1, 2), &(0. ..=1.)).unwrap().image;
        let (first, again, other) = (map(&[0., 1.]), map(&[0., 1.]), map(&[1., 1.]));
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
        (0..2 * KEPT).for_each(|i| drop(map(&[i as f32, 0.])));
        assert_eq!(drawn.known.len(), KEPT);
    }

    #[test]
    fn a_point_is_marked_where_it_is() {
        let below = Picture { image: Arc::new(RgbImage::new(8, 4)), label: String::new() };
        let marked = Drawn::default().marked(&below, (1, 1), (2, 4), Rgb([9; 3]));
        let lit: Vec<(u32, u32)> = marked
            .image
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0 == [9; 3])
            .map(|(x, y, _)| (x, y))
            .collect();
        assert_eq!(lit, [(2, 2), (3, 2), (2, 3), (3, 3)]);
    }
}

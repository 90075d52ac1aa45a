//! A grid of images of the same size.

use image::{RgbImage, imageops};

/// The cells, row by row, in the number of columns that makes the grid closest to a square.
pub fn grid(cells: &[RgbImage]) -> RgbImage {
    let Some(first) = cells.first() else { return RgbImage::new(1, 1) };
    let columns = (cells.len() as f64).sqrt().ceil() as usize;
    let (w, h) = first.dimensions();
    let mut sheet = RgbImage::new(w * columns as u32, h * cells.len().div_ceil(columns) as u32);
    for (i, cell) in cells.iter().enumerate() {
        let (x, y) = ((i % columns) as i64 * i64::from(w), (i / columns) as i64 * i64::from(h));
        imageops::replace(&mut sheet, cell, x, y);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_cells_make_a_square() {
        let cell = |v| RgbImage::from_pixel(2, 3, image::Rgb([v, v, v]));
        let sheet = grid(&[cell(1), cell(2), cell(3), cell(4)]);
        assert_eq!(sheet.dimensions(), (4, 6));
        assert_eq!((sheet.get_pixel(0, 0)[0], sheet.get_pixel(3, 0)[0]), (1, 2));
        assert_eq!((sheet.get_pixel(0, 5)[0], sheet.get_pixel(3, 5)[0]), (3, 4));
        assert_eq!(grid(&[]).dimensions(), (1, 1));
    }
}

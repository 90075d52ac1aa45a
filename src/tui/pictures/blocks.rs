//! Pictures of two pixels per cell, for every terminal.

use image::RgbImage;
use image::imageops::{self, FilterType};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;

/// A picture of two pixels per cell.
#[derive(Debug)]
pub(super) struct Blocks {
    pixels: RgbImage,
}

impl Blocks {
    /// `image`, scaled to `size` cells.
    pub(super) fn new(image: &RgbImage, smooth: bool, size: Size) -> Self {
        let (width, height) = (u32::from(size.width), 2 * u32::from(size.height));
        let pixels = match (image.width() < width, smooth) {
            (true, false) => imageops::resize(image, width, height, FilterType::Nearest),
            (true, true) => imageops::resize(image, width, height, FilterType::CatmullRom),
            (false, _) => imageops::thumbnail(image, width, height),
        };
        Self { pixels }
    }

    /// Draws it at the top left of `area`.
    pub(super) fn draw(&self, area: Rect, buf: &mut Buffer) {
        for (y, row) in area.rows().enumerate() {
            for (x, place) in row.columns().enumerate() {
                let pixel = |half| self.pixels.get_pixel_checked(x as u32, 2 * y as u32 + half);
                if let (Some(upper), Some(lower), Some(cell)) =
                    (pixel(0), pixel(1), buf.cell_mut(place.as_position()))
                {
                    let ([r, g, b], [r2, g2, b2]) = (upper.0, lower.0);
                    cell.set_char('▀').set_fg(Color::Rgb(r, g, b)).set_bg(Color::Rgb(r2, g2, b2));
                }
            }
        }
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.pixels.as_raw().len()
    }
}

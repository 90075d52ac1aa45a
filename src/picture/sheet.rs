//! A contact sheet: unscaled images in rows and columns, with captions.

use super::lettering::{LINE, shortened, width, wrapped, write};
use image::{Rgb, RgbImage, imageops};

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([30; 3]);
const FAINT: Rgb<u8> = Rgb([120; 3]);
/// The colour of a missing image.
const MISSING: Rgb<u8> = Rgb([225; 3]);
/// Pixels between two images.
const GAP: u32 = 8;
/// The smallest width of a sheet, so that its title is readable.
const NARROWEST: u32 = 320;
/// The largest width of a row's heading.
const HEADING: u32 = 160;

/// The contents of a contact sheet.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// The common settings; long lines are broken.
    pub title: Vec<String>,
    /// The setting in which the columns differ, such as `guidance_scale`; may be empty.
    pub across: String,
    /// The setting in which the rows differ; may be empty.
    pub down: String,
    /// The rows.
    pub rows: Vec<Row>,
    /// The values of numbered headings: `1  a cat`.
    pub legend: Vec<String>,
}

/// A row of images.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The row's heading; may be empty.
    pub heading: String,
    /// The images with their captions. A missing image is drawn as a gray field.
    pub tiles: Vec<(String, Option<RgbImage>)>,
}

impl Sheet {
    /// Draws the sheet.
    pub fn draw(&self) -> RgbImage {
        let tiles = || self.rows.iter().flat_map(|row| &row.tiles);
        let sizes = tiles().filter_map(|(_, tile)| Some(tile.as_ref()?.dimensions()));
        let (cell_width, cell_height) = sizes.fold((64, 64), |(w, h), (tw, th)| (w.max(tw), h.max(th)));
        let columns = self.rows.iter().map(|row| row.tiles.len()).max().unwrap_or(0) as u32;
        let headings = self.rows.iter().map(|row| width(&row.heading)).chain([width(&self.down)]).max();
        let heading = match headings.unwrap_or(0).min(HEADING) {
            0 => 0,
            wide => wide + GAP,
        };
        let sheet_width = (GAP + heading + columns * (cell_width + GAP)).max(NARROWEST);
        let room = sheet_width - 2 * GAP;
        let broken = |lines: &[String]| lines.iter().flat_map(|line| wrapped(line, room)).collect::<Vec<_>>();
        let (title, legend) = (broken(&self.title), broken(&self.legend));
        let axes = u32::from(!self.across.is_empty() || !self.down.is_empty());
        let row_height = LINE + cell_height + GAP;
        // All of these numbers are small.
        let height = GAP
            + LINE * (title.len() as u32 + axes)
            + GAP
            + row_height * self.rows.len() as u32
            + LINE * legend.len() as u32
            + GAP;
        let mut sheet = RgbImage::from_pixel(sheet_width, height, PAPER);
        let mut y = GAP;
        for line in &title {
            write(&mut sheet, line, (GAP, y), INK);
            y += LINE;
        }
        if axes > 0 {
            write(&mut sheet, &shortened(&self.down, heading.max(GAP) - GAP), (GAP, y), FAINT);
            write(&mut sheet, &shortened(&self.across, room - heading), (GAP + heading, y), FAINT);
            y += LINE;
        }
        y += GAP;
        for row in &self.rows {
            write(&mut sheet, &shortened(&row.heading, HEADING), (GAP, y + LINE), INK);
            for (column, (caption, tile)) in row.tiles.iter().enumerate() {
                let x = GAP + heading + column as u32 * (cell_width + GAP);
                write(&mut sheet, &shortened(caption, cell_width), (x, y), INK);
                let missing = || RgbImage::from_pixel(cell_width, cell_height, MISSING);
                let place = (i64::from(x), i64::from(y + LINE));
                match tile {
                    Some(tile) => imageops::replace(&mut sheet, tile, place.0, place.1),
                    None => imageops::replace(&mut sheet, &missing(), place.0, place.1),
                }
            }
            y += row_height;
        }
        for line in &legend {
            write(&mut sheet, line, (GAP, y), INK);
            y += LINE;
        }
        sheet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_unscaled_and_in_place() {
        let tile = |v| Some(RgbImage::from_pixel(70, 64, Rgb([v, 0, 0])));
        let row = |heading: &str, values: [u8; 2]| Row {
            heading: heading.into(),
            tiles: values.into_iter().map(|v| (v.to_string(), tile(v))).collect(),
        };
        let sheet = Sheet {
            title: vec!["a cat".into()],
            across: "guidance_scale".into(),
            down: "seed".into(),
            rows: vec![row("1", [10, 20]), row("2", [30, 40])],
            legend: vec!["1  a cat with a description so long that it takes more than one line".into()],
        };
        let drawn = sheet.draw();
        for (value, count) in
            [10, 20, 30, 40].map(|v| (v, drawn.pixels().filter(|p| p.0 == [v, 0, 0]).count()))
        {
            assert_eq!(count, 70 * 64, "{value}");
        }
        assert_eq!(drawn.width(), NARROWEST);
    }

    #[test]
    fn missing_images_are_gray() {
        let rows = vec![Row { heading: String::new(), tiles: vec![("7".into(), None)] }];
        let drawn = Sheet { rows, ..Sheet::default() }.draw();
        assert_eq!(drawn.pixels().filter(|p| **p == MISSING).count(), 64 * 64);
        assert!(Sheet::default().draw().height() > 0);
    }
}

//! A contact sheet: pictures in rows and columns, unscaled, with what is what beside them.

use super::lettering::{LINE, shortened, width, wrapped, write};
use image::{Rgb, RgbImage, imageops};

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([30; 3]);
const FAINT: Rgb<u8> = Rgb([120; 3]);
/// A picture that is missing.
const MISSING: Rgb<u8> = Rgb([225; 3]);
/// Pixels between two pictures.
const GAP: u32 = 8;
/// The narrowest sheet, so that its title can be read.
const NARROWEST: u32 = 320;
/// The widest heading of a row.
const HEADING: u32 = 160;

/// What a sheet shows.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// What all pictures have in common; long lines are broken.
    pub title: Vec<String>,
    /// What the columns differ in, such as `guidance_scale`; may be empty.
    pub across: String,
    /// What the rows differ in.
    pub down: String,
    /// The rows.
    pub rows: Vec<Row>,
    /// Numbers with what they stand for: `1  a cat`.
    pub legend: Vec<String>,
}

/// Pictures beside each other.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// What they have in common; may be empty.
    pub heading: String,
    /// The pictures, each with what stands above it; without a picture there is a gray field.
    pub tiles: Vec<(String, Option<RgbImage>)>,
}

impl Sheet {
    /// The sheet as a picture.
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
        // All of these are few.
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
    fn tiles_are_unscaled_and_in_their_places() {
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
            legend: vec!["1  a cat that is told at such length that it takes more than a line".into()],
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
    fn what_is_missing_is_gray() {
        let rows = vec![Row { heading: String::new(), tiles: vec![("7".into(), None)] }];
        let drawn = Sheet { rows, ..Sheet::default() }.draw();
        assert_eq!(drawn.pixels().filter(|p| **p == MISSING).count(), 64 * 64);
        assert!(Sheet::default().draw().height() > 0);
    }
}

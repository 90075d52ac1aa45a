//! The pictures of a stage, as large as possible, each with its tensor's name and how it was made.

use crate::debugger::record::NamedPicture;
use crate::picture::Picture;
use crate::tui::canvas::Canvas;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::layout::{Position, Rect, Size};
use ratatui::text::Line;
use std::cell::RefCell;
use std::collections::HashMap;

/// Pictures of fewer rows are too small to see: the table shrinks instead.
pub const FEWEST_ROWS: u16 = 11;
/// Lines of a caption, with enough rows for all of it and with fewer.
const CAPTIONS: [u16; 4] = [u16::MAX, 2, 1, 0];
/// The rows that a picture should have.
const LOWEST: u16 = 4;
/// Columns between two pictures, on narrow and on wide terminals.
const GAPS: [u16; 2] = [1, 2];
/// From this many columns on, the wide gap is used.
const MUCH: u16 = 72;
/// The minimum columns of a picture.
const NARROWEST: u16 = 4;

/// The area of a picture, and of its caption below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    picture: Rect,
    caption: Rect,
}

/// Draws `shown` into `area`. Pictures of the run's full width, `run_width` pixels, are interpolated.
pub fn draw(shown: &[&NamedPicture], run_width: usize, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(first) = shown.first() else { return };
    let (cell_width, cell_height) = canvas.pictures.graphics().cell();
    let theme = canvas.theme;
    let (w, h) = first.picture.image.dimensions();
    // Rows per column of a picture: all pictures of a stage have one shape.
    let ratio = f64::from(h * cell_width) / f64::from((w * cell_height).max(1));
    // Many layouts are tried, and wrapping text takes time.
    let wrapped = RefCell::new(HashMap::new());
    let rows = |width: u16| {
        let rows = |picture: &&NamedPicture| caption(picture, theme, width).len() as u16;
        *wrapped.borrow_mut().entry(width).or_insert_with(|| shown.iter().map(rows).max().unwrap_or(0))
    };
    // With few rows, captions are shortened before pictures.
    let arranged = |most: &u16| arrange(shown.len(), area, ratio, &|width| rows(width).min(*most));
    let enough = |slots: &Vec<Slot>| slots.first().is_some_and(|slot| slot.picture.height >= LOWEST);
    let slots = CAPTIONS.iter().map(arranged).find(enough).unwrap_or_else(|| arranged(&0));
    for (named, slot) in shown.iter().zip(slots) {
        let image = &named.picture.image;
        let smooth = image.width() as usize >= run_width;
        canvas.picture(image, smooth, slot.picture.intersection(area));
        canvas.lines(&caption(named, theme, slot.caption.width), slot.caption.intersection(area));
    }
}

/// A picture with a caption of one line.
#[derive(Debug)]
pub struct Captioned<'a> {
    /// The picture.
    pub picture: &'a Picture,
    /// The line below it.
    pub caption: String,
    /// Whether it is interpolated when it is enlarged.
    pub smooth: bool,
}

/// Draws pictures in one row, each as large as possible, with their captions below; returns the rows used.
pub fn row(shown: &[Captioned<'_>], canvas: &mut Canvas<'_>, area: Rect) -> u16 {
    let count = shown.len() as u16;
    let Some(first) = shown.first().filter(|_| area.height > 1 && area.width >= count * NARROWEST) else {
        return 0;
    };
    let (cell_width, cell_height) = canvas.pictures.graphics().cell();
    let (w, h) = first.picture.image.dimensions();
    let ratio = f64::from(h * cell_width) / f64::from((w * cell_height).max(1));
    let height = |width: u16| ((f64::from(width) * ratio).round() as u16).max(1);
    let column = (area.width - (count - 1)) / count;
    let width = (1..=column).rev().find(|width| height(*width) < area.height).unwrap_or(1);
    // The distance is at most what the captions need.
    let widest = shown.iter().map(|named| text::width(&named.caption) as u16).max().unwrap_or(0);
    let step = column.min(width.max(widest) + 1) + 1;
    for (index, named) in shown.iter().enumerate() {
        let x = area.x + index as u16 * step;
        let picture = Rect { x, y: area.y, width, height: height(width) };
        canvas.picture(&named.picture.image, named.smooth, picture.intersection(area));
        let caption = text::shortened(&named.caption, usize::from(step) - 1);
        let below = Rect { x, y: picture.bottom(), width: step - 1, height: 1 };
        let line = Line::styled(caption, canvas.theme.tensor);
        canvas.lines(&[line], below.intersection(area));
    }
    (height(width) + 1).min(area.height)
}

/// Where [`row`] draws a single picture in `area`.
pub fn place(picture: &Picture, canvas: &Canvas<'_>, area: Rect) -> Rect {
    let (cell_width, cell_height) = canvas.pictures.graphics().cell();
    let (w, h) = picture.image.dimensions();
    let ratio = f64::from(h * cell_width) / f64::from((w * cell_height).max(1));
    let height = |width: u16| ((f64::from(width) * ratio).round() as u16).max(1);
    let width = (1..=area.width).rev().find(|width| height(*width) < area.height).unwrap_or(1);
    Rect { width, height: height(width), ..area }.intersection(area)
}

/// The tensor's name and how the picture was made, in lines of at most `width`.
fn caption(named: &NamedPicture, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let name = text::wrapped_name(named.name, width.into());
    let label = text::wrapped(&text::clean(&named.picture.label), width.into());
    let name = name.into_iter().map(|line| Line::styled(line, theme.tensor));
    name.chain(label.into_iter().map(|line| Line::styled(line, theme.faint))).collect()
}

/// The layout for `count` pictures with `ratio` rows per column and captions of `captions(width)` rows: of all layouts
/// the one with the largest pictures.
fn arrange(count: usize, area: Rect, ratio: f64, captions: &dyn Fn(u16) -> u16) -> Vec<Slot> {
    let gap = GAPS[usize::from(area.width >= MUCH)];
    let height = |width: u16| ((f64::from(width) * ratio).round() as u16).max(1);
    let mut arrangements = vec![];
    for columns in 1..=count as u16 {
        arrangements.push(grid(count, columns, gap, area.as_size(), &height, captions));
    }
    if count == 4 {
        arrangements.push(two_large_two_small(gap, area.as_size(), &height, captions));
    }
    let shown = |slots: &Vec<Slot>| slots.iter().map(|slot| slot.picture.area()).sum::<u32>();
    let best = arrangements.into_iter().max_by_key(shown).unwrap_or_default();
    let there = |rect: Rect| Rect { x: rect.x + area.x, y: rect.y + area.y, ..rect };
    best.iter().map(|slot| Slot { picture: there(slot.picture), caption: there(slot.caption) }).collect()
}

/// The largest pictures of equal size in rows of `columns`.
fn grid(
    count: usize,
    columns: u16,
    gap: u16,
    room: Size,
    height: &dyn Fn(u16) -> u16,
    captions: &dyn Fn(u16) -> u16,
) -> Vec<Slot> {
    let rows = (count as u16).div_ceil(columns);
    // Captions may use the whole column, even when pictures are narrower.
    let column = room.width.saturating_sub(gap * (columns - 1)) / columns;
    let fits = |width: &u16| rows * (height(*width) + captions(column)) <= room.height;
    let Some(width) = (NARROWEST..=column).rev().find(fits) else { return vec![] };
    // The distance between pictures is at most what their captions need.
    let step = column.min(width.max(LONGEST_CAPTION)) + gap;
    let slot = |index: u16| {
        let at = Position::new(index % columns * step, index / columns * (height(width) + captions(column)));
        slot(at, width, step - gap, height, captions(column))
    };
    (0..count as u16).map(slot).collect()
}

/// The width of the longest name and of most labels.
const LONGEST_CAPTION: u16 = 21;

/// The first two pictures are large, side by side; the other two are half as large, one above the other. When there is
/// enough height, latents and the predicted original sample matter most.
fn two_large_two_small(
    gap: u16,
    room: Size,
    height: &dyn Fn(u16) -> u16,
    captions: &dyn Fn(u16) -> u16,
) -> Vec<Slot> {
    let small = |width: u16| width / 2;
    let fits = |width: &u16| {
        let (wide, narrow) = (*width, small(*width));
        2 * (wide + gap) + narrow <= room.width
            && height(wide) + captions(wide) <= room.height
            && 2 * (height(narrow) + captions(narrow)) <= room.height
    };
    let Some(wide) = (2 * NARROWEST..=room.width).rev().find(fits) else { return vec![] };
    let narrow = small(wide);
    let x = 2 * (wide + gap);
    let below = height(narrow) + captions(narrow);
    vec![
        slot(Position::new(0, 0), wide, wide, height, captions(wide)),
        slot(Position::new(wide + gap, 0), wide, wide, height, captions(wide)),
        slot(Position::new(x, 0), narrow, room.width - x, height, captions(narrow)),
        slot(Position::new(x, below), narrow, room.width - x, height, captions(narrow)),
    ]
}

fn slot(at: Position, width: u16, caption_width: u16, height: &dyn Fn(u16) -> u16, caption: u16) -> Slot {
    let rows = height(width);
    Slot {
        picture: Rect::new(at.x, at.y, width, rows),
        caption: Rect::new(at.x, at.y + rows, caption_width, caption),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pictures_stay_inside_and_apart(
            count in 1usize..6, w in 0u16..200, h in 0u16..60, ratio in 0.05f64..4., caption in 0u16..5,
        ) {
            let area = Rect::new(3, 2, w, h);
            let slots = arrange(count, area, ratio, &|_| caption);
            prop_assert!(slots.is_empty() || slots.len() == count);
            let places: Vec<Rect> = slots.iter().flat_map(|slot| [slot.picture, slot.caption]).collect();
            for (i, a) in places.iter().enumerate() {
                prop_assert_eq!(a.intersection(area), *a);
                for b in &places[..i] {
                    prop_assert!(a.is_empty() || b.is_empty() || !a.intersects(*b), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn where_there_is_room_two_are_large() {
        let slots = arrange(4, Rect::new(0, 0, 95, 26), 0.5, &|_| 2);
        assert!(slots[0].picture.width >= 2 * slots[2].picture.width);
        let slots = arrange(4, Rect::new(0, 0, 56, 11), 0.5, &|_| 4);
        assert_eq!(slots[0].picture.width, slots[3].picture.width);
    }
}

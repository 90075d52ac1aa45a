//! Text as pixels, in GNU Unifont: 8×16 for a letter, 16×16 for a wide one.

use image::{Rgb, RgbImage};

/// Height of a line in pixels.
pub const LINE: u32 = 16;
/// Replaces a character that the font lacks.
const UNKNOWN: char = '\u{fffd}';

/// The width of a text in pixels.
pub fn width(text: &str) -> u32 {
    text.chars().map(advance).sum()
}

/// Writes a text with its upper left corner at (`x`, `y`), clipped to the image.
pub fn write(image: &mut RgbImage, text: &str, (x, y): (u32, u32), colour: Rgb<u8>) {
    let mut left = x;
    for c in text.chars() {
        let Some(glyph) = glyph(c) else { continue };
        for dy in 0..LINE {
            for dx in 0..advance(c) {
                // Both are less than 17.
                if glyph.get_pixel(dx as usize, dy as usize)
                    && left + dx < image.width()
                    && y + dy < image.height()
                {
                    image.put_pixel(left + dx, y + dy, colour);
                }
            }
        }
        left += advance(c);
    }
}

/// The text in lines of at most `room` pixels, broken at spaces if possible.
pub fn wrapped(text: &str, room: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let fits = |line: &String| width(line) + width(word.trim_end()) <= room;
        if !lines.last().is_some_and(|line| line.is_empty() || fits(line)) {
            lines.push(String::new());
        }
        for c in word.chars() {
            let is_full = |line: &String| c != ' ' && !line.is_empty() && width(line) + advance(c) > room;
            if lines.last().is_some_and(is_full) {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

/// The text, or its beginning with an ellipsis, in at most `room` pixels.
pub fn shortened(text: &str, room: u32) -> String {
    if width(text) <= room {
        return text.into();
    }
    let mut short = String::new();
    for c in text.chars() {
        if width(&short) + advance(c) + advance('…') > room {
            break;
        }
        short.push(c);
    }
    short + "…"
}

fn glyph(c: char) -> Option<&'static unifont::Glyph> {
    let c = if c.is_control() { ' ' } else { c };
    unifont::get_glyph(c).or_else(|| unifont::get_glyph(UNKNOWN))
}

fn advance(c: char) -> u32 {
    // 8 or 16.
    glyph(c).map_or(0, |glyph| glyph.get_width() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_are_eight_wide_and_japanese_sixteen() {
        assert_eq!((width("a cat"), width("りんご")), (40, 48));
        let mut image = RgbImage::new(24, 16);
        write(&mut image, "Iあ", (0, 0), Rgb([255; 3]));
        let lit = |columns: std::ops::Range<u32>| {
            columns
                .flat_map(|x| (0..16).map(move |y| (x, y)))
                .filter(|(x, y)| image.get_pixel(*x, *y)[0] > 0)
                .count()
        };
        assert!(lit(0..8) > 5 && lit(8..24) > 20);
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("a red apple", 56), ["a red", "apple"]);
        assert_eq!(wrapped("pineapple", 40), ["pinea", "pple"]);
        assert_eq!(wrapped("", 40), [""]);
        assert_eq!(shortened("pineapple", 40), "pine…");
        assert_eq!(shortened("pine", 40), "pine");
    }

    proptest! {
        #[test]
        fn text_stays_within_its_room(text in "\\PC{0,40}", room in 16u32..200) {
            for line in wrapped(&text, room) {
                prop_assert!(width(&line) <= room);
            }
            prop_assert!(width(&shortened(&text, room)) <= room);
            let mut image = RgbImage::new(room, 20);
            write(&mut image, &text, (room / 2, 10), Rgb([1; 3]));
        }
    }
}

//! Colour reduction: what was drawn in 24 bits is converted to the colours of the terminal.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Color;
use serde::{Deserialize, Serialize};

/// The number of colours of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Any: red, green and blue in 8 bits each.
    #[default]
    #[serde(rename = "24-bit")]
    TrueColour,
    /// 256: a 6×6×6 cube and 24 grays.
    #[serde(rename = "256")]
    Indexed,
    /// The sixteen named colours.
    #[serde(rename = "16")]
    Sixteen,
    /// None: pictures are drawn in shades of characters.
    None,
}

/// The sixteen colours as xterm shows them; other terminals may differ.
const SIXTEEN: [(Color, [u8; 3]); 16] = [
    (Color::Black, [0, 0, 0]),
    (Color::Red, [205, 0, 0]),
    (Color::Green, [0, 205, 0]),
    (Color::Yellow, [205, 205, 0]),
    (Color::Blue, [0, 0, 238]),
    (Color::Magenta, [205, 0, 205]),
    (Color::Cyan, [0, 205, 205]),
    (Color::Gray, [229, 229, 229]),
    (Color::DarkGray, [127, 127, 127]),
    (Color::LightRed, [255, 0, 0]),
    (Color::LightGreen, [0, 255, 0]),
    (Color::LightYellow, [255, 255, 0]),
    (Color::LightBlue, [92, 92, 255]),
    (Color::LightMagenta, [255, 0, 255]),
    (Color::LightCyan, [0, 255, 255]),
    (Color::White, [255, 255, 255]),
];

/// The levels of the cube of 256 colours.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

impl Depth {
    /// The colours that `NO_COLOR`, `COLORTERM` and `TERM` announce.
    pub fn detect() -> Self {
        match supports_color::on(supports_color::Stream::Stdout) {
            None => Self::None,
            Some(level) if level.has_16m => Self::TrueColour,
            Some(level) if level.has_256 => Self::Indexed,
            Some(_) => Self::Sixteen,
        }
    }

    /// Converts everything that was drawn.
    pub fn reduce(self, buf: &mut Buffer) {
        match self {
            Self::TrueColour => {}
            Self::None => buf.content.iter_mut().for_each(shade),
            Self::Indexed | Self::Sixteen => {
                for cell in &mut buf.content {
                    (cell.fg, cell.bg) = (self.reduced(cell.fg), self.reduced(cell.bg));
                }
            }
        }
    }

    /// The nearest available colour.
    pub fn reduced(self, colour: Color) -> Color {
        let Color::Rgb(r, g, b) = colour else { return colour };
        match self {
            Self::TrueColour => colour,
            Self::Indexed => Color::Indexed(nearest_of_256([r, g, b])),
            Self::Sixteen => nearest_of_sixteen([r, g, b]),
            Self::None => Color::Reset,
        }
    }
}

/// Red, green and blue of a colour; of a named one, as xterm shows it. `None` for the terminal's default colours.
pub fn rgb(colour: Color) -> Option<[u8; 3]> {
    match colour {
        Color::Rgb(r, g, b) => Some([r, g, b]),
        Color::Indexed(gray @ 232..) => Some([8 + 10 * (gray - 232); 3]),
        Color::Indexed(index @ 16..) => {
            let cube = index - 16;
            Some([cube / 36, cube / 6 % 6, cube % 6].map(|step| CUBE[usize::from(step)]))
        }
        Color::Indexed(index) => Some(SIXTEEN[usize::from(index)].1),
        named => SIXTEEN.iter().find(|(known, _)| *known == named).map(|(_, rgb)| *rgb),
    }
}

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    // The eye is most sensitive to green and least to blue.
    [2, 4, 1]
        .iter()
        .zip(a.iter().zip(b))
        .map(|(weight, (a, b))| weight * u32::from(a.abs_diff(b)).pow(2))
        .sum()
}

fn nearest_of_256(colour: [u8; 3]) -> u8 {
    // The first sixteen are configurable, so their colours are unknown.
    (16..=255)
        .min_by_key(|&index| rgb(Color::Indexed(index)).map_or(u32::MAX, |known| distance(known, colour)))
        .unwrap_or(16)
}

/// Text must stay readable, so a colour stays on its side of medium brightness. The hue decides first, then the
/// brightness.
fn nearest_of_sixteen(colour: [u8; 3]) -> Color {
    let [r, g, b] = colour;
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let bright = 2 * u32::from(r) + 4 * u32::from(g) + u32::from(b) > 7 * 115;
    // Nearly a gray.
    if most - least < 48 || most < 40 {
        return match most {
            0..=72 => Color::Black,
            73..=115 => Color::DarkGray,
            116..=205 => Color::Gray,
            _ => Color::White,
        };
    }
    let half = least + (most - least) / 2;
    match (r > half, g > half, b > half, bright) {
        (true, true, false, true) => Color::LightYellow,
        (true, true, false, false) => Color::Yellow,
        (false, true, true, true) => Color::LightCyan,
        (false, true, true, false) => Color::Cyan,
        (true, false, true, true) => Color::LightMagenta,
        (true, false, true, false) => Color::Magenta,
        (true, false, false, true) => Color::LightRed,
        (true, false, false, false) => Color::Red,
        (false, true, false, true) => Color::LightGreen,
        (false, true, false, false) => Color::Green,
        (_, _, _, true) => Color::LightBlue,
        _ => Color::Blue,
    }
}

/// A cell without colour: a picture becomes characters of matching density, text stays.
fn shade(cell: &mut Cell) {
    let bright =
        |colour| rgb(colour).map(|[r, g, b]| (2 * u32::from(r) + 4 * u32::from(g) + u32::from(b)) / 7);
    if let (Some(upper), Some(lower)) = (bright(cell.fg), bright(cell.bg)) {
        // Half blocks belong to a picture; the interface's own text has none.
        let mean = match cell.symbol() {
            "▀" | "▄" => Some((upper + lower) / 2),
            "█" => Some(upper),
            _ => None,
        };
        if let Some(mean) = mean {
            cell.set_symbol([" ", "░", "▒", "▓", "█"][(mean * 5 / 256) as usize]);
        }
        // Vertical half blocks are numbers: red above zero, blue below.
        if cell.symbol() == "▌" {
            cell.set_symbol(signed(&[cell.fg, cell.bg]));
        }
    }
    (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
}

/// A signed number without colours: `#` and `+` above zero, `·` near it, `-` and `=` below.
fn signed(colours: &[Color]) -> &'static str {
    let warmth = |colour: &Color| rgb(*colour).map_or(0, |[r, _, b]| i32::from(r) - i32::from(b));
    match colours.iter().map(warmth).sum::<i32>() / colours.len().max(1) as i32 {
        120.. => "#",
        40..120 => "+",
        -40..40 => "·",
        -120..-40 => "-",
        _ => "=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_colour_of_the_256_is_itself(index in 16u8..=255) {
            let known = rgb(Color::Indexed(index)).unwrap();
            prop_assert_eq!(rgb(Color::Indexed(nearest_of_256(known))), Some(known));
        }

        #[test]
        fn every_colour_is_brought_down(r: u8, g: u8, b: u8) {
            let colour = Color::Rgb(r, g, b);
            prop_assert!(matches!(Depth::Indexed.reduced(colour), Color::Indexed(16..)));
            prop_assert!(SIXTEEN.iter().any(|(known, _)| *known == Depth::Sixteen.reduced(colour)));
            prop_assert_eq!(Depth::None.reduced(colour), Color::Reset);
        }
    }

    #[test]
    fn without_colours_a_picture_is_in_shades() {
        let mut buf = Buffer::with_lines(["▀▀a"]);
        buf[(0, 0)].set_fg(Color::Rgb(255, 255, 255)).set_bg(Color::Rgb(255, 255, 255));
        buf[(1, 0)].set_fg(Color::Rgb(255, 255, 255)).set_bg(Color::Rgb(0, 0, 0));
        buf[(2, 0)].set_fg(Color::Rgb(200, 0, 0)).set_bg(Color::Rgb(0, 0, 0));
        Depth::None.reduce(&mut buf);
        assert_eq!(buf.content.iter().map(Cell::symbol).collect::<String>(), "█▒a");
        assert!(buf.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }

    #[test]
    fn without_colours_numbers_keep_their_sign() {
        let mut buf = Buffer::with_lines(["▌▌▌▌▌"]);
        for (column, value) in [1., 0.3, 0., -0.3, -1.].into_iter().enumerate() {
            let colour = crate::tui::widget::heat::diverging(value, 1.);
            buf[(column as u16, 0)].set_fg(colour).set_bg(colour);
        }
        Depth::None.reduce(&mut buf);
        assert_eq!(buf.content.iter().map(Cell::symbol).collect::<String>(), "#+·-=");
    }
}

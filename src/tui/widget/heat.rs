//! Numbers as colours, and the colour scale.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget;

/// The colour of `value` on a scale from −`reach` (blue) over 0 (white) to `reach` (red); green for NaN and infinity.
/// The scale of [`crate::picture::residual`].
pub fn diverging(value: f32, reach: f32) -> Color {
    let [r, g, b] = crate::picture::residual::colour(value, reach).0;
    Color::Rgb(r, g, b)
}

/// A text colour on `ground`: dark or light, whichever has more contrast.
pub fn ink(ground: Color) -> Color {
    let Color::Rgb(r, g, b) = ground else { return Color::Reset };
    // Luma weights of ITU-R BT.601.
    let luma = (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) / 1000;
    if luma > 130 { Color::Rgb(20, 20, 20) } else { Color::Rgb(245, 245, 245) }
}

/// Draws values as coloured cells from left to right, two values per cell: each the mean of those that fall there. All
/// rows
/// of `area` are equal.
pub fn strip(values: &[f32], reach: f32, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let columns = usize::from(area.width);
    if values.is_empty() || columns == 0 || area.height == 0 {
        return;
    }
    // Each cell shows two halves side by side.
    let halves = 2 * columns;
    let mean = |half: usize| {
        let (from, to) = (half * values.len() / halves, (half + 1) * values.len() / halves);
        let part = &values[from..to.max(from + 1).min(values.len())];
        part.iter().sum::<f32>() / part.len().max(1) as f32
    };
    for column in 0..columns {
        let style =
            Style::new().fg(diverging(mean(2 * column), reach)).bg(diverging(mean(2 * column + 1), reach));
        for row in area.rows() {
            buf[(area.x + column as u16, row.y)].set_symbol("▌").set_style(style);
        }
    }
}

/// Draws the scale with its ends: `−2.84 ▒▒▒▒ 0 ▒▒▒▒ +2.84`.
pub fn scale(reach: f32, label: Style, area: Rect, buf: &mut Buffer) {
    let (low, high) = (format!("−{reach:.2} "), format!(" +{reach:.2}"));
    let ends = (low.chars().count() + high.chars().count()) as u16;
    let area = area.intersection(buf.area);
    if area.height == 0 || area.width < ends + 5 {
        return;
    }
    let bar = (area.width - ends).min(40);
    Line::styled(low.as_str(), label).render(area, buf);
    let x = area.x + low.chars().count() as u16;
    for column in 0..bar {
        let share = |half: u16| (f32::from(2 * column + half) + 0.5) / f32::from(2 * bar) * 2. - 1.;
        let style =
            Style::new().fg(diverging(share(0) * reach, reach)).bg(diverging(share(1) * reach, reach));
        buf[(x + column, area.y)].set_symbol("▌").set_style(style);
    }
    let middle = Rect { x: x + bar / 2, width: 1, height: 1, ..area };
    let dark = Style::new().fg(Color::Rgb(20, 20, 20)).bg(diverging(0., reach));
    Line::styled("0", dark).render(middle, buf);
    Line::styled(high.as_str(), label)
        .render(Rect { x: x + bar, width: area.right() - x - bar, ..area }, buf);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_symmetric_and_says_its_ends() {
        let area = Rect::new(0, 0, 40, 1);
        let mut buf = Buffer::empty(area);
        scale(2.5, Style::new(), area, &mut buf);
        let text: String = buf.content.iter().map(|cell| cell.symbol()).collect();
        assert!(
            text.starts_with("−2.50 ▌") && text.contains('0') && text.trim_end().ends_with("+2.50"),
            "{text}"
        );
        scale(2.5, Style::new(), Rect::new(38, 0, 10, 3), &mut buf);
    }

    #[test]
    fn a_strip_fills_its_columns() {
        let area = Rect::new(0, 0, 4, 1);
        let mut buf = Buffer::empty(area);
        strip(&[-1., 1.], 1., area, &mut buf);
        assert_eq!((buf[(0, 0)].fg, buf[(3, 0)].bg), (diverging(-1., 1.), diverging(1., 1.)));
        strip(&[], 1., area, &mut buf);
        strip(&[1.; 1000], 1., Rect::new(2, 0, 100, 5), &mut buf);
    }
}

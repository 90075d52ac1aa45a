//! Histograms of one row or several.

use crate::tensor::Histogram;
use crate::tui::widget::plot::short;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// A histogram in one row: a character per bin, whose height is the count. A bin that is not empty is always visible.
pub fn sparkline(histogram: &Histogram) -> String {
    let most = histogram.counts.iter().copied().max().unwrap_or(0);
    let bar = |count: &usize| match (count, most) {
        (0, _) | (_, 0) => EIGHTHS[0],
        (count, most) => EIGHTHS[(count * 8).div_ceil(most).min(8)],
    };
    histogram.counts.iter().map(bar).collect()
}

/// A histogram in several rows, with its edges below and its highest count at the left.
#[derive(Debug)]
pub struct Bars<'a> {
    /// The counts.
    pub histogram: &'a Histogram,
    /// The style of the bars.
    pub style: Style,
    /// The style of the labels.
    pub faint: Style,
}

/// The width of the counts at the left.
pub const COUNTS: u16 = 8;

impl Widget for Bars<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Histogram { low, high, counts } = self.histogram;
        if area.height < 2 || area.width <= COUNTS {
            return;
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        if most == 0 {
            Line::styled("no finite value", self.faint).render(area, buf);
            return;
        }
        let rows = usize::from(area.height - 1);
        let columns = usize::from(area.width - COUNTS);
        for column in 0..columns {
            let count = counts[column * counts.len() / columns];
            let eighths = if count == 0 { 0 } else { (count * rows * 8).div_ceil(most) };
            for row in 0..rows {
                let filled = eighths.saturating_sub((rows - 1 - row) * 8).min(8);
                let place = (area.x + COUNTS + column as u16, area.y + row as u16);
                buf[place].set_symbol(EIGHTHS[filled]).set_style(self.style);
            }
        }
        let label =
            |text: String, row: u16| (Line::styled(text, self.faint), Rect { y: row, height: 1, ..area });
        for (line, place) in
            [label(format!("{most:>7}"), area.y), label(format!("{:>7}", 0), area.bottom() - 2)]
        {
            line.render(Rect { width: COUNTS, ..place }, buf);
        }
        let below = Rect { x: area.x + COUNTS, y: area.bottom() - 1, width: area.width - COUNTS, height: 1 };
        Line::styled(short(f64::from(*low)), self.faint).render(below, buf);
        Line::styled(short(f64::from(*high)), self.faint).right_aligned().render(below, buf);
        if *low < 0. && *high > 0. {
            // The position of zero, unless a label covers it.
            let share = f64::from(-low) / f64::from(high - low);
            let at = (share * f64::from(below.width - 1)).round() as u16;
            if at > 9 && at + 10 < below.width {
                Line::styled("0", self.faint).render(Rect { x: below.x + at, width: 1, ..below }, buf);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f32]) -> String {
        let histogram = Histogram::of_values(values, 12);
        let area = Rect::new(0, 0, COUNTS + 12, 4);
        let mut buf = Buffer::empty(area);
        Bars { histogram: &histogram, style: Style::new(), faint: Style::new() }.render(area, &mut buf);
        buf.content
            .chunks(area.width.into())
            .map(|row| row.iter().map(|c| c.symbol()).collect::<String>() + "\n")
            .collect()
    }

    #[test]
    fn a_bin_that_is_not_empty_shows() {
        let values: Vec<f32> = std::iter::repeat_n(0., 1000).chain([1.]).collect();
        assert_eq!(sparkline(&Histogram::of_values(&values, 4)), "█  ▁");
        assert_eq!(sparkline(&Histogram::of_values(&[f32::NAN], 4)), "    ");
        assert_eq!(sparkline(&Histogram::of_values(&[2., 2.], 3)), "█  ");
    }

    #[test]
    fn bars_have_edges_and_counts() {
        let text = drawn(&[0., 0., 0., 1., 2., 2.]);
        assert!(text.contains("      3 █"), "{text}");
        assert!(text.lines().last().unwrap().trim_start().starts_with('0'), "{text}");
        assert!(drawn(&[f32::NAN]).contains("no finite value"));
        drawn(&[]);
    }
}

//! Lines over steps, in braille.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::Line as Text;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line, Points};

/// The stroke of a line, which distinguishes it without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// `━━━━`
    Solid,
    /// `━ ━ ━`
    Dashed,
    /// `· · ·`
    Dotted,
    /// `━ · ━`
    DashDotted,
}

impl Stroke {
    const ALL: [Self; 4] = [Self::Solid, Self::Dashed, Self::Dotted, Self::DashDotted];

    /// The stroke of line `index` in a plot of `colours` colours: the first four differ, and so do lines of equal
    /// colour.
    pub fn of(index: usize, colours: usize) -> Self {
        Self::ALL[(index + index / colours.max(1)) % Self::ALL.len()]
    }

    /// One column of it, for a legend.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Solid => "━",
            Self::Dashed => "╍",
            Self::Dotted => "┈",
            Self::DashDotted => "╺",
        }
    }

    /// Whether it is drawn at a position, in half columns.
    fn is_drawn(self, at: usize) -> bool {
        match self {
            Self::Solid => true,
            Self::Dashed => at % 9 < 6,
            Self::Dotted => at % 4 < 1,
            Self::DashDotted => matches!(at % 14, 0..8 | 11),
        }
    }

    /// The visible segments of the line through `points`, where `x` maps to a half column.
    fn pieces(self, points: &[(f64, f64)], x: [f64; 2], halves: usize) -> Vec<[(f64, f64); 2]> {
        let mut pieces = vec![];
        for pair in points.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            if self == Self::Solid {
                pieces.push([from, to]);
                continue;
            }
            let place = |x_at: f64| (x_at - x[0]) / (x[1] - x[0]) * halves as f64;
            let count = (place(to.0) - place(from.0)).abs().ceil().clamp(1., halves.max(1) as f64);
            let between = |share: f64| (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            for piece in 0..count as usize {
                let share = |ends: f64| (piece as f64 + ends) / count;
                // A cast would move points left of the first column into it.
                if self.is_drawn(place(between(share(0.5)).0) as usize) {
                    pieces.push([between(share(0.)), between(share(1.))]);
                }
            }
        }
        pieces
    }
}

/// A line of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its points by x; NaN and infinity are left out.
    pub points: Vec<(f64, f64)>,
    /// Its colour.
    pub style: Style,
    /// Its stroke.
    pub stroke: Stroke,
    /// Whether each point has a mark across the line.
    pub has_marks: bool,
}

/// The height of a mark, as a part of the plot's.
const MARK: f64 = 0.04;

/// Lines over one range of x.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The lines.
    pub series: Vec<Series>,
    /// The range of x, smallest first.
    pub x: [f64; 2],
    /// The shown place, marked by a vertical line; what is after it is faint.
    pub here: Option<f64>,
    /// The labels below the left and the right end, if there is a row for them.
    pub ends: [String; 2],
    /// The style of labels and marks.
    pub faint: Style,
}

/// The width of the labels at the left.
pub const LABELS: u16 = 9;
/// The minimum rows for labels at the ends.
const TALL: u16 = 6;

impl Plot {
    /// The area of the lines within `area`.
    pub fn inside(&self, area: Rect) -> Rect {
        let below = u16::from(area.height >= TALL);
        let [_, inside] = Layout::horizontal([Constraint::Length(LABELS), Constraint::Min(0)]).areas(area);
        Rect { height: area.height - below, ..inside }
    }

    /// The x of a column of `area`; `None` outside the lines.
    pub fn x_at(&self, column: u16, area: Rect) -> Option<f64> {
        let inside = self.inside(area);
        let share = f64::from(column.checked_sub(inside.x)?) / f64::from(inside.width.checked_sub(1)?.max(1));
        (share <= 1.).then(|| self.x[0] + share * (self.x[1] - self.x[0]))
    }
}

impl Widget for &Plot {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let inside = self.inside(area);
        if inside.is_empty() {
            return;
        }
        let values = self.series.iter().flat_map(|series| &series.points).map(|(_, y)| *y);
        let [low, high] = bounds(values);
        let x = if self.x[1] > self.x[0] { self.x } else { [self.x[0] - 0.5, self.x[0] + 0.5] };
        let here = self.here;
        Canvas::default()
            // The widget's own default is the terminal's background instead of the theme's.
            .background_color(buf[inside.as_position()].bg)
            .marker(Marker::Braille)
            .x_bounds(x)
            .y_bounds([low, high])
            .paint(|context| {
                let colour = |style: Style| style.fg.unwrap_or_default();
                if let Some(here) = here {
                    context.draw(&Line { x1: here, x2: here, y1: low, y2: high, color: colour(self.faint) });
                    context.layer();
                }
                for series in &self.series {
                    let finite: Vec<(f64, f64)> =
                        series.points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
                    let beyond = |x: f64| here.is_some_and(|here| x > here);
                    let style = |x: f64| colour(if beyond(x) { self.faint } else { series.style });
                    let halves = 2 * usize::from(inside.width);
                    for [(x1, y1), (x2, y2)] in series.stroke.pieces(&finite, x, halves) {
                        context.draw(&Line { x1, y1, x2, y2, color: style(x2) });
                    }
                    if series.has_marks {
                        let half = (high - low) * MARK;
                        for (x, y) in &finite {
                            let ends = [(y - half).max(low), (y + half).min(high)];
                            context.draw(&Line {
                                x1: *x,
                                x2: *x,
                                y1: ends[0],
                                y2: ends[1],
                                color: style(*x),
                            });
                        }
                    }
                    // A single point makes no line.
                    if let [point] = finite[..] {
                        context.draw(&Points { coords: &[point], color: style(point.0) });
                    }
                }
            })
            .render(inside, buf);
        let label = |value: f64| format!("{:>8} ", trimmed(short(value)));
        let style = self.faint;
        Text::styled(label(high), style).render(Rect { height: 1, width: LABELS, ..area }, buf);
        if inside.height > 1 {
            let row = Rect { y: inside.bottom() - 1, height: 1, width: LABELS, ..area };
            Text::styled(label(low), style).render(row, buf);
        }
        if inside.height > 6 {
            let row = Rect { y: inside.y + inside.height / 2, height: 1, width: LABELS, ..area };
            Text::styled(label((low + high) / 2.), style).render(row, buf);
        }
        if inside.bottom() < area.bottom() {
            let row = Rect { y: inside.bottom(), height: 1, ..inside };
            Text::styled(self.ends[0].as_str(), style).render(row, buf);
            Text::styled(self.ends[1].as_str(), style).right_aligned().render(row, buf);
        }
    }
}

/// A range that contains all values, with ends of two significant digits.
fn bounds(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let finite = values.filter(|v| v.is_finite());
    let low = finite.clone().fold(f64::INFINITY, f64::min);
    let high = finite.fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return [0., 1.];
    }
    let spread = (high - low).max(high.abs() * 1e-3).max(1e-9);
    let unit = 10f64.powf((spread / 2.).log10().floor());
    [(low / unit).floor() * unit, (high / unit + 1e-9).ceil().max((low / unit).floor() + 1.) * unit]
}

/// A number in at most eight columns; numbers of similar size have aligned points.
pub fn short(v: f64) -> String {
    match v.abs() {
        m if m.is_nan() => "NaN".into(),
        m if m < 1e-12 => "0".into(),
        m if m < 1e-3 => format!("{v:.1e}"),
        m if m < 9.99995 => format!("{v:.4}"),
        m if m < 99.995 => format!("{v:.2}"),
        m if m < 99_999. => trimmed(format!("{v:.1}")),
        _ => format!("{v:.1e}"),
    }
}

/// Without trailing zeros.
fn trimmed(number: String) -> String {
    if !number.contains('.') || number.contains('e') {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounds_hold_every_value(values in prop::collection::vec(-1e6f64..1e6, 1..20)) {
            let [low, high] = bounds(values.iter().copied());
            let slack = 1e-6 * (high - low);
            prop_assert!(low < high);
            prop_assert!(values.iter().all(|v| *v >= low - slack && *v <= high + slack), "{low} {high}");
        }

        #[test]
        fn labels_are_short(v in -1e9f64..1e9) {
            prop_assert!(short(v).len() <= 8, "{}", short(v));
        }
    }

    #[test]
    fn numbers_stand_below_each_other() {
        assert_eq!([1.0, -0.5, 9.99999, 34.4].map(short), ["1.0000", "-0.5000", "10.00", "34.40"]);
        assert_eq!([0., 320., 45717.82].map(short), ["0", "320", "45717.8"]);
        assert_eq!(["1.0000", "40.00", "1.0e-5", "0"].map(|n| trimmed(n.into())), ["1", "40", "1.0e-5", "0"]);
    }

    #[test]
    fn strokes_differ_without_colours() {
        let first: Vec<Stroke> = (0..4).map(|index| Stroke::of(index, 4)).collect();
        assert_eq!(first, Stroke::ALL);
        // Lines of equal colour.
        assert_ne!(Stroke::of(0, 4), Stroke::of(4, 4));
        let line = [(0., 0.), (19., 19.)];
        let drawn = |stroke: Stroke| stroke.pieces(&line, [0., 19.], 40).len();
        assert_eq!(Stroke::ALL.map(drawn), [1, 28, 10, 27]);
        let of_dots = Stroke::Dotted.pieces(&line, [0., 19.], 40);
        assert!(of_dots.iter().all(|[from, to]| from.0 == from.1 && to.0 - from.0 < 0.5));
    }

    #[test]
    fn bounds_can_be_read() {
        assert_eq!(bounds([0.93, 1.47].into_iter()), [0.9, 1.5]);
        assert_eq!(bounds([12., 48.].into_iter()), [10., 50.]);
        assert_eq!(bounds([f64::NAN].into_iter()), [0., 1.]);
        assert_eq!(bounds([0.].into_iter())[0], 0.);
    }

    #[test]
    fn a_column_is_a_step() {
        let plot = Plot {
            series: vec![],
            x: [0., 19.],
            here: None,
            ends: [String::new(), String::new()],
            faint: Style::new(),
        };
        let area = Rect::new(2, 0, LABELS + 20, 5);
        assert_eq!(plot.x_at(2 + LABELS, area), Some(0.));
        assert_eq!(plot.x_at(2 + LABELS + 19, area), Some(19.));
        assert_eq!(plot.x_at(3, area), None);
        plot.render(Rect::new(0, 0, 3, 1), &mut Buffer::empty(Rect::new(0, 0, 3, 1)));
    }
}

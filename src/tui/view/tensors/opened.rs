//! One tensor: its histogram, values, channels and change.

use crate::debugger::record::TensorRow;
use crate::debugger::record::TensorView;
use crate::debugger::text::shape;
use crate::tensor::compare::{cosine, distance, relative_difference};
use crate::tensor::{Histogram, PlainTensor, Summary};
use crate::tui::canvas::Canvas;
use crate::tui::list::{Scroll, Step};
use crate::tui::text;
use crate::tui::view::{Reply, welcome};
use crate::tui::widget::bars::{Bars, COUNTS};
use crate::tui::widget::plot::short;
use crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// Draws the histogram, with the statistics above it.
pub(super) fn draw_spread(row: &TensorRow, histogram: &Histogram, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let s = &row.summary;
    let facts = [
        ("mean", short(s.mean)),
        ("std", short(s.std)),
        ("L2", short(s.l2)),
        ("NaN", s.nan.to_string()),
        ("Inf", s.inf.to_string()),
    ];
    let spans = facts.into_iter().flat_map(|(name, value)| {
        let style = if name.len() == 3 && name != "std" && value != "0" { theme.alarm } else { theme.plain };
        [Span::styled(format!("{name} "), theme.faint), Span::styled(value, style), Span::raw("  ")]
    });
    let [top, drawn] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    canvas.lines(&[Line::from_iter(spans)], top);
    Bars { histogram, style: theme.series[0], faint: theme.faint }.render(drawn, canvas.buf);
}

/// The number of channels and of values in each: planes of (1, C, h, w), rows of (1, n, C).
pub(super) fn channels(values: &PlainTensor) -> (usize, usize) {
    let all = values.data().len();
    let count = match values.shape() {
        [1, channels, _, _] => *channels,
        [1, rows, _] => *rows,
        _ => 1,
    };
    (count, all / count.max(1))
}

pub(super) fn channels_title(values: &PlainTensor) -> String {
    match (values.shape(), channels(values).0) {
        (_, 1) => "statistics".into(),
        ([1, _, _], rows) => format!("{rows} tokens"),
        (_, channels) => format!("{channels} channels"),
    }
}

/// Draws the statistics of each channel.
pub(super) fn draw_channels(values: &PlainTensor, scroll: Scroll, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let (count, len) = channels(values);
    let rows = usize::from(area.height.saturating_sub(1));
    // Four columns if five do not fit.
    let columns = if usize::from(area.width) < 4 + 5 * CELL { 4 } else { 5 };
    let cell = (usize::from(area.width.saturating_sub(4)) / columns).clamp(1, CELL);
    let headings = ["mean", "std", "min", "max", "L2"];
    let heading: String = headings[..columns].iter().map(|name| format!("{name:>cell$}")).collect();
    let mut lines = vec![Line::styled(format!("{:>4}{heading}", ""), theme.faint)];
    for channel in (scroll.top(count, rows)..count).take(rows) {
        let part = values.data().get(channel * len..(channel + 1) * len).unwrap_or_default();
        let s = Summary::of_values(part);
        let numbers: String = [s.mean, s.std, s.min, s.max, s.l2][..columns]
            .iter()
            .map(|v| format!("{:>cell$}", short(*v)))
            .collect();
        let style = if s.nan + s.inf > 0 { theme.alarm } else { theme.plain };
        lines.push(Line::from(vec![
            Span::styled(format!("{channel:>4}"), theme.faint),
            Span::styled(numbers, style),
        ]));
    }
    canvas.lines(&lines, area);
}

/// Draws the change of `tensor` since its previous value.
pub(super) fn draw_change(
    tensor: &TensorView,
    before: Option<&TensorView>,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let before = before.filter(|before| before.values.shape() == tensor.values.shape());
    let Some(before) = before else {
        return welcome::draw_text("No earlier stage has a tensor of this name.", canvas, area);
    };
    let (now, then) = (tensor.values.data(), before.values.data());
    let difference: Vec<f32> = now.iter().zip(then).map(|(now, then)| now - then).collect();
    let turned = now.iter().zip(then).filter(|(now, then)| *now * *then < 0.).count();
    let most = difference.iter().filter(|v| v.is_finite()).fold(0f32, |most, v| most.max(v.abs()));
    let line = |name: &'static str, value: String| {
        Line::from(vec![Span::styled(format!("{name:<22}"), theme.faint), Span::raw(value)])
    };
    let lines = [
        line("‖now − before‖", short(distance(now, then))),
        line("to ‖before‖", short(relative_difference(now, then))),
        line("cosine to before", short(cosine(now, then))),
        line("largest change", short(f64::from(most))),
        line("signs that changed", format!("{:.1} %", 100. * turned as f64 / now.len().max(1) as f64)),
    ];
    let [top, drawn] = Layout::vertical([Constraint::Length(5), Constraint::Min(0)]).areas(area);
    canvas.lines(&lines, top);
    if drawn.height >= 3 && drawn.width > COUNTS {
        let histogram = Histogram::of_values(&difference, usize::from(drawn.width - COUNTS));
        Bars { histogram: &histogram, style: theme.series[1], faint: theme.faint }.render(drawn, canvas.buf);
    }
}

/// The visible part of a tensor's values: a plane, and its first row and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Grid {
    plane: usize,
    row: usize,
    column: usize,
}

/// The columns of a value.
const CELL: usize = 9;

/// The numbers of planes, rows and columns.
fn extent(values: &PlainTensor) -> [usize; 3] {
    match *values.shape() {
        [1, planes, rows, columns] => [planes, rows, columns],
        [.., rows, columns] => [values.data().len() / (rows * columns).max(1), rows, columns],
        _ => [1, 1, values.data().len()],
    }
}

impl Grid {
    /// The same, with every index limited to the tensor.
    fn within(self, values: &PlainTensor) -> Self {
        let [planes, rows, columns] = extent(values);
        Self {
            plane: self.plane.min(planes.saturating_sub(1)),
            row: self.row.min(rows.saturating_sub(1)),
            column: self.column.min(columns.saturating_sub(1)),
        }
    }

    /// The title, with the keys that show another part.
    pub fn title(self, values: &PlainTensor) -> String {
        let at = self.within(values);
        match extent(values) {
            [1, ..] => tr!("values of {}: ↑↓ h l", shape(values.shape())),
            [planes, ..] => tr!("values, channel {} of {planes}: ↑↓ h l, [ ] channel", at.plane, planes),
        }
    }

    pub fn key(&mut self, code: KeyCode, values: &PlainTensor) -> Reply {
        let mut at = self.within(values);
        match code {
            KeyCode::Char('h') => at.column = at.column.saturating_sub(1),
            KeyCode::Char('l') => at.column += 1,
            KeyCode::Char('[') => at.plane = at.plane.saturating_sub(1),
            KeyCode::Char(']') => at.plane += 1,
            _ => return Reply::Unknown,
        }
        *self = at.within(values);
        Reply::Taken
    }

    /// Moves down or up; `height` rows with their heading are visible.
    pub fn step(&mut self, step: Step, height: u16, values: &PlainTensor) {
        let mut at = self.within(values);
        at.row = at.row.saturating_add_signed(step.rows(height.saturating_sub(1).into()));
        *self = at.within(values);
    }

    fn value(values: &PlainTensor, plane: usize, row: usize, column: usize) -> Option<f32> {
        let [_, rows, columns] = extent(values);
        values.data().get((plane * rows + row) * columns + column).copied()
    }

    /// Draws the values with their row and column indices.
    pub fn draw(self, values: &PlainTensor, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let at = self.within(values);
        let [_, rows, columns] = extent(values);
        let across = (usize::from(area.width).saturating_sub(5) / CELL).max(1);
        let shown = at.column..(at.column + across).min(columns);
        let heading: String = shown.clone().map(|column| format!("{column:>CELL$}")).collect();
        let mut lines = vec![Line::styled(format!("{:>5}{heading}", ""), theme.faint)];
        for row in (at.row..rows).take(usize::from(area.height.saturating_sub(1))) {
            let mut line = Line::styled(format!("{row:>4} "), theme.faint);
            for column in shown.clone() {
                let value = Self::value(values, at.plane, row, column).unwrap_or(f32::NAN);
                let style = if value.is_finite() { theme.plain } else { theme.alarm };
                let text = if value.is_infinite() { value.to_string() } else { short(f64::from(value)) };
                line.push_span(" ".repeat(CELL.saturating_sub(text::width(&text))));
                line.push_span(Span::styled(text, style));
            }
            lines.push(line);
        }
        canvas.lines(&lines, area);
    }

    /// The visible plane as tab-separated text.
    pub fn tsv(self, values: &PlainTensor) -> String {
        let at = self.within(values);
        let [_, rows, columns] = extent(values);
        let row = |row| {
            let cells = (0..columns).filter_map(|column| Self::value(values, at.plane, row, column));
            cells.map(|value| value.to_string()).collect::<Vec<_>>().join("\t") + "\n"
        };
        (0..rows).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn channels_are_planes_or_tokens() {
        let tensor =
            |shape: &[usize]| PlainTensor::from_values(shape, vec![0.; shape.iter().product()]).unwrap();
        assert_eq!(channels(&tensor(&[1, 4, 2, 3])), (4, 6));
        assert_eq!(channels(&tensor(&[1, 77, 8])), (77, 8));
        assert_eq!(channels(&tensor(&[1, 77])), (1, 77));
        assert_eq!(extent(&tensor(&[1, 4, 2, 3])), [4, 2, 3]);
        assert_eq!(extent(&tensor(&[1, 77, 8])), [1, 77, 8]);
        assert_eq!(extent(&tensor(&[1, 77])), [1, 1, 77]);
        assert_eq!(Grid::default().tsv(&tensor(&[1, 1, 2, 2])), "0\t0\n0\t0\n");
    }

    proptest! {
        #[test]
        fn the_grid_stays_within(keys in prop::collection::vec(0usize..7, 0..60), dims in (1usize..4, 1usize..5, 1usize..5)) {
            let values = PlainTensor::from_values(&[1, dims.0, dims.1, dims.2], vec![1.; dims.0 * dims.1 * dims.2]).unwrap();
            let mut grid = Grid::default();
            for key in keys {
                match key {
                    0 => grid.step(Step::Rows(-1), 20, &values),
                    1 => grid.step(Step::Rows(1), 20, &values),
                    2 => grid.step(Step::Pages(1), 20, &values),
                    other => drop(grid.key(KeyCode::Char(['h', 'l', '[', ']'][other - 3]), &values)),
                }
                prop_assert_eq!(grid, grid.within(&values));
            }
        }
    }
}

//! The tensor table: as many columns as fit, the most informative ones first.

use crate::debugger::record::RecordView;
use crate::debugger::record::TensorRow;
use crate::debugger::text::shape;
use crate::tui::canvas::Canvas;
use crate::tui::list::Scroll;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Shape,
    Dtype,
    Mean,
    Std,
    Min,
    Max,
    Nan,
    Inf,
    /// NaN and infinite values together, when both counts do not fit.
    Bad,
}

use Column::{Bad, Dtype, Inf, Max, Mean, Min, Name, Nan, Shape, Std};

/// Sets of columns, the fullest first: the first that fits is drawn.
const CHOICES: &[&[Column]] = &[
    &[Name, Shape, Dtype, Mean, Std, Min, Max, Nan, Inf],
    &[Name, Shape, Dtype, Mean, Std, Min, Max, Bad],
    &[Name, Shape, Mean, Std, Min, Max, Bad],
    &[Name, Shape, Dtype, Mean, Std, Bad],
    &[Name, Shape, Mean, Std, Bad],
    &[Name, Mean, Std, Bad],
    &[Name, Std, Bad],
    &[Name, Bad],
];

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Name => "name",
            Shape => "shape",
            Dtype => "dtype",
            Mean => "mean",
            Std => "std",
            Min => "min",
            Max => "max",
            Nan => "nan",
            Inf => "inf",
            Bad => "bad",
        }
    }

    fn text(self, row: &TensorRow) -> String {
        let s = &row.summary;
        match self {
            Name => text::clean(&row.name),
            Shape => shape(&row.shape),
            Dtype => row.dtype.into(),
            Mean => number(s.mean),
            Std => number(s.std),
            Min => number(s.min),
            Max => number(s.max),
            Nan => s.nan.to_string(),
            Inf => s.inf.to_string(),
            Bad => (s.nan + s.inf).to_string(),
        }
    }

    fn style(self, row: &TensorRow, theme: &Theme) -> Style {
        let s = &row.summary;
        let alarming = match self {
            Nan => s.nan > 0,
            Inf => s.inf > 0,
            Bad => s.nan + s.inf > 0,
            // Without a finite value there are no statistics.
            Mean | Std | Min | Max => s.mean.is_nan() && s.nan + s.inf > 0,
            Name | Shape | Dtype => false,
        };
        match self {
            _ if alarming => theme.alarm,
            Name => theme.tensor,
            Shape | Dtype => theme.faint,
            _ => theme.plain,
        }
    }

    fn is_left_aligned(self) -> bool {
        matches!(self, Name | Shape | Dtype)
    }

    fn width(self, rows: &[&TensorRow]) -> usize {
        let widest = rows.iter().map(|row| text::width(&self.text(row))).max().unwrap_or(0);
        widest.max(self.heading().len())
    }
}

/// The rows of the table, with its heading.
pub fn rows(record: &RecordView) -> usize {
    1 + record.tensors.len()
}

/// The number of tensors that an area of `height` shows, of `count`: one row is the heading and, when the table does
/// not
/// fit, its last row counts the hidden ones.
pub fn visible(count: usize, height: u16) -> usize {
    let room = usize::from(height.saturating_sub(1));
    if count > room { room.saturating_sub(1) } else { room }
}

/// Draws the table. When it does not fit, its last row counts the hidden rows.
pub fn draw(record: &RecordView, scroll: Scroll, canvas: &mut Canvas<'_>, area: Rect) {
    let (theme, buf) = (canvas.theme, &mut *canvas.buf);
    let rows: Vec<&TensorRow> = record.tensors.iter().map(|tensor| &tensor.row).collect();
    let columns = choose(&rows, area.width.into());
    let mut places = area.rows();
    let Some(first) = places.next() else { return };
    let heading = |column: Column| (column.heading().to_string(), theme.faint);
    let gap = gap(&columns, area.width.into());
    let line = |cell: &dyn Fn(Column) -> (String, Style)| line(&columns, gap, cell);
    line(&heading).render(first, buf);

    let shown = visible(rows.len(), area.height);
    let scrolls = rows.len() > usize::from(area.height.saturating_sub(1));
    let top = scroll.top(rows.len(), shown);
    for (row, place) in rows.iter().skip(top).take(shown).zip(places.by_ref()) {
        line(&|column| (column.text(row), column.style(row, theme))).render(place, buf);
    }
    if let Some(place) = places.next().filter(|_| scrolls) {
        let below = rows.len().saturating_sub(top + shown);
        let more = match (top, below) {
            (0, below) => tr!("… {below} more below (↓ scrolls, 2 shows all)", below),
            (above, 0) => tr!("… {above} more above", above),
            (above, below) => tr!("… {above} more above, {below} below", above, below),
        };
        Line::styled(more, theme.faint).render(place, buf);
    }
}

/// The columns that fit, with their widths.
fn choose(rows: &[&TensorRow], room: usize) -> Vec<(Column, usize)> {
    let measured = |columns: &[Column]| -> Vec<(Column, usize)> {
        columns.iter().map(|column| (*column, column.width(rows))).collect()
    };
    let mut choices = CHOICES.iter().map(|columns| measured(columns));
    let fitting = choices.find(|columns| total(columns, 1) <= room);
    fitting.unwrap_or_else(|| measured(CHOICES[CHOICES.len() - 1]))
}

/// The width of the table with `gap` between columns.
fn total(columns: &[(Column, usize)], gap: usize) -> usize {
    columns.iter().map(|(_, width)| width + gap).sum::<usize>() - gap
}

/// The space between columns, wider on wide terminals.
fn gap(columns: &[(Column, usize)], room: usize) -> usize {
    (1..=2).rev().find(|gap| total(columns, *gap) <= room).unwrap_or(1)
}

fn line(columns: &[(Column, usize)], gap: usize, cell: &dyn Fn(Column) -> (String, Style)) -> Line<'static> {
    let mut spans = vec![];
    for (column, width) in columns {
        let (text, style) = cell(*column);
        let pad = " ".repeat(width.saturating_sub(text::width(&text)));
        if !spans.is_empty() {
            spans.push(Span::raw(" ".repeat(gap)));
        }
        let text = Span::styled(text, style);
        spans.extend(if column.is_left_aligned() { [text, pad.into()] } else { [pad.into(), text] });
    }
    Line::from(spans)
}

/// A number in at most eight columns.
fn number(v: f64) -> String {
    match v.abs() {
        m if m.is_nan() => "NaN".into(),
        0. => "0".into(),
        m if m < 1e-3 => format!("{v:.1e}"),
        m if m < 9.99995 => format!("{v:.4}"),
        m if m < 99.9995 => format!("{v:.3}"),
        m if m < 999.995 => format!("{v:.2}"),
        m if m < 99_999.95 => format!("{v:.1}"),
        _ => format!("{v:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Stage;
    use crate::tensor::PlainTensor;

    fn row(values: Vec<f32>) -> TensorRow {
        let tensor = PlainTensor::from_values(&[1, values.len()], values).unwrap();
        TensorRow::new("guided_noise_residual", Some(Stage::GetLatent), &tensor)
    }

    #[test]
    fn numbers_fit_eight_columns() {
        for v in [0., -0.12345, 9.99996, -99.9996, 999.996, -49407., -99_999.96, -1e-9, 3e38, f64::NAN] {
            assert!(number(v).len() <= 8, "{}", number(v));
        }
        assert_eq!([number(-1.5), number(49407.), number(9.99996)], ["-1.5000", "49407.0", "10.000"]);
    }

    #[test]
    fn columns_are_dropped_from_the_least_telling() {
        let row = row(vec![-1.25, 0.5]);
        let shown = |room| choose(&[&row], room).iter().map(|(column, _)| *column).collect::<Vec<_>>();
        assert_eq!(shown(80), CHOICES[0]);
        assert_eq!(shown(52), CHOICES[3]);
        assert_eq!(shown(3), [Name, Bad]);
    }

    #[test]
    fn nan_and_infinity_are_alarms() {
        let theme = Theme::default();
        let good = row(vec![1., 2.]);
        let bad = row(vec![f32::NAN, 2.]);
        assert_eq!(Nan.style(&good, &theme), theme.plain);
        assert_eq!(Nan.style(&bad, &theme), theme.alarm);
        assert_eq!(Inf.style(&bad, &theme), theme.plain);
        assert_eq!(Bad.style(&bad, &theme), theme.alarm);
    }
}

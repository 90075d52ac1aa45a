//! The list of tensors: its columns, and its order.

use super::{Found, Tensors};
use crate::debugger::record::TensorView;
use crate::debugger::text::shape;
use crate::tui::canvas::Canvas;
use crate::tui::list::ListView;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::bars::sparkline;
use crate::tui::widget::plot::short;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use std::cmp::Ordering;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Stage,
    Shape,
    Dtype,
    Mean,
    Std,
    Min,
    Max,
    L2,
    Nan,
    Inf,
    Spread,
}

use Column::{Dtype, Inf, L2, Max, Mean, Min, Name, Nan, Shape, Spread, Stage, Std};

/// From left to right.
const COLUMNS: [Column; 12] = [Name, Stage, Shape, Dtype, Mean, Std, Min, Max, L2, Nan, Inf, Spread];
/// What gives way where there is no room, the least telling first.
const GIVE_WAY: [Column; 9] = [Dtype, Stage, Inf, L2, Nan, Shape, Min, Max, Mean];
/// What it can be sorted by.
const SORTED: [Column; 8] = [Name, Mean, Std, Min, Max, L2, Nan, Inf];
/// Bins of the spread.
const BINS: usize = 10;

/// The order of the list: as the stages made them, the newest first, or by a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Order {
    column: Option<usize>,
    reversed: bool,
}

impl Order {
    pub fn next(&mut self) {
        self.column = match self.column {
            None => Some(0),
            Some(last) if last + 1 == SORTED.len() => None,
            Some(column) => Some(column + 1),
        };
    }

    pub fn before(&mut self) {
        self.column = match self.column {
            None => Some(SORTED.len() - 1),
            Some(0) => None,
            Some(column) => Some(column - 1),
        };
    }

    pub fn reverse(&mut self) {
        self.reversed = !self.reversed;
    }

    /// The mouse was pressed on the heading: by that column, or when it is already, the other way.
    pub fn press(&mut self, listed: &[Found<'_>], x: u16, width: u16) {
        let mut right = 1;
        for (column, columns) in choose(listed, width) {
            right += columns + 1;
            if usize::from(x) < right {
                let column = SORTED.iter().position(|sorted| *sorted == column);
                if column.is_some() && column == self.column {
                    self.reverse();
                } else if column.is_some() {
                    *self = Self { column, reversed: false };
                }
                return;
            }
        }
    }

    /// Numbers with the largest first, names from a to z.
    pub fn sort(&self, listed: &mut [Found<'_>]) {
        let Some(column) = self.column.map(|column| SORTED[column]) else {
            if self.reversed {
                listed.reverse();
            }
            return;
        };
        listed.sort_by(|(_, a), (_, b)| {
            let order = match column {
                Name => a.row.name.cmp(&b.row.name),
                // What is no number comes last.
                _ => match (value(column, b), value(column, a)) {
                    (b, a) if a.is_nan() || b.is_nan() => a.is_nan().cmp(&b.is_nan()),
                    (b, a) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
                },
            };
            if self.reversed { order.reverse() } else { order }
        });
    }

    fn mark(&self, column: Column) -> &'static str {
        match self.column.map(|sorted| SORTED[sorted]) {
            Some(sorted) if sorted == column => match (column == Name) == self.reversed {
                true => "▼",
                false => "▲",
            },
            _ => "",
        }
    }
}

fn value(column: Column, tensor: &TensorView) -> f64 {
    let s = &tensor.row.summary;
    match column {
        Mean => s.mean,
        Std => s.std,
        Min => s.min,
        Max => s.max,
        L2 => s.l2,
        Nan => s.nan as f64,
        Inf => s.inf as f64,
        Name | Stage | Shape | Dtype | Spread => f64::NAN,
    }
}

fn heading(column: Column) -> &'static str {
    match column {
        Name => "name",
        Stage => "made by",
        Shape => "shape",
        Dtype => "dtype",
        Mean => "mean",
        Std => "std",
        Min => "min",
        Max => "max",
        L2 => "L2",
        Nan => "NaN",
        Inf => "Inf",
        Spread => "spread",
    }
}

fn cell(column: Column, (record, tensor): Found<'_>) -> String {
    match column {
        Name => text::clean(&tensor.row.name),
        Stage => record.stage.to_string(),
        Shape => shape(&tensor.row.shape),
        Dtype => tensor.row.dtype.into(),
        Nan => tensor.row.summary.nan.to_string(),
        Inf => tensor.row.summary.inf.to_string(),
        Spread => String::new(),
        number => short(value(number, tensor)),
    }
}

fn is_left_aligned(column: Column) -> bool {
    matches!(column, Name | Stage | Shape | Dtype | Spread)
}

fn style(column: Column, tensor: &TensorView, theme: &Theme) -> Style {
    let s = &tensor.row.summary;
    match column {
        Nan if s.nan > 0 => theme.alarm,
        Inf if s.inf > 0 => theme.alarm,
        // Where their own columns have given way, the name says it.
        Name if s.nan + s.inf > 0 => theme.alarm,
        Name => theme.tensor,
        Stage | Shape | Dtype => theme.faint,
        Spread => theme.series[0],
        _ => theme.plain,
    }
}

/// The columns that fit, with their widths.
fn choose(listed: &[Found<'_>], width: u16) -> Vec<(Column, usize)> {
    let measure = |column: Column| {
        let widest = listed.iter().map(|found| text::width(&cell(column, *found))).max().unwrap_or(0);
        // A mark may stand behind the heading.
        let heading = heading(column).len() + usize::from(SORTED.contains(&column));
        (column, if column == Spread { BINS } else { widest.max(heading) })
    };
    let mut columns: Vec<(Column, usize)> = COLUMNS.into_iter().map(measure).collect();
    let total = |columns: &[(Column, usize)]| 1 + columns.iter().map(|(_, width)| width + 1).sum::<usize>();
    for column in GIVE_WAY {
        if total(&columns) <= usize::from(width) {
            break;
        }
        columns.retain(|(known, _)| *known != column);
    }
    columns
}

/// Rows of tensors that an area of `height` has room for; a heading and a line of keys take a row each.
pub(super) fn visible(height: u16) -> usize {
    height.saturating_sub(2).into()
}

/// Draws the list.
pub(super) fn draw(
    view: &Tensors,
    listed: &[Found<'_>],
    selected: usize,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let columns = choose(listed, area.width);
    let [first, rows, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let aligned = |column: Column, text: String, width: usize| {
        let pad = " ".repeat(width.saturating_sub(text::width(&text)));
        if is_left_aligned(column) { text + &pad + " " } else { pad + &text + " " }
    };
    let mut line = Line::raw(" ");
    for (column, width) in &columns {
        let text = format!("{}{}", heading(*column), view.order.mark(*column));
        line.push_span(Span::styled(aligned(*column, text, *width), theme.faint));
    }
    line.render(first, canvas.buf);
    let top = ListView::at(selected).window(listed.len(), visible(area.height)).start;
    for ((index, found), row) in listed.iter().enumerate().skip(top).zip(rows.rows()) {
        let here = index == selected;
        let mut line = Line::from(Span::styled(if here { "▸" } else { " " }, theme.focus));
        for (column, width) in &columns {
            let text = match column {
                Spread => sparkline(&view.histogram(*found, BINS)),
                column => cell(*column, *found),
            };
            line.push_span(Span::styled(aligned(*column, text, *width), style(*column, found.1, theme)));
        }
        if here {
            canvas.buf.set_style(row, theme.strong);
        }
        line.render(row, canvas.buf);
    }
    let said = "↑↓ select  Enter opens  / filters  < > sort  . turns the order  y copies";
    canvas.lines(&[Line::styled(text::shortened(said, keys.width.into()), theme.faint)], keys);
}

/// The list with a tab between columns.
pub(super) fn tsv(listed: &[Found<'_>]) -> String {
    let columns = &COLUMNS[..COLUMNS.len() - 1];
    let mut text = columns.iter().map(|column| heading(*column)).collect::<Vec<_>>().join("\t") + "\n";
    for found in listed {
        let cells = columns.iter().map(|column| match column {
            Name | Stage | Shape | Dtype | Nan | Inf | Spread => cell(*column, *found),
            number => value(*number, found.1).to_string(),
        });
        text.push_str(&(cells.collect::<Vec<_>>().join("\t") + "\n"));
    }
    text
}

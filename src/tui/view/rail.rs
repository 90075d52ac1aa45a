//! The stage rail: what is done, what runs next, what is to come.

use crate::debugger::View;
use crate::debugger::view::StageLine;
use crate::tui::theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Widget};
use std::time::Duration;

/// Columns of the rail, with its border.
pub const WIDTH: u16 = 23;

/// Draws the rail. What runs next is always on it, in the middle where there are more stages than rows.
pub fn draw(view: &View, area: Rect, buf: &mut Buffer) {
    let block = Block::new().borders(Borders::RIGHT).border_style(theme::FAINT);
    let inner = block.inner(area);
    block.render(area, buf);
    let mut rows = inner.rows();
    if let Some(row) = rows.next() {
        heading(view).render(row, buf);
    }
    let left = usize::from(inner.height.saturating_sub(1));
    // Behind the last stage there is a row that says so.
    let all = view.stages.len() + 1;
    let top = view.cursor.saturating_sub(left / 2).min(all.saturating_sub(left));
    for (index, row) in (top..all).zip(rows) {
        match view.stages.get(index) {
            Some(stage) => stage_line(view, index, stage).render(row, buf),
            None => end_line(view).render(row, buf),
        }
    }
}

/// How far the run is, and how far it is recorded where that is further.
fn heading(view: &View) -> Line<'static> {
    let ahead = view.recorded.saturating_sub(view.cursor);
    let ahead = if ahead > 0 { format!(", {ahead} ahead") } else { String::new() };
    Line::styled(format!("{} of {} done{ahead}", view.cursor, view.stages.len()), theme::FAINT)
}

fn stage_line(view: &View, index: usize, stage: &StageLine) -> Line<'static> {
    let (mark, marked, named) = match index {
        _ if index == view.cursor => ("▶", theme::HERE, theme::HERE),
        _ if index < view.cursor => ("✓", theme::DONE, theme::PLAIN),
        // Recorded, ahead of the cursor: nothing is computed on the way there.
        _ if index < view.recorded => ("✓", theme::FAINT, theme::FAINT),
        _ => ("·", theme::FAINT, theme::FAINT),
    };
    let breakpoint = if stage.has_breakpoint { "●" } else { " " };
    let took = stage.took.map(duration).unwrap_or_default();
    Line::from(vec![
        Span::styled(mark, marked),
        Span::styled(breakpoint, theme::BREAKPOINT),
        Span::styled(format!("{:<13}", stage.stage.to_string()), named),
        Span::styled(format!("{took:>7}"), theme::FAINT),
    ])
}

fn end_line(view: &View) -> Line<'static> {
    if view.position.is_none() {
        Line::styled("■ complete", theme::HERE)
    } else {
        Line::styled("■ complete", theme::FAINT)
    }
}

/// A duration in at most seven columns.
pub fn duration(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match seconds {
        _ if seconds < 0.0009995 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 99.95 => format!("{seconds:.1} s"),
        _ if seconds < 99_999. => format!("{seconds:.0} s"),
        _ => format!("{:.0} h", seconds / 3600.),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let said = |seconds: f64| duration(Duration::from_secs_f64(seconds));
        assert_eq!(said(0.00123), "1.2 ms");
        assert_eq!(said(0.0523), "52 ms");
        assert_eq!(said(0.9999), "1.0 s");
        assert_eq!(said(123.4), "123 s");
        for seconds in [0., 0.000_999, 0.009_999, 0.01, 0.9994, 99.94, 99.96, 99_998., 1e6] {
            assert!(said(seconds).chars().count() <= 7, "{}", said(seconds));
        }
    }
}

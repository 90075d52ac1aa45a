//! The stage rail: finished stages, the next one, and those to come.

use crate::debugger::View;
use crate::debugger::view::{PartOfStep, StageLine};
use crate::tui::canvas::{Canvas, Target};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use std::time::Duration;
use tr::tr;

/// The width in columns.
pub const WIDTH: u16 = 22;

/// Draws the rail. The next stage is always visible, in the middle when the rail scrolls.
pub fn draw(view: &View, canvas: &mut Canvas<'_>, area: Rect) {
    let (theme, cursor) = (canvas.theme, canvas.state.cursor());
    let left = usize::from(area.height);
    // The row after the last stage says that the run is complete.
    let all = view.stages.len() + 1;
    let top = cursor.saturating_sub(left / 2).min(all.saturating_sub(left));
    for (index, row) in (top..all).zip(area.rows()) {
        canvas.hit(row, Target::Stage(index));
        match view.stages.get(index) {
            Some(stage) => {
                canvas.hit(Rect { width: 2, ..row }.intersection(row), Target::Gutter(index));
                stage_line(view, cursor, index, stage, theme).render(row, canvas.buf);
            }
            None => end_line(view, cursor, theme).render(row, canvas.buf),
        }
    }
}

/// The number of finished stages, and of those recorded after the cursor.
pub fn title(view: &View, state: &State) -> String {
    let cursor = state.cursor();
    match view.recorded().saturating_sub(cursor) {
        0 => tr!("{cursor} of {} done", view.stages.len(), cursor),
        ahead => tr!("{cursor} done, {ahead} ahead", cursor, ahead),
    }
}

fn stage_line(view: &View, cursor: usize, index: usize, stage: &StageLine, theme: &Theme) -> Line<'static> {
    let (mark, marked, named) = match index {
        _ if index == cursor => ("▶", theme.here, theme.here),
        _ if index < cursor => ("✓", theme.done, theme.plain),
        // Recorded after the cursor: going there computes nothing.
        _ if index < view.recorded() => ("✓", theme.faint, theme.faint),
        _ => ("·", theme.faint, theme.faint),
    };
    let breakpoint = if stage.breakpoint.is_some() { "●" } else { " " };
    let inside = view.inside.as_ref().filter(|inside| index == view.cursor && inside.stage == stage.stage);
    let took = match inside {
        // The current line of a stage in which the session is paused.
        Some(inside) => text::shortened(inside.line.rsplit('.').next().unwrap_or_default(), 7),
        None => stage.took.map(duration).unwrap_or_default(),
    };
    let bracket = bracket(stage.part);
    Line::from(vec![
        Span::styled(mark, marked),
        Span::styled(breakpoint, theme.breakpoint),
        Span::styled(
            format!("{:<width$}", stage.stage.to_string(), width = 13 - bracket.len().min(1)),
            named,
        ),
        Span::styled(bracket, theme.tensor),
        Span::styled(format!("{took:>7}"), theme.faint),
    ])
}

/// A bracket around the calls of the UNet that belong to one step.
fn bracket(part: Option<PartOfStep>) -> &'static str {
    match part {
        None => "",
        Some(PartOfStep::First) => "┐",
        Some(PartOfStep::Middle) => "│",
        Some(PartOfStep::Last) => "┘",
    }
}

fn end_line(view: &View, cursor: usize, theme: &Theme) -> Line<'static> {
    if cursor >= view.stages.len() {
        Line::styled("■ complete", theme.here)
    } else {
        Line::styled("■ complete", theme.faint)
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
        let text = |seconds: f64| duration(Duration::from_secs_f64(seconds));
        assert_eq!(text(0.00123), "1.2 ms");
        assert_eq!(text(0.0523), "52 ms");
        assert_eq!(text(0.9999), "1.0 s");
        assert_eq!(text(123.4), "123 s");
        for seconds in [0., 0.000_999, 0.009_999, 0.01, 0.9994, 99.94, 99.96, 99_998., 1e6] {
            assert!(text(seconds).chars().count() <= 7, "{}", text(seconds));
        }
    }
}

//! The scrubber: the recorded part of the run, and the shown place on it.

use crate::tui::canvas::{Canvas, Target};
use crate::tui::text;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// Draws the scrubber: `━` is recorded, `─` is to come, `●` is the shown place.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect) {
    let Some(view) = &canvas.state.view else { return };
    let (all, recorded, here) = (view.places(), view.last_place(), canvas.state.place());
    let label = match canvas.state.cursor().checked_sub(1).and_then(|last| view.stages.get(last)) {
        Some(line) => tr!(" after {} ({here} of {all})", line.stage, here, all),
        None => tr!(" at the start"),
    };
    let [bar, words] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(text::width(&label) as u16)]).areas(area);
    let theme = canvas.theme;
    Line::styled(label, theme.faint).render(words, canvas.buf);
    if bar.width < 4 {
        return;
    }
    let columns = usize::from(bar.width);
    let place = |done: usize| done * (columns - 1) / all.max(1);
    let mut line = Line::default();
    for column in 0..columns {
        line.push_span(match column {
            _ if column == place(here) => Span::styled("●", theme.here),
            _ if column <= place(recorded) => Span::styled("━", theme.done),
            _ => Span::styled("─", theme.faint),
        });
        let done = (column * all + (columns - 1) / 2) / (columns - 1);
        let cell = Rect { x: bar.x + column as u16, width: 1, ..bar };
        canvas.hit(cell, Target::Place(done.min(recorded)));
    }
    line.render(bar, canvas.buf);
}

//! The names of the views, with their keys.

use super::Tab;
use crate::tui::canvas::{Canvas, Target};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// Draws the names; the one that is shown stands in brackets.
pub fn draw(shown: Tab, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    // Where there is no room for all names, a number must do.
    let all = Tab::ALL.iter().map(|tab| tab.name().len() as u16 + 4).sum::<u16>();
    let mut x = area.x;
    for (number, tab) in (1..).zip(Tab::ALL) {
        let (open, close, style) =
            if tab == shown { ("[", "]", theme.focus) } else { (" ", " ", theme.plain) };
        let line = Line::from(vec![
            Span::styled(open, style),
            Span::styled(number.to_string(), theme.key),
            Span::styled(
                if all <= area.width || tab == shown { format!(" {}", tab.name()) } else { String::new() },
                style,
            ),
            Span::styled(close, style),
        ]);
        // Nine names of at most thirteen columns.
        let place = Rect { x, width: line.width() as u16, ..area }.intersection(area);
        canvas.hit(place, Target::Tab(tab));
        line.render(place, canvas.buf);
        x = x.saturating_add(place.width);
    }
}

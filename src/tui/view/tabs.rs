//! The names of the views, with their keys.

use super::Tab;
use crate::tui::canvas::{Canvas, Target};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

type Naming = fn(Tab) -> &'static str;

/// How much of the names is shown, all, the beginnings, none, and what stands behind each. Of the view that is shown it is
/// all.
const NAMES: [(Naming, &str); 4] = [(Tab::name, " "), (Tab::name, ""), (Tab::short, ""), (|_| "", "")];

/// Draws the names; the one that is shown stands in brackets.
pub fn draw(shown: Tab, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let line = |tab: Tab, (name, behind): (Naming, &'static str)| {
        let (open, close, style) =
            if tab == shown { ("[", "]", theme.focus) } else { (" ", behind, theme.plain) };
        let name = if tab == shown { tab.name() } else { name(tab) };
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        Line::from(vec![
            Span::styled(open, style),
            Span::styled(tab.key().to_string(), theme.key),
            Span::styled(name, style),
            Span::styled(close, style),
        ])
    };
    let width = |name| Tab::ALL.iter().map(|tab| line(*tab, name).width()).sum::<usize>();
    let fitting = NAMES.into_iter().find(|name| width(*name) <= area.width.into());
    let mut x = area.x;
    for tab in Tab::ALL {
        let line = line(tab, fitting.unwrap_or(NAMES[3]));
        // Few names of at most thirteen columns.
        let place = Rect { x, width: line.width() as u16, ..area }.intersection(area);
        canvas.hit(place, Target::Tab(tab));
        line.render(place, canvas.buf);
        x = x.saturating_add(place.width);
    }
}

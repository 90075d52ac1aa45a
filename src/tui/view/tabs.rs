//! The tabs: the names of the views with their keys.

use super::registry::Entry;
use super::{VIEWS, ViewId, Views};
use crate::phrase::Phrase;
use crate::tui::canvas::{Canvas, Target};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

type Naming = fn(&Entry) -> Phrase;

/// Forms of the names, from full to none, and the space after each. The current view always has its full name.
const NAMES: [(Naming, &str); 5] = [
    (|view| view.title, " "),
    (|view| view.title, ""),
    (|view| view.short, ""),
    (|view| view.shortest, ""),
    (|_| Phrase::NONE, ""),
];

/// Draws the tabs of `views`, the current one in brackets.
pub fn draw(shown: ViewId, views: &Views, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let has_tab = |view: &&Entry| view.id == shown || views.of(view.id).has_tab(canvas.state);
    let tabs: Vec<&Entry> = VIEWS.iter().filter(has_tab).collect();
    let line = |view: &Entry, (name, after): (Naming, &'static str)| {
        let here = view.id == shown;
        let (open, close, style) = if here { ("[", "]", theme.focus) } else { (" ", after, theme.plain) };
        let name = if here { view.title } else { name(view) };
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        Line::from(vec![
            Span::styled(open, style),
            Span::styled(view.key.to_string(), theme.key),
            Span::styled(name, style),
            Span::styled(close, style),
        ])
    };
    let width = |name| tabs.iter().map(|view| line(view, name).width()).sum::<usize>();
    let fitting = NAMES.into_iter().find(|name| width(*name) <= area.width.into());
    let mut x = area.x;
    for view in &tabs {
        let line = line(view, fitting.unwrap_or(NAMES[4]));
        // A few names of at most thirteen columns.
        let place = Rect { x, width: line.width() as u16, ..area }.intersection(area);
        canvas.hit(place, Target::Tab(view.id));
        line.render(place, canvas.buf);
        x = x.saturating_add(place.width);
    }
}

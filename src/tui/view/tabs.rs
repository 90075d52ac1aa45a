//! The tabs: the names of the views with their keys.

use super::registry::Entry;
use super::{VIEWS, ViewId, Views};
use crate::phrase::Phrase;
use crate::tui::canvas::{Canvas, Target};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

type Naming = fn(&Entry) -> Phrase;

/// Forms of the names, from full to none: of the other views, of the current one, and the space after each.
const NAMES: [(Naming, Naming, &str); 6] = [
    (|view| view.title, |view| view.title, " "),
    (|view| view.title, |view| view.title, ""),
    (|view| view.short, |view| view.title, ""),
    (|view| view.shortest, |view| view.title, ""),
    (|view| view.shortest, |view| view.short, ""),
    (|_| Phrase::NONE, |view| view.title, ""),
];

/// Draws the tabs of `views`, the current one in brackets.
pub fn draw(shown: ViewId, views: &Views, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let has_tab = |view: &&Entry| view.id == shown || views.of(view.id).has_tab(canvas.state);
    let tabs: Vec<&Entry> = VIEWS.iter().filter(has_tab).collect();
    let line = |view: &Entry, (name, own, after): (Naming, Naming, &'static str)| {
        let here = view.id == shown;
        // A space before the bracket, except at the edge and where the names before have one after them.
        let bracket = if after.is_empty() && view.id != tabs[0].id { " [" } else { "[" };
        let (open, close, style) = if here { (bracket, "]", theme.focus) } else { (" ", after, theme.plain) };
        let name = if here { own(view) } else { name(view) };
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
        let line = line(view, fitting.unwrap_or(NAMES[5]));
        // A few names of at most thirteen columns.
        let place = Rect { x, width: line.width() as u16, ..area }.intersection(area);
        canvas.hit(place, Target::Tab(view.id));
        line.render(place, canvas.buf);
        x = x.saturating_add(place.width);
    }
}

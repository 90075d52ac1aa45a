//! What a typed line can go on with, above the line.

use crate::tui::canvas::Canvas;
use crate::tui::completion::Completion;
use crate::tui::list::ListView;
use crate::tui::text;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

/// Rows of candidates at most.
const MOST: usize = 6;

/// Draws the candidates at the bottom of `area`; the one that is chosen is marked.
pub fn draw(completion: &Completion, canvas: &mut Canvas<'_>, area: Rect) {
    let Completion { candidates, chosen, .. } = completion;
    let rows = candidates.len().min(MOST).min(area.height.into());
    if rows == 0 {
        return;
    }
    let theme = canvas.theme;
    let top = ListView::at(chosen.unwrap_or(0)).window(candidates.len(), rows).start;
    let place = Rect { y: area.bottom() - rows as u16, height: rows as u16, ..area };
    Clear.render(place, canvas.buf);
    canvas.buf.set_style(place, theme.page_title);
    let widest = candidates.iter().map(|candidate| text::width(&candidate.text)).max().unwrap_or(0);
    for ((index, candidate), row) in candidates.iter().enumerate().skip(top).zip(place.rows()) {
        let here = *chosen == Some(index);
        let (mark, style) = if here { ("▸", theme.focus) } else { (" ", theme.page_title) };
        let name = format!("{mark}{:<widest$}  ", candidate.text);
        let room = usize::from(row.width).saturating_sub(text::width(&name));
        let mut help = text::shortened(&candidate.help, room);
        if row.bottom() == place.bottom() && candidates.len() > rows {
            let more = format!("  {} of {}", chosen.map_or(rows, |chosen| chosen + 1), candidates.len());
            help = text::shortened(&candidate.help, room.saturating_sub(more.len())) + &more;
        }
        Line::from(vec![Span::styled(name, style), Span::raw(help)]).render(row, canvas.buf);
    }
}

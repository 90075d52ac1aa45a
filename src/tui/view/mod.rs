//! How the application is shown: one part of the screen a file.

mod help;
mod message;
mod numbers;
mod pictures;
mod rail;
mod tensors;
mod title;
mod welcome;

pub use help::page as help_page;

use super::app::{App, Mode};
use super::pictures::Pictures;
use super::{text, theme};
use crate::debugger::view::{RecordView, View};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Margin, Position, Rect, Size};
use ratatui::text::Line;
use ratatui::widgets::Widget;

/// The smallest terminal that is drawn on.
const SMALLEST: Size = Size::new(40, 12);
/// From this many columns on, the table stands beside the rail, and below it otherwise.
const WIDE: u16 = 104;

/// The parts of the screen.
struct Areas {
    title: Rect,
    body: Rect,
    message: Rect,
    hints: Rect,
}

/// Draws the application.
pub fn draw(app: &App, pictures: &mut Pictures, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < SMALLEST.width || area.height < SMALLEST.height {
        too_small(area, frame.buffer_mut());
    } else if let Some(cursor) = draw_parts(app, pictures, area, frame.buffer_mut()) {
        frame.set_cursor_position(cursor);
    }
    pictures.sweep();
}

/// Draws every part; gives where the cursor is, when a line is being typed.
fn draw_parts(app: &App, pictures: &mut Pictures, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let title = title::lines(app, area.width);
    let message = message::lines(app, area.width);
    let Areas { title: title_area, body, message: message_area, hints } =
        areas(area, title.len(), message.len());
    draw_lines(&title, title_area, buf);
    message::hints(app).render(hints, buf);
    let body = match &app.mode {
        Mode::Reading(page) => {
            let rows = Constraint::Length(page.rows(body.height));
            let [rest, read] = Layout::vertical([Constraint::Min(0), rows]).areas(body);
            page.render(read, buf);
            rest
        }
        _ => body,
    };
    match &app.state.view {
        Some(view) => walk(app, view, pictures, body, buf),
        None => welcome::draw(app, body, buf),
    }
    match &app.mode {
        Mode::Typing(line) => Some(message::draw_typed(line, message_area, buf)),
        _ => {
            draw_lines(&message, message_area, buf);
            None
        }
    }
}

fn areas(area: Rect, title: usize, message: usize) -> Areas {
    // Both are few lines.
    let [title, message] = [title, message].map(|rows| Constraint::Length(rows as u16));
    let [title, body, message, hints] =
        Layout::vertical([title, Constraint::Min(0), message, Constraint::Length(1)]).areas(area);
    Areas { title, body, message, hints }
}

/// The least room for a page on a terminal of `size`: it is scrolled as if it had no more.
pub fn page_area(size: Size) -> Size {
    Size { height: size.height.saturating_sub(4), ..size }
}

/// The walk through the stages: where the run stands, and what the stage before made.
fn walk(app: &App, view: &View, pictures: &mut Pictures, area: Rect, buf: &mut Buffer) {
    let Some(record) = &view.record else {
        let [rail, rest] = beside(area);
        rail::draw(view, rail, buf);
        welcome::draw(app, rest, buf);
        return;
    };
    if area.width >= WIDE {
        let [rail, rest] = beside(area);
        let [drawn, told] = above(record, rest);
        rail::draw(view, rail, buf);
        draw_pictures(app, view, record, pictures, drawn, buf);
        draw_numbers(record, told, buf);
    } else {
        let [top, told] = above(record, area);
        let [rail, drawn] = beside(top);
        rail::draw(view, rail, buf);
        draw_pictures(app, view, record, pictures, drawn, buf);
        draw_numbers(record, told, buf);
    }
}

/// The rail, and what is beside it.
fn beside(area: Rect) -> [Rect; 2] {
    let [rail, rest] =
        Layout::horizontal([Constraint::Length(rail::WIDTH), Constraint::Min(0)]).spacing(1).areas(area);
    [rail, rest]
}

/// The pictures, and under them what is told in numbers.
fn above(record: &RecordView, area: Rect) -> [Rect; 2] {
    let numbers = numbers::lines(record, area.width).len();
    let wanted = (numbers + tensors::rows(record)) as u16;
    // The table gives way so that pictures can be made out; on the smallest terminals both do with half.
    let most = area.height.saturating_sub(pictures::FEWEST_ROWS).max(area.height / 2);
    Layout::vertical([Constraint::Min(0), Constraint::Length(wanted.min(most))]).areas(area)
}

fn draw_pictures(
    app: &App,
    view: &View,
    record: &RecordView,
    pictures: &mut Pictures,
    area: Rect,
    buf: &mut Buffer,
) {
    let shown = match app.enlarged.and_then(|index| record.pictures.get(index)) {
        Some(one) => std::slice::from_ref(one),
        None => &record.pictures[..],
    };
    if record.pictures.is_empty() {
        welcome::draw_without_pictures(record.stage, area.inner(Margin::new(1, 1)), buf);
    } else {
        pictures::draw(shown, view.request.width, pictures, area, buf);
    }
}

fn draw_numbers(record: &RecordView, area: Rect, buf: &mut Buffer) {
    let mut lines = numbers::lines(record, area.width);
    // Where rows are scarce, a third of them.
    lines.truncate(usize::from(area.height / 3).max(1));
    let [told, table] =
        Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(0)]).areas(area);
    draw_lines(&lines, told, buf);
    tensors::draw(record, table, buf);
}

fn draw_lines(lines: &[Line<'_>], area: Rect, buf: &mut Buffer) {
    for (line, row) in lines.iter().zip(area.rows()) {
        line.render(row, buf);
    }
}

fn too_small(area: Rect, buf: &mut Buffer) {
    let said = format!("terminal too small: {}×{} needed", SMALLEST.width, SMALLEST.height);
    let lines: Vec<Line<'_>> = text::wrapped(&said, area.width.into())
        .into_iter()
        .map(|line| Line::styled(line, theme::WARNING))
        .collect();
    draw_lines(&lines, area, buf);
}

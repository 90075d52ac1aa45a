//! Drawing of the application.
//!
//! - [`draw`] composes the screen: `title`, `tabs`, the panes of one view, `scrubber`, `message`.
//! - The views, each with panes that it lays out, draws and handles keys for ([`View`]): `overview`,
//!   `tensors`, `residuals`, `scheduler`, `prompt`, `charts`, `source`, `timelines`, `compare`, `model`,
//!   `attention`.
//! - `lesson`, beside them when a lesson is open.
//! - Shared parts: `rail`, `pictures`, `table`, `numbers`, `welcome`, `candidates`. `help` is a page.

mod attention;
mod candidates;
mod charts;
mod compare;
mod difference;
mod help;
mod lesson;
mod message;
mod model;
mod numbers;
mod overview;
mod pane;
mod pictures;
mod prompt;
mod rail;
mod registry;
mod residuals;
mod scheduler;
mod scrubber;
mod source;
mod table;
mod tabs;
mod tensors;
mod timelines;
mod title;
mod welcome;

pub use help::page as help_page;
pub use lesson::{LESSON, beside};
pub use pane::{Pane, Reply, View};
pub use registry::{Entry, VIEWS, ViewId, Views};

use super::app::{App, Mode};
use super::canvas::{Canvas, Hit, Target};
use super::page::Page;
use super::pictures::Pictures;
use super::text;
use super::theme::Theme;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// The smallest supported terminal.
const SMALLEST: Size = Size::new(60, 16);

/// The parts of the screen.
struct Areas {
    title: Rect,
    tabs: Rect,
    body: Rect,
    scrubber: Rect,
    message: Rect,
    hints: Rect,
}

/// Draws the application; returns the areas that the mouse can press.
pub fn draw(app: &App, pictures: &mut Pictures, frame: &mut Frame<'_>) -> Vec<Hit> {
    // Tests check the terminal after a panic.
    assert!(!app.draw_panics, "a test requested a panic");
    let area = frame.area();
    let mut hits = vec![];
    if area.width < SMALLEST.width || area.height < SMALLEST.height {
        too_small(&app.theme, area, frame.buffer_mut());
    } else {
        frame.buffer_mut().set_style(area, app.theme.plain);
        let mut canvas = Canvas {
            state: &app.state,
            theme: &app.theme,
            pictures,
            buf: frame.buffer_mut(),
            hits: &mut hits,
            focused: false,
        };
        if let Some(cursor) = draw_parts(app, &mut canvas, area) {
            frame.set_cursor_position(cursor);
        }
    }
    app.depth.reduce(frame.buffer_mut());
    pictures.sweep();
    hits
}

/// Draws every part; returns the cursor's position while a line is being typed.
fn draw_parts(app: &App, canvas: &mut Canvas<'_>, area: Rect) -> Option<Position> {
    let title = title::lines(app, area.width);
    let message = message::lines(app, area.width);
    let areas = areas(area, title.len(), message.len());
    canvas.lines(&title, areas.title);
    tabs::draw(app.tab, &app.views, canvas, areas.tabs);
    scrubber::draw(canvas, areas.scrubber);
    message::draw_hints(app, canvas, areas.hints);
    let body = match &app.mode {
        Mode::Reading(page) => {
            let rows = Constraint::Length(page.rows(areas.body.as_size()));
            let [rest, read] = Layout::vertical([Constraint::Min(0), rows]).areas(areas.body);
            page.draw(canvas, read);
            rest
        }
        _ => areas.body,
    };
    match &app.mode {
        Mode::Showing(picture) | Mode::Reading(Page { picture: Some(picture), .. }) => {
            match app.split(body) {
                (Some(area), Some(lesson)) => {
                    pictures::draw(&[picture], 0, canvas, area);
                    draw_pane(app, &app.views.lesson.panes(&app.state, lesson)[0], canvas);
                }
                _ => pictures::draw(&[picture], 0, canvas, body),
            }
        }
        _ => draw_panes(app, canvas, body),
    }
    match &app.mode {
        Mode::Typing(line, completion) => {
            candidates::draw(completion, canvas, areas.body);
            Some(message::draw_typed(":", line, canvas, areas.message))
        }
        Mode::Filtering(line) => Some(message::draw_typed("/", line, canvas, areas.message)),
        _ => {
            canvas.lines(&message, areas.message);
            None
        }
    }
}

/// Draws the panes of the current view, or the zoomed one.
fn draw_panes(app: &App, canvas: &mut Canvas<'_>, body: Rect) {
    for pane in app.panes(body) {
        draw_pane(app, &pane, canvas);
    }
}

fn draw_pane(app: &App, pane: &Pane, canvas: &mut Canvas<'_>) {
    canvas.focused = pane.name == app.focused();
    let inside = match pane.title.as_str() {
        "" => pane.area,
        title => {
            let [rule, inside] =
                Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(pane.area);
            draw_rule(title, canvas, rule);
            inside
        }
    };
    canvas.hit(inside, Target::Pane(pane.name));
    app.of_pane(pane.name).draw(pane.name, canvas, inside);
}

/// A rule with the title of the pane below it; ▸ marks the focused pane.
fn draw_rule(title: &str, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let (mark, style) = if canvas.focused { ("▸", theme.focus) } else { ("─", theme.faint) };
    let title = format!("{mark} {} ", text::shortened(title, usize::from(area.width).saturating_sub(3)));
    let rest = "─".repeat(usize::from(area.width).saturating_sub(text::width(&title)));
    Line::from(vec![Span::styled(title, style), Span::styled(rest, theme.rule)]).render(area, canvas.buf);
}

fn areas(area: Rect, title: usize, message: usize) -> Areas {
    // Both are a few lines.
    let [title, message] = [title, message].map(|rows| Constraint::Length(rows as u16));
    let one = Constraint::Length(1);
    let [title, tabs, body, scrubber, message, hints] =
        Layout::vertical([title, one, Constraint::Min(0), one, message, one]).areas(area);
    Areas { title, tabs, body, scrubber, message, hints }
}

/// The smallest size of a page on a terminal of `size`, which limits how far the page scrolls.
pub fn page_area(size: Size) -> Size {
    Size { height: size.height.saturating_sub(6), ..size }
}

fn too_small(theme: &Theme, area: Rect, buf: &mut Buffer) {
    let (width, height) = (SMALLEST.width, SMALLEST.height);
    let text = tr!(
        "terminal too small: {width}×{height} needed, {}×{} found",
        area.width,
        area.height,
        width,
        height
    );
    let lines = text::wrapped(&text, area.width.into());
    for (line, row) in lines.into_iter().zip(area.rows()) {
        Line::styled(line, theme.warning).render(row, buf);
    }
}

//! The bottom lines: messages, the running command, the input line, and the hints for keys.

use super::lesson::LESSON;
use super::rail::duration;
use crate::phrase::{Phrase, phrase};
use crate::pipeline::Stage;
use crate::tui::app::{App, Mode};
use crate::tui::canvas::{Canvas, Target};
use crate::tui::keymap::{self, Binding, bindings};
use crate::tui::line::Line as Typed;
use crate::tui::state::{Activity, Kind};
use crate::tui::text;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use std::time::Duration;
use tr::tr;

/// The maximum number of message lines.
const MOST_LINES: usize = 5;

/// Shorter operations show no time.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The messages or the activity, in one to four lines of at most `width`.
pub fn lines(app: &App, width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    if matches!(app.mode, Mode::Typing(..) | Mode::Filtering(_)) {
        return vec![Line::default()];
    }
    let mut lines = vec![];
    for message in &app.state.messages {
        let style = match message.kind {
            Kind::Info => theme.plain,
            Kind::Warning => theme.warning,
            Kind::Error => theme.error,
            Kind::Pointer => theme.strong,
        };
        let prefix = match message.kind {
            Kind::Info | Kind::Pointer => "",
            Kind::Warning => "warning: ",
            Kind::Error => "error: ",
        };
        if message.kind == Kind::Pointer {
            // A wrapped marker would point to the wrong word.
            lines.push(Line::styled(text::shortened(&message.text, width.into()), style));
            continue;
        }
        let wrapped = text::wrapped(&format!("{prefix}{}", message.text), width.into());
        lines.extend(wrapped.into_iter().map(|line| Line::styled(line, style)));
    }
    for display in app.state.view.iter().flat_map(|view| &view.displays) {
        let display = text::shortened(&text::clean(&display.to_string()), width.into());
        lines.push(Line::styled(display, theme.tensor));
    }
    if let Some(busy) = busy(app) {
        lines.push(Line::styled(text::shortened(&busy, width.into()), theme.here));
    }
    if lines.is_empty() {
        lines.push(Line::default());
    }
    let most = match app.mode {
        // The page shows the output, and needs the room.
        Mode::Reading(_) => 1,
        _ if app.size.height < 20 => 2,
        _ => MOST_LINES,
    };
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            // `…` replaces the end of a line that fills the width.
            let room = usize::from(width).saturating_sub(1);
            let kept = text::shortened(&format!("{last}……"), room.max(1));
            *last = Line::styled(kept.trim_end_matches('…').to_string() + "…", last.style);
        }
    }
    lines
}

/// The worker's activity, and the number of waiting commands.
fn busy(app: &App) -> Option<String> {
    let mut text = match &app.state.activity {
        Activity::Idle => return None,
        Activity::Loading => tr!("loading the model…"),
        Activity::Running { line: Some((stage, path)), .. } => running(*stage, path),
        Activity::Running { command, line: None } => format!("{command}…"),
    };
    if let Some(elapsed) = app.state.elapsed().filter(|elapsed| *elapsed >= WORTH_TELLING) {
        text.push_str(&gauge(app, elapsed));
    }
    if !app.state.waiting.is_empty() {
        text.push_str(&tr!("  (+{} waiting, Esc drops them)", app.state.waiting.len()));
    }
    Some(text)
}

/// `  ███████░░░ 68 %  4.2 s, about 2.0 s left  unet.up_blocks.1`; without the bar when the total is unknown.
fn gauge(app: &App, elapsed: Duration) -> String {
    const COLUMNS: usize = 16;
    let Some(gauge) = &app.state.gauge else { return format!("  {}", duration(elapsed)) };
    let path = gauge.path.as_ref().map_or(String::new(), |path| format!("  {path}"));
    let Some(share) = gauge.share else { return format!("  {}{path}", duration(elapsed)) };
    let full = ((share * COLUMNS as f64) as usize).min(COLUMNS);
    let bar = "█".repeat(full) + &"░".repeat(COLUMNS - full);
    let stage = app.state.stage_elapsed().unwrap_or(elapsed);
    let left = match share {
        share if share > 0.05 => {
            tr!(", about {} left", duration(stage.mul_f64((1. / share - 1.).clamp(0., 1e6))))
        }
        _ => String::new(),
    };
    format!("  {bar} {:.0} %  {}{left}{path}", 100. * share, duration(elapsed))
}

/// A line of a stage in the notation of the lessons: `denoise 3: unet`.
fn running(stage: Stage, path: &str) -> String {
    let line = path.rsplit('.').next().unwrap_or(path);
    format!("{stage}: {line}")
}

/// Draws the input line; returns the cursor's position.
pub fn draw_typed(sign: &'static str, typed: &Typed, canvas: &mut Canvas<'_>, area: Rect) -> Position {
    let before = text::width(typed.before_cursor());
    let room = usize::from(area.width).saturating_sub(2);
    // Scrolls the line to the left when its cursor would leave the screen.
    let left = before.saturating_sub(room);
    let shown = text::skipped(typed.text(), left);
    Line::from(vec![Span::styled(sign, canvas.theme.strong), Span::raw(shown)]).render(area, canvas.buf);
    let column = area.x + 1 + (before - left) as u16;
    Position::new(column.min(area.right().saturating_sub(1)), area.y)
}

/// Draws the current keys with their hints; the mouse can press them.
pub fn draw_hints(app: &App, canvas: &mut Canvas<'_>, area: Rect) {
    let mut x = area.x;
    for (keys, hint) in fitting(hints(app), area.width.into()) {
        let line = Line::from(vec![
            Span::styled(keys.clone(), app.theme.key),
            Span::styled(format!(" {hint}"), app.theme.faint),
        ]);
        let place = Rect { x, width: line.width() as u16, height: 1, ..area }.intersection(area);
        if let Some(key) = keymap::first_named(&keys) {
            canvas.hit(place, Target::Key(key));
        }
        x = x.saturating_add(place.width + 2);
        line.render(place, canvas.buf);
    }
}

/// The current keys and their hints.
fn hints(app: &App) -> Vec<(String, Phrase)> {
    match &app.mode {
        Mode::Typing(..) => [
            ("Enter", phrase("run")),
            ("Tab", phrase("complete")),
            ("↑↓", phrase("earlier lines")),
            ("Esc", phrase("cancel")),
        ]
        .map(|(k, h)| (k.into(), h))
        .into(),
        Mode::Showing(_) => [("Esc", phrase("close"))].map(|(k, h)| (k.into(), h)).into(),
        Mode::Filtering(_) => {
            [("Enter", phrase("keep")), ("Esc", phrase("show all"))].map(|(k, h)| (k.into(), h)).into()
        }
        Mode::Reading(_) => [
            ("↑↓", phrase("scroll")),
            ("←→", phrase("sideways")),
            ("PgUp PgDn", phrase("pages")),
            ("/", phrase("search")),
            ("Esc", phrase("close")),
        ]
        .map(|(k, h)| (k.into(), h))
        .into(),
        Mode::Walk => {
            let running = matches!(app.state.activity, Activity::Running { .. });
            let interrupt = running.then(|| ("Ctrl-C".to_string(), phrase("interrupt")));
            let focused = app.focused();
            let mut own = app.of_pane(focused).hints(focused, &app.state);
            match app.state.lesson.is_some() {
                true if focused == LESSON && app.lesson_covers() => own.push(("L".into(), phrase("view"))),
                true if focused != LESSON => own.insert(0, ("L".into(), phrase("lesson"))),
                _ => {}
            }
            let (moves, others): (Vec<Binding>, Vec<Binding>) =
                bindings().filter(|binding| !binding.hint.is_empty()).partition(Binding::moves);
            let hint = |binding: Binding| (keymap::names(&binding.keys[..1]), binding.hint);
            let (first, then) = if focused == LESSON { (own, vec![]) } else { (vec![], own) };
            interrupt
                .into_iter()
                .chain(first)
                .chain(moves.into_iter().map(hint))
                .chain(then)
                .chain(others.into_iter().map(hint))
                .collect()
        }
    }
}

/// Hints that are dropped last: those of the console, help and quit.
const KEPT: usize = 3;

/// The hints that fit.
fn fitting(mut hints: Vec<(String, Phrase)>, width: usize) -> Vec<(String, Phrase)> {
    let total = |hints: &[(String, Phrase)]| -> usize {
        hints.iter().map(|(key, hint)| text::width(key) + text::width(&hint.to_string()) + 3).sum()
    };
    while total(&hints) > width + 2 && hints.len() > KEPT {
        hints.remove(hints.len() - KEPT - 1);
    }
    hints
}

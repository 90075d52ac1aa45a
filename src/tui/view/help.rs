//! The help page: the current view, every key and every command.

use super::{VIEWS, View};
use crate::debugger::language::verbs::{COMMENTS, VERBS};
use crate::phrase::{Phrase, phrase};
use crate::tui::app::App;
use crate::tui::keymap::{self, Action, EVERYWHERE, ViewKeys, bindings};
use crate::tui::page::Page;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::text::{Line, Span};
use tr::tr;

const KEYS: usize = 13;
const COMMANDS: usize = 20;

/// The marks of the other screens and their meanings.
const MARKS: [(&str, Phrase); 7] = [
    ("▶", phrase("the next stage")),
    ("✓", phrase("done; in gray below ▶: recorded, so going there computes nothing")),
    ("·", phrase("to come")),
    ("●", phrase("a breakpoint: the run stops before the stage")),
    ("bad", phrase("NaN and infinite values together, when both counts do not fit")),
    ("linear", phrase("`linear estimate`: latents as colours, without the VAE")),
    ("decoded", phrase("`decoded by the VAE`: the picture, computed when the program is idle")),
];

/// The help page in `width` columns.
pub fn page(app: &App, width: u16) -> Page {
    let (width, theme) = (usize::from(width), &app.theme);
    let shown = app.tab.entry();
    let mut lines = vec![heading(&tr!("This view: {}", shown.title), theme)];
    for line in shown.about {
        let wrapped = text::wrapped(&line.to_string(), width.saturating_sub(4));
        let first = |index| if index == 0 { "  " } else { "    " };
        lines.extend(
            wrapped
                .into_iter()
                .enumerate()
                .map(|(index, part)| Line::from(format!("{}{part}", first(index)))),
        );
    }
    lines.extend([Line::default(), heading(&tr!("Keys"), theme)]);
    for binding in bindings() {
        let keys = keymap::names(binding.keys);
        let command = match &binding.action {
            Action::Run(line) => line.to_string(),
            Action::Type(beginning) => format!(":{beginning}"),
            _ => String::new(),
        };
        lines.extend(entry(&keys, &command, &binding.summary.to_string(), theme, width));
    }
    for (key, action) in app.keymap.own() {
        lines.extend(entry(&key, &action, &tr!("from your config.toml"), theme, width));
    }
    for (keys, summary) in EVERYWHERE {
        lines.extend(entry(keys, "", &summary.to_string(), theme, width));
    }
    let views = VIEWS.iter().map(|view| (view.title, app.views.of(view.id).bindings()));
    let lesson: (_, &[ViewKeys]) = (phrase("lesson"), app.views.lesson.bindings());
    for (name, bindings) in views.chain([lesson]).filter(|(_, bindings)| !bindings.is_empty()) {
        lines.extend([Line::default(), heading(&tr!("Keys in {name}", name), theme)]);
        for keys in bindings {
            lines.extend(entry(&keymap::names(keys.keys), "", &keys.summary.to_string(), theme, width));
        }
    }
    lines.extend([Line::default(), heading(&tr!("Commands, typed after :"), theme)]);
    for verb in VERBS {
        let short = if verb.short.is_empty() { String::new() } else { format!(" ({})", verb.short) };
        let named = format!("  {}{short}", verb.name);
        // A usage may exceed a line.
        let usage = text::wrapped(verb.usage, width.saturating_sub(text::width(&named) + 1));
        for (index, part) in usage.into_iter().enumerate() {
            let name = if index == 0 { named.clone() } else { " ".repeat(text::width(&named)) };
            let part = Span::styled(format!(" {part}"), theme.strong);
            lines.push(Line::from(vec![Span::styled(name, theme.key), part]));
        }
        let example = tr!("   such as {}", verb.example);
        if verb.example != verb.name
            && let Some(last) = lines.last_mut()
        {
            let example = Span::styled(example, theme.faint);
            match last.width() + example.width() <= width {
                true => last.push_span(example),
                false => lines.push(Line::from(vec![Span::raw("   "), example])),
            }
        }
        let summary = text::wrapped(&verb.summary.to_string(), width.saturating_sub(6));
        lines.extend(summary.into_iter().map(|line| Line::from(format!("      {line}"))));
    }
    let comments = text::wrapped(&COMMENTS.to_string(), width.saturating_sub(2));
    lines.extend(comments.into_iter().map(|line| Line::from(format!("  {line}"))));
    lines.extend([Line::default(), heading(&tr!("The screen"), theme)]);
    for (mark, meaning) in MARKS {
        lines.extend(entry(mark, "", &meaning.to_string(), theme, width));
    }
    lines.push(Line::from(tr!("  Pictures are drawn with {}.", app.graphics)));
    Page::new(&tr!("Help: / searches"), lines).keeping_keys()
}

/// Keys, the command that they run, and its summary, wrapped in its column.
fn entry(keys: &str, command: &str, summary: &str, theme: &Theme, width: usize) -> Vec<Line<'static>> {
    let command_columns = if command.is_empty() { 0 } else { COMMANDS };
    // Keys with long names take more than their column.
    let indent = 2 + KEYS.max(text::width(keys) + 1) + command_columns;
    let first = [
        Span::styled(format!("  {keys:<0$}", KEYS.max(text::width(keys) + 1)), theme.key),
        Span::styled(format!("{command:<command_columns$}"), theme.strong),
    ];
    let mut lines: Vec<Line<'static>> = text::wrapped(summary, width.saturating_sub(indent))
        .into_iter()
        .map(|line| Line::from(vec![Span::raw(" ".repeat(indent)), Span::raw(line)]))
        .collect();
    if let Some(line) = lines.first_mut() {
        line.spans.splice(..1, first);
    }
    lines
}

fn heading(text: &str, theme: &Theme) -> Line<'static> {
    Line::styled(text.to_string(), theme.strong)
}

//! The help: every key and every command.

use crate::debugger::verbs::VERBS;
use crate::tui::keymap::{self, Action, BINDINGS, EVERYWHERE};
use crate::tui::page::Page;
use crate::tui::theme;
use ratatui::text::{Line, Span};

/// The page of help; `graphics` is how pictures are drawn.
pub fn page(graphics: &str) -> Page {
    let mut lines = vec![heading("Keys")];
    for binding in BINDINGS {
        let keys = binding.keys.iter().copied().map(keymap::name).collect::<Vec<_>>().join(" ");
        let does = match binding.action {
            Action::Run(line) => line.into(),
            Action::Type(beginning) => format!(":{beginning}"),
            Action::Enlarge | Action::LastOutput | Action::Help | Action::Quit => String::new(),
        };
        lines.push(Line::from(vec![
            Span::styled(format!("  {keys:<12}"), theme::KEY),
            Span::styled(format!("{does:<20}"), theme::STRONG),
            Span::raw(binding.summary),
        ]));
    }
    for (keys, summary) in EVERYWHERE {
        lines.push(Line::from(vec![
            Span::styled(format!("  {keys:<12}"), theme::KEY),
            Span::raw(format!("{:20}{summary}", "")),
        ]));
    }
    lines.push(Line::default());
    lines.push(heading("Commands: type : and"));
    for verb in VERBS {
        let short = if verb.short.is_empty() { String::new() } else { format!(" ({})", verb.short) };
        let usage = format!("{}{short} {}", verb.name, verb.usage);
        lines.push(Line::from(vec![
            Span::styled(format!("  {usage:<41} "), theme::STRONG),
            Span::raw(verb.summary),
        ]));
        let example = format!("  {:41} example: {}", "", verb.example);
        if verb.example != verb.name {
            lines.push(Line::styled(example, theme::FAINT));
        }
    }
    lines.push(Line::default());
    lines.push(heading("The screen"));
    for told in [
        "  ▶ runs next   ✓ done   · to come   ● breakpoint   ✓ below ▶: recorded, free to step over",
        "  bad: NaN and infinite values together, where there is no room for both counts",
        "  linear estimate: latents as colours at once; decoded by the VAE: the real picture, when there is time",
    ] {
        lines.push(Line::from(told));
    }
    lines.push(Line::from(format!("  pictures are drawn with {graphics}")));
    Page::new("Help", lines)
}

fn heading(text: &'static str) -> Line<'static> {
    Line::styled(text, theme::STRONG)
}

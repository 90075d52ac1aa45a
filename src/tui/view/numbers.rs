//! The numbers of a stage: its duration, the coefficients of a `denoise` step, and its warnings.

use super::rail::duration;
use crate::debugger::record::RecordView;
use crate::scheduler::{Number, StepFormulas};
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::text::{Line, Span};
use tr::tr;

/// The maximum number of lines of a warning: the prompt's truncated end can be long.
const WARNING_LINES: usize = 2;

/// The numbers in lines of at most `width`.
pub fn lines(record: &RecordView, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    // A stage that ran elsewhere has no time.
    let took = if record.took.is_zero() { tr!("recorded") } else { duration(record.took) };
    let mut parts = vec![(record.stage.to_string(), took)];
    if let Some(step) = &record.step {
        let coefficients = coefficients(step);
        let columns = |parts: &[(String, String)]| parts.iter().map(columns).sum::<usize>();
        // The rail and the message name the stage too; only this line has the numbers.
        if columns(&parts) + columns(&coefficients) > width + 2 {
            parts.clear();
        }
        parts.extend(coefficients);
    }
    let mut lines: Vec<Line<'static>> = vec![Line::default()];
    for (name, value) in parts {
        let used = lines.last().map_or(0, Line::width);
        if used > 0 && used + columns(&(name.clone(), value.clone())) > width {
            lines.push(Line::default());
        }
        let Some(line) = lines.last_mut() else { continue };
        if !line.spans.is_empty() {
            line.push_span("  ");
        }
        line.push_span(Span::styled(name, theme.faint));
        line.push_span(format!(" {value}"));
    }
    for warning in &record.warnings {
        let wrapped = text::wrapped(&text::clean(warning), width);
        lines.extend(wrapped.into_iter().take(WARNING_LINES).map(|line| Line::styled(line, theme.warning)));
    }
    lines
}

/// The most numbers that are shown; the scheduler view has them all.
const MOST_NUMBERS: usize = 4;

fn coefficients(step: &StepFormulas) -> Vec<(String, String)> {
    // A variance is the square of what is shown, and a deviation of 0 is no news.
    let is_shown =
        |number: &&Number| number.name != "variance" && (number.name != "std_dev_t" || number.value != 0.);
    let numbers = step.numbers.iter().filter(is_shown).take(MOST_NUMBERS);
    let numbers = numbers.map(|number| (number.name.to_string(), shown(number.value)));
    std::iter::once(("t".into(), step.timesteps_text())).chain(numbers).collect()
}

fn shown(value: f64) -> String {
    if value.fract() == 0. && value.abs() < 1e6 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// The columns of a part, with the space before it.
fn columns((name, value): &(String, String)) -> usize {
    text::width(name) + text::width(value) + 3
}

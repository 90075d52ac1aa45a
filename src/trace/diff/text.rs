//! A comparison of two runs as text.

use super::causes::{Cause, Causes};
use super::{Comparison, Kind, Row};
use tr::tr;

/// Rows that are listed.
const LISTED: usize = 10;

/// A comparison in lines: what differs first, and why. `more` says what lists all rows.
pub fn lines(comparison: &Comparison, name: &str, reference: &str, more: &str) -> Vec<String> {
    let rows = comparison.rows.len();
    let mut lines: Vec<String> = comparison.notes.iter().map(|note| format!("note: {note}")).collect();
    let Some(first) = comparison.first() else {
        let missing = match &comparison.uncompared[..] {
            [] => String::new(),
            parts => tr!("; not compared: {}", parts.join(", ")),
        };
        lines.push(match comparison.until {
            Some(until) => tr!(
                "{name} against {reference}: nothing differs up to {until}, where the record ends ({rows} compared{missing})",
                name,
                reference,
                until,
                rows,
                missing
            ),
            None => tr!(
                "{name} against {reference}: nothing differs ({rows} compared{missing})",
                name,
                reference,
                rows,
                missing
            ),
        });
        return lines;
    };
    let beyond = comparison.beyond();
    lines.push(tr!("{name} against {reference}: {beyond} of {rows} differ", name, reference, beyond, rows));
    lines.push(tr!("the first: {}", row(first)));
    lines.extend(reasons(&comparison.causes));
    let others = comparison.rows.iter().filter(|row| row.is_beyond()).skip(1);
    lines.extend(others.take(LISTED).map(|other| format!("  {}", row(other))));
    if beyond > LISTED + 1 {
        lines.push(tr!("  and {} more; {more}", beyond - LISTED - 1, more));
    }
    lines
}

/// The reasons, each in a line.
pub fn reasons(causes: &Causes) -> Vec<String> {
    let fit = |cause: &Cause| {
        tr!(
            "{} (with it {fits}, without {without})",
            cause.says,
            fits = format_args!("{:.1e}", cause.fits),
            without = format_args!("{:.1e}", cause.without)
        )
    };
    let evidence = causes.evidence.iter().map(|says| tr!("evidence: {says}", says));
    let mut lines: Vec<String> =
        causes.found.iter().map(|cause| tr!("the reason: {fit}", fit = fit(cause))).collect();
    if lines.is_empty() && !causes.tried.is_empty() {
        let tried = causes.tried.join(", ");
        lines.push(tr!("no known mistake explains it; tried: {tried}", tried));
        if let Some((recorded, here)) = &causes.statistics {
            for (name, summary) in [(tr!("recorded"), recorded), (tr!("here"), here)] {
                let number = |value: f64| format!("{value:.4e}");
                lines.push(tr!(
                    "{name}: mean {mean}, std {std}, min {min}, max {max}",
                    name,
                    mean = number(summary.mean),
                    std = number(summary.std),
                    min = number(summary.min),
                    max = number(summary.max)
                ));
            }
        }
        lines.extend(causes.nearest.as_ref().map(|cause| tr!("the nearest: {fit}", fit = fit(cause))));
    }
    lines.extend(evidence);
    lines
}

/// A row in a line.
pub fn row(row: &Row) -> String {
    let call = if row.call > 0 { format!("#{}", row.call) } else { String::new() };
    let what = match &row.kind {
        Kind::Module if row.isolated => tr!("{}{} by itself", row.path, call),
        Kind::Module => format!("{}{call}", row.path),
        Kind::Wiring { child, input } => {
            tr!("{}: what it gives to {child} as {input}", row.path, child, input)
        }
    };
    tr!(
        "{}  {what}: {} (rounding: up to {tolerance})",
        row.stage.key(),
        row.difference(),
        what,
        tolerance = format_args!("{:.1e}", row.tolerance)
    )
}

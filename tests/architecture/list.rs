//! The list of known violations, which may only shrink.

use crate::arrows::Report;
use std::collections::BTreeSet;
use std::fmt::Write;

/// How the list begins.
const HEAD: &str = "\
# Known uses that the order of the rooms forbids: FILE -> FILE THAT DEFINES OR RE-EXPORTS THE ITEM: ITEM.
# This list only shrinks. After you remove violations from the code: UPDATE_VIOLATIONS=1 cargo test --release --test architecture
";

/// The lines of a list, without comments.
pub fn lines(text: &str) -> BTreeSet<String> {
    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect()
}

/// The failure message; `None` if the sources have exactly the listed violations and no faults.
pub fn complaint(report: &Report, listed: &BTreeSet<String>) -> Option<String> {
    let mut text = String::new();
    for fault in &report.faults {
        let _ = writeln!(text, "src/{fault}");
    }
    for (arrow, places) in report.violations.iter().filter(|(a, _)| !listed.contains(&a.to_string())) {
        let _ = writeln!(text, "new violation: {arrow}");
        for place in places {
            let _ = writeln!(text, "    src/{place}");
        }
    }
    let found = found(report);
    let gone: Vec<_> = listed.difference(&found).collect();
    for line in &gone {
        let _ = writeln!(text, "listed, but gone: {line}");
    }
    if text.is_empty() {
        return None;
    }
    if !gone.is_empty() {
        let _ = writeln!(text, "Remove the violations that are gone from the list, by hand or with");
        let _ = writeln!(text, "    UPDATE_VIOLATIONS=1 cargo test --release --test architecture");
    }
    if !report.cycles.is_empty() {
        let _ = writeln!(text, "Rooms that use each other in a cycle:");
        for cycle in &report.cycles {
            let _ = writeln!(text, "    {cycle}");
        }
    }
    let _ = write!(text, "A room uses only rooms listed before it (tests/architecture/rooms.rs).");
    Some(text)
}

/// The new text of the list, without the violations that are gone.
///
/// When a file moves, its lines change but their number does not. So a new line is accepted in exchange for a line with the same
/// item that is gone.
///
/// # Errors
/// The violations that it would have to add, which it never does. Or the faults, because unreadable code hides violations.
pub fn shrunk(report: &Report, listed: &BTreeSet<String>) -> Result<String, Vec<String>> {
    if !report.faults.is_empty() {
        return Err(report.faults.clone());
    }
    let found = found(report);
    let mut gone: Vec<&String> = listed.difference(&found).collect();
    let mut added = Vec::new();
    for line in found.difference(listed) {
        match gone.iter().position(|old| item(old) == item(line)) {
            Some(moved) => {
                gone.remove(moved);
            }
            None => added.push(line.clone()),
        }
    }
    if !added.is_empty() {
        return Err(added);
    }
    let lines: String = found.iter().map(|line| format!("{line}\n")).collect();
    Ok(format!("{HEAD}{lines}"))
}

fn found(report: &Report) -> BTreeSet<String> {
    report.violations.keys().map(ToString::to_string).collect()
}

fn item(line: &str) -> &str {
    line.rsplit_once(": ").map_or(line, |(_, item)| item)
}

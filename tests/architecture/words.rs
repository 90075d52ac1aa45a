//! Words that code, messages and documentation do without: idioms that native engineers do not use, and words with two senses.
//!
//! A phrase is found across line ends and comment markers. A new entry needs the plain words beside it.

use regex::{Regex, RegexBuilder};
use std::fs;

/// A pattern, and what to write instead.
type Banned = (&'static str, &'static str);

/// The list. `behind` once meant both "earlier" and "after" here.
const BANNED: &[Banned] = &[
    (r"behind", "earlier than, after, from, hidden by, beyond"),
    (r"at hand", "current, this"),
    (r"so many", "a number of, N"),
    (r"so much that", "enough to"),
    (r"(?:is|are|was|were|be) told", "active voice: X reports, prints, names"),
    (r"(?:tells?|told) of", "describes, reports"),
    (r"in the place of", "instead of"),
    (r"hangs? on", "depends on"),
    (r"foretell\w*", "predict"),
    (r"nobody", "no one, nothing; or name who does it"),
    (r"(?:is|are) looked at", "is read, is checked, is attended to"),
    (r"(?:is|are) wanted", "is needed, is requested"),
    (r"wanted of", "requested from"),
    (r"makes? nothing of", "ignores"),
    (r"for whom|to whom|of whom", "name who it is"),
    (r"to be had", "available"),
    (r"of (?:its|their) own accord", "by itself, automatically"),
    (r"by heart", "cached, stored"),
    (r"put right", "fixed, repaired"),
    (r"kin", "reference, related"),
    (r"laid (?:beside|over|one)", "place, stack, concatenate"),
    (r"gives? way", "yields, stops for"),
    (r"what is said of|is said of", "the message about"),
    (r"beside each other", "side by side"),
    (r"the first first", "in order"),
    (r"once more", "again"),
    (r"whatever is", "any"),
    (r"believe nobody", "verify it yourself"),
];

/// What the words of `entries` are found in `text`: line and phrase, with what to write instead.
fn found<'a>(text: &str, entries: &'a [(Regex, &'a str)]) -> Vec<(usize, String, &'a str)> {
    let (flat, starts) = flattened(text);
    let mut all = vec![];
    for (pattern, instead) in entries {
        for hit in pattern.find_iter(&flat) {
            let line = starts.partition_point(|&start| start <= hit.start());
            all.push((line, hit.as_str().to_string(), *instead));
        }
    }
    all.sort_unstable();
    all
}

/// The text on one line, without comment markers, and where each of its lines begins in it.
fn flattened(text: &str) -> (String, Vec<usize>) {
    let (mut flat, mut starts) = (String::new(), vec![]);
    for line in text.lines() {
        starts.push(flat.len());
        flat += line.trim().trim_start_matches(['/', '!', '>', '#']).trim().trim_end_matches('\\').trim_end();
        flat.push(' ');
    }
    (flat, starts)
}

fn compiled() -> Vec<(Regex, &'static str)> {
    let whole = |pattern: &str| {
        RegexBuilder::new(&format!(r"\b(?:{pattern})\b")).case_insensitive(true).build().unwrap()
    };
    BANNED.iter().map(|(pattern, instead)| (whole(pattern), *instead)).collect()
}

#[test]
fn code_and_documentation_are_in_plain_english() {
    let root = super::root();
    let mut all = super::files(&root.join("src"), "rs");
    all.extend(super::files(&root.join("docs"), "md"));
    all.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    all.sort();
    let entries = compiled();
    let mut complaints = vec![];
    for file in &all {
        for (line, phrase, instead) in found(&fs::read_to_string(file).unwrap(), &entries) {
            let name = file.strip_prefix(&root).unwrap().display();
            complaints.push(format!("{name}:{line}: \"{phrase}\"; write: {instead}"));
        }
    }
    assert!(complaints.is_empty(), "{} places\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn a_phrase_is_found_in_comments_strings_and_across_lines() {
    let entries = compiled();
    let lines = |text: &str| found(text, &entries).into_iter().map(|(line, ..)| line).collect::<Vec<_>>();
    assert_eq!(lines("fn a() {}\n/// The step at\n/// hand.\n"), [2]);
    assert_eq!(lines("let text = \"So many\\\n    steps\";"), [1]);
    assert_eq!(lines("a kind of skin, at handles"), [] as [usize; 0]);
}

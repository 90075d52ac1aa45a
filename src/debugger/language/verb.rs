//! What a verb is, and how one is found by what was typed.

use super::arguments::ArgumentError;
use super::complete::{Completion, Names};
use super::verbs::{Command, VERBS};
use crate::debugger::text::abridged;
use crate::phrase::{Phrase, phrase};
use tr::tr;

/// A verb of the language.
#[derive(Debug)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// Its short form; empty where it has none.
    pub short: &'static str,
    /// What it does, in a few words, for the list of all verbs.
    pub brief: Phrase,
    /// What may follow.
    pub usage: &'static str,
    /// What it does, in full.
    pub summary: Phrase,
    /// A line of it that works.
    pub example: &'static str,
    /// The group that `help` lists it in.
    pub group: Group,
    /// What it does to a session.
    pub class: Class,
    /// Parses what follows the verb.
    pub(super) parse: fn(&str) -> Result<Command, ArgumentError>,
    /// What the next word can be, after the words that follow the verb so far.
    pub(super) complete: fn(&[&str], &Names) -> Completion,
}

impl PartialEq for Verb {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A group of verbs in `help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Through the stages of a run.
    Moving,
    /// Where a run stops.
    Stopping,
    /// What is there.
    Looking,
    /// What comes next.
    Changing,
    /// Several runs.
    Timelines,
    /// The rest.
    Other,
}

impl Group {
    /// Every group with its heading, in the order of `help`.
    pub const ALL: [(Self, Phrase); 6] = [
        (Self::Moving, phrase("moving")),
        (Self::Stopping, phrase("stopping")),
        (Self::Looking, phrase("looking")),
        (Self::Changing, phrase("changing")),
        (Self::Timelines, phrase("timelines")),
        (Self::Other, phrase("other")),
    ];
}

/// What a command does to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing: the session stays where it is and as it is.
    ReadOnly,
    /// It moves the cursor, or runs stages.
    Moves,
    /// It changes settings, tensors, breakpoints or timelines.
    Edits,
}

/// Why a word is no verb.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// No verb of that name.
    #[error("{}", tr!("`{found}` is no command; {}", meant(found), found = .found))]
    Unknown {
        /// The word.
        found: String,
    },
    /// The beginning of more than one verb.
    #[error("{}", tr!(
        "`{found}` could be {candidates}; expected more of the word",
        found = .found, candidates = .candidates
    ))]
    Ambiguous {
        /// The word.
        found: String,
        /// What it could be.
        candidates: String,
    },
}

/// What gdb and its readers call something that has another word here.
const ELSEWHERE: [(&str, &str); 6] = [
    ("run", "continue"),
    ("start", "restart"),
    ("where", "backtrace"),
    ("disable", "delete"),
    ("exit", "quit"),
    ("advance", "until"),
];
/// The words to begin with, for somebody who knows none.
const COMMON: &str = "next, back, continue, until, goto, break, print, set, compare; `help` lists them all";
/// How alike a word must be to one of the language, from 0 to 1.
const ALIKE: f64 = 0.8;

/// What may have been meant by a word that is no verb.
fn meant(word: &str) -> String {
    let known = ELSEWHERE.iter().find(|(theirs, _)| *theirs == word).map(|(_, ours)| *ours);
    let near = || {
        let alike = VERBS.iter().map(|verb| (strsim::jaro_winkler(word, verb.name), verb.name));
        alike.filter(|(how, _)| *how >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
    };
    match known.or_else(near) {
        Some(name) => tr!("did you mean `{name}`? `help` lists them all", name),
        None => tr!("expected one of {COMMON}", COMMON),
    }
}

impl Verb {
    /// A verb by its name, its short form, or the beginning of one name.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn find(word: &str) -> Result<&'static Self, VerbError> {
        let exact = VERBS.iter().find(|verb| verb.name == word || (verb.short == word && !word.is_empty()));
        if let Some(verb) = exact {
            return Ok(verb);
        }
        let mut starting = VERBS.iter().filter(|verb| verb.name.starts_with(word));
        match (starting.next(), starting.next()) {
            (Some(verb), None) => Ok(verb),
            (None, _) => Err(VerbError::Unknown { found: abridged(word) }),
            (Some(first), Some(second)) => {
                let names =
                    [first, second].into_iter().chain(starting).map(|verb| verb.name).collect::<Vec<_>>();
                Err(VerbError::Ambiguous { found: word.into(), candidates: names.join(" or ") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_group_and_a_brief_line() {
        for verb in VERBS {
            assert!(Group::ALL.iter().any(|(group, _)| *group == verb.group), "{}", verb.name);
            assert!(verb.brief.english().chars().count() <= 46, "{}", verb.brief);
        }
    }

    #[test]
    fn no_short_form_means_two_things() {
        for verb in VERBS {
            let meant = VERBS.iter().filter(|other| other.short == verb.short && !verb.short.is_empty());
            assert!(meant.count() <= 1, "{}", verb.short);
            assert_eq!(Verb::find(verb.name).unwrap().name, verb.name);
        }
    }
}

//! What a line that is being typed can go on with.

mod shown;

use super::arguments::Topic;
use super::edit::EDITABLE;
use super::glossary;
use super::verb::Verb;
use super::verbs::VERBS;
use crate::debugger::expr::FUNCTIONS;
use crate::debugger::expr::names;
use crate::debugger::expr::value::FIELDS;
use crate::phrase::{Phrase, phrase};
use crate::pipeline::{Setting, Stage};
use crate::scheduler::ShortName;
use crate::scheduler::arguments::ARGUMENTS;
use crate::scheduler::class::{SHORT_NAMES, has_order};
use std::collections::BTreeSet;
use std::ops::Range;

pub(super) use shown::{save, show};

/// What a word can go on with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completions {
    /// Where the word begins, in bytes.
    pub from: usize,
    /// What it can be, the likeliest first.
    pub candidates: Vec<Candidate>,
}

/// What a word can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub text: String,
    /// What it means; may be empty.
    pub help: String,
}

/// The names that there are at the moment.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Tensors.
    pub tensors: Vec<String>,
    /// Pictures.
    pub pictures: Vec<String>,
    /// Numbers of breakpoints.
    pub breakpoints: Vec<usize>,
    /// Numbers of displays.
    pub displays: Vec<usize>,
    /// Timelines.
    pub timelines: Vec<String>,
    /// Words of the prompt.
    pub words: Vec<String>,
    /// Paths of modules.
    pub modules: Vec<String>,
}

/// What the next word of a line can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Completion {
    /// One of these.
    Words(Vec<Candidate>),
    /// The path of a module, or one of these.
    Module(Vec<Candidate>),
    /// A part of an expression.
    Expression,
}

/// What the word before `cursor` (in bytes) can go on with. A cursor that is not between two characters is at the end.
pub fn complete(line: &str, cursor: usize, names: &Names) -> Completions {
    let before = line.get(..cursor).unwrap_or(line);
    let from = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    // A space may be wide.
    let from = (from..=before.len()).find(|at| before.is_char_boundary(*at)).unwrap_or(before.len());
    let mut words = before[..from].split_whitespace();
    let word = &before[from..];
    let Some(verb) = words.next() else {
        let verb = |verb: &Verb| Candidate { text: verb.name.into(), help: verb.summary.into() };
        return Completions { from, candidates: starting(VERBS.iter().map(verb), word) };
    };
    let Ok(verb) = Verb::find(verb) else { return Completions::default() };
    let words: Vec<&str> = words.collect();
    match (verb.complete)(&words, names) {
        Completion::Expression => part_of_expression(before, from, names),
        Completion::Module(_) if word.contains('.') => Completions { from, candidates: modules(word, names) },
        Completion::Module(candidates) | Completion::Words(candidates) => {
            Completions { from, candidates: starting(candidates, word) }
        }
    }
}

/// The modules whose paths begin with `word`, each as far as the next one on the way to it.
fn modules(word: &str, names: &Names) -> Vec<Candidate> {
    let mut found: Vec<&str> = vec![];
    for path in names.modules.iter().filter(|path| path.starts_with(word)) {
        let dots = path.match_indices('.').map(|(at, _)| at).filter(|at| *at > word.len());
        let cuts = dots.map(|at| &path[..at]).filter(|cut| names.modules.iter().any(|known| known == cut));
        let next = cuts.into_iter().next().unwrap_or(path);
        if next != word && !found.contains(&next) {
            found.push(next);
        }
    }
    plain(found, phrase("module"))
}

/// The part of `line` that `error` complains of: what it quotes first of those that are there.
pub fn error_span(line: &str, error: &str) -> Option<Range<usize>> {
    let quoted = error.split('`').skip(1).step_by(2);
    let quoted = quoted.map(|text| text.trim_end_matches('…')).filter(|text| !text.is_empty());
    let found = quoted.filter_map(|text| line.find(text).map(|at| at..at + text.len()));
    // The narrowest that the error names: a name within an expression rather than the expression.
    found.min_by_key(|range| range.len())
}

fn starting(all: impl IntoIterator<Item = Candidate>, word: &str) -> Vec<Candidate> {
    all.into_iter().filter(|candidate| candidate.text.starts_with(word) && candidate.text != word).collect()
}

fn plain<T: ToString>(texts: impl IntoIterator<Item = T>, help: Phrase) -> Vec<Candidate> {
    texts.into_iter().map(|text| Candidate { text: text.to_string(), help: help.into() }).collect()
}

fn stages() -> Vec<Candidate> {
    let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
    plain(stages.map(Stage::name), phrase("stage"))
}

fn models() -> Vec<Candidate> {
    plain(["text_encoder.", "unet.", "vae."], phrase("a module"))
}

fn settings(are: impl Fn(&Setting) -> bool) -> Vec<Candidate> {
    let candidate =
        |setting: Setting| Candidate { text: setting.to_string(), help: setting.entry().summary.into() };
    Setting::all().filter(are).map(candidate).collect()
}

/// The arguments of schedulers. Which of them the run's has is known where the run is.
fn scheduler_arguments() -> impl Iterator<Item = Candidate> {
    let argument =
        |name: &str, help: Phrase| Candidate { text: format!("scheduler.{name}"), help: help.into() };
    let can_change =
        ARGUMENTS.iter().filter(|known| known.of.iter().any(|of| known.is_setting_of(of.classes[0])));
    can_change.map(move |known| argument(known.name, known.summary))
}

pub(super) fn nothing(_: &[&str], _: &Names) -> Completion {
    Completion::Words(vec![])
}

pub(super) fn expression(_: &[&str], _: &Names) -> Completion {
    Completion::Expression
}

pub(super) fn stage(words: &[&str], _: &Names) -> Completion {
    Completion::Words(if words.is_empty() { stages() } else { vec![] })
}

pub(super) fn stop(words: &[&str], _: &Names) -> Completion {
    match words {
        [] => Completion::Module([stages(), models()].concat()),
        _ if words.contains(&"if") => Completion::Expression,
        _ => Completion::Words(plain(["if"], phrase("only when this holds"))),
    }
}

pub(super) fn catch(words: &[&str], _: &Names) -> Completion {
    match words {
        [] => {
            let kinds = [
                plain(["nan"], phrase("NaN and infinity")),
                plain(["if"], phrase("any module for which this is true")),
            ];
            Completion::Words(kinds.concat())
        }
        _ if words.contains(&"if") => Completion::Expression,
        _ => Completion::Words(vec![]),
    }
}

pub(super) fn delete(words: &[&str], names: &Names) -> Completion {
    Completion::Words(match words {
        [] => [plain(&names.breakpoints, phrase("breakpoint")), plain(["timeline"], Phrase::NONE)].concat(),
        ["timeline"] => plain(&names.timelines, phrase("timeline")),
        _ => vec![],
    })
}

pub(super) fn info(words: &[&str], names: &Names) -> Completion {
    match words {
        [] => {
            let mut topics = Topic::ALL.map(|(name, _)| name).to_vec();
            topics.insert(topics.partition_point(|topic| *topic < "modules"), "modules");
            topics.insert(topics.partition_point(|topic| *topic < "schedules"), "schedules");
            Completion::Words(plain(topics, phrase("topic")))
        }
        ["modules"] => Completion::Module(models()),
        ["schedules", ..] => schedulers(words, names),
        _ => Completion::Words(vec![]),
    }
}

pub(super) fn undisplay(words: &[&str], names: &Names) -> Completion {
    Completion::Words(if words.is_empty() { plain(&names.displays, phrase("display")) } else { vec![] })
}

pub(super) fn set(words: &[&str], _: &Names) -> Completion {
    Completion::Words(match words {
        // After the `=` of a tensor stands an expression.
        _ if words.iter().skip(1).any(|word| ["=", "*=", "+="].contains(word)) => {
            return Completion::Expression;
        }
        [] => [
            settings(|_| true),
            scheduler_arguments().collect(),
            plain(["preview"], phrase("which steps the VAE decodes")),
            plain(EDITABLE, phrase("tensor, to be changed by hand")),
            plain(["t(\""], phrase("the output of a module, to be changed by hand")),
        ]
        .concat(),
        ["preview"] => plain(["every", "off"], Phrase::NONE),
        [name] => values(name),
        _ => vec![],
    })
}

pub(super) fn patch(words: &[&str], names: &Names) -> Completion {
    Completion::Words(match words {
        [] => return Completion::Module(models()),
        [_] => plain(["from"], phrase("a timeline")),
        [_, "from"] => plain(&names.timelines, phrase("timeline")),
        _ => vec![],
    })
}

pub(super) fn fork(words: &[&str], _: &Names) -> Completion {
    Completion::Words(match words {
        [.., "at"] => stages(),
        _ => plain(["at"], phrase("an earlier stage")),
    })
}

pub(super) fn timeline(words: &[&str], names: &Names) -> Completion {
    Completion::Words(if words.is_empty() { plain(&names.timelines, phrase("timeline")) } else { vec![] })
}

pub(super) fn compare(words: &[&str], names: &Names) -> Completion {
    Completion::Words(match words {
        [] => [
            settings(Setting::is_compared),
            plain(["word"], phrase("one word of the prompt")),
            plain(["base", "off"], Phrase::NONE),
        ]
        .concat(),
        ["base"] => plain(&names.timelines, phrase("timeline")),
        [.., "by"] => settings(Setting::is_compared),
        [name] | [.., "by", name] => values(name),
        [_, _, ..] => plain(["by", "here"], Phrase::NONE),
    })
}

/// The values of a setting that can be typed.
fn values(name: &str) -> Vec<Candidate> {
    let of_argument = name.strip_prefix("scheduler.").map(values_of_argument);
    let values = Setting::find(name).map_or(vec![], |setting| setting.values());
    let of_setting = values.into_iter().map(|(text, help)| Candidate { text, help: help.into() });
    of_setting.chain(of_argument.into_iter().flatten()).collect()
}

/// The values of an argument of a scheduler that can be typed, in any class.
fn values_of_argument(name: &str) -> Vec<Candidate> {
    let of = ARGUMENTS.iter().filter(|argument| argument.name == name).flat_map(|argument| argument.of);
    let texts = of.flat_map(|of| {
        if of.default == "false" || of.default == "true" { &["true", "false"] } else { of.supported }
    });
    let texts: BTreeSet<&str> = texts.map(|text| text.trim_matches('"')).collect();
    plain(texts, Phrase::NONE)
}

pub(super) fn sweep(words: &[&str], _: &Names) -> Completion {
    Completion::Words(match words {
        [] => settings(Setting::is_compared),
        [_, _] => plain(["here-to-end"], Phrase::NONE),
        _ => vec![],
    })
}

pub(super) fn diff(words: &[&str], names: &Names) -> Completion {
    Completion::Words(if words.len() < 2 { plain(&names.timelines, phrase("timeline")) } else { vec![] })
}

pub(super) fn schedulers(_: &[&str], _: &Names) -> Completion {
    let typed =
        |short: &'static ShortName| short.typed().map(|text| Candidate { text, help: short.summary.into() });
    Completion::Words(SHORT_NAMES.iter().flat_map(typed).collect())
}

/// The schedulers that `convergence` can run.
pub(super) fn deterministic(_: &[&str], _: &Names) -> Completion {
    let known = SHORT_NAMES.iter().filter(|short| has_order(short));
    Completion::Words(
        known.map(|short| Candidate { text: short.name.into(), help: short.summary.into() }).collect(),
    )
}

pub(super) fn help(words: &[&str], _: &Names) -> Completion {
    Completion::Words(if words.is_empty() {
        let verbs = plain(VERBS.iter().map(|verb| verb.name), phrase("command"));
        let is_new = |word: &&str| !VERBS.iter().any(|verb| verb.name == *word);
        [verbs, plain(glossary::words().into_iter().filter(is_new), phrase("word"))].concat()
    } else {
        vec![]
    })
}

/// A name in an expression, or after a dot a field of a tensor.
fn part_of_expression(before: &str, from: usize, names: &Names) -> Completions {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let start = before.rfind(|c| !is_part(c)).map_or(0, |at| at + 1).max(from);
    let start = (start..=before.len()).find(|at| before.is_char_boundary(*at)).unwrap_or(before.len());
    let word = &before[start..];
    match word.rsplit_once('.') {
        Some((name, field)) if names.tensors.iter().any(|tensor| tensor == name) => {
            let fields = plain(FIELDS.split(", "), phrase("of the tensor"));
            Completions { from: start + name.len() + 1, candidates: starting(fields, field) }
        }
        _ => {
            let mut all = plain(&names.tensors, phrase("tensor"));
            all.extend(plain(names::plain(), Phrase::NONE));
            for (call, gives) in FUNCTIONS {
                // Up to its first argument; one that can be called in two ways is one.
                let (name, _) = call.split_once('(').unwrap_or((call, ""));
                let text = format!("{name}(");
                if !all.iter().any(|known| known.text == text) {
                    all.push(Candidate { text, help: gives.into() });
                }
            }
            Completions { from: start, candidates: starting(all, word) }
        }
    }
}

#[cfg(test)]
mod tests;

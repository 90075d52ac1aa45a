//! What a line that is being typed can go on with.

use super::command::Setting;
use super::edit::EDITABLE;
use super::expression::FUNCTIONS;
use super::scope::NAMES;
use super::value::FIELDS;
use super::verbs::{VERBS, Verb};
use super::view::{self, View};
use super::word;
use crate::picture::features::{Drawn, Row};
use crate::pipeline::{Fault, InitImage, Stage};
use std::ops::Range;

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

impl From<&View> for Names {
    fn from(view: &View) -> Self {
        let mut breakpoints: Vec<usize> = view.stages.iter().filter_map(|line| line.breakpoint).collect();
        breakpoints.sort_unstable();
        breakpoints.dedup();
        let pictures = view.record().map_or(&[][..], |record| view::pictures::all(record.stage));
        Self {
            tensors: view.tensors(view.cursor).iter().map(|(_, tensor)| tensor.row.name.clone()).collect(),
            pictures: pictures.iter().map(|name| name.to_string()).collect(),
            breakpoints,
            displays: view.displays.iter().map(|display| display.id).collect(),
            timelines: view.timelines.iter().map(|timeline| timeline.name.clone()).collect(),
            words: words_of(view),
            modules: vec![],
        }
    }
}

/// The words of the prompt, each once.
fn words_of(view: &View) -> Vec<String> {
    let prompt = view.records.first().and_then(|record| record.prompts.first());
    let mut known: Vec<String> = vec![];
    for (word, _) in prompt.map_or(vec![], |prompt| word::words(&prompt.tokens)) {
        if !known.contains(&word) {
            known.push(word);
        }
    }
    known
}

/// What the word before `cursor` (in bytes) can go on with. A cursor that is not between two characters is at the end.
pub fn complete(line: &str, cursor: usize, names: &Names) -> Completions {
    let before = line.get(..cursor).unwrap_or(line);
    let from = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    // A space may be wide.
    let from = (from..=before.len()).find(|at| before.is_char_boundary(*at)).unwrap_or(before.len());
    let mut words = before[..from].split_whitespace();
    let Some(verb) = words.next() else {
        let verb = |verb: &Verb| Candidate { text: verb.name.into(), help: verb.summary.into() };
        return Completions { from, candidates: starting(VERBS.iter().map(verb), &before[from..]) };
    };
    let Ok(verb) = Verb::find(verb) else { return Completions::default() };
    let words: Vec<&str> = words.collect();
    let is_expression = match verb.name {
        "print" | "display" => true,
        "break" | "tbreak" | "catch" => words.contains(&"if"),
        // Behind what is changed.
        "set" => words.iter().skip(1).any(|word| ["=", "*=", "+="].contains(word)),
        _ => false,
    };
    if is_expression {
        return expression(before, from, names);
    }
    let word = &before[from..];
    if takes_module(verb, &words) && word.contains('.') {
        return Completions { from, candidates: modules(word, names) };
    }
    Completions { from, candidates: starting(arguments(verb, &words, names), word) }
}

/// Whether the word behind these may be the path of a module.
fn takes_module(verb: &Verb, words: &[&str]) -> bool {
    match verb.name {
        "break" | "tbreak" | "patch" => words.is_empty(),
        "info" => words == ["modules"],
        "show" => words == ["features"],
        "save" => words == ["features"],
        _ => false,
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
    plain(found, "module")
}

/// The part of `line` that `error` complains of: what it quotes first of those that are there.
pub fn culprit(line: &str, error: &str) -> Option<Range<usize>> {
    let quoted = error.split('`').skip(1).step_by(2);
    let quoted = quoted.map(|text| text.trim_end_matches('…')).filter(|text| !text.is_empty());
    let found = quoted.filter_map(|text| line.find(text).map(|at| at..at + text.len()));
    // The narrowest that the error names: a name within an expression rather than the expression.
    found.min_by_key(|range| range.len())
}

fn starting(all: impl IntoIterator<Item = Candidate>, word: &str) -> Vec<Candidate> {
    all.into_iter().filter(|candidate| candidate.text.starts_with(word) && candidate.text != word).collect()
}

fn plain<T: ToString>(texts: impl IntoIterator<Item = T>, help: &str) -> Vec<Candidate> {
    texts.into_iter().map(|text| Candidate { text: text.to_string(), help: help.into() }).collect()
}

fn arguments(verb: &Verb, words: &[&str], names: &Names) -> Vec<Candidate> {
    let stages = || {
        let stages = [Stage::EncodePrompt, Stage::GetLatent, Stage::Denoise { step: 0 }, Stage::VaeDecode];
        plain(stages.map(Stage::name), "stage")
    };
    let models = || plain(["text_encoder.", "unet.", "vae."], "a module");
    let settings = || plain(Setting::ALL.map(|(name, _)| name), "setting");
    match (verb.name, words) {
        ("until" | "goto", []) => stages(),
        ("break" | "tbreak", []) => stages().into_iter().chain(models()).collect(),
        ("patch", []) => models(),
        ("patch", [_]) => plain(["from"], "a timeline"),
        ("patch", [_, "from"]) => plain(&names.timelines, "timeline"),
        ("catch", ["if"]) => vec![],
        ("break" | "tbreak", _) => plain(["if"], "only when this holds"),
        ("info", []) => {
            let topics = verb.usage.split('|').map(|topic| topic.split(' ').next().unwrap_or(topic));
            plain(topics, "topic")
        }
        ("info", ["modules"]) | ("show" | "save", ["features"]) => models(),
        ("show", ["features", _, ..]) | ("save", ["features", _, _, ..]) => {
            let mut ways = plain(Drawn::ALL.map(|(name, _)| name), "how channels are drawn");
            ways.extend(plain(Row::ALL.map(|(name, _)| name), "row"));
            ways
        }
        ("show", ["timemap"]) | ("save", ["timemap", _]) => plain(["within"], "standard deviations"),
        ("show", ["attention"]) | ("show" | "save", ["effect"]) | ("save", ["attention"]) => {
            let mut named = plain(&names.words, "word of the prompt");
            named.extend(plain(["<start>", "<end>", "<pad>"], "token"));
            if words == ["attention"] {
                named.extend(plain(["at"], "a point: column, row"));
            }
            named
        }
        ("show" | "save", ["attention", .., "layer"]) => {
            plain(names.modules.iter().filter(|path| path.starts_with("unet.")), "module")
        }
        ("show" | "save", ["attention", .., "at" | "step" | "head"]) => vec![],
        ("show", ["attention", _, ..]) | ("save", ["attention", _, _, ..]) => {
            let known = ["step", "layer", "head", "over-steps"];
            plain(known.into_iter().filter(|option| !words.contains(option)), "where")
        }
        ("show", ["effect", _]) | ("save", ["effect", _, _]) => plain(["step"], "where"),
        ("catch", []) => {
            [plain(["nan"], "NaN and infinity"), plain(["if"], "any module of which this holds")].concat()
        }
        ("delete", []) => {
            let mut deleted = plain(&names.breakpoints, "breakpoint");
            deleted.extend(plain(["timeline"], ""));
            deleted
        }
        ("delete", ["timeline"]) | ("switch" | "rename", []) | ("compare", ["base"]) => {
            plain(&names.timelines, "timeline")
        }
        ("diff", [] | [_]) => plain(&names.timelines, "timeline"),
        ("fork", [.., "at"]) => stages(),
        ("fork", _) => plain(["at"], "a stage that is behind"),
        ("compare", []) => {
            let mut axes = settings();
            axes.extend(plain(["word"], "one word of the prompt"));
            axes.extend(plain(["base", "off"], ""));
            axes
        }
        ("compare", [.., "by"]) => settings(),
        ("compare", [_, _, ..]) => plain(["by", "here"], ""),
        ("sweep", []) => settings(),
        ("sweep", [_, _]) => plain(["here-to-end"], ""),
        ("undisplay", []) => plain(&names.displays, "display"),
        ("set", []) => {
            let mut settings = settings();
            settings.extend(plain(["preview"], "which steps the VAE decodes"));
            settings.extend(plain(["fault"], "a known mistake, made on purpose"));
            settings.extend(plain(EDITABLE, "tensor, to be changed by hand"));
            settings.extend(plain(["t(\""], "what a module makes, to be changed by hand"));
            settings
        }
        ("set", ["fault"]) => {
            let fault = |(name, _, help): &(&str, Fault, &str)| Candidate {
                text: (*name).into(),
                help: (*help).into(),
            };
            let mut faults: Vec<Candidate> = Fault::ALL.iter().map(fault).collect();
            faults.extend(plain(["nan_in"], "a value of a tensor is not a number"));
            faults.extend(plain(["off"], ""));
            faults
        }
        ("set", ["init_image"]) => {
            let mut pictures = plain(InitImage::samples().map(|name| format!("sample:{name}")), "a drawing");
            pictures.extend(plain(["off"], ""));
            pictures
        }
        ("set", ["preview"]) => plain(["every", "off"], ""),
        ("show", []) => {
            let mut pictures = plain(&names.pictures, "picture");
            pictures.extend(plain(["features"], "what a module made"));
            pictures.extend(plain(["attention"], "what looks at a word"));
            pictures.extend(plain(["effect"], "what a word does"));
            pictures.extend(
                plain(["timemap"], "from when on each pixel stays")
                    .into_iter()
                    .filter(|timemap| !names.pictures.contains(&timemap.text)),
            );
            pictures
        }
        ("save", []) => {
            let mut tensors = plain(&names.tensors, "tensor");
            tensors.extend(plain(["all"], "every tensor so far"));
            tensors.extend(plain(["timeline"], "this run as commands"));
            tensors.extend(plain(["features"], "what a module made"));
            tensors.extend(plain(["attention"], "what looks at a word"));
            tensors.extend(plain(["effect"], "what a word does"));
            tensors.extend(plain(["timemap"], "from when on each pixel stays"));
            tensors
        }
        ("help", []) => plain(VERBS.iter().map(|verb| verb.name), "command"),
        _ => vec![],
    }
}

/// A name in an expression, or behind a dot what a tensor has.
fn expression(before: &str, from: usize, names: &Names) -> Completions {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let start = before.rfind(|c| !is_part(c)).map_or(0, |at| at + 1).max(from);
    let start = (start..=before.len()).find(|at| before.is_char_boundary(*at)).unwrap_or(before.len());
    let word = &before[start..];
    match word.rsplit_once('.') {
        Some((name, field)) if names.tensors.iter().any(|tensor| tensor == name) => {
            let fields = plain(FIELDS.split(", "), "of the tensor");
            Completions { from: start + name.len() + 1, candidates: starting(fields, field) }
        }
        _ => {
            let mut all = plain(&names.tensors, "tensor");
            all.extend(plain(NAMES, ""));
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Names {
        Names {
            tensors: vec!["latents".into(), "prompt_embeds".into()],
            pictures: vec!["latents".into(), "difference".into()],
            breakpoints: vec![1, 12],
            displays: vec![3],
            timelines: vec!["main".into(), "wilder".into()],
            words: vec!["red".into(), "apple".into()],
            modules: [
                "unet.conv_in",
                "unet.mid_block",
                "unet.mid_block.attentions.0",
                "unet.mid_block.resnets.0",
            ]
            .map(String::from)
            .into(),
        }
    }

    fn words(line: &str) -> Vec<String> {
        complete(line, line.len(), &names()).candidates.into_iter().map(|c| c.text).collect()
    }

    #[test]
    fn attention_is_of_words_and_layers() {
        assert_eq!(words("show attention a"), ["apple", "at"]);
        assert_eq!(words("save effect r"), ["red"]);
        assert_eq!(words("show attention apple layer unet.c"), ["unet.conv_in"]);
        assert_eq!(words("save attention apple a.png head 1 s"), ["step"]);
        assert!(words("show attention apple head ").is_empty() && words("save attention apple ").is_empty());
    }

    #[test]
    fn words_go_on() {
        assert_eq!(words("re"), ["reverse-continue", "restart", "rename"]);
        assert_eq!(words("  cont"), ["continue"]);
        assert_eq!(words("goto "), ["encode_prompt", "get_latent", "denoise", "vae_decode"]);
        assert_eq!(words("b den"), ["denoise"]);
        // A path goes on name by name.
        assert_eq!(words("b un"), ["unet."]);
        assert_eq!(words("break unet."), ["unet.conv_in", "unet.mid_block"]);
        assert_eq!(
            words("break unet.mid_block"),
            ["unet.mid_block.attentions.0", "unet.mid_block.resnets.0"]
        );
        assert_eq!(words("patch unet.mid_block from "), ["main", "wilder"]);
        assert_eq!(words("break denoise 5 "), ["if"]);
        assert_eq!(words("break denoise if lat"), ["latents"]);
        assert_eq!(words("print latents.s"), ["shape", "std"]);
        assert_eq!(words("p norm(prompt_e"), ["prompt_embeds"]);
        assert_eq!(words("set gui"), ["guidance_scale"]);
        assert_eq!(words("set init_image sample:a"), ["sample:apple"]);
        assert_eq!(words("set prompt_embeds = em"), ["embed("]);
        assert_eq!(words("print lerp(prompt_embeds, o"), ["of("]);
        assert_eq!(words("set preview "), ["every", "off"]);
        assert_eq!(words("delete 1"), ["12"]);
        assert_eq!(words("show d"), ["difference"]);
        assert_eq!(words("show features unet.m"), ["unet.mid_block"]);
        assert_eq!(words("show features unet.mid_block p"), ["pca"]);
        assert_eq!(words("save features unet.mid_block f.png unc"), ["uncond"]);
        assert_eq!(words("info mod"), ["modules"]);
        assert_eq!(words("save timemap t.png w"), ["within"]);
        assert_eq!(words("switch w"), ["wilder"]);
        assert_eq!(words("delete timeline "), ["main", "wilder"]);
        assert_eq!(words("compare gui"), ["guidance_scale"]);
        assert_eq!(words("compare guidance_scale 1,3 "), ["by", "here"]);
        assert_eq!(words("fork x at d"), ["denoise"]);
        assert!(words("walk ").is_empty() && words("quit ").is_empty());
    }

    #[test]
    fn the_word_at_fault_is_found() {
        let line = "break denoise if latnts.std > 1";
        let error = "`latnts.std > 1`: `latnts` is not there; expected one of latents";
        assert_eq!(&line[culprit(line, error).unwrap()], "latnts");
        assert_eq!(culprit("walk", "`walk` is no command; expected one of next"), Some(0..4));
        assert_eq!(culprit("next", "the run is complete"), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,60}", cursor in 0usize..80) {
            let completions = complete(&line, cursor, &names());
            prop_assert!(line.is_char_boundary(completions.from));
        }

        #[test]
        fn what_is_completed_begins_with_what_was_typed(
            verb in 0..VERBS.len(), rest in "[a-z_.(]{0,8}( [a-z_.(]{0,8})?",
        ) {
            let line = format!("{} {rest}", VERBS[verb].name);
            let completions = complete(&line, line.len(), &names());
            for candidate in completions.candidates {
                prop_assert!(candidate.text.starts_with(&line[completions.from..]));
            }
        }

        #[test]
        fn any_error_points_into_the_line(line in "\\PC{0,40}", error in "\\PC{0,60}") {
            if let Some(range) = culprit(&line, &error) {
                prop_assert!(line.get(range).is_some());
            }
        }
    }
}

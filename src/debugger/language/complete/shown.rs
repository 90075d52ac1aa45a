//! What follows `show` and `save`.

use super::{Candidate, Completion, Names, models, plain};
use crate::phrase::phrase;
use crate::picture::features::{Drawn, Row};

pub(in crate::debugger::language) fn show(words: &[&str], names: &Names) -> Completion {
    match words {
        [] => {
            let timemap = plain(["timemap"], phrase("from which step on each pixel stays"));
            let is_new = |timemap: &Candidate| !names.pictures.contains(&timemap.text);
            Completion::Words(
                [
                    plain(&names.pictures, phrase("picture")),
                    inside(),
                    timemap.into_iter().filter(is_new).collect(),
                ]
                .concat(),
            )
        }
        ["attention"] => {
            Completion::Words([tokens(names), plain(["at"], phrase("a point: column, row"))].concat())
        }
        _ => shown(words, names),
    }
}

pub(in crate::debugger::language) fn save(words: &[&str], names: &Names) -> Completion {
    match words {
        [] => {
            let tensors = plain(&names.tensors, phrase("tensor"));
            let all = plain(["all"], phrase("every tensor so far"));
            let timeline = plain(["timeline"], phrase("this run as commands"));
            let trace = plain(["trace"], phrase("every stage so far, as a folder"));
            let timemap = plain(["timemap"], phrase("from which step on each pixel stays"));
            Completion::Words([tensors, all, timeline, trace, inside(), timemap].concat())
        }
        ["attention"] => {
            Completion::Words([tokens(names), plain(["at"], phrase("a point: column, row"))].concat())
        }
        // The file stands after the first word.
        ["features" | "attention" | "effect", _] | ["timemap" | "lora"] => Completion::Words(vec![]),
        ["timemap", _] => shown(&["timemap"], names),
        ["features" | "attention" | "effect", _, _, rest @ ..] => shown(&[&words[..2], rest].concat(), names),
        _ => shown(words, names),
    }
}

/// What `show` and `save` have of the inside of a stage.
fn inside() -> Vec<Candidate> {
    let features = plain(["features"], phrase("the output of a module"));
    [
        features,
        plain(["attention"], phrase("where a word attends")),
        plain(["effect"], phrase("what a word does")),
        plain(["lora"], phrase("what a LoRA does")),
    ]
    .concat()
}

/// The words of the prompt and the special tokens.
fn tokens(names: &Names) -> Vec<Candidate> {
    [plain(&names.words, phrase("word of the prompt")), plain(["<start>", "<end>", "<pad>"], phrase("token"))]
        .concat()
}

/// What follows `features`, `timemap`, `attention` and `effect`.
fn shown(words: &[&str], names: &Names) -> Completion {
    Completion::Words(match words {
        ["features"] => return Completion::Module(models()),
        ["features", _, ..] => {
            let ways = plain(Drawn::ALL.map(|(name, _)| name), phrase("how channels are drawn"));
            [ways, plain(Row::ALL.map(|(name, _)| name), phrase("row"))].concat()
        }
        ["timemap"] => plain(["within"], phrase("standard deviations")),
        ["effect"] => tokens(names),
        ["effect", _] | ["lora", ..] => plain(["step"], phrase("where")),
        ["attention", .., "layer"] => {
            plain(names.modules.iter().filter(|path| path.starts_with("unet.")), phrase("module"))
        }
        ["attention", .., "at" | "step" | "head"] => vec![],
        ["attention", _, ..] => {
            let known = ["step", "layer", "head", "over-steps"];
            plain(known.into_iter().filter(|option| !words.contains(option)), phrase("where"))
        }
        _ => vec![],
    })
}

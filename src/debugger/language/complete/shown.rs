//! What follows `show` and `save`.

use super::{Candidate, Completion, Names, models, plain};
use crate::picture::features::{Drawn, Row};

pub(in crate::debugger::language) fn show(words: &[&str], names: &Names) -> Completion {
    match words {
        [] => {
            let timemap = plain(["timemap"], "from which step on each pixel stays");
            let is_new = |timemap: &Candidate| !names.pictures.contains(&timemap.text);
            Completion::Words(
                [plain(&names.pictures, "picture"), inside(), timemap.into_iter().filter(is_new).collect()]
                    .concat(),
            )
        }
        ["attention"] => Completion::Words([tokens(names), plain(["at"], "a point: column, row")].concat()),
        _ => shown(words, names),
    }
}

pub(in crate::debugger::language) fn save(words: &[&str], names: &Names) -> Completion {
    match words {
        [] => {
            let tensors = plain(&names.tensors, "tensor");
            let all = plain(["all"], "every tensor so far");
            let timeline = plain(["timeline"], "this run as commands");
            let timemap = plain(["timemap"], "from which step on each pixel stays");
            Completion::Words([tensors, all, timeline, inside(), timemap].concat())
        }
        ["attention"] => Completion::Words([tokens(names), plain(["at"], "a point: column, row")].concat()),
        // The file stands after the first word.
        ["features" | "attention" | "effect", _] | ["timemap"] => Completion::Words(vec![]),
        ["timemap", _] => shown(&["timemap"], names),
        ["features" | "attention" | "effect", _, _, rest @ ..] => shown(&[&words[..2], rest].concat(), names),
        _ => shown(words, names),
    }
}

/// What `show` and `save` have of the inside of a stage.
fn inside() -> Vec<Candidate> {
    let features = plain(["features"], "the output of a module");
    [features, plain(["attention"], "where a word attends"), plain(["effect"], "what a word does")].concat()
}

/// The words of the prompt and the special tokens.
fn tokens(names: &Names) -> Vec<Candidate> {
    [plain(&names.words, "word of the prompt"), plain(["<start>", "<end>", "<pad>"], "token")].concat()
}

/// What follows `features`, `timemap`, `attention` and `effect`.
fn shown(words: &[&str], names: &Names) -> Completion {
    Completion::Words(match words {
        ["features"] => return Completion::Module(models()),
        ["features", _, ..] => {
            let ways = plain(Drawn::ALL.map(|(name, _)| name), "how channels are drawn");
            [ways, plain(Row::ALL.map(|(name, _)| name), "row")].concat()
        }
        ["timemap"] => plain(["within"], "standard deviations"),
        ["effect"] => tokens(names),
        ["effect", _] => plain(["step"], "where"),
        ["attention", .., "layer"] => {
            plain(names.modules.iter().filter(|path| path.starts_with("unet.")), "module")
        }
        ["attention", .., "at" | "step" | "head"] => vec![],
        ["attention", _, ..] => {
            let known = ["step", "layer", "head", "over-steps"];
            plain(known.into_iter().filter(|option| !words.contains(option)), "where")
        }
        _ => vec![],
    })
}

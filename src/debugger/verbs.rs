//! The words of the command language, for the parser and for `help`.

use super::arguments::abridged;

/// A word of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Verb {
    /// The word.
    pub name: &'static str,
    /// Its short form, where it has one.
    pub short: &'static str,
    /// What may follow.
    pub usage: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// A line of it that works.
    pub example: &'static str,
}

/// What `help` says beside the words.
pub const COMMENTS: &str =
    "A line that begins with # is a comment; further on # is a character like any other.";

/// Every word, in the order in which `help` lists them.
pub const VERBS: &[Verb] = &[
    verb(
        "next",
        "n",
        "[N]",
        "run the next stage, or the next N; over recorded ones, only the cursor moves; inside, the line or the module at hand",
        "next 5",
    ),
    verb(
        "step",
        "s",
        "[N]",
        "go into the next stage, to before its first line; inside, into the line at hand and on to its modules, one by one",
        "step",
    ),
    verb(
        "finish",
        "",
        "",
        "run on out of the module that the one at hand is part of; at a line, out of the stage",
        "finish",
    ),
    verb("back", "", "[N]", "go back over one stage, or N: nothing is computed", "back 2"),
    verb("continue", "c", "", "go on until a breakpoint or the end", "continue"),
    verb("reverse-continue", "rc", "", "go back until a breakpoint or the start", "reverse-continue"),
    verb(
        "until",
        "u",
        "STAGE",
        "go on until STAGE is next; `denoise` alone is the next step",
        "until denoise 10",
    ),
    verb("goto", "", "STAGE", "go to before STAGE, back or on", "goto vae_decode"),
    verb(
        "restart",
        "",
        "",
        "go to the start with the settings as they are; what was recorded is dropped",
        "restart",
    ),
    verb(
        "break",
        "b",
        "STAGE|MODULE [if EXPR]",
        "stop before STAGE or MODULE, if EXPR holds; `denoise` alone is every step, `unet.*.attn2` each of several modules; on \
         what a module makes, t(path), after it",
        "break unet.mid_block if t(path).max > 40.0",
    ),
    verb("tbreak", "tb", "STAGE|MODULE [if EXPR]", "stop before STAGE or MODULE once", "tbreak denoise 5"),
    verb(
        "catch",
        "",
        "nan|if EXPR",
        "stop after a stage that made NaN or infinity, at the module that made it first; or after any module of which EXPR \
         holds",
        "catch if t(path).max > 1000.0",
    ),
    verb("delete", "d", "[N]|timeline NAME", "delete breakpoint N, or all; or a timeline", "delete 1"),
    verb(
        "info",
        "i",
        "breakpoints|display|frame|modules [PATTERN]|request|scheduler|tensors|timelines",
        "list the breakpoints, what is displayed, where a stage waits, the modules of the stage before the cursor with what \
         each made, took and held (`unet.*.attn2`: those that look like it), the settings, the scheduler with its \
         timesteps, every tensor so far, or the timelines",
        "info tensors",
    ),
    verb("backtrace", "bt", "", "tell where the run stands, from the inside out", "backtrace"),
    verb("list", "l", "", "list the source of the next stage, or around the line at hand", "list"),
    verb(
        "print",
        "p",
        "TENSOR|EXPR",
        "show a tensor's statistics, or the value of an expression",
        "print latents.std",
    ),
    verb(
        "display",
        "",
        "[EXPR]",
        "show a tensor or the value of an expression after every stop; alone, now",
        "display latents.std",
    ),
    verb("undisplay", "", "[N]", "no longer display N, or anything", "undisplay 1"),
    verb(
        "show",
        "",
        "PICTURE|features PATH [HOW] [ROW]|timemap [within X]|attention [WORD|at X,Y] [step K] [layer PATTERN] [head N] \
         [over-steps]|effect WORD [step K]",
        "show a picture as large as there is room; what a module of the stage before the cursor made (HOW: pca, grid, sorted, \
         mean, norm; ROW: text, uncond, difference); from which step on each pixel stays within X standard deviations \
         of the last; what looks at a WORD of the prompt (`word#2`, a token's position, <start>, <end>, <pad>) or what a point \
         of the latents looks at, in the step before the cursor or in K, in layers or one head of them; or what the WORD does \
         there: the step with its tokens replaced by padding",
        "show features unet.mid_block pca",
    ),
    verb(
        "set",
        "",
        "NAME VALUE|TENSOR[PARTS] = EXPR|t(\"MODULE\")[PARTS] = EXPR",
        "change a setting for what comes next: behind the tip that is a fork; or, on a timeline of its own, latents or \
         embeddings (`latents[0,:,8,8] = 0`, also *= and +=), or what modules make from here on; `init_image FILE|sample:NAME|off` and `strength S` start from a \
         picture; `preview every N|off` is which steps the VAE decodes, \
         `fault NAME|off` a known mistake to learn from",
        "set guidance_scale 12",
    ),
    verb(
        "patch",
        "",
        "MODULE from TIMELINE",
        "run the next stage, on a timeline of its own, with what MODULE makes in it on TIMELINE",
        "patch unet.up_blocks.1 from main",
    ),
    verb(
        "save",
        "",
        "WHAT FILE|features PATH FILE [HOW] [ROW]|timemap FILE [within X]|attention WORD|at X,Y FILE […]|effect WORD FILE",
        "save a tensor to F.safetensors, its picture to F.png, or `timeline` as commands to any other file; or to F.png what \
         `show` shows of a module, of the steps, of attention or of a word's effect; attention also as numbers to F.safetensors, \
         and of every recorded step to F.gif",
        "save image out.png",
    ),
    verb(
        "fork",
        "",
        "[NAME] [at STAGE]",
        "go on from here on a timeline of its own, or from before a stage that is behind",
        "fork wilder at denoise 5",
    ),
    verb("switch", "sw", "NAME", "look at another timeline", "switch main"),
    verb("rename", "", "[OLD] NEW", "call this timeline, or another, something else", "rename wilder"),
    verb(
        "compare",
        "",
        "[NAME VALUES [by NAME VALUES] [here]|base NAME|off]",
        "run variants side by side, from the start or from here; alone, go back to them",
        "compare guidance_scale 1,3,7.5,15 by seed 1-3",
    ),
    verb(
        "sweep",
        "",
        "NAME VALUE [here-to-end]",
        "fork before every step that is left with that setting, and tell from when on it does not matter",
        "sweep guidance_scale 1 here-to-end",
    ),
    verb(
        "diff",
        "",
        "A [B] [within X]",
        "tell how far B (or this timeline) is from A: timelines, @K for the state after denoise K, a dump",
        "diff @2 @5",
    ),
    verb("help", "h", "[COMMAND]", "list the commands, or tell of one", "help break"),
    verb("quit", "q", "", "leave", "quit"),
];

const fn verb(
    name: &'static str,
    short: &'static str,
    usage: &'static str,
    summary: &'static str,
    example: &'static str,
) -> Verb {
    Verb { name, short, usage, summary, example }
}

/// Why a word is no verb.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// No verb of that name.
    #[error("`{found}` is no command; {}", meant(found))]
    Unknown {
        /// The word.
        found: String,
    },
    /// The beginning of more than one verb.
    #[error("`{found}` could be {candidates}; expected more of the word")]
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
        Some(name) => format!("did you mean `{name}`? `help` lists them all"),
        None => format!("expected one of {COMMON}"),
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
    fn no_short_form_means_two_things() {
        for verb in VERBS {
            let meant = VERBS.iter().filter(|other| other.short == verb.short && !verb.short.is_empty());
            assert!(meant.count() <= 1, "{}", verb.short);
            assert_eq!(Verb::find(verb.name).unwrap().name, verb.name);
        }
    }
}

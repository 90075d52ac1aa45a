//! The verbs of the command language: one entry says how a verb is typed, what it does, and how it is parsed and completed.

use super::arguments::{self, ArgumentError, alone, breakpoint, count, named};
use super::command::Command;
use super::complete::{self, Completion, Names};
use super::place::parse_place;
use crate::debugger::text::abridged;

/// A verb of the language.
#[derive(Debug)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// Its short form, where it has one.
    pub short: &'static str,
    /// What it does, in a few words, for the list of all verbs.
    pub brief: &'static str,
    /// What may follow.
    pub usage: &'static str,
    /// What it does, in full.
    pub summary: &'static str,
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
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Moving, "moving"),
        (Self::Stopping, "stopping"),
        (Self::Looking, "looking"),
        (Self::Changing, "changing"),
        (Self::Timelines, "timelines"),
        (Self::Other, "other"),
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

/// The remark below the list of verbs.
pub const COMMENTS: &str =
    "A line that begins with # is a comment; further on # is a character like any other.";

/// Every verb, in the order in which `help` lists them.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "next",
        short: "n",
        brief: "run the next stage, or N stages",
        usage: "[N]",
        summary: "run the next stage, or the next N; over recorded ones, only the cursor moves; inside, the line or the module at hand",
        example: "next 5",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| Ok(Command::Next(count(rest)?)),
        complete: complete::nothing,
    },
    Verb {
        name: "step",
        short: "s",
        brief: "go into a stage; inside, into a line or module",
        usage: "[N]",
        summary: "go into the next stage, to before its first line; inside, into the line at hand and on to its modules, one by one",
        example: "step",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| Ok(Command::Step(count(rest)?)),
        complete: complete::nothing,
    },
    Verb {
        name: "finish",
        short: "",
        brief: "run out of the current module or stage",
        usage: "",
        summary: "run on out of the module that the one at hand is part of; at a line, out of the stage",
        example: "finish",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| alone(rest, Command::Finish),
        complete: complete::nothing,
    },
    Verb {
        name: "back",
        short: "",
        brief: "go back one stage, or N stages",
        usage: "[N]",
        summary: "go back over one stage, or N: nothing is computed",
        example: "back 2",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| Ok(Command::Back(count(rest)?)),
        complete: complete::nothing,
    },
    Verb {
        name: "continue",
        short: "c",
        brief: "run until a breakpoint or the end",
        usage: "",
        summary: "go on until a breakpoint or the end",
        example: "continue",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| alone(rest, Command::Continue),
        complete: complete::nothing,
    },
    Verb {
        name: "reverse-continue",
        short: "rc",
        brief: "go back until a breakpoint or the start",
        usage: "",
        summary: "go back until a breakpoint or the start",
        example: "reverse-continue",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| alone(rest, Command::ReverseContinue),
        complete: complete::nothing,
    },
    Verb {
        name: "until",
        short: "u",
        brief: "run until STAGE is next",
        usage: "STAGE",
        summary: "go on until STAGE is next; `denoise` alone is the next step",
        example: "until denoise 10",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| Ok(Command::Until(parse_place(rest)?)),
        complete: complete::stage,
    },
    Verb {
        name: "goto",
        short: "",
        brief: "move to before STAGE, either way",
        usage: "STAGE",
        summary: "go to before STAGE, back or on",
        example: "goto vae_decode",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| Ok(Command::Goto(parse_place(rest)?)),
        complete: complete::stage,
    },
    Verb {
        name: "restart",
        short: "",
        brief: "go to the start; what is recorded is dropped",
        usage: "",
        summary: "go to the start with the settings as they are; what was recorded is dropped",
        example: "restart",
        group: Group::Moving,
        class: Class::Moves,
        parse: |rest| alone(rest, Command::Restart),
        complete: complete::nothing,
    },
    Verb {
        name: "break",
        short: "b",
        brief: "stop before a stage or a module",
        usage: "STAGE|MODULE [if EXPR]",
        summary: "stop before STAGE or MODULE, if EXPR holds; `denoise` alone is every step, `unet.*.attn2` each of several modules; on \
         what a module makes, t(path), after it",
        example: "break unet.mid_block if t(path).max > 40.0",
        group: Group::Stopping,
        class: Class::Edits,
        parse: |rest| breakpoint(rest, false),
        complete: complete::stop,
    },
    Verb {
        name: "tbreak",
        short: "tb",
        brief: "stop there once",
        usage: "STAGE|MODULE [if EXPR]",
        summary: "stop before STAGE or MODULE once",
        example: "tbreak denoise 5",
        group: Group::Stopping,
        class: Class::Edits,
        parse: |rest| breakpoint(rest, true),
        complete: complete::stop,
    },
    Verb {
        name: "catch",
        short: "",
        brief: "stop on NaN, or where a condition is true",
        usage: "nan|if EXPR",
        summary: "stop after a stage that produced NaN or infinity, at the first module that did; or after any module for which EXPR \
         is true",
        example: "catch if t(path).max > 1000.0",
        group: Group::Stopping,
        class: Class::Edits,
        parse: arguments::catch,
        complete: complete::catch,
    },
    Verb {
        name: "delete",
        short: "d",
        brief: "delete breakpoints, or a timeline",
        usage: "[N]|timeline NAME",
        summary: "delete breakpoint N, or all; or a timeline",
        example: "delete 1",
        group: Group::Stopping,
        class: Class::Edits,
        parse: arguments::delete,
        complete: complete::delete,
    },
    Verb {
        name: "info",
        short: "i",
        brief: "list breakpoints, modules, settings, tensors",
        usage: "breakpoints|display|frame|modules [PATTERN]|request|scheduler|tensors|timelines",
        summary: "list the breakpoints, what is displayed, where a stage waits, the modules of the stage before the cursor with what \
         each made, took and held (`unet.*.attn2`: those that look like it), the settings, the scheduler with its \
         timesteps, every tensor so far, or the timelines",
        example: "info tensors",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: arguments::info,
        complete: complete::info,
    },
    Verb {
        name: "backtrace",
        short: "bt",
        brief: "show where the run stands",
        usage: "",
        summary: "tell where the run stands, from the inside out",
        example: "backtrace",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: |rest| alone(rest, Command::Backtrace),
        complete: complete::nothing,
    },
    Verb {
        name: "list",
        short: "l",
        brief: "show the source code",
        usage: "",
        summary: "list the source of the next stage, or around the line at hand",
        example: "list",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: |rest| alone(rest, Command::List),
        complete: complete::nothing,
    },
    Verb {
        name: "print",
        short: "p",
        brief: "show a tensor, or the value of an expression",
        usage: "TENSOR|EXPR",
        summary: "show a tensor's statistics, or the value of an expression",
        example: "print latents.std",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: |rest| Ok(Command::Print(named(rest)?.into())),
        complete: complete::expression,
    },
    Verb {
        name: "display",
        short: "",
        brief: "show a value after every stop",
        usage: "[EXPR]",
        summary: "show a tensor or the value of an expression after every stop; alone, now",
        example: "display latents.std",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: arguments::display,
        complete: complete::expression,
    },
    Verb {
        name: "undisplay",
        short: "",
        brief: "no longer show it",
        usage: "[N]",
        summary: "no longer display N, or anything",
        example: "undisplay 1",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: arguments::undisplay,
        complete: complete::undisplay,
    },
    Verb {
        name: "show",
        short: "",
        brief: "show a picture, features, attention, an effect",
        usage: "PICTURE|features PATH [HOW] [ROW]|timemap [within X]|attention [WORD|at X,Y] [step K] [layer PATTERN] [head N] \
         [over-steps]|effect WORD [step K]",
        summary: "show a picture as large as there is room; what a module of the stage before the cursor made (HOW: pca, grid, sorted, \
         mean, norm; ROW: text, uncond, difference); from which step on each pixel stays within X standard deviations \
         of the last; what looks at a WORD of the prompt (`word#2`, a token's position, <start>, <end>, <pad>) or what a point \
         of the latents looks at, in the step before the cursor or in K, in layers or one head of them; or what the WORD does \
         there: the step with its tokens replaced by padding",
        example: "show features unet.mid_block pca",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: arguments::show,
        complete: complete::show,
    },
    Verb {
        name: "set",
        short: "",
        brief: "change a setting, a tensor, a module's output",
        usage: "NAME VALUE|TENSOR[PARTS] = EXPR|t(\"MODULE\")[PARTS] = EXPR",
        summary: "change a setting for what comes next: behind the tip that is a fork; or, on a timeline of its own, latents or \
         embeddings (`latents[0,:,8,8] = 0`, also *= and +=), or what modules make from here on; `init_image FILE|sample:NAME|off` and `strength S` start from a \
         picture; `preview every N|off` is which steps the VAE decodes, \
         `fault NAME|off` a known mistake to learn from",
        example: "set guidance_scale 12",
        group: Group::Changing,
        class: Class::Edits,
        parse: arguments::set,
        complete: complete::set,
    },
    Verb {
        name: "patch",
        short: "",
        brief: "run a stage with a module's output of TIMELINE",
        usage: "MODULE from TIMELINE",
        summary: "run the next stage, on a timeline of its own, with what MODULE makes in it on TIMELINE",
        example: "patch unet.up_blocks.1 from main",
        group: Group::Changing,
        class: Class::Edits,
        parse: arguments::patch,
        complete: complete::patch,
    },
    Verb {
        name: "save",
        short: "",
        brief: "save a tensor, a picture, or the timeline",
        usage: "WHAT FILE|features PATH FILE [HOW] [ROW]|timemap FILE [within X]|attention WORD|at X,Y FILE […]|effect WORD FILE",
        summary: "save a tensor to F.safetensors, its picture to F.png, or `timeline` as commands to any other file; or to F.png what \
         `show` shows of a module, of the steps, of attention or of a word's effect; attention also as numbers to F.safetensors, \
         and of every recorded step to F.gif",
        example: "save image out.png",
        group: Group::Looking,
        class: Class::ReadOnly,
        parse: arguments::save,
        complete: complete::save,
    },
    Verb {
        name: "fork",
        short: "",
        brief: "start a new timeline here",
        usage: "[NAME] [at STAGE]",
        summary: "go on from here on a timeline of its own, or from before a stage that is behind",
        example: "fork wilder at denoise 5",
        group: Group::Timelines,
        class: Class::Moves,
        parse: arguments::fork,
        complete: complete::fork,
    },
    Verb {
        name: "switch",
        short: "sw",
        brief: "look at another timeline",
        usage: "NAME",
        summary: "look at another timeline",
        example: "switch main",
        group: Group::Timelines,
        class: Class::Moves,
        parse: arguments::switch,
        complete: complete::timeline,
    },
    Verb {
        name: "rename",
        short: "",
        brief: "rename a timeline",
        usage: "[OLD] NEW",
        summary: "call this timeline, or another, something else",
        example: "rename wilder",
        group: Group::Timelines,
        class: Class::Edits,
        parse: arguments::rename,
        complete: complete::timeline,
    },
    Verb {
        name: "compare",
        short: "",
        brief: "run variants side by side",
        usage: "[NAME VALUES [by NAME VALUES] [here]|base NAME|off]",
        summary: "run variants side by side, from the start or from here; alone, go back to them",
        example: "compare guidance_scale 1,3,7.5,15 by seed 1-3",
        group: Group::Timelines,
        class: Class::Moves,
        parse: arguments::compare,
        complete: complete::compare,
    },
    Verb {
        name: "sweep",
        short: "",
        brief: "find the step from which a setting is idle",
        usage: "NAME VALUE [here-to-end]",
        summary: "fork before every step that is left with that setting, and tell from when on it does not matter",
        example: "sweep guidance_scale 1 here-to-end",
        group: Group::Timelines,
        class: Class::Moves,
        parse: arguments::sweep,
        complete: complete::sweep,
    },
    Verb {
        name: "diff",
        short: "",
        brief: "compare two timelines, states or dumps",
        usage: "A [B] [within X]",
        summary: "tell how far B (or this timeline) is from A: timelines, @K for the state after denoise K, a dump",
        example: "diff @2 @5",
        group: Group::Timelines,
        class: Class::ReadOnly,
        parse: arguments::diff,
        complete: complete::diff,
    },
    Verb {
        name: "help",
        short: "h",
        brief: "list the verbs, or explain one",
        usage: "[COMMAND]",
        summary: "list the commands, or tell of one",
        example: "help break",
        group: Group::Other,
        class: Class::ReadOnly,
        parse: arguments::help,
        complete: complete::help,
    },
    Verb {
        name: "quit",
        short: "q",
        brief: "leave",
        usage: "",
        summary: "leave",
        example: "quit",
        group: Group::Other,
        class: Class::ReadOnly,
        parse: |rest| alone(rest, Command::Quit),
        complete: complete::nothing,
    },
];

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
    fn every_verb_has_a_group_and_a_brief_line() {
        for verb in VERBS {
            assert!(Group::ALL.iter().any(|(group, _)| *group == verb.group), "{}", verb.name);
            assert!(verb.brief.chars().count() <= 46, "{}", verb.brief);
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

//! The verbs of the command language. One entry is a verb: how it is typed, what it does, what follows it, how that is completed.
//!
//! `verbs!` makes of the entries the enum [`Command`], which has a variant for each verb with its arguments, and the table [`VERBS`].
//! The arguments are a type that implements [`Arguments`]: that parses what follows the verb, and writes it again.

use super::arguments::{self, ArgumentError, Arguments};
use super::complete;
use super::place::Place;
use super::verb::{Class, Group, Verb};
use crate::phrase::{Phrase, phrase};

/// The remark below the list of verbs.
pub const COMMENTS: Phrase =
    phrase("A line that begins with # is a comment; further on # is a character like any other.");

macro_rules! verbs {
    ($($variant:ident($arguments:ty) {
        name: $name:literal, short: $short:literal, usage: $usage:literal,
        example: $example:literal, group: $group:ident, class: $class:ident, complete: $complete:expr,
        brief: phrase($brief:literal),
        summary: phrase($summary:literal),
    })*) => {
        /// A command, parsed: its verb, and what followed it.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $(#[doc = concat!("`", $name, "`: ", $brief, ".")] $variant($arguments),)*
        }

        /// Every verb, in the order in which `help` lists them.
        pub const VERBS: &[Verb] = &[$(Verb {
            name: $name,
            short: $short,
            brief: phrase($brief),
            usage: $usage,
            summary: phrase($summary),
            example: $example,
            group: Group::$group,
            class: Class::$class,
            parse: |rest| -> Result<Command, ArgumentError> { Ok(Command::$variant(Arguments::parse(rest)?)) },
            complete: $complete,
        },)*];

        impl Command {
            /// Its verb, and what follows it.
            pub(super) fn words(&self) -> (&'static str, String) {
                match self {
                    $(Self::$variant(arguments) => ($name, Arguments::written(arguments)),)*
                }
            }

            /// What it does to a session: what its verb does, unless its arguments say otherwise.
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$variant(arguments) => Arguments::class(arguments).unwrap_or(Class::$class),)*
                }
            }
        }
    };
}

verbs! {
    Next(arguments::Count) {
        name: "next", short: "n", usage: "[N]",
        example: "next 5", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("run the next stage, or N stages"),
        summary: phrase("run the next stage, or the next N; over recorded ones, only the cursor moves; inside, the current line or module"),
    }

    Step(arguments::Count) {
        name: "step", short: "s", usage: "[N]",
        example: "step", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("go into a stage; inside, into a line or module"),
        summary: phrase("go into the next stage, to before its first line; inside, into the current line and on to its modules, one by one"),
    }

    Finish(arguments::Nothing) {
        name: "finish", short: "", usage: "",
        example: "finish", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("run out of the current module or stage"),
        summary: phrase("run out of the module that the current one is part of; at a line, out of the stage"),
    }

    Back(arguments::Count) {
        name: "back", short: "", usage: "[N]",
        example: "back 2", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("go back one stage, or N stages"),
        summary: phrase("go back one stage, or N; nothing is computed"),
    }

    Continue(arguments::Nothing) {
        name: "continue", short: "c", usage: "",
        example: "continue", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("run until a breakpoint or the end"),
        summary: phrase("run until a breakpoint or the end"),
    }

    ReverseContinue(arguments::Nothing) {
        name: "reverse-continue", short: "rc", usage: "",
        example: "reverse-continue", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("go back until a breakpoint or the start"),
        summary: phrase("go back until a breakpoint or the start"),
    }

    Until(Place) {
        name: "until", short: "u", usage: "STAGE",
        example: "until denoise 10", group: Moving, class: Moves, complete: complete::stage,
        brief: phrase("run until STAGE is next"),
        summary: phrase("run until STAGE is next; `denoise` alone is the next step"),
    }

    Goto(Place) {
        name: "goto", short: "", usage: "STAGE",
        example: "goto vae_decode", group: Moving, class: Moves, complete: complete::stage,
        brief: phrase("move to before STAGE, either way"),
        summary: phrase("move to before STAGE, back or forward"),
    }

    Restart(arguments::Nothing) {
        name: "restart", short: "", usage: "",
        example: "restart", group: Moving, class: Moves, complete: complete::nothing,
        brief: phrase("go to the start; what is recorded is dropped"),
        summary: phrase("go to the start with the current settings; what was recorded is dropped"),
    }

    Undo(arguments::Nothing) {
        name: "undo", short: "", usage: "",
        example: "undo", group: Changing, class: Moves, complete: complete::nothing,
        brief: phrase("undo the last change, or a restart"),
        summary: phrase("undo the last command that changed settings, tensors, breakpoints or timelines, or restarted; up to ten"),
    }

    Redo(arguments::Nothing) {
        name: "redo", short: "", usage: "",
        example: "redo", group: Changing, class: Moves, complete: complete::nothing,
        brief: phrase("do again what was undone"),
        summary: phrase("do again what `undo` undid"),
    }

    Break(arguments::BreakAt) {
        name: "break", short: "b", usage: "STAGE|MODULE [if EXPR]",
        example: "break unet.mid_block if t(path).max > 40.0", group: Stopping, class: Edits, complete: complete::stop,
        brief: phrase("stop before a stage or a module"),
        summary: phrase("stop before STAGE or MODULE, if EXPR holds; `denoise` alone is every step, `unet.*.attn2` each module that matches; \
            with a condition on a module's output, t(path), stop after it"),
    }

    Tbreak(arguments::BreakAt) {
        name: "tbreak", short: "tb", usage: "STAGE|MODULE [if EXPR]",
        example: "tbreak denoise 5", group: Stopping, class: Edits, complete: complete::stop,
        brief: phrase("stop there once"),
        summary: phrase("stop before STAGE or MODULE once"),
    }

    Catch(arguments::Catch) {
        name: "catch", short: "", usage: "nan|if EXPR",
        example: "catch if t(path).max > 1000.0", group: Stopping, class: Edits, complete: complete::catch,
        brief: phrase("stop on NaN, or where a condition is true"),
        summary: phrase("stop after a stage that produced NaN or infinity, at the first module that did; or after any module for which EXPR \
         is true"),
    }

    Delete(arguments::Delete) {
        name: "delete", short: "d", usage: "[N]|timeline NAME",
        example: "delete 1", group: Stopping, class: Edits, complete: complete::delete,
        brief: phrase("delete breakpoints, or a timeline"),
        summary: phrase("delete breakpoint N, or all; or a timeline"),
    }

    Info(arguments::Info) {
        name: "info", short: "i", usage: "breakpoints|display|frame|lora [NAME]|modules [PATTERN]|request|scheduler|schedules [NAME …]|tensors|timelines",
        example: "info tensors", group: Looking, class: ReadOnly, complete: complete::info,
        brief: phrase("list breakpoints, modules, settings, tensors"),
        summary: phrase("list the breakpoints, what is displayed, where a stage waits, the LoRAs with the keys and modules that each covers, the modules of the stage before the cursor with the \
         output, time and memory of each (`unet.*.attn2`: those that match), the settings, the scheduler with its \
         timesteps, the schedules of several schedulers side by side (`schedules euler dpm++2m-karras`), every tensor so \
         far, or the timelines"),
    }

    Backtrace(arguments::Nothing) {
        name: "backtrace", short: "bt", usage: "",
        example: "backtrace", group: Looking, class: ReadOnly, complete: complete::nothing,
        brief: phrase("show where the run stands"),
        summary: phrase("show where the run stands, from the inside out"),
    }

    List(arguments::Nothing) {
        name: "list", short: "l", usage: "",
        example: "list", group: Looking, class: ReadOnly, complete: complete::nothing,
        brief: phrase("show the source code"),
        summary: phrase("list the source of the next stage, or around the current line"),
    }

    Print(arguments::Print) {
        name: "print", short: "p", usage: "TENSOR|EXPR",
        example: "print latents.std", group: Looking, class: ReadOnly, complete: complete::expression,
        brief: phrase("show a tensor, or the value of an expression"),
        summary: phrase("show a tensor's statistics, or the value of an expression"),
    }

    Display(arguments::Display) {
        name: "display", short: "", usage: "[EXPR]",
        example: "display latents.std", group: Looking, class: ReadOnly, complete: complete::expression,
        brief: phrase("show a value after every stop"),
        summary: phrase("show a tensor or the value of an expression after every stop; alone, now"),
    }

    Undisplay(arguments::Undisplay) {
        name: "undisplay", short: "", usage: "[N]",
        example: "undisplay 1", group: Looking, class: ReadOnly, complete: complete::undisplay,
        brief: phrase("no longer show it"),
        summary: phrase("stop displaying N, or everything"),
    }

    Show(arguments::Look) {
        name: "show", short: "", usage: "PICTURE|features PATH [HOW] [ROW]|timemap [within X]|attention [WORD|at X,Y] [step K] [layer PATTERN] [head N] \
         [over-steps]|effect WORD [step K]|lora [NAME] [step K]",
        example: "show features unet.mid_block pca", group: Looking, class: ReadOnly, complete: complete::show,
        brief: phrase("show a picture, features, attention, an effect"),
        summary: phrase("show a picture as large as there is room; the output of a module in the stage before the cursor (HOW: pca, grid, sorted, \
         mean, norm; ROW: text, uncond, difference); from which step on each pixel stays within X standard deviations \
         of the last; where the picture attends to a WORD of the prompt (`word#2`, a token's position, <start>, <end>, <pad>), or where a point \
         of the latents attends, in the step before the cursor or in K, in layers or one of their heads; or what the WORD does \
         there: the step with its tokens replaced by padding; or what a LoRA changes in a step"),
    }

    Set(arguments::Set) {
        name: "set", short: "", usage: "NAME VALUE|lora NAME SCALE|TENSOR[PARTS] = EXPR|t(\"MODULE\")[PARTS] = EXPR",
        example: "set guidance_scale 12", group: Changing, class: Edits, complete: complete::set,
        brief: phrase("change a setting, a tensor, a module's output"),
        summary: phrase("change a setting for the stages to come: at an earlier stage that starts a new timeline; or, on a new timeline, latents or \
         embeddings (`latents[0,:,8,8] = 0`, also *= and +=), or the outputs of modules from here on; `init_image FILE|sample:NAME|off` and `strength S` start from a \
         picture; `preview every N|off` says which steps the VAE decodes, \
         `fault NAME|off` makes a known mistake to learn from"),
    }

    Patch(arguments::Patch) {
        name: "patch", short: "", usage: "MODULE from TIMELINE",
        example: "patch unet.up_blocks.1 from main", group: Changing, class: Edits, complete: complete::patch,
        brief: phrase("run a stage with a module's output of TIMELINE"),
        summary: phrase("run the next stage, on a new timeline, with the output that MODULE has in it on TIMELINE"),
    }

    Save(arguments::Save) {
        name: "save", short: "", usage: "WHAT FILE|features PATH FILE [HOW] [ROW]|timemap FILE [within X]|attention WORD|at X,Y FILE […]|effect WORD FILE|lora [NAME] FILE",
        example: "save image out.png", group: Looking, class: ReadOnly, complete: complete::save,
        brief: phrase("save a tensor, a picture, or the timeline"),
        summary: phrase("save a tensor to F.safetensors, its picture to F.png, `timeline` as commands to any other file, or `trace`, every stage so \
         far, to a folder; or to F.png what \
         `show` shows of a module, of the steps, of attention, of a word's or a LoRA's effect; attention also as numbers to F.safetensors, \
         and of every recorded step to F.gif"),
    }

    Fork(arguments::Fork) {
        name: "fork", short: "", usage: "[NAME] [at STAGE]",
        example: "fork wilder at denoise 5", group: Timelines, class: Moves, complete: complete::fork,
        brief: phrase("start a new timeline here"),
        summary: phrase("start a new timeline here, or before an earlier stage"),
    }

    Switch(arguments::TimelineName) {
        name: "switch", short: "sw", usage: "NAME",
        example: "switch main", group: Timelines, class: Moves, complete: complete::timeline,
        brief: phrase("look at another timeline"),
        summary: phrase("look at another timeline"),
    }

    Rename(arguments::Rename) {
        name: "rename", short: "", usage: "[OLD] NEW",
        example: "rename wilder", group: Timelines, class: Edits, complete: complete::timeline,
        brief: phrase("rename a timeline"),
        summary: phrase("rename this timeline, or another"),
    }

    Compare(arguments::Compare) {
        name: "compare", short: "", usage: "[NAME VALUES [by NAME VALUES] [here]|base NAME|off]",
        example: "compare guidance_scale 1,3,7.5,15 by seed 1-3", group: Timelines, class: Moves, complete: complete::compare,
        brief: phrase("run variants side by side"),
        summary: phrase("run variants side by side, from the start or from here; alone, go back to them"),
    }

    Sweep(arguments::Sweep) {
        name: "sweep", short: "", usage: "NAME VALUE [here-to-end]",
        example: "sweep guidance_scale 1 here-to-end", group: Timelines, class: Moves, complete: complete::sweep,
        brief: phrase("find the step from which a setting is idle"),
        summary: phrase("fork before every remaining step with that setting, and show the step from which it no longer matters"),
    }

    Convergence(arguments::Schedulers) {
        name: "convergence", short: "", usage: "[NAME …]",
        example: "convergence euler heun dpm++2m", group: Timelines, class: ReadOnly, complete: complete::deterministic,
        brief: phrase("show how errors fall with the steps"),
        summary: phrase("run schedulers with 10 to 40 steps on one Karras grid, and chart the error with the fitted order of each; it takes \
         several hundred UNet calls"),
    }

    Diff(arguments::Diff) {
        name: "diff", short: "", usage: "A [B] [within X]",
        example: "diff @2 @5", group: Timelines, class: ReadOnly, complete: complete::diff,
        brief: phrase("compare two timelines, states or dumps"),
        summary: phrase("show how far B (or this timeline) is from A: timelines, @K for the state after denoise K, a dump; a trace alone is compared module by module"),
    }

    Help(arguments::Help) {
        name: "help", short: "h", usage: "[COMMAND|WORD]",
        example: "help break", group: Other, class: ReadOnly, complete: complete::help,
        brief: phrase("list the verbs; explain one, or a word"),
        summary: phrase("list the commands; explain one, or a word: a tensor, a setting, a symbol of the papers, a view"),
    }

    Quit(arguments::Nothing) {
        name: "quit", short: "q", usage: "",
        example: "quit", group: Other, class: ReadOnly, complete: complete::nothing,
        brief: phrase("leave"),
        summary: phrase("leave"),
    }
}

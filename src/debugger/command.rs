//! The command language: gdb's words where gdb has one.

use super::arguments::{
    self, abridged, parse_diff, parse_fork, parse_patch, parse_place, parse_set, parse_stop, parse_sweep,
    unquoted,
};
use super::attention::{self, Looking};
use super::breakpoint::Stop;
use super::comparison::Plan;
use super::edit::Edit;
use super::examine::FeaturesAsked;
use super::expression::{Expression, ExpressionError};
use super::meddle::ModuleEdit;
pub use super::operand::{Place, Previewing, Setting, Side, Topic};
use super::pattern::Pattern;
use super::verbs::{Verb, VerbError};
use crate::pipeline::Fault;
use std::path::PathBuf;

/// A command, parsed.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `step [N]`: into the stage, then over N of its lines.
    Step(usize),
    /// `finish`: out of the stage.
    Finish,
    /// `backtrace`: where, from the inside out.
    Backtrace,
    /// `list`: the source.
    List,
    /// `next [N]`: over N stages.
    Next(usize),
    /// `back [N]`: back over N stages.
    Back(usize),
    /// `continue`: on to a breakpoint or the end.
    Continue,
    /// `reverse-continue`: back to a breakpoint or the start.
    ReverseContinue,
    /// `until STAGE`: on to before a stage.
    Until(Place),
    /// `goto STAGE`: to before a stage, either way.
    Goto(Place),
    /// `restart`: to the start; what was recorded is dropped.
    Restart,
    /// `break STAGE|MODULE [if EXPR]` and `tbreak`.
    Break {
        /// Where.
        stop: Stop,
        /// Only when this holds.
        condition: Option<Expression>,
        /// Only once.
        temporary: bool,
    },
    /// `catch nan`: stop after a stage that made NaN or infinity.
    CatchNan,
    /// `catch if EXPR`: stop after a module of which it holds.
    CatchIf(Expression),
    /// `display EXPR`: show a value after every stop; without one, now.
    Display(Option<Expression>),
    /// `undisplay [N]`: no longer.
    Undisplay(Option<usize>),
    /// `show PICTURE`.
    Show(String),
    /// `show attention …`, and with a file `save attention …`: what a word or a point looks at.
    Attention {
        /// What is asked.
        looking: Looking,
        /// Where it is saved.
        file: Option<PathBuf>,
    },
    /// `show effect WORD`, and with a file `save effect WORD FILE`: what a word does.
    Effect {
        /// The word.
        word: String,
        /// In this step; in the one before the cursor without.
        step: Option<usize>,
        /// Where it is saved.
        file: Option<PathBuf>,
    },
    /// `set fault NAME|off`: a known mistake, made on purpose.
    SetFault(Option<Fault>),
    /// `set TENSOR[PARTS] = EXPR`: a tensor changed by hand.
    Edit(Edit),
    /// `set t("MODULE")[PARTS] = EXPR`: what a module makes, changed from here on.
    Meddle(ModuleEdit),
    /// `patch MODULE from TIMELINE`: this step with what that module made there.
    Patch {
        /// The module.
        module: Pattern,
        /// The timeline that its output is taken from.
        timeline: String,
    },
    /// `set preview every N|off`.
    SetPreview(Previewing),
    /// `delete [N]`: one breakpoint, or all.
    Delete(Option<usize>),
    /// `info modules [PATTERN]`.
    Modules(Option<Pattern>),
    /// `show features PATH [HOW] [ROW]` and `save features PATH FILE [HOW] [ROW]`.
    Features {
        /// What is drawn, and how.
        asked: FeaturesAsked,
        /// Where to; shown without.
        file: Option<PathBuf>,
    },
    /// `show timemap [within X]` and `save timemap FILE [within X]`.
    TimeMap {
        /// The tolerance, in standard deviations.
        within: Option<f64>,
        /// Where to; shown without.
        file: Option<PathBuf>,
    },
    /// `info TOPIC`.
    Info(Topic),
    /// `print TENSOR|EXPR`.
    Print(String),
    /// `set NAME VALUE`.
    Set {
        /// Which setting.
        setting: Setting,
        /// Its new value, as typed.
        value: String,
    },
    /// `save WHAT FILE`.
    Save {
        /// A tensor, or a tensor whose picture is meant.
        what: String,
        /// The file; its ending says which.
        file: PathBuf,
    },
    /// `fork [NAME] [at STAGE]`: go on on a timeline of its own.
    Fork {
        /// What it is called.
        name: Option<String>,
        /// From before this stage.
        at: Option<Place>,
    },
    /// `switch NAME`: look at another timeline.
    Switch(String),
    /// `rename [OLD] NEW`.
    Rename {
        /// The timeline; this one without.
        old: Option<String>,
        /// Its name from now on.
        new: String,
    },
    /// `delete timeline NAME`.
    DeleteTimeline(String),
    /// `compare NAME VALUES …`: variants side by side.
    Compare(Plan),
    /// `compare`: back to them.
    CompareAgain,
    /// `compare off`: an end of it.
    CompareOff,
    /// `compare base NAME`: what differences are from.
    CompareBase(String),
    /// `sweep NAME VALUE [here-to-end]`.
    Sweep {
        /// Which setting.
        setting: Setting,
        /// Its value in the forks.
        value: String,
    },
    /// `diff A [B] [within X]`.
    Diff {
        /// The reference.
        a: Side,
        /// What is told; this timeline without.
        b: Option<Side>,
        /// Relative differences up to this are none.
        tolerance: Option<f64>,
    },
    /// `help [COMMAND]`.
    Help(Option<&'static Verb>),
    /// `quit`.
    Quit,
}

/// Why a line is no command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The first word is no verb.
    #[error(transparent)]
    Verb(#[from] VerbError),
    /// A verb with the wrong words behind it.
    #[error("{verb}: {found}; expected {}", expected(verb, usage, example))]
    Arguments {
        /// The verb.
        verb: &'static str,
        /// What is wrong.
        found: String,
        /// What may follow.
        usage: &'static str,
        /// A line that works.
        example: &'static str,
    },
    /// A condition that is no expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

/// `next [N]`, such as `next 5`; where there is nothing to choose, just that.
fn expected(verb: &str, usage: &str, example: &str) -> String {
    let usage = format!("{verb} {usage}");
    if usage.trim_end() == example {
        format!("`{example}`")
    } else {
        format!("`{}`, such as `{example}`", usage.trim_end())
    }
}

impl Command {
    /// Parses a line; `None` for an empty one or a comment (`# …`).
    ///
    /// # Errors
    /// [`CommandError`] says what was found and what would be right.
    pub fn parse(line: &str) -> Result<Option<Self>, CommandError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let verb = Verb::find(word)?;
        Self::parse_arguments(verb, rest.trim()).map(Some)
    }

    /// Whether a session is afterwards where it was, and as it was.
    pub fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Backtrace
                | Self::List
                | Self::Display(_)
                | Self::Undisplay(_)
                | Self::Show(_)
                | Self::Attention { .. }
                | Self::Effect { .. }
                | Self::SetPreview(_)
                | Self::Info(_)
                | Self::Modules(_)
                | Self::Features { .. }
                | Self::TimeMap { .. }
                | Self::Print(_)
                | Self::Save { .. }
                | Self::Diff { .. }
                | Self::Help(_)
                | Self::Quit
        )
    }

    /// Whether it goes somewhere, and what it says is of that place.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Self::Next(_)
                | Self::Step(_)
                | Self::Finish
                | Self::Back(_)
                | Self::Continue
                | Self::ReverseContinue
                | Self::Until(_)
                | Self::Goto(_)
                | Self::Restart
                | Self::Fork { .. }
                | Self::Switch(_)
                | Self::Compare(_)
                | Self::CompareAgain
                | Self::CompareBase(_)
                | Self::Sweep { .. }
        )
    }

    fn parse_arguments(verb: &'static Verb, rest: &str) -> Result<Self, CommandError> {
        let wrong = |found: String| CommandError::Arguments {
            verb: verb.name,
            found,
            usage: verb.usage,
            example: verb.example,
        };
        let unwanted = || wrong(format!("`{rest}` is not expected"));
        let count = || match rest {
            "" => Ok(1),
            _ => match rest.parse::<usize>() {
                Ok(n) if n > 0 => Ok(n),
                _ => Err(wrong(format!("`{rest}` is no count of 1 or more"))),
            },
        };
        let place = |text: &str| parse_place(text).map_err(wrong);
        let plain = |command| if rest.is_empty() { Ok(command) } else { Err(unwanted()) };
        match verb.name {
            "next" => Ok(Self::Next(count()?)),
            "step" => Ok(Self::Step(count()?)),
            "finish" => plain(Self::Finish),
            "backtrace" => plain(Self::Backtrace),
            "list" => plain(Self::List),
            "back" => Ok(Self::Back(count()?)),
            "continue" => plain(Self::Continue),
            "reverse-continue" => plain(Self::ReverseContinue),
            "until" => Ok(Self::Until(place(rest)?)),
            "goto" => Ok(Self::Goto(place(rest)?)),
            "restart" => plain(Self::Restart),
            "break" | "tbreak" => {
                let (at, condition) = match rest.split_once(" if ") {
                    Some((at, condition)) => (at.trim(), Some(Expression::compile(condition)?)),
                    None => (rest, None),
                };
                Ok(Self::Break {
                    stop: parse_stop(at).map_err(wrong)?,
                    condition,
                    temporary: verb.name == "tbreak",
                })
            }
            "delete" => match rest.split_once(char::is_whitespace) {
                _ if rest.is_empty() => Ok(Self::Delete(None)),
                Some(("timeline", name)) => Ok(Self::DeleteTimeline(unquoted(name.trim()).into())),
                _ if rest == "timeline" => Err(wrong("no timeline named".into())),
                _ => match rest.parse() {
                    Ok(id) => Ok(Self::Delete(Some(id))),
                    Err(_) => Err(wrong(format!("`{rest}` is no number of a breakpoint"))),
                },
            },
            "info" => match rest {
                "" => Err(wrong("nothing named".into())),
                _ if "breakpoints".starts_with(rest) => Ok(Self::Info(Topic::Breakpoints)),
                _ if "display".starts_with(rest) => Ok(Self::Info(Topic::Display)),
                _ if "frame".starts_with(rest) => Ok(Self::Info(Topic::Frame)),
                _ if rest.split_whitespace().next().is_some_and(|word| "modules".starts_with(word)) => {
                    arguments::parse_modules(rest).map_err(wrong)
                }
                _ if "request".starts_with(rest) => Ok(Self::Info(Topic::Request)),
                _ if "scheduler".starts_with(rest) => Ok(Self::Info(Topic::Scheduler)),
                _ if "tensors".starts_with(rest) => Ok(Self::Info(Topic::Tensors)),
                _ if "timelines".starts_with(rest) => Ok(Self::Info(Topic::Timelines)),
                _ => Err(wrong(format!("nothing is known of `{rest}`"))),
            },
            "catch" => match rest {
                "nan" => Ok(Self::CatchNan),
                _ if rest.starts_with("if ") => Ok(Self::CatchIf(Expression::compile(&rest[3..])?)),
                "" => Err(wrong("nothing named".into())),
                _ => Err(wrong(format!("`{}` cannot be caught", abridged(rest)))),
            },
            "display" if rest.is_empty() => Ok(Self::Display(None)),
            "display" => Ok(Self::Display(Some(Expression::compile(rest)?))),
            "undisplay" => match rest {
                "" => Ok(Self::Undisplay(None)),
                _ => match rest.parse() {
                    Ok(id) => Ok(Self::Undisplay(Some(id))),
                    Err(_) => Err(wrong(format!("`{}` is no number of a display", abridged(rest)))),
                },
            },
            "show" | "save" if arguments::is_inside(rest) => {
                arguments::parse_inside(rest, verb.name == "save").map_err(wrong)
            }
            "show" if rest.is_empty() => Err(wrong("nothing named".into())),
            "show" => match attention::parse(rest, false) {
                Some(parsed) => parsed.map_err(wrong),
                None => Ok(Self::Show(rest.into())),
            },
            "print" if rest.is_empty() => Err(wrong("nothing named".into())),
            "print" => Ok(Self::Print(rest.into())),
            "set" => parse_set(rest).map_err(wrong),
            "save" => match (attention::parse(rest, true), rest.split_once(char::is_whitespace)) {
                (Some(parsed), _) => parsed.map_err(wrong),
                (None, Some((what, file))) => {
                    Ok(Self::Save { what: what.into(), file: unquoted(file.trim()).into() })
                }
                (None, None) => Err(wrong("a name and a file are needed".into())),
            },
            "fork" => parse_fork(rest).map_err(wrong),
            "switch" if rest.is_empty() => Err(wrong("no timeline named".into())),
            "switch" => Ok(Self::Switch(unquoted(rest).into())),
            "rename" => match rest.split_whitespace().collect::<Vec<_>>()[..] {
                [new] => Ok(Self::Rename { old: None, new: new.into() }),
                [old, new] => Ok(Self::Rename { old: Some(old.into()), new: new.into() }),
                _ => Err(wrong(format!("`{}` is not one name or two", abridged(rest)))),
            },
            "compare" => match rest.split_once(char::is_whitespace).unwrap_or((rest, "")) {
                ("", _) => Ok(Self::CompareAgain),
                ("off", "") => Ok(Self::CompareOff),
                ("base", name) if !name.trim().is_empty() => Ok(Self::CompareBase(name.trim().into())),
                _ => Plan::parse(rest).map(Self::Compare).map_err(wrong),
            },
            "patch" => parse_patch(rest).map_err(wrong),
            "sweep" => parse_sweep(rest).map_err(wrong),
            "diff" => parse_diff(rest).map_err(wrong),
            "help" => match rest {
                "" => Ok(Self::Help(None)),
                _ => Ok(Self::Help(Some(Verb::find(rest)?))),
            },
            _ => plain(Self::Quit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::verbs::VERBS;
    use super::*;
    use crate::pipeline::Stage;
    use proptest::prelude::*;

    fn said(line: &str) -> String {
        Command::parse(line).unwrap_err().to_string()
    }

    #[test]
    fn short_forms_and_beginnings() {
        for (line, verb) in
            [("n", "next"), ("c", "continue"), ("rc", "reverse-continue"), ("cont", "continue")]
        {
            assert_eq!(Verb::find(line).unwrap().name, verb);
            assert!(Command::parse(line).unwrap().is_some());
        }
        assert!(said("re").contains("could be reverse-continue or restart"));
        assert!(said("walk").starts_with("`walk` is no command; expected one of next, back"));
        // A slip of a finger, and gdb's words for what has another one here.
        for (line, meant) in [("brake denoise", "break"), ("contineu", "continue"), ("where", "backtrace")] {
            assert!(said(line).contains(&format!("did you mean `{meant}`?")), "{}", said(line));
        }
        assert_eq!(
            said("catch all"),
            "catch: `all` cannot be caught; expected `catch nan|if EXPR`, such as `catch if t(path).max > 1000.0`"
        );
        assert_eq!(said("list 5"), "list: `5` is not expected; expected `list`");
        assert!(Command::parse("  # a comment").unwrap().is_none());
    }

    #[test]
    fn every_example_parses() {
        for verb in VERBS {
            assert!(Command::parse(verb.example).unwrap().is_some(), "{}", verb.example);
        }
    }

    /// Lines of a block of the README are commands as they stand there: nothing but words of the language is in them.
    #[test]
    fn what_the_readme_shows_can_be_typed() {
        let readme = include_str!("../../README.md");
        let indented = readme.lines().filter_map(|line| line.strip_prefix("    "));
        let (shell, commands): (Vec<&str>, Vec<&str>) =
            indented.partition(|line| line.starts_with("cargo ") || line.starts_with("diffuscope"));
        assert!(shell.len() > 10 && commands.len() > 20, "{commands:?}");
        for line in commands {
            let parsed = Command::parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert!(
                parsed.is_none() || !line.contains('#'),
                "a comment behind a command is part of it: {line}"
            );
        }
    }

    #[test]
    fn places() {
        let at = |text| parse_place(text).unwrap();
        assert_eq!(at("denoise"), Place::AnyStep);
        for text in ["denoise 12", "denoise.012", "denoise 012"] {
            assert_eq!(at(text), Place::Stage(Stage::Denoise { step: 12 }));
        }
        assert!(said("break mid_block").contains("`mid_block` is no stage"));
        assert!(matches!(
            Command::parse("break unet.*.attn2 if t(path).max > 40.0"),
            Ok(Some(Command::Break { stop: Stop::Module(_), condition: Some(_), temporary: false }))
        ));
        assert!(said("until denoise -1").contains("is no stage"));
    }

    #[test]
    fn a_setting_with_or_without_equals_and_quotes() {
        for line in ["set prompt a cat", "set prompt = a cat", "set prompt=\"a cat\""] {
            let Some(Command::Set { setting: Setting::Prompt, value }) = Command::parse(line).unwrap() else {
                panic!("{line}")
            };
            assert_eq!(value, "a cat");
        }
        assert!(
            matches!(Command::parse("set negative_prompt \"\""), Ok(Some(Command::Set { value, .. })) if value.is_empty())
        );
        assert!(said("set sampler ddim").contains("`sampler` is no setting: prompt, negative_prompt"));
        assert!(said("set seed").contains("no value"));
    }

    #[test]
    fn errors_teach() {
        assert_eq!(
            said("next 0"),
            "next: `0` is no count of 1 or more; expected `next [N]`, such as `next 5`"
        );
        assert!(said("break denoise if latents.std >").contains("latents.std >"));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,80}") {
            let _ = Command::parse(&line);
        }

        #[test]
        fn no_arguments_make_it_panic(verb in 0..VERBS.len(), rest in "[a-z0-9_ .=\"()<>&|-]{0,60}") {
            let _ = Command::parse(&format!("{} {rest}", VERBS[verb].name));
        }
    }
}

//! The command language: gdb's words where gdb has one.

use super::arguments::ArgumentError;
use super::attention::AttentionQuery;
use super::edit::Edit;
use super::features::FeatureQuery;
use super::intervention::ModuleEdit;
use super::pattern::Pattern;
use super::place::{Place, Stop};
use super::plan::Plan;
use super::setting::{PreviewPolicy, Setting, Side, Topic};
use super::verbs::{Class, Verb, VerbError};
use crate::debugger::expr::{Expression, ExpressionError};
use crate::debugger::text::quoted;
use crate::pipeline::Fault;
use std::fmt;
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
        looking: AttentionQuery,
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
    Intervene(ModuleEdit),
    /// `patch MODULE from TIMELINE`: this step with what that module made there.
    Patch {
        /// The module.
        module: Pattern,
        /// The timeline that its output is taken from.
        timeline: String,
    },
    /// `set preview every N|off`.
    SetPreview(PreviewPolicy),
    /// `delete [N]`: one breakpoint, or all.
    Delete(Option<usize>),
    /// `info modules [PATTERN]`.
    Modules(Option<Pattern>),
    /// `show features PATH [HOW] [ROW]` and `save features PATH FILE [HOW] [ROW]`.
    Features {
        /// What is drawn, and how.
        asked: FeatureQuery,
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
    #[error("{verb}: {found}{}", expected(verb, found, usage, example))]
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

/// `; expected next [N]`, such as `next 5`; where there is nothing to choose, just that; and nothing where `found` says already
/// what would be right.
fn expected(verb: &str, found: &str, usage: &str, example: &str) -> String {
    if found.starts_with("expected ") || found.contains("; expected ") || found.contains(": expected ") {
        return String::new();
    }
    let usage = format!("{verb} {usage}");
    if usage.trim_end() == example {
        format!("; expected `{example}`")
    } else {
        format!("; expected `{}`, such as `{example}`", usage.trim_end())
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

    fn parse_arguments(verb: &'static Verb, rest: &str) -> Result<Self, CommandError> {
        (verb.parse)(rest).map_err(|error| match error {
            ArgumentError::Found(found) => {
                CommandError::Arguments { verb: verb.name, found, usage: verb.usage, example: verb.example }
            }
            ArgumentError::Expression(error) => error.into(),
            ArgumentError::Verb(error) => error.into(),
        })
    }

    /// What it does to a session.
    pub fn class(&self) -> Class {
        match self {
            Self::SetPreview(_) => Class::ReadOnly,
            Self::CompareOff => Class::Edits,
            _ => Verb::find(self.words().0).map_or(Class::Edits, |verb| verb.class),
        }
    }

    /// Whether a session is afterwards where it was, and as it was.
    pub fn is_read_only(&self) -> bool {
        self.class() == Class::ReadOnly
    }

    /// Whether it moves the cursor, so that what it shows is of the place it came to.
    pub fn moves_cursor(&self) -> bool {
        self.class() == Class::Moves
    }

    /// Its verb, and what follows it.
    fn words(&self) -> (&'static str, String) {
        let counted = |count: usize| if count == 1 { String::new() } else { count.to_string() };
        let optional = |id: Option<usize>| id.map_or(String::new(), |id| id.to_string());
        let to_file = |what: String, file: &Option<PathBuf>, rest: String| match file {
            Some(file) => ("save", joined([what, quoted(&file.display().to_string()), rest])),
            None => ("show", joined([what, rest])),
        };
        match self {
            Self::Step(count) => ("step", counted(*count)),
            Self::Finish => ("finish", String::new()),
            Self::Backtrace => ("backtrace", String::new()),
            Self::List => ("list", String::new()),
            Self::Next(count) => ("next", counted(*count)),
            Self::Back(count) => ("back", counted(*count)),
            Self::Continue => ("continue", String::new()),
            Self::ReverseContinue => ("reverse-continue", String::new()),
            Self::Until(place) => ("until", place.to_string()),
            Self::Goto(place) => ("goto", place.to_string()),
            Self::Restart => ("restart", String::new()),
            Self::Break { stop, condition, temporary } => {
                let condition = condition.as_ref().map_or(String::new(), |c| format!("if {}", c.text()));
                (if *temporary { "tbreak" } else { "break" }, joined([stop.to_string(), condition]))
            }
            Self::CatchNan => ("catch", "nan".into()),
            Self::CatchIf(condition) => ("catch", format!("if {}", condition.text())),
            Self::Display(expression) => {
                ("display", expression.as_ref().map_or(String::new(), |e| e.text().into()))
            }
            Self::Undisplay(id) => ("undisplay", optional(*id)),
            Self::Show(name) => ("show", name.clone()),
            Self::Attention { looking, file } => {
                to_file(joined(["attention".into(), looking.subject.to_string()]), file, looking.places())
            }
            Self::Effect { word, step, file } => {
                let step = step.map_or(String::new(), |step| format!("step {step}"));
                to_file(format!("effect {}", quoted(word)), file, step)
            }
            Self::SetFault(fault) => {
                ("set", format!("fault {}", fault.map_or("off".into(), |f| f.to_string())))
            }
            Self::Edit(edit) => ("set", edit.text().into()),
            Self::Intervene(edit) => ("set", edit.text().into()),
            Self::Patch { module, timeline } => ("patch", format!("{module} from {timeline}")),
            Self::SetPreview(PreviewPolicy::Off) => ("set", "preview off".into()),
            Self::SetPreview(PreviewPolicy::Every(n)) => ("set", format!("preview every {n}")),
            Self::Delete(id) => ("delete", optional(*id)),
            Self::Modules(pattern) => (
                "info",
                joined(["modules".into(), pattern.as_ref().map_or(String::new(), ToString::to_string)]),
            ),
            Self::Features { asked, file } => to_file(
                format!("features {}", asked.path),
                file,
                joined([asked.drawn.name().into(), asked.row.name().into()]),
            ),
            Self::TimeMap { within, file } => {
                to_file("timemap".into(), file, within.map_or(String::new(), |x| format!("within {x:?}")))
            }
            Self::Info(topic) => ("info", topic.name().into()),
            Self::Print(text) => ("print", text.clone()),
            Self::Set { setting, value } => ("set", format!("{} = \"{value}\"", setting.name())),
            Self::Save { what, file } => {
                ("save", joined([what.clone(), quoted(&file.display().to_string())]))
            }
            Self::Fork { name, at } => {
                let at = at.map_or(String::new(), |at| format!("at {at}"));
                ("fork", joined([name.as_deref().map_or(String::new(), quoted), at]))
            }
            Self::Switch(name) => ("switch", quoted(name)),
            Self::Rename { old, new } => ("rename", joined([old.clone().unwrap_or_default(), new.clone()])),
            Self::DeleteTimeline(name) => ("delete", format!("timeline {}", quoted(name))),
            Self::Compare(plan) => ("compare", plan.line()),
            Self::CompareAgain => ("compare", String::new()),
            Self::CompareOff => ("compare", "off".into()),
            Self::CompareBase(name) => ("compare", format!("base {name}")),
            Self::Sweep { setting, value } => ("sweep", format!("{} = \"{value}\"", setting.name())),
            Self::Diff { a, b, tolerance } => {
                let b = b.as_ref().map_or(String::new(), ToString::to_string);
                let within = tolerance.map_or(String::new(), |x| format!("within {x:?}"));
                ("diff", joined([a.to_string(), b, within]))
            }
            Self::Help(verb) => ("help", verb.map_or(String::new(), |verb| verb.name.into())),
            Self::Quit => ("quit", String::new()),
        }
    }
}

/// Parts of a line with a space between them; empty ones are left out.
fn joined<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

impl fmt::Display for Command {
    /// The command as a line that parses to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, rest) = self.words();
        f.write_str(verb)?;
        if rest.is_empty() { Ok(()) } else { write!(f, " {rest}") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::parse_place;
    use super::*;
    use crate::debugger::language::verbs::VERBS;
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

    /// Each indented line of the README and of the pages with commands is a shell line or a command of the debugger.
    #[test]
    fn what_the_readme_shows_can_be_typed() {
        let readme = include_str!("../../../README.md");
        let pages = [
            include_str!("../../../docs/attention.md"),
            include_str!("../../../docs/commands.md"),
            include_str!("../../../docs/gpu.md"),
            include_str!("../../../docs/img2img.md"),
            include_str!("../../../docs/models.md"),
            include_str!("../../../docs/modules.md"),
            include_str!("../../../docs/png.md"),
            include_str!("../../../docs/timelines.md"),
        ];
        let is_shell = |line: &&str| line.starts_with("cargo ") || line.starts_with("diffuscope");
        let indented = |page: &'static str| page.lines().filter_map(|line| line.strip_prefix("    "));
        let (shell, commands): (Vec<&str>, Vec<&str>) = indented(readme).partition(is_shell);
        assert!(shell.len() > 10 && commands.len() > 20, "{commands:?}");
        let more = pages.into_iter().flat_map(indented).filter(|line| !is_shell(line));
        for line in commands.into_iter().chain(more) {
            let parsed = Command::parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert!(
                parsed.is_none() || !line.contains('#'),
                "a comment after a command is part of it: {line}"
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
        assert!(said("set sampler ddim").contains("unknown setting `sampler`: prompt, negative_prompt"));
        assert!(said("set seed").contains("no value"));
    }

    /// A line of every form that a command has.
    const LINES: [&str; 52] = [
        "step 3",
        "finish",
        "backtrace",
        "list",
        "next",
        "back 2",
        "continue",
        "reverse-continue",
        "until denoise",
        "goto denoise 5",
        "restart",
        "break denoise if latents.std > 1.0",
        "tbreak unet.*.attn2",
        "catch nan",
        "catch if t(path).max > 1000.0",
        "display",
        "display latents.std",
        "undisplay",
        "undisplay 2",
        "show difference",
        "show attention",
        "show attention \"red apple\" step 3 layer unet.mid_block head 1",
        "show attention at 3,4 over-steps",
        "save attention apple \"a b.gif\" over-steps",
        "show effect apple step 2",
        "save effect apple out.png",
        "set fault no_denormalize",
        "set fault off",
        "set latents[0,:,8,8] = 0",
        "set t(\"unet.mid_block\") *= 0",
        "patch unet.up_blocks.1 from main",
        "set preview every 3",
        "set preview off",
        "delete",
        "delete 4",
        "info modules unet.*.attn2",
        "show features unet.mid_block mean uncond",
        "save features unet.mid_block out.png",
        "show timemap within 0.25",
        "save timemap out.png",
        "info scheduler",
        "print latents.std",
        "set prompt a \"red\" apple",
        "set negative_prompt \"\"",
        "save latents \"my latents.safetensors\"",
        "fork wilder at denoise 5",
        "rename old new",
        "delete timeline wilder",
        "compare guidance_scale 1,3 by seed 1-3 here",
        "compare prompt \"a cat\" | a dog",
        "compare word apple: pear | orange",
        "diff @2 main within 0.001",
    ];

    #[test]
    fn a_command_is_written_as_a_line_that_parses_to_it() {
        let examples = VERBS.iter().map(|verb| verb.example);
        for line in LINES.into_iter().chain(examples) {
            let command = Command::parse(line).unwrap().unwrap();
            assert_eq!(Command::parse(&command.to_string()).unwrap(), Some(command), "{line}");
        }
    }

    #[test]
    fn a_class_says_what_a_command_does() {
        let class = |line: &str| Command::parse(line).unwrap().unwrap().class();
        assert_eq!((class("show latents"), class("set preview off")), (Class::ReadOnly, Class::ReadOnly));
        assert_eq!((class("next 3"), class("compare seed 1,2")), (Class::Moves, Class::Moves));
        assert_eq!((class("set eta 0.5"), class("compare off")), (Class::Edits, Class::Edits));
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
        fn what_parses_is_written_and_parsed_again(
            verb in 0..VERBS.len(),
            // Quotes that do not pair have no line of their own; quotes that do are in `LINES`.
            rest in "[a-z0-9_ .=()<>&|@,:-]{0,40}",
            known in 0..LINES.len(),
            more in "[a-z0-9 ]{0,8}",
        ) {
            for line in [format!("{} {rest}", VERBS[verb].name), format!("{}{more}", LINES[known])] {
                if let Ok(Some(command)) = Command::parse(&line) {
                    let again = Command::parse(&command.to_string());
                    prop_assert_eq!(again.ok().flatten(), Some(command), "{}", line);
                }
            }
        }

        #[test]
        fn no_arguments_make_it_panic(verb in 0..VERBS.len(), rest in "[a-z0-9_ .=\"()<>&|-]{0,60}") {
            let _ = Command::parse(&format!("{} {rest}", VERBS[verb].name));
        }
    }
}

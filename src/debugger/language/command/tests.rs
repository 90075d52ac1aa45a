use super::*;
use crate::debugger::language::arguments::{BreakAt, Set};
use crate::debugger::language::place::{Place, Stop, parse_place};
use crate::debugger::language::verbs::VERBS;
use crate::pipeline::{Setting, Stage};
use proptest::prelude::*;

fn said(line: &str) -> String {
    Command::parse(line).unwrap_err().to_string()
}

#[test]
fn short_forms_and_beginnings() {
    for (line, verb) in [("n", "next"), ("c", "continue"), ("rc", "reverse-continue"), ("cont", "continue")] {
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
    let readme = include_str!("../../../../README.md");
    let pages = [
        include_str!("../../../../docs/attention.md"),
        include_str!("../../../../docs/commands.md"),
        include_str!("../../../../docs/gpu.md"),
        include_str!("../../../../docs/img2img.md"),
        include_str!("../../../../docs/models.md"),
        include_str!("../../../../docs/modules.md"),
        include_str!("../../../../docs/png.md"),
        include_str!("../../../../docs/timelines.md"),
    ];
    let is_shell = |line: &&str| line.starts_with("cargo ") || line.starts_with("diffuscope");
    let indented = |page: &'static str| page.lines().filter_map(|line| line.strip_prefix("    "));
    let (shell, commands): (Vec<&str>, Vec<&str>) = indented(readme).partition(is_shell);
    assert!(shell.len() > 10 && commands.len() > 20, "{commands:?}");
    let more = pages.into_iter().flat_map(indented).filter(|line| !is_shell(line));
    for line in commands.into_iter().chain(more) {
        let parsed = Command::parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(parsed.is_none() || !line.contains('#'), "a comment after a command is part of it: {line}");
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
        Ok(Some(Command::Break(BreakAt { stop: Stop::Module(_), condition: Some(_) })))
    ));
    assert!(said("until denoise -1").contains("is no stage"));
}

#[test]
fn a_setting_with_or_without_equals_and_quotes() {
    for line in ["set prompt a cat", "set prompt = a cat", "set prompt=\"a cat\""] {
        let Some(Command::Set(Set::Setting { setting, value })) = Command::parse(line).unwrap() else {
            panic!("{line}")
        };
        assert_eq!((setting.name(), &*value), ("prompt", "a cat"));
    }
    assert!(
        matches!(Command::parse("set negative_prompt \"\""), Ok(Some(Command::Set(Set::Setting { value, .. }))) if value.is_empty())
    );
    assert!(said("set sampler ddim").contains("unknown setting `sampler`: prompt, negative_prompt"));
    assert!(said("set seed").contains("no value"));
}

/// A line of every form that a command has.
const LINES: [&str; 58] = [
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
    "undo",
    "redo",
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
    "info schedules",
    "info schedules euler dpm++2m-karras",
    "convergence",
    "convergence euler heun",
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
    assert_eq!(said("next 0"), "next: `0` is no count of 1 or more; expected `next [N]`, such as `next 5`");
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
    fn a_setting_is_written_and_parsed_again(which in 0usize..100, value in "[ -~]{0,12}", quoted in any::<bool>()) {
        let all: Vec<Setting> = Setting::all().filter(|setting| setting.name() != "fault").collect();
        let setting = &all[which % all.len()];
        let line = if quoted { format!("set {setting} \"{value}\"") } else { format!("set {setting} {value}") };
        if let Ok(Some(command)) = Command::parse(&line) {
            let again = Command::parse(&command.to_string());
            prop_assert_eq!(again.ok().flatten(), Some(command), "{}", line);
        }
    }

    #[test]
    fn no_arguments_make_it_panic(verb in 0..VERBS.len(), rest in "[a-z0-9_ .=\"()<>&|-]{0,60}") {
        let _ = Command::parse(&format!("{} {rest}", VERBS[verb].name));
    }
}

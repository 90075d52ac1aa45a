//! Prompts, arguments, and files of commands and lessons.

use super::{Ends, Row, judge, words};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

fn row(what: &str, args: Vec<OsString>, stdin: impl Into<Vec<u8>>, ends: Ends) -> Row {
    Row { what: what.into(), args, stdin: stdin.into(), ends, as_nobody: false }
}

fn refused(said: &[&str]) -> Ends {
    Ends::Refused(said.iter().map(|said| said.to_string()).collect())
}

/// A trace that can be read.
const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/traces/no_bias.trace");
const SMALL: &str = "--steps 1 --width 16 --height 16";

#[test]
fn prompts_and_what_is_typed() {
    let batch = || words(&format!("debug --batch -x - {SMALL}"));
    let mega = "apple ".repeat(1 << 18);
    let tall = "a".repeat(100_001);
    #[rustfmt::skip]
    let rows = [
        row("NUL in a prompt",          batch(), "set prompt \"a\0b\"",              refused(&["stdin: line 1: ", "prompt has a NUL character at byte 1"])),
        row("NUL in the other",         batch(), "set negative_prompt \"\0\"",       refused(&["stdin: line 1: ", "negative_prompt has a NUL"])),
        row("NUL for a command",        batch(), "\0",                               refused(&["stdin: line 1: ", "no command"])),
        row("1 MB in a prompt",         batch(), format!("set prompt \"{mega}\""),   refused(&["stdin: line 1", "131072 bytes"])),
        row("1 MB without a line",      batch(), mega.clone(),                       refused(&["stdin: line 1", "131072 bytes"])),
        row("too long a prompt",        batch(), format!("set prompt \"{tall}\""),   refused(&["stdin: line 1", "prompt has 100001 bytes"])),
        row("a long prompt",            batch(), format!("set prompt \"{}\"\nnext", &mega[..90_000]), Ends::Works),
        row("too long an expression",   batch(), format!("print {}", "(".repeat(2000)), refused(&["stdin: line 1: "])),
        row("a deep expression",        batch(), format!("print {}1", "-".repeat(900)), refused(&["stdin: line 1: "])),
        row("a line that is not UTF-8", batch(), b"next\nset prompt \"\xff\"\n".to_vec(), refused(&["stdin: line 2: expected text in UTF-8"])),
        row("too long an argument",     [words(&format!("run {SMALL} --prompt")), vec![tall.clone().into()]].concat(), "", refused(&["prompt has 100001 bytes"])),
        row("an endless file",          words(&format!("debug --batch -x /dev/zero {SMALL}")), "", refused(&["/dev/zero: line 1", "131072 bytes"])),
        row("an endless lesson",        words("lesson check /dev/zero"),             "", refused(&["/dev/zero"])),
        row("an endless file of names", words(&format!("diff {TRACE} --names /dev/zero")), "", Ends::Usage(vec!["/dev/zero: it has more than".into()])),
        row("no file of names",         words(&format!("diff {TRACE} --names none.toml")), "", Ends::Usage(vec!["none.toml: No such file".into()])),
        row("a folder of names",        words(&format!("diff {TRACE} --names {TRACE}")),  "", Ends::Usage(vec!["Is a directory".into()])),
        row("names that are JSON",      words(&format!("diff {TRACE} --names {TRACE}/trace.json")), "", Ends::Usage(vec!["trace.json: line 1: ".into()])),
        row("an endless picture",       words(&format!("run {SMALL} --init-image /dev/zero")), "", refused(&["/dev/zero"])),
    ];
    judge(&rows);
}

#[test]
fn arguments_that_are_not_utf_8() {
    let odd = || OsString::from_vec(b"a\xffb".to_vec());
    let odd_png = OsString::from_vec(b"no\xff/a.png".to_vec());
    let with = |args: &str, last: OsString| [words(args), vec![last]].concat();
    let usage = || Ends::Usage(vec!["UTF-8".into()]);
    #[rustfmt::skip]
    let rows = [
        row("a prompt",         with("run --prompt", odd()),            "", usage()),
        row("another",          with("run --negative-prompt", odd()),   "", usage()),
        row("a model",          with("run --model", odd()),             "", usage()),
        row("a model to see",   with("model info", odd()),              "", usage()),
        row("a number",         with("run --steps", odd()),             "", usage()),
        row("a picture",        with("run --init-image", odd()),        "", usage()),
        row("a device",         with("run --device", odd()),            "", usage()),
        row("a setting",        with("compare seed", odd()),            "", usage()),
        row("a subcommand",     vec![odd()],                            "", Ends::Usage(vec![])),
        row("an option",        vec![OsString::from_vec(b"--\xff".to_vec())], "", Ends::Usage(vec![])),
        row("an output",        with("run --steps 1 -o", odd_png),      "", refused(&["a.png", "cannot be written"])),
        row("a lesson",         with("lesson check", odd()),            "", refused(&["No such file"])),
        row("commands",         with("debug --batch -x", odd()),        "", refused(&["cannot be read"])),
    ];
    judge(&rows);
}

/// A lesson's settings and commands are judged as those that are typed.
#[test]
fn lessons_with_bad_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, command: &str| {
        let file = folder.path().join(name);
        let front = "title: A\nsummary: B\nminutes: 1\nsettings: { num_inference_steps: 1 }";
        fs::write(&file, format!("---\n{front}\n---\n\n```dbg\n{command}\n```\n")).unwrap();
        [words("lesson check"), vec![file.into()]].concat()
    };
    let nul = of("nul.md", "set prompt \"a\0b\"");
    let long = of("long.md", &format!("set prompt \"{}\"", "apple ".repeat(1 << 18)));
    let huge = of("huge.md", &"apple ".repeat(1 << 20));
    for (what, args, said) in
        [("NUL", nul, "nul.md"), ("1 MB", long, "long.md"), ("6 MB", huge, "huge.md: it has more than")]
    {
        // Where a lesson is wrong is told with its lines around it.
        let folder = tempfile::tempdir().unwrap();
        let ran = super::run(
            super::limited(
                std::path::Path::new(env!("CARGO_BIN_EXE_diffuscope")),
                &args,
                folder.path(),
                super::MEMORY,
            ),
            b"",
        );
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(1), "{what}: {}", told.chars().take(500).collect::<String>());
        assert!(told.contains(said) && !told.contains("panicked"), "{what}");
    }
}

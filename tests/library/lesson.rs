//! Lessons: they are true, they notice what breaks them, and what is wrong with a file is told with its place.

use crate::models::BUNDLED;
use crate::support::program::diffuscope;
use diffuscope::lesson::check::check;
use diffuscope::lesson::format::Part;
use diffuscope::lesson::playing::LessonEvent;
use diffuscope::lesson::problem::Source;
use diffuscope::lesson::{Lesson, LessonRunner, Library};
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;

#[test]
fn every_lesson_is_true_in_every_language() {
    let library = Library::bundled();
    let checked = check(&library, &BUNDLED, |_| {});
    let reports: String = checked.problems.iter().map(|problem| problem.report(false)).collect();
    assert!(checked.problems.is_empty(), "{reports}");
    assert_eq!(checked.lessons, 2 * library.entries.len());
    assert!(checked.holds > 10 * checked.lessons);
}

/// How many things are wrong with a lesson when these commands are run before it.
fn problems_after(name: &str, commands: &[&str]) -> usize {
    let library = Library::bundled();
    let lesson = Lesson::read(library.find(name).unwrap().source("en").unwrap().clone()).unwrap();
    let mut problems = 0;
    let mut playing = LessonRunner::start_with(&lesson, Arc::clone(&BUNDLED), commands).unwrap();
    playing.play(&mut |told| problems += usize::from(matches!(told, LessonEvent::Problem(_))));
    problems
}

#[test]
fn lessons_notice_what_breaks_their_subject() {
    for (lesson, broken) in [
        ("00-noise-on-purpose", ["set fault epsilon_for_v", "set fault wrong_timestep", "set strength 0.5"]),
        ("01-the-four-stages", ["set fault no_denormalize", "set fault nan_in latents", "set height 64"]),
        (
            "02-encode-prompt",
            ["set fault nan_in prompt_embeds", "set fault swapped_residuals", "set negative_prompt blue"],
        ),
        ("03-get-latent", ["set fault transposed_latents", "set fault nan_in latents", "set seed 7"]),
        ("04-denoise", ["set fault epsilon_for_v", "set fault swapped_residuals", "set eta 1"]),
        (
            "05-guidance",
            [
                "set fault nan_in guided_noise_residual",
                "set fault nan_in text_cond_residual",
                "set num_inference_steps 5",
            ],
        ),
        ("06-ddim", ["set fault epsilon_for_v", "set eta 1", "set num_inference_steps 5"]),
        (
            "07-vae-decode",
            ["set fault no_denormalize", "set fault no_scaling_factor", "set fault nan_in image"],
        ),
        (
            "08-when-it-goes-wrong",
            ["set fault no_denormalize", "set fault wrong_timestep", "set fault nan_in latents"],
        ),
        (
            "09-the-unet",
            ["set fault wrong_timestep", "set fault swapped_residuals", "set num_inference_steps 5"],
        ),
        (
            "10-attention",
            [
                "set fault nan_in prompt_embeds",
                "set fault swapped_residuals",
                "set prompt red apple on a green background",
            ],
        ),
    ] {
        assert_eq!(problems_after(lesson, &[]), 0, "{lesson}");
        for command in broken {
            assert!(problems_after(lesson, &[command]) > 0, "{lesson} does not notice `{command}`");
        }
    }
}

/// A lesson around `body`.
fn lesson(body: &str) -> String {
    format!("---\ntitle: T\nsummary: S\nminutes: 1\n---\n\n{body}\n")
}

/// A checkout of another system may have other ends of lines.
#[test]
fn a_lesson_may_end_its_lines_as_windows_does() {
    let library = Library::bundled();
    for source in library.entries.iter().flat_map(|entry| entry.sources()) {
        let of = |text: String| Lesson::read(Source::new("a.md", text)).unwrap();
        let unix = source.text().replace("\r\n", "\n");
        let (windows, unix) = (of(unix.replace('\n', "\r\n")), of(unix));
        assert_eq!(windows.front, unix.front);
        assert_eq!(windows.settings, unix.settings);
        let kinds = |lesson: &Lesson| lesson.parts.iter().map(|part| part.kind()).collect::<Vec<_>>();
        assert_eq!(kinds(&windows), kinds(&unix));
        let lines = |lesson: &Lesson| -> Vec<String> {
            let of = |part: &Part| match part {
                Part::Commands(lines) => lines.iter().map(|line| line.text.clone()).collect(),
                _ => vec![],
            };
            lesson.parts.iter().flat_map(of).collect()
        };
        assert_eq!(lines(&windows), lines(&unix));
    }
}

fn first_problem(text: &str) -> String {
    match Lesson::read(Source::new("a.md", text)) {
        Ok(_) => panic!("nothing is wrong with:\n{text}"),
        Err(problems) => problems[0].report(false),
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place() {
    let block = |tag: &str, lines: &str| lesson(&format!("```{tag}\n{lines}\n```"));
    let front = |lines: &str| format!("---\n{lines}\n---\ntext\n");
    let cases = [
        (String::new(), "no front matter"),
        ("# A heading\n".into(), "no front matter"),
        ("---\n---\n".into(), "front matter"),
        (front("title: T"), "missing field `summary`"),
        (front("title: T\nsummary: S"), "missing field `minutes`"),
        (front("title: T\nsummary: S\nminutes: soon"), "minutes"),
        (front("title: T\nsummary: S\nminutes: -1"), "minutes"),
        (front("title: [T\nsummary: S\nminutes: 1"), "title"),
        (front("title: T\nsummary: S\nminutes: 1\nauthor: me"), "unknown field `author`"),
        (front("title: T\nsummary: S\nminutes: 1\nsettings: 3"), "settings"),
        (front("title: T\nsummary: S\nminutes: 1\nsettings:\n  sampler: ddim"), "unknown setting `sampler`"),
        (front("title: T\nsummary: S\nminutes: 1\nsettings:\n  seed: many"), "seed"),
        (front("title: T\nsummary: S\nminutes: 1\nsettings:\n  preview: off"), "preview cannot be"),
        (front("title: T\nsummary: S\nminutes: 1\nbuilds_on: 3"), "builds_on"),
        (block("dgb", "next"), "unknown tag `dgb`"),
        (block("expects", "1 == 1"), "unknown tag `expects`"),
        (block("Dbg", "next"), "unknown tag `Dbg`"),
        (block("dbg", "walk"), "`walk` is no command"),
        (block("dbg", "next 0"), "no count of 1 or more"),
        (block("dbg", "next\ngoto nowhere"), "`nowhere` is no stage"),
        (block("dbg", "set seed"), "no value"),
        (block("dbg", "set seed many"), "seed cannot be `many`"),
        (block("dbg", "set latents[x] = 0"), "no part of a dimension"),
        (block("dbg", "set fault all"), "is no fault"),
        (block("dbg", "break denoise if latents.std >"), "latents.std >"),
        (block("dbg", "compare sampler 1,2"), "`sampler` cannot be compared"),
        (block("dbg", "save latents l.safetensors"), "`save` is refused in a lesson"),
        (block("dbg", "quit"), "`quit` is refused in a lesson"),
        (block("dbg", "re"), "could be"),
        (block("dbg", "# nothing"), "an empty dbg block"),
        (block("dbg", ""), "an empty dbg block"),
        (block("expect", ""), "an empty expect block"),
        (block("expect", "// nothing"), "an empty expect block"),
        (block("expect", "latents.std >"), "latents.std >"),
        (block("expect", "1 = 1"), "1 = 1"),
        (block("expect", "((("), "((("),
        (block("expect", "norm("), "norm("),
        (block("predict", ""), "without a question"),
        (block("predict", "Why?"), "with 0 choices"),
        (block("predict", "Why?\n- [x] so"), "with 1 choices"),
        (block("predict", "- [x] so\n- [ ] no\nbecause"), "without a question"),
        (block("predict", "Why?\n- [x] so\n- [ ] no"), "without an explanation"),
        (block("predict", "Why?\n- [ ] so\n- [ ] no\nbecause"), "no choice is right"),
        (block("predict", "Why?\n- so\n- [x] no\nbecause"), "neither right nor wrong"),
        (block("predict", "Why?\n- so | latents.std >\n- [x] no\nbecause"), "latents.std >"),
        (block("try", ""), "without the task itself"),
        (block("try", "Do it."), "without `expect: CONDITION`"),
        (block("try", "Do it.\nexpect: 1 == 1"), "without `solution: COMMAND`"),
        (block("try", "Do it.\nexpect: 1 ==\nsolution: next"), "1 =="),
        (block("try", "Do it.\nexpect: step == 1\nsolution: walk"), "`walk` is no command"),
        (block("try", "Do it.\nexpect: step == 1\nsolution: quit"), "`quit` is refused"),
        (block("dbg", "set strength"), "set"),
        (lesson("<!-- view: residual -->"), "unknown view `residual`"),
        (lesson("<!-- view: -->"), "unknown view ``"),
        (lesson("<!-- view: tensors --> and words"), "unknown view"),
        (lesson("words <!-- view: tensors --> and words"), "within other text"),
        (lesson("- an item\n\n  <!-- view: tensors -->"), "within other text"),
        (lesson("It is {{ latents.std."), "`{{` without `}}`"),
        (lesson("It is {{ }}."), "a.md:7"),
        (lesson("It is {{ latents.std > }}."), "latents.std >"),
    ];
    let texts: HashSet<&String> = cases.iter().map(|(text, _)| text).collect();
    assert!(texts.len() == cases.len() && cases.len() >= 50);
    for (text, expected) in cases {
        let report = first_problem(&text);
        assert!(report.contains(expected), "expected {expected} of:\n{text}\n{report}");
        let (line, column) = place(&report).unwrap_or_else(|| panic!("no place in {report}"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(line <= lines.len().max(1), "line {line} of:\n{text}");
        let columns = lines.get(line - 1).map_or(0, |line| line.chars().count());
        assert!(column <= columns + 1, "column {column} of line {line} of:\n{text}");
    }
}

/// Line and column of a report: `[a.md:8:1]`.
fn place(report: &str) -> Option<(usize, usize)> {
    let (_, rest) = report.split_once("[a.md:")?;
    let (line, column) = rest.split_once(']')?.0.split_once(':')?;
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    (line > 0 && column > 0).then_some((line, column))
}

#[test]
fn places_are_those_of_the_lines() {
    let block = |tag: &str, lines: &str| lesson(&format!("```{tag}\n{lines}\n```"));
    for (text, expected) in [
        (block("dbg", "next\n  walk"), (9, 3)),
        (block("dgb", "next"), (7, 1)),
        (block("expect", "1 == 1\nlatents.std >"), (9, 1)),
        (block("try", "Do it.\nexpect: 1 == 1\nsolution: walk"), (10, 1)),
        (lesson("It is\nso {{ latents.std > }}."), (8, 4)),
        (lesson("<!-- view: residual -->"), (7, 1)),
        ("---\ntitle: T\nsummary: S\nminutes: soon\n---\n".into(), (4, 1)),
    ] {
        let report = first_problem(&text);
        assert_eq!(place(&report).map(|(line, _)| line), Some(expected.0), "{report}");
        assert!(expected.1 == 1 || place(&report) == Some(expected), "{report}");
    }
}

#[test]
fn what_does_not_hold_is_told_with_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.md");
    let body = "```dbg\nnext 2\n```\n\n```expect\nlatents.std > 0.5\nlatents.shape[1] == 3 && latents.std < 0.5\n```";
    std::fs::write(&file, lesson(body)).unwrap();
    let ran = diffuscope(&["lesson", "check", file.to_str().unwrap()], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("1 lessons, 1 conditions hold, 1 problems"), "{}", ran.stdout);
    for part in ["wrong.md:13:1", "does not hold", "latents.shape[1] = 4, latents.std = "] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn languages_must_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, body: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, lesson(body)).unwrap();
    };
    let said = || diffuscope(&["lesson", "check", folder.path().to_str().unwrap()], "").stderr;
    write("en/01-a.md", "words\n\n```dbg\nnext\n```");
    assert!(said().contains("no translation: ja/01-a.md is missing"), "{}", said());
    write("ja/01-a.md", "言葉\n\n```dbg\nnext 2\n```");
    assert!(said().contains("this dbg block differs from"), "{}", said());
    write("ja/01-a.md", "言葉\n\n```dbg\nnext\n```\n\n```expect\nstep == -1\n```");
    assert!(said().contains("2 blocks; "), "{}", said());
    write("ja/01-a.md", "言葉\n\n<!-- view: tensors -->\n\n```dbg\nnext\n```");
    assert!(said().contains("this view block differs from"), "{}", said());
    write("ja/01-a.md", "言葉\n\n```dbg\nnext\n```");
    assert_eq!(said().lines().count(), 2, "the files and nothing else: {}", said());
}

#[test]
fn a_new_lesson_passes_its_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.md");
    let file = file.to_str().unwrap();
    assert_eq!(diffuscope(&["lesson", "new", file], "").code, Some(0));
    let again = diffuscope(&["lesson", "new", file], "");
    assert!(again.stderr.contains("the file exists already"), "{}", again.stderr);
    let checked = diffuscope(&["lesson", "check", file], "");
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("0 problems"));
    let none = diffuscope(&["lesson", "check", "no/such/folder"], "");
    assert!(none.stderr.contains("no/such/folder") && none.code == Some(1), "{}", none.stderr);
}

#[test]
fn a_lesson_is_printed_with_what_its_commands_say() {
    let ran = diffuscope(&["lesson", "run", "four", "--batch", "--lang", "en"], "");
    assert_eq!(ran.code, Some(1), "`four` is not the beginning of a name");
    let ran = diffuscope(&["lesson", "run", "the-four", "--batch", "--lang", "en"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("# The four stages"));
    assert!(ran.stdout.contains("    > print latents") && !ran.stdout.contains("{{"), "{}", ran.stdout);
    assert!(ran.stdout.contains("→ 16×16, four numbers each."), "{}", ran.stdout);
    // Without a terminal it is printed too.
    let piped = diffuscope(&["lesson", "run", "1", "--lang", "en"], "");
    assert_eq!((piped.code, piped.stdout.lines().next()), (Some(0), Some("# The four stages")));
    let unknown = diffuscope(&["lesson", "run", "99"], "");
    assert!(unknown.stderr.contains("no lesson `99`") && unknown.stderr.contains("05-guidance"));
    assert_eq!((unknown.code, unknown.stderr.lines().count()), (Some(1), 1));
    let japanese = diffuscope(&["lesson", "--lang", "ja"], "");
    assert!(japanese.stdout.contains("四つの段階"), "{}", japanese.stdout);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,300}") {
        let _ = Lesson::read(Source::new("a.md", text));
    }

    #[test]
    fn no_lesson_makes_it_panic(
        body in "(```|dbg|expect|predict|try|\n|- \\[x\\] |\\{\\{|\\}\\}|next|solution: |expect: |hint: | \\| |latents\\.std|---|> |[a-zあ ]{0,6}){0,40}",
    ) {
        if let Err(problems) = Lesson::read(Source::new("a.md", lesson(&body))) {
            for problem in problems {
                prop_assert!(!problem.report(false).is_empty());
            }
        }
    }
}

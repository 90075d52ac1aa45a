//! Every number of every subcommand, and of the debugger's commands.

use super::{Ends, Row, judge, words};
use crate::support::program::diffuscope;
use std::collections::BTreeSet;

/// What becomes of a value.
#[derive(Clone, Copy)]
enum Verdict {
    Works,
    /// Exit 3: the run is done, and its numbers are not finite.
    NotFinite,
    /// Exit 1, naming the setting.
    Refused(&'static str),
    Usage,
}
use Verdict::{NotFinite, Refused, Usage, Works};

/// The subcommands that generate, with what they need beside: as little work as can be.
#[rustfmt::skip]
const GENERATE: [&str; 3] = [
    "run --steps 1 --width 16 --height 16",
    "debug --batch -x - --steps 1 --width 16 --height 16",
    "compare seed 1,2 --steps 1 --width 16 --height 16",
];

#[rustfmt::skip]
const VALUES: [&str; 12] =
    ["0", "-1", "NaN", "inf", "-inf", "1e400", "1e308", "99999999999999999999", "18446744073709551608", "", "0x10", "٣"];

/// An option, and what becomes of each of [`VALUES`].
#[rustfmt::skip]
const OPTIONS: [(&str, [Verdict; 12]); 7] = [
    //                    0                      -1     NaN                        inf                        -inf                       1e400                      1e308                                2^66   2^64-8             ""     0x10   ٣
    ("--steps",          [Refused("steps is 0"), Usage, Usage,                     Usage,                     Usage,                     Usage,                     Usage,                               Usage, Refused("steps is"), Usage, Usage, Usage]),
    ("--width",          [Refused("width is 0"), Usage, Usage,                     Usage,                     Usage,                     Usage,                     Usage,                               Usage, Refused("pixels need"), Usage, Usage, Usage]),
    ("--height",         [Refused("height is 0"),Usage, Usage,                     Usage,                     Usage,                     Usage,                     Usage,                               Usage, Refused("pixels need"), Usage, Usage, Usage]),
    ("--guidance-scale", [Works,                 Works, Refused("guidance_scale"), Refused("guidance_scale"), Refused("guidance_scale"), Refused("guidance_scale"), NotFinite,                           Works, Works,             Usage, Usage, Usage]),
    ("--eta",            [Works,                 Refused("eta is -1"), Refused("eta is NaN"), Refused("eta"), Refused("eta"),            Refused("eta"),            Refused("eta"),                      Refused("eta"), Refused("eta"), Usage, Usage, Usage]),
    ("--clip-skip",      [Works,                 Usage, Usage,                     Usage,                     Usage,                     Usage,                     Usage,                               Usage, Refused("clip_skip is"), Usage, Usage, Usage]),
    ("--strength",       [Works,                 Refused("strength is -1"), Refused("strength is NaN"), Refused("strength"), Refused("strength"), Refused("strength"), Refused("strength"),          Refused("strength"), Refused("strength"), Usage, Usage, Usage]),
];

/// A seed is any whole number of 64 bits, with a sign or without.
#[rustfmt::skip]
const SEEDS: [(&str, Verdict); 10] = [
    ("0", Works), ("-1", Works), ("-9223372036854775808", Works), ("9223372036854775808", Works),
    ("18446744073709551615", Works), ("-9223372036854775809", Usage), ("18446744073709551616", Usage), ("NaN", Usage),
    ("1.5", Usage), ("", Usage),
];

/// What only some subcommands have.
#[rustfmt::skip]
const OTHERS: [(&str, Verdict); 13] = [
    ("compare seed 1,2 --steps 1 --width 16 --height 16 --batch-rows 0",                    Usage),
    ("compare seed 1,2 --steps 1 --width 16 --height 16 --batch-rows -1",                   Usage),
    ("compare seed 1,2 --steps 1 --width 16 --height 16 --batch-rows NaN",                  Usage),
    ("compare seed 1,2 --steps 1 --width 16 --height 16 --batch-rows 18446744073709551615", Usage),
    ("compare seed 1,2 --steps 1 --width 16 --height 16 -o a.png --every 0",                Usage),
    ("compare seed 1,2 --steps 1 --width 16 --height 16 -o a.png --every NaN",              Usage),
    ("compare seed 1,2 --steps 1 --width 16 --height 16 -o a.png --every 18446744073709551615", Usage),
    ("compare seed NaN --steps 1",                                                          Refused("seed")),
    ("compare guidance_scale NaN,1 --steps 1",                                              Refused("guidance_scale")),
    ("compare seed 1-99999999999 --steps 1",                                                Refused("too many values")),
    ("compare clip_skip 0,99 --steps 1 --width 16 --height 16",                             Refused("clip_skip is 99")),
    ("compare num_inference_steps 0,1",                                                     Refused("num_inference_steps")),
    ("run --device cuda:99999999999999999999",                                              Usage),
];

/// Commands of the debugger; `.1` is in the message.
#[rustfmt::skip]
const COMMANDS: [(&str, &str); 36] = [
    ("next 0",                                   "next"),
    ("next -1",                                  "-1"),
    ("next NaN",                                 "NaN"),
    ("next 99999999999999999999",                "99999999999999999999"),
    ("next 1.5",                                 "1.5"),
    ("back -1",                                  "-1"),
    ("back 99999999999999999999",                "99999999999999999999"),
    ("goto denoise -1",                          "-1"),
    ("goto denoise 18446744073709551615",        "denoise 18446744073709551615"),
    ("goto denoise 99999999999999999999",        "99999999999999999999"),
    ("goto denoise inf",                         "inf"),
    ("until denoise 1e3",                        "1e3"),
    ("set num_inference_steps 0",                "num_inference_steps is 0"),
    ("set num_inference_steps -1",               "-1"),
    ("set num_inference_steps 1e9",              "1e9"),
    ("set guidance_scale NaN",                   "guidance_scale is NaN"),
    ("set guidance_scale -inf",                  "guidance_scale is -inf"),
    ("set guidance_scale 1e400",                 "guidance_scale is inf"),
    ("set clip_skip -1",                         "-1"),
    ("set clip_skip 13",                         "clip_skip is 13"),
    ("set eta 2",                                "eta is 2"),
    ("set eta -0.1",                             "eta is -0.1"),
    ("set strength NaN",                         "strength"),
    ("set seed 18446744073709551616",            "18446744073709551616"),
    ("set width 18446744073709551608",           "need"),
    ("set height 0",                             "height is 0"),
    ("delete 0",                                 "0"),
    ("delete 99999999999999999999",              "99999999999999999999"),
    ("ignore 1 -1",                              "ignore"),
    ("next 2\nset latents[0,0,0,99] = 1",        "99"),
    ("next 2\nset latents[0,0,0,-99] = 1",       "99"),
    ("next 2\nprint latents[99999999999999999999]", "latents"),
    ("next 2\nprint latents[18446744073709551615]", "latents"),
    ("next 2\nset latents = NaN",                "NaN"),
    ("next 2\nset latents[0,0,0,0] = 1e400",     "1e400"),
    ("next 2\nset latents *= inf",               "inf"),
];

fn row(args: &str, last: Option<&str>, verdict: Verdict) -> Row {
    let mut args = words(args);
    args.extend(last.map(Into::into));
    Row {
        what: format!("{args:?}"),
        args,
        stdin: b"next\n".into(),
        ends: match verdict {
            Works => Ends::Works,
            NotFinite => Ends::NotFinite,
            Refused(said) => Ends::Refused(vec![said.into()]),
            Usage => Ends::Usage(vec![]),
        },
        as_nobody: false,
    }
}

#[test]
fn every_number_of_every_subcommand() {
    let mut rows = vec![];
    for args in GENERATE {
        // Each reads them by the same code: what works is run by one of them.
        let is_asked = |verdict: &Verdict| args.starts_with("run") || !matches!(verdict, Works | NotFinite);
        for (option, verdicts) in OPTIONS {
            // What was given before would be given twice.
            let mut given: Vec<&str> = args.split_whitespace().collect();
            if let Some(at) = given.iter().position(|arg| *arg == option) {
                given.drain(at..at + 2);
            }
            let given = given.join(" ");
            let asked = VALUES.iter().zip(verdicts).filter(|(_, verdict)| is_asked(verdict));
            rows.extend(
                asked.map(|(value, verdict)| row(&given, Some(&format!("{option}={value}")), verdict)),
            );
        }
        let asked = SEEDS.into_iter().filter(|(_, verdict)| is_asked(verdict));
        rows.extend(asked.map(|(seed, verdict)| row(args, Some(&format!("--seed={seed}")), verdict)));
    }
    rows.extend(OTHERS.map(|(args, verdict)| row(args, None, verdict)));
    judge(&rows);
}

#[test]
fn every_number_of_a_command() {
    let rows = COMMANDS.map(|(commands, said)| Row {
        what: commands.into(),
        args: words("debug --batch -x - --steps 2 --width 16 --height 16"),
        stdin: commands.into(),
        ends: Ends::Refused(vec![said.into(), format!("stdin: line {}: ", commands.lines().count())]),
        as_nobody: false,
    });
    judge(&rows);
}

/// An option that is new is in the table, or named here as one that takes no number.
#[test]
fn an_option_that_takes_a_number_is_in_the_table() {
    #[rustfmt::skip]
    const NO_NUMBERS: [&str; 24] = [
        "--embedding", "--lora", "--lora-dir", "--prompt-syntax",
        "--device", "--dtype", "--dump", "--from", "--gif", "--graphics", "--init-image", "--lang", "--model", "--negative-prompt",
        "--modules", "--names", "--output", "--output-dir", "--prediction-type", "--prompt", "--record", "--record-steps", "--scheduler", "--vae",
    ];
    let in_table: BTreeSet<&str> = OPTIONS
        .iter()
        .map(|(option, _)| *option)
        .chain(["--seed", "--batch-rows", "--every", "--tolerance"])
        .collect();
    let commands = [
        "run",
        "debug",
        "compare",
        "diff",
        "lesson",
        "lesson run",
        "lesson check",
        "lesson new",
        "lesson reset",
        "model info",
        "model pull",
        "model list",
        "model verify",
        "model remove",
        "config show",
        "config path",
        "config init",
        "config edit",
        "config set",
        "completions",
        "man",
        "doctor",
    ];
    for command in commands {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ran = diffuscope(&args, "");
        assert_eq!(ran.code, Some(0), "{command}");
        for line in ran.stdout.lines() {
            let mut told = line.split_whitespace().skip_while(|word| !word.starts_with("--"));
            let (Some(option), Some(value)) = (told.next(), told.next()) else { continue };
            if line.trim_start().starts_with('-') && value.starts_with('<') {
                assert!(
                    in_table.contains(option) || NO_NUMBERS.contains(&option),
                    "{command} {option} {value} is in no table"
                );
            }
        }
    }
}

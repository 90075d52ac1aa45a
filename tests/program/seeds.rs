//! Seeds: all that torch's generator takes, −2^63 to 2^64 − 1, in every place where one is written.

use crate::support::program::{batch, diffuscope, said};
use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::lesson::Lesson;
use diffuscope::lesson::playing::session;
use diffuscope::lesson::problem::Source;
use diffuscope::pipeline::Models;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::sync::Arc;

/// A seed as ComfyUI draws them, beyond what a signed number of 64 bits holds.
const LARGE: &str = "15680208700286123456";
/// The ends of the range, as an error gives them.
const RANGE: &str = "a whole number from -9223372036854775808 to 18446744073709551615";
const SMALL: [&str; 6] = ["--steps", "1", "--width", "64", "--height", "64"];

#[test]
fn noise_is_torchs_for_every_seed() {
    // The first of `torch.randn(256, generator=torch.Generator("cpu").manual_seed(SEED))`, torch 2.15.
    for (seed, expected) in [
        (LARGE, [-0.872328, -0.141409, -0.718752, 2.301552]),
        ("-1", [-2.664298, -1.091049, 0.451447, 0.228361]),
        // torch folds negative seeds.
        ("18446744073709551615", [-2.664298, -1.091049, 0.451447, 0.228361]),
        ("-9223372036854775801", [-0.820135, 0.395631, 0.898908, -1.388404]),
    ] {
        let flags = [&SMALL[..], &["--seed", seed]].concat();
        for (place, value) in expected.iter().enumerate() {
            let command =
                format!("goto denoise\nprint abs(latents[0,0,0,{place}] - ({value:?})) < 0.000002\n");
            assert_eq!(batch(&flags, &command)[1]["value"], true, "{seed}: number {place}");
        }
    }
}

#[test]
fn files_keep_the_seed_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (picture, dump, script) = (file("a.png"), file("a.safetensors"), file("a.txt"));
    let flags = [&["run"], &SMALL[..], &["--seed", LARGE, "-o", &picture, "--dump", &dump]].concat();
    let ran = diffuscope(&flags, "");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let bytes = std::fs::read(&picture).unwrap();
    let written = format!(", Seed: {LARGE}, ");
    assert!(bytes.windows(written.len()).any(|part| part == written.as_bytes()));
    let bytes = std::fs::read(&dump).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["seed"], LARGE);

    let made =
        batch(&SMALL, &format!("set seed {LARGE}\ncontinue\nsave timeline {script}\nprint image.l2\n"));
    let commands = std::fs::read_to_string(&script).unwrap();
    let again = batch(&[], &format!("{commands}print image.l2\n"));
    assert_eq!(made.last().unwrap()["value"], again.last().unwrap()["value"]);
}

/// A reader in JavaScript rounds whole numbers beyond 2^53: those are text.
#[test]
fn json_keeps_every_digit() {
    for (seed, expected) in [
        ("7", json!(7)),
        ("-1", json!(-1)),
        ("9007199254740992", json!(9_007_199_254_740_992u64)),
        ("9007199254740993", json!("9007199254740993")),
        ("-9007199254740993", json!("-9007199254740993")),
        (LARGE, json!(LARGE)),
    ] {
        let told = batch(&SMALL, &format!("set seed {seed}\ninfo request\nprint seed\n"));
        assert_eq!(said(&told[0], 0), format!("seed = {seed}"));
        assert_eq!(told[1]["value"]["seed"], expected, "{seed}");
        assert!(told[1].to_string().contains(&format!("\"seed = {seed}\"")), "{}", told[1]);
        assert_eq!(told[2]["value"], seed, "{seed}");
    }
    let compared = [&["compare", "seed", LARGE, "--json"], &SMALL[..]].concat();
    let figures: Value = serde_json::from_str(&diffuscope(&compared, "").stdout).unwrap();
    assert_eq!(figures["variants"][0]["request"]["seed"], LARGE);
}

#[test]
fn expressions_know_large_seeds() {
    let commands = format!(
        "set seed {LARGE}\nprint seed == {LARGE}\nprint seed == {LARGE}u\nprint seed > 5\nprint seed == 5\n\
         print \"{LARGE}\" == \"\" + string(seed)\nset seed -9223372036854775808\nprint seed == -9223372036854775808\n"
    );
    let told = batch(&SMALL, &commands);
    let values: Vec<&Value> = [1, 2, 3, 4, 5, 7].iter().map(|line| &told[*line]["value"]).collect();
    assert_eq!(values, [&json!(true), &json!(true), &json!(true), &json!(false), &json!(true), &json!(true)]);
}

#[test]
fn a_change_of_the_seed_is_told_with_every_digit() {
    let told = batch(&SMALL, &format!("next\nfork at encode_prompt\nset seed {LARGE}\ninfo timelines\n"));
    assert!(told[3].to_string().contains(&format!("seed 0 → {LARGE}")), "{}", told[3]);
}

#[test]
fn ranges_of_seeds_go_to_both_ends() {
    let values = |seeds: &str| {
        let told = batch(&SMALL, &format!("compare seed {seeds}\n"));
        let variants = told[0]["variants"].as_array().unwrap().clone();
        variants
            .into_iter()
            .map(|variant| variant["values"][0].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values("18446744073709551613-18446744073709551615, 3"),
        ["18446744073709551613", "18446744073709551614", "18446744073709551615", "3"]
    );
    assert_eq!(
        values("-9223372036854775808--9223372036854775807"),
        ["-9223372036854775808", "-9223372036854775807"]
    );
    // As words of a shell, too: a minus there is no flag.
    let shell = [&["compare", "seed", "-1,2", "-3--2", "--json"], &SMALL[..]].concat();
    let ran = diffuscope(&shell, "");
    let figures: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stderr));
    let seeds =
        figures["variants"].as_array().unwrap().iter().map(|v| v["request"]["seed"].as_i64().unwrap());
    assert_eq!(seeds.collect::<Vec<_>>(), [-1, 2, -3, -2]);
}

fn lesson(seed: &str) -> Result<Lesson, String> {
    let text = format!("---\ntitle: T\nsummary: S\nminutes: 1\nsettings:\n  seed: {seed}\n---\n\nProse.\n");
    Lesson::read(Source::new("l.md", text)).map_err(|problems| problems[0].report(false))
}

#[test]
fn a_lesson_starts_from_any_seed() {
    let models = Arc::new(Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap());
    for (written, seed) in [
        (LARGE, LARGE),
        ("\"15680208700286123456\"", LARGE),
        ("-1", "-1"),
        ("-9223372036854775808", "-9223372036854775808"),
    ] {
        let session = session(&lesson(written).unwrap(), Arc::clone(&models)).unwrap();
        assert_eq!(session.timeline().here().request().seed.to_string(), seed);
    }
    for beyond in ["\"18446744073709551616\"", "18446744073709551616"] {
        let told = lesson(beyond).unwrap_err();
        assert!(told.contains("expected a whole number from -9223372036854775808 to"), "{told}");
    }
}

#[test]
fn what_is_no_seed_is_refused_with_the_range() {
    for seed in ["18446744073709551616", "-9223372036854775809", "1e3", "1.5", "0x10", "many"] {
        let flag = diffuscope(&["run", &format!("--seed={seed}")], "");
        assert_eq!(flag.code, Some(2));
        let flag = flag.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flag.contains(RANGE), "{flag}");
        for command in [format!("set seed {seed}"), format!("compare seed {seed}")] {
            let told = diffuscope(&["debug", "--batch", "-x", "-"], &command);
            assert_eq!(told.code, Some(1));
            assert!(
                told.stderr.contains(RANGE) && told.stderr.lines().count() == 1,
                "{command}: {}",
                told.stderr
            );
        }
    }
    for range in ["18446744073709551610-18446744073709551616", "1-many"] {
        let told = diffuscope(&["debug", "--batch", "-x", "-"], &format!("compare seed {range}"));
        assert_eq!(told.code, Some(1));
        assert!(told.stderr.contains(RANGE), "{range}: {}", told.stderr);
    }
}

#[test]
fn arithmetic_with_a_large_seed_says_how_it_is_written() {
    let told = |line: &str| {
        let ran = diffuscope(
            &[&["debug", "--batch", "-x", "-"], &SMALL[..]].concat(),
            &format!("set seed {LARGE}\n{line}\n"),
        );
        format!("{}{}", ran.stdout, ran.stderr)
    };
    let said = told("print seed + 1");
    assert!(said.contains("beyond 9223372036854775807") && said.contains("`1u`"), "{said}");
    assert!(!said.contains("both be whole"), "{said}");
    let values = batch(
        &SMALL,
        &format!("set seed {LARGE}\nprint seed + 1u\nprint [seed, 1]\nprint [[seed], [\"a\"]]\n"),
    );
    assert!(values[1].to_string().contains("15680208700286123457"), "{}", values[1]);
    assert!(values[2].to_string().contains("[15680208700286123456, 1]"), "{}", values[2]);
    assert!(!values[3].to_string().contains("UInt"), "{}", values[3]);
    assert!(told("print seed * -1").contains("expected a number that is not negative"));
    assert!(told("print 5u + 1").contains("5 has no sign, and 1 has one; expected `1u`"));
    let said = told("print seed + 18446744073709551615u");
    assert!(said.contains("beyond the whole numbers") && !said.contains("UInt"), "{said}");
}

#[test]
fn a_range_that_goes_down_is_refused_with_one_expectation() {
    let ran = diffuscope(&["compare", "seed", "5-1"], "");
    assert!(ran.stderr.contains("1-5"), "{}", ran.stderr);
    assert!(ran.stderr.matches("expected").count() <= 1, "{}", ran.stderr);
    let ran = diffuscope(&["debug", "--batch", "-x", "-"], "compare seed 5-1\n");
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("1-5") && said.matches("expected").count() <= 1, "{said}");
}

//! `--from`: the settings of a picture, taken again.

use crate::support::program::{Ran, command, run};
use crate::support::single::single;
use image::RgbImage;
use std::fs;
use std::path::Path;

/// Runs `diffuscope ARGS` in a folder.
fn in_folder(folder: &Path, args: &str, stdin: &str) -> Ran {
    let args: Vec<&str> = args.split_whitespace().collect();
    let mut command = command(&args);
    command.current_dir(folder);
    run(command, stdin)
}

/// A run that works: what it said.
#[track_caller]
fn said(folder: &Path, args: &str) -> String {
    let ran = in_folder(folder, args, "");
    assert_eq!(ran.code, Some(0), "{args}: {}", ran.stderr);
    ran.stderr
}

fn picture(folder: &Path, name: &str, texts: &[(&'static str, &str)]) {
    let texts: Vec<_> = texts.iter().map(|(keyword, text)| (*keyword, text.to_string())).collect();
    let bytes = diffuscope::picture::png::encode(&RgbImage::new(1, 1), &texts).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

/// As the web interface writes it.
const BOAT: &str = "a (wooden:1.2) boat\nNegative prompt: people\nSteps: 2, Sampler: Euler, Schedule type: Karras, CFG scale: \
    6.5, Seed: 77, Size: 64x32, Model hash: 0a1b2c3d4e, Model: lakes_v2, Version: v1.10.1";

#[test]
fn a_run_of_its_own_picture_is_equal_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for flags in [
        "--prompt café --negative-prompt blur --seed -1 --steps 2 --width 64 --height 32 --eta 0.5 --clip-skip 1",
        "--steps 2 --width 64 --height 64 --scheduler dpm++2m-karras --guidance-scale 3.25 --strength 0.5",
        "--init-image sample:cat --strength 0.6 --steps 4 --seed 18446744073709551615",
        "--scheduler EulerDiscreteScheduler --steps 2 --width 32 --height 32",
    ] {
        said(at, &format!("run {flags} -o first.png"));
        let notes = said(at, "run --from first.png -o second.png");
        assert!(
            notes.starts_with("note: taken from first.png (the chunk `diffuscope`): prompt, "),
            "{notes}"
        );
        assert!(!notes.contains("not taken"), "{flags}: {notes}");
        let files = ["first.png", "second.png"].map(|name| fs::read(at.join(name)).unwrap());
        assert!(files[0] == files[1], "{flags}");
    }
}

#[test]
fn a_changed_scheduler_reads_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let commands = "set scheduler euler\nset scheduler.timestep_spacing trailing\nset scheduler.sigma_min 0.1\ncontinue\nsave image a.png";
    let ran = in_folder(at, "debug --batch -x - --steps 2 --width 32 --height 32", commands);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    said(at, "run --from a.png -o b.png");
    let files = ["a.png", "b.png"].map(|name| fs::read(at.join(name)).unwrap());
    assert!(files[0] == files[1]);
}

#[test]
fn flags_take_precedence() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    picture(at, "boat.png", &[("parameters", BOAT)]);
    let ran = in_folder(
        at,
        "debug --from boat.png --seed 3 --scheduler ddim --width 32 --batch -x -",
        "info request",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in
        ["prompt = \"a (wooden:1.2) boat\"", "width = 32", "height = 32", "seed = 3", "scheduler = ddim"]
    {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    let taken = "taken from boat.png (AUTOMATIC1111's parameters): prompt, negative_prompt, prompt_syntax, height, num_inference_steps, guidance_scale\n";
    assert!(ran.stderr.contains(taken), "{}", ran.stderr);
    // A picture's eta belongs to its scheduler.
    said(at, "run --eta 0.5 --steps 1 --width 32 --height 32 -o eta.png");
    let notes = said(at, "run --from eta.png --scheduler euler -o euler.png");
    assert!(notes.contains("not taken from eta.png: eta 0.5: EulerDiscreteScheduler has none"), "{notes}");
    let notes = said(at, "run --from boat.png --init-image sample:cat -o cat.png");
    let cat = image::open(at.join("cat.png")).unwrap();
    assert_eq!((cat.width(), cat.height()), (64, 32), "{notes}");
}

#[test]
fn what_was_taken_and_what_was_not_is_listed_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    picture(at, "boat.png", &[("Title", "x"), ("parameters", BOAT)]);
    let expected = "\
note: taken from boat.png (AUTOMATIC1111's parameters): prompt, negative_prompt, prompt_syntax, height, width, num_inference_steps, guidance_scale, seed, scheduler
note: not taken from boat.png: the model lakes_v2, hash 0a1b2c3d4e: pocket runs; --model chooses another one
note: not taken from boat.png: the noise: drawn on the GPU there (without `RNG: CPU`), so the same seed gives another picture
";
    assert_eq!(said(at, "run --from boat.png -o a.png"), expected);
    let ran = in_folder(at, "debug --from boat.png --batch --json -x -", "next");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), expected));
    let ran = in_folder(at, "debug --from boat.png", "");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), expected));
    let ran = in_folder(at, "compare seed 1,2 --from boat.png -o c.png", "");
    assert!(ran.code == Some(0) && ran.stderr.contains("taken from boat.png"), "{}", ran.stderr);
}

/// The name of the model's file counts without folder and ending; a hash counts more.
#[test]
fn another_model_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (model, expected) in [
        ("Model: pocket", None),
        (
            "Model: Pocket, Model hash: 0a1b2c3d4e",
            Some("the model's hash 0a1b2c3d4e: that of pocket was not computed"),
        ),
        ("Model: other", Some("the model other: pocket runs")),
        ("Model hash: 0a1b2c3d4e", Some("the model, hash 0a1b2c3d4e: pocket runs")),
    ] {
        let text = format!("a boat\nSteps: 1, Seed: 3, Size: 32x32, RNG: CPU, {model}");
        picture(at, "a.png", &[("parameters", &text)]);
        let notes = said(at, "run --from a.png -o b.png");
        let left: Vec<_> =
            notes.lines().filter_map(|line| line.strip_prefix("note: not taken from a.png: ")).collect();
        assert_eq!(left.len(), usize::from(expected.is_some()), "{model}: {notes}");
        assert!(left.iter().zip(expected).all(|(line, words)| line.starts_with(words)), "{model}: {notes}");
    }
}

#[test]
fn a_start_image_that_is_not_there_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let cat = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/samples/cat.png");
    fs::copy(cat, at.join("cat.png")).unwrap();
    said(at, "run --init-image cat.png --width 32 --height 32 --steps 2 --strength 0.5 -o a.png");
    assert!(!said(at, "run --from a.png -o b.png").contains("not taken"));
    fs::remove_file(at.join("cat.png")).unwrap();
    let notes = said(at, "run --from a.png -o b.png");
    assert!(notes.contains("not taken from a.png: init_image: cat.png: No such file"), "{notes}");
    assert!(!said(at, "run --from a.png --init-image sample:cat -o b.png").contains("not taken"));
}

/// A checkpoint in one file is compared by its hash, whatever its name is.
#[test]
fn the_hash_of_a_checkpoint_in_one_file_is_compared() {
    // Its folder is deleted with it.
    let file = single("sd1").cast("F16");
    let checkpoint = file.write();
    let bytes = fs::read(&checkpoint).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let hash: String = digest.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (model, expected) in [
        (format!("Model: renamed, Model hash: {hash}"), String::new()),
        ("Model: m, Model hash: 0a1b2c3d4e".into(), format!("runs, whose hash is {hash}\n")),
    ] {
        let text = format!("a boat\nSteps: 1, Seed: 3, Size: 16x16, RNG: CPU, {model}");
        picture(at, "a.png", &[("parameters", &text)]);
        let notes = said(at, &format!("run --from a.png -o b.png --model {}", checkpoint.display()));
        assert_eq!(notes.contains("not taken"), !expected.is_empty(), "{notes}");
        assert!(notes.ends_with(&expected), "{notes}");
    }
}

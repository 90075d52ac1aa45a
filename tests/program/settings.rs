//! What a picture and a dump keep of the run that made them: settings that read back, and nothing of a reader's folders.

use crate::support::program::{batch, command, diffuscope, run};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::Path;

const SMALL: [&str; 6] = ["--steps", "2", "--width", "64", "--height", "64"];

/// The text chunk of a PNG with that keyword.
fn text(file: &Path, keyword: &str) -> Option<String> {
    let file = std::io::BufReader::new(std::fs::File::open(file).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    let info = reader.info();
    let latin = info.uncompressed_latin1_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    let other = info.utf8_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.get_text().unwrap()));
    latin.chain(other).find(|(known, _)| known == keyword).map(|(_, text)| text)
}

/// A picture made by `run` in `folder`, and what was said.
fn made(folder: &Path, flags: &[&str]) -> (Value, String, String) {
    let out = folder.join("out.png");
    let mut ran = command(&[&["run"], &SMALL[..], &["-o", "out.png"], flags].concat());
    ran.current_dir(folder);
    let ran = run(ran, "");
    assert_eq!(ran.code, Some(0), "{flags:?}: {}", ran.stderr);
    let own = text(&out, "diffuscope").expect("no chunk of our own");
    (serde_json::from_str(&own).unwrap(), text(&out, "parameters").unwrap(), ran.stderr)
}

/// A copy of the bundled model in a folder of that name.
fn checkpoint(folder: &Path, name: &str) {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket"), &folder.join(name));
}

#[test]
fn a_picture_has_its_settings_in_two_forms() {
    let folder = tempfile::tempdir().unwrap();
    let prompt = "赤いりんご, \"red\": a\\b\nsecond line";
    let (own, parameters, told) = made(
        folder.path(),
        &["--prompt", prompt, "--negative-prompt", "blur: much", "--seed", "18446744073709551615"],
    );
    assert_eq!(told, "");
    assert_eq!(own["request"]["prompt"], prompt);
    assert_eq!(own["request"]["negative_prompt"], "blur: much");
    assert_eq!(own["request"]["seed"], "18446744073709551615");
    assert_eq!((&own["model"], &own["edits"]), (&"pocket".into(), &Value::Array(vec![])));
    let start =
        format!("{prompt}\nNegative prompt: blur: much\nSteps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: ");
    assert!(parameters.starts_with(&start), "{parameters}");
}

#[test]
fn a_models_name_is_quoted_and_is_no_path() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let name = "dreambooth, Seed: 7";
    checkpoint(outside.path(), name);
    let path = outside.path().join(name).display().to_string();
    let (own, parameters, _) = made(folder.path(), &["--model", &path, "--seed", "3"]);
    assert_eq!(own["model"], name);
    assert!(parameters.contains(", Seed: 3, Size: 64x64, Model: \"dreambooth, Seed: 7\", "), "{parameters}");
    let away = outside.path().display().to_string();
    assert!(!parameters.contains(&away) && !own.to_string().contains(&away), "{parameters}");

    // From inside, with or without a slash at its end.
    let mut inside = command(&[&["run"], &SMALL[..], &["-o", "in.png", "--model", "."]].concat());
    inside.current_dir(&path);
    assert_eq!(run(inside, "").code, Some(0));
    let parameters = text(&outside.path().join(name).join("in.png"), "parameters").unwrap();
    assert!(parameters.contains("Model: \"dreambooth, Seed: 7\""), "{parameters}");
}

#[test]
fn no_file_tells_where_its_maker_keeps_things() {
    let folder = tempfile::tempdir().unwrap();
    let away = tempfile::tempdir().unwrap();
    checkpoint(away.path(), "mine");
    let (model, start) = (away.path().join("mine"), away.path().join("start, a.png"));
    let drawing = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/samples/cat.png");
    std::fs::copy(drawing, &start).unwrap();
    let (model, start) = (model.display().to_string(), start.display().to_string());
    let commands = "continue\nsave image image.png\nsave all all.safetensors\nsave latents latents.png\n\
                    save attention apple heat.png\nsave attention apple heat.gif\nsave effect apple effect.png\n\
                    save timemap map.png\nback\nsave features unet.mid_block features.png\n";
    let flags = ["--model", &model, "--init-image", &start, "--strength", "1", "--prompt", "an apple"];
    let mut batch = command(&[&["debug", "--batch", "-x", "-"], &SMALL[..], &flags].concat());
    batch.current_dir(folder.path());
    let ran = run(batch, commands);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (own, parameters, _) = made(folder.path(), &flags);
    assert_eq!(own["init_image"]["name"], "start, a.png");
    assert!(parameters.contains(", Init image: \"start, a.png\", "), "{parameters}");
    let mut compare = command(&[&["compare", "seed", "1,2", "-o", "sheet.png"], &SMALL[..], &flags].concat());
    compare.current_dir(folder.path());
    assert_eq!(run(compare, "").code, Some(0));

    let mut files = 0;
    let away = away.path().display().to_string();
    for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(away.len()).any(|part| part == away.as_bytes()), "{}", entry.path().display());
        files += 1;
    }
    assert_eq!(files, 10);
    let bytes = std::fs::read(folder.path().join("all.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!((metadata["model"].as_str(), metadata["init_image"].as_str()), ("mine", "start, a.png"));
    // What a map is of is a setting, not a line of the prompt.
    let heat = text(&folder.path().join("heat.png"), "parameters").unwrap();
    assert!(heat.starts_with("an apple\nSteps: 2, ") && heat.contains(", Picture: "), "{heat}");
}

#[test]
fn what_the_grammar_of_parameters_cannot_say_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, says) in [
        (&["--prompt", "a cat\nNegative prompt: a dog"][..], "`Negative prompt: a dog`"),
        (
            &["--prompt", "a cat", "--negative-prompt", "blur\n  Negative prompt: red"],
            "`Negative prompt: red`",
        ),
        (&["--prompt", "a cat\nSteps: 5, Seed: 9, Size: 8x8"], "`Steps: 5, Seed: 9, Size: 8x8`"),
    ] {
        let (own, _, told) = made(folder.path(), flags);
        assert_eq!(own["request"]["prompt"], flags[1]);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 1, "{told}");
        assert!(lines[0].starts_with("warning: out.png: ") && lines[0].contains(says), "{told}");
        assert!(lines[0].contains("the chunk `diffuscope` has it exactly"), "{told}");
    }
    let (_, _, told) = made(folder.path(), &["--prompt", "a cat: red, Seed: 7\nand \"more\""]);
    assert_eq!(told, "");
    let file = folder.path().join("b.png").display().to_string();
    let flags = [&SMALL[..], &["--prompt", "Negative prompt: a dog"]].concat();
    let told = batch(&flags, &format!("continue\nsave image {file}\n"));
    assert!(told[1]["warnings"][0].as_str().unwrap().contains("`Negative prompt: a dog`"), "{}", told[1]);
}

/// −1 is a seed of torch's; in AUTOMATIC1111's text it would be any seed.
#[test]
fn a_seed_of_minus_one_is_no_random_one() {
    let folder = tempfile::tempdir().unwrap();
    let (own, parameters, _) = made(folder.path(), &["--seed", "-1"]);
    assert_eq!(own["request"]["seed"], -1);
    assert!(parameters.contains(", Seed: 18446744073709551615, "), "{parameters}");
    for help in [&["run", "--help"][..], &["debug", "--help"]] {
        let help = diffuscope(help, "").stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(help.matches("-1 is an ordinary seed, as in torch").count(), 1, "{help}");
    }
}

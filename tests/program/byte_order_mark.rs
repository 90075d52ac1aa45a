//! Byte order marks: skipped in every text and JSON file that a person writes or a checkpoint holds, and named where it is another
//! encoding's.

use crate::support::checkpoint::{Checkpoint, checkpoint};
use crate::support::program::{command, diffuscope, run};
use diffuscope::checkpoint::layout::{COMPONENTS, Precision};
use diffuscope::lesson::library::Library;
use diffuscope::model::{ClipTokenizer, LatentRgbFactors};
use diffuscope::pipeline::dump::read_text;
use diffuscope::pipeline::models::Configs;
use diffuscope::trace::Names;
use diffuscope::tui::config::Config;
use serde_json::json;
use std::fs;
use std::path::Path;

const UTF8: &[u8] = b"\xef\xbb\xbf";

/// Puts `mark` in front of a file.
fn mark(file: &Path, mark: &[u8]) {
    let text = fs::read(file).unwrap();
    fs::write(file, [mark, &text].concat()).unwrap();
}

/// Reads what `file` is a part of; its notes, or why it cannot be read.
type Reader = fn(&Checkpoint) -> Result<Vec<String>, String>;

const CONFIGS: Reader = |checkpoint| match Configs::load(&checkpoint.source()) {
    Ok(configs) => Ok(configs.notes),
    Err(e) => Err(e.to_string()),
};
const TOKENIZER: Reader = |checkpoint| match ClipTokenizer::load(&checkpoint.source(), 49409) {
    Ok(tokenizer) => Ok(tokenizer.notes),
    Err(e) => Err(e.to_string()),
};
const WEIGHTS: Reader = |checkpoint| {
    let source = checkpoint.source();
    let opened = COMPONENTS.iter().map(|component| source.weights(component.name, Precision::Full));
    let opened = opened.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    Ok(source.weight_notes(Precision::Full, &opened))
};
const FACTORS: Reader = |checkpoint| match LatentRgbFactors::load(&checkpoint.source(), 4) {
    Ok(factors) => Ok(factors.map(|_| String::new()).into_iter().collect()),
    Err(e) => Err(e.to_string()),
};

/// The text files of a checkpoint, what reads each, and the library whose refusal of a mark is told.
const FILES: [(&str, Reader, Option<&str>); 13] = [
    ("model_index.json", CONFIGS, Some("diffusers")),
    ("scheduler/scheduler_config.json", CONFIGS, Some("diffusers")),
    ("text_encoder/config.json", CONFIGS, Some("transformers")),
    ("unet/config.json", CONFIGS, Some("diffusers")),
    ("vae/config.json", CONFIGS, Some("diffusers")),
    ("tokenizer/vocab.json", TOKENIZER, Some("transformers")),
    ("tokenizer/merges.txt", TOKENIZER, Some("transformers")),
    ("tokenizer/tokenizer_config.json", TOKENIZER, Some("transformers")),
    ("tokenizer/special_tokens_map.json", TOKENIZER, Some("transformers")),
    ("tokenizer/added_tokens.json", TOKENIZER, Some("transformers")),
    ("tokenizer/tokenizer.json", TOKENIZER, Some("transformers")),
    ("unet/diffusion_pytorch_model.safetensors.index.json", WEIGHTS, Some("diffusers")),
    ("latent_rgb_factors.json", FACTORS, None),
];

/// A checkpoint with all of them but tokenizer.json, which would hide the vocabulary's files.
fn whole() -> Checkpoint {
    let checkpoint = checkpoint("sd1");
    checkpoint.write("tokenizer/added_tokens.json", r#"{"<dot>": 49408}"#);
    let pocket = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket");
    checkpoint.write("latent_rgb_factors.json", fs::read(pocket.join("latent_rgb_factors.json")).unwrap());
    let shard = "diffusion_pytorch_model-00001-of-00001.safetensors";
    let keys = checkpoint.weights("unet").into_keys().map(|key| (key, json!(shard)));
    let index = json!({"metadata": {}, "weight_map": keys.collect::<serde_json::Map<_, _>>()});
    fs::rename(
        checkpoint.file("unet/diffusion_pytorch_model.safetensors"),
        checkpoint.file("unet").join(shard),
    )
    .unwrap();
    checkpoint.write("unet/diffusion_pytorch_model.safetensors.index.json", index.to_string());
    checkpoint
}

fn as_tokenizer_json(checkpoint: &Checkpoint) {
    let merges = String::from_utf8(checkpoint.read("tokenizer/merges.txt")).unwrap();
    let merges: Vec<&str> = merges.lines().skip(1).collect();
    let file = json!({"added_tokens": [], "model": {"vocab": checkpoint.json("tokenizer/vocab.json"), "merges": merges}});
    checkpoint.write("tokenizer/tokenizer.json", file.to_string());
}

#[test]
fn files_of_a_checkpoint() {
    let checkpoint = whole();
    for (file, read, library) in FILES {
        if file.ends_with("tokenizer.json") {
            as_tokenizer_json(&checkpoint);
        }
        let plain = checkpoint.read(file);
        let without = read(&checkpoint).unwrap();

        mark(&checkpoint.file(file), UTF8);
        let with = read(&checkpoint).unwrap_or_else(|e| panic!("{file}: {e}"));
        let told: Vec<&String> = with.iter().filter(|said| said.contains("byte order mark")).collect();
        match library {
            Some(library) => assert!(
                matches!(told[..], [said] if said.contains(&format!("{file}: begins with a byte order mark, which {library} refuses"))),
                "{file}: {with:?}"
            ),
            None => assert_eq!(with, without, "{file}"),
        }

        checkpoint.write(file, &plain);
        mark(&checkpoint.file(file), b"\xff\xfe");
        let said = read(&checkpoint).unwrap_err();
        assert!(said.contains(file) && said.contains("UTF-16") && !said.contains('\n'), "{file}: {said}");
        checkpoint.write(file, plain);
    }
}

/// What people write themselves.
#[test]
fn files_of_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, [UTF8, text.as_bytes()].concat()).unwrap();
        file
    };
    assert_eq!(read_text(&write("any.txt", "one\n\u{feff}two")).unwrap(), "one\n\u{feff}two");
    let settings = Config::read(&write("config.toml", "mouse = false\n")).unwrap();
    assert!(!settings.mouse);
    let names = Names::read(&write("names.toml", "[names]\n\"a\" = \"b\"\n"));
    assert!(names.is_ok(), "{names:?}");
    let lesson = "---\ntitle: A\nsummary: B\nminutes: 1\n---\n\nText.\n";
    let library = Library::at(&write("lesson.md", lesson)).unwrap();
    assert_eq!(library.entries.len(), 1);
    let checked = diffuscope(&["lesson", "check", folder.path().join("lesson.md").to_str().unwrap()], "");
    assert!(!checked.stderr.contains("line 1"), "{}", checked.stderr);

    let commands = write("commands.txt", "# a run\r\nset num_inference_steps 1\r\nnext\r\n");
    let ran = diffuscope(&["debug", "--batch", "-x", commands.to_str().unwrap()], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let commands = write("next.txt", "next\n");
    let ran = diffuscope(&["debug", "--batch", "-x", commands.to_str().unwrap()], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = diffuscope(&["debug", "--batch", "-x", "-"], "\u{feff}next\n");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);

    fs::write(&commands, b"\xff\xfen\0e\0x\0t\0\n\0").unwrap();
    for said in [
        diffuscope(&["debug", "--batch", "-x", commands.to_str().unwrap()], "").stderr,
        read_text(&commands).unwrap_err().to_string(),
    ] {
        assert!(said.contains("its byte order mark says UTF-16; expected UTF-8"), "{said}");
    }
}

/// The cache's `refs/main`, which some write by hand.
#[test]
fn a_ref_of_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("hub/models--acme--tiny");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let checkpoint = checkpoint("sd1");
    let snapshot = repository.join("snapshots").join(commit);
    fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    assert!(
        std::process::Command::new("cp")
            .arg("-r")
            .args([checkpoint.path(), &snapshot])
            .status()
            .unwrap()
            .success()
    );
    fs::write(repository.join("refs/main"), format!("\u{feff}{commit}\r\n")).unwrap();
    let mut info = command(&["model", "info", "acme/tiny"]);
    info.env("HF_HOME", home.path()).env("HF_HUB_OFFLINE", "1").env_remove("HF_HUB_CACHE");
    let ran = run(info, "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("acme/tiny"), "{}", ran.stdout);
}

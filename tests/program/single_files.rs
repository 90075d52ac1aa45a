//! A checkpoint in one file on the command line: what is concluded from it is said, by `model info` and by every run.

use crate::support::fixture::json as fixture;
use crate::support::program::{batch, diffuscope};
use crate::support::single::single;
use serde_json::Value;

#[test]
fn model_info_says_what_the_file_is_and_why() {
    let mut file = single("sd2").cast("F16").with_averages();
    let path = file.write();
    let path = path.to_str().unwrap();
    let ran = diffuscope(&["model", "info", path], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in [
        "Stable Diffusion 2: its transformers project with linear layers and attend to embeddings of width 128 \
         (`model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight`)",
        "the text encoder is OpenCLIP's, 2 of 3 layers (`cond_stage_model.model.…`)",
        "neither the metadata nor --prediction-type say whether it predicts epsilon or v",
        "averaged weights (`model_ema.…`) are not read, as in diffusers; --ema reads them",
        "  unet          ",
        "f16",
        "heads [1,2]",
    ] {
        assert!(ran.stdout.contains(part), "without {part:?}: {}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");

    file.metadata.insert("modelspec.prediction_type".into(), "v".into());
    let path = file.write();
    let path = path.to_str().unwrap();
    let ran = diffuscope(&["model", "info", "--json", "--ema", path], "");
    let info: Value = serde_json::from_str(&ran.stdout).unwrap();
    let lines: Vec<&str> =
        info["conclusions"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].ends_with(
        "it predicts v_prediction, as `modelspec.prediction_type` \"v\" in the metadata says; the scheduler is DDIMScheduler, as published"
    ));
    assert!(lines[2].contains("as --ema says"));
    assert_eq!(info["config"]["scheduler"]["class"], "DDIMScheduler");
    let tensors = fixture("single/sd2")["unet"].as_object().unwrap().len();
    assert_eq!(info["components"][1]["tensors"], tensors);
}

#[test]
fn a_run_says_it_too_and_names_no_path() {
    let file = single("sd1").cast("F16");
    let home = tempfile::tempdir().unwrap();
    let (path, image) = (file.write(), home.path().join("image.png"));
    let args = ["--model", path.to_str().unwrap(), "--steps", "2", "--width", "16", "--height", "16"];
    let ran = diffuscope(&[&["run", "-o", image.to_str().unwrap()], &args[..]].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let notes: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].starts_with("note: ")
            && notes[0].contains("Stable Diffusion 1: its transformers project with 1×1 convolutions")
    );
    assert!(notes[1].contains("it predicts epsilon, as the published models"), "{notes:?}");
    let png = std::fs::read(image).unwrap();
    let has = |words: &str| png.windows(words.len()).any(|part| part == words.as_bytes());
    assert!(has("model.safetensors") && !has(file.write().parent().unwrap().to_str().unwrap()));

    // The debugger reads single tensors of the file: a module's weights, and a module's output.
    let outcomes = batch(&args, "until denoise 1\ninfo frame\nprint t(\"unet.mid_block\").std\n");
    assert!(outcomes.iter().all(|outcome| outcome["ok"] != Value::Bool(false)), "{outcomes:?}");
}

/// `--vae` and `--prediction-type` go with the bundled model too, and a trace of a single file is judged.
#[test]
fn a_trace_of_a_single_file_is_judged() {
    let file = single("sd1");
    let home = tempfile::tempdir().unwrap();
    let (path, trace) = (file.write(), home.path().join("run.trace"));
    let (path, trace) = (path.to_str().unwrap(), trace.to_str().unwrap());
    let size = ["--steps", "2", "--width", "16", "--height", "16", "--model", path];
    let record = ["run", "--record", trace, "--modules", "all", "--record-steps", "0"];
    let ran = diffuscope(&[&record[..], &size].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = diffuscope(&["diff", trace, "--model", path], "");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    // With the other VAE, the decoder's modules differ.
    let other = single("sd2");
    let vae = other.write();
    let ran = diffuscope(&["diff", trace, "--model", path, "--vae", vae.to_str().unwrap()], "");
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("vae."), "{}", ran.stdout);
}

//! What a user mistypes and what a folder lacks: one line that names the culprit and what would be right.

use crate::support::program::{Ran, diffuscope};
use std::fs;
use std::path::{Path, PathBuf};

/// The run failed with `code`, in one line that holds every one of `said`, without panic or backtrace.
fn assert_refused(ran: &Ran, code: i32, said: &[&str]) {
    assert_eq!(ran.code, Some(code), "stderr: {}", ran.stderr);
    let stderr = ran.stderr.trim_end();
    for words in ["panicked", "RUST_BACKTRACE", "stack backtrace", "   0: "] {
        assert!(!stderr.contains(words), "{stderr}");
    }
    for words in said {
        assert!(stderr.contains(words), "`{words}` is not in: {stderr}");
    }
    if code == 1 {
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
}

#[track_caller]
fn refused(args: &[&str], said: &[&str]) {
    assert_refused(&diffuscope(args, ""), 1, said);
}

#[test]
fn settings_that_cannot_work() {
    refused(&["run", "--steps", "0"], &["num_inference_steps is 0; expected 1 to 1000"]);
    refused(&["run", "--steps", "1001"], &["num_inference_steps is 1001; expected 1 to 1000"]);
    refused(&["run", "--steps", "1000"], &["leading spacing", "1000"]);
    refused(&["run", "--width", "0"], &["width is 0; expected a multiple of 8"]);
    refused(&["run", "--height", "100"], &["height is 100; expected a multiple of 8, such as 104"]);
    refused(&["run", "--guidance-scale", "NaN"], &["guidance_scale is NaN; expected a finite number"]);
    refused(&["run", "--guidance-scale", "-inf"], &["guidance_scale is -inf; expected a finite number"]);
    refused(&["run", "--eta", "2"], &["eta is 2", "expected 0 to 1"]);
    refused(&["run", "--eta", "NaN"], &["eta is NaN"]);
    refused(
        &["run", "--width", "8000000", "--height", "8000000"],
        &["8000000×8000000 pixels need", "are free"],
    );
    refused(&["run", "--width", "18446744073709551608"], &["width", "need"]);
}

#[test]
fn what_clap_can_judge_exits_2() {
    for args in [
        &["run", "--steps", "many"][..],
        &["run", "--steps="],
        &["run", "--device", "gpu"],
        &["run", "--dtype", "f8"],
        &["debug", "--batch"],
        &["debug", "-x", "-"],
        &["walk"],
        &["run", "--seed", "1.5"],
    ] {
        assert_refused(&diffuscope(args, ""), 2, &["error: "]);
    }
}

#[test]
fn every_subcommand_helps_with_examples() {
    for args in [
        &["--help"][..],
        &["debug", "--help"],
        &["run", "--help"],
        &["model", "--help"],
        &["model", "info", "--help"],
    ] {
        let ran = diffuscope(args, "");
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("Examples:\n  diffuscope"), "{args:?}");
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_that_is_not_there() {
    refused(&["run", "--device", "cuda"], &["--device cuda:0", "without CUDA", "--device cpu"]);
}

#[test]
fn models_that_are_not_there() {
    refused(&["run", "--model", "no/such/folder"], &["no/such/folder", "a checkpoint folder"]);
    refused(&["run", "--model", ""], &["a checkpoint folder"]);
    refused(&["run", "--model", "Cargo.toml"], &["Cargo.toml: a file", "a checkpoint folder"]);
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    refused(&["run", "--model", empty], &["model_index.json: no such file"]);
    refused(&["model", "info", empty], &["model_index.json: no such file"]);
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_the_run() {
    // So many steps that a run before the error would be noticed.
    let slow = ["run", "--steps", "999"];
    let folder = tempfile::tempdir().unwrap();
    let folder_png = folder.path().join("a.png");
    fs::create_dir(&folder_png).unwrap();
    for (flag, file) in [("-o", "no/such/folder/a.png"), ("--dump", "no/such/folder/a.safetensors")] {
        refused(&[&slow[..], &[flag, file]].concat(), &[file, "cannot be written"]);
    }
    refused(&[&slow[..], &["-o", folder_png.to_str().unwrap()]].concat(), &["a.png", "it is a folder"]);
    refused(&[&slow[..], &["-o", "a.jpg"]].concat(), &["a.jpg: expected a file that ends in .png"]);
}

#[test]
fn batches_that_cannot_be_read() {
    refused(&["debug", "--batch", "-x", "no/such/file"], &["no/such/file", "a file of debugger commands"]);
    refused(&["debug", "--batch", "-x", "."], &[".: a folder; expected a file of debugger commands"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands.txt");
    fs::write(&file, b"next\n\xff\xfe\n").unwrap();
    let ran = diffuscope(&["debug", "--batch", "-x", file.to_str().unwrap()], "");
    assert_refused(&ran, 1, &["commands.txt: line 2: expected text in UTF-8"]);
}

#[test]
fn commands_that_make_no_sense() {
    for (commands, line, said) in [
        ("walk", 1, "`walk` is no command; expected one of next"),
        ("back", 1, "nothing is before encode_prompt"),
        ("continue\nnext", 2, "the run is complete"),
        ("next 2\nuntil get_latent", 2, "get_latent does not lie ahead"),
        ("goto denoise 7", 1, "denoise 7 is not in this run of 2 steps; expected denoise 0 to 1"),
        ("break mid_block", 1, "`mid_block` is no stage"),
        ("break unet.midblock", 1, "no module is called `unet.midblock`; did you mean `unet.mid_block`?"),
        ("break denoise if latents.std >", 1, "`latents.std >` is no expression"),
        ("delete 3", 1, "there is no breakpoint 3"),
        ("info weather", 1, "nothing is known of `weather`"),
        ("print latents", 1, "`latents` is not there"),
        ("next 2\nprint latents.colour", 2, "a tensor has no `colour`; expected one of shape, dtype"),
        (
            "next 2\nprint latents + prompt_embeds",
            2,
            "shapes [1, 4, 16, 16] and [1, 77, 128]; expected the same",
        ),
        ("set width 100", 1, "width is 100; expected a multiple of 8"),
        ("set seed many", 1, "seed cannot be `many`; expected a whole number"),
        ("set guidance_scale inf", 1, "guidance_scale is inf; expected a finite number"),
        ("next 2\nset seed 4", 2, "seed cannot change once get_latent has run"),
        ("next 2\nsave latents latents.txt", 2, "expected .safetensors for numbers or .png for a picture"),
        ("next\nsave prompt_embeds a.png", 2, "prompt_embeds is not a picture"),
        ("save latents a.png", 1, "`latents` is not there"),
        ("next 2\nsave latents no/such/a.png", 2, "no/such/a.png: cannot be written"),
    ] {
        let ran = diffuscope(&["debug", "--batch", "-x", "-", "--steps", "2"], commands);
        assert_refused(&ran, 1, &[&format!("stdin: line {line}: "), said]);
    }
}

/// A copy of the bundled model to break, its large files linked.
fn broken(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let pocket = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/pocket");
    for component in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        fs::create_dir_all(copy.path().join(component)).unwrap();
        for entry in fs::read_dir(pocket.join(component)).unwrap() {
            let file = entry.unwrap().path();
            let to = copy.path().join(component).join(file.file_name().unwrap());
            if file.extension().is_some_and(|e| e == "safetensors") {
                fs::hard_link(&file, &to).or_else(|_| fs::copy(&file, &to).map(drop)).unwrap();
            } else if file.is_file() {
                fs::copy(&file, &to).unwrap();
            }
        }
    }
    change(copy.path());
    copy
}

#[track_caller]
fn refused_model(change: impl FnOnce(&Path), said: &[&str]) {
    let model = broken(change);
    refused(&["run", "--steps", "1", "--model", model.path().to_str().unwrap()], said);
}

/// Takes a file away, so that another may be written in its place: the original is linked.
fn replace(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[test]
fn checkpoints_with_something_broken() {
    refused_model(
        |m| fs::remove_file(m.join("unet/config.json")).unwrap(),
        &["unet/config.json: no such file"],
    );
    refused_model(
        |m| replace(&m.join("unet/config.json"), b"{\n  \"a\": ,\n}"),
        &["unet/config.json: line 2", "not valid JSON"],
    );
    refused_model(
        |m| fs::remove_file(m.join(UNET)).unwrap(),
        &["unet: no weights", "diffusion_pytorch_model.safetensors"],
    );
    refused_model(|m| replace(&m.join(UNET), b"hello"), &[UNET, "not a whole safetensors file"]);
    refused_model(
        |m| replace(&m.join(UNET), &(1u64 << 60).to_le_bytes()),
        &[UNET, "its header claims 1152921504606846976 bytes"],
    );
    refused_model(
        |m| {
            let bytes = fs::read(m.join(UNET)).unwrap();
            replace(&m.join(UNET), &bytes[..bytes.len() / 2]);
        },
        &[UNET, "describes", "fetch or copy it again"],
    );
    refused_model(|m| replace(&m.join("tokenizer/vocab.json"), b"{}"), &["tokenizer/vocab.json", "empty"]);
    refused_model(
        |m| fs::write(m.join("tokenizer/tokenizer.json"), b"{}").unwrap(),
        &["tokenizer/tokenizer.json: `model` is missing"],
    );
    refused_model(
        |m| {
            fs::remove_file(m.join("vae/config.json")).unwrap();
            fs::create_dir(m.join("vae/config.json")).unwrap();
        },
        &["vae/config.json: a folder"],
    );
    refused_model(
        |m| {
            fs::remove_file(m.join(UNET)).unwrap();
            fs::create_dir(m.join(UNET)).unwrap();
        },
        &[UNET, "a folder"],
    );
    refused_model(
        |m| replace(&m.join("model_index.json"), br#"{"_class_name": "StableDiffusionXLPipeline"}"#),
        &[
            "`_class_name` is \"StableDiffusionXLPipeline\", Stable Diffusion XL",
            "; expected \"StableDiffusionPipeline\"",
        ],
    );
}

#[cfg(unix)]
#[test]
fn links_that_go_round() {
    refused_model(
        |m| {
            fs::remove_file(m.join(UNET)).unwrap();
            std::os::unix::fs::symlink(m.join(UNET), m.join(UNET)).unwrap();
        },
        &[UNET, "symbolic link"],
    );
}

#[test]
fn configurations_with_something_wrong() {
    for (file, key, value, said) in [
        ("unet/config.json", "attention_head_dim", "0", "`attention_head_dim` is 0"),
        ("unet/config.json", "norm_num_groups", "7", "`norm_num_groups` is 7"),
        (
            "unet/config.json",
            "act_fn",
            "\"relu\"",
            "`act_fn` is \"relu\"; expected one of \"silu\", \"swish\"",
        ),
        ("unet/config.json", "block_out_channels", "[64, 128, 320]", "config.json asks for"),
        ("unet/config.json", "in_channels", "9", "the UNet takes 9"),
        ("vae/config.json", "scaling_factor", "0", "`scaling_factor` is 0"),
        ("vae/config.json", "norm_num_groups", "0", "`norm_num_groups` is 0"),
        ("text_encoder/config.json", "num_attention_heads", "0", "`num_attention_heads` is 0"),
        (
            "text_encoder/config.json",
            "num_attention_heads",
            "3",
            "`num_attention_heads` is 3; expected a divisor of `hidden_size`, 128",
        ),
        (
            "text_encoder/config.json",
            "num_hidden_layers",
            "4",
            "encoder.layers.3.layer_norm1.weight` is missing",
        ),
        ("scheduler/scheduler_config.json", "prediction_type", "\"flow\"", "`prediction_type` is \"flow\""),
        ("tokenizer/tokenizer_config.json", "model_max_length", "12", "`model_max_length` is 12"),
    ] {
        refused_model(
            |m| {
                let mut json: serde_json::Value =
                    serde_json::from_slice(&fs::read(m.join(file)).unwrap()).unwrap();
                json[key] = serde_json::from_str(value).unwrap();
                replace(&m.join(file), json.to_string().as_bytes());
            },
            &[said],
        );
    }
}

#[test]
fn only_half_precision_weights_are_enough() {
    let model = broken(|m| {
        fs::rename(m.join(UNET), m.join("unet/diffusion_pytorch_model.fp16.safetensors")).unwrap()
    });
    let ran = diffuscope(&["--steps", "1", "--model", model.path().to_str().unwrap()], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn the_expectation_fits_the_fault() {
    refused_model(
        |folder| {
            fs::remove_file(folder.join("model_index.json")).unwrap();
            std::os::unix::fs::symlink("model_index.json", folder.join("model_index.json")).unwrap();
        },
        &["model_index.json", "expected a readable file"],
    );
}

//! The walk itself: the real binary, from `encode_prompt` to a decoded image, back, and again.

use crate::support::program::{batch, diffuscope};
use candle_core::{Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Models, Request, Snapshot, Stage, advance};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Enough steps to have a first, a middle and a last.
const STEPS: [&str; 2] = ["--steps", "3"];

fn positions(outcomes: &[Value]) -> Vec<&str> {
    outcomes.iter().map(|outcome| outcome["position"].as_str().unwrap()).collect()
}

fn names(outcome: &Value) -> Vec<&str> {
    outcome["tensors"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn from_a_prompt_to_an_image_stage_by_stage() {
    let outcomes = batch(&STEPS, "next\nnext\nnext\nnext\nnext\nnext\n");
    let expected = ["get_latent", "denoise 0", "denoise 1", "denoise 2", "vae_decode", "complete"];
    assert_eq!(positions(&outcomes), expected);
    assert_eq!(
        names(&outcomes[0]),
        ["input_ids", "negative_input_ids", "prompt_embeds", "negative_prompt_embeds"]
    );
    assert_eq!(names(&outcomes[1]), ["latents"]);
    assert_eq!(
        names(&outcomes[2]),
        [
            "uncond_residual",
            "text_cond_residual",
            "guided_noise_residual",
            "pred_original_sample",
            "pred_epsilon",
            "pred_sample_direction",
            "latents",
        ]
    );
    let image = &outcomes[5]["tensors"][0];
    assert_eq!((&image["name"], &image["stage"]), (&"image".into(), &"vae_decode".into()));
    assert_eq!(image["shape"], serde_json::json!([1, 3, 128, 128]));
    assert!(image["min"].as_f64() >= Some(0.) && image["max"].as_f64() <= Some(1.));
    assert!(image["std"].as_f64() > Some(0.05), "a flat picture: {image}");
    for row in outcomes.iter().flat_map(|outcome| outcome["tensors"].as_array().unwrap()) {
        assert_eq!((&row["nan"], &row["inf"]), (&0.into(), &0.into()), "{row}");
    }
}

#[test]
fn going_back_shows_what_was_and_computes_nothing() {
    let outcomes = batch(&STEPS, "continue\ngoto denoise 1\nnext\nback 3\nreverse-continue\n");
    assert_eq!(positions(&outcomes), ["complete", "denoise 1", "denoise 2", "get_latent", "encode_prompt"]);
    let again = batch(&STEPS, "until denoise 2\n");
    assert_eq!(outcomes[2]["tensors"], again[0]["tensors"]);
    assert!(names(&outcomes[4]).is_empty());
}

#[test]
fn after_restart_and_in_another_process_every_bit_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (a, b, c) = (file("a.safetensors"), file("b.safetensors"), file("c.safetensors"));
    // eta over 0, so that the generator's state counts too.
    let args = ["--steps", "3", "--eta", "0.5"];
    batch(&args, &format!("continue\nsave all {a}\nrestart\ncontinue\nsave all {b}\n"));
    batch(&args, &format!("until denoise 1\nback 2\nc\nsave all {c}\n"));
    let (a, b, c) = (dump(&a), dump(&b), dump(&c));
    assert!(a.contains_key("denoise.002/latents") && a.contains_key("vae_decode/image"));
    assert_eq!(a, b, "after restart");
    assert_eq!(a, c, "in another process, with a step back in between");
}

fn dump(file: &str) -> HashMap<String, Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(key, view)| (key.to_string(), view.data().to_vec())).collect()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn advancing_one_snapshot_twice_gives_the_same_bits() {
    let models = Models::load(ModelSource::Bundled, Device::Cpu, candle_core::DType::F32).unwrap();
    let request = Request { num_inference_steps: 2, eta: 0.5, ..Request::for_models(&models, "red apple") };
    let mut snapshot = Snapshot::start(request, &models).unwrap();
    while let Some(stage) = snapshot.position() {
        let next = advance(&snapshot, &models, &mut Unwatched).unwrap();
        let again = advance(&snapshot, &models, &mut Unwatched).unwrap();
        if stage != Stage::EncodePrompt {
            let (a, b) = (next.last().unwrap(), again.last().unwrap());
            for ((name, a), (_, b)) in a.tensors.iter().zip(&b.tensors) {
                assert_eq!(bits(a), bits(b), "{stage}: {name}");
            }
        }
        snapshot = next;
    }
    assert!(advance(&snapshot, &models, &mut Unwatched).is_err(), "there is nothing behind vae_decode");
}

#[test]
fn breakpoints_stop_where_their_condition_holds() {
    let outcomes = batch(
        &["--steps", "6"],
        "break denoise if step >= 2 && latents.std > 0.0\ntbreak vae_decode\ncontinue\ncontinue\ndelete 1\ncontinue\ninfo breakpoints\ncontinue\n",
    );
    assert_eq!(
        positions(&outcomes),
        [
            "encode_prompt",
            "encode_prompt",
            "denoise 2",
            "denoise 3",
            "denoise 3",
            "vae_decode",
            "vae_decode",
            "complete"
        ]
    );
    assert_eq!(
        outcomes[2]["stopped"],
        "stopped at breakpoint 1 at denoise if step >= 2 && latents.std > 0.0"
    );
    assert_eq!(outcomes[6]["messages"][0], "no breakpoints", "the temporary one is gone");
}

#[test]
fn a_condition_that_cannot_be_told_stops_and_says_why() {
    let outcomes = batch(&STEPS, "break denoise if lats.std > 1.0\ncontinue\n");
    assert_eq!(outcomes[1]["position"], "denoise 0");
    assert!(
        outcomes[1]["stopped"].as_str().unwrap().contains("`lats` is not there; expected one of input_ids")
    );
}

#[test]
fn a_setting_changes_what_comes_next_on_a_timeline_of_its_own() {
    let outcomes = batch(
        &STEPS,
        "continue\ngoto denoise 1\nset guidance_scale 1\nnext\nprint (guided_noise_residual - text_cond_residual).l2 < 0.001\nset prompt a green pear\nnext\nprint prompt\n",
    );
    let forked = outcomes[2]["messages"][1].as_str().unwrap();
    assert!(forked.contains("branched off main before denoise 1; `switch main` goes back"), "{forked}");
    assert_eq!(outcomes[4]["value"], true, "at scale 1 guidance is the text residual alone");
    assert_eq!(outcomes[5]["messages"][1], "the prompt is encoded again before the next stage runs");
    assert_eq!(outcomes[7]["value"], "a green pear");
}

#[test]
fn a_changed_prompt_is_encoded_again() {
    let show = "print prompt_embeds.l2\n";
    let l2 = |commands: &str| batch(&STEPS, commands).pop().unwrap()["value"].as_f64().unwrap();
    let changed = l2(&format!("until denoise 1\nset prompt a green pear\nnext\n{show}"));
    let fresh = l2(&format!("set prompt a green pear\nuntil denoise 1\n{show}"));
    let old = l2(&format!("until denoise 1\n{show}"));
    assert_eq!(changed, fresh);
    assert_ne!(changed, old);
}

#[test]
fn the_first_failing_command_ends_a_batch_with_its_line() {
    let ran = diffuscope(
        &["debug", "--batch", "-x", "-", "--json", "--steps", "2"],
        "next\n\n# why\nnext 0\nnext\n",
    );
    assert_eq!(ran.code, Some(1));
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["line"], 4);
    assert!(last["error"].as_str().unwrap().contains("`0` is no count"));
    assert!(ran.stderr.starts_with("error: stdin: line 4: next: `0` is no count"), "{}", ran.stderr);
}

#[test]
fn without_a_terminal_the_walk_is_printed() {
    let ran = diffuscope(&["--steps", "2"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in ["encode_prompt done", "get_latent done", "denoise 1 done", "vae_decode done", "  image "] {
        assert!(ran.stdout.contains(line), "{line} is missing in\n{}", ran.stdout);
    }
}

#[test]
fn run_writes_a_picture_with_its_settings_and_a_dump() {
    let folder = tempfile::tempdir().unwrap();
    let (image, dumped) = (folder.path().join("a.png"), folder.path().join("a.safetensors"));
    std::fs::write(&image, "an old file is replaced").unwrap();
    let args = ["run", "--steps", "2", "--seed", "7", "--negative-prompt=", "--prompt", "りんご"];
    let files = ["-o", image.to_str().unwrap(), "--dump", dumped.to_str().unwrap()];
    let ran = diffuscope(&[&args[..], &files].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(parameters(&image).lines().next(), Some("りんご"));
    assert!(
        parameters(&image)
            .contains("Steps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 128x128, Model: pocket")
    );

    let bytes = std::fs::read(&dumped).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |key: &str| tensors.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}")).shape().to_vec();
    for key in ["encode_prompt/input_ids", "encode_prompt/negative_input_ids"] {
        assert_eq!(shape(key), [1, 77]);
        assert_eq!(tensors.tensor(key).unwrap().dtype(), safetensors::Dtype::I64);
    }
    for key in ["encode_prompt/prompt_embeds", "encode_prompt/negative_prompt_embeds"] {
        assert_eq!(shape(key), [1, 77, 128]);
    }
    assert_eq!(shape("get_latent/latents"), [1, 4, 16, 16]);
    for step in ["denoise.000", "denoise.001"] {
        for name in [
            "uncond_residual",
            "text_cond_residual",
            "guided_noise_residual",
            "pred_original_sample",
            "pred_epsilon",
            "latents",
        ] {
            assert_eq!(shape(&format!("{step}/{name}")), [1, 4, 16, 16]);
        }
    }
    assert_eq!(shape("vae_decode/image"), [1, 3, 128, 128]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let settings = header.metadata().clone().unwrap();
    assert_eq!((settings["prompt"].as_str(), settings["seed"].as_str()), ("りんご", "7"));
}

fn parameters(file: &Path) -> String {
    let file = std::io::BufReader::new(std::fs::File::open(file).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    let info = reader.info();
    let latin = info.uncompressed_latin1_text.iter().map(|chunk| chunk.text.clone());
    let other = info.utf8_text.iter().map(|chunk| chunk.get_text().unwrap());
    latin.chain(other).next().unwrap()
}

#[test]
fn a_prompt_that_is_too_long_is_cut_and_the_cut_is_quoted() {
    let prompt = "cat ".repeat(80);
    let ran = diffuscope(&["run", "--steps", "1", "--prompt", &prompt], "");
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("warning: the prompt is longer than 77 tokens"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\"cat cat cat cat cat\""), "{}", ran.stderr);
}

#[test]
fn every_dtype_walks() {
    for dtype in ["f16", "bf16"] {
        let outcomes = batch(&["--steps", "2", "--dtype", dtype], "continue\n");
        let image = &outcomes[0]["tensors"][0];
        assert_eq!((&image["nan"], &image["inf"]), (&0.into(), &0.into()), "{dtype}: {image}");
        let exact = batch(&["--steps", "2"], "continue\n");
        let (ours, exact) =
            (image["mean"].as_f64().unwrap(), exact[0]["tensors"][0]["mean"].as_f64().unwrap());
        assert!((ours - exact).abs() < 0.05, "{dtype}: mean {ours} and in f32 {exact}");
    }
}

#[test]
fn model_info_tells_without_loading() {
    let ran = diffuscope(&["model", "info", "--json"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let info: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names: Vec<_> =
        info["components"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["text_encoder", "unet", "vae"]);
    assert!(info["components"][1]["parameters"].as_u64() > Some(1_000_000));
    assert!(diffuscope(&["model", "info"], "").stdout.contains("block_out_channels"));
}

#[test]
fn what_is_not_finite_is_caught_where_it_was_made() {
    // The first step leaves latents beyond 65504, where f16 ends, so the UNet of the second has no number for them.
    let outcomes = batch(
        &[&STEPS[..], &["--dtype", "f16"]].concat(),
        "catch nan\nset guidance_scale 1e6\ncontinue\ninfo breakpoints\ndelete 1\ncontinue\n",
    );
    let said = |index: usize| outcomes[index]["messages"][0].as_str().unwrap().to_string();
    assert_eq!(said(0), "catchpoint 1 for NaN and infinity");
    // The step is recorded, and runs again to the first piece that made it.
    assert_eq!(outcomes[2]["position"], "denoise 1");
    let stopped = outcomes[2]["stopped"].as_str().unwrap();
    assert!(stopped.contains("catchpoint 1") && stopped.contains("uncond_residual"), "{stopped}");
    assert!(
        stopped.contains("unet.conv_in made what is not finite, of what is not finite already"),
        "{stopped}"
    );
    assert_eq!(outcomes[2]["value"]["module"], "unet.conv_in");
    assert!(said(3).ends_with("(stopped 1 times)"), "{}", said(3));
    assert_eq!(outcomes[5]["position"], "complete");
}

#[test]
fn displays_are_shown_after_every_stop() {
    let outcomes = batch(&STEPS, "display latents.std\ndisplay step\nnext 2\nnext\nundisplay 1\nnext\n");
    let shown = |index: usize| {
        let displays = outcomes[index]["displays"].as_array().cloned().unwrap_or_default();
        displays.iter().map(|d| d["value"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shown(0), ["not there yet"]);
    assert_eq!((shown(2).len(), shown(2)[1].as_str()), (2, "0"));
    assert!(shown(3)[0].parse::<f64>().unwrap() > 0.5);
    assert_eq!(shown(5), ["2"]);
}

#[test]
fn a_picture_is_told_where_it_cannot_be_shown() {
    let outcomes = batch(&STEPS, "goto denoise 1\nshow difference\nset preview every 5\n");
    assert_eq!(outcomes[1]["picture"]["width"], 32);
    assert!(outcomes[1]["messages"][0].as_str().unwrap().starts_with("difference: 32×32 pixels"));
    assert_eq!(outcomes[2]["messages"][0], "preview = every 5 steps");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let dumps = ["1", "2", "3"].map(|threads| {
        let (picture, dump) =
            (folder.path().join("a.png"), folder.path().join(format!("{threads}.safetensors")));
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_diffuscope"))
            .args(["run", "--steps", "1", "-o", picture.to_str().unwrap(), "--dump", dump.to_str().unwrap()])
            .env("RAYON_NUM_THREADS", threads)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success());
        std::fs::read(dump).unwrap()
    });
    let [one, others @ ..] = dumps.each_ref().map(|dump| SafeTensors::deserialize(dump).unwrap());
    assert_eq!(one.len(), 13);
    for (name, tensor) in one.tensors() {
        for other in &others {
            assert!(tensor.data() == other.tensor(&name).unwrap().data(), "{name}");
        }
    }
}

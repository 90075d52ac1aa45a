//! The public checkpoints: what their small files become, whose scheduler DDIM stands in for, SD-Turbo's preset, and which other
//! kinds are refused by name. (That their miniatures compute what diffusers computes is in `parity_models.rs` and
//! `parity_run.rs`.)

use crate::support::checkpoint::{Checkpoint, checkpoint, from_fixture};
use crate::support::fixture;
use crate::support::program::{batch, diffuscope};
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::{LoadError, ModelSource};
use diffuscope::model::ClipTokenizer;
use diffuscope::model::clip::ClipTextConfig;
use diffuscope::model::unet::UNetConfig;
use diffuscope::model::vae::VaeConfig;
use diffuscope::nn::{ConfigError, ConfigFile, Path, Probe, Unwatched};
use diffuscope::pipeline::models::Configs;
use diffuscope::pipeline::preset::SD_TURBO;
use diffuscope::pipeline::{Models, Request};
use diffuscope::scheduler::{Class, SchedulerConfig, scheduler};
use serde_json::{Value, json};
use std::fs;

const EIGHT: [&str; 8] = ["sd14", "sd15", "sd2", "sd2-base", "sd21", "sd21-base", "sd-turbo", "bk-sdm-tiny"];

/// The small files of the public checkpoint `name`, with a vocabulary and without weights.
fn published(name: &str) -> Checkpoint {
    from_fixture(&format!("published/{name}"), "")
}

fn load(checkpoint: &Checkpoint, dtype: DType) -> Models {
    Models::load(checkpoint.source(), Device::Cpu, dtype).unwrap()
}

/// A configuration out of a whole JSON object, such as diffusers' own completed one.
fn of<T>(whole: &Value, read: fn(&ConfigFile) -> Result<T, ConfigError>) -> T {
    read(&ConfigFile::parse("completed", whole.to_string().as_bytes()).unwrap()).unwrap()
}

/// The files of the eight, with the keys that they have, become what diffusers' and transformers' classes make of them, in which
/// every key stands.
#[test]
fn the_eight_are_read_as_their_classes_read_them() {
    for name in EIGHT {
        let theirs = &fixture::json("published")[name];
        let folder = published(name);
        let ours = Configs::load(&folder.source()).unwrap();
        assert_eq!(ours.unet, of(&theirs["unet"], UNetConfig::read), "{name}");
        assert_eq!(ours.vae, of(&theirs["vae"], VaeConfig::read), "{name}");
        assert_eq!(ours.text_encoder, of(&theirs["text_encoder"], ClipTextConfig::read), "{name}");
        let ddim = ours.scheduler.named("ddim").unwrap();
        let expected = of(&theirs["scheduler"], |file| SchedulerConfig::read(file, Class::Ddim));
        assert_eq!(*ddim.config(), expected, "{name}");

        let timesteps: Vec<f64> = serde_json::from_value(theirs["timesteps"].clone()).unwrap();
        assert_eq!(scheduler(ddim.config(), 20, 0.).unwrap().timesteps(), timesteps, "{name}");
        let scale = ours.vae.scale_factor();
        let size = [ours.unet.sample_size.0 * scale, ours.unet.sample_size.1 * scale];
        assert_eq!(json!(size), theirs["size"], "{name}");
        let tokenizer = ClipTokenizer::load(&folder.source(), ours.text_encoder.vocab_size).unwrap();
        let padded = tokenizer.encode("").unwrap().input_ids;
        assert_eq!(json!(padded.last()), theirs["pad_token_id"], "{name}");
    }
}

/// What a reader is told of each: SD-Turbo's preset, and nothing of keys that were not understood.
#[test]
fn what_is_told_of_the_eight() {
    let mut told = String::new();
    for name in EIGHT {
        let folder = published(name);
        let configs = Configs::load(&folder.source()).unwrap();
        let path = folder.path().display().to_string();
        for note in &configs.notes {
            told += &format!("{name}: {}\n", note.replace(&path, "FOLDER"));
        }
    }
    let turbo =
        "sd-turbo: FOLDER: SD-Turbo's preset: 1 step, guidance_scale 1; explicit settings take precedence\n";
    assert_eq!(told, turbo);
}

/// What the article's readers know of them, not by way of any code.
#[test]
fn facts_of_the_eight() {
    let configs = |name| Configs::load(&published(name).source()).unwrap();
    let (sd14, sd2, tiny) = (configs("sd14"), configs("sd2"), configs("bk-sdm-tiny"));
    assert_eq!((sd14.vae.norm_num_groups, sd14.vae.scaling_factor), (32, 0.18215));
    assert_eq!((sd14.unet.sample_size, sd2.unet.sample_size), ((64, 64), (96, 96)));
    assert_eq!((sd14.text_encoder.hidden_size, sd2.text_encoder.hidden_size), (768, 1024));
    assert_eq!(sd2.text_encoder.num_hidden_layers, 23);
    assert_eq!(sd2.unet.blocks.iter().map(|level| level.heads).collect::<Vec<_>>(), [5, 10, 20, 20]);
    assert!(
        !tiny.unet.has_mid_block && tiny.unet.innermost().down_attends && tiny.unet.innermost().up_attends
    );
    assert_eq!(
        tiny.unet.blocks.iter().map(|l| (l.channels, l.layers)).collect::<Vec<_>>(),
        [(320, 1), (640, 1), (1280, 1)]
    );
}

#[test]
fn the_default_size_is_the_checkpoints_own() {
    // `old` has 32, which diffusers before 0.9 wrote and never meant.
    for (name, size) in [("old", 512), ("tiny", 64), ("turbo", 48), ("sd1", 64)] {
        let request = Request::for_models(&load(&checkpoint(name), DType::F32), "");
        assert_eq!((request.width, request.height), (size, size), "{name}");
    }
    let folder = checkpoint("tiny");
    folder.set("unet/config.json", "sample_size", json!([4, 6]));
    let args = ["--model", folder.path().to_str().unwrap(), "--steps", "1"];
    let outcomes = batch(&args, "info request\ncontinue\n");
    assert_eq!(outcomes[0]["value"]["height"], 32);
    assert_eq!(outcomes[0]["value"]["width"], 48);
    assert_eq!(outcomes[1]["tensors"][0]["shape"], json!([1, 3, 32, 48]));
}

#[test]
fn turbo_is_run_as_it_wants_and_flags_come_before_that() {
    let folder = checkpoint("turbo");
    let model = ["--model", folder.path().to_str().unwrap()];
    let asked = |flags: &[&str]| {
        let outcomes = batch(&[&model[..], flags].concat(), "info request\ninfo scheduler\n");
        let request = &outcomes[0]["value"];
        let settings = (request["num_inference_steps"].clone(), request["guidance_scale"].clone());
        (settings, outcomes[1]["value"].clone())
    };
    let (settings, scheduler) = asked(&[]);
    assert_eq!(settings, (json!(1), json!(1.0)));
    assert_eq!(scheduler["class"], "EulerDiscreteScheduler");
    assert_eq!(scheduler["timesteps"], json!([999.0]));
    assert_eq!((&scheduler["preset"], &scheduler["stands_in_for"]), (&json!("SD-Turbo"), &Value::Null));
    assert_eq!(asked(&["--steps", "4"]).0, (json!(4), json!(1.0)));
    assert_eq!(asked(&["--guidance-scale", "2"]).0, (json!(1), json!(2.0)));
    assert_eq!(asked(&["--steps", "20", "--guidance-scale", "7.5"]).0, (json!(20), json!(7.5)));

    // Everybody who does not ask is told.
    let ran =
        diffuscope(&[&["run"], &model[..], &["-o", folder.file("o.png").to_str().unwrap()]].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("SD-Turbo's preset: 1 step, guidance_scale 1"), "{}", ran.stderr);
    let ran = diffuscope(&[&["model", "info"], &model[1..]].concat(), "");
    assert!(ran.stdout.contains("class \"EulerDiscreteScheduler\""), "{}", ran.stdout);
}

#[test]
fn the_preset_is_turbos_alone() {
    let preset = |change: &dyn Fn(&Checkpoint)| {
        let folder = published("sd-turbo");
        change(&folder);
        let configs = Configs::load(&folder.source()).unwrap();
        configs.preset
    };
    let scheduler = |key: &'static str, value: Value| {
        move |folder: &Checkpoint| {
            folder.set("scheduler/scheduler_config.json", key, value.clone());
            if key == "_class_name" {
                folder.set("model_index.json", "scheduler", json!(["diffusers", value]));
            }
        }
    };
    assert_eq!(preset(&|_| ()), Some(SD_TURBO));
    let ancestral = scheduler("_class_name", json!("EulerAncestralDiscreteScheduler"));
    assert_eq!(preset(&ancestral), Some(SD_TURBO));
    for (what, is_other) in [
        ("another scheduler", scheduler("_class_name", json!("PNDMScheduler"))),
        ("another spacing", scheduler("timestep_spacing", json!("leading"))),
        ("another prediction", scheduler("prediction_type", json!("v_prediction"))),
        ("zero SNR", scheduler("rescale_betas_zero_snr", json!(true))),
    ] {
        assert_eq!(preset(&is_other), None, "{what}");
    }
    // An ordinary fine-tune with that scheduler.
    let renamed =
        |folder: &Checkpoint| folder.set("unet/config.json", "_name_or_path", json!("me/portraits"));
    assert_eq!(preset(&renamed), None);
    // Its pipeline's own name, or its folder's.
    let by_pipeline = |folder: &Checkpoint| {
        renamed(folder);
        folder.set("model_index.json", "_name_or_path", json!("stabilityai/sd-turbo"));
    };
    assert_eq!(preset(&by_pipeline), Some(SD_TURBO));
    let folder = published("sd-turbo");
    renamed(&folder);
    let home = tempfile::tempdir().unwrap();
    let named = home.path().join("my-Turbo-2");
    fs::rename(folder.path(), &named).unwrap();
    let source = ModelSource::parse(named.to_str().unwrap()).unwrap();
    assert_eq!(Configs::load(&source).unwrap().preset, Some(SD_TURBO));
}

#[test]
fn whose_place_ddim_has_is_told_on_request() {
    let folder = checkpoint("tiny");
    let args = ["--model", folder.path().to_str().unwrap(), "--steps", "2"];
    let outcomes = batch(&args, "info scheduler\n");
    let said: Vec<&str> =
        outcomes[0]["messages"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert_eq!(
        said,
        [
            "pndm (PNDMScheduler), the checkpoint's own",
            "3 timesteps, leading: 501 1 1",
            "prediction_type = epsilon",
            "sigma from 1.6237 to 0.0292",
            "2 steps are 3 calls of the UNet: denoise 0 and 1 are both calls of the first step",
        ]
    );
    folder.set("model_index.json", "scheduler", json!(["diffusers", "KDPM2DiscreteScheduler"]));
    let other = batch(&args, "info scheduler\n");
    assert_eq!(other[0]["messages"][0], "DDIM, which stands in for the checkpoint's KDPM2DiscreteScheduler");
    let own = batch(&["--steps", "2"], "info sched\n");
    assert_eq!(own[0]["messages"][0], "ddim (DDIMScheduler), the checkpoint's own");
    assert_eq!(own[0]["value"]["stands_in_for"], Value::Null);
}

/// `model_index.json` as fine-tunes have it.
#[test]
fn what_else_a_pipeline_may_have() {
    let folder = published("sd15");
    for (key, value) in [
        ("_class_name", json!("StableDiffusionImg2ImgPipeline")),
        ("_name_or_path", json!("runwayml/stable-diffusion-v1-5")),
        ("feature_extractor", json!(["transformers", "CLIPImageProcessor"])),
        ("image_encoder", json!(["transformers", "CLIPVisionModelWithProjection"])),
        ("safety_checker", json!([null, null])),
        ("requires_safety_checker", json!(true)),
        ("force_zeros_for_empty_prompt", json!(true)),
        ("tokenizer", json!(["transformers", "CLIPTokenizerFast"])),
        ("scheduler", json!(["diffusers", "UniPCMultistepScheduler"])),
        ("text_encoder", Value::Null),
    ] {
        folder.set("model_index.json", key, value.clone());
        assert!(Configs::load(&folder.source()).is_ok(), "{key}: {value}");
    }
}

/// Every one of these is told from the small files: there are no weights here to be read.
#[test]
fn other_kinds_are_refused_by_name_before_any_weight_is_read() {
    let refused = |folder: &Checkpoint, parts: &[&str]| {
        let error = Models::load(folder.source(), Device::Cpu, DType::F32).unwrap_err();
        let said = error.to_string();
        for part in parts {
            assert!(said.contains(part), "without {part:?}: {said}");
        }
        assert!(!said.contains('\n') && said.contains("expected "), "{said}");
        error
    };
    for (class, what) in [
        ("StableDiffusionInpaintPipeline", "inpainting: a UNet of 9 channels"),
        ("StableDiffusionXLPipeline", "Stable Diffusion XL: two text encoders"),
        ("StableDiffusion3Pipeline", "Stable Diffusion 3: a transformer"),
        ("FluxPipeline", "FLUX: a transformer"),
        ("StableDiffusionUpscalePipeline", "an upscaler"),
        ("StableDiffusionDepth2ImgPipeline", "depth to image: a UNet of 5 channels"),
        ("StableUnCLIPPipeline", "unCLIP"),
        ("StableDiffusionControlNetPipeline", "a ControlNet"),
        ("FlaxStableDiffusionPipeline", "weights for JAX"),
        ("SomethingNewPipeline", "which is unknown"),
    ] {
        let folder = published("sd2");
        folder.set("model_index.json", "_class_name", json!(class));
        let error =
            refused(&folder, &["model_index.json: `_class_name` is", class, what, "text to image with"]);
        assert!(matches!(error, LoadError::Kind { .. }), "{error}");
    }
    // A UNet of another kind under the usual name.
    for (channels, what) in
        [(9, "inpainting takes 9"), (5, "depth to image takes 5"), (8, "InstructPix2Pix takes 8")]
    {
        let folder = published("sd2");
        folder.set("unet/config.json", "in_channels", json!(channels));
        refused(&folder, &[&format!("the UNet takes {channels} channels and gives 4"), what]);
    }
    let folder = published("sd2");
    folder.set("model_index.json", "text_encoder", json!(["transformers", "CLIPTextModelWithProjection"]));
    refused(
        &folder,
        &["`text_encoder` is [\"transformers\",\"CLIPTextModelWithProjection\"]", "CLIPTextModel"],
    );
}

/// Asks for what the first attention attends to, and whether its products of queries and keys are infinite in f16.
struct Overflowing(bool);

impl Probe for Overflowing {
    fn wants(&self, path: &Path) -> bool {
        path.as_str() == "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.attention_probs"
    }

    fn enter(&mut self, _: &Path, inputs: &[&Tensor]) -> diffuscope::nn::Result<()> {
        let products = inputs[0].matmul(&inputs[1].t()?)?;
        assert_eq!(products.dtype(), DType::F16);
        let largest = products.to_dtype(DType::F32)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        self.0 = largest.is_infinite();
        Ok(())
    }
}

/// As in Stable Diffusion 2.1 in f16: the first attention's queries and keys are so large that their products leave f16.
#[test]
fn attention_in_f16_does_not_overflow_whatever_upcast_attention_says() {
    let folder = checkpoint("sd2");
    let mut weights = folder.weights("unet");
    for name in ["to_q", "to_k"] {
        let weight =
            weights.get_mut(&format!("down_blocks.0.attentions.0.transformer_blocks.0.attn1.{name}.weight"));
        let weight = weight.unwrap();
        *weight = (&*weight * 400.).unwrap();
    }
    folder.write_weights("unet", &weights);
    let predict = |models: &Models, probe: &mut dyn Probe| {
        let randn = |seed: u64, shape: &[usize]| {
            let values = diffuscope::tensor::Generator::manual_seed(seed).randn(shape.iter().product());
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(models.dtype).unwrap()
        };
        let (sample, embeds) = (randn(0, &[1, 4, 8, 8]), randn(1, &[1, 77, 32]));
        let residual = models.unet.forward(&sample, 501., &embeds, None, probe).unwrap();
        residual.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let exact = predict(&load(&folder, DType::F32), &mut Unwatched);
    let largest = exact.iter().fold(0f32, |most, x| most.max(x.abs()));
    let mut all = vec![];
    for upcast in [json!(true), json!(false), Value::Null] {
        folder.set("unet/config.json", "upcast_attention", upcast);
        let models = load(&folder, DType::F16);
        let mut asked = Overflowing(false);
        let watched = predict(&models, &mut asked);
        assert!(asked.0, "plainly computed nothing overflows");
        let made = predict(&models, &mut Unwatched);
        assert!(watched.iter().all(|x| x.is_finite()));
        for (a, b) in made.iter().zip(&exact) {
            assert!(a.is_finite() && (a - b).abs() < 0.05 * largest, "{a} and in f32 {b}");
        }
        all.push(made);
    }
    assert!(all[0] == all[1] && all[1] == all[2]);
}

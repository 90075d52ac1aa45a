//! Checkpoints in one file, in the original layout: what diffusers makes of them, tensor by tensor and in whole runs.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::fixture::json as fixture;
use crate::support::single::{Single, single};
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::changed::Changes;
use diffuscope::checkpoint::layout::Precision;
use diffuscope::checkpoint::single::names::{self, Names};
use diffuscope::checkpoint::single::prediction::Prediction;
use diffuscope::checkpoint::single::vae::Vae;
use diffuscope::checkpoint::{LoadError, ModelSource};
use diffuscope::nn::Unwatched;
use diffuscope::nn::weights::Shards;
use diffuscope::pipeline::{Models, Request, Snapshot, advance};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

const COMPONENTS: [&str; 3] = ["text_encoder", "unet", "vae"];
/// A whole run against diffusers.
const RUN: f64 = 1e-3;

fn changed(path: &Path, changes: &Changes) -> Result<ModelSource, LoadError> {
    ModelSource::parse_changed(path.to_str().unwrap(), changes)
}

fn source(path: &Path) -> ModelSource {
    changed(path, &Changes::default()).unwrap()
}

fn load(source: ModelSource) -> Models {
    Models::load(source, Device::Cpu, DType::F32).unwrap()
}

/// A tensor's numbers as `tools/fixtures/single_files.py` notes them.
fn digest(numbers: impl IntoIterator<Item = f32>) -> String {
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    sha256(&bytes)[..8].into()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every tensor of a component under diffusers' keys.
fn tensors(files: &Shards) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let read = |key: String, shape: Vec<usize>| {
        let (file, _) = files.find(&key).unwrap();
        let numbers = file.values(&key, 0..usize::MAX).unwrap();
        (key, (shape, numbers))
    };
    files.tensors().map(|(key, info)| read(key, info.shape.clone())).collect()
}

#[test]
fn every_tensor_is_diffusers_own_to_the_bit() {
    for name in ["sd1", "sd2"] {
        let file = single(name);
        let (source, table) = (source(&file.write()), fixture(&format!("single/{name}")));
        for component in COMPONENTS {
            let ours: BTreeMap<String, String> =
                tensors(&source.weights(component, Precision::Full).unwrap())
                    .into_iter()
                    .map(|(key, (_, numbers))| (key, digest(numbers)))
                    .collect();
            let theirs: BTreeMap<String, String> = serde_json::from_value(table[component].clone()).unwrap();
            assert_eq!(ours, theirs, "{name} {component}");
        }
    }
}

#[test]
fn averaged_weights_are_read_on_request() {
    for name in ["sd1", "sd2"] {
        let file = single(name).with_averages();
        let table = fixture(&format!("single/{name}"));
        let plain = source(&file.write());
        let ours = tensors(&plain.weights("unet", Precision::Full).unwrap());
        assert_eq!(digest(ours["conv_in.weight"].1.clone()), table["unet"]["conv_in.weight"]);
        assert!(plain.conclusions().iter().any(|line| line.contains("--ema reads them")));
        assert_eq!(plain.weight_notes(Precision::Full, []), Vec::<String>::new());

        let averaged = changed(&file.write(), &Changes { ema: true, ..Changes::default() }).unwrap();
        let ours = tensors(&averaged.weights("unet", Precision::Full).unwrap());
        let keys: Vec<&String> = ours.keys().collect();
        let theirs: Vec<&String> = table["unet"].as_object().unwrap().keys().collect();
        assert_eq!(keys, theirs);
        assert_eq!(
            digest(ours.into_values().flat_map(|(_, numbers)| numbers)),
            table["unet, averaged"]["all"]
        );
    }
}

/// The latents and the image of a run with the models' own scheduler.
fn run(models: &Models, request: Request) -> (Tensor, Tensor) {
    let mut snapshot = Snapshot::start(request, models).unwrap();
    while snapshot.position().is_some() {
        snapshot = advance(&snapshot, models, &mut Unwatched).unwrap();
    }
    let tensor = |name: &str| snapshot.tensor(name).unwrap().1.clone();
    (tensor("latents"), tensor("image"))
}

fn request(models: &Models, fixture: &Fixture) -> Request {
    let setting = |key: &str| fixture.setting(key).to_string();
    Request {
        negative_prompt: setting("negative_prompt"),
        height: setting("height").parse().unwrap(),
        width: setting("width").parse().unwrap(),
        num_inference_steps: setting("num_inference_steps").parse().unwrap(),
        guidance_scale: setting("guidance_scale").parse().unwrap(),
        seed: setting("seed").parse().unwrap(),
        ..Request::for_models(models, setting("prompt"))
    }
}

#[test]
fn whole_runs_agree_with_diffusers() {
    for name in ["sd1", "sd2"] {
        let file = single(name);
        let models = load(source(&file.write()));
        let fixture = Fixture::open(&format!("single/{name}"));
        let (latents, image) = run(&models, request(&models, &fixture));
        let mut differences = Differences::default();
        differences.note(&latents, fixture.tensor("latents"), "latents");
        differences.note(&image, fixture.tensor("image"), "image");
        differences.assert_within(RUN);
        assert!(models.notes.is_empty(), "{:?}", models.notes);
    }
}

/// Stable Diffusion 1 and 2 in full, every key: what diffusers' conversion makes of it.
#[test]
fn every_key_of_the_full_size_models_is_diffusers_own() {
    let attends = ([true, true, true, false], [true, true, true, false]);
    let tables: [(&str, Names); 4] = [
        ("unet", names::unet(2, &attends.0, &attends.1)),
        ("vae", names::vae("first_stage_model.", 4, 2)),
        ("sd1 text_encoder", names::clip("cond_stage_model.transformer.text_model.")),
        ("sd2 text_encoder", names::open_clip(23)),
    ];
    let expected = fixture("single/full_size");
    for (name, names) in tables {
        let mut lines = BTreeSet::new();
        let mut keys = 0;
        for pattern in expected[name]["patterns"].as_array().unwrap() {
            for stored in expanded(pattern.as_str().unwrap()) {
                keys += 1;
                for viewed in names.of_stored(&stored) {
                    assert_eq!(viewed.stored, stored);
                    assert_eq!(names.to_ldm(&viewed.key).as_ref(), Some(&stored), "there and back");
                    assert!(lines.insert(format!("{} {stored}\n", viewed.key)), "{stored}: a second time");
                }
            }
        }
        assert_eq!(lines.len(), expected[name]["tensors"], "{name}, {keys} keys");
        assert_eq!(
            sha256(lines.into_iter().collect::<String>().as_bytes()),
            expected[name]["sha256"],
            "{name}"
        );
    }
    // Without dots, no two keys of the UNet are one.
    let names = names::unet(2, &attends.0, &attends.1).ema();
    let patterns = expected["unet"]["patterns"].as_array().unwrap().iter();
    let stored: Vec<String> = patterns
        .flat_map(|pattern| expanded(pattern.as_str().unwrap()))
        .map(|stored| names.of_stored(&stored)[0].stored.clone())
        .collect();
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), stored.len());
    assert!(stored.contains(&"model_ema.diffusion_modelinput_blocks00weight".to_string()));
}

/// `a{b,c{d,e}}` is ab, acd, ace.
fn expanded(pattern: &str) -> Vec<String> {
    let Some(start) = pattern.find('{') else { return vec![pattern.into()] };
    let (mut depth, mut parts, mut begin) = (0, vec![], start + 1);
    for (at, c) in pattern.char_indices().skip(start) {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if (c == ',' && depth == 1) || depth == 0 {
            parts.push(&pattern[begin..at]);
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    let mut all = vec![];
    for part in parts {
        for middle in expanded(part) {
            all.extend(
                expanded(&pattern[begin..]).iter().map(|rest| format!("{}{middle}{rest}", &pattern[..start])),
            );
        }
    }
    all
}

/// A folder in the diffusers layout with the models of a single file.
fn as_folder(source: &ModelSource) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["text_encoder", "tokenizer", "unet", "vae", "scheduler"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for file in [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "vae/config.json",
    ] {
        fs::write(folder.path().join(file), source.read(file).unwrap().unwrap()).unwrap();
    }
    for component in COMPONENTS {
        let all = tensors(&source.weights(component, Precision::Full).unwrap());
        save(
            all,
            &folder.path().join(component).join(match component {
                "text_encoder" => "model.safetensors",
                _ => "diffusion_pytorch_model.safetensors",
            }),
        );
    }
    folder
}

fn save(tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>, file: &Path) {
    let tensor =
        |(shape, numbers): (Vec<usize>, Vec<f32>)| Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
    let tensors: HashMap<String, Tensor> = tensors.into_iter().map(|(key, all)| (key, tensor(all))).collect();
    candle_core::safetensors::save(&tensors, file).unwrap();
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// A folder with the same tensors gives the same image, in every dtype.
#[test]
fn a_folder_of_the_same_models_gives_the_same_image() {
    for (name, dtype) in
        [("sd1", None), ("sd1", Some("F16")), ("sd2", Some("BF16")), ("sd1", Some("F8_E4M3"))]
    {
        let mut file = dtype.into_iter().fold(single(name), Single::cast);
        file.metadata.insert("modelspec.prediction_type".into(), "v".into());
        let source = source(&file.write());
        let folder = as_folder(&source);
        let fixture = Fixture::open(&format!("single/{name}"));
        let image = |source: ModelSource| {
            let models = load(source);
            bits(&run(&models, request(&models, &fixture)).1)
        };
        assert_eq!(image(source), image(self::source(folder.path())), "{name} {dtype:?}");
    }
}

/// What is found out of the prediction type: the scheduler, the training size, and the line that says why.
fn prediction(file: &Single, changes: &Changes) -> (String, usize, String) {
    let models = load(changed(&file.write(), changes).unwrap());
    let why = models.remarks.iter().find(|line| line.contains("it predicts ")).unwrap().clone();
    let config = models.scheduler.config();
    (
        format!("{} {}", config.class.name(), config.prediction_type.name()),
        models.unet.config().sample_size.0,
        why,
    )
}

#[test]
fn the_prediction_type_of_metadata_and_flags() {
    let (epsilon, v) = ("PNDMScheduler epsilon", "DDIMScheduler v_prediction");
    for (key, value, scheduler, size) in [
        ("modelspec.prediction_type", "epsilon", epsilon, 64),
        ("modelspec.prediction_type", "v", v, 96),
        ("modelspec.architecture", "stable-diffusion-v2-768-v", v, 96),
        ("modelspec.architecture", "stable-diffusion-v2-512", epsilon, 64),
        ("ss_base_model_version", "sd_v2_v", v, 96),
        ("ss_base_model_version", "sd_v2", epsilon, 64),
    ] {
        let mut file = single("sd2");
        file.metadata.insert(key.into(), value.into());
        let (found, training, why) = prediction(&file, &Changes::default());
        assert_eq!((&*found, training), (scheduler, size), "{key} {value}");
        assert!(why.contains(&format!("`{key}` \"{value}\" in the metadata")), "{why}");
        let given = Changes { prediction: Some(Prediction::Epsilon), ..Changes::default() };
        let (found, training, why) = prediction(&file, &given);
        assert_eq!((&*found, training), (epsilon, 64));
        assert!(why.contains("as --prediction-type says"), "{why}");
    }
    // Stable Diffusion 1 was published with epsilon only; its fine-tunes may predict v.
    let file = single("sd1");
    let (found, training, why) = prediction(&file, &Changes::default());
    assert_eq!((&*found, training), (epsilon, 64));
    assert!(why.contains("as the published models"), "{why}");
    let given = Changes { prediction: Some(Prediction::VPrediction), ..Changes::default() };
    assert_eq!(prediction(&file, &given).0, "PNDMScheduler v_prediction");
}

/// The numbers of a tensor in f32.
fn numbers(file: &Single, key: &str) -> Vec<f32> {
    file.tensors[key].2.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Entries of a tensor by its shape: where, and which number.
type Entries<'a> = &'a dyn Fn(&[usize]) -> Vec<(usize, f32)>;

/// Lets the UNet return `share` of its input: the first convolution copies the latents, with both signs, into the skip connection, and
/// the last resnet passes them on.
fn passing_on(file: &mut Single, share: f32) {
    let unet = |name: &str| format!("model.diffusion_model.{name}");
    let mut set = |name: &str, index: Entries<'_>, rest: f32| {
        let key = unet(name);
        let shape = file.shape(&key);
        let mut numbers: Vec<f32> = numbers(file, &key).into_iter().map(|number| number * rest).collect();
        for (at, number) in index(&shape) {
            numbers[at] = number;
        }
        file.add(&key, &Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap());
    };
    let none: Entries<'_> = &|_| vec![];
    set(
        "input_blocks.0.0.weight",
        &|shape| {
            let (inner, middle) = (shape[1] * 9, 4);
            (0..4)
                .flat_map(|c| {
                    [(2 * c * inner + c * 9 + middle, 1.), ((2 * c + 1) * inner + c * 9 + middle, -1.)]
                })
                .collect()
        },
        0.,
    );
    set("input_blocks.0.0.bias", none, 0.);
    // The last resnet: 64 channels from below, then 64 of the skip connection.
    set("output_blocks.5.0.out_layers.3.weight", none, 1. - share);
    set("output_blocks.5.0.out_layers.3.bias", none, 0.);
    set(
        "output_blocks.5.0.skip_connection.weight",
        &|shape| (0..8).map(|c| (c * shape[1] + 64 + c, 1.)).collect(),
        0.,
    );
    set("output_blocks.5.0.skip_connection.bias", none, 0.);
    for projection in ["output_blocks.5.1.proj_out.weight", "output_blocks.5.1.proj_out.bias"] {
        set(projection, none, 1. - share);
    }
    set(
        "out.2.weight",
        &|shape| {
            let inner = shape[1] * 9;
            (0..4)
                .flat_map(|c| [(c * inner + 2 * c * 9 + 4, share), (c * inner + (2 * c + 1) * 9 + 4, -share)])
                .collect()
        },
        1. - share,
    );
    set("out.2.bias", none, 0.);
}

#[test]
fn one_call_finds_out_the_prediction_type() {
    // Random weights give an output without a trace of the input, as v has none.
    let (found, training, why) = prediction(&single("sd2"), &Changes::default());
    assert_eq!((&*found, training), ("DDIMScheduler v_prediction", 96));
    assert!(why.contains("at t = 999 the UNet's output correlates with the latents by "), "{why}");

    let mut file = single("sd2");
    passing_on(&mut file, 1.);
    let (found, training, why) = prediction(&file, &Changes::default());
    assert_eq!((&*found, training), ("PNDMScheduler epsilon", 64));
    assert!(why.contains("by 0.9") || why.contains("by 1.0"), "{why}");
    let before = source(&file.write()).conclusions();
    assert!(
        before.iter().any(|line| line.contains("a run finds out with one call of the UNet")),
        "{before:?}"
    );
}

#[test]
fn where_the_call_says_neither_the_flag_is_asked_for() {
    let mut file = single("sd2");
    passing_on(&mut file, 1.);
    // The output is half its input, and half that of another pixel.
    let key = "model.diffusion_model.out.2.weight";
    let (shape, mut numbers) = (file.shape(key), numbers(&file, key));
    let inner = shape[1] * 9;
    for c in 0..4 {
        for (channel, sign) in [(2 * c, 1.), (2 * c + 1, -1.)] {
            numbers[c * inner + channel * 9] = sign;
        }
    }
    file.add(key, &Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap());
    let path = file.write();
    let error = Models::load(source(&path), Device::Cpu, DType::F32).unwrap_err().to_string();
    assert!(
        error.contains("model.safetensors: at t = 999 the UNet's output correlates with the latents by 0.7"),
        "{error}"
    );
    assert!(error.ends_with("expected --prediction-type epsilon or v_prediction"), "{error}");
    let given = Changes { prediction: Some(Prediction::VPrediction), ..Changes::default() };
    assert!(changed(&path, &given).is_ok_and(|source| Models::load(source, Device::Cpu, DType::F32).is_ok()));
}

/// Another VAE, in each form that it may have, for a single file and for a folder.
#[test]
fn another_vae_in_every_form() {
    let (file, other) = (single("sd1"), single("sd2"));
    let path = file.write();
    let own = source(&path);
    let theirs = tensors(&source(&other.write()).weights("vae", Precision::Full).unwrap());
    assert_ne!(tensors(&own.weights("vae", Precision::Full).unwrap()), theirs);

    let home = tempfile::tempdir().unwrap();
    let in_diffusers = home.path().join("vae.safetensors");
    save(theirs.clone(), &in_diffusers);
    let mut original = Single::empty();
    for (key, stored) in &other.tensors {
        if let Some(key) = key.strip_prefix("first_stage_model.") {
            original.tensors.insert(key.into(), stored.clone());
        }
    }
    original.put("loss.logvar", &[1], 0.);
    let folder = as_folder(&source(&other.write()));
    let inner = folder.path().join("vae");
    let folder_of_own = as_folder(&own);

    let fixture = Fixture::open("single/sd1");
    let mut images = BTreeSet::new();
    for base in [path.as_path(), folder_of_own.path()] {
        for vae in
            [other.write(), original.write(), in_diffusers.clone(), folder.path().into(), inner.clone()]
        {
            let vae = Vae::parse(vae.to_str().unwrap()).unwrap();
            let shown = vae.path().display().to_string();
            let source = changed(base, &Changes { vae: Some(vae), ..Changes::default() }).unwrap();
            let ours = tensors(&source.weights("vae", Precision::Full).unwrap());
            assert_eq!(ours, theirs, "{shown}");
            assert!(source.conclusions().iter().any(|line| line.contains(&shown)));
            let models = load(source);
            assert!(models.notes.is_empty(), "{:?}", models.notes);
            images.insert(bits(&run(&models, request(&models, &fixture)).1));
        }
    }
    assert_eq!(images.len(), 1, "all forms give one image");
    // A file without a VAE needs one.
    let mut without = single("sd1");
    without.tensors.retain(|key, _| !key.starts_with("first_stage_model."));
    let path = without.write();
    let error = ModelSource::parse(path.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("first_stage_model.") && error.contains("model.safetensors"), "{error}");
    let vae = Some(Vae::parse(other.write().to_str().unwrap()).unwrap());
    load(changed(&path, &Changes { vae, ..Changes::default() }).unwrap());
}

/// `--prediction-type` changes what a folder's scheduler says.
#[test]
fn the_prediction_type_of_a_folder() {
    let file = single("sd1");
    let folder = as_folder(&source(&file.write()));
    let given = Changes { prediction: Some(Prediction::VPrediction), ..Changes::default() };
    let models = load(changed(folder.path(), &given).unwrap());
    assert_eq!(models.scheduler.config().prediction_type.name(), "v_prediction");
    assert!(models.remarks.iter().any(|line| line.contains("--prediction-type")));
    let error = changed(folder.path(), &Changes { ema: true, ..Changes::default() }).unwrap_err().to_string();
    assert!(error.contains("not a checkpoint in one file") && error.contains("--ema"), "{error}");
}

/// The oldest files lack `text_model.`, and pruned ones of OpenCLIP hold no more layers than are used.
#[test]
fn text_encoders_in_other_forms() {
    let plain = source(&single("sd1").write()).weights("text_encoder", Precision::Full).unwrap();
    let mut file = single("sd1");
    file.tensors = std::mem::take(&mut file.tensors)
        .into_iter()
        .map(|(key, stored)| (key.replace("transformer.text_model.", "transformer."), stored))
        .collect();
    let old = source(&file.write()).weights("text_encoder", Precision::Full).unwrap();
    assert_eq!(tensors(&plain), tensors(&old));

    let whole = source(&single("sd2").write()).weights("text_encoder", Precision::Full).unwrap();
    let mut file = single("sd2");
    file.tensors.retain(|key, _| !key.contains("resblocks.2.") && !key.ends_with("text_projection"));
    let pruned = source(&file.write()).weights("text_encoder", Precision::Full).unwrap();
    assert_eq!(tensors(&whole), tensors(&pruned));
}

/// Stable Diffusion 2 with its text encoder in CLIP's layout, every layer of which runs.
#[test]
fn a_text_encoder_of_stable_diffusion_2_in_clips_layout() {
    let mut file = single("sd2");
    file.metadata.insert("modelspec.prediction_type".into(), "v".into());
    let (open_clip, fixture) = (source(&file.write()), Fixture::open("single/sd2"));
    let image = |source: ModelSource| {
        let models = load(source);
        bits(&run(&models, request(&models, &fixture)).1)
    };
    let expected = image(open_clip.clone());
    let text = tensors(&open_clip.weights("text_encoder", Precision::Full).unwrap());
    file.tensors.retain(|key, _| !key.starts_with("cond_stage_model"));
    for (key, (shape, numbers)) in text {
        let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        file.add(&format!("cond_stage_model.transformer.text_model.{key}"), &tensor);
    }
    assert_eq!(image(source(&file.write())), expected);
}

/// Tensors that no component has are named; those of training are not.
#[test]
fn tensors_that_are_left_over_are_named() {
    let mut file = single("sd1");
    for key in ["betas", "alphas_cumprod", "posterior_mean_coef1", "model_ema.decay", "logvar"] {
        file.put(key, &[2], 0.);
    }
    file.put("scaled_fp8", &[1], 0.);
    file.put("model.diffusion_model.extra.weight", &[1], 0.);
    let models = load(source(&file.write()));
    assert_eq!(models.notes.len(), 2, "{:?}", models.notes);
    assert!(models.notes.iter().any(|note| note.contains("scaled_fp8")), "{:?}", models.notes);
    assert!(
        models.notes.iter().any(|note| note.contains("model.diffusion_model.extra.weight")),
        "{:?}",
        models.notes
    );
}

/// The small files are those of the published models, with the miniature's sizes.
#[test]
fn the_small_files_are_the_published_ones() {
    let given = Changes { prediction: Some(Prediction::VPrediction), ..Changes::default() };
    for (name, published, changes) in [
        ("sd1", "sd15", Changes::default()),
        ("sd2", "sd21", given),
        ("sd2", "sd21-base", Changes { prediction: Some(Prediction::Epsilon), ..Changes::default() }),
    ] {
        let file = single(name);
        let source = changed(&file.write(), &changes).unwrap();
        let ours =
            |file: &str| -> Value { serde_json::from_slice(&source.read(file).unwrap().unwrap()).unwrap() };
        let theirs =
            |file: &str| fixture(&format!("published/{published}/{}", file.strip_suffix(".json").unwrap()));
        for file in ["tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json"] {
            assert_eq!(ours(file), theirs(file), "{published} {file}");
        }
        let (ours, mut theirs) =
            (ours("scheduler/scheduler_config.json"), theirs("scheduler/scheduler_config.json"));
        let keys = theirs.as_object_mut().unwrap();
        keys.remove("_diffusers_version");
        keys.entry("prediction_type").or_insert("epsilon".into());
        assert_eq!(ours, theirs, "{published}");
    }
}

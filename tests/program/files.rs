//! What people have in a checkpoint's folder: which weights file is read where there are several, held to what diffusers and
//! transformers read (`tests/fixtures/which_file.json`, by `tools/parity/which_file.py`), and what is said of the rest.

use crate::support::checkpoint::{Checkpoint, checkpoint, weights_file};
use crate::support::fixture::json as fixture;
use crate::support::program::{Ran, diffuscope};
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::layout::{Component, Precision, Variant};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

// The table.

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|value| value.as_str().unwrap().into()).collect()
}

/// The files of a case: an index comes with its shards.
fn with_shards(heads: &Value) -> Vec<String> {
    let mut names = strings(heads);
    for head in names.clone().iter().filter(|head| head.ends_with(".json")) {
        let stem = head.split('.').next().unwrap();
        names.push(match (head.contains("fp16"), head.contains("fp16.index")) {
            (false, _) => format!("{stem}-00001-of-00001.safetensors"),
            (true, false) => format!("{stem}.fp16-00001-of-00001.safetensors"),
            (true, true) => format!("{stem}-00001-of-00001.fp16.safetensors"),
        });
    }
    names
}

#[test]
fn the_table_is_what_diffusers_and_transformers_read() {
    let answers = fixture("which_file");
    let cases = answers["cases"].as_array().unwrap();
    assert!(cases.len() > 60);
    for case in cases {
        let component = Component::named(case["component"].as_str().unwrap()).unwrap();
        let (variant, precision) = match case["variant"].as_str() {
            None => (Variant::Plain, Precision::Full),
            Some("fp16") => (Variant::Fp16, Precision::Half),
            Some(other) => panic!("variant {other}"),
        };
        let names = with_shards(&case["files"]);
        let theirs = case["reads"].as_str();
        assert_eq!(component.read_by_diffusers(precision, &names).as_deref(), theirs, "{case}");
        let ours = component.choose(variant, |name| names.iter().any(|found| found == name));
        // A pickle is not read here, and is the last that is looked for.
        let expected = theirs.filter(|file| !file.ends_with(".bin"));
        assert_eq!(ours.map(|set| set.head()).as_deref(), expected, "{case}");
    }
    for case in answers["pipelines"].as_array().unwrap() {
        let precision = if case["variant"].is_null() { Precision::Full } else { Precision::Half };
        let theirs = |name: &str| {
            Component::named(name).unwrap().read_by_diffusers(precision, &with_shards(&case["files"][name]))
        };
        let components = ["text_encoder", "unet", "vae"];
        // A pipeline without a single file of the variant is an error in diffusers, and runs here.
        if case["reads"].is_null() {
            let is_fp16 = |name: &&str| theirs(name).is_some_and(|file| file.contains("fp16"));
            assert!(!components.iter().any(is_fp16), "{case}");
            continue;
        }
        for name in components {
            assert_eq!(theirs(name).as_deref(), case["reads"][name].as_str(), "{case}");
        }
    }
}

// Runs.

fn run(checkpoint: &Checkpoint, steps: &str, args: &[&str]) -> Ran {
    let path = checkpoint.path().to_str().unwrap();
    let all = ["run", "--model", path, "--steps", steps, "--width", "16", "--height", "16"];
    diffuscope(&[&all[..], args].concat(), "")
}

/// What a run makes, by the names of a dump, and what it says.
fn made(checkpoint: &Checkpoint, args: &[&str]) -> (BTreeMap<String, Vec<u32>>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (dump, picture) = (folder.path().join("a.safetensors"), folder.path().join("a.png"));
    let outputs = ["--dump", dump.to_str().unwrap(), "-o", picture.to_str().unwrap()];
    let ran = run(checkpoint, "1", &[&outputs[..], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let tensors = candle_core::safetensors::load(dump, &Device::Cpu).unwrap();
    let bits = |tensor: Tensor| -> Vec<u32> {
        let numbers = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        numbers.into_iter().map(f32::to_bits).collect()
    };
    (tensors.into_iter().map(|(key, tensor)| (key, bits(tensor))).collect(), ran.stderr)
}

#[track_caller]
fn refused(checkpoint: &Checkpoint, steps: &str, said: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    let ran = run(checkpoint, steps, &["-o", picture.to_str().unwrap()]);
    assert!(!picture.exists());
    let stderr = ran.stderr.trim_end();
    assert_eq!(ran.code, Some(1), "{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| !line.starts_with("warning: ")).collect();
    let [error] = errors[..] else { panic!("{stderr}") };
    for words in said {
        assert!(error.contains(words), "without `{words}`: {stderr}");
    }
}

/// The warnings among what was said.
fn warnings(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("warning: ")).collect()
}

/// The weights of `component`, every number a little larger.
fn retrained(checkpoint: &Checkpoint, component: &str) -> HashMap<String, Tensor> {
    let larger = |tensor: Tensor| match tensor.dtype() {
        DType::F32 => (tensor * 1.01).unwrap(),
        _ => tensor,
    };
    checkpoint.weights(component).into_iter().map(|(key, tensor)| (key, larger(tensor))).collect()
}

/// How the shards and the index of a component are called; `{}` is a shard's number.
struct Names {
    shard: &'static str,
    index: &'static str,
}

const PLAIN: Names =
    Names { shard: "STEM-0000{}-of-00002.safetensors", index: "STEM.safetensors.index.json" };
const FP16: Names =
    Names { shard: "STEM.fp16-0000{}-of-00002.safetensors", index: "STEM.safetensors.index.fp16.json" };
const FP16_BY_029: Names =
    Names { shard: "STEM-0000{}-of-00002.fp16.safetensors", index: "STEM.safetensors.index.fp16.json" };
const FP16_BY_030: Names =
    Names { shard: "STEM-0000{}-of-00002.fp16.safetensors", index: "STEM.safetensors.fp16.index.json" };

/// Writes `tensors` as two shards and their index beside what there is.
fn write_shards(checkpoint: &Checkpoint, component: &str, tensors: &HashMap<String, Tensor>, names: &Names) {
    let stem = weights_file(component).replace(".safetensors", "");
    let mut keys: Vec<_> = tensors.keys().collect();
    keys.sort();
    let mut map = BTreeMap::new();
    for number in 0..2 {
        let name = names.shard.replace("{}", &(number + 1).to_string()).replace("STEM", &stem);
        let part: HashMap<_, _> =
            keys.iter().skip(number).step_by(2).map(|key| (key.to_string(), tensors[*key].clone())).collect();
        map.extend(part.keys().map(|key| (key.clone(), name.split('/').next_back().unwrap().to_string())));
        candle_core::safetensors::save(&part, checkpoint.file(&name)).unwrap();
    }
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    checkpoint.write(&names.index.replace("STEM", &stem), index.to_string());
}

/// Fault C: `save_pretrained(max_shard_size=…)` leaves the old whole file beside the shards.
#[test]
fn shards_come_before_an_old_whole_file_in_the_unet_and_the_vae() {
    for component in ["unet", "vae"] {
        let new = checkpoint("sd2");
        let tensors = retrained(&new, component);
        new.write_weights(component, &tensors);
        let both = checkpoint("sd2");
        write_shards(&both, component, &tensors, &PLAIN);
        let ((expected, said), (found, warned)) = (made(&new, &[]), made(&both, &[]));
        assert!(found == expected, "{component}: the old weights were read");
        assert!(!said.contains("two sets"), "{said}");
        let line = format!(
            "{component}: two sets of weights in one folder: diffusion_pytorch_model.safetensors.index.json is read, as \
             diffusers does, and diffusion_pytorch_model.safetensors is not"
        );
        assert!(warned.lines().any(|warning| warning.contains(&line)), "{warned}");
    }
}

#[test]
fn the_whole_file_comes_before_shards_in_the_text_encoder() {
    let both = checkpoint("sd2");
    write_shards(&both, "text_encoder", &retrained(&both, "text_encoder"), &PLAIN);
    let ((expected, _), (found, warned)) = (made(&checkpoint("sd2"), &[]), made(&both, &[]));
    assert!(found == expected);
    let line = "text_encoder: two sets of weights in one folder: model.safetensors is read, as transformers does, and \
                model.safetensors.index.json is not";
    assert!(warned.lines().any(|warning| warning.contains(line)), "{warned}");
}

/// Fault D: the names of diffusers 0.29 and 0.30, and those of today.
#[test]
fn shards_of_a_variant_by_every_name_that_they_had() {
    let whole = checkpoint("sd2");
    let tensors = retrained(&whole, "unet");
    candle_core::safetensors::save(&tensors, whole.file(&UNET.replace(".safe", ".fp16.safe"))).unwrap();
    let (expected, said) = made(&whole, &["--dtype", "f16"]);
    assert_eq!(warnings(&said), [""; 0], "the ordinary pair of plain and fp16");
    for names in [FP16, FP16_BY_029, FP16_BY_030] {
        let several = checkpoint("sd2");
        write_shards(&several, "unet", &tensors, &names);
        assert!(made(&several, &["--dtype", "f16"]).0 == expected, "{}", names.index);
        // The plain ones where they are asked for, and the variant where there are no others.
        assert!(made(&several, &[]).0 == made(&checkpoint("sd2"), &[]).0, "{}", names.index);
        several.remove(UNET);
        made(&several, &[]);
    }
    // Both indexes: today's.
    let both = checkpoint("sd2");
    write_shards(&both, "unet", &both.weights("unet"), &FP16_BY_030);
    write_shards(&both, "unet", &tensors, &FP16);
    let (found, warned) = made(&both, &["--dtype", "f16"]);
    assert!(found == expected);
    assert!(
        warned.contains("safetensors.index.fp16.json is read, as diffusers does, and diffusion_pytorch_model.safetensors.fp16.index.json is not"),
        "{warned}"
    );
}

/// diffusers 0.42.1 renames them in one file alone, and leaves a VAE in shards with a random attention.
#[test]
fn old_names_of_the_attention_are_read_in_shards_too() {
    let (whole, several) = (checkpoint("sd1"), checkpoint("sd1"));
    let tensors = several.weights("vae");
    assert!(tensors.keys().any(|key| key.ends_with("attentions.0.query.weight")));
    write_shards(&several, "vae", &tensors, &PLAIN);
    several.remove(&weights_file("vae"));
    assert!(made(&several, &[]).0 == made(&whole, &[]).0);
}

#[test]
fn what_lies_beside_the_weights_of_most_checkpoints_is_not_warned_of() {
    let usual = checkpoint("sd2");
    for beside in [
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_flax_model.msgpack",
        "text_encoder/pytorch_model.bin",
        "text_encoder/flax_model.msgpack",
        "vae/diffusion_pytorch_model.fp32.safetensors",
        "vae/model.onnx",
        "vae/README.md",
    ] {
        usual.write(beside, "not read");
    }
    let (found, said) = made(&usual, &[]);
    assert!(found == made(&checkpoint("sd2"), &[]).0);
    assert_eq!(warnings(&said), [""; 0]);
    // `model info` has them all.
    let ran = diffuscope(&["model", "info", usual.path().to_str().unwrap(), "--json"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let unread =
        |i: usize| strings(&serde_json::from_str::<Value>(&ran.stdout).unwrap()["components"][i]["unread"]);
    assert_eq!(unread(0), ["flax_model.msgpack (for Flax)", "pytorch_model.bin (a pickle)"]);
    assert_eq!(
        unread(1),
        [
            "diffusion_flax_model.msgpack (for Flax)",
            "diffusion_pytorch_model.bin (a pickle)",
            "diffusion_pytorch_model.fp16.safetensors (variant fp16)",
            "diffusion_pytorch_model.non_ema.safetensors (variant non_ema)",
        ]
    );
    assert_eq!(
        unread(2),
        ["diffusion_pytorch_model.fp32.safetensors (variant fp32)", "model.onnx (for ONNX Runtime)"]
    );
    let ran = diffuscope(&["model", "info", usual.path().to_str().unwrap()], "");
    assert!(
        ran.stdout.contains("  vae: not read: diffusion_pytorch_model.fp32.safetensors (variant fp32), "),
        "{}",
        ran.stdout
    );
}

#[test]
fn two_sets_are_told_by_model_info_too() {
    let both = checkpoint("sd2");
    write_shards(&both, "unet", &both.weights("unet"), &PLAIN);
    let ran = diffuscope(&["model", "info", both.path().to_str().unwrap()], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("warning: ") && ran.stderr.contains("unet: two sets of weights"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains(
            "unet: not read: diffusion_pytorch_model.safetensors (another set of the same weights)"
        ),
        "{}",
        ran.stdout
    );
}

/// What else diffusers would read, or what is left of a set, is named.
#[test]
fn what_may_be_meant_and_is_not_read_is_named() {
    let warned = |change: &dyn Fn(&Checkpoint), args: &[&str]| {
        let checkpoint = checkpoint("sd2");
        change(&checkpoint);
        made(&checkpoint, args).1
    };
    let fp16 = UNET.replace(".safe", ".fp16.safe");
    let rename = |checkpoint: &Checkpoint, from: &str, to: &str| {
        fs::rename(checkpoint.file(from), checkpoint.file(to)).unwrap();
    };
    for (what, change, args, said) in [
        (
            "a pickle of the plain weights beside fp16",
            &(|c: &Checkpoint| {
                rename(c, UNET, &fp16);
                c.write("unet/diffusion_pytorch_model.bin", "a pickle");
            }) as &dyn Fn(&Checkpoint),
            &[][..],
            "unet: diffusion_pytorch_model.fp16.safetensors is read; diffusers would read diffusion_pytorch_model.bin, a pickle",
        ),
        (
            "a pickle of fp16 beside the plain weights",
            &|c| c.write("unet/diffusion_pytorch_model.fp16.bin", "a pickle"),
            &["--dtype", "f16"],
            "unet: diffusion_pytorch_model.safetensors is read; diffusers would read diffusion_pytorch_model.fp16.bin",
        ),
        (
            "shards without an index",
            &|c| c.write("unet/diffusion_pytorch_model-00001-of-00002.safetensors", "a shard"),
            &[],
            "unet: diffusion_pytorch_model.safetensors is read; diffusion_pytorch_model-00001-of-00002.safetensors is a shard \
             whose index, diffusion_pytorch_model.safetensors.index.json, is missing",
        ),
        (
            "shards of an older split",
            &|c| {
                write_shards(c, "unet", &c.weights("unet"), &PLAIN);
                c.remove(UNET);
                c.write("unet/diffusion_pytorch_model-00003-of-00003.safetensors", "a shard");
            },
            &[],
            "unet: 1 file is not read: diffusion_pytorch_model-00003-of-00003.safetensors, which \
             diffusion_pytorch_model.safetensors.index.json does not list",
        ),
        (
            "a LoRA in the UNet's folder",
            &|c| c.write("unet/pytorch_lora_weights.safetensors", "a LoRA"),
            &[],
            "unet/pytorch_lora_weights.safetensors: a LoRA, which is not applied",
        ),
        (
            "a LoRA in the checkpoint's folder",
            &|c| c.write("pytorch_lora_weights.safetensors", "a LoRA"),
            &[],
            "/pytorch_lora_weights.safetensors: a LoRA, which is not applied",
        ),
    ] {
        let stderr = warned(change, args);
        assert_eq!(warnings(&stderr).len(), 1, "{what}: {stderr}");
        assert!(stderr.contains(said), "{what}: {stderr}");
    }
}

#[test]
fn weights_under_another_name_are_named_in_the_error() {
    for (file, what) in [
        ("diffusion_pytorch_model.bin", "a pickle"),
        ("diffusion_pytorch_model.fp32.safetensors", "variant fp32"),
        ("diffusion_pytorch_model.ema-00001-of-00002.safetensors", "variant ema"),
        ("Diffusion_Pytorch_Model.safetensors", "not a name that diffusers reads"),
        ("diffusion_pytorch_model.SAFETENSORS", "not a name that diffusers reads"),
        ("model.safetensors", "not named diffusion_pytorch_model"),
        ("diffusion_pytorch_model-00001-of-00002.safetensors", "a shard whose index is missing"),
        ("diffusion_pytorch_model.safetensors.incomplete", "an unfinished download"),
        ("diffusion_pytorch_model.safetensors.crdownload", "an unfinished download"),
        ("diffusion_flax_model.msgpack", "for Flax"),
        ("model.onnx", "for ONNX Runtime"),
        ("openvino_model.bin", "for OpenVINO"),
        ("unet.gguf", "GGUF"),
        ("pytorch_lora_weights.safetensors", "a LoRA, which is not applied"),
    ] {
        let checkpoint = checkpoint("sd2");
        fs::rename(checkpoint.file(UNET), checkpoint.file(&format!("unet/{file}"))).unwrap();
        let said = format!(
            "/unet: no supported weights: only {file}, {what}; expected diffusion_pytorch_model.safetensors or"
        );
        refused(&checkpoint, "1", &[&said]);
    }
}

// Keys.

/// The UNet's tensors with other keys.
fn renamed(checkpoint: &Checkpoint, component: &str, rename: impl Fn(&str) -> String) {
    let tensors = checkpoint.weights(component);
    checkpoint.write_weights(component, &tensors.into_iter().map(|(key, t)| (rename(&key), t)).collect());
}

#[test]
fn keys_of_a_wrapped_model_name_the_wrapper() {
    for (prefix, wrapper) in [
        ("_orig_mod.", "torch.compile"),
        ("module.", "DataParallel"),
        ("module._orig_mod.", "DataParallel"),
        ("base_model.model.", "peft"),
        ("model.diffusion_model.", "the original layout"),
        ("unet.", "a model that holds this one"),
    ] {
        for component in ["unet", "vae", "text_encoder"] {
            let checkpoint = checkpoint("sd2");
            renamed(&checkpoint, component, |key| format!("{prefix}{key}"));
            let file = weights_file(component);
            refused(
                &checkpoint,
                "1",
                &[&file, "is missing; the file has `", prefix, "the name that", wrapper],
            );
        }
    }
    // Of a part of the model alone.
    let compiled = checkpoint("sd2");
    renamed(&compiled, "unet", |key| key.replace("mid_block.", "mid_block._orig_mod."));
    refused(
        &compiled,
        "1",
        &["the file has `mid_block._orig_mod.", "torch.compile", "save `model._orig_mod`"],
    );
    let checkpoint = checkpoint("sd2");
    renamed(&checkpoint, "unet", |key| key.replace("to_q.weight", "to_q.base_layer.weight"));
    refused(
        &checkpoint,
        "1",
        &["to_q.weight` is missing; the file has `", "to_q.base_layer.weight`", "peft", "fuse_lora()"],
    );
}

#[test]
fn tensors_that_are_not_used_are_named() {
    let with = |keys: &[&str]| {
        let checkpoint = checkpoint("sd2");
        let mut tensors = checkpoint.weights("unet");
        for key in keys {
            tensors.insert(key.to_string(), Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap());
        }
        checkpoint.write_weights("unet", &tensors);
        let (found, said) = made(&checkpoint, &[]);
        assert!(found == made(&crate::support::checkpoint::checkpoint("sd2"), &[]).0);
        said
    };
    let said =
        with(&["mid_block.attentions.0.to_q.lora_A.weight", "mid_block.attentions.0.to_q.lora_B.weight"]);
    let line = format!(
        "{UNET}: 2 tensors of a LoRA not read, the first is mid_block.attentions.0.to_q.lora_A.weight: diffusers does not apply"
    );
    assert!(warnings(&said).len() == 1 && said.contains(&line), "{said}");
    let said = with(&["conv_in.scale_weight"]);
    assert!(
        said.contains("1 tensor of a quantized model not read, the first is conv_in.scale_weight"),
        "{said}"
    );
    let said = with(&["nobody"]);
    assert!(
        said.contains("1 tensor of unknown modules not read, as in diffusers; the first is nobody"),
        "{said}"
    );
    assert_eq!(warnings(&with(&[])), [""; 0]);
}

// Numbers of 8 bits.

/// The number of a byte, by the definition of the Open Compute Project; `None` where it is not finite.
fn number(byte: u8, kind: Dtype) -> Option<f32> {
    let (bits, bias) = if kind == Dtype::F8_E4M3 { (3, 7) } else { (2, 15) };
    let (exponent, mantissa) = (i32::from((byte & 0x7f) >> bits), f32::from(byte & ((1 << bits) - 1)));
    let is_finite = if kind == Dtype::F8_E4M3 { byte & 0x7f != 0x7f } else { exponent != 31 };
    let whole = if exponent == 0 { 0. } else { 1. };
    let sign = if byte & 0x80 == 0 { 1. } else { -1. };
    let size = (whole + mantissa / (1 << bits) as f32) * 2f32.powi(exponent.max(1) - bias);
    is_finite.then_some(sign * size)
}

/// The UNet's weights rounded to `kind`, as a file of it, and as one of `f32` with the same numbers.
fn rounded(checkpoint: &Checkpoint, kind: Dtype, change: impl Fn(&mut Vec<u8>)) -> [Vec<u8>; 2] {
    let mut all: Vec<(f32, u8)> = (0..=255).filter_map(|byte| Some((number(byte, kind)?, byte))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let nearest = |x: f32| {
        let after = all.partition_point(|(number, _)| *number < x).clamp(1, all.len() - 1);
        if x - all[after - 1].0 < all[after].0 - x { all[after - 1] } else { all[after] }
    };
    let (mut narrow, mut wide) = (BTreeMap::new(), BTreeMap::new());
    for (key, tensor) in checkpoint.weights("unet") {
        let shape = tensor.dims().to_vec();
        let numbers = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let rounded: Vec<_> = numbers.into_iter().map(nearest).collect();
        let mut bytes: Vec<u8> = rounded.iter().map(|(_, byte)| *byte).collect();
        if key == "conv_in.weight" {
            change(&mut bytes);
        }
        let numbers: Vec<u8> =
            bytes.iter().flat_map(|&byte| number(byte, kind).unwrap_or(f32::NAN).to_le_bytes()).collect();
        narrow.insert(key.clone(), (shape.clone(), bytes));
        wide.insert(key, (shape, numbers));
    }
    let file = |tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>, dtype: Dtype| {
        let views = tensors.iter().map(|(key, (shape, bytes))| {
            (key.clone(), TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        serialize(views, None).unwrap()
    };
    [file(&narrow, kind), file(&wide, Dtype::F32)]
}

#[test]
fn weights_of_8_bits_are_widened_exactly() {
    for kind in [Dtype::F8_E4M3, Dtype::F8_E5M2] {
        let checkpoint = checkpoint("sd2");
        let [narrow, wide] = rounded(&checkpoint, kind, |_| ());
        checkpoint.write(UNET, wide);
        let expected = ["f32", "f16", "bf16"].map(|dtype| made(&checkpoint, &["--dtype", dtype]).0);
        checkpoint.write(UNET, narrow);
        let found = ["f32", "f16", "bf16"].map(|dtype| made(&checkpoint, &["--dtype", dtype]).0);
        assert!(found == expected, "{kind:?}");
        let ran = diffuscope(&["model", "info", checkpoint.path().to_str().unwrap(), "--json"], "");
        let info: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(info["components"][1]["dtypes"], json!([format!("{kind:?}").to_lowercase()]));
    }
}

#[test]
fn weights_of_8_bits_that_are_not_finite_are_refused() {
    for (kind, bytes) in [(Dtype::F8_E4M3, &[0x7f, 0xff][..]), (Dtype::F8_E5M2, &[0x7c, 0xfc, 0x7d, 0xff])] {
        let checkpoint = checkpoint("sd2");
        let [narrow, _] = rounded(&checkpoint, kind, |all| all[..bytes.len()].copy_from_slice(bytes));
        checkpoint.write(UNET, narrow);
        let said =
            format!("tensor `conv_in.weight` has {} of 1152 values that are NaN or infinite", bytes.len());
        refused(&checkpoint, "1", &[UNET, &said]);
    }
}

// The scheduler's file.

#[test]
fn trained_betas_are_used_and_draw_no_warning() {
    const FILE: &str = "scheduler/scheduler_config.json";
    let checkpoint = checkpoint("sd2");
    let (scheduled, _) = made(&checkpoint, &[]);
    let betas = |n: usize| -> Value { (0..n).map(|i| 0.001 + i as f64 * 1e-5).collect() };
    checkpoint.set(FILE, "trained_betas", betas(1000));
    let (found, said) = made(&checkpoint, &[]);
    assert_eq!(warnings(&said), [""; 0]);
    assert!(found != scheduled);
    // One step of leading spacing starts at timestep 1; three visit 667.
    checkpoint.set(FILE, "trained_betas", betas(500));
    made(&checkpoint, &[]);
    refused(
        &checkpoint,
        "3",
        &[
            "visits timestep 667, and the last that has a beta is 499; expected fewer steps, or a beta for every timestep",
        ],
    );
    for (value, said) in [
        (json!([]), "expected 1 to 1048576 betas"),
        (json!([0.1, -0.1]), "expected betas of at least 0 and less than 1"),
        (json!([0.1, 1]), "expected betas of at least 0 and less than 1"),
        (json!("none"), "expected a list of betas"),
    ] {
        checkpoint.set(FILE, "trained_betas", value);
        refused(&checkpoint, "1", &[FILE, "`trained_betas` is", said]);
    }
}

// Pictures.

#[test]
fn a_picture_of_a_format_that_is_not_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bmp = folder.path().join("a.bmp");
    let header =
        [&b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0"[..], &[0; 28]].concat();
    fs::write(&bmp, header).unwrap();
    let picture = folder.path().join("a.png");
    let files = [bmp, picture].map(|path| path.to_str().unwrap().to_string());
    let ran = diffuscope(&["run", "--init-image", &files[0], "-o", &files[1]], "");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(
            "a.bmp: a BMP picture, which is not supported; expected an image, PNG, JPEG, WebP or GIF"
        ),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("broken"), "{}", ran.stderr);
}

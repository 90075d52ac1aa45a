//! Loading weights: what is kept of 16 bits and computes the same, one file or several, which of two variants, and what is refused.

use crate::support::checkpoint::{Checkpoint, checkpoint, weights_file};
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::LoadError;
use diffuscope::checkpoint::inventory::{inventory, loaded_bytes};
use diffuscope::checkpoint::layout::Precision;
use diffuscope::nn::device::DTypeChoice;
use diffuscope::nn::weights::{WeightsError, WeightsFile};
use diffuscope::nn::{Path, Probe, Result, Unwatched, Weights};
use diffuscope::pipeline::Models;
use diffuscope::tensor::Generator;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const COMPONENTS: [&str; 3] = ["text_encoder", "unet", "vae"];

/// The tensors, those of numbers that are no whole ones in another dtype.
fn in_dtype(tensors: HashMap<String, Tensor>, dtype: DType) -> HashMap<String, Tensor> {
    let turned =
        |tensor: Tensor| if tensor.dtype() == DType::F32 { tensor.to_dtype(dtype).unwrap() } else { tensor };
    tensors.into_iter().map(|(key, tensor)| (key, turned(tensor))).collect()
}

/// The miniature checkpoint `name`, stored in `dtype`.
fn stored_in(name: &str, dtype: DType) -> Checkpoint {
    let checkpoint = checkpoint(name);
    for component in COMPONENTS {
        checkpoint.write_weights(component, &in_dtype(checkpoint.weights(component), dtype));
    }
    checkpoint
}

fn load(checkpoint: &Checkpoint) -> std::result::Result<Models, LoadError> {
    Models::load(checkpoint.source(), Device::Cpu, DType::F32)
}

/// Loading is refused, in one line with all of `parts`.
#[track_caller]
fn refused(checkpoint: &Checkpoint, dtype: DType, parts: &[&str]) {
    let Err(error) = Models::load(checkpoint.source(), Device::Cpu, dtype) else {
        panic!("accepted; expected an error with {parts:?}")
    };
    let message = error.to_string();
    assert!(!message.contains('\n') && message.len() < 600, "{message}");
    for part in parts {
        assert!(message.contains(part), "without {part:?}: {message}");
    }
}

/// Wants every module, so that none is computed together with the next.
struct All;

impl Probe for All {
    fn wants(&self, _: &Path) -> bool {
        true
    }

    fn exit(&mut self, _: &Path, output: Tensor) -> Result<Tensor> {
        Ok(output)
    }
}

/// What every model makes of the same numbers, as bits.
fn outputs(models: &Models, probe: &mut dyn Probe) -> Vec<Vec<u32>> {
    let mut generator = Generator::manual_seed(3);
    let mut randn = |shape: &[usize]| {
        let numbers = generator.randn(shape.iter().product());
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    };
    let ids: Vec<u32> = (0..154).map(|i| i * 317 % 49408).collect();
    let ids = Tensor::from_vec(ids, (2, 77), &Device::Cpu).unwrap();
    // A mask with something to hide, in the checkpoints that have one.
    let mask = ids.lt(40000u32).unwrap().to_dtype(ids.dtype()).unwrap();
    let mask = models.text_encoder.config().use_attention_mask.then_some(&mask);
    let embeds = models.text_encoder.forward(&ids, mask, &[], probe).unwrap();
    let channels = models.unet.config().in_channels;
    let residual = models.unet.forward(&randn(&[2, channels, 16, 16]), 500., &embeds, None, probe).unwrap();
    let decoded = models.vae.decode(&randn(&[1, channels, 8, 8]), probe).unwrap();
    let encoded = models.vae.encode(&randn(&[1, 3, 64, 64]), probe).unwrap().mean;
    let bits = |t: &Tensor| {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    [embeds, residual, decoded, encoded].iter().map(bits).collect()
}

#[test]
fn weights_kept_in_16_bits_compute_what_widened_ones_do() {
    for name in ["sd1", "sd2", "odd"] {
        for dtype in [DType::F16, DType::BF16] {
            let checkpoint = stored_in(name, dtype);
            let narrow = load(&checkpoint).unwrap();
            let wide = Models::load_widened(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
            for probe in [&mut Unwatched as &mut dyn Probe, &mut All] {
                let (narrow, wide) = (outputs(&narrow, probe), outputs(&wide, probe));
                assert!(narrow == wide, "{name} in {dtype:?}");
                assert!(narrow.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
            }
        }
    }
}

#[test]
fn what_is_kept_in_16_bits() {
    let checkpoint = stored_in("sd2", DType::BF16);
    let files = |dtype: DType| checkpoint.source().weights("unet", Precision::of(dtype)).unwrap();
    let weights = |dtype| Weights::new(files(dtype), "unet", dtype, &Device::Cpu).pp("conv_in");
    let kernel = |weights: Weights| weights.get_narrow(&[32, 4, 3, 3], "weight").unwrap().dtype();
    assert_eq!(kernel(weights(DType::F32)), DType::BF16);
    assert_eq!(kernel(weights(DType::F32).widened()), DType::F32);
    assert_eq!(kernel(weights(DType::F16)), DType::F16);
    assert_eq!(weights(DType::F32).get(&[32, 4, 3, 3], "weight").unwrap().dtype(), DType::F32);
    assert_eq!(weights(DType::F32).get_narrow(&[32], "bias").unwrap().dtype(), DType::F32);

    // Asked before loading is whether so much fits.
    let kept =
        |checkpoint: &Checkpoint, dtype| loaded_bytes(&checkpoint.source(), dtype, &Device::Cpu).unwrap();
    let all = inventory(&checkpoint.source(), Precision::Full).unwrap();
    let numbers: u128 = all.iter().map(|component| u128::from(component.parameters)).sum();
    let narrow = kept(&checkpoint, DType::F32);
    assert!(narrow > 2 * numbers && narrow < 21 * numbers / 10, "{narrow} bytes of {numbers} numbers");
    assert_eq!(kept(&checkpoint, DType::F16), 2 * numbers);
    assert_eq!(kept(&crate::support::checkpoint::checkpoint("sd2"), DType::F32), 4 * numbers);
}

// Several files.

/// Puts the weights of `component` into `count` files with an index, named as diffusers and transformers name them.
fn shard(checkpoint: &Checkpoint, component: &str, variant: &str, count: usize) {
    let tensors = checkpoint.weights(component);
    let stem = weights_file(component).replace(".safetensors", "");
    let stem = stem.split('/').next_back().unwrap();
    let mut keys: Vec<_> = tensors.keys().cloned().collect();
    keys.sort();
    let mut map = HashMap::new();
    for i in 0..count {
        let file = format!("{stem}{variant}-{:05}-of-{count:05}.safetensors", i + 1);
        let of_file = keys.iter().skip(i).step_by(count);
        let part: HashMap<_, _> = of_file.map(|key| (key.clone(), tensors[key].clone())).collect();
        map.extend(part.keys().map(|key| (key.clone(), file.clone())));
        candle_core::safetensors::save(&part, checkpoint.file(&format!("{component}/{file}"))).unwrap();
    }
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    checkpoint.write(&format!("{component}/{stem}.safetensors.index{variant}.json"), index.to_string());
    checkpoint.remove(&weights_file(component));
}

const INDEX: &str = "unet/diffusion_pytorch_model.safetensors.index.json";
const FIRST: &str = "unet/diffusion_pytorch_model-00001-of-00003.safetensors";
const SECOND: &str = "diffusion_pytorch_model-00002-of-00003.safetensors";

#[test]
fn several_files_are_as_one() {
    let whole = outputs(&load(&checkpoint("sd2")).unwrap(), &mut Unwatched);
    let one = inventory(&checkpoint("sd2").source(), Precision::Full).unwrap();
    for variant in ["", ".fp16"] {
        let checkpoint = checkpoint("sd2");
        for component in COMPONENTS {
            shard(&checkpoint, component, variant, 3);
        }
        assert!(outputs(&load(&checkpoint).unwrap(), &mut Unwatched) == whole);
        let several = inventory(&checkpoint.source(), Precision::Full).unwrap();
        for (several, one) in several.iter().zip(&one) {
            assert_eq!((several.tensors, several.parameters), (one.tensors, one.parameters));
            assert_eq!((several.files, one.files), (3, 1));
            assert!(several.file.ends_with(&format!(".safetensors.index{variant}.json")), "{}", several.file);
        }
    }
}

/// An sd2 checkpoint whose UNet is in three files, and whose index went through `change`.
fn with_index(change: impl FnOnce(&mut Value)) -> Checkpoint {
    let checkpoint = checkpoint("sd2");
    shard(&checkpoint, "unet", "", 3);
    let mut index = checkpoint.json(INDEX);
    change(&mut index);
    checkpoint.write(INDEX, index.to_string());
    checkpoint
}

#[test]
fn an_index_that_is_none() {
    for (text, said) in [
        ("", "EOF"),
        ("[]", "invalid"),
        ("{}", "missing field `weight_map`"),
        (r#"{"weight_map": []}"#, "expected a tensor's key and a file's name"),
        (r#"{"weight_map": {"a": 1}}"#, "expected a string"),
        (r#"{"weight_map": {"a": "b.safetensors", "a": "c.safetensors"}}"#, "tensor `a` is listed twice"),
        (r#"{"weight_map": {}}"#, "its weight_map is empty"),
    ] {
        let checkpoint = with_index(|_| ());
        checkpoint.write(INDEX, text);
        refused(&checkpoint, DType::F32, &[INDEX, said, "expected"]);
    }
}

#[test]
fn an_index_that_leads_out_of_its_folder() {
    for outside in [
        "../vae/w.safetensors",
        "/etc/w.safetensors",
        "a/../w.safetensors",
        "..\\w.safetensors",
        "..",
        "",
        "config.json",
    ] {
        let checkpoint = with_index(|index| index["weight_map"]["conv_in.bias"] = outside.into());
        let said = format!("tensor `conv_in.bias` is listed in {outside:?}");
        refused(&checkpoint, DType::F32, &[INDEX, &said, "in the same folder"]);
    }
}

#[test]
fn an_index_and_files_that_disagree() {
    // A file that is not there.
    let checkpoint = with_index(|_| ());
    checkpoint.remove(FIRST);
    refused(&checkpoint, DType::F32, &[FIRST, "No such file or directory"]);
    // A tensor in another file than it says.
    let checkpoint = with_index(|index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        let (_, file) = map.iter_mut().find(|(_, file)| !file.as_str().unwrap().contains("00002")).unwrap();
        *file = SECOND.into();
    });
    refused(&checkpoint, DType::F32, &[INDEX, "is listed in", SECOND, "which lacks it"]);
    // A tensor that no file has.
    let checkpoint = with_index(|index| index["weight_map"]["nobody"] = SECOND.into());
    refused(&checkpoint, DType::F32, &[INDEX, "tensor `nobody` is listed in", "which lacks it"]);
    // A tensor in two files.
    let checkpoint = with_index(|_| ());
    let load = |file: &str| candle_core::safetensors::load(checkpoint.file(file), &Device::Cpu).unwrap();
    let second = format!("unet/{SECOND}");
    let (mut first, other) = (load(FIRST), load(&second));
    let (key, tensor) = other.into_iter().next().unwrap();
    first.insert(key.clone(), tensor);
    candle_core::safetensors::save(&first, checkpoint.file(FIRST)).unwrap();
    refused(&checkpoint, DType::F32, &[INDEX, &format!("tensor `{key}` is in"), FIRST, SECOND, "one file"]);
    // A tensor that the index leaves out is not there.
    let checkpoint = with_index(|index| {
        index["weight_map"].as_object_mut().unwrap().remove("conv_in.bias").unwrap();
    });
    refused(&checkpoint, DType::F32, &[INDEX, "`conv_in.bias` is missing"]);
    // One of the files is broken.
    let checkpoint = with_index(|_| ());
    checkpoint.write(FIRST, "broken");
    refused(&checkpoint, DType::F32, &[FIRST, "not a whole safetensors file"]);
}

// Which of two variants.

#[test]
fn a_run_in_f16_reads_the_fp16_files_where_there_are_such() {
    let checkpoint = checkpoint("sd2");
    let variant = UNET.replace(".safetensors", ".fp16.safetensors");
    checkpoint.write(&variant, "broken");
    refused(&checkpoint, DType::F16, &[&variant, "not a whole safetensors file"]);
    for dtype in [DType::F32, DType::BF16] {
        Models::load(checkpoint.source(), Device::Cpu, dtype).unwrap();
    }
}

#[test]
fn on_the_cpu_auto_is_f32_whatever_is_stored() {
    let checkpoint = stored_in("sd2", DType::BF16);
    let auto = checkpoint.source().dtype(DTypeChoice::Auto, &Device::Cpu).unwrap();
    assert_eq!(auto, DType::F32);
}

// What is no weight.

#[test]
fn weights_that_are_not_finite() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for (key, numbers, said) in [
            ("conv_in.bias", [0f32, f32::NAN, 1.].repeat(11)[..32].to_vec(), "11 of 32 values"),
            ("conv_in.weight", [vec![1.; 1151], vec![f32::NEG_INFINITY]].concat(), "1 of 1152 values"),
        ] {
            let checkpoint = checkpoint("sd2");
            let mut tensors = checkpoint.weights("unet");
            let shape = tensors[key].dims().to_vec();
            tensors.insert(key.into(), Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap());
            checkpoint.write_weights("unet", &in_dtype(tensors, dtype));
            let said = format!("tensor `{key}` has {said} that are NaN or infinite");
            refused(&checkpoint, DType::F32, &[UNET, &said, "expected finite"]);
        }
    }
}

#[test]
fn weights_that_f16_cannot_hold() {
    let checkpoint = checkpoint("sd2");
    let mut tensors = checkpoint.weights("unet");
    let numbers = [vec![1f32; 30], vec![7e4, -1e9]].concat();
    tensors.insert("conv_in.bias".into(), Tensor::from_vec(numbers, 32, &Device::Cpu).unwrap());
    checkpoint.write_weights("unet", &tensors);
    refused(
        &checkpoint,
        DType::F16,
        &[UNET, "2 of 32 values outside the range of f16", "--dtype bf16 or f32"],
    );
    for dtype in [DType::F32, DType::BF16] {
        Models::load(checkpoint.source(), Device::Cpu, dtype).unwrap();
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_looked_at() {
    let checkpoint = checkpoint("sd2");
    let path = checkpoint.file(UNET);
    let file = WeightsFile::open(&path).unwrap();
    let (key, shape) = file.tensors().last().map(|(key, info)| (key, info.shape.clone())).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().set_len(length - 2).unwrap();
    let error = Weights::new(file, "unet", DType::F32, &Device::Cpu).get(&shape, &key).unwrap_err();
    assert!(matches!(error, WeightsError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("tensor `{key}`")), "{error}");
}

/// A whole `CLIPModel` in `text_encoder/`: transformers takes its text half, and so do we.
#[test]
fn the_text_half_of_a_whole_clip_model() {
    let half = checkpoint("sd2");
    let whole = checkpoint("sd2");
    let text_config = whole.json("text_encoder/config.json");
    let config = json!({
        "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 32, "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592, "text_config": text_config, "text_config_dict": null,
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32}, "transformers_version": "5.24.0",
    });
    whole.write("text_encoder/config.json", config.to_string());
    let mut tensors = whole.weights("text_encoder");
    assert!(tensors.keys().all(|key| key.starts_with("text_model.")));
    for (key, shape) in [
        ("logit_scale", &[][..]),
        ("text_projection.weight", &[32, 32]),
        ("visual_projection.weight", &[32, 32]),
        ("vision_model.pre_layrnorm.bias", &[32]),
        ("vision_model.embeddings.class_embedding", &[32]),
    ] {
        tensors.insert(key.into(), Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap());
    }
    whole.write_weights("text_encoder", &tensors);
    let [half, whole] = [half, whole].map(|checkpoint| load(&checkpoint).unwrap());
    assert!(whole.notes.iter().all(|note| !note.contains("text_encoder")), "{:?}", whole.notes);
    assert_eq!(outputs(&half, &mut Unwatched), outputs(&whole, &mut Unwatched));
    let names = |models: &Models| {
        models.parameters.iter().map(|parameter| format!("{parameter:?}")).collect::<Vec<_>>()
    };
    assert_eq!(names(&half), names(&whole));

    let broken = checkpoint("sd2");
    broken.write("text_encoder/config.json", r#"{"model_type": "clip"}"#);
    refused(
        &broken,
        DType::F32,
        &["text_encoder/config.json: `text_config` is missing", "the text model's configuration"],
    );
    broken.write(
        "text_encoder/config.json",
        r#"{"model_type": "clip", "text_config": {"hidden_act": "relu"}}"#,
    );
    refused(&broken, DType::F32, &["text_encoder/config.json, text_config: `hidden_act` is \"relu\""]);
}

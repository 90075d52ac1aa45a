//! A whole sd2 checkpoint with one thing broken each time: the error is one line, and it names the file, what is wrong
//! with it and what would be right.

use crate::support::checkpoint::{Checkpoint, checkpoint, weights_file};
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::{LoadError, ModelSource};
use diffuscope::pipeline::Models;
use serde_json::{Value, json};
use std::fs;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// Loads everything, as a run would, up to the first error.
fn load(checkpoint: &Checkpoint) -> Result<Models, LoadError> {
    Models::load(checkpoint.source(), Device::Cpu, DType::F32)
}

/// The checkpoint is refused, in one line that has every one of `parts`.
#[track_caller]
fn refused(checkpoint: &Checkpoint, parts: &[&str]) {
    says(load(checkpoint), parts);
}

#[track_caller]
fn says<T>(result: Result<T, LoadError>, parts: &[&str]) {
    let Err(error) = result else { panic!("accepted; expected an error with {parts:?}") };
    let message = error.to_string();
    println!("{message}");
    assert!(!message.contains('\n'), "more than one line: {message}");
    assert!(message.len() < 500, "longer than anybody reads: {message}");
    for part in parts {
        assert!(message.contains(part), "without {part:?}: {message}");
    }
}

/// An sd2 checkpoint with one key of one JSON file set to another value.
fn with(file: &str, key: &str, value: Value) -> Checkpoint {
    let checkpoint = checkpoint("sd2");
    checkpoint.set(file, key, value);
    checkpoint
}

/// A safetensors file's header and data.
fn taken_apart(checkpoint: &Checkpoint, file: &str) -> (Value, Vec<u8>) {
    let bytes = checkpoint.read(file);
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..end]).unwrap(), bytes[end..].to_vec())
}

fn put_together(checkpoint: &Checkpoint, file: &str, header: &Value, data: &[u8]) {
    let header = header.to_string().into_bytes();
    let size = (header.len() as u64).to_le_bytes();
    checkpoint.write(file, [&size[..], &header, data].concat());
}

#[test]
fn unbroken_it_loads() {
    load(&checkpoint("sd2")).unwrap();
}

// Folders and files.

#[test]
fn no_such_folder() {
    let missing = checkpoint("sd2").file("nowhere");
    says(
        ModelSource::parse(missing.to_str().unwrap()),
        &["/nowhere: ", "No such file or directory", "expected a checkpoint folder", "`pocket`"],
    );
}

#[test]
fn a_file_instead_of_the_checkpoints_folder() {
    let checkpoint = checkpoint("sd2");
    let file = checkpoint.file("model_index.json");
    says(
        ModelSource::parse(file.to_str().unwrap()),
        &["/model_index.json: a file", "expected a checkpoint folder"],
    );
}

#[test]
fn a_file_instead_of_a_components_folder() {
    let checkpoint = checkpoint("sd2");
    fs::remove_dir_all(checkpoint.file("unet")).unwrap();
    checkpoint.write("unet", "");
    refused(&checkpoint, &["unet/config.json: Not a directory", "expected a readable file"]);
}

#[test]
fn no_config() {
    let checkpoint = checkpoint("sd2");
    checkpoint.remove("unet/config.json");
    refused(&checkpoint, &["unet/config.json: no such file", "expected a checkpoint folder with"]);
}

#[test]
fn no_weights() {
    let checkpoint = checkpoint("sd2");
    checkpoint.remove(UNET);
    refused(&checkpoint, &["/unet: no weights", "expected diffusion_pytorch_model.safetensors or"]);
}

#[test]
fn no_tokenizer() {
    let checkpoint = checkpoint("sd2");
    checkpoint.remove("tokenizer/merges.txt");
    refused(&checkpoint, &["tokenizer/merges.txt: no such file"]);
    checkpoint.remove("tokenizer/vocab.json");
    refused(&checkpoint, &["tokenizer/vocab.json: no such file"]);
}

#[test]
fn a_folder_instead_of_a_file() {
    for file in [UNET, "unet/config.json", "tokenizer/merges.txt"] {
        let checkpoint = checkpoint("sd2");
        checkpoint.remove(file);
        fs::create_dir(checkpoint.file(file)).unwrap();
        refused(&checkpoint, &[file, "a folder; expected "]);
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_in_a_circle() {
    for file in [UNET, "unet/config.json", "tokenizer/vocab.json"] {
        let checkpoint = checkpoint("sd2");
        let path = checkpoint.file(file);
        checkpoint.remove(file);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        refused(&checkpoint, &[file, "symbolic links", "expected "]);
    }
}

/// The hub's cache is made of links, and one that was cleaned out leaves them dangling.
#[cfg(unix)]
#[test]
fn a_link_to_nothing() {
    for (file, expected) in [
        (UNET, "a readable safetensors file"),
        ("tokenizer/special_tokens_map.json", "expected a readable file"),
    ] {
        let checkpoint = checkpoint("sd2");
        checkpoint.remove(file);
        std::os::unix::fs::symlink("../blobs/gone", checkpoint.file(file)).unwrap();
        refused(
            &checkpoint,
            &[file, "a link to ", "/blobs/gone, where there is no file", "expected ", expected],
        );
    }
}

#[test]
fn the_fp16_variant_alone_loads() {
    let checkpoint = checkpoint("sd2");
    for component in ["text_encoder", "unet", "vae"] {
        let tensors = checkpoint.weights(component).into_iter();
        let half = tensors.map(|(key, tensor)| match tensor.dtype() {
            DType::F32 => (key, tensor.to_dtype(DType::F16).unwrap()),
            _ => (key, tensor),
        });
        let half = half.collect::<std::collections::HashMap<_, _>>();
        let variant = weights_file(component).replace(".safetensors", ".fp16.safetensors");
        candle_core::safetensors::save(&half, checkpoint.file(&variant)).unwrap();
        checkpoint.remove(&weights_file(component));
    }
    load(&checkpoint).unwrap();
}

#[test]
fn beside_the_plain_file_the_fp16_variant_is_not_read() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("unet/diffusion_pytorch_model.fp16.safetensors", "broken");
    load(&checkpoint).unwrap();
}

// Weights.

#[test]
fn truncated_weights() {
    let checkpoint = checkpoint("sd2");
    let whole = checkpoint.read(UNET);
    let shorter = whole.len() - 1000;
    checkpoint.write(UNET, &whole[..shorter]);
    let (claims, has) = (format!("describes {} bytes", whole.len()), format!("the file has {shorter}"));
    refused(&checkpoint, &[UNET, "not a whole safetensors file", &claims, &has, "copy it again"]);
    for length in [0, 7, 8, 100] {
        checkpoint.write(UNET, &whole[..length]);
        refused(&checkpoint, &[UNET, "not a whole safetensors file", &length.to_string()]);
    }
}

#[test]
fn more_than_the_header_describes() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write(UNET, [checkpoint.read(UNET), vec![0; 4]].concat());
    refused(&checkpoint, &[UNET, "not a whole safetensors file", "describes"]);
}

#[test]
fn a_header_that_claims_two_to_the_sixty_bytes() {
    let checkpoint = checkpoint("sd2");
    let mut bytes = checkpoint.read(UNET);
    bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    checkpoint.write(UNET, bytes);
    refused(&checkpoint, &[UNET, "its header claims 1152921504606846976 bytes"]);
}

#[test]
fn a_header_that_is_not_json() {
    let checkpoint = checkpoint("sd2");
    let mut bytes = checkpoint.read(UNET);
    bytes[8] = b'<';
    checkpoint.write(UNET, bytes);
    refused(&checkpoint, &[UNET, "not a whole safetensors file", "its header: ", "line 1"]);
}

#[test]
fn overlapping_tensors() {
    let checkpoint = checkpoint("sd2");
    let (mut header, data) = taken_apart(&checkpoint, UNET);
    header["conv_norm_out.bias"]["data_offsets"] = header["conv_norm_out.weight"]["data_offsets"].clone();
    put_together(&checkpoint, UNET, &header, &data);
    refused(&checkpoint, &[UNET, "not a whole safetensors file", "offset"]);
}

#[test]
fn a_missing_tensor() {
    let checkpoint = checkpoint("sd2");
    let mut tensors = checkpoint.weights("unet");
    tensors.remove("mid_block.attentions.0.proj_in.weight").unwrap();
    checkpoint.write_weights("unet", &tensors);
    refused(&checkpoint, &[UNET, "`mid_block.attentions.0.proj_in.weight` is missing", "shape [64, 64]"]);
}

#[test]
fn a_shape_that_does_not_fit_the_config() {
    let checkpoint = checkpoint("sd2");
    let mut tensors = checkpoint.weights("unet");
    let transposed = tensors["conv_in.weight"].transpose(0, 1).unwrap().contiguous().unwrap();
    tensors.insert("conv_in.weight".into(), transposed);
    checkpoint.write_weights("unet", &tensors);
    refused(&checkpoint, &[UNET, "`conv_in.weight` has shape [4, 32, 3, 3]", "asks for [32, 4, 3, 3]"]);
}

#[test]
fn a_config_that_does_not_fit_the_weights() {
    let checkpoint = with("text_encoder/config.json", "vocab_size", json!(49410));
    refused(
        &checkpoint,
        &["text_encoder/model.safetensors", "token_embedding.weight` has shape [49408, 32]"],
    );
    let checkpoint = with("unet/config.json", "use_linear_projection", json!(false));
    refused(&checkpoint, &[UNET, "proj_in.weight` has shape [32, 32]", "asks for [32, 32, 1, 1]"]);
    let checkpoint = with("vae/config.json", "layers_per_block", json!(2));
    refused(&checkpoint, &["vae/diffusion_pytorch_model.safetensors", "resnets.1.norm1.weight` is missing"]);
}

#[test]
fn weights_of_whole_numbers() {
    let checkpoint = checkpoint("sd2");
    let mut tensors = checkpoint.weights("unet");
    tensors.insert("conv_in.bias".into(), Tensor::zeros(32, DType::I64, &Device::Cpu).unwrap());
    checkpoint.write_weights("unet", &tensors);
    refused(
        &checkpoint,
        &[UNET, "`conv_in.bias` is stored as I64", "expected F16, BF16, F32, F64, F8_E4M3 or F8_E5M2"],
    );
}

// The tokenizer.

#[test]
fn a_tokenizer_json_without_a_model() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("tokenizer/tokenizer.json", "{}");
    refused(&checkpoint, &["tokenizer/tokenizer.json: `model` is missing", "`vocab` and `merges`"]);
    checkpoint.write("tokenizer/tokenizer.json", r#"{"model": {"type": "WordPiece", "vocab": {"a": 0}}}"#);
    refused(&checkpoint, &["tokenizer/tokenizer.json: `model` is {", "expected a BPE model"]);
    let model = json!({"vocab": {"a": 0, "b": 1}, "merges": ["a b"]});
    checkpoint.write("tokenizer/tokenizer.json", json!({"model": model}).to_string());
    refused(&checkpoint, &["tokenizer/tokenizer.json", "the merge `a b` needs the token `ab`"]);
    checkpoint.write("tokenizer/tokenizer.json", json!({"model": model, "added_tokens": [5]}).to_string());
    refused(&checkpoint, &["tokenizer/tokenizer.json: `added_tokens` is [5]", "`content`"]);
}

#[test]
fn a_merge_without_a_space() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("tokenizer/merges.txt", "#version: 0.2\ni n\nthe\n");
    refused(
        &checkpoint,
        &["tokenizer/merges.txt: line 3: `the`", "expected two tokens with a space between"],
    );
}

#[test]
fn a_merge_of_unknown_tokens() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("tokenizer/merges.txt", "#version: 0.2\ni n\nqqq zzz\n");
    refused(
        &checkpoint,
        &["tokenizer/merges.txt: the merge `qqq zzz` needs the token `qqq`", "not in the vocabulary"],
    );
}

#[test]
fn merges_that_are_not_text() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("tokenizer/merges.txt", b"i n\n\xff\xfe");
    refused(&checkpoint, &["tokenizer/merges.txt: expected text in UTF-8"]);
}

#[test]
fn a_string_as_an_id() {
    let checkpoint = with("tokenizer/vocab.json", "apple</w>", json!("3055"));
    refused(&checkpoint, &["tokenizer/vocab.json: `apple</w>` is \"3055\"", "expected a token's id"]);
}

#[test]
fn an_empty_vocabulary() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("tokenizer/vocab.json", "{}");
    refused(&checkpoint, &["tokenizer/vocab.json: the vocabulary is empty", "49,408"]);
}

#[test]
fn a_special_token_that_the_vocabulary_lacks() {
    let checkpoint = with("tokenizer/special_tokens_map.json", "pad_token", json!("<pad>"));
    refused(&checkpoint, &["vocab.json: the special token `<pad>` is not in the vocabulary"]);
    let checkpoint = with("tokenizer/special_tokens_map.json", "pad_token", json!(7));
    refused(&checkpoint, &["special_tokens_map.json: `pad_token` is 7", "expected a token"]);
    let checkpoint = with("tokenizer/special_tokens_map.json", "bos_token", json!("<|startoftext|>"));
    checkpoint.write("tokenizer/added_tokens.json", "[]");
    refused(
        &checkpoint,
        &["added_tokens.json: expected a JSON object with tokens and their ids, found a list"],
    );
    let nameless = json!({"0": {"lstrip": true}});
    let checkpoint = with("tokenizer/tokenizer_config.json", "added_tokens_decoder", nameless);
    refused(
        &checkpoint,
        &["tokenizer_config.json: `added_tokens_decoder` has an invalid entry at 0", "`content`"],
    );
}

#[test]
fn another_length_of_prompts() {
    let checkpoint = with("tokenizer/tokenizer_config.json", "model_max_length", json!(248));
    refused(&checkpoint, &["tokenizer_config.json: `model_max_length` is 248", "expected 77"]);
}

// Configs.

#[test]
fn values_that_cannot_work() {
    let checkpoint = checkpoint("sd2");
    for (file, key, value, parts) in [
        (
            "unet/config.json",
            "attention_head_dim",
            json!([0, 4, 8, 8]),
            ["is [0,4,8,8]", "a whole number from 1"],
        ),
        (
            "unet/config.json",
            "attention_head_dim",
            json!([2, 4, 7, 8]),
            ["is [2,4,7,8]", "divide the 64 channels of level 2"],
        ),
        ("unet/config.json", "attention_head_dim", json!([2, 4]), ["is [2,4]", "a list of 4, one a block"]),
        (
            "unet/config.json",
            "norm_num_groups",
            json!(24),
            ["is 24", "a divisor of every `block_out_channels`, 32 too"],
        ),
        ("unet/config.json", "act_fn", json!("mish"), ["is \"mish\"", "expected one of \"silu\", \"swish\""]),
        ("unet/config.json", "layers_per_block", json!(-1), ["is -1", "a whole number from 1"]),
        ("unet/config.json", "norm_eps", json!("small"), ["is \"small\"", "expected a number"]),
        ("unet/config.json", "class_embed_type", json!("timestep"), ["is \"timestep\"", "expected null"]),
        (
            "unet/config.json",
            "down_block_types",
            json!(["DownBlock2D"]),
            ["is [\"DownBlock2D\"]", "a list of 4 block types"],
        ),
        ("vae/config.json", "scaling_factor", json!(0), ["is 0", "expected a number other than 0"]),
        ("vae/config.json", "scaling_factor", json!(0.0), ["is 0.0", "expected a number other than 0"]),
        ("vae/config.json", "norm_num_groups", json!(5), ["is 5", "a divisor of every `block_out_channels`"]),
        ("vae/config.json", "act_fn", json!("gelu"), ["is \"gelu\"", "expected one of"]),
        ("vae/config.json", "block_out_channels", json!([]), ["is []", "a list of channels"]),
        ("scheduler/scheduler_config.json", "prediction_type", json!("x0"), ["is \"x0\"", "expected one of"]),
        ("text_encoder/config.json", "num_attention_heads", json!(0), ["is 0", "a whole number from 1"]),
        (
            "text_encoder/config.json",
            "num_attention_heads",
            json!(5),
            ["is 5", "a divisor of `hidden_size`, 32"],
        ),
        (
            "text_encoder/config.json",
            "hidden_act",
            json!("relu"),
            ["is \"relu\"", "\"gelu\", \"quick_gelu\""],
        ),
        ("text_encoder/config.json", "max_position_embeddings", json!(32), ["is 32", "at least 77"]),
        (
            "text_encoder/config.json",
            "model_type",
            json!("t5"),
            ["is \"t5\"", "expected one of \"clip_text_model\", \"clip\""],
        ),
    ] {
        let whole = checkpoint.read(file);
        checkpoint.set(file, key, value);
        refused(&checkpoint, &[&format!("{file}: `{key}` "), parts[0], parts[1]]);
        checkpoint.write(file, whole);
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    let checkpoint = with("unet/config.json", "cross_attention_dim", json!(1024));
    refused(
        &checkpoint,
        &["the UNet attends to embeddings of width 1024, the text encoder's have width 32", "expected "],
    );
    let checkpoint = with("unet/config.json", "in_channels", json!(9));
    refused(&checkpoint, &["the UNet takes 9 channels and gives 4, the VAE has 4", "expected "]);
    let checkpoint = with("text_encoder/config.json", "vocab_size", json!(49407));
    refused(
        &checkpoint,
        &["tokenizer/vocab.json: the token `<|endoftext|>` has id 49407", "less than 49407"],
    );
    let checkpoint = with("model_index.json", "_class_name", json!("StableDiffusionXLPipeline"));
    refused(
        &checkpoint,
        &[
            "model_index.json: `_class_name` is \"StableDiffusionXL",
            "two text encoders",
            "expected \"StableDiffusionP",
        ],
    );
}

#[test]
fn json_that_does_not_parse() {
    let checkpoint = checkpoint("sd2");
    checkpoint.write("unet/config.json", "{\n  \"in_channels\": 4,\n  \"out_channels\": ,\n}");
    refused(&checkpoint, &["unet/config.json: line 3, column 19: not valid JSON: expected value"]);
    checkpoint.write("unet/config.json", "");
    refused(&checkpoint, &["unet/config.json: line 1, column 0: not valid JSON"]);
    checkpoint.write("unet/config.json", "{\"norm_eps\": 1e999}");
    refused(&checkpoint, &["unet/config.json: line 1", "number out of range"]);
    // As deep as a stack: the parser gives up before the program does.
    checkpoint.write("unet/config.json", "[".repeat(100_000));
    refused(&checkpoint, &["unet/config.json: line 1", "recursion limit"]);
}

#[test]
fn json_that_is_no_object() {
    let checkpoint = checkpoint("sd2");
    for (text, found) in [("[1, 2]", "a list"), ("null", "null"), ("\"silu\"", "a string"), ("4", "a number")]
    {
        checkpoint.write("unet/config.json", text);
        refused(&checkpoint, &["unet/config.json: expected a JSON object", &format!("found {found}")]);
    }
}

/// What a message quotes from a file is not the file's to shape: it stays one short line.
#[test]
fn a_file_that_quotes_badly() {
    let nasty = "line\nbreak \u{1b}[31m ".to_string() + &"a megabyte".repeat(100_000);
    let checkpoint = with("unet/config.json", "act_fn", json!(nasty));
    refused(&checkpoint, &["unet/config.json: `act_fn` is \"line\\nbreak", "…"]);
    let checkpoint = with("tokenizer/vocab.json", &nasty, json!("not an id"));
    refused(&checkpoint, &["vocab.json: `line break", "…` is \"not an id\""]);
    checkpoint.set("tokenizer/vocab.json", &nasty, json!(49408));
    refused(&checkpoint, &["vocab.json: the token `line break", "…` has id 49408; expected less than 49408"]);

    let checkpoint = self::checkpoint("sd2");
    checkpoint.write("tokenizer/merges.txt", nasty.replace(' ', "_"));
    refused(&checkpoint, &["merges.txt: line 1: `line`"]);
    checkpoint.write("tokenizer/merges.txt", "i n\n".to_string() + &"x".repeat(1_000_000));
    refused(&checkpoint, &["merges.txt: line 2: `xxxxx", "…`"]);
    checkpoint.write("tokenizer/merges.txt", "q\u{7}q ".to_string() + &"x".repeat(1_000_000));
    refused(&checkpoint, &["merges.txt: the merge `q q xxxxx", "…`"]);
    checkpoint.write("tokenizer/merges.txt", "i n\n");
    checkpoint.set("tokenizer/special_tokens_map.json", "pad_token", json!(format!("{nasty}!")));
    refused(&checkpoint, &["vocab.json: the special token `line break", "…`"]);

    let (mut header, data) = taken_apart(&checkpoint, UNET);
    header["conv_in.bias"]["dtype"] = json!(nasty);
    put_together(&checkpoint, UNET, &header, &data);
    refused(&checkpoint, &[UNET, "its header: unknown variant `line break", "…; fetch"]);
}

//! Files of LoRAs, broken in every way, and everything else that is given as one: the error names the file and the key.

use super::{Ends, Row, judge, words};
use crate::support::single::Single;
use std::fs;
use std::path::PathBuf;

const TO_K: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k";
/// Inputs and outputs of that module in the bundled model.
const INPUTS: usize = 128;
const OUTPUTS: usize = 160;

/// What is given: tensors of these keys, shapes and numbers, then what is done to the bytes, and the scale.
struct Bad {
    what: String,
    tensors: Vec<(String, Vec<usize>, f32)>,
    change: fn(Vec<u8>) -> Vec<u8>,
    scale: &'static str,
    name: &'static str,
    said: Vec<&'static str>,
}

/// The two matrices and alpha of a module.
fn module(prefix: &str, down: &[usize], up: &[usize]) -> Vec<(String, Vec<usize>, f32)> {
    vec![
        (format!("{prefix}.lora_down.weight"), down.into(), 0.1),
        (format!("{prefix}.lora_up.weight"), up.into(), 0.1),
        (format!("{prefix}.alpha"), vec![], 2.),
    ]
}

fn good() -> Bad {
    Bad {
        what: "a good one".into(),
        tensors: module(TO_K, &[4, INPUTS], &[OUTPUTS, 4]),
        change: |bytes| bytes,
        scale: "",
        name: "x.safetensors",
        said: vec![],
    }
}

fn shapes(what: &str, down: &[usize], up: &[usize], said: &[&'static str]) -> Bad {
    Bad { what: what.into(), tensors: module(TO_K, down, up), said: said.into(), ..good() }
}

/// The good one with further tensors.
fn with(what: &str, more: &[(&str, &[usize], f32)], said: &[&'static str]) -> Bad {
    let mut bad = Bad { what: what.into(), said: said.into(), ..good() };
    bad.tensors.extend(more.iter().map(|(key, shape, number)| (key.to_string(), shape.to_vec(), *number)));
    bad
}

fn only(what: &str, tensors: &[(&str, &[usize], f32)], said: &[&'static str]) -> Bad {
    let mut bad = with(what, tensors, said);
    bad.tensors.drain(..3);
    bad
}

fn bytes(what: &str, change: fn(Vec<u8>) -> Vec<u8>, said: &[&'static str]) -> Bad {
    Bad { what: what.into(), change, said: said.into(), ..good() }
}

fn written(bad: &Bad) -> (Single, PathBuf) {
    let mut file = Single::empty();
    bad.tensors.iter().for_each(|(key, shape, number)| file.put(key, shape, *number));
    let path = file.write();
    let bytes = (bad.change)(fs::read(&path).unwrap());
    let path = path.with_file_name(bad.name);
    fs::write(&path, bytes).unwrap();
    (file, path)
}

fn row(what: &str, loras: &[&str], said: Vec<String>) -> Row {
    let mut args = words("run --steps 1 --width 16 --height 16 -o a.png");
    for lora in loras {
        args.extend(["--lora".into(), lora.into()]);
    }
    Row { what: what.into(), args, stdin: vec![], ends: Ends::Refused(said), as_nobody: false }
}

#[test]
fn files_that_are_no_lora_for_this_model() {
    const DOWN: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight";
    const UP: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight";
    const PEFT: &str = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k";
    let methods = [
        ("lora_mid.weight", "LoCon with a middle convolution"),
        ("hada_w1_a", "LoHa"),
        ("hada_t1", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("lokr_t2", "LoKr"),
        ("dora_scale", "DoRA"),
        ("oft_blocks", "OFT"),
        ("diff", "whole differences of weights"),
        ("diff_b", "whole differences of weights"),
        ("on_input", "IA³"),
    ];
    let mut all: Vec<Bad> = methods
        .iter()
        .map(|(end, method)| {
            let key = format!("{TO_K}.{end}");
            let mut bad = with(end, &[(&key, &[4, 4], 0.)], &[]);
            bad.said = vec![TO_K, method];
            bad
        })
        .collect();
    all.extend([
        shapes("ranks that do not agree", &[4, INPUTS], &[OUTPUTS, 8], &[DOWN, UP, "[160, 8]"]),
        shapes("rank 0", &[0, INPUTS], &[OUTPUTS, 0], &[DOWN, "(r, inputs) and (outputs, r)"]),
        shapes("of SD 1", &[4, 768], &[OUTPUTS, 4], &[DOWN, "[4, 768] (Stable Diffusion 1)", "[4, 128]"]),
        shapes("of SD 2", &[4, 1024], &[OUTPUTS, 4], &["(Stable Diffusion 2)"]),
        shapes("of SDXL", &[4, 2048], &[OUTPUTS, 4], &["(Stable Diffusion XL)"]),
        shapes("other outputs", &[4, INPUTS], &[320, 4], &[UP, "[320, 4]", "[160, 4]"]),
        shapes("a convolution", &[4, INPUTS, 3, 3], &[OUTPUTS, 4, 1, 1], &[DOWN, "[4, 128, 3, 3]"]),
        shapes("a convolution upwards", &[4, INPUTS], &[OUTPUTS, 4, 3, 3], &[UP, "[160, 4, 3, 3]"]),
        shapes("vectors", &[INPUTS], &[OUTPUTS], &[DOWN, "[128]"]),
        shapes("scalars", &[], &[], &[DOWN]),
        shapes("three dimensions", &[4, INPUTS, 1], &[OUTPUTS, 4], &[DOWN]),
        only("one matrix", &[(DOWN, &[4, INPUTS], 0.1)], &[DOWN, "no other matrix beside it"]),
        only("the other matrix", &[(UP, &[OUTPUTS, 4], 0.1)], &[UP, "no other matrix beside it"]),
        only("alpha alone", &[(&format!("{TO_K}.alpha"), &[], 1.)], &["none of its 1 tensors is of a LoRA"]),
        only("no tensor", &[], &["there is no tensor in it"]),
        only(
            "a UNet",
            &[("conv_in.weight", &[8, 4, 3, 3], 0.)],
            &["none of its 1 tensors", "`conv_in.weight`"],
        ),
        only(
            "a checkpoint",
            &[("model.diffusion_model.input_blocks.0.0.weight", &[320, 4, 3, 3], 0.)],
            &["none of its 1 tensors", "model.diffusion_model.input_blocks.0.0.weight"],
        ),
        only(
            "a textual inversion",
            &[("emb_params", &[2, INPUTS], 0.)],
            &["none of its 1 tensors", "`emb_params`"],
        ),
        only(
            "NaN",
            &[(DOWN, &[4, INPUTS], f32::NAN), (UP, &[OUTPUTS, 4], 0.1)],
            &[DOWN, "512 of 512 values that are NaN"],
        ),
        only(
            "infinity",
            &[(DOWN, &[4, INPUTS], 0.1), (UP, &[OUTPUTS, 4], f32::INFINITY)],
            &[UP, "NaN or infinite"],
        ),
        only(
            "an alpha that is NaN",
            &[(DOWN, &[4, INPUTS], 0.1), (UP, &[OUTPUTS, 4], 0.1), (&format!("{TO_K}.alpha"), &[], f32::NAN)],
            &["attn2_to_k.alpha` is [NaN]", "one finite number"],
        ),
        only(
            "two alphas",
            &[(DOWN, &[4, INPUTS], 0.1), (UP, &[OUTPUTS, 4], 0.1), (&format!("{TO_K}.alpha"), &[2], 1.)],
            &["attn2_to_k.alpha` has the shape [2]"],
        ),
        with(
            "the same module in two layouts",
            &[
                (&format!("{PEFT}.lora_A.weight"), &[4, INPUTS], 0.1),
                (&format!("{PEFT}.lora_B.weight"), &[OUTPUTS, 4], 0.1),
            ],
            &["are the same tensor of a module"],
        ),
        with(
            "the same module by two names",
            &[
                (
                    "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
                    &[4, INPUTS],
                    0.1,
                ),
                (
                    "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k.lora_up.weight",
                    &[OUTPUTS, 4],
                    0.1,
                ),
            ],
            &["is a second change of unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"],
        ),
        bytes("empty", |_| vec![], &["0 bytes"]),
        bytes("a zip", |_| b"PK\x03\x04\0\0\x08\x08\0\0".into(), &["a zip file"]),
        bytes(
            "a pickle",
            |_| b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".into(),
            &["a Python pickle, which is never read"],
        ),
        bytes("cut", |bytes| bytes[..bytes.len() - 9].into(), &["whole safetensors file"]),
        bytes("cut in the header", |bytes| bytes[..20].into(), &["whole safetensors file"]),
        Bad { what: "called .pt".into(), name: "x.pt", said: vec!["a PyTorch pickle by its name"], ..good() },
        Bad {
            what: "called .ckpt".into(),
            name: "x.ckpt",
            said: vec!["a PyTorch pickle by its name"],
            ..good()
        },
        Bad { what: "no scale".into(), scale: ":", said: vec!["follows the colon"], ..good() },
        Bad { what: "NaN as a scale".into(), scale: ":nan", said: vec!["`nan` follows the colon"], ..good() },
        Bad { what: "infinity as a scale".into(), scale: ":1e999", said: vec!["`1e999` follows"], ..good() },
        Bad { what: "a word as a scale".into(), scale: ":x", said: vec!["`x` follows the colon"], ..good() },
    ]);
    let files: Vec<_> = all.iter().map(written).collect();
    let mut rows: Vec<Row> = vec![];
    for (bad, (_, path)) in all.iter().zip(&files) {
        let given = format!("{}{}", path.display(), bad.scale);
        let said = bad.said.iter().chain([&bad.name]).map(|said| said.to_string()).collect();
        rows.push(row(&bad.what, &[&given], said));
    }
    let (file, path) = written(&good());
    let (good, folder) = (path.display().to_string(), path.parent().unwrap().display().to_string());
    for (what, given, said) in [
        ("a folder", folder.as_str(), "a folder"),
        ("no file", "/nonexistent/x.safetensors:1", "/nonexistent/x.safetensors"),
        ("nothing", "", "error"),
    ] {
        rows.push(row(what, &[given], vec![said.to_string()]));
    }
    let scaled = [good.clone(), format!("{good}:-1"), format!("{good}:2.5e1")];
    let scaled = scaled.each_ref().map(String::as_str);
    rows.push(Row { ends: Ends::Works, ..row("good ones", &scaled, vec![]) });
    judge(&rows);
    drop(file);
}

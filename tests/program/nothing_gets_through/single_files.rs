//! A checkpoint in one file, broken in every way, and everything else that is given as one: the error names the file and the tensor.

use super::{Ends, Row, judge, words};
use crate::support::single::{Single, single};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What is given, and what must be said of it besides the file's name.
struct Bad {
    what: String,
    make: Box<dyn Fn() -> (Single, PathBuf)>,
    flags: &'static str,
    said: Vec<&'static str>,
}

/// What is in the file's place, what is said of it, and how it is made.
type Special = (&'static str, &'static [&'static str], fn(&Path));

/// Files at once: each is large.
const BATCH: usize = 12;
const RUN: &str = "run --steps 1 --width 16 --height 16 -o a.png --dump a.safetensors";

fn judge_all(all: &[Bad]) {
    for batch in all.chunks(BATCH) {
        let files: Vec<_> = batch.iter().map(|bad| (bad.make)()).collect();
        let rows: Vec<Row> = batch.iter().zip(&files).map(|(bad, (_, path))| row(bad, path)).collect();
        judge(&rows);
    }
}

/// The file is given as the model, or where the flags end with `--vae` as the VAE of the bundled model.
fn row(bad: &Bad, path: &Path) -> Row {
    let mut args = words(RUN);
    args.extend(words(bad.flags));
    if !bad.flags.ends_with("--vae") {
        args.push("--model".into());
    }
    args.push(path.into());
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let said = bad.said.iter().map(|said| said.to_string()).chain([name]).collect();
    Row {
        what: bad.what.clone(),
        args,
        stdin: vec![],
        ends: Ends::Refused(said),
        as_nobody: bad.what == "unreadable",
    }
}

/// A file in f16.
fn half(name: &str) -> Single {
    single(name).cast("F16")
}

/// A whole file of Stable Diffusion 1 with a change.
fn changed(what: &str, said: &[&'static str], change: impl Fn(&mut Single) + 'static) -> Bad {
    of("sd1", what, said, change)
}

fn of(name: &'static str, what: &str, said: &[&'static str], change: impl Fn(&mut Single) + 'static) -> Bad {
    let make = move || {
        let mut file = half(name);
        change(&mut file);
        let path = file.write();
        (file, path)
    };
    Bad { what: what.into(), make: Box::new(make), flags: "", said: said.into() }
}

/// A file of its own with tensors of these keys and shapes.
fn only(what: &str, said: &[&'static str], tensors: &'static [(&'static str, &'static [usize])]) -> Bad {
    let make = move || {
        let mut file = Single::empty();
        tensors.iter().for_each(|(key, shape)| file.put(key, shape, 0.));
        let path = file.write();
        (file, path)
    };
    Bad { what: what.into(), make: Box::new(make), flags: "", said: said.into() }
}

/// A file with these bytes, made of the whole file's.
fn bytes(
    what: &str,
    name: &'static str,
    said: &[&'static str],
    change: impl Fn(Vec<u8>) -> Vec<u8> + 'static,
) -> Bad {
    let make = move || {
        let file = half("sd1");
        let path = file.write_as(name, &change(file.bytes()));
        (file, path)
    };
    Bad { what: what.into(), make: Box::new(make), flags: "", said: said.into() }
}

fn with(flags: &'static str, bad: Bad) -> Bad {
    Bad { flags, ..bad }
}

const CONV: &str = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight";
const IN_PROJ: &str = "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight";

fn remove(key: &'static str) -> impl Fn(&mut Single) {
    move |file| assert!(file.tensors.remove(key).is_some(), "{key}")
}

fn reshape(key: &'static str, shape: &'static [usize]) -> impl Fn(&mut Single) {
    move |file| file.put(key, shape, 0.5)
}

#[test]
fn tensors_that_are_wrong() {
    const LAYER: &str = "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc2.weight";
    const VAE: &str = "first_stage_model.decoder.up.0.block.2.conv1.weight";
    const QUERY: &str = "first_stage_model.encoder.mid.attn_1.q.weight";
    let lacks = |key: &'static str| vec![key, "is missing; expected one of shape"];
    let mut all = vec![
        changed("no convolution", &lacks(CONV), remove(CONV)),
        changed("no text layer", &lacks(LAYER), remove(LAYER)),
        changed("no convolution of the VAE", &lacks(VAE), remove(VAE)),
        changed("no query of the VAE", &lacks(QUERY), remove(QUERY)),
        of("sd2", "no query, key and value", &lacks(IN_PROJ), remove(IN_PROJ)),
        changed(
            "another shape",
            &[CONV, "has shape [32, 32, 3]; the file's other tensors ask for [32, 32, 3, 3]"],
            reshape(CONV, &[32, 32, 3]),
        ),
        changed("a shape of the VAE", &[VAE, "has shape [32, 7, 3, 3]"], reshape(VAE, &[32, 7, 3, 3])),
        changed("a query of the VAE", &[QUERY, "has shape [64, 64, 3]"], reshape(QUERY, &[64, 64, 3, 1])),
        of("sd2", "no three parts", &[IN_PROJ, "has shape [385, 128]"], reshape(IN_PROJ, &[385, 128])),
        of("sd2", "parts too short", &[IN_PROJ, "has shape [64, 128]"], reshape(IN_PROJ, &[192, 128])),
        changed(
            "no dimensions",
            &["model.diffusion_model.input_blocks.0.0.weight", "has shape []"],
            reshape("model.diffusion_model.input_blocks.0.0.weight", &[]),
        ),
        changed(
            "zero channels",
            &["model.diffusion_model.input_blocks.0.0.weight", "none of them 0"],
            reshape("model.diffusion_model.input_blocks.0.0.weight", &[32, 0, 3, 3]),
        ),
        changed(
            "odd channels",
            &["input_blocks.1.0.out_layers.3.weight", "gives 30 channels", "32"],
            reshape("model.diffusion_model.input_blocks.1.0.out_layers.3.weight", &[30, 30, 3, 3]),
        ),
        changed(
            "odd channels of the VAE",
            &["first_stage_model.encoder.down.0.block.0.conv1.weight", "gives 31 channels"],
            reshape("first_stage_model.encoder.down.0.block.0.conv1.weight", &[31, 32, 3, 3]),
        ),
        changed(
            "a narrow text encoder",
            &["attn2.to_k.weight", "width 64", "width 32"],
            reshape(
                "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
                &[77, 32],
            ),
        ),
        changed(
            "few positions",
            &["max_position_embeddings", "at least 77"],
            reshape(
                "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
                &[76, 64],
            ),
        ),
        changed(
            "few tokens",
            &["vocab"],
            reshape("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", &[100, 64]),
        ),
        changed(
            "no first layer",
            &["blocks `cond_stage_model.transformer.text_model.encoder.layers.…`", "without number 0"],
            |file| file.tensors.retain(|key, _| !key.contains("encoder.layers.0.")),
        ),
        changed("a level too few", &["input_blocks", "levels"], |file| {
            file.tensors.retain(|key, _| !key.contains("input_blocks.5."))
        }),
        changed("a gap", &["input_blocks", "without number 3"], |file| {
            file.tensors.retain(|key, _| !key.contains("input_blocks.3."))
        }),
        changed("a huge number", &["input_blocks", "without number 6"], |file| {
            file.put("model.diffusion_model.input_blocks.18446744073709551615.0.weight", &[1], 0.)
        }),
        changed("many blocks", &["input_blocks", "at most 64"], |file| {
            (6..99)
                .for_each(|i| file.put(&format!("model.diffusion_model.input_blocks.{i}.0.weight"), &[1], 0.))
        }),
        changed("no transformers", &["input_blocks.1.1.transformer_blocks.0.norm1.weight"], |file| {
            file.tensors.retain(|key, _| !key.contains("transformer_blocks"))
        }),
        changed(
            "no projection",
            &["input_blocks.1.1.proj_in.weight"],
            remove("model.diffusion_model.input_blocks.1.1.proj_in.weight"),
        ),
        changed("no text encoder", &["cond_stage_model"], |file| {
            file.tensors.retain(|key, _| !key.starts_with("cond_stage_model"))
        }),
        changed("no VAE", &["first_stage_model"], |file| {
            file.tensors.retain(|key, _| !key.starts_with("first_stage_model"))
        }),
        of("sd2", "of both families", &["attn2.to_k.weight", "width 768", "as the other's"], |file| {
            file.put(
                "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
                &[64, 768],
                0.,
            );
            file.put("cond_stage_model.model.positional_embedding", &[77, 768], 0.);
        }),
        with(
            "--ema",
            changed(
                "no averaged weights",
                &["model_ema.diffusion_modelinput_blocks00weight", "--ema"],
                |_| (),
            ),
        ),
        with(
            "--ema",
            changed(
                "an averaged weight less",
                &["model_ema.diffusion_modelinput_blocks10in_layers2weight", "is missing"],
                |file| {
                    for key in file.tensors.keys().cloned().collect::<Vec<_>>() {
                        if let Some(rest) = key.strip_prefix("model.").filter(|_| key != CONV) {
                            let stored = file.tensors[&key].clone();
                            file.tensors.insert(format!("model_ema.{}", rest.replace('.', "")), stored);
                        }
                    }
                },
            ),
        ),
        changed(
            "unknown metadata",
            &["`modelspec.prediction_type` in its metadata is \"sample\"", "--prediction-type"],
            |file| {
                file.metadata.insert("modelspec.prediction_type".into(), "sample".into());
            },
        ),
    ];
    for (key, number) in [(CONV, f32::NAN), (LAYER, f32::INFINITY), (VAE, f32::NAN), (QUERY, f32::NAN)] {
        all.push(changed("no number", &[key, "NaN or infinite"], move |file| {
            let shape = file.shape(key);
            file.put(key, &shape, number);
        }));
        all.push(changed("whole numbers", &[key, "stored as I16; expected F16"], move |file| {
            if let Some(stored) = file.tensors.get_mut(key) {
                stored.0 = "I16";
            }
        }));
    }
    judge_all(&all);
}

#[test]
fn files_that_are_no_safetensors() {
    let mut all = vec![
        bytes("empty", "model.safetensors", &["0 bytes"], |_| vec![]),
        bytes("a zip", "model.safetensors", &["a zip file, as PyTorch's pickles are"], |_| {
            b"PK\x03\x04\0\0\x08\x08\0\0".into()
        }),
        bytes("a pickle", "model.safetensors", &["a Python pickle, which is never read"], |_| {
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".into()
        }),
        bytes("a web page", "model.safetensors", &["a web page"], |_| b"<!DOCTYPE html><p>no</p>".into()),
        bytes("a pointer", "model.safetensors", &["a git LFS pointer"], |_| {
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".into()
        }),
        bytes("a GGUF file", "model.safetensors", &["a GGUF file"], |_| b"GGUF\x03\0\0\0\0\0\0\0".into()),
        bytes("no tensors", "model.safetensors", &["it holds no tensors"], |_| {
            b"\x02\0\0\0\0\0\0\0{}".into()
        }),
        bytes("called .ckpt", "model.ckpt", &["a PyTorch pickle by its name", "never read"], |all| all),
        bytes("called .CKPT", "model.CKPT", &["a PyTorch pickle by its name"], |all| all),
        bytes("called .pt", "model.pt", &["a PyTorch pickle by its name"], |all| all),
        bytes("called .bin", "model.bin", &["a PyTorch pickle by its name"], |all| all),
        bytes("called .gguf", "model.gguf", &["a GGUF file by its name"], |all| all),
        bytes("called .png", "model.png", &["a file; expected", ".safetensors"], |all| all),
        with("--vae", bytes("a VAE called .pt", "vae.pt", &["a PyTorch pickle by its name"], |all| all)),
        with(
            "--vae",
            bytes("a zip as VAE", "vae.safetensors", &["a zip file"], |_| {
                b"PK\x03\x04\0\0\x08\x08\0\0".into()
            }),
        ),
    ];
    for part in 1..=10 {
        all.push(bytes("cut", "model.safetensors", &["whole safetensors file"], move |all| {
            all[..all.len() * part / 11].into()
        }));
    }
    for seed in 0..24u64 {
        all.push(bytes("a byte flipped", "model.safetensors", &[], move |mut all| {
            let end = u64::from_le_bytes(all[..8].try_into().unwrap());
            let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let at = if seed < 8 { seed } else { 8 + random % end };
            all[at as usize] ^= 1 << (seed % 7);
            all
        }));
    }
    let special: [Special; 4] = [
        ("unreadable", &["ermission denied"], |path| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("a device", &["not a regular file"], |path| symlink("/dev/zero", path).unwrap()),
        ("a link to nothing", &["model.safetensors"], |path| symlink("nothing", path).unwrap()),
        ("a folder", &["model_index.json"], |path| fs::create_dir(path).unwrap()),
    ];
    for (what, said, make) in special {
        let make = move || {
            let file = Single::empty();
            let path = file.write();
            fs::remove_file(&path).unwrap();
            make(&path);
            (file, path)
        };
        all.push(Bad { what: what.into(), make: Box::new(make), flags: "", said: said.into() });
    }
    judge_all(&all);
}

#[test]
fn other_models() {
    const CONV_IN: &str = "model.diffusion_model.input_blocks.0.0.weight";
    let all = [
        only(
            "a LoRA of kohya",
            &["a LoRA alone", "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"],
            &[("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", &[4, 64])],
        ),
        only(
            "a LoRA of a text encoder",
            &["a LoRA alone", "lora_te_text_model"],
            &[("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", &[1])],
        ),
        only(
            "a LoRA of diffusers",
            &["a LoRA alone", "unet.mid_block.attentions.0.proj_in.lora_A.weight"],
            &[("unet.mid_block.attentions.0.proj_in.lora_A.weight", &[4, 64])],
        ),
        only(
            "a VAE",
            &["a VAE alone, which `--vae` takes", "decoder.conv_in.weight"],
            &[("decoder.conv_in.weight", &[64, 4, 3, 3])],
        ),
        only(
            "a VAE with its prefix",
            &["a VAE alone", "first_stage_model.decoder.conv_in.weight"],
            &[("first_stage_model.decoder.conv_in.weight", &[64, 4, 3, 3])],
        ),
        only(
            "a textual inversion",
            &["a textual inversion alone", "emb_params"],
            &[("emb_params", &[1, 64])],
        ),
        only(
            "a ControlNet",
            &["a ControlNet", "control_model.time_embed.0.weight"],
            &[("control_model.time_embed.0.weight", &[64, 64])],
        ),
        only(
            "a ControlNet in diffusers' layout",
            &["a ControlNet", "controlnet_cond_embedding.conv_in.weight"],
            &[("controlnet_cond_embedding.conv_in.weight", &[16, 3, 3, 3])],
        ),
        only(
            "SDXL",
            &["Stable Diffusion XL", "conditioner.embedders.1.model.ln_final.weight"],
            &[("conditioner.embedders.1.model.ln_final.weight", &[8]), (CONV_IN, &[32, 4, 3, 3])],
        ),
        only(
            "SDXL's refiner",
            &["the refiner of Stable Diffusion XL", "conditioner.embedders.0.model.ln_final.weight"],
            &[("conditioner.embedders.0.model.ln_final.weight", &[8]), (CONV_IN, &[32, 4, 3, 3])],
        ),
        only(
            "SDXL's UNet",
            &["model.diffusion_model.label_emb.0.0.weight"],
            &[("model.diffusion_model.label_emb.0.0.weight", &[8, 8]), (CONV_IN, &[32, 4, 3, 3])],
        ),
        only(
            "SD 3",
            &["Stable Diffusion 3", "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"],
            &[("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", &[8, 8])],
        ),
        only(
            "FLUX",
            &["FLUX", "double_blocks.0.img_attn.qkv.weight"],
            &[("double_blocks.0.img_attn.qkv.weight", &[8, 8])],
        ),
        only(
            "a motion module",
            &["AnimateDiff", "motion_modules"],
            &[("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", &[8])],
        ),
        only(
            "a UNet of diffusers",
            &["a UNet alone in the diffusers layout", "down_blocks.0.resnets.0.conv1.weight"],
            &[("down_blocks.0.resnets.0.conv1.weight", &[8, 8, 3, 3])],
        ),
        only(
            "a text encoder",
            &["a text encoder alone", "text_model.final_layer_norm.weight"],
            &[("text_model.final_layer_norm.weight", &[8])],
        ),
        only(
            "inpainting",
            &["takes 9 channels", CONV_IN, "a mask and a masked image"],
            &[(CONV_IN, &[32, 9, 3, 3])],
        ),
        only("depth to image", &["takes 5 channels", CONV_IN, "a depth map"], &[(CONV_IN, &[32, 5, 3, 3])]),
        only(
            "InstructPix2Pix",
            &["takes 8 channels", CONV_IN, "the image to edit"],
            &[(CONV_IN, &[32, 8, 3, 3])],
        ),
        only("an upscaler", &["takes 7 channels", CONV_IN, "a small image"], &[(CONV_IN, &[32, 7, 3, 3])]),
        only(
            "another text encoder",
            &["AltDiffusion", "cond_stage_model.roberta.x"],
            &[("cond_stage_model.roberta.x", &[1]), (CONV_IN, &[32, 4, 3, 3])],
        ),
        only("a UNet that ends", &["input_blocks", "levels"], &[(CONV_IN, &[32, 4, 3, 3])]),
        only(
            "anything",
            &["no tensor `model.diffusion_model.input_blocks.0.0.weight`", "`h.0.attn.c_attn.weight`"],
            &[("h.0.attn.c_attn.weight", &[8, 8])],
        ),
        with(
            "--vae",
            only(
                "a LoRA as VAE",
                &["there is no VAE in it", "lora_unet_x.alpha"],
                &[("lora_unet_x.alpha", &[1])],
            ),
        ),
        with(
            "--vae",
            only(
                "half a VAE",
                &["decoder.conv_in.weight"],
                &[("encoder.down.0.block.0.conv1.weight", &[32, 32, 3, 3])],
            ),
        ),
        with(
            "--vae",
            only(
                "an encoder",
                &["encoder.conv_in.weight", "is missing"],
                &[
                    ("encoder.down_blocks.0.resnets.0.conv1.weight", &[32, 32, 3, 3]),
                    ("decoder.conv_in.weight", &[32, 4, 3, 3]),
                ],
            ),
        ),
        with(
            "--vae",
            only(
                "another number of latents",
                &["8", "the VAE has 8"],
                &[
                    ("encoder.down.0.block.0.conv1.weight", &[32, 32, 3, 3]),
                    ("decoder.conv_in.weight", &[32, 8, 3, 3]),
                ],
            ),
        ),
    ];
    judge_all(&all);
}

#[test]
fn flags_that_do_not_fit() {
    let row = |flags: &str, ends| Row {
        what: flags.into(),
        args: words(&format!("{RUN} {flags}")),
        stdin: vec![],
        ends,
        as_nobody: false,
    };
    let refused = |said: &[&str]| Ends::Refused(said.iter().map(|said| said.to_string()).collect());
    let usage = |said: &[&str]| Ends::Usage(said.iter().map(|said| said.to_string()).collect());
    judge(&[
        row("--ema", refused(&["pocket: not a checkpoint in one file", "--ema"])),
        row("--vae /nonexistent/vae", refused(&["/nonexistent/vae: No such file", "expected a VAE"])),
        row("--vae /", refused(&["/: a folder without config.json"])),
        row("--prediction-type sample", usage(&["expected epsilon or v_prediction"])),
        row("--prediction-type", usage(&["--prediction-type"])),
        row("--model nowhere/model.safetensors", refused(&["nowhere/model.safetensors: No such file"])),
        row(
            "--model /nonexistent/model.safetensors",
            refused(&["/nonexistent/model.safetensors: No such file", ".safetensors file"]),
        ),
    ]);
}

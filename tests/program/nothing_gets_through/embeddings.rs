//! Files of textual inversion, broken in every way, and everything else that is given as one: the error names the file and the key.

use super::{Ends, Row, judge, words};
use crate::support::single::Single;
use std::fs;
use std::path::PathBuf;

/// The width of the bundled model's text encoder.
const WIDTH: usize = 128;

/// What is given: tensors of these keys, shapes and numbers, then what is done to the bytes, and the token.
struct Bad {
    what: &'static str,
    tensors: Vec<(&'static str, Vec<usize>, f32)>,
    change: fn(Vec<u8>) -> Vec<u8>,
    token: &'static str,
    name: &'static str,
    said: Vec<&'static str>,
}

fn of(what: &'static str, tensors: &[(&'static str, &[usize])], said: &[&'static str]) -> Bad {
    Bad {
        what,
        tensors: tensors.iter().map(|(key, shape)| (*key, shape.to_vec(), 0.)).collect(),
        change: |bytes| bytes,
        token: "",
        name: "x.safetensors",
        said: said.into(),
    }
}

fn good() -> Bad {
    of("a good one", &[("<x>", &[2, WIDTH])], &[])
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

#[test]
fn files_that_are_no_word() {
    let with_number = |number, what, said: &[&'static str]| Bad {
        what,
        tensors: vec![("<x>", vec![2, WIDTH], number)],
        said: said.into(),
        ..good()
    };
    let all = [
        with_number(f32::NAN, "NaN", &["`<x>` has NaN in vector 0", "finite numbers"]),
        with_number(f32::NEG_INFINITY, "infinity", &["`<x>` has -inf in vector 0"]),
        of(
            "another width",
            &[("<x>", &[2, 768])],
            &["`<x>` have width 768 (Stable Diffusion 1)", "the text encoder's"],
        ),
        of("of SDXL alone", &[("clip_g", &[1, 1280])], &["`clip_g` have width 1280", "Stable Diffusion XL"]),
        of(
            "of SDXL",
            &[("clip_l", &[1, 768]), ("clip_g", &[1, 1280])],
            &["`clip_l` and `clip_g`", "Stable Diffusion XL"],
        ),
        of("no vectors", &[("<x>", &[0, WIDTH])], &["`<x>` has the shape [0, "]),
        of("too many vectors", &[("<x>", &[76, WIDTH])], &["`<x>` has the shape [76, ", "1 to 75 vectors"]),
        of("wide vectors", &[("<x>", &[1, 1 << 17])], &["`<x>` has the shape [1, 131072]"]),
        of("a scalar", &[("<x>", &[])], &["`<x>` has the shape []"]),
        of("a cube", &[("<x>", &[1, 1, WIDTH])], &["`<x>` has the shape [1, 1, "]),
        of(
            "two words",
            &[("<x>", &[WIDTH]), ("<y>", &[WIDTH])],
            &["there are 2 tensors in it, the first is `<x>`"],
        ),
        of(
            "a LoRA",
            &[("lora_unet_a.lora_down.weight", &[4, WIDTH]), ("lora_unet_a.lora_up.weight", &[WIDTH, 4])],
            &["`lora_unet_a.lora_", "is a tensor of a LoRA"],
        ),
        of("a tensor of a LoRA", &[("lora_te_a.lora_down.weight", &[4, WIDTH])], &["is a tensor of a LoRA"]),
        of(
            "a UNet",
            &[("conv_in.weight", &[8, 4, 3, 3]), ("conv_in.bias", &[8])],
            &["2 tensors", "`conv_in."],
        ),
        of("a word that is known", &[("foo", &[WIDTH])], &["the token `foo` already"]),
        Bad { what: "a token that is known", token: ":cat", said: vec!["the token `cat` already"], ..good() },
        Bad { what: "an empty token", token: ":", said: vec!["no token follows the colon"], ..good() },
        Bad { what: "empty", change: |_| vec![], said: vec!["0 bytes"], ..good() },
        Bad {
            what: "a zip",
            change: |_| b"PK\x03\x04\0\0\x08\x08\0\0".into(),
            said: vec!["a zip file"],
            ..good()
        },
        Bad {
            what: "a pickle",
            change: |_| b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".into(),
            said: vec!["a Python pickle, which is never read"],
            ..good()
        },
        Bad { what: "called .pt", name: "x.pt", said: vec!["a PyTorch pickle by its name"], ..good() },
        Bad { what: "called .bin", name: "x.bin", said: vec!["a PyTorch pickle by its name"], ..good() },
        Bad {
            what: "cut",
            change: |bytes| bytes[..bytes.len() - 9].into(),
            said: vec!["whole safetensors file"],
            ..good()
        },
        Bad {
            what: "cut in the header",
            change: |bytes| bytes[..20].into(),
            said: vec!["whole safetensors file"],
            ..good()
        },
    ];
    let files: Vec<_> = all.iter().map(written).collect();
    let mut rows: Vec<Row> = vec![];
    for (bad, (_, path)) in all.iter().zip(&files) {
        let given = format!("{}{}", path.display(), bad.token);
        rows.push(row(bad.what, &[&given], bad.said.iter().chain([&bad.name]).map(|said| said.to_string())));
    }
    let (file, path) = written(&good());
    let (good, folder) = (path.display().to_string(), path.parent().unwrap().display().to_string());
    for (what, given, said) in [
        ("the same twice", vec![good.as_str(), &good], "the token `<x>` already"),
        ("its second vector", vec![good.as_str(), &format!("{good}:<x>_1")], "the token `<x>_1` already"),
        ("a folder", vec![&folder], "a folder"),
        ("no file", vec!["/nonexistent/x.safetensors:<x>"], "/nonexistent/x.safetensors"),
        ("nothing", vec![""], "error"),
    ] {
        rows.push(row(what, &given, [said.to_string()].into_iter()));
    }
    rows.push(Row {
        ends: Ends::Works,
        ..row("a good one", &[&format!("{good}:<y>"), &good], std::iter::empty())
    });
    judge(&rows);
    drop(file);
}

fn row(what: &str, embeddings: &[&str], said: impl Iterator<Item = String>) -> Row {
    let mut args = words("run --steps 1 --width 16 --height 16 -o a.png");
    for embedding in embeddings {
        args.extend(["--embedding".into(), embedding.into()]);
    }
    Row { what: what.into(), args, stdin: vec![], ends: Ends::Refused(said.collect()), as_nobody: false }
}

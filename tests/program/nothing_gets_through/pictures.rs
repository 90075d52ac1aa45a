//! Pictures that are given for their settings, broken in every way: the error names the file and the part.

use super::{Ends, Row, judge, words};
use diffuscope::picture::png::encode;
use image::RgbImage;
use png::text_metadata::{EncodableTextChunk, ITXtChunk, ZTXtChunk};
use std::fs;

type Text = (&'static str, String);

fn png(texts: &[Text]) -> Vec<u8> {
    encode(&RgbImage::new(2, 2), texts).unwrap()
}

/// A picture with another chunk after its header.
fn with_chunk(chunk: Vec<u8>) -> Vec<u8> {
    const HEADER: usize = 33;
    let mut bytes = png(&[]);
    bytes.splice(HEADER..HEADER, chunk);
    bytes
}

fn encoded(chunk: &impl EncodableTextChunk) -> Vec<u8> {
    let mut bytes = vec![];
    chunk.encode(&mut bytes).unwrap();
    bytes
}

/// The chunk with some of its data changed; its checksum stays right.
fn changed(chunk: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut data = chunk[8..chunk.len() - 4].to_vec();
    change(&mut data);
    let mut kind = [0; 4];
    kind.copy_from_slice(&chunk[4..8]);
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1).write_header().unwrap();
    encoder.write_chunk(png::chunk::ChunkType(kind), &data).unwrap();
    drop(encoder);
    // After the signature and the header.
    bytes.drain(..33);
    bytes.truncate(data.len() + 12);
    bytes
}

fn parameters(pairs: &str) -> Vec<u8> {
    png(&[("parameters", format!("a boat\n{pairs}, Model: pocket, RNG: CPU"))])
}

fn graph(change: (&str, &str)) -> Vec<u8> {
    const GRAPH: &str = r#"{"3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 1, "cfg": 7, "sampler_name": "euler",
        "scheduler": "normal", "denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "pocket"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 32, "height": 32, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat", "clip": ["4", 1]}}}"#;
    assert!(GRAPH.contains(change.0));
    png(&[("prompt", GRAPH.replace(change.0, change.1))])
}

#[test]
fn pictures_whose_settings_cannot_be_taken() {
    let long = "a".repeat(5 << 20);
    let ztxt = |text: &str| encoded(&ZTXtChunk::new("parameters", text));
    let itxt = |text: &str| {
        let mut chunk = ITXtChunk::new("parameters", text);
        chunk.compressed = true;
        encoded(&chunk)
    };
    let good = parameters("Steps: 1, Seed: 3, Size: 32x32");
    let mut flipped = good.clone();
    let at = good.windows(4).position(|kind| kind == b"tEXt").unwrap() + 12;
    flipped[at] ^= 1;
    let own = |json: &str| png(&[("diffuscope", json.into())]);
    const SOURCE: &str = "(AUTOMATIC1111's parameters): ";
    let rows: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["an empty file; expected a PNG"]),
        ("text", b"no picture".to_vec(), &["not a PNG; expected a PNG"]),
        ("a JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec(), &["a JPEG picture; expected a PNG"]),
        ("a WebP", b"RIFF\x10\0\0\0WEBPVP8 ".to_vec(), &["a WebP picture; expected a PNG"]),
        ("a GIF", b"GIF89a".to_vec(), &["a GIF picture; expected a PNG"]),
        ("a signature", good[..8].to_vec(), &["the file is truncated"]),
        ("half", good[..good.len() / 2].to_vec(), &["the file is truncated"]),
        ("without an end", good[..good.len() - 12].to_vec(), &["the file is truncated"]),
        ("no chunk", png(&[]), &["no settings: it has no text chunk"]),
        ("another chunk", png(&[("Software", "x".into())]), &["no settings: its text chunks are Software"]),
        ("an empty chunk", png(&[("parameters", String::new())]), &["its text chunk `parameters` is empty"]),
        ("an empty graph", png(&[("prompt", " ".into())]), &["its text chunk `prompt` is empty"]),
        ("a flipped bit", flipped, &["no settings: a text chunk (tEXt) is broken"]),
        (
            "a huge chunk",
            png(&[("parameters", long.clone())]),
            &["a text chunk tEXt of 5242891 bytes", "4 MB"],
        ),
        ("a bomb", with_chunk(ztxt(&long)), &["the text chunk `parameters`: ", "at most 4 MB"]),
        ("a bomb of UTF-8", with_chunk(itxt(&long)), &["the text chunk `parameters`: ", "at most 4 MB"]),
        (
            "a corrupt zTXt",
            with_chunk(changed(ztxt("a boat"), |data| data[14] ^= 0x55)),
            &["the text chunk `parameters`: "],
        ),
        (
            "no UTF-8",
            with_chunk(changed(encoded(&ITXtChunk::new("parameters", "a boat")), |data| data[16] = 0xff)),
            &["a text chunk (iTXt) is broken"],
        ),
        ("a record that is none", own("no JSON"), &["the text chunk `diffuscope`: ", "expected a record"]),
        (
            "a record without settings",
            own("{\"diffuscope\": \"1\"}"),
            &["the text chunk `diffuscope`: missing field"],
        ),
        ("a record with another key", own("{\"x\": 1}"), &["the text chunk `diffuscope`: unknown field `x`"]),
        ("steps 0", parameters("Steps: 0, Seed: 3"), &[SOURCE, "steps is 0"]),
        ("steps -1", parameters("Steps: -1, Seed: 3"), &["`Steps`: cannot be `-1`", "`--steps` sets it"]),
        ("steps 1e9", parameters("Steps: 1e9, Seed: 3"), &["`Steps`: cannot be `1e9`"]),
        ("steps 10^9", parameters("Steps: 1000000000, Seed: 3"), &[SOURCE, "steps is 1000000000"]),
        (
            "seed 2^64",
            parameters("Seed: 18446744073709551616, Steps: 1"),
            &["`Seed`: cannot be `18446744073709551616`"],
        ),
        ("scale NaN", parameters("CFG scale: NaN, Steps: 1"), &[SOURCE, "guidance_scale is NaN"]),
        ("a size of 0", parameters("Size: 0x64, Steps: 1"), &[SOURCE, "width is 0"]),
        ("a vast size", parameters("Size: 80000000x64, Steps: 1"), &[SOURCE, "pixels need"]),
        ("a negative size", parameters("Size: -8x8, Steps: 1"), &["`Size`: cannot be `-8`"]),
        ("one side", parameters("Size: 64, Steps: 1"), &["`Size`: cannot be ``"]),
        ("clip skip", parameters("Clip skip: 99, Steps: 1"), &[SOURCE, "clip_skip is 98"]),
        ("eta", parameters("Eta DDIM: 7, Steps: 1"), &[SOURCE, "eta is 7"]),
        ("a long prompt", png(&[("parameters", "a ".repeat(60_000))]), &[SOURCE, "prompt has 119999 bytes"]),
        ("no JSON", graph(("\"3\"", "3")), &["ComfyUI's graph: "]),
        ("a graph that is a list", png(&[("prompt", "[1]".into())]), &["ComfyUI's graph"]),
        ("deep JSON", png(&[("prompt", "[".repeat(100_000))]), &["ComfyUI's graph"]),
        (
            "a node that is a number",
            png(&[("prompt", "{\"1\": 2}".into())]),
            &["ComfyUI's graph: ", "`1` is 2"],
        ),
        ("no sampler", graph(("KSampler", "SamplerCustom")), &["no sampler", "node 3 (SamplerCustom)"]),
        (
            "a circle",
            graph(("\"latent_image\": [\"5\"", "\"latent_image\": [\"3\"")),
            &["node 3 (KSampler) is linked to itself"],
        ),
        (
            "a missing node",
            graph(("[\"6\"", "[\"99\"")),
            &["`positive` of node 3 (KSampler) is a link to node 99"],
        ),
        (
            "a graph's seed 2^64",
            graph(("\"seed\": 5", "\"seed\": 18446744073709551616")),
            &["`node 3 (KSampler) seed`"],
        ),
        (
            "a graph's steps",
            graph(("\"steps\": 1", "\"steps\": 1e9")),
            &["`node 3 (KSampler) steps`: cannot be `1000000000.0`"],
        ),
        (
            "a graph's NaN",
            graph(("\"cfg\": 7", "\"cfg\": NaN")),
            &["(ComfyUI's graph): ", "guidance_scale is NaN"],
        ),
        (
            "a graph's size",
            graph(("\"width\": 32", "\"width\": -8")),
            &["`node 5 (EmptyLatentImage) size`: cannot be `-8`"],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let row = |name: String, what: &str, said: &[&str]| Row {
        what: what.into(),
        args: [words("run -o a.png --from"), vec![folder.path().join(&name).into()]].concat(),
        stdin: vec![],
        ends: Ends::Refused(said.iter().map(|words| words.to_string()).chain([name]).collect()),
        as_nobody: false,
    };
    let mut all: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(i, (what, bytes, said))| {
            let name = format!("{i}.png");
            fs::write(folder.path().join(&name), bytes).unwrap();
            row(name, what, said)
        })
        .collect();
    fs::create_dir(folder.path().join("folder.png")).unwrap();
    all.push(row("folder.png".into(), "a folder", &["a folder; expected a PNG"]));
    all.push(row("missing.png".into(), "a missing file", &["No such file"]));
    let sparse = fs::File::create(folder.path().join("huge.png")).unwrap();
    sparse.set_len(3 << 30).unwrap();
    all.push(row("huge.png".into(), "a huge file", &["a larger file; expected at most 64 MB"]));
    let mut device = row("zero".into(), "a device", &["/dev/zero: not a regular file; expected a PNG"]);
    device.args = words("run -o a.png --from /dev/zero");
    all.push(device);
    // A flag makes a picture's wrong value good.
    let mut good = row("21.png".into(), "steps 0 and --steps", &[]);
    good.args.extend(words("--steps 1 --width 16 --height 16"));
    good.ends = Ends::Works;
    all.push(good);
    judge(&all);
}

//! Every file of a checkpoint, broken in every way.

use super::{Ends, Row, judge};
use crate::support::checkpoint::{Checkpoint, checkpoint};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a file is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Json,
    /// JSON that a checkpoint may lack.
    Optional,
    Text,
    Weights,
}

#[rustfmt::skip]
const FILES: [(&str, Kind); 12] = [
    ("model_index.json",                            Kind::Json),
    ("scheduler/scheduler_config.json",             Kind::Json),
    ("text_encoder/config.json",                    Kind::Json),
    ("text_encoder/model.safetensors",              Kind::Weights),
    ("tokenizer/merges.txt",                        Kind::Text),
    ("tokenizer/special_tokens_map.json",           Kind::Optional),
    ("tokenizer/tokenizer_config.json",             Kind::Optional),
    ("tokenizer/vocab.json",                        Kind::Json),
    ("unet/config.json",                            Kind::Json),
    ("unet/diffusion_pytorch_model.safetensors",    Kind::Weights),
    ("vae/config.json",                             Kind::Json),
    ("vae/diffusion_pytorch_model.safetensors",     Kind::Weights),
];

/// A way to break a file, and what is said of it beside the file's name.
struct Broken {
    what: &'static str,
    of: &'static [Kind],
    how: How,
    said: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum How {
    Missing,
    Holds(&'static [u8]),
    /// Only its first bytes, `.0` of eleven parts.
    Cut(usize),
    Folder,
    LinkTo(&'static str),
    LinkToItself,
    Unreadable,
    /// A byte of its header is another: the place follows from the number.
    Flipped(u64),
    /// It is called otherwise: this is put in the place of its ending.
    Called(&'static str),
    /// Its header, with other values.
    Header(fn(&mut serde_json::Value)),
    /// This is its header.
    Claims(&'static str),
    /// So long is its header said to be.
    Long(u64),
    NaN,
}

const JSON: &[Kind] = &[Kind::Json, Kind::Optional];
const WEIGHTS: &[Kind] = &[Kind::Weights];
const NEEDED: &[Kind] = &[Kind::Json, Kind::Text, Kind::Weights];
const ALL: &[Kind] = &[Kind::Json, Kind::Optional, Kind::Text, Kind::Weights];

const fn broken(what: &'static str, of: &'static [Kind], how: How, said: &'static [&'static str]) -> Broken {
    Broken { what, of, how, said }
}

fn table() -> Vec<Broken> {
    #[rustfmt::skip]
    let mut table = vec![
        broken("missing",               NEEDED,  How::Missing,                            &["no "]),
        broken("empty",                 ALL,     How::Holds(b""),                         &[]),
        broken("a folder",              ALL,     How::Folder,                             &["a folder"]),
        broken("a link to itself",      ALL,     How::LinkToItself,                       &["symbolic link"]),
        broken("a link to a device",    ALL,     How::LinkTo("/dev/zero"),                &["not a regular file"]),
        broken("a link to nothing",     ALL,     How::LinkTo("nothing"),                  &["a link to ", "no file"]),
        broken("no right to read it",   ALL,     How::Unreadable,                         &["ermission denied"]),
        broken("a list",                JSON,    How::Holds(b"[]"),                       &["expected"]),
        broken("null",                  JSON,    How::Holds(b"null"),                     &["expected"]),
        broken("a number",              JSON,    How::Holds(b"3"),                        &["expected"]),
        broken("a text",                JSON,    How::Holds(b"\"text\""),                 &["expected"]),
        broken("two objects",           JSON,    How::Holds(b"{} {}"),                    &["JSON"]),
        broken("deep",                  JSON,    How::Holds(&[b'['; 100_000]),            &["JSON"]),
        broken("not UTF-8",             ALL,     How::Holds(b"{\"a\": \"\xff\xfe\"}"),    &[]),
        broken("NULs",                  ALL,     How::Holds(&[0; 4096]),                  &[]),
        broken("HTML",                  ALL,     How::Holds(b"<!DOCTYPE html><p>no</p>"), &[]),
        broken("a pointer of git LFS",  ALL,     How::Holds(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), &[]),
        broken("a header of 2^60",      WEIGHTS, How::Long(1 << 60),                      &["header claims 1152921504606846976 bytes"]),
        broken("a header of 100 GB",    WEIGHTS, How::Long(100_000_000_000),              &["header claims 100000000000 bytes"]),
        broken("no header",             WEIGHTS, How::Long(0),                            &["header"]),
        broken("data of 100 GB",        WEIGHTS, How::Claims(r#"{"w":{"dtype":"F32","shape":[25000000000],"data_offsets":[0,100000000000]}}"#), &["describes 100000"]),
        broken("data that overlap",     WEIGHTS, How::Claims(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#), &["offset"]),
        broken("data with a gap",       WEIGHTS, How::Claims(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}"#), &["offset"]),
        broken("a shape that overflows",WEIGHTS, How::Claims(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,16],"data_offsets":[0,8]}}"#), &["header"]),
        broken("offsets turned round",  WEIGHTS, How::Claims(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#), &["header"]),
        broken("a type of its own",     WEIGHTS, How::Claims(r#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#), &["header"]),
        broken("no tensors",            WEIGHTS, How::Header(|header| *header = serde_json::json!({})), &["header describes"]),
        broken("a tensor less",         WEIGHTS, How::Header(renamed),                    &["is missing; expected one of shape"]),
        broken("another shape",         WEIGHTS, How::Header(reshaped),                   &["has shape [1, ", "asks for"]),
        broken("whole numbers",         WEIGHTS, How::Header(as_integers),                &["stored as I32; expected F16"]),
        broken("a pointer of git LFS",  WEIGHTS, How::Holds(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), &["a git LFS pointer"]),
        broken("HTML",                  WEIGHTS, How::Holds(b"<!DOCTYPE html><p>no</p>"), &["a web page"]),
        broken("a zip file",            WEIGHTS, How::Holds(b"PK\x03\x04\0\0\x08\x08\0\0"), &["a zip file"]),
        broken("keys of torch.compile", WEIGHTS, How::Header(compiled),                   &["is missing; the file has `_orig_mod.", "torch.compile"]),
        broken("keys of peft",          WEIGHTS, How::Header(adapted),                    &["is missing; the file has `", ".base_layer.", "peft"]),
        broken("of another variant",    WEIGHTS, How::Called(".fp32.safetensors"),        &["no supported weights: only ", "variant fp32"]),
        broken("a shard alone",         WEIGHTS, How::Called("-00001-of-00002.safetensors"), &["no supported weights: only ", "whose index is missing"]),
        broken("an unfinished download",WEIGHTS, How::Called(".safetensors.incomplete"),  &["no supported weights: only ", "an unfinished download"]),
        broken("called a pickle",       WEIGHTS, How::Called(".bin"),                     &["no supported weights: only ", "a pickle"]),
        broken("in capitals",           WEIGHTS, How::Called(".SAFETENSORS"),             &["no supported weights: only ", "not a name that "]),
        broken("weights as an index",   WEIGHTS, How::Called(".safetensors.index.json"),  &[]),
        broken("not numbers",           WEIGHTS, How::NaN,                                &["NaN"]),
    ];
    table.extend((1..=10).map(|part| broken("cut", ALL, How::Cut(part), &[])));
    table.extend((0..40).map(|seed| broken("a byte flipped", WEIGHTS, How::Flipped(seed), &[])));
    table
}

/// A tensor of a header, its first that has more than one dimension.
fn first_matrix(header: &mut serde_json::Value) -> &mut serde_json::Value {
    let tensors = header.as_object_mut().unwrap().values_mut();
    tensors
        .into_iter()
        .find(|tensor| tensor["shape"].as_array().is_some_and(|shape| shape.len() > 1))
        .unwrap()
}

fn reshaped(header: &mut serde_json::Value) {
    let shape = first_matrix(header)["shape"].as_array_mut().unwrap();
    shape.insert(0, 1.into());
}

fn as_integers(header: &mut serde_json::Value) {
    first_matrix(header)["dtype"] = "I32".into();
}

fn renamed(header: &mut serde_json::Value) {
    let tensors = header.as_object_mut().unwrap();
    let key = tensors.keys().find(|key| key.contains("weight")).unwrap().clone();
    let tensor = tensors.remove(&key).unwrap();
    tensors.insert("nobody.asks.for.it".into(), tensor);
}

/// All keys as torch.compile's module has them.
fn compiled(header: &mut serde_json::Value) {
    let tensors = std::mem::take(header.as_object_mut().unwrap());
    let renamed = tensors.into_iter().map(|(key, tensor)| (format!("_orig_mod.{key}"), tensor));
    *header = serde_json::Value::Object(renamed.collect());
}

/// All weights as peft's layers have them.
fn adapted(header: &mut serde_json::Value) {
    let tensors = std::mem::take(header.as_object_mut().unwrap());
    let name = |key: String| match key.rsplit_once('.') {
        Some((module, name)) => format!("{module}.base_layer.{name}"),
        None => key,
    };
    *header = tensors.into_iter().map(|(key, tensor)| (name(key), tensor)).collect();
}

fn header_of(bytes: &[u8]) -> (usize, serde_json::Value) {
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (end, serde_json::from_slice(&bytes[8..end]).unwrap())
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// The checkpoint with one file broken, the others linked.
fn break_file(whole: &Checkpoint, file: &str, how: How) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Another user reads it too.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (other, _) in FILES {
        fs::create_dir_all(folder.path().join(other).parent().unwrap()).unwrap();
        if other != file {
            fs::hard_link(whole.file(other), folder.path().join(other)).unwrap();
        }
    }
    let (path, bytes) = (folder.path().join(file), whole.read(file));
    let write = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
    match how {
        How::Missing => {}
        How::Holds(bytes) => write(bytes),
        How::Cut(part) => write(&bytes[..bytes.len() * part / 11]),
        How::Folder => fs::create_dir(&path).unwrap(),
        How::LinkTo(target) => symlink(target, &path).unwrap(),
        How::LinkToItself => symlink(&path, &path).unwrap(),
        How::Unreadable => {
            write(&bytes);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        How::Flipped(seed) => {
            let mut bytes = bytes;
            let (end, _) = header_of(&bytes);
            // Anywhere, and one of the eight of the length among the first.
            let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let at = if seed < 8 { seed as usize } else { 8 + random as usize % (end - 8) };
            bytes[at] ^= 1 << (seed % 7);
            write(&bytes);
        }
        How::Called(ending) => {
            let other = format!("{}{ending}", file.strip_suffix(".safetensors").unwrap());
            fs::write(folder.path().join(other), &bytes).unwrap();
        }
        How::Header(change) => {
            let (end, mut header) = header_of(&bytes);
            change(&mut header);
            write(&with_header(&header.to_string(), &bytes[end..]));
        }
        How::Claims(header) => write(&with_header(header, &[0; 20])),
        How::Long(length) => write(&[&length.to_le_bytes(), &bytes[8..]].concat()),
        How::NaN => {
            let mut bytes = bytes;
            let end = bytes.len();
            bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            write(&bytes);
        }
    }
    folder
}

/// What a run of the model at `path` must say: the file, and what is wrong with it.
fn row(path: &Path, file: &str, broken: &Broken) -> Row {
    let mut args = super::words("run --steps 1 --width 16 --height 16 -o a.png --dump a.safetensors --model");
    args.push(path.into());
    // Of weights that are not there, the folder is named in which they would be.
    let folder = Path::new(file).parent().unwrap().display().to_string();
    let is_gone = matches!(broken.how, How::Missing | How::LinkTo("nothing") | How::Called(_));
    let named = if is_gone && file.ends_with("safetensors") { folder } else { file.to_string() };
    Row {
        what: format!(
            "{file}: {} {}",
            broken.what,
            match broken.how {
                How::Cut(part) => format!("at {part}/11"),
                How::Flipped(seed) => format!("({seed})"),
                _ => String::new(),
            }
        ),
        args,
        stdin: vec![],
        ends: Ends::Refused(broken.said.iter().map(|said| said.to_string()).chain([named]).collect()),
        as_nobody: matches!(broken.how, How::Unreadable),
    }
}

fn judge_files(is_wanted: impl Fn(Kind) -> bool) {
    let whole = checkpoint("sd2");
    for (file, _) in FILES {
        fs::set_permissions(whole.file(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let table = table();
    let mut folders = vec![];
    let mut rows = vec![];
    for (file, kind) in FILES.into_iter().filter(|(_, kind)| is_wanted(*kind)) {
        for broken in table.iter().filter(|broken| broken.of.contains(&kind)) {
            let folder = break_file(&whole, file, broken.how);
            let path: PathBuf = folder.path().into();
            rows.push(row(&path, file, broken));
            folders.push(folder);
        }
    }
    judge(&rows);
}

#[test]
fn every_weights_file_broken_in_every_way() {
    judge_files(|kind| kind == Kind::Weights);
}

#[test]
fn every_other_file_broken_in_every_way() {
    judge_files(|kind| kind != Kind::Weights);
}

/// The table has every file that is read.
#[test]
fn a_file_that_is_read_is_in_the_table() {
    let whole = checkpoint("sd2");
    let mut found = vec![];
    let mut folders = vec![whole.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().strip_prefix(whole.path()).unwrap().display().to_string()),
            }
        }
    }
    // How the fixture is made, and nothing of a checkpoint.
    found.retain(|file| file != "weights.json");
    found.sort();
    assert_eq!(found, FILES.map(|(file, _)| file));
}

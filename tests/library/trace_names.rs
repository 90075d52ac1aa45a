//! A trace whose modules have the names of another program, compared by a file of names.

use crate::models::SD2;
use crate::traces::{record, request};
use diffuscope::trace::diff::{judge, pair};
use diffuscope::trace::{Names, Trace, What};
use std::fs;
use std::path::Path;

/// The names of a made-up program, and diffusers'.
const THEIRS: &[(&str, &str)] = &[
    ("unet.down_blocks.", "unet.down."),
    (".resnets.", ".res."),
    (".norm1#", ".norm#"),
    ("text_encoder.encoder.layers.", "clip.layer_"),
];

const NAMES: &str = r#"
[names]
"unet.down.{i}" = "unet.down_blocks.{i}"
"unet.down.{i}.res.{j}" = "unet.down_blocks.{i}.resnets.{j}"
"unet.down.{i}.res.{j}.norm" = "unet.down_blocks.{i}.resnets.{j}.norm1"
"unet.mid_block.res.{j}" = "unet.mid_block.resnets.{j}"
"unet.mid_block.res.{j}.norm" = "unet.mid_block.resnets.{j}.norm1"
"unet.up_blocks.{i}.res.{j}" = "unet.up_blocks.{i}.resnets.{j}"
"unet.up_blocks.{i}.res.{j}.norm" = "unet.up_blocks.{i}.resnets.{j}.norm1"
"unet.down.{i}.attentions.{j}.transformer_blocks.{k}.norm" = "unet.down_blocks.{i}.attentions.{j}.transformer_blocks.{k}.norm1"
"unet.mid_block.attentions.{j}.transformer_blocks.{k}.norm" = "unet.mid_block.attentions.{j}.transformer_blocks.{k}.norm1"
"unet.up_blocks.{i}.attentions.{j}.transformer_blocks.{k}.norm" = "unet.up_blocks.{i}.attentions.{j}.transformer_blocks.{k}.norm1"
"clip.layer_{i}" = "text_encoder.text_model.encoder.layers.{i}"
"vae.decoder.mid_block.res.{j}" = "vae.decoder.mid_block.resnets.{j}"
"vae.decoder.mid_block.res.{j}.norm" = "vae.decoder.mid_block.resnets.{j}.norm1"
"vae.decoder.up_blocks.{i}.res.{j}" = "vae.decoder.up_blocks.{i}.resnets.{j}"
"vae.decoder.up_blocks.{i}.res.{j}.norm" = "vae.decoder.up_blocks.{i}.resnets.{j}.norm1"
"#;

/// A copy of a trace with their names, in the index and in the headers of the files.
fn ported(from: &Path, to: &Path) {
    let renamed = |text: String| {
        // The index has paths without the number of the call.
        let text = text.replace(".norm1\"", ".norm\"");
        THEIRS.iter().fold(text, |text, (ours, theirs)| text.replace(ours, theirs))
    };
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let mut bytes = fs::read(entry.path()).unwrap();
        if entry.file_name() == "trace.json" {
            bytes = renamed(String::from_utf8(bytes).unwrap()).into_bytes();
        } else {
            let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let header = renamed(String::from_utf8(bytes[8..end].to_vec()).unwrap());
            let length = (header.len() as u64).to_le_bytes();
            bytes = [&length, header.as_bytes(), &bytes[end..]].concat();
        }
        fs::write(to.join(entry.file_name()), bytes).unwrap();
    }
}

#[test]
fn modules_of_another_program_are_found_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours.trace", "theirs.trace"].map(|name| folder.path().join(name));
    record(&ours, &What::All, request());
    ported(&ours, &theirs);
    let open = |path: &Path| Trace::open(path).unwrap();
    let reference = open(&ours);

    let all = pair::compare(&reference, &reference, None).unwrap().rows.len();
    let mut trace = open(&theirs);
    let without = pair::compare(&trace, &reference, None).unwrap();
    assert!(without.rows.len() < all / 2, "{} of {all}", without.rows.len());
    assert!(without.notes.iter().any(|note| note.contains("theirs.trace only")), "{:?}", without.notes);
    let without = judge::judge(&trace, &SD2, None).unwrap();
    let note = "has no modules with their names, such as clip.layer_0";
    assert!(without.notes.iter().any(|said| said.contains(note)), "{:?}", without.notes);

    let names = Names::parse("names.toml", NAMES).unwrap();
    assert_eq!(names.apply(&mut trace).unwrap(), None);
    let with = pair::compare(&trace, &reference, None).unwrap();
    assert_eq!((with.rows.len(), with.first(), &with.notes[..]), (all, None, &[][..]));
    let with = judge::judge(&trace, &SD2, None).unwrap();
    assert_eq!((with.first(), &with.notes[..]), (None, &[][..]));
}

#[test]
fn names_that_collide_or_match_nothing_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &What::All, request());
    let apply = |text: &str| {
        Names::parse("names.toml", &format!("[names]\n{text}\n"))
            .unwrap()
            .apply(&mut Trace::open(folder.path()).unwrap())
    };
    let error = apply("\"unet.conv_in\" = \"unet.conv_out\"").unwrap_err().to_string();
    assert!(
        error.starts_with("names.toml: unet.conv_") && error.contains("both become unet.conv_out"),
        "{error}"
    );
    let swapped = "\"unet.conv_in\" = \"unet.conv_out\"\n\"unet.conv_out\" = \"unet.conv_in\"";
    assert_eq!(apply(swapped).unwrap(), None);
    let note = apply("\"unet.a.{i}\" = \"unet.b.{i}\"").unwrap();
    assert_eq!(note.unwrap(), "names.toml: no recorded module matches `unet.a.{i}`");
}

//! `ClipTokenizer` against transformers 5: 225 prompts with each of the tokenizer folders that public repositories
//! have.

mod support;

use diffuscope::model::ClipTokenizer;
use serde_json::{Value, json};
use support::checkpoint::{Checkpoint, tokenizer};
use support::fixture;

/// The folders of `tests/fixtures/tokenizers/`.
const TOKENIZERS: [&str; 5] = ["sd1", "sd2", "old", "objects", "decoder"];

const START: u32 = 49406;
const END: u32 = 49407;

fn load(folder: &Checkpoint) -> ClipTokenizer {
    ClipTokenizer::load(&folder.source(), 49408).unwrap()
}

/// What transformers made of one prompt.
struct Row {
    prompt: String,
    ids: Vec<u32>,
    cut: Option<String>,
}

/// tokens.json's rows for the tokenizer `name`. Where two tokenizers agree, the table holds the row once.
fn rows(name: &str) -> Vec<Row> {
    let table = fixture::json("tokens");
    let like = match name {
        "objects" => "sd1",
        "decoder" => "sd2",
        other => other,
    };
    let cuts = if name == "sd1" { &table["cut"] } else { &table[format!("cut.{name}")] };
    let prompts = table["prompts"].as_array().unwrap();
    assert_eq!(prompts.len(), 225);
    let row = |i: usize| {
        let ids = Some(&table[name][i]).filter(|row| !row.is_null()).unwrap_or(&table[like][i]);
        Row {
            prompt: prompts[i].as_str().unwrap().into(),
            ids: serde_json::from_value(ids.clone()).unwrap(),
            cut: cuts[i].as_str().map(String::from),
        }
    };
    (0..prompts.len()).map(row).collect()
}

/// All prompts give transformers' ids, and what does not fit is quoted as diffusers quotes it.
#[track_caller]
fn agree(name: &str, folder: &Checkpoint) {
    let tokenizer = load(folder);
    for Row { prompt, ids, cut } in rows(name) {
        let ours = tokenizer.encode(&prompt).unwrap();
        assert_eq!(ours.input_ids, ids, "{name}: {prompt:?}");
        assert_eq!(ours.cut, cut, "{name}: {prompt:?}");
    }
}

#[test]
fn vocab_and_merges() {
    for name in TOKENIZERS {
        agree(name, &tokenizer(name));
    }
}

/// One file instead of two, with merges as transformers 4 wrote them; the other files say which tokens are special.
#[test]
fn tokenizer_json_with_merges_as_lines() {
    for name in TOKENIZERS {
        let folder = tokenizer(name);
        as_tokenizer_json(&folder, |a, b| json!(format!("{a} {b}")), json!([]));
        agree(name, &folder);
    }
}

/// As transformers 5 saves a tokenizer: merges as pairs, the special tokens' flags in `added_tokens` and nowhere else.
#[test]
fn tokenizer_json_as_transformers_5_saves_it() {
    for name in TOKENIZERS {
        let (pad, start_is_normalized, end_is_normalized) = match name {
            "sd1" => ("<|endoftext|>", false, false),
            "old" => ("<|endoftext|>", true, false),
            "objects" => ("<|endoftext|>", true, true),
            _ => ("!", true, true),
        };
        let added = |id: u32, content: &str, normalized: bool| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": normalized, "special": true})
        };
        let mut tokens = vec![
            added(START, "<|startoftext|>", start_is_normalized),
            added(END, "<|endoftext|>", end_is_normalized),
        ];
        if pad == "!" {
            tokens.insert(0, added(0, pad, false));
        }
        let folder = tokenizer(name);
        as_tokenizer_json(&folder, |a, b| json!([a, b]), json!(tokens));
        let named = json!({"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": pad,
                           "unk_token": "<|endoftext|>", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"});
        folder.write("tokenizer/tokenizer_config.json", named.to_string());
        folder.remove("tokenizer/special_tokens_map.json");
        agree(name, &folder);
    }
}

/// Puts vocabulary and merges into one tokenizer.json. What that file says of normalizing and splitting is wrong
/// here, as transformers 5 does not look at it either.
fn as_tokenizer_json(folder: &Checkpoint, merge: fn(&str, &str) -> Value, added_tokens: Value) {
    let merges = String::from_utf8(folder.read("tokenizer/merges.txt")).unwrap();
    let pairs =
        merges.lines().filter(|line| !line.starts_with("#version")).filter_map(|line| line.split_once(' '));
    let merges: Vec<Value> = pairs.map(|(a, b)| merge(a, b)).collect();
    let file = json!({
        "version": "1.0",
        "added_tokens": added_tokens,
        "normalizer": {"type": "Prepend", "prepend": "wrong"},
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {
            "type": "BPE",
            "unk_token": "<|endoftext|>",
            "end_of_word_suffix": "</w>",
            "vocab": folder.json("tokenizer/vocab.json"),
            "merges": merges,
        },
    });
    folder.write("tokenizer/tokenizer.json", file.to_string());
    folder.remove("tokenizer/vocab.json");
    folder.remove("tokenizer/merges.txt");
}

/// Ones up to the end token, the end token too; zeros for the padding.
#[test]
fn the_mask_covers_what_is_not_padding() {
    for name in TOKENIZERS {
        let tokenizer = load(&tokenizer(name));
        for Row { prompt, ids, cut } in rows(name) {
            // An end token that somebody typed looks like the end, and like padding where that is the end token.
            if prompt.to_lowercase().contains("<|endoftext|>") {
                continue;
            }
            let end = ids.iter().position(|&id| id == END).unwrap();
            let mask: Vec<u32> = (0..77).map(|i| u32::from(i <= end)).collect();
            let ours = tokenizer.encode(&prompt).unwrap();
            assert_eq!(ours.attention_mask, mask, "{name}: {prompt:?}");
            assert!(
                cut.is_none() || mask[76] == 1,
                "{name}: a prompt that was cut has no padding: {prompt:?}"
            );
        }
    }
}

/// An end token in the prompt itself is no end: what follows is still attended to.
#[test]
fn a_typed_end_token_does_not_end_the_mask() {
    let tokenizer = load(&tokenizer("sd1"));
    let encoded = tokenizer.encode("cat<|endoftext|>cat").unwrap();
    assert_eq!(encoded.input_ids[..6], [START, 2368, END, 2368, END, END]);
    assert_eq!(encoded.attention_mask[..6], [1, 1, 1, 1, 1, 0]);
}

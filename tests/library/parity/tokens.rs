//! `ClipTokenizer` against transformers 5: 225 prompts with each of the tokenizer folders that public repositories
//! have; and against diffusers' `encode_prompt`, prompts with tokens that were added, in each generation of files.

use crate::support::checkpoint::{Checkpoint, checkpoint, from_fixture};
use crate::support::fixture;
use candle_core::{DType, Device, Tensor};
use diffuscope::debugger::prompt;
use diffuscope::debugger::prompt::TokenView;
use diffuscope::debugger::prompt::word;
use diffuscope::model::ClipTokenizer;
use diffuscope::model::tokenizer::Encoded;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Models, Request, Snapshot, advance};
use serde_json::{Value, json};

/// The folders of `tests/fixtures/tokenizers/`.
const TOKENIZERS: [&str; 5] = ["sd1", "sd2", "old", "objects", "decoder"];

const START: u32 = 49406;
const END: u32 = 49407;

/// A folder with nothing but the tokenizer `name`.
fn tokenizer(name: &str) -> Checkpoint {
    from_fixture(&format!("tokenizers/{name}"), "tokenizer")
}

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

/// The folder of `concepts.json`'s tokenizer `name`.
fn concepts(name: &str) -> Checkpoint {
    let files = &fixture::json("concepts")["tokenizers"][name];
    let folder = tokenizer("sd1");
    folder.remove("tokenizer/tokenizer_config.json");
    folder.remove("tokenizer/special_tokens_map.json");
    for (file, content) in files.as_object().unwrap() {
        match file.as_str() {
            "tokenizer.json" => as_tokenizer_json(&folder, |a, b| json!([a, b]), content.clone()),
            _ => folder.write(&format!("tokenizer/{file}"), content.to_string()),
        }
    }
    folder
}

/// How many ids the text encoders of `concepts.json` would have.
const WITH_CONCEPTS: usize = 49408 + 9;

/// The ids before the padding.
fn bare(encoded: &Encoded) -> &[u32] {
    let kept = encoded.attention_mask.iter().sum::<u32>() as usize;
    &encoded.input_ids[..kept]
}

#[test]
fn added_tokens_in_every_generation_of_files() {
    let table = fixture::json("concepts");
    let prompts: Vec<String> = serde_json::from_value(table["prompts"].clone()).unwrap();
    for name in table["tokenizers"].as_object().unwrap().keys() {
        let tokenizer = ClipTokenizer::load(&concepts(name).source(), WITH_CONCEPTS).unwrap();
        let first = "added_tokens";
        let cuts = if table["cut"][name].is_null() { &table["cut"][first] } else { &table["cut"][name] };
        for (i, prompt) in prompts.iter().enumerate() {
            let row = Some(&table["ids"][name][i]).filter(|row| !row.is_null());
            let ids: Vec<u32> =
                serde_json::from_value(row.unwrap_or(&table["ids"][first][i]).clone()).unwrap();
            let ours = tokenizer.encode(prompt).unwrap();
            assert_eq!(bare(&ours), ids, "{name}: {prompt:?}");
            assert_eq!(ours.cut.as_deref(), cuts[i.to_string()].as_str(), "{name}: {prompt:?}");
            assert!(ours.warnings.iter().all(|said| !said.contains("is kept")), "{name}: {prompt:?}");
        }
    }
}

/// diffusers replaces text: there the other name is kept, and that is said.
#[test]
fn a_name_that_contains_a_concept_is_kept() {
    let table = fixture::json("concepts");
    let tokenizer = ClipTokenizer::load(&concepts("added_tokens").source(), WITH_CONCEPTS).unwrap();
    let spoiled = table["spoiled"].as_object().unwrap();
    assert_eq!(spoiled.len(), 4);
    for (prompt, rows) in spoiled {
        let ours = tokenizer.encode(prompt).unwrap();
        let kept: Vec<u32> = serde_json::from_value(rows["kept"].clone()).unwrap();
        assert_eq!(bare(&ours), kept, "{prompt:?}");
        assert_ne!(rows["diffusers"], rows["kept"], "{prompt:?}");
        let word = if prompt.contains("zqfoobar") { "`zqfoobar`" } else { "`<cat-toy>_1`" };
        let [said] = &ours.warnings[..] else { panic!("{prompt:?}: {:?}", ours.warnings) };
        assert!(said.starts_with(word) && said.contains("diffusers") && said.ends_with("is kept"), "{said}");
    }
}

/// A concept whose name is typed in another case, or has capitals, counts with its first vector, as in diffusers.
#[test]
fn a_concept_that_does_not_count_whole_is_told() {
    let tokenizer = ClipTokenizer::load(&concepts("added_tokens").source(), WITH_CONCEPTS).unwrap();
    let warned = |prompt: &str| tokenizer.encode(prompt).unwrap().warnings;
    assert_eq!(
        warned("a <CAT-TOY>"),
        [
            "only the first of the 3 vectors of `<cat-toy>` is used: diffusers inserts the others only if the name is written \
          in the same case"
        ]
    );
    assert_eq!(
        warned("FooStyle, xfoostyley"),
        [
            "only the first of the 2 vectors of `FooStyle` is used: diffusers does not insert the others for a name with capitals"
        ]
    );
    for silent in ["a <cat-toy>", "<dot>", "zqfoobar", "<cat-toy>_1", "zqfoo zqfoo", "cat"] {
        assert_eq!(warned(silent), [""; 0], "{silent}");
    }
    // A special token is found as it is written, and its vectors are inserted, capitals or not.
    let special = ClipTokenizer::load(&concepts("in_map").source(), WITH_CONCEPTS).unwrap();
    assert_eq!(special.encode("FooStyle").unwrap().warnings, [""; 0]);
}

/// Of ids alone: which go on with a concept.
#[test]
fn further_vectors_are_known_by_their_ids() {
    let tokenizer = ClipTokenizer::load(&concepts("five").source(), WITH_CONCEPTS).unwrap();
    let [dot, cat, cat_1, cat_2, zqfoo, zqfoo_1] = [0, 1, 2, 3, 4, 5].map(|i| 49408 + i);
    assert_eq!((tokenizer.next_vector(cat, cat_1), tokenizer.next_vector(cat_1, cat_2)), (Some(1), Some(2)));
    assert_eq!(tokenizer.next_vector(zqfoo, zqfoo_1), Some(1));
    for (previous, id) in
        [(cat, cat_2), (cat_1, cat), (dot, cat_1), (zqfoo, cat_1), (320, cat), (cat, 320), (END, END)]
    {
        assert_eq!(tokenizer.next_vector(previous, id), None, "{previous} {id}");
    }
    assert!(tokenizer.is_added(dot) && tokenizer.is_added(START) && !tokenizer.is_added(320));
}

#[test]
fn what_does_not_fit_is_told() {
    let notes = |name: &str, vocab_size: usize| {
        let folder = concepts(name);
        let notes = ClipTokenizer::load(&folder.source(), vocab_size).unwrap().notes;
        let folder = format!("{}/", folder.path().display());
        notes.into_iter().map(|said| said.replace(&folder, "")).collect::<Vec<_>>()
    };
    assert_eq!(notes("added_tokens", WITH_CONCEPTS), [""; 0]);
    assert_eq!(notes("five", WITH_CONCEPTS), [""; 0]);
    let said = notes("five", WITH_CONCEPTS + 1);
    assert_eq!(
        said,
        [
            "text_encoder/config.json: `vocab_size` is 49418, and 1 of the ids has no token in tokenizer/, from 49417 on; \
          expected a token for each: are files of added tokens missing?"
        ]
    );
    assert!(
        notes("empty", WITH_CONCEPTS)[0].contains("9 of the ids have no token in tokenizer/, from 49408 on")
    );
    assert_eq!(
        notes("moved", 49411),
        [
            "tokenizer/added_tokens.json: `[PAD]` has id 49409 there and gets 49408, and 2 more are moved: transformers 5 numbers \
          added tokens from the end of the vocabulary, without gaps"
        ]
    );
    let said = notes("five", 49416);
    let [beyond] = &said[..] else { panic!("{said:?}") };
    assert!(beyond.contains("the added token `FooStyle_1` gets id 49416, and `vocab_size` of text_encoder/config.json is 49416"), "{beyond}");
}

/// The whole way: a checkpoint with a concept of two vectors, in the negative prompt too.
#[test]
fn a_run_inserts_the_vectors_in_both_prompts() {
    let checkpoint = checkpoint("sd1");
    checkpoint.write("tokenizer/added_tokens.json", r#"{"<cat-toy>": 49408, "<cat-toy>_1": 49409}"#);
    checkpoint.set("text_encoder/config.json", "vocab_size", json!(49410));
    let mut tensors = checkpoint.weights("text_encoder");
    let key = tensors.keys().find(|key| key.ends_with("token_embedding.weight")).unwrap().clone();
    let table = &tensors[&key];
    let two = table.narrow(0, 5, 2).unwrap();
    let longer = Tensor::cat(&[table, &two], 0).unwrap();
    tensors.insert(key, longer);
    checkpoint.write_weights("text_encoder", &tensors);

    let models = Models::load(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
    assert!(models.notes.iter().all(|note| !note.contains("vocab_size")), "{:?}", models.notes);
    let mut request = Request::for_models(&models, "a <cat-toy> on grass");
    request.negative_prompt = "<cat-toy>, <CAT-toy>".into();
    let snapshot = advance(&Snapshot::start(request, &models).unwrap(), &models, &mut Unwatched).unwrap();
    let ids = |name: &str| -> Vec<i64> {
        let (_, ids) = snapshot.tensor(name).unwrap();
        ids.flatten_all().unwrap().to_vec1::<i64>().unwrap()
    };
    assert_eq!(ids("input_ids")[..7], [49406, 320, 49408, 49409, 525, 5922, 49407]);
    assert_eq!(ids("negative_input_ids")[..6], [49406, 49408, 49409, 267, 49408, 49407]);
    let shown =
        prompt::tokens(&ids("input_ids").iter().map(|&id| id as u32).collect::<Vec<_>>(), &models.tokenizer);
    let shown_so = |token: &TokenView| (token.text.clone(), token.ends_word, token.is_inserted);
    assert_eq!(
        shown[1..6].iter().map(shown_so).collect::<Vec<_>>(),
        [
            ("a", true, false),
            ("<cat-toy>", false, false),
            ("<cat-toy>_1", true, true),
            ("on", true, false),
            ("grass", true, false)
        ]
        .map(|(text, ends_word, is_inserted)| (text.to_string(), ends_word, is_inserted))
    );
    // The concept is one word, of both tokens.
    assert_eq!(word::resolve("<cat-toy>", &shown).unwrap(), [2, 3]);
    assert_eq!(word::resolve("on grass", &shown).unwrap(), [4, 5]);
    let warnings = &snapshot.last().unwrap().warnings;
    assert!(
        matches!(&warnings[..], [said] if said.starts_with("the negative_prompt: only the first of the 2 vectors of `<cat-toy>` is used"))
    );
}

/// A folder whose added_tokens.json has these tokens.
fn with_added(tokens: Value) -> Checkpoint {
    let folder = concepts("added_tokens");
    folder.write("tokenizer/added_tokens.json", tokens.to_string());
    folder
}

#[test]
fn a_token_without_an_embedding_is_refused_where_a_prompt_has_it() {
    let folder = with_added(json!({"<x>": 49408, "<y>": 49409}));
    let tokenizer = ClipTokenizer::load(&folder.source(), 49408).unwrap();
    let [note] = &tokenizer.notes[..] else { panic!("{:?}", tokenizer.notes) };
    assert!(note.contains("tokenizer/added_tokens.json: the added token `<x>` gets id 49408"), "{note}");
    assert!(note.contains("and 1 more"), "{note}");
    assert!(tokenizer.encode("a cat").is_ok());
    let error = tokenizer.encode("a <y>, a cat").unwrap_err().to_string();
    assert!(error.contains("tokenizer/added_tokens.json: the added token `<y>`"), "{error}");
    assert!(error.contains("id 49409; expected less than 49408"), "{error}");
    // After the tokens that a model reads it does no harm.
    assert!(tokenizer.encode(&format!("{}<y>", "cat ".repeat(80))).is_ok());

    // Each token with its own file.
    let folder = with_added(json!({"<x>": 49408}));
    let map = json!({"bos_token": "<|startoftext|>", "mask_token": "<mask>"});
    folder.write("tokenizer/special_tokens_map.json", map.to_string());
    let tokenizer = ClipTokenizer::load(&folder.source(), 49409).unwrap();
    let error = tokenizer.encode("a <mask>").unwrap_err().to_string();
    assert!(error.contains("tokenizer/special_tokens_map.json: the added token `<mask>`"), "{error}");

    // Without its end no prompt can be encoded.
    let folder = with_added(json!({"<end>": 49408}));
    folder.write("tokenizer/special_tokens_map.json", json!({"eos_token": "<end>"}).to_string());
    let error = ClipTokenizer::load(&folder.source(), 49408).unwrap_err().to_string();
    assert!(error.contains("tokenizer/added_tokens.json: the added token `<end>` gets id 49408"), "{error}");
}

#[test]
fn an_added_token_that_the_vocabulary_has_is_told_as_such() {
    let folder = with_added(json!({"cat</w>": 49408}));
    let tokenizer = ClipTokenizer::load(&folder.source(), 49409).unwrap();
    let id = folder.json("tokenizer/vocab.json")["cat</w>"].as_u64().unwrap();
    let [note] = &tokenizer.notes[..] else { panic!("{:?}", tokenizer.notes) };
    assert!(note.contains("tokenizer/added_tokens.json: `cat</w>` has id 49408 there"), "{note}");
    assert!(note.contains(&format!("the vocabulary has that name with id {id}")), "{note}");
    assert!(note.contains("never used") && !note.contains("without gaps"), "{note}");
}

#[test]
fn names_that_contain_a_concept_are_told_in_one_line() {
    let folder = with_added(json!({
        "zqfoo": 49408, "zqfoo_1": 49409, "zqfoo_a": 49410, "zqfoo_b": 49411, "zqfoo_c": 49412
    }));
    let tokenizer = ClipTokenizer::load(&folder.source(), 49413).unwrap();
    let warnings = tokenizer.encode("zqfoo zqfoo_1 zqfoo_a, zqfoo_b and zqfoo_c zqfoo_c").unwrap().warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("`zqfoo_1`, `zqfoo_a,`, `zqfoo_b`, `zqfoo_c` contain `zqfoo`"), "{warning}");
    assert!(warning.ends_with("here they are kept"), "{warning}");
}

//! Textual inversion against diffusers' `load_textual_inversion`: ids, embeddings, and what it refuses.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::{Checkpoint, checkpoint};
use crate::support::{fixture, formula};
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::LoadError;
use diffuscope::checkpoint::changed::Changes;
use diffuscope::checkpoint::embedding::Embedding;
use diffuscope::debugger::prompt;
use diffuscope::model::prompt_syntax::PromptSyntax;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::stages::{self, Run};
use diffuscope::pipeline::{Models, Request};
use serde_json::Value;
use std::collections::HashMap;

/// As in `models`.
const BOUND: f64 = 1e-4;

/// Writes the file of a row `[key or keys, shape, token]`, and reads it as `--embedding` does.
fn embedding(checkpoint: &Checkpoint, name: &str, row: &Value) -> Result<Embedding, LoadError> {
    let shape: Vec<usize> = serde_json::from_value(row[1].clone()).unwrap();
    let keys = match &row[0] {
        Value::Array(keys) => keys.iter().map(|key| key.as_str().unwrap()).collect(),
        key => vec![key.as_str().unwrap()],
    };
    let tensor = |key: &str| {
        let numbers = formula::uniform(&format!("embedding/{key}")).map(|u| u * 0.5);
        let numbers: Vec<f32> = numbers.take(shape.iter().product()).collect();
        (key.to_string(), Tensor::from_vec(numbers, &shape[..], &Device::Cpu).unwrap())
    };
    let path = checkpoint.file(name);
    let tensors: HashMap<String, Tensor> = keys.into_iter().map(tensor).collect();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let token = row[2].as_str().map_or(String::new(), |token| format!(":{token}"));
    Embedding::parse(&format!("{}{token}", path.display()))
}

fn load(checkpoint: &Checkpoint, files: &[Value]) -> Result<Models, LoadError> {
    let embeddings =
        files.iter().enumerate().map(|(i, row)| embedding(checkpoint, &format!("{i}.safetensors"), row));
    let changes = Changes { embeddings: embeddings.collect::<Result<_, _>>()?, ..Changes::default() };
    Models::load(changes.applied(checkpoint.source())?, Device::Cpu, DType::F32)
}

fn files(table: &Value) -> Vec<Value> {
    table["files"].as_array().unwrap().clone()
}

/// The ids without the padding.
fn ids(models: &Models, prompt: &str) -> Vec<u32> {
    let encoded = models.tokenizer.encode(prompt).unwrap();
    let count = encoded.attention_mask.iter().sum::<u32>() as usize;
    encoded.input_ids[..count].to_vec()
}

fn expected_ids(row: &Value) -> Vec<u32> {
    serde_json::from_value(row.clone()).unwrap()
}

#[test]
fn ids_and_embeddings_are_those_of_diffusers() {
    let (table, checkpoint) = (fixture::json("embeddings"), checkpoint("sd1"));
    let models = load(&checkpoint, &files(&table)).unwrap();
    let prompts: Vec<&str> =
        table["prompts"].as_array().unwrap().iter().map(|prompt| prompt.as_str().unwrap()).collect();
    for (prompt, row) in prompts.iter().zip(table["ids"].as_array().unwrap()) {
        assert_eq!(ids(&models, prompt), expected_ids(row), "{prompt}");
    }

    // A token that contains another's name is kept, with a warning.
    for (prompt, row) in table["spoiled"].as_object().unwrap() {
        assert_eq!(ids(&models, prompt), expected_ids(&row["kept"]), "{prompt}");
        let warnings = models.tokenizer.encode(prompt).unwrap().warnings;
        assert!(
            warnings.iter().any(|warning| warning.starts_with(
                "`zqfoobar` contains `zqfoo`, a concept of 2 vectors: diffusers inserts its vectors there too"
            )),
            "{warnings:?}"
        );
    }
    // A name with capitals is never expanded.
    let warnings = models.tokenizer.encode("BarStyle").unwrap().warnings;
    assert!(warnings[0].starts_with("only the first of the 2 vectors of `BarStyle` is used"), "{warnings:?}");

    let theirs = Fixture::open("embeddings");
    let mut differences = Differences::default();
    for (number, prompt) in prompts.iter().take(3).enumerate() {
        let request = Request::for_models(&models, *prompt);
        let scheduler = request.check(&models).unwrap();
        let run = Run { models: &models, request: &request, scheduler: &*scheduler };
        let made = stages::encode_prompt(run, &mut Unwatched).unwrap().prompt_embeds;
        let places = Tensor::new(&[1u32, 5, 6, 7, 76], &Device::Cpu).unwrap();
        let made = made.squeeze(0).unwrap().index_select(&places, 0).unwrap();
        differences.note(&made, theirs.tensor(&number.to_string()), prompt);
    }
    differences.assert_within(BOUND);
}

/// A concept is found in the prompts of every language, with the weight of its text for each of its vectors.
#[test]
fn concepts_are_found_in_every_language() {
    let (table, checkpoint) = (fixture::json("embeddings"), checkpoint("sd1"));
    let models = load(&checkpoint, &files(&table)).unwrap();
    let tokenized = |syntax: PromptSyntax, text: &str| {
        let [_, prompt] = syntax.tokenize(["", text], &models.tokenizer).unwrap().of_both;
        prompt
    };
    let plain = tokenized(PromptSyntax::Plain, "a house in <style> here").input_ids;
    for (syntax, weighted) in [
        (PromptSyntax::A1111, "a house in (<style>:1.3) here"),
        (PromptSyntax::Comfy, "a house in (<style>:1.3) here"),
        (PromptSyntax::Comfy, "a house in (embedding:<style>:1.3) here"),
        (PromptSyntax::Compel, "a house in (<style>)1.3 here"),
    ] {
        let made = tokenized(syntax, weighted);
        assert_eq!(made.input_ids, plain, "{syntax}: {weighted}");
        assert_eq!(made.weights[3..9], [1., 1.3, 1.3, 1.3, 1., 1.], "{syntax}: {weighted}");
    }
    // A1111 does not split a concept of three vectors.
    let made = tokenized(PromptSyntax::A1111, &format!("{}<style> end", "cat ".repeat(73)));
    let [_, eos, _] = models.tokenizer.special_ids();
    assert_eq!((made.chunks(), made.input_ids[74]), (2, eos));
    assert_eq!(made.input_ids[78..81], plain[4..7]);
    let made = tokenized(PromptSyntax::Comfy, &format!("{}<style> end", "cat ".repeat(73)));
    assert_eq!((made.chunks(), &made.input_ids[74..76]), (2, &plain[4..6]));
}

/// The prompt view shows the vectors that are inserted as parts of one word.
#[test]
fn every_vector_has_its_place_among_the_tokens() {
    let (table, checkpoint) = (fixture::json("embeddings"), checkpoint("sd1"));
    let models = load(&checkpoint, &files(&table)).unwrap();
    let encoded = models.tokenizer.encode("a house in <style>").unwrap();
    let tokens = prompt::tokens(&encoded.input_ids[..8], &models.tokenizer);
    let shown: Vec<_> =
        tokens[1..7].iter().map(|token| (token.text.as_str(), token.is_inserted, token.ends_word)).collect();
    assert_eq!(
        shown,
        [
            ("a", false, true),
            ("house", false, true),
            ("in", false, true),
            ("<style>", false, false),
            ("<style>_1", true, false),
            ("<style>_2", true, true)
        ]
    );
}

#[test]
fn what_diffusers_refuses_is_refused() {
    let (table, checkpoint) = (fixture::json("embeddings"), checkpoint("sd1"));
    for (what, row) in table["refused"].as_object().unwrap() {
        let all = [files(&table), files(row)].concat();
        let error = load(&checkpoint, &all).unwrap_err().to_string();
        let said = match what.as_str() {
            "a second emb_params" => "the vocabulary has the token `emb_params` already, with id 494",
            "a name of the vocabulary" => "the vocabulary has the token `foo` already, with id ",
            "a token of the vocabulary" => "the vocabulary has the token `cat` already, with id ",
            "a name whose second vector exists" => {
                "the vocabulary has the token `<later>_1` already, with id "
            }
            "another width" => "the vectors of `<wide>` have width 48; expected 32",
            "two keys of Stable Diffusion XL" => {
                "`clip_l` and `clip_g` are a textual inversion of Stable Diffusion XL"
            }
            "no dimension" => "`<none>` has the shape []; expected a vector",
            "no vector" => "`<empty>` has the shape [0, 32]; expected 1 to 75 vectors",
            other => panic!("{other} has no message here"),
        };
        let file = format!("{}.safetensors: ", all.len() - 1);
        assert!(error.contains(said) && error.contains(&file), "{what}: {error}");
    }
}

/// In 16 bits the vectors are rounded as the table is.
#[test]
fn vectors_have_the_dtype_of_the_models() {
    let (table, checkpoint) = (fixture::json("embeddings"), checkpoint("sd1"));
    let changes = Changes {
        embeddings: vec![embedding(&checkpoint, "0.safetensors", &table["files"][0]).unwrap()],
        ..Changes::default()
    };
    let source = changes.applied(checkpoint.source()).unwrap();
    let models = Models::load(source, Device::Cpu, DType::BF16).unwrap();
    let request = Request::for_models(&models, "a house in <style>");
    let scheduler = request.check(&models).unwrap();
    let run = Run { models: &models, request: &request, scheduler: &*scheduler };
    let made = stages::encode_prompt(run, &mut Unwatched).unwrap().prompt_embeds;
    assert_eq!(made.dtype(), DType::BF16);
}

//! Prompts in the languages of other programs: compel's against compel itself, A1111's and ComfyUI's against their rules in numpy.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::checkpoint;
use crate::support::fixture;
use candle_core::{DType, Device, Tensor};
use diffuscope::model::prompt_syntax::{Piece, PromptSyntax, Side};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::stages::{self, Run};
use diffuscope::pipeline::{Models, Request};
use diffuscope::tensor::Generator;
use serde_json::Value;
use std::collections::HashMap;

/// As in `models`.
const BOUND: f64 = 1e-4;
/// The rows of each chunk that the fixture has.
const ROWS: [usize; 4] = [1, 12, 75, 76];

fn cases() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture::path("prompt_syntax.json")).unwrap()).unwrap()
}

#[test]
fn embeddings_are_those_of_each_program() {
    let (cases, tensors) = (cases(), Fixture::open("prompt_syntax"));
    let models: HashMap<&str, Models> = ["sd1", "sd2"]
        .map(|name| (name, Models::load(checkpoint(name).source(), Device::Cpu, DType::F32).unwrap()))
        .into();
    for syntax in [PromptSyntax::Compel, PromptSyntax::A1111, PromptSyntax::Comfy] {
        let mut differences = Differences::default();
        let rows = cases[syntax.name()].as_array().unwrap();
        assert!(rows.len() >= 15);
        for (number, row) in rows.iter().enumerate() {
            let models = &models[row[0].as_str().unwrap()];
            let request = Request {
                prompt_syntax: syntax,
                clip_skip: row[1].as_u64().unwrap() as usize,
                negative_prompt: row[2].as_str().unwrap().into(),
                ..Request::for_models(models, row[3].as_str().unwrap())
            };
            let scheduler = request.check(models).unwrap();
            let run = Run { models, request: &request, scheduler: &*scheduler };
            let made = stages::encode_prompt(run, &mut Unwatched).unwrap();
            let what = format!("{syntax} {number}: {}", request.prompt);
            let count = row[4].as_u64().unwrap() as usize;
            assert_eq!(made.prompt_embeds.dim(1).unwrap(), count, "{what}");
            assert_eq!(made.input_ids.dims(), [1, count], "{what}");
            for (side, embeds, is_short) in [
                ("prompt", &made.prompt_embeds, false),
                ("negative", &made.negative_prompt_embeds, request.negative_prompt.is_empty()),
            ] {
                let mut places: Vec<u32> =
                    (0..count).step_by(77).flat_map(|start| ROWS.map(|row| (start + row) as u32)).collect();
                if is_short {
                    places = [&places[..2], &places[places.len() - 2..]].concat();
                }
                let places = Tensor::new(places, &Device::Cpu).unwrap();
                let rows = embeds.squeeze(0).unwrap().index_select(&places, 0).unwrap();
                let expected = tensors.tensor(&format!("{}/{number}/{side}", syntax.name()));
                differences.note(&rows, expected, &format!("{what}, {side}"));
            }
        }
        differences.assert_within(BOUND);
    }
}

/// What compel 2.5.1 makes of texts.
#[test]
fn pieces_are_those_of_compel() {
    let cases = cases();
    let parsed = cases["parsed"].as_object().unwrap();
    assert!(parsed.len() >= 50);
    for (text, expected) in parsed {
        let mut expected: Vec<(String, f64)> = serde_json::from_value(expected.clone()).unwrap();
        if expected.is_empty() {
            // compel fails on a prompt without any piece; here it is empty.
            expected.push((String::new(), 1.));
        }
        let made = PromptSyntax::Compel.parse(text, Side::Prompt).unwrap().pieces;
        assert_eq!(made.len(), expected.len(), "{text:?}: {made:?}");
        for (piece, (text, weight)) in made.iter().zip(&expected) {
            let Piece::Text(made, of) = piece else { panic!("{piece:?}") };
            assert_eq!(made, text);
            assert!((of - weight).abs() < 1e-9, "{text:?}: {of} and not {weight}");
        }
    }
}

/// A1111 calls the UNet once for each prompt if they have different lengths; repeating both up to a common length gives the same.
#[test]
fn rows_that_are_repeated_equally_often_change_nothing() {
    let models = Models::load(checkpoint("sd1").source(), Device::Cpu, DType::F32).unwrap();
    let request = Request {
        prompt_syntax: PromptSyntax::A1111,
        negative_prompt: "ugly (dog:1.4) ".repeat(10),
        ..Request::for_models(&models, "a (red:1.3) apple ".repeat(40))
    };
    let scheduler = request.check(&models).unwrap();
    let run = Run { models: &models, request: &request, scheduler: &*scheduler };
    let made = stages::encode_prompt(run, &mut Unwatched).unwrap();
    let latents =
        Tensor::from_vec(Generator::manual_seed(1).randn(4 * 64), (1, 4, 8, 8), &Device::Cpu).unwrap();
    let unet = |latents: &Tensor, embeds: &Tensor| {
        models.unet.forward(latents, 500., embeds, None, &mut Unwatched).unwrap()
    };
    let (negative, prompt) = (&made.negative_prompt_embeds, &made.prompt_embeds);
    assert_eq!((negative.dim(1).unwrap(), prompt.dim(1).unwrap()), (154, 154));
    let both =
        unet(&Tensor::cat(&[&latents, &latents], 0).unwrap(), &Tensor::cat(&[negative, prompt], 0).unwrap());
    let mut differences = Differences::default();
    let alone = unet(&latents, &negative.narrow(1, 0, 77).unwrap());
    differences.note(&both.narrow(0, 0, 1).unwrap(), &alone, "the negative prompt alone");
    differences.note(&both.narrow(0, 1, 1).unwrap(), &unet(&latents, prompt), "the prompt alone");
    differences.assert_within(BOUND);
}

/// Texts without syntax that fit have the embeddings of `plain`, bit for bit.
#[test]
fn texts_without_syntax_are_encoded_as_plain() {
    let models = Models::load(checkpoint("sd1").source(), Device::Cpu, DType::F32).unwrap();
    for prompt in ["", "a red apple on a table", "Two cats; one dog!"] {
        let embeds = |prompt_syntax| {
            let request = Request { prompt_syntax, ..Request::for_models(&models, prompt) };
            let scheduler = request.check(&models).unwrap();
            let run = Run { models: &models, request: &request, scheduler: &*scheduler };
            let made = stages::encode_prompt(run, &mut Unwatched).unwrap();
            made.prompt_embeds.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let plain = embeds(PromptSyntax::Plain);
        for syntax in [PromptSyntax::A1111, PromptSyntax::Comfy, PromptSyntax::Compel] {
            assert!(embeds(syntax) == plain, "{syntax}: {prompt}");
        }
    }
}

/// 77 rows for up to 75 tokens, 154 for 76 to 150, 231 for 151.
#[test]
fn long_prompts_have_77_rows_a_chunk_and_plain_is_cut() {
    let models = Models::load(checkpoint("sd1").source(), Device::Cpu, DType::F32).unwrap();
    for (tokens, rows) in [(75, 77), (76, 154), (150, 154), (151, 231)] {
        for syntax in [PromptSyntax::Compel, PromptSyntax::A1111, PromptSyntax::Comfy] {
            let prompt = "cat ".repeat(tokens);
            let made = syntax.tokenize(["", &prompt], &models.tokenizer).unwrap();
            assert_eq!(made.of_both.each_ref().map(|of| of.input_ids.len()), [rows; 2], "{syntax} {tokens}");
        }
        let made = PromptSyntax::Plain.tokenize(["", &"cat ".repeat(tokens)], &models.tokenizer).unwrap();
        assert_eq!((made.of_both[1].input_ids.len(), made.of_both[1].cut.is_some()), (77, tokens > 75));
    }
}

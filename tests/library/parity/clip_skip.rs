//! `clip_skip` against diffusers' `encode_prompt`: every number of layers that there are, and the negative prompt, which skips none.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::checkpoint;
use candle_core::{DType, Device, Tensor};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::stages::{self, Run};
use diffuscope::pipeline::{Models, Request, RequestError, Snapshot, advance};

/// As in `models`.
const BOUND: f64 = 1e-4;

#[test]
fn the_prompt_skips_layers_and_the_negative_prompt_does_not() {
    let fixture = Fixture::open("clip_skip");
    for name in ["sd1", "sd2"] {
        let models = Models::load(checkpoint(name).source(), Device::Cpu, DType::F32).unwrap();
        let layers = models.text_encoder.config().num_hidden_layers;
        let mut differences = Differences::default();
        for clip_skip in 0..=layers {
            let request = Request { clip_skip, ..request(&models) };
            let scheduler = request.check(&models).unwrap();
            let run = Run { models: &models, request: &request, scheduler: &*scheduler };
            let made = stages::encode_prompt(run, &mut Unwatched).unwrap();
            let what = format!("{name}, clip_skip {clip_skip}");
            differences.note(
                &rows(&made.prompt_embeds),
                fixture.tensor(&format!("{name}/{clip_skip}")),
                &what,
            );
            let negative = fixture.tensor(&format!("{name}/negative"));
            differences.note(&rows(&made.negative_prompt_embeds), negative, &format!("{what}, negative"));
        }
        differences.assert_within(BOUND);
        // diffusers ends with an IndexError.
        let error = Request { clip_skip: layers + 1, ..request(&models) }.check(&models).unwrap_err();
        assert!(matches!(error, RequestError::ClipSkip { .. }));
        assert_eq!(
            error.to_string(),
            "clip_skip is 4; expected 0 to 3, the number of the text encoder's layers"
        );
    }
}

/// A changed `clip_skip` takes effect in the middle of a run, as a changed prompt does.
#[test]
fn a_change_of_clip_skip_encodes_the_prompts_again() {
    let models = Models::load(checkpoint("sd1").source(), Device::Cpu, DType::F32).unwrap();
    let mut here = Snapshot::start(request(&models), &models).unwrap();
    for _ in 0..3 {
        here = advance(&here, &models, &mut Unwatched).unwrap();
    }
    assert!(here.is_encoded());
    let changed = here.with_request(Request { clip_skip: 2, ..request(&models) }, &models).unwrap();
    assert!(!changed.is_encoded());
    let changed = advance(&changed, &models, &mut Unwatched).unwrap();
    assert!(changed.is_encoded());
    let (_, embeds) = changed.tensor("prompt_embeds").unwrap();
    let mut differences = Differences::default();
    differences.note(&rows(embeds), Fixture::open("clip_skip").tensor("sd1/2"), "after a change");
    differences.assert_within(BOUND);
}

fn request(models: &Models) -> Request {
    let fixture = Fixture::open("clip_skip");
    Request {
        negative_prompt: fixture.setting("negative_prompt").into(),
        num_inference_steps: 2,
        ..Request::for_models(models, fixture.setting("prompt"))
    }
}

/// The rows that the fixture has of embeddings (1, 77, C).
fn rows(embeds: &Tensor) -> Tensor {
    let places = Tensor::new(&[0u32, 5, 76], &Device::Cpu).unwrap();
    embeds.squeeze(0).unwrap().index_select(&places, 0).unwrap()
}

//! A real run that is the same on every machine: diffusers' tensors for the bundled model, from the fixtures.

use crate::checkpoint::ModelSource;
use crate::debugger::session::Session;
use crate::debugger::view::Viewer;
use crate::debugger::{Event, Outcome, View};
use crate::model::prompt_syntax::PromptSyntax;
use crate::nn::Unwatched;
use crate::pipeline::{Models, Request, Stage, StageRecord};
use crate::scheduler::{History, Scheduler, StepFormulas, StepInput};
use crate::tensor::Generator;
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub const STEPS: usize = 20;

struct Run {
    models: Arc<Models>,
    request: Request,
    records: Vec<Arc<StageRecord>>,
}

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let models = Models::load(ModelSource::parse("pocket").unwrap(), Device::Cpu, DType::F32).unwrap();
        let request = Request {
            prompt: "red apple on a blue background".into(),
            negative_prompt: String::new(),
            height: 128,
            width: 128,
            num_inference_steps: STEPS,
            guidance_scale: 7.5,
            seed: 42.into(),
            ..Request::default()
        };
        let records = records(&models, &request);
        Run { models: Arc::new(models), request, records }
    })
}

fn ids(models: &Models, text: &str) -> Tensor {
    let encoded = models.tokenizer.encode(text).unwrap();
    let ids = encoded.input_ids.iter().map(|&id| i64::from(id));
    Tensor::from_iter(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap()
}

fn records(models: &Models, request: &Request) -> Vec<Arc<StageRecord>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pocket.safetensors");
    let tensors: HashMap<String, Tensor> = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let theirs = |key: &str| tensors[&format!("run/{key}")].clone();
    let scheduler = request.check(models).unwrap();
    let mut history = History::default();
    let record = |stage, took, tensors, step: Option<StepFormulas>| {
        let (warnings, took) = (vec![], Duration::from_micros(took));
        let guidance_scale = request.guidance_scale;
        Arc::new(StageRecord {
            stage,
            tensors,
            step: step.map(Arc::new),
            guidance_scale,
            scheduler: Arc::clone(&scheduler),
            sigma: None,
            edited: vec![],
            warnings,
            cut: [None, None],
            took,
        })
    };
    let encoded = vec![
        ("input_ids", ids(models, &request.prompt)),
        ("negative_input_ids", ids(models, &request.negative_prompt)),
        ("prompt_embeds", theirs("prompt_embeds")),
        ("negative_prompt_embeds", theirs("negative_prompt_embeds")),
    ];
    let mut latents = theirs("latents");
    let mut records = vec![
        record(Stage::EncodePrompt, 18_000, encoded, None),
        record(Stage::GetLatent, 45, vec![("latents", latents.clone())], None),
    ];
    for step in 0..scheduler.timesteps().len() {
        let theirs = |name| theirs(&format!("denoise.{step:03}/{name}"));
        let model_output = &theirs("guided_noise_residual");
        let input = StepInput { index: step, model_output, sample: &latents, noise: None };
        let made = scheduler.step(input, &history).unwrap();
        history = made.history.clone();
        latents = theirs("latents");
        let tensors = vec![
            ("uncond_residual", theirs("uncond_residual")),
            ("text_cond_residual", theirs("text_cond_residual")),
            ("guided_noise_residual", theirs("guided_noise_residual")),
            ("pred_original_sample", theirs("pred_original_sample")),
            ("pred_epsilon", theirs("pred_epsilon")),
            ("pred_sample_direction", made.tensor("pred_sample_direction").unwrap().clone()),
            ("latents", latents.clone()),
        ];
        let took = 90_000 + 1000 * step as u64;
        records.push(record(Stage::Denoise { step }, took, tensors, Some(made.formulas)));
    }
    records.push(record(Stage::VaeDecode, 234_000, vec![("image", theirs("image"))], None));
    records
}

/// The session after the first `recorded` stages.
pub fn session(recorded: usize) -> Session {
    let run = run();
    Session::after(Arc::clone(&run.models), run.request.clone(), &run.records[..recorded])
}

/// The session after the first `recorded` stages with another scheduler. The residuals of step i are those that the UNet predicted
/// in step i of the recorded run: no run of the model, but the same numbers on every machine.
pub fn session_with(scheduler: &str, recorded: usize) -> Session {
    let run = run();
    let choice = run.models.scheduler.named(scheduler).unwrap();
    let request = Request { scheduler: choice, ..run.request.clone() };
    let scheduler = request.check(&run.models).unwrap();
    let mut generator = Generator::manual_seed(7);
    let mut latents = run.records[1].tensor("latents").unwrap() * scheduler.init_noise_sigma();
    let first = StageRecord {
        tensors: vec![("latents", latents.as_ref().unwrap().clone())],
        ..like(&run.records[1], &scheduler)
    };
    let mut records = vec![Arc::clone(&run.records[0]), Arc::new(first)];
    let mut history = History::default();
    for index in 0..recorded.saturating_sub(2) {
        let known = &run.records[index + 2];
        let residual = |name| known.tensor(name).unwrap().clone();
        let sample = latents.unwrap();
        let noise = scheduler.draws_noise(index).then(|| {
            Tensor::from_vec(generator.randn(sample.elem_count()), sample.shape(), &Device::Cpu).unwrap()
        });
        let model_output = &residual("guided_noise_residual");
        let input = StepInput { index, model_output, sample: &sample, noise: noise.as_ref() };
        let step = scheduler.step(input, &history).unwrap();
        history = step.history;
        let residuals = ["uncond_residual", "text_cond_residual", "guided_noise_residual"];
        let mut tensors: Vec<_> = residuals.into_iter().map(|name| (name, residual(name))).collect();
        tensors.extend(step.tensors);
        tensors.push(("latents", step.prev_sample.clone()));
        let step_formulas = Some(Arc::new(step.formulas));
        records.push(Arc::new(StageRecord { tensors, step: step_formulas, ..like(known, &scheduler) }));
        latents = Ok(step.prev_sample);
    }
    Session::after(Arc::clone(&run.models), request, &records)
}

/// A record without tensors of the same stage.
fn like(known: &StageRecord, scheduler: &Arc<dyn Scheduler>) -> StageRecord {
    StageRecord {
        stage: known.stage,
        tensors: vec![],
        step: None,
        guidance_scale: known.guidance_scale,
        scheduler: Arc::clone(scheduler),
        sigma: None,
        edited: vec![],
        warnings: vec![],
        cut: [None, None],
        took: known.took,
    }
}

/// The stages at another guidance scale with the recorded UNet predictions: no run of the model, but the same numbers
/// on
/// every machine.
pub fn records_at(guidance_scale: f64, from: usize) -> Vec<Arc<StageRecord>> {
    let run = run();
    let mut records = run.records[..from].to_vec();
    let mut latents = records.last().unwrap().tensor("latents").unwrap().clone();
    for known in &run.records[from..=STEPS + 1] {
        let residual = |name| known.tensor(name).unwrap().clone();
        let (uncond, text) = (residual("uncond_residual"), residual("text_cond_residual"));
        let guided = (&uncond + ((&text - &uncond).unwrap() * guidance_scale).unwrap()).unwrap();
        let index = known.step.as_ref().unwrap().index;
        let input = StepInput { index, model_output: &guided, sample: &latents, noise: None };
        let step = known.scheduler.step(input, &History::default()).unwrap();
        let made = |name| step.tensor(name).unwrap().clone();
        latents = step.prev_sample.clone();
        records.push(Arc::new(StageRecord {
            stage: known.stage,
            tensors: vec![
                ("uncond_residual", uncond),
                ("text_cond_residual", text),
                ("guided_noise_residual", guided),
                ("pred_original_sample", made("pred_original_sample")),
                ("pred_epsilon", made("pred_epsilon")),
                ("pred_sample_direction", made("pred_sample_direction")),
                ("latents", step.prev_sample.clone()),
            ],
            step: Some(Arc::new(step.formulas)),
            guidance_scale,
            scheduler: Arc::clone(&known.scheduler),
            sigma: None,
            edited: vec![],
            warnings: vec![],
            cut: [None, None],
            took: known.took,
        }));
    }
    records
}

/// A comparison of guidance scales in which every variant has run a number of steps.
pub fn comparison(scales: &[f64], steps: usize) -> Session {
    let mut session = session(0);
    let listed = scales.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    session.run_line(&format!("compare guidance_scale {listed}"), &mut Unwatched).unwrap();
    for scale in scales {
        session.record(&format!("guidance_scale={scale}"), &records_at(*scale, 2)[..steps + 2]);
    }
    session
        .run_line(&format!("goto {}", Stage::at(steps + 2, &(0..STEPS)).unwrap()), &mut Unwatched)
        .unwrap();
    session
}

/// Such a comparison after its end, with the same image of both.
pub fn finished_comparison(scales: &[f64]) -> Session {
    let mut session = comparison(scales, STEPS);
    for scale in scales {
        let mut records = records_at(*scale, 2);
        records.push(Arc::clone(&run().records[STEPS + 2]));
        session.record(&format!("guidance_scale={scale}"), &records);
    }
    session.look(STEPS + 3);
    session
}

/// A run with two forks, one of them forked again.
pub fn forked() -> Session {
    let mut session = session(STEPS + 3);
    for line in ["goto denoise 4", "set guidance_scale 12"] {
        session.run_line(line, &mut Unwatched).unwrap();
    }
    session.record("guidance_scale=12", &records_at(12., 6)[..18]);
    for line in [
        "goto denoise 10",
        "fork りんご",
        "set negative_prompt green",
        "switch main",
        "goto denoise 12",
        "fork",
    ] {
        session.run_line(line, &mut Unwatched).unwrap();
    }
    session
}

/// A session whose first latents contain NaN and infinity.
pub fn session_with_nan() -> Session {
    let run = run();
    let known = &run.records[1];
    let mut values: Vec<f32> = known.tensors[0].1.flatten_all().unwrap().to_vec1().unwrap();
    (values[3], values[7], values[8]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let latents = Tensor::from_vec(values, known.tensors[0].1.shape(), &Device::Cpu).unwrap();
    let record = StageRecord {
        stage: known.stage,
        tensors: vec![("latents", latents)],
        step: None,
        guidance_scale: 7.5,
        scheduler: Arc::clone(&known.scheduler),
        sigma: None,
        edited: vec![],
        warnings: vec![],
        cut: [None, None],
        took: known.took,
    };
    Session::after(
        Arc::clone(&run.models),
        run.request.clone(),
        &[Arc::clone(&run.records[0]), Arc::new(record)],
    )
}

/// A session after `encode_prompt` of another prompt, with the embeddings of the recorded one.
pub fn session_of(prompt: &str) -> Session {
    session_in(PromptSyntax::Plain, prompt)
}

/// The same in a language of prompts; each chunk has the embeddings of the recorded run.
pub fn session_in(prompt_syntax: PromptSyntax, prompt: &str) -> Session {
    let run = run();
    let request = Request { prompt: prompt.into(), prompt_syntax, ..run.request.clone() };
    let known = &run.records[0];
    let prompts = prompt_syntax.tokenize(["", prompt], &run.models.tokenizer).unwrap();
    let ids = prompts.input_ids(&Device::Cpu).unwrap();
    let row = |row| ids.narrow(0, row, 1).unwrap();
    let embeds = |name| {
        let embeds = known.tensor(name).unwrap();
        Tensor::cat(&vec![embeds; prompts.of_both[1].chunks()], 1).unwrap()
    };
    let mut tensors = vec![("input_ids", row(1)), ("negative_input_ids", row(0))];
    if let Some(weights) = prompts.weights(&Device::Cpu).unwrap() {
        tensors.extend(["prompt_weights", "negative_prompt_weights"].into_iter().zip(weights));
    }
    tensors.extend(["prompt_embeds", "negative_prompt_embeds"].map(|name| (name, embeds(name))));
    let record = StageRecord {
        stage: known.stage,
        tensors,
        step: None,
        guidance_scale: 7.5,
        scheduler: Arc::clone(&known.scheduler),
        sigma: None,
        edited: vec![],
        warnings: vec![],
        cut: [Some("and what did not fit".into()), None],
        took: known.took,
    };
    Session::after(Arc::clone(&run.models), request, &[Arc::new(record)])
}

/// The worker's event after loading.
pub fn ready(session: &Session, viewer: &mut Viewer) -> Event {
    Event::Ready(session.backend().info().into(), view(session, viewer))
}

/// The session's view.
pub fn view(session: &Session, viewer: &mut Viewer) -> Box<View> {
    Box::new(viewer.view(session).unwrap())
}

/// The worker's event after a command that computes nothing.
pub fn command_event(session: &mut Session, viewer: &mut Viewer, line: &str) -> Event {
    match session.run_line(line, &mut Unwatched) {
        Ok(outcome) => Event::Done(Box::<Outcome>::new(outcome.unwrap()), view(session, viewer)),
        Err(e) => {
            Event::Failed { command: line.into(), error: e.to_string(), view: Some(view(session, viewer)) }
        }
    }
}

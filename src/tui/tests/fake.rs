//! A session that never was: fixed numbers, durations and pictures.

use crate::debugger::view::{ModelLine, NamedPicture, RecordView, StageLine, TensorView, shown};
use crate::debugger::{Event, Outcome, TensorRow, View};
use crate::picture::Picture;
use crate::pipeline::{Request, Stage};
use crate::scheduler::ddim::Coefficients;
use crate::tensor::PlainTensor;
use image::{Rgb, RgbImage};
use std::sync::Arc;
use std::time::Duration;

pub const STEPS: usize = 50;

pub fn model(prediction_type: &'static str) -> ModelLine {
    ModelLine { name: "pocket".into(), device: "cpu".into(), dtype: "f32", prediction_type, notes: vec![] }
}

pub fn ready(view: View) -> Event {
    Event::Ready(model("epsilon"), view.into())
}

fn request() -> Request {
    Request {
        prompt: "red apple on a blue background".into(),
        negative_prompt: String::new(),
        height: 128,
        width: 128,
        num_inference_steps: STEPS,
        guidance_scale: 7.5,
        seed: 0,
        eta: 0.,
    }
}

/// The view with `cursor` stages done of `recorded`.
pub fn view(cursor: usize, recorded: usize) -> View {
    let line = |index| {
        let stage = Stage::at(index, STEPS)?;
        let took = (index < recorded).then(|| Duration::from_micros(took(stage)));
        Some(StageLine { stage, took, has_breakpoint: index == 5 })
    };
    View {
        request: request(),
        stages: (0..).map_while(line).collect(),
        cursor,
        recorded,
        position: Stage::at(cursor, STEPS),
        record: cursor.checked_sub(1).and_then(|last| Stage::at(last, STEPS)).map(record),
    }
}

fn took(stage: Stage) -> u64 {
    match stage {
        Stage::EncodePrompt => 18_000,
        Stage::GetLatent => 45,
        Stage::Denoise { step } => 120_000 + 1000 * step as u64,
        Stage::VaeDecode => 1_234_000,
    }
}

fn record(stage: Stage) -> RecordView {
    let tensors = match stage {
        Stage::EncodePrompt => vec![
            tensor("input_ids", stage, &[1, 77], 49407.),
            tensor("negative_input_ids", stage, &[1, 77], 49407.),
            tensor("prompt_embeds", stage, &[1, 77, 128], 5.5),
            tensor("negative_prompt_embeds", stage, &[1, 77, 128], 3.25),
        ],
        Stage::GetLatent => vec![tensor("latents", stage, &[1, 4, 16, 16], 3.5)],
        Stage::Denoise { .. } => [
            "uncond_residual",
            "text_cond_residual",
            "guided_noise_residual",
            "pred_original_sample",
            "pred_epsilon",
            "pred_sample_direction",
            "latents",
        ]
        .map(|name| tensor(name, stage, &[1, 4, 16, 16], 2.5))
        .into(),
        Stage::VaeDecode => vec![tensor("image", stage, &[1, 3, 128, 128], 1.)],
    };
    let coefficients = matches!(stage, Stage::Denoise { .. }).then_some(Coefficients {
        timestep: 941,
        prev_timestep: 921,
        alpha_prod_t: 0.0091,
        alpha_prod_t_prev: 0.0113,
        beta_prod_t: 0.9909,
        variance: 0.2,
        std_dev_t: 0.,
    });
    let pictures = shown(stage).iter().map(|name| picture(name)).collect();
    let took = Duration::from_micros(took(stage));
    RecordView { stage, took, coefficients, warnings: vec![], tensors, pictures }
}

/// Values that rise evenly from minus a half of `reach` to `reach`.
fn tensor(name: &str, stage: Stage, shape: &[usize], reach: f32) -> TensorView {
    let count: usize = shape.iter().product();
    let value = |i| reach * (1.5 * i as f32 / (count - 1) as f32 - 0.5);
    let values = PlainTensor::from_values(shape, (0..count).map(value).collect()).unwrap();
    TensorView { row: TensorRow::new(name, Some(stage), &values), values }
}

/// A chequered picture, as large as its tensor's would be.
fn picture(name: &'static str) -> NamedPicture {
    let (side, label) = match name {
        "image" => (128, "decoded by the VAE"),
        "uncond_residual" | "text_cond_residual" => (32, "4 channels, ±2.42"),
        _ => (16, "linear estimate"),
    };
    NamedPicture { name, picture: chequered(side, label) }
}

fn chequered(side: u32, label: &str) -> Picture {
    let cell = side / 8;
    let bright = |x: u32, y: u32| (x / cell + y / cell).is_multiple_of(2);
    let image =
        RgbImage::from_fn(
            side,
            side,
            |x, y| if bright(x, y) { Rgb([230, 60, 40]) } else { Rgb([20, 40, 200]) },
        );
    Picture { image: Arc::new(image), label: label.into() }
}

/// The VAE's picture of `name`.
pub fn preview(cursor: usize, name: &'static str) -> Event {
    Event::Preview { cursor, picture: NamedPicture { name, picture: chequered(128, "decoded by the VAE") } }
}

/// A move's end.
pub fn moved(command: &str, view: View, message: &str) -> Event {
    let outcome = Outcome { command: command.into(), messages: vec![message.into()], ..Outcome::default() };
    Event::Done(outcome.into(), view.into())
}

/// An answer of several lines.
pub fn answered(command: &str, view: View, messages: &[&str]) -> Event {
    let tensors =
        view.record.iter().flat_map(|record| record.tensors.iter().map(|t| t.row.clone())).collect();
    let messages = messages.iter().map(|message| message.to_string()).collect();
    let outcome = Outcome { command: command.into(), messages, tensors, ..Outcome::default() };
    Event::Done(outcome.into(), view.into())
}

pub fn failed(command: &str, error: &str) -> Event {
    Event::Failed { command: command.into(), error: error.into(), view: None }
}

/// A view whose last latents hold NaN and infinity.
pub fn broken(cursor: usize) -> View {
    let mut view = view(cursor, cursor);
    if let Some(tensor) = view.record.as_mut().and_then(|record| record.tensors.last_mut()) {
        let mut values = tensor.values.data().to_vec();
        (values[3], values[7], values[8]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        let values = PlainTensor::from_values(tensor.values.shape(), values).unwrap();
        let stage = view.position.map(|_| Stage::Denoise { step: 0 });
        *tensor = TensorView { row: TensorRow::new("latents", stage, &values), values };
    }
    view
}

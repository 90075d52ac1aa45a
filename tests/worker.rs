//! The thread that owns the models: what it tells, and that it stops when it is asked to.

use candle_core::{DType, Device};
use diffuscope::debugger::view::NamedPicture;
use diffuscope::debugger::{Event, Order, Session, Worker};
use diffuscope::model::ModelSource;
use diffuscope::pipeline::{Models, Request, Stage};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker on the bundled model with a run of `steps`, and what it tells.
fn worker(steps: usize) -> (Worker, Receiver<Event>) {
    let (tell, events) = channel();
    let load = move || {
        let models =
            Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).map_err(|e| e.to_string())?;
        let request = Request { num_inference_steps: steps, ..Request::for_models(&models, "red apple") };
        Session::new(Arc::new(models), request).map_err(|e| e.to_string())
    };
    // Nobody listens any more once a test is over.
    let worker = Worker::spawn(load, move |event| drop(tell.send(event)));
    (worker, events)
}

fn command(worker: &Worker, line: &str) {
    assert!(worker.order(Order::Command(line.into())), "the worker has ended");
}

/// Waits for an event that `wanted` makes something of.
fn wait<T>(events: &Receiver<Event>, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event that is waited for");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn done(event: Event) -> Option<String> {
    match event {
        Event::Done(outcome, _) => Some(outcome.position),
        Event::Failed { error, .. } => panic!("{error}"),
        _ => None,
    }
}

#[test]
fn it_tells_what_it_does() {
    let (worker, events) = worker(2);
    let Event::Ready(model, view) = events.recv_timeout(PATIENCE).unwrap() else {
        panic!("ready comes first")
    };
    assert_eq!((model.name.as_str(), model.prediction_type), ("pocket", "v_prediction"));
    assert_eq!(
        (view.position, view.stages.len(), view.record.is_none()),
        (Some(Stage::EncodePrompt), 5, true)
    );

    command(&worker, "next 3");
    let mut lines = vec![];
    let view = loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            Event::Progress(stage, line) => lines.push((stage, line)),
            Event::Done(_, view) => break view,
            _ => {}
        }
    };
    assert_eq!(lines[0], (Stage::EncodePrompt, "encode_prompt.tokenize"));
    assert_eq!(lines[lines.len() - 1], (Stage::Denoise { step: 0 }, "denoise.scheduler_step"));
    let record = view.record.unwrap();
    let pictures: Vec<_> = record.pictures.iter().map(|p| (p.name, p.picture.label.as_str())).collect();
    assert_eq!(pictures[0], ("latents", "linear estimate"));
    assert_eq!(pictures[1], ("pred_original_sample", "linear estimate"));
    assert!(pictures[2].1.starts_with("4 channels, ±"), "{pictures:?}");
    assert_eq!(pictures[2].1, pictures[3].1, "both residuals have one scale");
}

fn preview(event: Event) -> Option<(usize, NamedPicture)> {
    match event {
        Event::Preview { cursor, picture } => Some((cursor, picture)),
        _ => None,
    }
}

#[test]
fn what_was_decoded_once_is_there_at_once_when_its_reader_comes_back() {
    let (worker, events) = worker(2);
    command(&worker, "next 2");
    let (_, first) = wait(&events, preview);
    command(&worker, "back");
    assert_eq!(wait(&events, done), "get_latent");
    command(&worker, "next");
    let (cursor, again) = wait(&events, preview);
    assert_eq!((cursor, again.name), (2, "latents"));
    assert!(Arc::ptr_eq(&first.picture.image, &again.picture.image), "it was decoded again");
}

#[test]
fn when_it_is_idle_the_vae_makes_better_pictures() {
    let (worker, events) = worker(2);
    command(&worker, "next 3");
    for name in ["pred_original_sample", "latents"] {
        let (cursor, shown) = wait(&events, preview);
        assert_eq!((cursor, shown.name, shown.picture.label.as_str()), (3, name, "decoded by the VAE"));
        assert_eq!(shown.picture.image.dimensions(), (128, 128));
    }
}

#[test]
fn an_interruption_stops_a_command_and_the_next_one_goes_on() {
    let (worker, events) = worker(900);
    command(&worker, "continue");
    wait(&events, |event| matches!(event, Event::StageDone(_)).then_some(()));
    worker.interrupt();
    let stopped = wait(&events, |event| match event {
        Event::Done(outcome, _) => Some(outcome.stopped),
        _ => None,
    });
    assert!(stopped.unwrap().starts_with("interrupted before "));
    command(&worker, "goto get_latent");
    assert_eq!(wait(&events, done), "get_latent");
    command(&worker, "next");
    assert_eq!(wait(&events, done), "denoise 0");
}

#[test]
fn an_interruption_is_for_what_was_given_before_it() {
    let (worker, events) = worker(900);
    let stopped = |event| match event {
        Event::Done(outcome, _) => Some(outcome.stopped),
        _ => None,
    };
    // Given and taken back while the models are still being loaded.
    command(&worker, "continue");
    worker.interrupt();
    command(&worker, "next");
    assert!(wait(&events, stopped).is_some_and(|why| why.starts_with("interrupted before ")));
    assert_eq!(wait(&events, stopped), None, "the second command was given later");
}

#[test]
fn a_command_that_fails_says_so_and_nothing_ends() {
    let (worker, events) = worker(2);
    command(&worker, "back");
    let error = wait(&events, |event| match event {
        Event::Failed { error, .. } => Some(error),
        _ => None,
    });
    assert_eq!(error, "nothing is before encode_prompt; `next` goes on");
    command(&worker, "next");
    assert_eq!(wait(&events, done), "get_latent");
}

#[test]
fn dropping_the_handle_ends_a_long_run() {
    let (worker, events) = worker(900);
    command(&worker, "continue");
    command(&worker, "restart");
    command(&worker, "continue");
    wait(&events, |event| matches!(event, Event::StageDone(_)).then_some(()));
    drop(worker);
    // The channel closes when the thread is gone.
    while events.recv_timeout(PATIENCE).is_ok() {}
}

#[test]
fn a_model_that_cannot_be_loaded_is_told() {
    let (tell, events) = channel();
    let _worker = Worker::spawn(|| Err("no such model".into()), move |event| drop(tell.send(event)));
    let Event::LoadFailed(error) = events.recv_timeout(PATIENCE).unwrap() else {
        panic!("an error was expected")
    };
    assert_eq!(error, "no such model");
}

//! The thread that owns the models: what it tells, and that it stops when it is asked to.

use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::debugger::expr::{Answer, Expression};
use diffuscope::debugger::record::{NamedPicture, RecordId};
use diffuscope::debugger::session::Session;
use diffuscope::debugger::{CommandLine, Event, Order, Preview, View, Worker};
use diffuscope::nn::attention::ATTENTION_PROBS;
use diffuscope::nn::{Path, Probe};
use diffuscope::pipeline::{InitImage, Models, Request, Snapshot, Stage, advance, lines};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker on the bundled model with a run of `steps`, and what it tells.
fn worker(steps: usize) -> (Worker, Receiver<Event>) {
    let (tell, events) = channel();
    let load = move |_| {
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
    let line = CommandLine::parse(line).unwrap().unwrap();
    assert!(worker.order(Order::Command(line)), "the worker has ended");
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
        (view.position, view.stages.len(), view.record().is_none()),
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
    let record = view.record().unwrap();
    let label = |name: &str| record.picture(name).unwrap().picture.label.as_str();
    for name in
        ["latents", "pred_original_sample", "pred_original_sample.uncond", "pred_original_sample.text"]
    {
        assert_eq!(label(name), "linear estimate");
    }
    let scale = label("uncond_residual");
    assert!(scale.starts_with('±') && scale.contains("; guided "), "{scale}");
    assert_eq!(label("text_cond_residual"), scale, "the pair has one scale");
    assert!(label("difference") != scale && label("guided_noise_residual") != scale);
    // The residuals fill their scale: what the prompt changes can be seen at the first step.
    let extreme = |name: &str| {
        let picture = &record.picture(name).unwrap().picture;
        picture.image.pixels().any(|pixel| [[33, 102, 172], [178, 24, 43]].contains(&pixel.0))
    };
    assert!(extreme("uncond_residual") || extreme("text_cond_residual"));
    assert!(extreme("difference") && extreme("guided_noise_residual"));
    let scale = &record.on_one_scale[0].picture.label;
    assert!(record.on_one_scale.iter().all(|named| named.picture.label == *scale));
}

fn preview(event: Event) -> Option<(RecordId, NamedPicture)> {
    match event {
        Event::Preview { record, picture } => Some((record, picture)),
        _ => None,
    }
}

/// The view after a command.
fn view(event: Event) -> Option<Box<View>> {
    match event {
        Event::Done(_, view) | Event::Looked(view) => Some(view),
        _ => None,
    }
}

#[test]
fn when_it_is_idle_the_vae_makes_the_pictures_that_were_asked_for() {
    let (worker, events) = worker(2);
    command(&worker, "next 3");
    let record = wait(&events, view).record().unwrap().id;
    let names = ["pred_original_sample.text", "latents", "pred_original_sample"];
    worker.order(Order::Previews(names.map(|name| Preview { record, name }).into()));
    for name in names {
        let (of, shown) = wait(&events, preview);
        assert_eq!((of, shown.name, shown.picture.label.as_str()), (record, name, "decoded by the VAE"));
        assert_eq!(shown.picture.image.dimensions(), (128, 128));
    }
    // A command comes first, and what is asked for anew takes the place of what was asked for before.
    worker.order(Order::Previews(names.map(|name| Preview { record, name }).into()));
    worker.order(Order::Previews(vec![]));
    command(&worker, "back");
    while let Ok(event) = events.recv_timeout(PATIENCE) {
        if done(event).is_some() {
            break;
        }
    }
    assert!(events.try_recv().is_err(), "nothing is decoded that nobody asks for");
}

#[test]
fn looking_moves_the_cursor_and_says_nothing() {
    let (worker, events) = worker(2);
    command(&worker, "next 3");
    wait(&events, view);
    worker.order(Order::Look(1));
    let looked = wait(&events, view);
    assert_eq!((looked.cursor, looked.recorded()), (1, 3));
    worker.order(Order::Look(99));
    assert_eq!(wait(&events, view).cursor, 3, "no further than is recorded");
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
    let _worker = Worker::spawn(|_| Err("no such model".into()), move |event| drop(tell.send(event)));
    let Event::LoadFailed(error) = events.recv_timeout(PATIENCE).unwrap() else {
        panic!("an error was expected")
    };
    assert_eq!(error, "no such model");
}

#[test]
fn a_panic_ends_the_command_and_not_the_worker() {
    let (worker, events) = worker(2);
    command(&worker, "next 2");
    wait(&events, done);
    worker.order(Order::Panic);
    let (error, view) = wait(&events, |event| match event {
        Event::Failed { error, view, .. } => Some((error, view)),
        _ => None,
    });
    assert!(error.contains("a panic was asked for") && error.contains("`restart`"), "{error}");
    assert_eq!(view.unwrap().recorded(), 2, "what was recorded is kept");
    command(&worker, "restart");
    assert_eq!(wait(&events, done), "encode_prompt");
    command(&worker, "next");
    assert_eq!(wait(&events, done), "get_latent");
}

/// Counts the modules that ask whether they are wanted.
#[derive(Default)]
struct Counting(RefCell<Vec<String>>);

impl Probe for Counting {
    fn wants(&self, path: &Path) -> bool {
        self.0.borrow_mut().push(path.to_string());
        false
    }
}

#[test]
fn a_gauge_knows_in_advance_how_many_modules_run() {
    let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
    for init_image in [None, Some(InitImage::open("sample:house").unwrap())] {
        let request = Request {
            num_inference_steps: 1,
            init_image,
            strength: 1.,
            ..Request::for_models(&models, "a key")
        };
        let mut snapshot = Snapshot::start(request.clone(), &models).unwrap();
        while let Some(stage) = snapshot.position() {
            let mut probe = Counting::default();
            snapshot = advance(&snapshot, &models, &mut probe).unwrap();
            let seen = probe.0.into_inner();
            let is_module =
                |path: &&String| !lines::ALL.contains(&path.as_str()) && !path.ends_with(ATTENTION_PROBS);
            let ran = seen.iter().filter(is_module).count();
            assert_eq!(models.modules_in(stage, &request), ran, "{stage}: {seen:?}");
        }
    }
}

#[test]
fn loading_is_told_to_its_end() {
    let (_worker, events) = worker_of_file(1);
    let mut last = (0, 0);
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            Event::Loading { read, total } => {
                assert!(read > last.0 && read <= total);
                last = (read, total);
            }
            Event::Ready(..) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(last.0 == last.1 && last.1 > 1_000_000, "{last:?}");
}

/// A worker that tells of loading.
fn worker_of_file(steps: usize) -> (Worker, Receiver<Event>) {
    let (tell, events) = channel();
    let load = move |telling: diffuscope::nn::load_report::ProgressFn| {
        let models = Models::load_with_progress(ModelSource::Bundled, Device::Cpu, DType::F32, telling)
            .map_err(|e| e.to_string())?;
        let request = Request { num_inference_steps: steps, ..Request::for_models(&models, "red apple") };
        Session::new(Arc::new(models), request).map_err(|e| e.to_string())
    };
    (Worker::spawn(load, move |event| drop(tell.send(event))), events)
}

#[test]
fn expressions_are_evaluated_where_it_stands_and_it_comes_back() {
    let (worker, events) = worker(2);
    let evaluated = |event| match event {
        Event::Evaluated(number, answers) => Some((number, answers)),
        _ => None,
    };
    let expression = |text: &str| Expression::compile(text).unwrap();
    command(&worker, "next 2");
    worker.order(Order::Mark);
    worker.order(Order::Evaluate(
        7,
        vec![expression("stage"), expression("nothing"), expression("latents.shape[1]")],
    ));
    let (number, answers) = wait(&events, evaluated);
    assert_eq!(number, 7);
    assert!(matches!(&answers[0], Ok(Answer::Text(stage)) if stage == "denoise"));
    assert!(
        answers[1].as_ref().is_err_and(|why| why.contains("`nothing` is not there") && !why.contains('\n'))
    );
    assert!(matches!(&answers[2], Ok(Answer::Text(channels)) if channels == "4"));

    // Off, and back: what was done is kept on a timeline of its own, inside of a stage too.
    for line in ["set guidance_scale 2", "next", "step"] {
        command(&worker, line);
        wait(&events, done);
    }
    worker.order(Order::ComeBack);
    let view = wait(&events, |event| match event {
        Event::Done(outcome, view) => {
            assert!(outcome.messages[0].contains("back on main"), "{:?}", outcome.messages);
            Some(view)
        }
        _ => None,
    });
    assert_eq!((view.cursor, view.request.guidance_scale, view.inside.is_some()), (2, 7.5, false));
    let names: Vec<&str> = view.timelines.iter().map(|timeline| timeline.name.as_str()).collect();
    assert_eq!(names, ["main", "my-main"]);

    // A mark inside of a stage is come back to as well.
    command(&worker, "step 2");
    let inside = wait(&events, |event| match event {
        Event::Done(_, view) => Some(view.inside.unwrap().line),
        _ => None,
    });
    worker.order(Order::Mark);
    command(&worker, "finish");
    wait(&events, done);
    worker.order(Order::ComeBack);
    let again = wait(&events, |event| match event {
        Event::Done(_, view) => Some(view.inside.unwrap().line),
        _ => None,
    });
    assert_eq!(again, inside);
}

#[test]
fn the_stage_that_runs_is_told_after_a_walk_over_recorded_ones() {
    let (worker, events) = worker(2);
    command(&worker, "goto denoise 1");
    wait(&events, done);
    command(&worker, "goto encode_prompt");
    wait(&events, done);
    command(&worker, "continue");
    let first = wait(&events, |event| match event {
        Event::Progress(stage, line) => Some((stage, line)),
        Event::Done(..) => panic!("nothing ran"),
        _ => None,
    });
    assert_eq!(first, (Stage::Denoise { step: 1 }, "denoise.unet"));
}

#[test]
fn a_gauge_says_nothing_that_it_does_not_know() {
    let totals = |line: &str, before: &str| {
        let (worker, events) = worker(2);
        command(&worker, before);
        wait(&events, done);
        command(&worker, line);
        let mut totals = vec![];
        loop {
            match events.recv_timeout(PATIENCE).expect("an event that is waited for") {
                Event::Modules { total, .. } => totals.push(total),
                Event::Done(..) => return totals,
                _ => {}
            }
        }
    };
    // The stage's own thread asks nobody whether a module is wanted: there is nothing to count.
    let stepped = totals("step 2", "goto denoise 0");
    assert!(stepped.is_empty(), "{stepped:?}");
    // The modules of each batch run, and how many those are is not known in advance.
    let compared = totals("next 3", "compare seed 1,2");
    assert!(compared.iter().all(Option::is_none), "{compared:?}");
}

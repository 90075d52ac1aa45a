//! Looking inside of recorded stages: what is found is what a probe sees, and what is recorded stays as it is.

use crate::models::BUNDLED;
use crate::support::program::{batch, diffuscope};
use candle_core::Tensor;
use diffuscope::checkpoint::ModelSource;
use diffuscope::checkpoint::layout::Precision;
use diffuscope::debugger::inspect::{InspectError, ModulesRun};
use diffuscope::debugger::language::features::FeatureQuery;
use diffuscope::debugger::record::RecordId;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::view::Viewer;
use diffuscope::debugger::{CommandLine, Event, Examination, InspectQuery, Inspection, Order, Worker};
use diffuscope::nn::attention::ATTENTION_PROBS;
use diffuscope::nn::{Error, Path, Probe, Recorder, Result, Unwatched};
use diffuscope::picture::Picture;
use diffuscope::picture::features::{Drawn, Features, Row};
use diffuscope::picture::timemap::TimeMap;
use diffuscope::pipeline::{self, Request, Stage, StageRecord, advance};
use diffuscope::tensor::{PlainTensor, Summary};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn request(steps: usize) -> Request {
    Request { num_inference_steps: steps, ..Request::for_models(&BUNDLED, "red apple") }
}

fn session(steps: usize, lines: &[&str]) -> Session {
    let mut session = Session::new(Arc::clone(&BUNDLED), request(steps)).unwrap();
    run(&mut session, lines);
    session
}

fn run(session: &mut Session, lines: &[&str]) {
    for line in lines {
        session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

fn last(session: &Session) -> Arc<StageRecord> {
    session.timeline().here().records().last().unwrap().clone()
}

/// Answers a query about the inside of a record of `session`.
fn answer(
    query: &InspectQuery,
    session: &Session,
    record: &Arc<StageRecord>,
    host: &mut dyn Probe,
) -> std::result::Result<Inspection, InspectError> {
    query.carry_out(session.timelines(), session.backend(), record, &mut None, host)
}

fn modules(session: &Session, record: &Arc<StageRecord>) -> ModulesRun {
    match answer(&InspectQuery::Modules, session, record, &mut Unwatched).unwrap() {
        Inspection::Modules(run) => run,
        other => panic!("{other:?}"),
    }
}

fn values(record: &StageRecord) -> Vec<Vec<f32>> {
    record.tensors.iter().map(|(_, tensor)| PlainTensor::of(tensor).unwrap().data().to_vec()).collect()
}

#[test]
fn every_module_is_told_as_a_probe_sees_it_and_nothing_changes() {
    let session = session(2, &["goto vae_decode", "next"]);
    let records = session.timeline().here().records().to_vec();
    for (index, part) in [(0, "text_encoder"), (2, "unet"), (4, "vae.decoder")] {
        let record = &records[index];
        let (before, cursor) = (values(record), session.timeline().cursor());
        let found = modules(&session, record);
        assert_eq!(found.stage, record.stage);

        // What attends is computed otherwise where its probabilities are asked for.
        let is_module =
            |path: &Path| path.as_str().starts_with(part) && !path.as_str().ends_with(ATTENTION_PROBS);
        let mut recorder = Recorder::new(is_module);
        let snapshot = &session.timeline().snapshots()[index];
        advance(snapshot, session.backend().models().unwrap(), &mut recorder).unwrap();
        // Of a module that ran more than once the last is told.
        let mut seen: Vec<(&str, &Tensor)> = vec![];
        for (path, tensor) in &recorder.seen {
            match seen.iter_mut().find(|(known, _)| *known == path.as_str()) {
                Some((_, known)) => *known = tensor,
                None => seen.push((path.as_str(), tensor)),
            }
        }
        let mut told = found.modules.iter().filter(|module| module.path.starts_with(part));
        for (path, tensor) in seen {
            let module = told.next().unwrap();
            assert_eq!(module.path, path);
            assert_eq!(module.output, tensor.dims());
            assert_eq!(module.summary, Summary::from(&PlainTensor::of(tensor).unwrap()), "{path}");
        }
        assert!(told.next().is_none());
        assert!(recorder.seen.len() > 20, "{}", recorder.seen.len());

        // A whole takes at least as long as its parts.
        let whole = found.modules.last().unwrap().took;
        assert!(
            found.modules.iter().all(|module| module.took <= whole || module.path.starts_with("vae.post"))
        );
        assert_eq!((values(record), session.timeline().cursor()), (before, cursor));
        assert!(Arc::ptr_eq(record, &session.timeline().here().records()[index]));
    }
}

/// The stage that made a record, run once more.
fn made_again(session: &Session, record: &Arc<StageRecord>) -> Vec<Vec<f32>> {
    let before = diffuscope::debugger::replay::before(session.timelines(), record, session.backend());
    let again = advance(&before.unwrap(), session.backend().models().unwrap(), &mut Unwatched).unwrap();
    values(again.records().last().unwrap())
}

#[test]
fn a_stage_runs_again_as_it_ran() {
    // Noise on the way, a mistake, another scale from the second step on: each is of the stage.
    let mut session = session(4, &["set eta 1", "goto denoise 2", "set guidance_scale 3", "next"]);
    run(&mut session, &["set fault nan_in latents", "next"]);
    let records = session.timeline().here().records().to_vec();
    for record in &records[..4] {
        assert_eq!(made_again(&session, record), values(record), "{}", record.stage);
    }
    let faulty = made_again(&session, &records[5]);
    assert!(faulty.iter().flatten().any(|value| value.is_nan()));

    // Of what was changed by hand, what the stage had made.
    let old = last(&session);
    run(&mut session, &["set latents *= 0"]);
    let edited = last(&session);
    assert!(!Arc::ptr_eq(&old, &edited));
    assert_eq!(edited.edited, ["latents"]);
    let again = made_again(&session, &edited);
    assert_eq!(format!("{again:?}"), format!("{:?}", values(&old)));
}

#[test]
fn a_prompt_that_was_encoded_on_the_way_is_encoded_again() {
    let session = session(3, &["goto denoise 1", "set prompt a green pear", "next"]);
    let records = session.timeline().here().records();
    assert_eq!(made_again(&session, &records[0]), values(&records[0]));
    let first = &session.timeline().snapshots()[1].records()[0];
    assert!(!Arc::ptr_eq(first, &records[0]));
    assert_eq!(made_again(&session, first), values(first));
    // The step that encodes it first tells of its own modules alone.
    let step = modules(&session, &records[3]);
    assert!(step.modules.iter().all(|module| module.path.starts_with("unet")));
}

#[test]
fn what_is_not_recorded_any_more_is_said() {
    let mut session = session(2, &["next 3"]);
    let record = last(&session);
    let mut viewer = Viewer::default();
    let id = viewer.view(&session).unwrap().record().unwrap().id;
    let asked = Examination { record: id, asked: InspectQuery::Modules };
    assert!(viewer.examine(&session, &asked, &mut Unwatched).is_ok());
    run(&mut session, &["restart"]);
    drop(viewer.view(&session));
    assert!(matches!(viewer.examine(&session, &asked, &mut Unwatched), Err(InspectError::Gone)));
    assert!(matches!(
        answer(&InspectQuery::Modules, &session, &record, &mut Unwatched),
        Err(InspectError::Gone)
    ));
}

/// Interrupts at a module.
struct Stopping(&'static str, usize);

impl Probe for Stopping {
    fn wants(&self, path: &Path) -> bool {
        path.as_str() == self.0
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> Result<()> {
        self.1 += 1;
        Err(Error::Interrupted(path.clone()))
    }
}

#[test]
fn a_host_stops_it_at_a_module() {
    let session = session(2, &["next 3"]);
    let mut host = Stopping("unet.mid_block", 0);
    let error = answer(&InspectQuery::Modules, &session, &last(&session), &mut host).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    assert_eq!(host.1, 1);
    assert_eq!(session.timeline().recorded(), 3);
}

fn worker(steps: usize) -> (Worker, Receiver<Event>) {
    let (tell, events) = channel();
    let load = move |_| Session::new(Arc::clone(&BUNDLED), request(steps)).map_err(|e| e.to_string());
    let worker = Worker::spawn(load, move |event| drop(tell.send(event)));
    (worker, events)
}

fn wait<T>(events: &Receiver<Event>, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event that is waited for");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn record(event: Event) -> Option<RecordId> {
    match event {
        Event::Done(_, view) => view.record().map(|record| record.id),
        Event::Failed { error, .. } => panic!("{error}"),
        _ => None,
    }
}

#[test]
fn in_the_background_it_gives_way_and_goes_on() {
    let (worker, events) = worker(2);
    worker.order(Order::Command(CommandLine::parse("next 3").unwrap().unwrap()));
    let id = wait(&events, record);
    let asked = Examination { record: id, asked: InspectQuery::Modules };
    worker.order(Order::Examine(vec![asked.clone()]));
    // However far it is by then: the command comes first, or what was asked is told before.
    worker.order(Order::Command(CommandLine::parse("print latents.std").unwrap().unwrap()));
    let (mut told, mut done) = (0, 0);
    while told == 0 || done == 0 {
        match events.recv_timeout(PATIENCE).expect("both are told") {
            Event::Inspected(of, Ok(_)) => {
                assert_eq!(of, asked);
                told += 1;
            }
            Event::Done(outcome, _) => {
                assert_eq!(outcome.command, "print latents.std");
                done += 1;
            }
            Event::Failed { error, .. } | Event::Inspected(_, Err(error)) => panic!("{error}"),
            _ => {}
        }
    }
    // What is given up is not told, and what is gone is dropped.
    let gone = Examination { record: RecordId(usize::MAX), asked: InspectQuery::Modules };
    worker.order(Order::Examine(vec![gone]));
    worker.order(Order::Examine(vec![]));
    worker.order(Order::Command(CommandLine::parse("back").unwrap().unwrap()));
    wait(&events, |event| matches!(event, Event::Done(..)).then_some(()));
    assert!(events.try_recv().is_err());
}

#[test]
fn at_the_start_there_is_nothing_to_look_into() {
    let session = session(2, &[]);
    assert!(Viewer::default().view(&session).unwrap().record().is_none());
    assert_eq!(session.timeline().position(), Some(Stage::EncodePrompt));
    let error: InspectError = pipeline::Error::Complete.into();
    assert!(!error.is_interrupted());
}

fn features(session: &Session, path: &str, drawn: Drawn, row: Row) -> std::result::Result<Picture, String> {
    let asked = InspectQuery::Features(FeatureQuery { path: path.into(), drawn, row });
    match answer(&asked, session, &last(session), &mut Unwatched).map_err(|e| e.to_string())? {
        Inspection::Picture(picture) => Ok(picture),
        other => panic!("{other:?}"),
    }
}

#[test]
fn feature_maps_are_of_what_the_module_made_then() {
    let mut session = session(3, &["next 4"]);
    let made = |steps: usize, path: &str| {
        let mut recorder = Recorder::new(|known: &Path| known.as_str() == path);
        advance(
            &session.timeline().snapshots()[steps + 2],
            session.backend().models().unwrap(),
            &mut recorder,
        )
        .unwrap();
        PlainTensor::of(&recorder.seen[0].1).unwrap()
    };
    let attention = "unet.mid_block.attentions.0.transformer_blocks.0.attn1";
    let expected: Vec<(&str, PlainTensor)> =
        ["unet.mid_block", "unet.conv_in", attention].map(|path| (path, made(1, path))).into();
    for (path, made) in &expected {
        for (_, drawn) in Drawn::ALL {
            for (name, row) in Row::ALL {
                let ours = features(&session, path, drawn, row).unwrap();
                let theirs = Features::of(made, row, (16, 16)).unwrap().picture(drawn);
                assert_eq!(ours.image, theirs.image, "{path}");
                assert_eq!(ours.label, format!("{} ({name})", theirs.label));
            }
        }
    }
    // Of another step it is another one, though the module was drawn just now.
    let before = features(&session, "unet.mid_block", Drawn::Grid, Row::Text).unwrap();
    run(&mut session, &["back"]);
    assert_ne!(features(&session, "unet.mid_block", Drawn::Grid, Row::Text).unwrap().image, before.image);

    let refused = |path: &str| features(&session, path, Drawn::Grid, Row::Text).unwrap_err();
    assert!(
        refused("unet.mid_blok").contains("did you mean `unet.mid_block"),
        "{}",
        refused("unet.mid_blok")
    );
    let elsewhere = refused("vae.decoder.conv_in");
    assert_eq!(elsewhere, "vae.decoder.conv_in runs in vae_decode, and denoise 0 is before the cursor");
    assert!(refused("unet.time_embedding").contains("is no picture: its shape is"));
}

#[test]
fn drawing_stops_where_it_is_told_to() {
    let session = session(2, &["next 3"]);
    let asked = FeatureQuery { path: "unet.up_blocks.0".into(), drawn: Drawn::Pca, row: Row::Text };
    let mut host = Stopping("unet.mid_block", 0);
    let error = answer(&InspectQuery::Features(asked), &session, &last(&session), &mut host).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    // What comes before is drawn without what comes later.
    let asked = FeatureQuery { path: "unet.conv_in".into(), drawn: Drawn::Pca, row: Row::Text };
    answer(&InspectQuery::Features(asked), &session, &last(&session), &mut host).unwrap();
    assert_eq!(host.1, 1);
}

#[test]
fn a_script_asks_for_all_of_it() {
    let folder = std::env::temp_dir().join(format!("diffuscope-examine-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let script = format!(
        "info modules unet.*.attn2\nuntil denoise 3\ninfo modules unet.*.attn2\ninfo modules\nshow timemap within 0.5\n\
         show features unet.mid_block norm difference\nsave features unet.mid_block \"{}\" grid uncond\nsave timemap {}\n",
        file("mid block.png"),
        file("time.png")
    );
    let told = batch(&["--steps", "5"], &script);
    let modules = |at: usize| told[at]["modules"].as_array().unwrap();
    assert!(modules(0).len() > 3 && modules(0)[0].get("shape").is_none());
    assert_eq!(modules(2).len(), modules(0).len());
    for (row, without) in modules(2).iter().zip(modules(0)) {
        assert!(row["path"].as_str().unwrap().ends_with(".attn2"));
        assert_eq!((&row["parameters"], &row["class"]), (&without["parameters"], &"Attention".into()));
        assert!(row["milliseconds"].as_f64().unwrap() > 0. && row["std"].as_f64().unwrap() > 0.);
        assert_eq!((&row["inputs"][0], row["nan"].as_u64()), (&row["shape"], Some(0)));
    }
    let whole = modules(3).iter().find(|row| row["path"] == "unet").unwrap();
    let file_holds: usize = ModelSource::Bundled
        .weights("unet", Precision::Full)
        .unwrap()
        .tensors()
        .map(|(_, info)| info.shape.iter().product::<usize>())
        .sum();
    assert_eq!(whole["parameters"].as_u64(), Some(file_holds as u64));
    assert_eq!(whole["shape"], serde_json::json!([2, 4, 16, 16]));

    let map = &told[4]["value"];
    assert_eq!((&map["steps"], &map["within"]), (&serde_json::json!([0, 1, 2]), &0.5.into()));
    assert_eq!(map["shares"][2], 1.0);
    assert_eq!(map["settled"].as_array().unwrap().len(), 16);
    assert!(told[5]["picture"]["label"].as_str().unwrap().ends_with("(difference)"));
    let picture = |name: &str| image::open(file(name)).unwrap();
    assert!(picture("mid block.png").width() > 16);
    assert_eq!((picture("time.png").width(), picture("time.png").height()), (16, 16));
    std::fs::remove_dir_all(folder).unwrap();

    for (line, said) in [
        ("info modules unet..x", "is no path of a module"),
        ("info modules *nothing*", "no module is called `*nothing*`"),
        ("show features", "no module named"),
        ("show features unet.*", "is not the path of one module"),
        ("show features unet.mid_block upside", "is no way to draw features"),
        ("show features unet.mid_block", "no stage has run yet"),
        ("show timemap", "a time map needs two steps of denoise before the cursor; 0 are there"),
        ("show timemap within -1", "is no tolerance of 0 or more"),
        ("save timemap", "a file is needed"),
        ("save timemap t.jpg", "t.jpg is no name of a picture"),
    ] {
        let ran = diffuscope(&["debug", "--batch", "-x", "-"], line);
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{line}: {}", ran.stderr);
    }
}

#[test]
fn the_time_map_is_of_recorded_steps_alone() {
    let session = session(4, &["goto vae_decode"]);
    let predicted: Vec<PlainTensor> = session.timeline().here().records()[2..]
        .iter()
        .map(|record| PlainTensor::of(record.tensor("pred_original_sample").unwrap()).unwrap())
        .collect();
    let map = TimeMap::of(&predicted.iter().collect::<Vec<_>>(), 0.25).unwrap();
    assert!(map.shares.is_sorted() && map.shares[3] == 1. && map.shares[0] < 1.);
    // The definition, written out.
    let last = predicted[3].data();
    let mean = last.iter().map(|v| f64::from(*v)).sum::<f64>() / last.len() as f64;
    let variance = last.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / (last.len() - 1) as f64;
    for (pixel, settled) in map.settled.iter().enumerate() {
        let far = |step: &PlainTensor| {
            let distance = (0..4).map(|c| (step.data()[c * 256 + pixel] - last[c * 256 + pixel]).abs());
            f64::from(distance.fold(0., f32::max)) > 0.25 * variance.sqrt()
        };
        let first = (0..4).find(|from| !predicted[*from..].iter().any(far));
        assert_eq!(*settled, first);
    }
}

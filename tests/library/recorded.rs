//! A recorded run that is opened shows what the run itself showed, and says what is not recorded.

use crate::models::SD2;
use crate::traces::record_of;
use diffuscope::debugger::Session;
use diffuscope::debugger::inspect::{InspectQuery, Inspection};
use diffuscope::debugger::language::attention::AttentionFilter;
use diffuscope::debugger::view::Viewer;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::attention::Split;
use diffuscope::pipeline::{Request, Snapshot};
use diffuscope::trace::What;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

fn request(scheduler: &str) -> Request {
    let scheduler = SD2.scheduler.named(scheduler).unwrap();
    Request {
        width: 16,
        height: 16,
        num_inference_steps: 3,
        scheduler,
        ..Request::for_models(&SD2, "a red cat")
    }
}

/// A finished session, and one on its record.
fn both(folder: &Path, what: &What, request: Request) -> (Session, Session) {
    record_of(&SD2, folder, what, Snapshot::start(request.clone(), &SD2).unwrap());
    let mut live = Session::new(Arc::clone(&SD2), request).unwrap();
    run(&mut live, "continue").unwrap();
    run(&mut live, "goto encode_prompt").unwrap();
    (live, Session::open(folder).unwrap())
}

/// What a command shows, or why it is refused.
fn run(session: &mut Session, line: &str) -> Result<Value, String> {
    let outcome = session.run_line(line, &mut Unwatched).map_err(|e| e.to_string())?.unwrap();
    Ok(serde_json::to_value(&outcome).unwrap())
}

/// Without what only a computation has: times, numbers of parameters, and messages and warnings with either.
fn comparable(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for key in ["messages", "warnings", "milliseconds", "parameters", "class", "label", "source"]
                {
                    map.remove(key);
                }
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => {
                list.iter_mut().for_each(strip);
                // Modules are listed as they were loaded, and recorded ones as they ran.
                if list.iter().all(|row| row["path"].is_string()) {
                    list.sort_by_key(|row| row["path"].as_str().map(String::from));
                }
            }
            _ => {}
        }
    }
    strip(&mut value);
    value
}

/// The first place where two values differ by more than fused kernels do, with both.
fn difference(at: &str, a: &Value, b: &Value) -> Option<String> {
    let told = || Some(format!("{at}: {a} and {b}"));
    match (a, b) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, value)| difference(&format!("{at}.{key}"), value, &b[key]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(index, (a, b))| difference(&format!("{at}[{index}]"), a, b))
        }
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            if (x - y).abs() <= 1e-4 * x.abs().max(0.1) { None } else { told() }
        }
        _ if a == b => None,
        _ => told(),
    }
}

#[test]
fn a_recorded_run_shows_what_the_run_showed() {
    for scheduler in ["own", "euler", "heun", "dpm++2m-karras", "lcm"] {
        let folder = tempfile::tempdir().unwrap();
        let (mut live, mut opened) = both(folder.path(), &What::All, request(scheduler));
        for line in [
            "next",
            "info modules text_encoder",
            "goto denoise 1",
            "info tensors",
            "info modules",
            "info scheduler",
            "show attention cat",
            "show attention at 1,1",
            "show features unet.mid_block grid",
            "print t(\"unet.up_blocks.1.resnets.0\").std",
            "print at(2, \"pred_original_sample\").mean",
            "print at(\"get_latent\", \"latents\").l2",
            "step",
            "step",
            "finish",
            "finish",
            "goto vae_decode",
            "show timemap",
            "diff @0 @2",
            "break unet.mid_block",
            "goto denoise 1",
            "continue",
            "continue",
            "continue",
        ] {
            let (expected, found) = (run(&mut live, line), run(&mut opened, line));
            match (expected, found) {
                (Ok(expected), Ok(found)) => {
                    let differs = difference("", &comparable(expected), &comparable(found));
                    assert_eq!(differs, None, "{scheduler}: {line}");
                }
                (expected, found) => assert_eq!(found.err(), expected.err(), "{scheduler}: {line}"),
            }
        }
    }
}

#[test]
fn attention_is_computed_from_recorded_queries_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let what: What = "unet.*.to_q,unet.*.to_k".parse().unwrap();
    let (mut live, mut opened) = both(folder.path(), &what, request("own"));
    let mut maps = vec![];
    for session in [&mut live, &mut opened] {
        run(session, "goto denoise 2").unwrap();
        let record = Arc::clone(session.timeline().here().records().last().unwrap());
        for query in [
            InspectQuery::Attention(AttentionFilter::default(), Split::Layers),
            InspectQuery::Point((1, 0), AttentionFilter::default()),
        ] {
            let (timelines, backend) = (session.timelines(), session.backend());
            maps.push(query.carry_out(timelines, backend, &record, &mut None, &mut Unwatched).unwrap());
        }
    }
    let values = |inspection: &Inspection| match inspection {
        Inspection::Attention(run) => {
            run.maps.iter().flat_map(|maps| maps.of(&[0, 1, 2])).collect::<Vec<f32>>()
        }
        Inspection::Point(run) => run.map.clone(),
        _ => panic!("another answer"),
    };
    for (live, opened) in [(&maps[0], &maps[2]), (&maps[1], &maps[3])] {
        let (live, opened) = (values(live), values(opened));
        assert!(!live.is_empty() && live.len() == opened.len());
        let furthest = live.iter().zip(&opened).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
        assert!(furthest <= 1e-5, "{furthest}");
    }
}

#[test]
fn what_is_not_recorded_is_named_with_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut opened) = both(folder.path(), &What::Stages, request("own"));
    run(&mut opened, "goto denoise 2").unwrap();
    for (line, what) in [
        ("info modules", "not recorded in denoise 1: the inside; record with --modules all"),
        ("show attention cat", "not recorded in denoise 1: to_q and to_k"),
        ("show features unet.mid_block", "not recorded in denoise 1: unet.mid_block"),
        ("print t(\"unet.mid_block\").std", "not recorded in denoise 1: unet.mid_block"),
        ("break unet.nothing", "no module is called `unet.nothing`"),
    ] {
        let error = run(&mut opened, line).unwrap_err();
        assert!(error.contains(what), "{line}: {error}");
    }
    for line in [
        "set guidance_scale 3",
        "set latents[0] = 1.0",
        "set fault no_scaling_factor",
        "fork other",
        "compare guidance_scale 1,2",
        "sweep guidance_scale 1",
        "convergence",
        "show effect cat",
        "print embed(\"a cat\").std",
        "save trace other.trace",
    ] {
        let error = run(&mut opened, line).unwrap_err();
        assert!(error.contains("this is a recorded run without weights"), "{line}: {error}");
    }
    // Nothing of it was lost, and `restart` only goes to the start.
    let again = run(&mut opened, "restart").unwrap();
    assert!(again["messages"][0].as_str().unwrap().ends_with("6 recorded ahead"), "{again}");
}

#[test]
fn a_trace_that_ends_early_is_looked_at_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    record_of(&SD2, folder.path(), &What::Stages, Snapshot::start(request("own"), &SD2).unwrap());
    let file = folder.path().join("trace.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    json["stages"].as_array_mut().unwrap().truncate(4);
    // A stage in the middle may be missing too.
    json["stages"].as_array_mut().unwrap().remove(2);
    std::fs::write(&file, json.to_string()).unwrap();
    let mut opened = Session::open(folder.path()).unwrap();
    assert!(opened.backend().info().notes.iter().any(|note| note == "denoise 0 is not recorded"));
    run(&mut opened, "goto denoise 2").unwrap();
    let error = run(&mut opened, "next").unwrap_err();
    assert_eq!(error, "not recorded: the trace ends before denoise 2");
}

#[test]
fn every_recorded_pipeline_of_diffusers_opens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces");
    let mut opened = 0;
    for trace in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let mut session = Session::open(&trace.path()).unwrap();
        let mut viewer = Viewer::default();
        let stages = session.timeline().recorded();
        for done in 0..=stages {
            session.look(done);
            let view = viewer.view(&session).unwrap();
            assert_eq!((view.cursor, view.recorded()), (done, stages), "{}", trace.path().display());
        }
        let view = viewer.view(&session).unwrap();
        let prompts = &view.records[0].prompts;
        assert!(prompts.iter().any(|prompt| prompt.name == "prompt"), "{}", trace.path().display());
        let pictures = view.records.last().unwrap().pictures.iter().map(|picture| picture.name);
        assert!(pictures.into_iter().any(|name| name == "image"), "{}", trace.path().display());
        opened += 1;
    }
    assert!(opened >= 20, "{opened}");
}

//! A recorded run that is opened shows what the run itself showed, and says what is not recorded.

use crate::models::SD2;
use crate::support::checkpoint::checkpoint;
use crate::traces::record_of;
use candle_core::{DType, Device};
use diffuscope::debugger::Session;
use diffuscope::debugger::inspect::{InspectQuery, Inspection};
use diffuscope::debugger::language::attention::AttentionFilter;
use diffuscope::debugger::view::Viewer;
use diffuscope::nn::Unwatched;
use diffuscope::picture::features::Row as BatchRow;
use diffuscope::pipeline::attention::Split;
use diffuscope::pipeline::{Intervention, Models, Request, Snapshot, Stage};
use diffuscope::trace::diff::pair;
use diffuscope::trace::{Trace, What};
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
        ("info modules", "not recorded in denoise 1: its modules; record with --modules and --record-steps"),
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
    assert!(
        opened
            .backend()
            .info()
            .notes
            .iter()
            .any(|note| note == "3 stages are not recorded, from denoise 0 to vae_decode")
    );
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

/// The same trace with the text encoder's batch of two recorded as two batches of one, as diffusers runs it.
fn with_separate_prompts(folder: &Path) {
    let (file, json) = (folder.join("encode_prompt.safetensors"), folder.join("trace.json"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let known = candle_core::safetensors::load(&file, &candle_core::Device::Cpu).unwrap();
    let stage = &mut manifest["stages"][0];
    let same = stage["same"].clone();
    let find = |key: &str| known[same.get(key).and_then(Value::as_str).unwrap_or(key)].clone();
    let (mut tensors, mut calls) = (std::collections::HashMap::new(), vec![]);
    for (key, tensor) in known.iter().filter(|(key, _)| !key.contains('#')) {
        tensors.insert(key.clone(), tensor.clone());
    }
    // diffusers encodes the prompt first.
    for (number, (row, index)) in [("text", 1), ("uncond", 0)].into_iter().enumerate() {
        for call in stage["calls"].as_array().unwrap() {
            let path = call["path"].as_str().unwrap();
            let output = find(&format!("encode_prompt/{path}#0/out"));
            // The positions are those of every row.
            let at = if output.dim(0).unwrap() == 2 { index } else { 0 };
            tensors.insert(format!("encode_prompt/{path}#{number}/out"), output.narrow(0, at, 1).unwrap());
            calls.push(serde_json::json!({ "path": path, "call": number, "rows": [row] }));
        }
    }
    stage["calls"] = calls.into();
    stage["same"] = serde_json::json!({});
    candle_core::safetensors::save(&tensors, &file).unwrap();
    std::fs::write(&json, manifest.to_string()).unwrap();
}

#[test]
fn batches_of_two_and_of_one_are_compared_row_by_row() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        record_of(&SD2, folder.path(), &What::All, Snapshot::start(request("own"), &SD2).unwrap());
    }
    with_separate_prompts(folders[0].path());
    for (found, reference) in [(0, 1), (1, 0)] {
        let traces = [found, reference].map(|at| Trace::open(folders[at].path()).unwrap());
        let comparison = pair::compare(&traces[0], &traces[1], None).unwrap();
        assert_eq!(comparison.first(), None);
        let of_text =
            comparison.rows.iter().filter(|row| row.path.starts_with("text_encoder.encoder.layers.0"));
        assert!(of_text.count() > 10);
        assert!(!comparison.notes.iter().any(|note| note.contains("only")), "{:?}", comparison.notes);
    }
}

#[test]
fn the_first_wrong_module_is_shown_on_both_sides() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let path = "unet.mid_block.resnets.0.conv1";
    let change = Intervention {
        text: "halved".into(),
        only: Some(Stage::Denoise { step: 1 }),
        is_at: Arc::new(move |known| known.as_str() == path),
        change: Arc::new(|_, output| Ok((output * 0.5)?)),
    };
    let start = Snapshot::start(request("own"), &SD2).unwrap();
    record_of(&SD2, folders[0].path(), &What::All, start.with_intervention(change));
    record_of(&SD2, folders[1].path(), &What::All, start);
    let diff = |folder: &Path| format!("diff {}", folder.display());
    // A reason is looked for in the weights' files.
    let checkpoint = checkpoint("sd2");
    let models = Models::load(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
    let live = Session::new(Arc::new(models), request("own")).unwrap();
    let opened = Session::open(folders[0].path()).unwrap();
    for (mut session, other) in [(live, folders[0].path()), (opened, folders[1].path())] {
        let outcome = run(&mut session, &diff(other)).unwrap();
        assert_eq!(outcome["value"]["first"]["path"], path, "{outcome}");
        let known = Arc::clone(session.difference().unwrap());
        let row = known.comparison.rows.iter().position(|row| row.is_beyond()).unwrap();
        let [found, reference, heat] =
            known.pictures(session.backend(), row, BatchRow::Text, &|| false).unwrap();
        assert!(found.image != reference.image && heat.label.contains("distance"), "{}", heat.label);
        let interrupted = known.pictures(session.backend(), row, BatchRow::Text, &|| true);
        assert_eq!(interrupted.is_err(), session.backend().models().is_ok());
    }
}

/// A recorded run whose `trace.json` was changed.
fn changed(change: impl FnOnce(&mut Value)) -> (tempfile::TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    record_of(&SD2, folder.path(), &What::Stages, Snapshot::start(request("own"), &SD2).unwrap());
    let file = folder.path().join("trace.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(&file, json.to_string()).unwrap();
    let session = Session::open(folder.path()).unwrap();
    (folder, session)
}

#[test]
fn what_contradicts_itself_is_noted_and_not_shown() {
    let notes = |session: &Session| session.backend().info().notes.join("\n");
    let set = |key: &str, value: Value| {
        let key = key.to_string();
        move |json: &mut Value| json["settings"][key] = value
    };

    // Timesteps that the settings do not give: the recorded ones are shown, and no formula.
    let (_folder, mut session) = changed(|json| {
        for (stage, timestep) in json["stages"].as_array_mut().unwrap()[2..5].iter_mut().zip([900, 500, 100])
        {
            stage["timestep"] = timestep.into();
        }
        json["scheduler"]["timesteps"] = serde_json::json!([900, 500, 100]);
    });
    assert!(notes(&session).contains("the timesteps are 900, 500, 100 and not"), "{}", notes(&session));
    run(&mut session, "goto denoise 2").unwrap();
    assert_eq!(session.timeline().here().timesteps(), [900., 500., 100.]);
    assert!(session.timeline().here().last().unwrap().step.is_none());

    // One stage's timestep alone; more steps in the settings than were recorded; a class that nobody knows.
    for (change, note) in [
        (
            Box::new(|json: &mut Value| json["stages"][3]["timestep"] = 7.into())
                as Box<dyn FnOnce(&mut Value)>,
            "is 7 and not",
        ),
        (
            Box::new(|json: &mut Value| json["settings"]["num_inference_steps"] = 20.into()),
            "which follow from the settings",
        ),
        (
            Box::new(|json: &mut Value| json["scheduler"]["class"] = "EDMEuler".into()),
            "EDMEuler: is not one of",
        ),
        (Box::new(|json: &mut Value| json["scheduler"]["config"]["beta_start"] = "low".into()), "beta_start"),
        (
            Box::new(|json: &mut Value| json["settings"]["num_inference_steps"] = (-3).into()),
            "num_inference_steps",
        ),
    ] {
        let (_folder, mut session) = changed(change);
        assert!(notes(&session).contains(note), "{note}: {}", notes(&session));
        run(&mut session, "continue").unwrap();
        assert_eq!(session.timeline().recorded(), 6, "{note}");
        assert!(
            session.timeline().here().records()[3].step.is_none() || note == "num_inference_steps",
            "{note}"
        );
    }

    // Another guidance scale than the one that ran, and none.
    let (_folder, session) = changed(set("guidance_scale", 3.into()));
    let record = &session.timeline().tip().records()[2];
    assert_eq!((record.guidance_scale, record.warnings.len()), (7.5, 1), "{:?}", record.warnings);
    let (_folder, session) = changed(|json| {
        let settings = json["settings"].as_object_mut().unwrap();
        settings.retain(|name, _| !["guidance_scale", "seed", "height"].contains(&name.as_str()));
    });
    assert!(notes(&session).contains("shown with a default: seed, guidance_scale"), "{}", notes(&session));
    assert_eq!(session.timeline().here().request().height, 16);
}

#[test]
fn a_result_that_the_scheduler_does_not_give_has_no_formula() {
    let (folder, session) = changed(|_| ());
    assert!(session.timeline().tip().records()[3].step.is_some());
    let file = folder.path().join("denoise.001.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let latents = (tensors["denoise.001/latents"].clone() * 1.05).unwrap();
    tensors.insert("denoise.001/latents".into(), latents);
    candle_core::safetensors::save(&tensors, &file).unwrap();
    let session = Session::open(folder.path()).unwrap();
    let record = &session.timeline().tip().records()[3];
    assert!(record.step.is_none());
    assert!(record.warnings[0].contains("are not what the scheduler computes"), "{:?}", record.warnings);
}

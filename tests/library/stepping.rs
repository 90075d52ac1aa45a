//! Stepping into a stage's lines: in a batch of the real binary, and in a session.

use crate::models::BUNDLED;
use crate::support::program::batch;
use diffuscope::debugger::session::Session;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::Request;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn session(eta: f64) -> Session {
    let request = Request {
        prompt: "a key".into(),
        height: 64,
        width: 64,
        num_inference_steps: 2,
        seed: 1.into(),
        eta,
        ..Request::default()
    };
    Session::new(Arc::clone(&BUNDLED), request).unwrap()
}

fn run(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap().unwrap().text()
}

fn image(session: &Session) -> Vec<f32> {
    session.timeline().tip().tensor("image").unwrap().1.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_stage_stops_before_each_of_its_lines() {
    let outcomes = batch(
        &["--steps", "2"],
        "goto denoise 0\nstep\nbacktrace\nnext\nprint text_cond_residual.std > 0.0\nstep\ninfo frame\nstep\n",
    );
    let said = |index: usize| outcomes[index]["messages"][0].as_str().unwrap().to_string();
    let position = |index: usize| outcomes[index]["position"].as_str().unwrap();
    let names = |index: usize| {
        let rows = outcomes[index]["tensors"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert!(said(1).starts_with("denoise 0 › unet (src/pipeline/stages.rs:"), "{}", said(1));
    assert_eq!(names(1), ["latent_model_input", "prompt_embeds"]);
    assert!(said(2).starts_with("#0 denoise 0 › unet"), "{}", said(2));
    assert!(said(3).starts_with("denoise 0 › guidance"), "{}", said(3));
    assert_eq!(names(3), ["text_cond_residual", "uncond_residual"]);
    assert_eq!(outcomes[4]["value"], true);
    assert!(said(5).starts_with("denoise 0 › scheduler_step"), "{}", said(5));
    assert_eq!(names(6)[0], "guided_noise_residual");
    assert_eq!((position(6), position(7)), ("denoise 0", "denoise 1"));
    assert!(said(7).starts_with("denoise 0 done"), "{}", said(7));
}

#[test]
fn stepping_makes_the_same_bits() {
    for eta in [0., 0.5] {
        let mut plain = session(eta);
        run(&mut plain, "continue");
        let mut stepped = session(eta);
        while stepped.timeline().position().is_some() {
            run(&mut stepped, "step");
        }
        assert_eq!(image(&plain), image(&stepped), "eta {eta}");
    }
}

#[test]
fn what_is_refused_leaves_no_stage() {
    let mut session = session(0.);
    run(&mut session, "goto denoise 0");
    run(&mut session, "step");
    run(&mut session, "next");
    for line in ["set seed 5", "set guidance_scale much", "set eta 7"] {
        assert!(session.run_line(line, &mut Unwatched).is_err(), "{line}");
    }
    run(&mut session, "set guidance_scale 7.5");
    assert!(run(&mut session, "backtrace").starts_with("#0 denoise 0 › guidance"));
    let said = run(&mut session, "set guidance_scale 3");
    assert!(said.contains("guidance_scale = 3") && said.contains("left the stage"), "{said}");
    assert!(run(&mut session, "backtrace").starts_with("#0 denoise 0\n"));
    assert!(run(&mut session, "restart").ends_with("2 recorded stages dropped\n"));
}

#[test]
fn a_stage_is_left_and_its_work_dropped() {
    let mut session = session(0.);
    run(&mut session, "goto denoise 0");
    run(&mut session, "step");
    run(&mut session, "next");
    assert!(session.inside().is_some());
    assert!(run(&mut session, "back").contains("dropped"));
    assert!(session.inside().is_none());
    assert_eq!(session.position_name(), "denoise 0");
    for line in ["restart", "set guidance_scale 3", "goto encode_prompt"] {
        run(&mut session, "step");
        let said = run(&mut session, line);
        assert!(
            session.inside().is_none() && said.contains("what it did so far is dropped"),
            "{line}: {said}"
        );
        assert!(!run(&mut session, "info frame").contains("dropped"), "it is said once");
    }
    // Dropped while it waits: its thread ends with it.
    run(&mut session, "step");
}

#[test]
fn moves_run_the_rest_of_the_stage_first() {
    let mut session = session(0.);
    for (line, position) in [
        ("finish", "get_latent"),
        ("until denoise 0", "denoise 0"),
        ("goto vae_decode", "vae_decode"),
        ("continue", "complete"),
    ] {
        run(&mut session, "step");
        assert!(session.inside().is_some());
        run(&mut session, line);
        assert_eq!((session.position_name().as_str(), session.inside().is_none()), (position, true));
    }
    // Behind the tip the stage runs again, and what is recorded stays.
    run(&mut session, "goto denoise 1");
    let warned = session.run_line("step", &mut Unwatched).unwrap().unwrap().warnings;
    assert!(warned[0].contains("already recorded"), "{warned:?}");
    run(&mut session, "finish");
    assert_eq!((session.position_name().as_str(), session.timeline().recorded()), ("vae_decode", 5));
    let error = session.run_line("finish", &mut Unwatched).unwrap_err().to_string();
    assert!(error.contains("not inside a stage"), "{error}");
}

#[test]
fn the_source_is_listed_around_the_line_at_hand() {
    let mut session = session(0.);
    assert!(run(&mut session, "list").contains("pub fn encode_prompt("));
    run(&mut session, "step");
    run(&mut session, "next");
    let listed = run(&mut session, "list");
    let marked: Vec<&str> = listed.lines().filter(|line| line.starts_with('▶')).collect();
    assert!(marked.len() == 1 && marked[0].contains("&lines::TEXT_ENCODER"), "{listed}");
}

#[test]
fn a_look_and_what_is_refused_leave_a_stage_where_it_is() {
    let mut session = session(0.);
    run(&mut session, "goto denoise 0");
    run(&mut session, "step");
    run(&mut session, "next");
    session.look(0);
    for line in ["set seed 3", "set eta 7", "set fault transposed_latents", "goto denoise 9"] {
        session.run_line(line, &mut Unwatched).unwrap_err();
        assert!(session.inside().is_some(), "{line}");
    }
    assert_eq!(session.position_name(), "denoise 0");
    run(&mut session, "finish");
    assert_eq!(session.position_name(), "denoise 1");
}

#[test]
fn a_stage_does_not_take_the_time_that_its_reader_takes() {
    const PAUSE: Duration = Duration::from_millis(400);
    let mut session = session(0.);
    run(&mut session, "goto get_latent");
    let start = Instant::now();
    run(&mut session, "step");
    std::thread::sleep(PAUSE);
    run(&mut session, "finish");
    let took = session.timeline().here().last().unwrap().took;
    assert!(took + PAUSE <= start.elapsed(), "{took:?}");
}

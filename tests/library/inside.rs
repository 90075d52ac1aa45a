//! Inside the models: stepped into, stopped at, changed, and caught; in batches of the real binary, and in a session.

use crate::models::BUNDLED;
use crate::support::program::batch;
use diffuscope::debugger::host::Host;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::session::SessionHost;
use diffuscope::nn::{Path, Probe, Unwatched};
use diffuscope::pipeline::Request;
use std::sync::Arc;

fn session() -> Session {
    let request = Request {
        prompt: "a key".into(),
        height: 64,
        width: 64,
        num_inference_steps: 3,
        seed: 1.into(),
        ..Request::default()
    };
    Session::new(Arc::clone(&BUNDLED), request).unwrap()
}

/// What a line says, with its warnings.
fn run(session: &mut Session, line: &str) -> String {
    let outcome = session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap();
    outcome.text() + &outcome.warnings.join("\n")
}

fn refused(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap_err().to_string()
}

fn value(session: &mut Session, expression: &str) -> f64 {
    let outcome = session.run_line(&format!("print {expression}"), &mut Unwatched).unwrap().unwrap();
    outcome.value().unwrap_or_else(|| panic!("{expression}")).as_f64().unwrap()
}

fn tensor(session: &Session, name: &str) -> Vec<f32> {
    session.timeline().here().tensor(name).unwrap().1.flatten_all().unwrap().to_vec1().unwrap()
}

/// What of the first line of `text` stands before the place in the source.
fn place(text: &str) -> &str {
    text.lines().next().unwrap().split(" (").next().unwrap()
}

#[test]
fn a_line_is_stepped_into_and_out_of() {
    let outcomes = batch(
        &["--steps", "2"],
        "goto denoise 0\nstep\nstep\nstep\nnext\nnext\nstep\nstep\nbacktrace\nlist\ninfo frame\nfinish\nfinish\nfinish\n\
         finish\n",
    );
    let said = |index: usize| outcomes[index]["messages"][0].as_str().unwrap().to_string();
    let names = |index: usize| {
        let rows = outcomes[index]["tensors"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(place(&said(1)), "denoise 0 › unet");
    assert!(said(2).starts_with("denoise 0 › unet › time_proj (src/model/unet/mod.rs:"), "{}", said(2));
    assert_eq!(place(&said(3)), "denoise 0 › unet › time_embedding");
    assert_eq!(place(&said(4)), "denoise 0 › unet › conv_in");
    // What was passed is shown, then what the next is given.
    assert_eq!(names(4), ["unet.time_embedding", "input"]);
    assert_eq!(place(&said(5)), "denoise 0 › unet › down_blocks.0");
    assert_eq!(names(5), ["unet.conv_in", "hidden_states", "temb", "encoder_hidden_states"]);
    assert!(said(6).starts_with("denoise 0 › unet › down_blocks.0 › resnets.0 (src/model/unet/blocks.rs:"));
    assert!(
        said(7).starts_with("denoise 0 › unet › down_blocks.0 › resnets.0 › norm1 (src/model/resnet.rs:")
    );
    let backtrace: Vec<&str> =
        outcomes[8]["messages"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(
        backtrace[1..],
        [
            "#1 denoise 0 › unet › down_blocks.0 › resnets.0",
            "#2 denoise 0 › unet › down_blocks.0",
            "#3 denoise 0 › unet",
            "#4 denoise 0"
        ]
    );
    let marked = outcomes[9]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line.as_str().unwrap().starts_with('▶'));
    assert!(marked.unwrap().as_str().unwrap().contains("self.norm1.forward"), "{marked:?}");
    // The layer's own weights are told with it.
    assert_eq!(names(10)[1..], ["input", "weight", "bias"]);
    assert_eq!(outcomes[10]["value"]["module"], "unet.down_blocks.0.resnets.0.norm1");
    assert_eq!(outcomes[10]["value"]["source"]["file"], "src/model/resnet.rs");
    // Out of the resnet, out of the block, out of the UNet, out of the stage.
    assert!(!said(11).contains("resnets.0 ›") && said(11).contains("down_blocks.0 ›"), "{}", said(11));
    assert!(said(12).starts_with("denoise 0 › unet › down_blocks.1 ("), "{}", said(12));
    assert_eq!(place(&said(13)), "denoise 0 › guidance");
    assert!(said(14).starts_with("denoise 0 done"), "{}", said(14));
}

#[test]
fn clip_and_the_vae_are_stepped_into_as_well() {
    let mut session = session();
    run(&mut session, "break text_encoder.*.self_attn");
    assert_eq!(
        place(&run(&mut session, "continue")),
        "encode_prompt › text_encoder › encoder › layers.0 › self_attn"
    );
    run(&mut session, "delete");
    run(&mut session, "goto vae_decode");
    run(&mut session, "tbreak vae.decoder.mid_block.attentions.0");
    let said = run(&mut session, "continue");
    assert_eq!(place(&said), "vae_decode › decode › decoder › mid_block › attentions.0");
    assert!(
        said.contains("stopped at temporary breakpoint 2 at vae.decoder.mid_block.attentions.0"),
        "{said}"
    );
    assert!(run(&mut session, "continue").starts_with("vae_decode done"));
}

#[test]
fn stepping_inside_makes_what_a_run_makes() {
    let mut plain = session();
    run(&mut plain, "goto denoise 1");
    let mut stepped = session();
    run(&mut stepped, "goto denoise 0");
    let mut stops = 0;
    while stepped.position_name() == "denoise 0" {
        run(&mut stepped, "step");
        stops += 1;
    }
    let unet = BUNDLED.modules.iter().filter(|path| path.as_str().starts_with("unet.")).count();
    assert!(stops >= unet, "{stops} stops, {unet} modules");
    let (plain, stepped) = (tensor(&plain, "latents"), tensor(&stepped, "latents"));
    let apart = plain.iter().zip(&stepped).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn behind_the_tip_a_step_runs_again_and_leaves_what_is_recorded() {
    let mut session = session();
    run(&mut session, "goto denoise 2");
    let recorded = tensor(&session, "denoise.001/latents");
    run(&mut session, "back");
    run(&mut session, "break unet.mid_block");
    let said = run(&mut session, "continue");
    assert_eq!(place(&said), "denoise 1 › unet › mid_block");
    assert!(said.contains("already recorded"), "{said}");
    run(&mut session, "back");
    assert_eq!((session.position_name(), session.timeline().recorded()), ("denoise 1".into(), 4));
    run(&mut session, "delete");
    run(&mut session, "next");
    assert_eq!(tensor(&session, "denoise.001/latents"), recorded);
}

/// Stops whatever runs, at once.
struct Impatient;

impl Probe for Impatient {
    fn wants(&self, _: &Path) -> bool {
        false
    }
}

impl SessionHost for Impatient {}

impl Host for Impatient {
    fn is_interrupted(&self) -> bool {
        true
    }
}

#[test]
fn an_interruption_inside_gives_the_run_back_as_it_was() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let latents = tensor(&session, "latents");
    run(&mut session, "break unet.down_blocks.0");
    run(&mut session, "continue");
    // What each stop costs makes the step long enough to be interrupted in.
    run(&mut session, "catch if t(path).max > 1e30");
    let outcome = session.run_line("finish", &mut Impatient).unwrap().unwrap();
    assert!(outcome.stopped.unwrap().contains("interrupted"), "{:?}", outcome.messages);
    assert!(session.inside().is_none());
    assert_eq!((session.position_name(), session.timeline().recorded()), ("denoise 1".into(), 3));
    assert_eq!(tensor(&session, "latents"), latents);
    run(&mut session, "delete");
    run(&mut session, "continue");
    let mut plain = self::session();
    run(&mut plain, "continue");
    assert_eq!(tensor(&session, "image"), tensor(&plain, "image"));
}

#[test]
fn a_condition_on_what_a_module_makes_stops_behind_it() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let above = value(&mut session, "t(\"unet.mid_block\").max") - 0.01;
    run(&mut session, "restart");
    run(&mut session, &format!("break unet.mid_block if t(path).max > {above} && step < 1"));
    let said = run(&mut session, "continue");
    assert!(said.starts_with("denoise 0 › unet › mid_block, finished"), "{said}");
    assert!(value(&mut session, "t(path).max") > above && value(&mut session, "output.max") > above);
    assert_eq!(run(&mut session, "print path").trim(), "unet.mid_block");
    // Elsewhere it does not hold.
    assert!(run(&mut session, "continue").contains("vae_decode done"));
    // A condition that cannot be evaluated stops, and says why.
    run(&mut session, "delete");
    run(&mut session, "restart");
    run(&mut session, "break unet.conv_out if t(\"unet.nothing\").max > 1.0");
    let said = run(&mut session, "continue");
    assert!(
        said.contains("its condition cannot be evaluated")
            && said.contains("no module is called `unet.nothing`"),
        "{said}"
    );
}

#[test]
fn catch_if_looks_at_every_module() {
    let mut session = session();
    run(&mut session, "goto denoise 0");
    run(&mut session, "catch if path.endsWith(\"attn2\") && t(path).shape[1] < 100");
    let said = run(&mut session, "continue");
    assert!(place(&said).ends_with("attn2, finished"), "{said}");
    assert!(said.contains("stopped at catchpoint 1 for path.endsWith"), "{said}");
}

#[test]
fn nan_is_found_where_it_was_made() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    run(&mut session, "set t(\"unet.mid_block.resnets.1.norm2\")[1,0,0,0] = 0.0 / 0.0");
    run(&mut session, "catch nan");
    let said = run(&mut session, "continue");
    assert!(said.contains("text_cond_residual"), "{said}");
    assert!(said.starts_with("denoise 1 › unet › mid_block › resnets.1 › norm2, finished"), "{said}");
    assert!(
        said.contains("unet.mid_block.resnets.1.norm2 made what is not finite, of finite inputs"),
        "{said}"
    );
    assert_eq!(run(&mut session, "print output.nan").trim(), "1");
    // The next stop is the next stage's, whose latents are broken already.
    let said = run(&mut session, "continue");
    assert!(said.starts_with("denoise 2 › unet"), "{said}");
    assert!(said.contains("of what is not finite already"), "{said}");
}

#[test]
fn what_a_module_makes_can_be_changed_on_a_fork() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let before = value(&mut session, "t(\"unet.mid_block\").std");
    let said = run(&mut session, "set t(\"unet.mid_block\") *= 0");
    assert!(said.contains("timeline unet-mid_block-edited branched off main before denoise 1"), "{said}");
    run(&mut session, "next");
    assert!(before > 0. && value(&mut session, "max_abs(t(\"unet.mid_block\"))") == 0.);
    // From here on, and on that timeline alone.
    run(&mut session, "next");
    assert_eq!(value(&mut session, "max_abs(t(\"unet.mid_block\"))"), 0.);
    run(&mut session, "switch main");
    assert_eq!(value(&mut session, "t(\"unet.mid_block\").std"), before);
    // Commands make it again.
    run(&mut session, "switch unet-mid_block-edited");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edited.txt");
    run(&mut session, &format!("save timeline {}", file.display()));
    let commands = std::fs::read_to_string(file).unwrap();
    assert!(commands.contains("set t(\"unet.mid_block\") *= 0"), "{commands}");
    let again = batch(&[], &(commands + "print max_abs(t(\"unet.mid_block\"))\nprint latents.std\n"));
    assert_eq!(again[again.len() - 2]["value"], 0.);
    let theirs = again[again.len() - 1]["value"].as_f64().unwrap();
    assert!((theirs - value(&mut session, "latents.std")).abs() < 1e-6);
}

#[test]
fn other_steps_and_timelines_are_asked_for_what_modules_made() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let first = value(&mut session, "norm(t(\"unet.time_proj\"))");
    let (now, then) = ("t(\"unet.conv_in\")", "at(0, \"unet.conv_in\")");
    assert_eq!(value(&mut session, &format!("norm({now} - {then})")), 0.);
    run(&mut session, "next");
    assert!(value(&mut session, &format!("norm({now} - {then})")) > 0.);
    assert_eq!(value(&mut session, "norm(at(0, \"unet.time_proj\"))"), first);
    // What the text encoder makes is the embeddings; by stage, as tensors are.
    let encoded = "at(\"encode_prompt\", \"text_encoder.final_layer_norm\")[1..2] - prompt_embeds";
    assert!(value(&mut session, &format!("max_abs({encoded})")) < 1e-5);
    // Elsewhere: at the cursor there, and after a step. An edit there is seen.
    run(&mut session, "goto denoise 0");
    run(&mut session, "set t(\"unet.mid_block\") *= 0");
    run(&mut session, "rename other");
    run(&mut session, "next");
    run(&mut session, "switch main");
    run(&mut session, "goto denoise 1");
    for of in ["of(\"other\", \"unet.mid_block\")", "of(\"other\", 0, \"unet.mid_block\")"] {
        assert_eq!(value(&mut session, &format!("max_abs({of})")), 0.);
    }
    assert!(value(&mut session, "max_abs(of(\"main\", 0, \"unet.mid_block\"))") > 0.);
    for (expression, why) in [
        ("at(0, \"unet.midblock\")", "did you mean `unet.mid_block`?"),
        ("at(0, \"vae.decoder.conv_in\")", "did not run in denoise 0"),
        ("at(2, \"unet.mid_block\")", "not recorded"),
        ("of(\"other\", \"vae.decoder.conv_in\")", "runs in vae_decode, which is not recorded yet"),
    ] {
        let said = refused(&mut session, &format!("print {expression}"));
        assert!(said.contains(why), "{expression}: {said}");
    }
}

#[test]
fn a_module_is_patched_from_another_timeline() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    run(&mut session, "fork other at encode_prompt");
    run(&mut session, "set prompt a red apple");
    run(&mut session, "goto denoise 2");
    let theirs = value(&mut session, "t(\"unet.up_blocks.0\").std");
    run(&mut session, "switch main");
    run(&mut session, "patch unet.up_blocks.0 from other");
    run(&mut session, "next");
    assert_eq!(value(&mut session, "t(\"unet.up_blocks.0\").std"), theirs);
    // In that step alone.
    run(&mut session, "next");
    assert_ne!(value(&mut session, "t(\"unet.up_blocks.0\").std"), theirs);
    assert!(run(&mut session, "info timelines").contains("patch unet.up_blocks.0 from other"));
    assert!(
        refused(&mut session, "save timeline x.txt").contains("a patch takes what another timeline made")
    );
}

#[test]
fn what_ran_already_in_a_stage_that_waits_is_of_that_stage() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let before = value(&mut session, "t(\"unet.conv_in\").std");
    run(&mut session, "tbreak unet.mid_block");
    run(&mut session, "continue");
    let now = value(&mut session, "t(\"unet.conv_in\").std");
    assert_ne!(now, before);
    let said = refused(&mut session, "print t(\"unet.up_blocks.0\")");
    assert!(said.contains("unet.up_blocks.0 has not run yet in denoise 1"), "{said}");
    // Parts of what ran are known, of what is about to run not.
    assert!(value(&mut session, "t(\"unet.down_blocks.0.resnets.0.norm1\").std") > 0.);
    assert!(refused(&mut session, "print t(path)").contains("has not run yet"));
    run(&mut session, "finish");
    assert_eq!(session.inside().unwrap().path(), "denoise.guidance");
    assert_eq!(value(&mut session, "t(\"unet.conv_in\").std"), now);
    run(&mut session, "continue");
}

#[test]
fn runs_that_are_compared_are_meddled_with_each_by_itself() {
    let commands = ["goto denoise 1", "set t(\"unet.mid_block\")[1] *= 0.5"];
    let mut alone = session();
    commands.iter().for_each(|line| drop(run(&mut alone, line)));
    run(&mut alone, "set guidance_scale 3");
    run(&mut alone, "goto vae_decode");
    let mut compared = session();
    commands.iter().for_each(|line| drop(run(&mut compared, line)));
    run(&mut compared, "compare guidance_scale 3,7.5 here");
    assert!(run(&mut compared, "break unet.mid_block").contains("not those that are compared"));
    run(&mut compared, "goto vae_decode");
    let (alone, compared) = (tensor(&alone, "latents"), tensor(&compared, "latents"));
    let apart = alone.iter().zip(&compared).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut session = session();
    for (line, why) in [
        ("break unet.midblock", "did you mean `unet.mid_block`?"),
        ("break unet..x", "is no path of a module"),
        ("break unet mid_block", "is no stage"),
        ("catch if 1 +", "is no expression"),
        ("print t(\"unet.mid_block\")", "runs in denoise, which is not recorded yet"),
        ("print t(3)", "wants the path of a module"),
        ("print path", "path"),
        ("set t(\"unet.nothing\") = 0", "no module is called `unet.nothing`"),
        ("set t(\"unet.mid_block\") = \"x\"", "expected a tensor or a number"),
        ("patch unet.mid_block from main", "unet.mid_block does not run in encode_prompt"),
        ("patch unet.*.attn2 from main", "wants one module"),
        ("patch unet.mid_block", "is not MODULE from TIMELINE"),
        ("finish", "not inside a stage"),
    ] {
        let said = refused(&mut session, line);
        assert!(said.contains(why), "{line}: {said}");
    }
    run(&mut session, "goto denoise 0");
    run(&mut session, "set t(\"unet.mid_block\")[7] = 0");
    let said = refused(&mut session, "next");
    assert!(said.contains("at unet.mid_block") && said.contains("is not among them"), "{said}");
    let said = refused(&mut session, "patch unet.mid_block from nowhere");
    assert!(said.contains("there is no timeline `nowhere`"), "{said}");
}

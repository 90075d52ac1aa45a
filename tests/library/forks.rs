//! Timelines that branch off: what they share, what they keep, and what makes them again.

use crate::models::SD2;
use crate::support::program::{batch, diffuscope, said};
use candle_core::{DType, Device, Tensor};
use diffuscope::debugger::Outcome;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::view::Viewer;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Request, Snapshot, advance};
use diffuscope::tensor::PlainTensor;
use diffuscope::tensor::compare::relative_difference;
use proptest::prelude::*;
use std::sync::Arc;

fn session(steps: usize) -> Session {
    let native = Request::for_models(&SD2, "a cat");
    let request = Request { width: 16, height: 16, num_inference_steps: steps, eta: 0.5, ..native };
    Session::new(Arc::clone(&SD2), request).unwrap()
}

fn run(session: &mut Session, line: &str) -> Outcome {
    session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap()
}

fn refused(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap_err().to_string()
}

fn bits(snapshot: &Snapshot) -> Vec<u32> {
    let (_, tensor) = snapshot.last().unwrap().tensors.last().unwrap();
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_change_behind_the_tip_branches_off_and_the_old_run_stays() {
    let mut session = session(4);
    run(&mut session, "continue");
    let old = bits(session.timeline().tip());
    run(&mut session, "goto denoise 2");
    let outcome = run(&mut session, "set guidance_scale 1");
    assert!(outcome.messages[1].starts_with("timeline guidance_scale=1 branched off main before denoise 2"));
    run(&mut session, "continue");
    assert_ne!(bits(session.timeline().tip()), old);
    run(&mut session, "switch main");
    assert_eq!(session.position_name(), "denoise 2");
    assert_eq!(bits(session.timeline().tip()), old);
    assert_eq!(session.timeline().tip().request().guidance_scale, 7.5);
    let tree = run(&mut session, "info timelines").text();
    assert!(tree.contains("* main: before denoise 2"), "{tree}");
    assert!(
        tree.contains("guidance_scale=1: complete, from main before denoise 2: guidance_scale 7.5 → 1"),
        "{tree}"
    );
}

#[test]
fn where_a_timeline_branched_off_stays_what_it_was() {
    let mut session = session(4);
    for line in ["goto denoise 3", "back", "set guidance_scale 12", "fork", "switch main", "restart"] {
        run(&mut session, line);
    }
    for line in ["set guidance_scale 9", "goto denoise 4"] {
        let _ = session.run_line(line, &mut Unwatched);
    }
    run(&mut session, "continue");
    let tree = run(&mut session, "info timelines").text();
    assert!(tree.contains("from main before denoise 2: guidance_scale 7.5 → 12"), "{tree}");
    // what branched off it there is then off main, with the same change
    run(&mut session, "delete timeline guidance_scale=12");
    let tree = run(&mut session, "info timelines").text();
    assert!(
        tree.contains("fork: before denoise 2, from main before denoise 2: guidance_scale 7.5 → 12"),
        "{tree}"
    );
}

#[test]
fn a_change_at_the_tip_branches_nothing_off() {
    let mut session = session(3);
    run(&mut session, "goto denoise 1");
    run(&mut session, "set prompt a dog");
    assert_eq!(session.timelines().list().len(), 1);
    assert_eq!(run(&mut session, "set prompt a dog").messages, ["prompt = a dog already"]);
}

#[test]
fn a_fork_with_nothing_changed_equals_its_parent_bit_for_bit() {
    let mut session = session(4);
    run(&mut session, "continue");
    let parent = bits(session.timeline().tip());
    run(&mut session, "fork twin at denoise 1");
    assert_eq!(
        (session.timelines().current().name.as_str(), session.position_name()),
        ("twin", "denoise 1".into())
    );
    run(&mut session, "continue");
    assert_eq!(bits(session.timeline().tip()), parent);
    let diff = run(&mut session, "diff main");
    assert!(diff.messages[0].ends_with("0 beyond 1e-4 relative") && diff.diffs().is_empty(), "{diff:?}");
    // eta is 0.5: the noise of each step is the parent's too, since the generator's state is part of a snapshot
    assert!(run(&mut session, "info request").text().contains("eta = 0.5"));
}

#[test]
fn twenty_forks_near_the_end_cost_less_than_twice_one_run() {
    let mut session = session(50);
    run(&mut session, "continue");
    let one = session.timelines().bytes();
    for scale in 1..=20 {
        run(&mut session, "switch main");
        run(&mut session, "goto denoise 49");
        run(&mut session, &format!("set guidance_scale {scale}"));
        // the last step; a picture of its own would then be as large as it is
        run(&mut session, "next");
    }
    assert_eq!(session.timelines().list().len(), 21);
    let all = session.timelines().bytes();
    assert!(all > one && all < 2 * one, "{one} bytes in one run, {all} with twenty forks");
    // snapshots themselves are shared: those of a fork before its change are the parent's
    let snapshots = |index: usize| session.timelines().list()[index].timeline.snapshots();
    assert!((0..=50).all(|done| Arc::ptr_eq(&snapshots(0)[done], &snapshots(20)[done])));
    assert!(!Arc::ptr_eq(&snapshots(0)[51], &snapshots(20)[51]));
}

#[test]
fn names_can_be_given_changed_and_taken_back() {
    let mut session = session(2);
    run(&mut session, "next 2");
    run(&mut session, "fork wilder");
    run(&mut session, "fork wilder-still");
    assert!(refused(&mut session, "fork main").contains("there is a timeline `main` already"));
    assert!(refused(&mut session, "rename wilder @3").contains("a place in a run"));
    assert!(refused(&mut session, "rename nobody x").contains("expected one of main, wilder, wilder-still"));
    run(&mut session, "rename wilder tame");
    assert_eq!(run(&mut session, "delete timeline tame").messages[0], "timeline tame deleted");
    let tree = run(&mut session, "info timelines").text();
    assert!(tree.contains("* ") && tree.contains("wilder-still: before denoise 0, from main"), "{tree}");
    run(&mut session, "delete timeline wilder-still");
    assert_eq!(session.timelines().current().name, "main");
    assert!(refused(&mut session, "delete timeline main").contains("the only timeline"));
    assert!(refused(&mut session, "switch tame").contains("there is no timeline `tame`"));
}

#[test]
fn what_the_noise_settled_is_refused_with_the_command_that_would_do_it() {
    let mut session = session(3);
    run(&mut session, "goto denoise 1");
    for line in ["set seed 5", "set height 32", "set width 32", "set num_inference_steps 9"] {
        let said = refused(&mut session, line);
        assert!(said.contains("`fork at get_latent`") && said.contains(line), "{said}");
    }
    run(&mut session, "fork at get_latent");
    run(&mut session, "set seed 5");
    run(&mut session, "continue");
    assert_eq!(session.timeline().tip().request().seed, 5.into());
    assert!(refused(&mut session, "fork at denoise 7").contains("denoise 7 is not in this run"));
    run(&mut session, "switch main");
    assert!(refused(&mut session, "fork at vae_decode").contains("`goto vae_decode` runs up to it"));
}

#[test]
fn a_timeline_is_saved_as_commands_that_make_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (script, first, second) = (
        folder.path().join("wild.dbg"),
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    let made = format!(
        "set seed 3\ngoto denoise 2\nset prompt a \"red\" key | lock\nnext\nset guidance_scale 2.5\ncontinue\n\
         goto denoise 3\nset eta 0.25\ncontinue\nsave all {}\nsave timeline {}\n",
        first.display(),
        script.display()
    );
    let steps = ["--steps", "5", "--prompt", "star", "--width", "64", "--height", "64"];
    batch(&steps, &made);
    let script = script.display().to_string();
    let again = diffuscope(&["debug", "--batch", "-x", &script], "");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let mut commands = std::fs::read_to_string(&script).unwrap();
    commands.push_str(&format!("save all {}\n", second.display()));
    batch(&[], &commands);
    let tensors = |file| candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let (first, second) = (tensors(&first), tensors(&second));
    assert_eq!(first.len(), second.len());
    for (key, tensor) in first {
        let values = |t: &candle_core::Tensor| {
            t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert!(values(&tensor) == values(&second[&key]), "{key}");
    }
}

/// The order is that of the stages, and within a stage that of the run, on whichever side a file stands.
#[test]
fn differences_are_in_the_order_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (a, b) = (file("a.safetensors"), file("b.safetensors"));
    let flags = ["--steps", "3", "--width", "32", "--height", "32"];
    batch(&[&flags[..], &["--prompt", "a cat"]].concat(), &format!("continue\nsave all {a}\n"));
    let outcomes = batch(
        &[&flags[..], &["--prompt", "a dog"]].concat(),
        &format!("continue\nsave all {b}\ndiff {a}\ndiff main {a}\ndiff {a} {b}\ndiff {b} {a}\n"),
    );
    let of_a_step = [
        "uncond_residual",
        "text_cond_residual",
        "guided_noise_residual",
        "pred_original_sample",
        "pred_epsilon",
        "pred_sample_direction",
        "latents",
    ];
    // The first step's residual without the prompt, and the noise, are the same for both.
    let steps = (0..3).flat_map(|step| of_a_step.map(|name| format!("denoise.{step:03}/{name}")));
    let expected: Vec<String> = ["encode_prompt/input_ids", "encode_prompt/prompt_embeds"]
        .map(String::from)
        .into_iter()
        .chain(steps.filter(|key| key != "denoise.000/uncond_residual"))
        .chain(["vae_decode/image".into()])
        .collect();
    for outcome in &outcomes[2..] {
        assert_eq!(
            said(outcome, 1),
            "the first beyond it: encode_prompt/input_ids",
            "{}",
            outcome["command"]
        );
        let rows = outcome["diffs"].as_array().unwrap().iter();
        let rows: Vec<&str> = rows.map(|row| row["tensor"].as_str().unwrap()).collect();
        assert_eq!(rows, expected, "{}", outcome["command"]);
        assert_eq!(outcome["picture"]["name"], "difference of vae_decode/image");
    }
}

#[test]
fn differences_between_runs_states_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("run.safetensors").display().to_string();
    let commands = format!(
        "continue\nsave all {dump}\ngoto denoise 1\nset guidance_scale 2\ncontinue\ndiff main\ndiff {dump}\n\
         diff @0 @2\ndiff main within 1e9\ndiff {dump} main\n"
    );
    let outcomes = batch(&["--steps", "3"], &commands);
    // what is the same up to the fork is counted, and the first that is not is named
    assert!(said(&outcomes[5], 1).ends_with("denoise.001/guided_noise_residual"), "{}", outcomes[5]);
    assert_eq!(outcomes[5]["diffs"], outcomes[6]["diffs"]);
    assert_eq!(outcomes[5]["picture"]["name"], "difference of vae_decode/image");
    let of_states = outcomes[7]["diffs"].as_array().unwrap();
    assert!(of_states.iter().any(|row| row["tensor"] == "latents"), "{of_states:?}");
    assert_eq!(said(&outcomes[8], 1), "none is beyond it");
    assert!(said(&outcomes[9], 0).contains("0 beyond"), "{}", outcomes[9]);
}

#[test]
fn what_cannot_be_compared_says_so() {
    let mut session = session(3);
    run(&mut session, "goto denoise 1");
    assert!(refused(&mut session, "diff nobody").contains("a .safetensors file, or a trace"));
    assert!(refused(&mut session, "diff @2").contains("@2 is not recorded"));
    assert!(refused(&mut session, "diff @9").contains("@9 is not recorded"));
    assert!(refused(&mut session, "diff no.safetensors").contains("no.safetensors: "));
    assert!(refused(&mut session, "diff Cargo.toml").contains("expected a .safetensors file"));
    assert!(refused(&mut session, "diff").contains("expected `diff A [B] [within X]`"));
}

/// A command of the random test, by number.
fn line(kind: u8, n: usize) -> String {
    match kind {
        0..=3 => format!("next {}", n % 3 + 1),
        4 | 5 => format!("back {}", n % 3 + 1),
        6 => format!("set guidance_scale {n}"),
        7 => format!("set prompt p{}", n % 2),
        8 => "fork".into(),
        9 => ["switch main", "switch fork", "switch fork-2", "switch guidance_scale=1"][n % 4].into(),
        10 => ["delete timeline fork", "delete timeline main"][n % 2].into(),
        11 => ["goto get_latent", "goto denoise 1", "goto vae_decode"][n % 3].into(),
        12 => "restart".into(),
        13 => ["set fault swapped_residuals", "set fault wrong_timestep", "set fault off"][n % 3].into(),
        14 | 15 => format!("set {}", EDITS[n % EDITS.len()].0),
        COMPARES => [
            "compare seed 1,2",
            "compare num_inference_steps 2,5",
            "compare guidance_scale 1,4 here",
            "sweep guidance_scale 2",
            "compare off",
            "compare",
        ][n]
            .into(),
        _ => ["switch seed=2", "switch num_inference_steps=2", "switch guidance_scale=4", "switch main"]
            [n % 4]
            .into(),
    }
}

/// The commands that compare.
const COMPARES: u8 = 16;

/// Edits, the tensor that each changes, and what it is multiplied by.
const EDITS: [(&str, &str, f64); 3] = [
    ("latents *= 0.5", "latents", 0.5),
    ("prompt_embeds *= 2", "prompt_embeds", 2.),
    ("negative_prompt_embeds *= 0.25", "negative_prompt_embeds", 0.25),
];

/// A run with the settings of `to`, and what was done to its tensors there but not yet in `before`.
fn changed(run: &Snapshot, before: &[Arc<str>], to: &Snapshot) -> Snapshot {
    let mut run = run.with_request(to.request().clone(), &SD2).unwrap();
    for edit in to.edits().iter().filter(|edit| !before.iter().any(|known| Arc::ptr_eq(known, edit))) {
        let (text, name, factor) = EDITS.iter().find(|(text, ..)| **text == **edit).unwrap();
        if *name != "latents" {
            run = run.encoded(&SD2, &mut Unwatched).unwrap();
        }
        let edited: Tensor = (run.tensor(name).unwrap().1 * *factor).unwrap();
        run = run.with_tensor(name, edited, text).unwrap();
    }
    run
}

/// Whether two runs are the same: to the bit, or within the rounding of a batch of other rows.
fn are_alike(a: &Snapshot, b: &Snapshot, batched: bool) -> bool {
    let values = |run: &Snapshot| PlainTensor::of(&run.last().unwrap().tensors.last().unwrap().1).unwrap();
    match batched {
        true => relative_difference(values(a).data(), values(b).data()) <= 1e-4,
        false => bits(a) == bits(b),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever is typed: what every timeline holds is what a run with its settings, stage by stage, makes.
    #[test]
    fn every_timeline_is_what_its_settings_make(typed in prop::collection::vec((0u8..18, 0usize..6), 1..25)) {
        let mut session = session(3);
        let mut batched = false;
        for (kind, n) in typed {
            batched |= kind == COMPARES;
            let _ = session.run_line(&line(kind, n), &mut Unwatched);
            if let Some(comparison) = Viewer::default().view(&session).unwrap().comparison {
                let done = |name: &str| session.timelines().named(name).unwrap().timeline.cursor();
                for variant in &comparison.variants {
                    let expected = comparison.lineup().done(&variant.member, comparison.tick);
                    prop_assert_eq!(done(&variant.name), expected, "{} at tick {}", variant.name, comparison.tick);
                }
            }
        }
        for branch in session.timelines().list() {
            let snapshots = branch.timeline.snapshots();
            let mut straight = Snapshot::start(snapshots[0].request().clone(), &SD2).unwrap();
            for (done, pair) in snapshots.windows(2).enumerate() {
                // each snapshot has the settings and the edits that the stage behind it runs with
                let before = done.checked_sub(1).map_or(&[][..], |before| snapshots[before].edits());
                straight = changed(&straight, before, &pair[0]);
                straight = advance(&straight, &SD2, &mut Unwatched).unwrap();
                let made = changed(&straight, pair[0].edits(), &pair[1]);
                prop_assert!(are_alike(&made, &pair[1], batched), "{} after {} stages", branch.name, done + 1);
            }
            let commands = branch.commands().unwrap();
            let mut again = self::session(3);
            for line in commands {
                // a complete run has nothing left to continue
                let _ = again.run_line(&line, &mut Unwatched);
            }
            if branch.timeline.recorded() > 0 {
                let is_alike = are_alike(again.timeline().tip(), branch.timeline.tip(), batched);
                prop_assert!(is_alike, "{} again", branch.name);
            }
        }
    }
}

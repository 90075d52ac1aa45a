//! Tensors changed by hand, and known mistakes made on purpose: what each does, and that it is told.

use crate::models::SD2;
use crate::support::checkpoint::checkpoint;
use crate::support::program::{batch, said};
use candle_core::{DType, Device};
use diffuscope::debugger::Outcome;
use diffuscope::debugger::session::Session;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::snapshot::tensor_names;
use diffuscope::pipeline::{Fault, Models, Request, Snapshot};
use std::sync::Arc;

fn session() -> Session {
    let native = Request::for_models(&SD2, "a cat");
    let request = Request { width: 32, height: 32, num_inference_steps: 3, ..native };
    Session::new(Arc::clone(&SD2), request).unwrap()
}

fn run(session: &mut Session, line: &str) -> Outcome {
    session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap()
}

fn refused(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap_err().to_string()
}

fn values(snapshot: &Snapshot, name: &str) -> Vec<f32> {
    snapshot.tensor(name).unwrap().1.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn here(session: &Session, name: &str) -> Vec<f32> {
    values(session.timeline().here(), name)
}

#[test]
fn a_part_of_the_latents_is_changed_on_a_timeline_of_its_own() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let before = here(&session, "latents");
    let outcome = run(&mut session, "set latents[0,:,1,2] = 0");
    assert!(outcome.messages[0].starts_with("latents[0,:,1,2] = 0: changed by "), "{:?}", outcome.messages);
    assert!(
        outcome.messages[1].starts_with("timeline latents-edited branched off main"),
        "{:?}",
        outcome.messages
    );
    let after = here(&session, "latents");
    for (place, (old, new)) in before.iter().zip(&after).enumerate() {
        // (1, 4, 4, 4): row 1, column 2 of each channel
        let changed = place % 16 == 6;
        assert_eq!(*new, if changed { 0. } else { *old }, "{place}");
    }
    run(&mut session, "continue");
    let edited = here(&session, "image");
    run(&mut session, "switch main");
    assert_eq!(here(&session, "latents"), before);
    run(&mut session, "continue");
    assert_ne!(here(&session, "image"), edited);
    assert!(
        run(&mut session, "info timelines")
            .text()
            .contains("from main before denoise 1: latents[0,:,1,2] = 0")
    );
}

#[test]
fn expressions_give_the_values() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let (prompt, negative) = (here(&session, "prompt_embeds"), here(&session, "negative_prompt_embeds"));
    run(&mut session, "set prompt_embeds = lerp(negative_prompt_embeds, prompt_embeds, 0.25)");
    for ((new, a), b) in here(&session, "prompt_embeds").iter().zip(&negative).zip(&prompt) {
        assert!((new - (a + 0.25 * (b - a))).abs() < 1e-5);
    }
    run(&mut session, "set prompt_embeds[0,2..,:] *= 0");
    let width = prompt.len() / 77;
    assert!(here(&session, "prompt_embeds")[2 * width..].iter().all(|value| *value == 0.));
    assert!(here(&session, "prompt_embeds")[..2 * width].iter().any(|value| *value != 0.));
    run(&mut session, "set latents += 1.5");
    assert_eq!(session.timelines().list().len(), 4);
    // both edits are still there, each where it was made
    run(&mut session, "next");
    assert!(here(&session, "prompt_embeds")[2 * width..].iter().all(|value| *value == 0.));
}

#[test]
fn an_edit_of_embeddings_is_of_those_of_the_prompt_as_it_is() {
    let mut session = session();
    for line in ["next", "set prompt b", "set prompt_embeds = 0", "next"] {
        run(&mut session, line);
    }
    assert!(here(&session, "prompt_embeds").iter().all(|value| *value == 0.));
    // the other prompt is encoded too, and not lost
    run(&mut session, "switch main");
    run(&mut session, "next");
    let of_b = here(&session, "prompt_embeds");
    run(&mut session, "goto get_latent");
    run(&mut session, "set prompt_embeds *= 2");
    for (twice, once) in here(&session, "prompt_embeds").iter().zip(&of_b) {
        assert_eq!(*twice, 2. * once);
    }
}

#[test]
fn a_prompt_that_undoes_an_edit_says_so() {
    let mut session = session();
    run(&mut session, "next 2");
    run(&mut session, "set negative_prompt_embeds = 0");
    // which came first could not be told from what is recorded
    let said = refused(&mut session, "set prompt b");
    assert!(said.contains("`set negative_prompt_embeds = 0` was done here"), "{said}");
    run(&mut session, "set prompt a cat");
    let said = refused(&mut session, "compare prompt a | b here");
    assert!(said.contains("`set negative_prompt_embeds = 0` was done here"), "{said}");
    run(&mut session, "next");
    let set = run(&mut session, "set prompt b");
    assert_eq!(set.warnings, ["`set negative_prompt_embeds = 0` is undone when it is encoded"]);
    // back to the prompt that is encoded: nothing is, and nothing is undone
    let back = run(&mut session, "set prompt a cat");
    assert_eq!((back.messages.len(), back.warnings.len()), (1, 0));
    assert_eq!(session.timeline().here().edits().len(), 1);
    run(&mut session, "set prompt b");
    run(&mut session, "next");
    assert!(here(&session, "negative_prompt_embeds").iter().any(|value| *value != 0.));
    assert!(session.timeline().here().edits().is_empty());
}

#[test]
fn an_edited_run_is_made_again_by_its_commands() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("edited.dbg").display().to_string();
    let flags = ["--steps", "3", "--width", "64", "--height", "64"];
    let made = batch(
        &flags,
        &format!(
            "goto denoise 1\nset latents[0,1] *= 2\nset fault swapped_residuals\nnext\nset fault off\ncontinue\n\
             print image.l2\nsave timeline {script}\n"
        ),
    );
    let commands = std::fs::read_to_string(&script).unwrap();
    for line in ["set latents[0,1] *= 2", "set fault swapped_residuals", "set fault off"] {
        assert!(commands.lines().any(|known| known == line), "{commands}");
    }
    let again = batch(&flags, &format!("{commands}print image.l2\n"));
    assert_eq!(made[6]["value"], again.last().unwrap()["value"]);
}

#[test]
fn an_edit_that_makes_no_sense_says_what_would() {
    let mut session = session();
    assert!(refused(&mut session, "set latents = 0").contains("latents is not there yet"));
    run(&mut session, "goto denoise 1");
    for (line, expected) in [
        ("set latents[0,9] = 0", "dimension 1 of latents has 4 places; `9` is not among them"),
        ("set latents[0,0,0,0,0] = 0", "5 are named"),
        ("set latents = prompt_embeds", "64 are changed"),
        ("set latents = latents.std > 1.0", "expected a tensor or a number"),
        ("set latents = noise", "`noise` is not there"),
        ("set latents[a] = 0", "`a` is no part of a dimension"),
        ("set uncond_residual = 0", "neither a setting nor a tensor that goes into what comes next"),
        ("set sampler ddim", "unknown setting `sampler`"),
    ] {
        let said = refused(&mut session, line);
        assert!(said.contains(expected), "{line}: {said}");
    }
    assert_eq!(session.timelines().list().len(), 1);
    run(&mut session, "continue");
    assert!(refused(&mut session, "set latents = 0").contains("the run is complete"));
}

/// The session after a run with the fault from the start, and one without.
fn with_and_without(fault: &str) -> [Session; 2] {
    let mut faulty = session();
    run(&mut faulty, &format!("set fault {fault}"));
    let mut right = session();
    run(&mut faulty, "continue");
    run(&mut right, "continue");
    [faulty, right]
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
}

#[test]
fn swapped_residuals_guide_away_from_the_prompt() {
    let [faulty, right] = with_and_without("swapped_residuals");
    let first = |session: &Session, name: &str| values(&session.timeline().snapshots()[3], name);
    assert_eq!(first(&faulty, "uncond_residual"), first(&right, "text_cond_residual"));
    assert_eq!(first(&faulty, "text_cond_residual"), first(&right, "uncond_residual"));
    assert_ne!(here(&faulty, "image"), here(&right, "image"));
}

#[test]
fn without_the_scaling_factor_only_the_picture_is_wrong() {
    let [faulty, right] = with_and_without("no_scaling_factor");
    assert_eq!(here(&faulty, "latents"), here(&right, "latents"));
    assert_ne!(here(&faulty, "image"), here(&right, "image"));
}

#[test]
fn without_denormalize_the_picture_goes_below_zero() {
    let [faulty, right] = with_and_without("no_denormalize");
    assert!(here(&faulty, "image").iter().any(|value| *value < 0.));
    let mended: Vec<f32> =
        here(&faulty, "image").iter().map(|value| (value / 2. + 0.5).clamp(0., 1.)).collect();
    assert!(largest(&mended, &here(&right, "image")) < 1e-6);
}

#[test]
fn v_taken_for_noise_is_another_step_from_the_same_residual() {
    let [faulty, right] = with_and_without("epsilon_for_v");
    let first = |session: &Session, name: &str| values(&session.timeline().snapshots()[3], name);
    assert_eq!(first(&faulty, "guided_noise_residual"), first(&right, "guided_noise_residual"));
    assert_ne!(first(&faulty, "latents"), first(&right, "latents"));
    // the scheduler takes the residual itself for the noise
    assert_eq!(first(&faulty, "pred_epsilon"), first(&faulty, "guided_noise_residual"));
}

#[test]
fn transposed_noise_and_a_wrong_timestep_change_the_run() {
    let [faulty, right] = with_and_without("transposed_latents");
    let noise = |session: &Session| values(&session.timeline().snapshots()[2], "latents");
    let (turned, upright) = (noise(&faulty), noise(&right));
    assert_eq!(turned[1], upright[4], "row 0, column 1 against row 1, column 0");
    let [faulty, right] = with_and_without("wrong_timestep");
    let first = |session: &Session, name: &str| values(&session.timeline().snapshots()[3], name);
    assert_eq!(noise(&faulty), noise(&right));
    assert_ne!(first(&faulty, "uncond_residual"), first(&right, "uncond_residual"));
}

#[test]
fn a_nan_is_put_in_and_caught() {
    for tensor in ["latents", "prompt_embeds", "guided_noise_residual", "image"] {
        let mut session = session();
        run(&mut session, "catch nan");
        run(&mut session, &format!("set fault nan_in {tensor}"));
        let stopped = run(&mut session, "continue").stopped.unwrap();
        assert!(stopped.contains(tensor), "{tensor}: {stopped}");
    }
}

#[test]
fn faults_are_settings_of_the_run() {
    let mut session = session();
    run(&mut session, "goto denoise 2");
    run(&mut session, "back");
    run(&mut session, "set fault wrong_timestep");
    assert_eq!(session.timelines().current().name, "wrong_timestep");
    assert_eq!(session.timeline().here().request().fault, Some(Fault::WrongTimestep));
    let tree = run(&mut session, "info timelines").text();
    assert!(tree.contains("fault off → wrong_timestep"), "{tree}");
    run(&mut session, "set fault nan_in latents");
    assert!(run(&mut session, "info request").text().contains("fault = nan_in latents"));
    run(&mut session, "next");
    run(&mut session, "back");
    run(&mut session, "set fault off");
    let tree = run(&mut session, "info timelines").text();
    assert!(tree.contains("fault nan_in latents → off"), "{tree}");
    assert!(refused(&mut session, "set fault all").contains("expected one of no_scaling_factor"));
    assert!(refused(&mut session, "set fault nan_in x").contains("nan_in takes a tensor"));
    run(&mut session, "switch main");
    assert_eq!(session.timeline().here().request().fault, None);

    let outcomes = batch(
        &["--steps", "2"],
        "set fault no_denormalize\ninfo request\ncompare guidance_scale 1,2\ncontinue\n",
    );
    assert_eq!(said(&outcomes[0], 0), "fault = no_denormalize");
    assert_eq!(outcomes[1]["value"]["fault"], "no_denormalize");
    assert_eq!(outcomes[3]["position"], "complete");
}

#[test]
fn a_model_of_noise_cannot_be_mistaken_for_one_of_v() {
    let models = Arc::new(Models::load(checkpoint("sd1").source(), Device::Cpu, DType::F32).unwrap());
    let request = Request { width: 32, height: 32, ..Request::for_models(&models, "a cat") };
    let mut session = Session::new(models, request).unwrap();
    let said = refused(&mut session, "set fault epsilon_for_v");
    assert!(said.contains("these models predict epsilon; expected v_prediction"), "{said}");
}

#[test]
fn a_text_becomes_embeddings() {
    let mut session = session();
    let printed = run(&mut session, "print embed(\"a dog\")");
    assert_eq!(printed.tensors()[0].shape[..2], [1, 77]);
    run(&mut session, "next 2");
    for condition in [
        "embed(prompt) == prompt_embeds",
        "embed(negative_prompt) == negative_prompt_embeds",
        "embed(\"a dog\") != prompt_embeds",
        "cos(embed(\"a dog\")[0,0,:], prompt_embeds[0,0]) > 0.999",
    ] {
        assert_eq!(
            run(&mut session, &format!("print {condition}")).value(),
            Some(&true.into()),
            "{condition}"
        );
    }
    run(&mut session, "set prompt_embeds[0,2,:] = embed(\"a dog\")[0,2,:]");
    run(&mut session, "set prompt_embeds[0,3:77,:] = embed(\"\")[0,76,:]");
    for condition in [
        "prompt_embeds[0,2] == embed(\"a dog\")[0,2]",
        "prompt_embeds[0,0..2] == embed(prompt)[0,0..2]",
        "prompt_embeds[0,40] == embed(\"\")[0,76]",
        "max_abs(lerp(prompt_embeds, embed(\"a dog\"), 1.0) - embed(\"a dog\")) < 1e-5",
    ] {
        assert_eq!(
            run(&mut session, &format!("print {condition}")).value(),
            Some(&true.into()),
            "{condition}"
        );
    }
    let long = "a ".repeat(90);
    assert!(refused(&mut session, &format!("print embed(\"{long}\")")).contains("longer than 77 tokens"));
    assert!(refused(&mut session, "print embed(latents)").contains("embed wants a text in quotes"));
}

#[test]
fn other_states_and_other_timelines_are_asked_for() {
    let mut session = session();
    run(&mut session, "goto denoise 2");
    for condition in [
        "at(1, \"latents\") == latents",
        "at(0, \"latents\") != latents",
        "at(\"get_latent\", \"latents\").std > 0.5",
        "at(step - 1, \"alpha_prod_t\") == alpha_prod_t",
        "at(0, \"alpha_prod_t\") == alpha_bar(timesteps[0]) && alpha_bar(timesteps[1]) == alpha_prod_t",
        // One step by hand, from what the step before left.
        "max_abs(latents - (sqrt(alpha_prod_t_prev) * pred_original_sample + pred_sample_direction)) < 1e-5",
        "max_abs(at(0, \"latents\") - (sqrt(alpha_prod_t) * pred_original_sample + sqrt(beta_prod_t) * pred_epsilon)) \
         < 1e-4",
        "max_abs((1.0 - latents) - (latents * -1.0 + 1.0)) < 1e-6",
        "clamp(latents, -0.5, 0.5).max <= 0.5 && abs(latents).min >= 0.0",
    ] {
        assert_eq!(
            run(&mut session, &format!("print {condition}")).value(),
            Some(&true.into()),
            "{condition}"
        );
    }
    run(&mut session, "set guidance_scale 1");
    run(&mut session, "fork other at denoise 1");
    run(&mut session, "set guidance_scale 3");
    run(&mut session, "next");
    for condition in [
        "of(\"main\", \"latents\") != latents",
        "of(\"main\", 0, \"latents\") == at(0, \"latents\")",
        "of(\"main\", \"get_latent\", \"latents\") == at(\"get_latent\", \"latents\")",
        "of(\"other\", \"latents\") == latents",
    ] {
        assert_eq!(
            run(&mut session, &format!("print {condition}")).value(),
            Some(&true.into()),
            "{condition}"
        );
    }
    run(&mut session, "set latents = lerp(latents, of(\"main\", \"latents\"), 0.5)");
    for (expression, expected) in [
        ("at(2, \"latents\")", "denoise 2 is not recorded; run it first"),
        ("at(9, \"latents\")", "denoise 9 is not in this run; its steps are 0 to 2"),
        ("at(-1, \"latents\")", "at wants a step, 0 or more"),
        ("at(0, \"image\")", "`image` is not there; expected one of input_ids"),
        ("at(\"denoise\", \"latents\")", "at wants a step, such as 3, or a stage"),
        ("at(0)", "at is called as at(STEP, \"TENSOR\")"),
        ("of(\"nobody\", \"latents\")", "of wants a timeline: \"main\", \"other\""),
        ("alpha_bar(1000)", "alpha_bar wants a timestep from 0 to 999"),
        ("psnr(latents, prompt_embeds)", "expected the same"),
        ("clamp(latents, 1.0, 0.0)", "clamp: 1 to 0 is no range"),
        ("latents[0,4].std", "dimension 1 of the tensor has 4 places; `4` is not among them"),
        ("latents[7]", "`7` is not among them"),
        ("sharpness(latents)", "there is no function `sharpness`; expected one of norm(t)"),
    ] {
        let said = refused(&mut session, &format!("print {expression}"));
        assert!(said.contains(expected), "{expression}: {said}");
    }
}

#[test]
fn a_mistake_that_no_stage_to_come_makes_is_refused() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    for (fault, stage) in [("transposed_latents", "get_latent"), ("nan_in prompt_embeds", "encode_prompt")] {
        let said = refused(&mut session, &format!("set fault {fault}"));
        let expected = format!("{fault} is a mistake of {stage}, which has run; `fork at {stage}` goes back");
        assert!(said.contains(&expected), "{said}");
    }
    // What is said to be right is.
    run(&mut session, "fork at get_latent");
    run(&mut session, "set fault transposed_latents");
    run(&mut session, "switch main");
    // A prompt that was changed is encoded again.
    run(&mut session, "set prompt a dog");
    run(&mut session, "set fault nan_in prompt_embeds");
    run(&mut session, "next");
    assert!(here(&session, "prompt_embeds").iter().any(|value| value.is_nan()));
    run(&mut session, "set fault off");
    run(&mut session, "continue");
    let said = refused(&mut session, "set fault no_denormalize");
    assert!(said.contains("`fork at vae_decode`"), "{said}");
}

#[test]
fn what_was_done_by_hand_is_told_with_what_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let [dump, png] = ["all.safetensors", "image.png"].map(|name| folder.path().join(name));
    let mut session = session();
    for line in
        ["goto denoise 1", "set fault nan_in image", "set latents[0,1] *= 2", "set prompt_embeds += 1"]
    {
        run(&mut session, line);
    }
    run(&mut session, "continue");
    run(&mut session, &format!("save all {}", dump.display()));
    run(&mut session, &format!("save image {}", png.display()));
    let bytes = std::fs::read(dump).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["fault"], "nan_in image");
    assert_eq!(metadata["edits"], "latents[0,1] *= 2\nprompt_embeds += 1");
    let png = String::from_utf8_lossy(&std::fs::read(png).unwrap()).into_owned();
    assert!(png.contains(", Fault: nan_in image, Edits: \"latents[0,1] *= 2; prompt_embeds += 1\", Version"));
}

#[test]
fn a_difference_from_what_is_no_number_is_none() {
    let mut session = session();
    run(&mut session, "continue");
    run(&mut session, "goto denoise 1");
    run(&mut session, "set fault nan_in latents");
    run(&mut session, "next");
    let diff = run(&mut session, "diff main");
    let latents = diff.diffs().iter().find(|row| row.tensor == "denoise.001/latents").unwrap();
    assert!(latents.max_abs.unwrap().is_nan() && latents.relative.unwrap().is_nan(), "{latents:?}");
    for tolerance in ["nan", "-1", "inf", "much"] {
        let said = refused(&mut session, &format!("diff main within {tolerance}"));
        assert!(said.contains(&format!("`{tolerance}` is no relative difference")), "{said}");
    }
}

#[test]
fn a_step_s_numbers_wait_for_a_step() {
    let mut session = session();
    assert!(refused(&mut session, "print alpha_prod_t").contains("is there after a step of denoise"));
    run(&mut session, "continue");
    // The newest, as of tensors.
    let printed = run(&mut session, "print timestep == timesteps[2] && prev_timestep < timestep");
    assert_eq!(printed.value(), Some(&true.into()));
    let help = run(&mut session, "help print").text();
    for part in
        ["embed(\"TEXT\")", "at(STEP, \"TENSOR\")", "alpha_bar(t)", "beta_prod_t", "TENSOR.shape, .dtype"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn a_display_that_has_no_value_says_why() {
    let mut session = session();
    run(&mut session, "goto denoise 0");
    for (expression, expected) in [
        ("image.std", "not there yet"),
        ("timestep", "not there yet"),
        ("pred_original_sample", "not there yet"),
        ("latentz.std", "`latentz` is not there; expected one of"),
        ("latents.std + 1", "these do not go together"),
        ("at(2, \"latents\")", "denoise 2 is not recorded"),
        ("cosine(latents, latents)", "there is no function `cosine`"),
    ] {
        let shown = run(&mut session, &format!("display {expression}")).displays()[0].value.clone();
        assert!(shown.starts_with(expected), "{expression}: {shown}");
    }
}

#[test]
fn every_tensor_of_a_run_is_known_by_its_name() {
    for init_image in ["off", "sample:apple"] {
        let mut session = session();
        run(&mut session, &format!("set init_image {init_image}"));
        run(&mut session, "continue");
        let records = session.timeline().records();
        for (name, _) in records.iter().flat_map(|record| &record.tensors) {
            assert!(tensor_names().any(|known| known == *name), "{name}");
        }
    }
}

#[test]
fn no_line_of_a_file_makes_the_program_panic() {
    for fault in ["worker-panic", "draw-panic"] {
        let said = refused(&mut session(), &format!("set fault {fault}"));
        assert!(said.contains(&format!("`{fault}` is no fault")), "{said}");
    }
}

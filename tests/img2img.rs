//! Runs that start from a picture: the settings, what get_latent makes of it, and every verb on a run without its first steps.

mod program;
mod support;

use candle_core::{DType, Device};
use diffuscope::debugger::{Outcome, Session};
use diffuscope::lesson::playing::Told;
use diffuscope::lesson::problem::Source;
use diffuscope::lesson::{Lesson, Playing};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Models, Request, Stage};
use program::{batch, diffuscope, said};
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use support::checkpoint::checkpoint;

/// The smallest model and picture there are, loaded once: it predicts v.
static MODELS: LazyLock<Arc<Models>> = LazyLock::new(|| {
    let models = Models::load(checkpoint("sd2").source(), Device::Cpu, DType::F32).unwrap();
    Arc::new(models)
});

/// Ten steps; with `strength` they start from a picture.
fn session(strength: Option<&str>) -> Session {
    let native = Request::for_models(&MODELS, "a cat");
    let request = Request { width: 32, height: 32, num_inference_steps: 10, ..native };
    let mut session = Session::new(Arc::clone(&MODELS), request).unwrap();
    if let Some(strength) = strength {
        run(&mut session, "set init_image sample:house");
        run(&mut session, &format!("set strength {strength}"));
    }
    session
}

fn run(session: &mut Session, line: &str) -> Outcome {
    session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap()
}

fn refused(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap_err().to_string()
}

#[track_caller]
fn holds(session: &mut Session, condition: &str) {
    assert_eq!(run(session, &format!("print {condition}")).value, Some(Value::from(true)), "{condition}");
}

fn here(session: &Session, name: &str) -> Vec<f32> {
    let here = session.timeline().here();
    here.tensor(name).unwrap().1.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_run_starts_where_strength_says() {
    let mut session = session(Some("0.6"));
    let told = run(&mut session, "set strength 0.5");
    assert_eq!(told.messages[0], "strength = 0.5");
    assert!(told.messages[1].starts_with("the run starts at denoise 5 of 10"), "{:?}", told.messages);
    run(&mut session, "set strength 0.6");
    let told = run(&mut session, "next 2");
    let names: Vec<&str> = told.tensors.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["init_image", "init_latents", "noise", "latents"]);
    assert_eq!(told.tensors[0].shape, [1, 3, 32, 32]);
    assert_eq!(session.position_name(), "denoise 4");
    holds(&mut session, "step == 4 && init_image.min >= 0.0 && init_image.max <= 1.0");
    holds(
        &mut session,
        "max_abs(latents - (sqrt(alpha_bar(timesteps[step])) * init_latents + sqrt(1.0 - alpha_bar(timesteps[step])) \
         * noise)) < 1e-5",
    );
    run(&mut session, "next");
    holds(&mut session, "step == 5 && timestep == timesteps[4] && alpha_prod_t == alpha_bar(timesteps[4])");
    run(&mut session, "continue");
    let stages: Vec<Stage> = session.timeline().records().iter().map(|record| record.stage).collect();
    let steps = (4..10).map(|step| Stage::Denoise { step });
    let expected: Vec<Stage> =
        [Stage::EncodePrompt, Stage::GetLatent].into_iter().chain(steps).chain([Stage::VaeDecode]).collect();
    assert_eq!(stages, expected);
}

#[test]
fn every_verb_knows_which_steps_there_are() {
    let mut session = session(Some("0.6"));
    for line in ["goto denoise 3", "until denoise 3", "break denoise 3", "tbreak denoise 0"] {
        let said = refused(&mut session, line);
        assert!(said.contains("it starts from a picture at strength 0.6, with denoise 4"), "{line}: {said}");
        assert!(said.contains("expected denoise 4 to 9"), "{line}: {said}");
    }
    assert!(refused(&mut session, "goto denoise 10").contains("expected denoise 4 to 9"));
    run(&mut session, "goto denoise");
    assert_eq!(session.position_name(), "denoise 4");
    run(&mut session, "break denoise 6 if latents.std > 0.0");
    assert!(run(&mut session, "continue").stopped.is_some());
    assert_eq!(session.position_name(), "denoise 6");
    run(&mut session, "back");
    assert_eq!(session.position_name(), "denoise 5");
    run(&mut session, "delete");
    run(&mut session, "goto denoise 9");
    run(&mut session, "next");
    assert_eq!(session.position_name(), "vae_decode");
    assert!(!run(&mut session, "diff @4 @8").messages.is_empty());
    assert!(refused(&mut session, "diff @3 @8").contains("@3 is not recorded"));
    run(&mut session, "fork other at denoise");
    assert_eq!(session.position_name(), "denoise 4");
    run(&mut session, "set guidance_scale 1");
    let tree = run(&mut session, "info timelines").text();
    assert!(
        tree.contains("other: before denoise 4, from main before denoise 4: guidance_scale 7.5 → 1"),
        "{tree}"
    );
    run(&mut session, "goto vae_decode");
    run(&mut session, "fork late at denoise 7");
    assert_eq!(session.position_name(), "denoise 7");
    let swept = run(&mut session, "sweep guidance_scale 3 here-to-end");
    let timelines: Vec<&str> = swept.variants.iter().map(|row| row.timeline.as_str()).collect();
    assert_eq!(timelines, ["late", "guidance_scale@7", "guidance_scale@8", "guidance_scale@9"]);
}

#[test]
fn a_stage_is_stepped_through_line_by_line() {
    let mut session = session(Some("0.5"));
    run(&mut session, "next");
    let mut lines = vec![];
    run(&mut session, "step");
    while let Some(inside) = session.inside() {
        lines.push(inside.line);
        run(&mut session, "next");
    }
    assert_eq!(lines, ["get_latent.encode", "get_latent.randn", "get_latent.add_noise"]);
    assert_eq!(session.position_name(), "denoise 5");
    run(&mut session, "back");
    run(&mut session, "step");
    run(&mut session, "next 2");
    assert_eq!(session.inside().unwrap().line, "get_latent.add_noise");
    holds(&mut session, "noise.std > 0.5 && timestep == timesteps[5] && init_latents.std > 0.0");
    let listed = run(&mut session, "list").text();
    assert!(
        listed.contains('▶') && listed.contains("scheduler.add_noise(init_latents, &noise, t)"),
        "{listed}"
    );
}

#[test]
fn at_strength_zero_the_picture_is_encoded_and_decoded() {
    let mut session = session(Some("0"));
    assert!(refused(&mut session, "goto denoise").contains("this run has no step of denoise"));
    assert!(refused(&mut session, "goto denoise 0").contains("this run has no step of denoise"));
    assert!(refused(&mut session, "until denoise").contains("this run has no step of denoise"));
    run(&mut session, "next 2");
    assert_eq!(session.position_name(), "vae_decode");
    assert_eq!(here(&session, "latents"), here(&session, "init_latents"));
    assert!(session.timeline().here().tensor("noise").is_none());
    run(&mut session, "next");
    assert_eq!(session.position_name(), "complete");
    let psnr = run(&mut session, "print psnr(image, init_image)").value.unwrap();
    assert!(psnr.as_f64().unwrap() > 0.);
    assert!(session.view().unwrap().stages.len() == 3);
}

#[test]
fn at_strength_one_every_step_runs() {
    let mut session = session(Some("1"));
    run(&mut session, "goto denoise");
    assert_eq!(session.position_name(), "denoise 0");
    // Noised almost wholly, and yet not the noise of a run without a picture: the encoder drew first.
    holds(&mut session, "cos(latents, noise) > 0.9 && latents != noise");
}

#[test]
fn a_change_after_get_latent_is_refused_with_the_command_that_would_do_it() {
    let mut session = session(Some("0.6"));
    run(&mut session, "goto denoise");
    for (line, name) in [("set strength 0.3", "strength"), ("set init_image off", "init_image")] {
        let said = refused(&mut session, line);
        assert!(said.contains(&format!("{name} cannot change once get_latent has run")), "{said}");
        assert!(said.contains("`fork at get_latent`") && said.contains(&format!("`{line}`")), "{said}");
    }
    run(&mut session, "fork at get_latent");
    run(&mut session, "set strength 0.3");
    run(&mut session, "next");
    assert_eq!(session.position_name(), "denoise 7");
    run(&mut session, "switch main");
    assert_eq!(session.position_name(), "denoise 4");
}

#[test]
fn strengths_are_compared_lined_up_by_noise_level() {
    let mut session = session(Some("0.5"));
    run(&mut session, "compare strength 0,0.2,0.5,1");
    let stages = |session: &mut Session| {
        let rows = session.variant_rows().unwrap();
        rows.into_iter().map(|row| row.stage).collect::<Vec<_>>()
    };
    // The base is the first, which has no step; the others are what it would wait for.
    assert!(refused(&mut session, "goto denoise 4").contains("this run has no step of denoise"));
    run(&mut session, "compare base strength=1");
    run(&mut session, "goto denoise 4");
    assert_eq!(stages(&mut session), ["get_latent", "get_latent", "get_latent", "denoise.003"]);
    run(&mut session, "goto denoise 6");
    assert_eq!(stages(&mut session), ["get_latent", "get_latent", "denoise.005", "denoise.005"]);
    run(&mut session, "goto vae_decode");
    assert_eq!(stages(&mut session), ["get_latent", "denoise.009", "denoise.009", "denoise.009"]);
    run(&mut session, "continue");
    assert!(stages(&mut session).iter().all(|stage| stage == "vae_decode"));
    // In lockstep as alone: the picture is encoded once for all.
    let alone = {
        let mut alone = self::session(Some("0.2"));
        run(&mut alone, "continue");
        here(&alone, "image")
    };
    run(&mut session, "switch strength=0.2");
    let together = here(&session, "image");
    let off = alone.iter().zip(&together).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(off < 1e-4, "{off}");
}

#[test]
fn pictures_are_compared() {
    let mut session = session(Some("0.5"));
    run(&mut session, "compare init_image sample:house | sample:cat | off");
    run(&mut session, "continue");
    let rows = session.variant_rows().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows[1].difference > Some(0.) && rows[2].difference > Some(0.));
}

#[test]
fn a_nan_in_latents_is_there_at_every_strength() {
    for strength in ["0", "0.5"] {
        let mut session = session(Some(strength));
        run(&mut session, "set fault nan_in latents");
        run(&mut session, "next 2");
        holds(&mut session, "latents.nan > 0");
    }
}

#[test]
fn a_run_is_made_again_by_its_commands() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("made.dbg").display().to_string();
    let dump = folder.path().join("dump.safetensors").display().to_string();
    let picture = folder.path().join("out.png").display().to_string();
    let flags = [
        "--steps",
        "4",
        "--width",
        "64",
        "--height",
        "64",
        "--init-image",
        "sample:cat",
        "--strength",
        "0.5",
    ];
    let made = batch(
        &flags,
        &format!(
            "goto denoise\nset prompt_embeds[0,2..77,:] = embed(\"\")[0,76,:]\ncontinue\nsave timeline {script}\n\
             save all {dump}\nsave image {picture}\nprint image.l2\n"
        ),
    );
    assert_eq!(made[0]["position"], "denoise 2");
    let commands = std::fs::read_to_string(&script).unwrap();
    for line in ["set init_image \"sample:cat\"", "set strength 0.5", "goto denoise 2"] {
        assert!(commands.lines().any(|known| known == line), "{commands}");
    }
    let again = batch(&[], &format!("{commands}print image.l2\n"));
    assert_eq!(made.last().unwrap()["value"], again.last().unwrap()["value"]);

    let bytes = std::fs::read(&dump).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!((metadata["init_image"].as_str(), metadata["strength"].as_str()), ("sample:cat", "0.5"));
    let bytes = std::fs::read(&picture).unwrap();
    let settings = b"Denoising strength: 0.5, Init image: \"sample:cat\"";
    assert!(bytes.windows(settings.len()).any(|part| part == settings));
}

#[test]
fn a_file_is_started_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a drawing.png").display().to_string();
    batch(&["--steps", "1"], &format!("continue\nsave image {file}\n"));
    let flags = ["--steps", "4", "--init-image", file.as_str(), "--strength", "0.5"];
    let told = batch(&flags, "next 2\nprint init_image.max <= 1.0 && init_image.std > 0.0\n");
    assert_eq!(told[1]["value"], true);
    let told = batch(&["--steps", "4"], &format!("set init_image {file}\ninfo request\n"));
    assert_eq!(said(&told[0], 0), format!("init_image = {file}"));
    assert_eq!(told[1]["value"]["init_image"], file.as_str());
}

#[test]
fn what_cannot_be_started_from_is_an_error_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file.display().to_string()
    };
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/lessons/samples/cat.png")).unwrap();
    let mut wide = whole.clone();
    wide[16..20].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    let cases = [
        (write("cut.png", &whole[..whole.len() / 2]), "cut.png: broken"),
        (write("empty.png", b""), "empty.png: an empty file; expected a picture"),
        (write("text.png", b"not a picture"), "text.png: no picture of a known kind; expected a picture"),
        (write("wide.png", &wide), "wide.png"),
        (folder.path().display().to_string(), "a folder; expected a picture"),
        (folder.path().join("none.png").display().to_string(), "none.png: No such file"),
        ("sample:dragon".into(), "there is no sample `dragon`; expected one of apple, cat, house, pizza"),
    ];
    for (file, expected) in cases {
        let ran = diffuscope(&["run", "--init-image", &file], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{file}: {}", ran.stderr);
        assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}", ran.stderr);
    }
    for (strength, expected) in
        [("1.5", "strength is 1.5; expected 0 to 1"), ("NaN", "strength is NaN"), ("-1", "is -1")]
    {
        let ran = diffuscope(&["run", "--strength", strength], "");
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

#[test]
fn a_lesson_starts_from_a_picture() {
    let text = "---\ntitle: Noise\nsummary: On purpose.\nminutes: 1\nsettings:\n  num_inference_steps: 10\n  width: 32\n  height: \
                32\n  init_image: sample:pizza\n  strength: 0.3\n---\n\n```dbg\ngoto denoise\n```\n\n```expect\nstep == 7\n\
                max_abs(at(\"get_latent\", \"latents\") - latents) == 0.0\nembed(prompt) == prompt_embeds\n```\n\n\
                {{ alpha_bar(timesteps[step]) }}\n";
    let lesson = Lesson::read(Source::new("noise.md", text)).unwrap_or_else(|_| panic!("not read"));
    let (mut held, mut wrong) = (0, vec![]);
    Playing::start(&lesson, Arc::clone(&MODELS)).unwrap().play(&mut |told| match told {
        Told::Holds(_) => held += 1,
        Told::Wrong(problem) => wrong.push(problem.report(false)),
        _ => {}
    });
    assert_eq!((held, wrong), (3, vec![]));
    let unknown = text.replace("sample:pizza", "sample:soup");
    let problems = Lesson::read(Source::new("noise.md", unknown)).unwrap_err();
    assert!(problems[0].report(false).contains("there is no sample `soup`"), "{}", problems[0].report(false));
}

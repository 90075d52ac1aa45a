//! Runs that start from a picture: the settings, what get_latent makes of it, and every verb on a run without its first steps.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::models::SD2;
use crate::support::program::{batch, diffuscope, said};
use candle_core::{DType, Device};
use diffuscope::debugger::Outcome;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::view::Viewer;
use diffuscope::lesson::playing::LessonEvent;
use diffuscope::lesson::problem::Source;
use diffuscope::lesson::{Lesson, LessonRunner};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Request, Stage};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage, imageops};
use serde_json::Value;
use std::sync::Arc;

/// Ten steps; with `strength` they start from a picture.
fn session(strength: Option<&str>) -> Session {
    let native = Request::for_models(&SD2, "a cat");
    let request = Request { width: 32, height: 32, num_inference_steps: 10, ..native };
    let mut session = Session::new(Arc::clone(&SD2), request).unwrap();
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
    assert_eq!(run(session, &format!("print {condition}")).value(), Some(&Value::from(true)), "{condition}");
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
    let names: Vec<&str> = told.tensors().iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["init_image", "init_latents", "noise", "latents"]);
    assert_eq!(told.tensors()[0].shape, [1, 3, 32, 32]);
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
    let timelines: Vec<&str> = swept.variants().iter().map(|row| row.timeline.as_str()).collect();
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
        listed.contains('▶') && listed.contains("scheduler.add_noise(init_latents, &noise, t_start)"),
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
    let printed = run(&mut session, "print psnr(image, init_image)");
    let psnr = printed.value().unwrap();
    assert!(psnr.as_f64().unwrap() > 0.);
    assert!(Viewer::default().view(&session).unwrap().stages.len() == 3);
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
        (write("empty.png", b""), "empty.png: an empty file; expected an image"),
        (write("text.png", b"not a picture"), "text.png: not an image of a known format; expected an image"),
        (write("wide.png", &wide), "wide.png"),
        (folder.path().display().to_string(), "a folder; expected an image"),
        (
            folder.path().join("none.png").display().to_string(),
            "none.png: No such file or directory (os error 2); expected a readable file",
        ),
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
    LessonRunner::start(&lesson, Arc::clone(&SD2)).unwrap().play(&mut |told| match told {
        LessonEvent::Holds(_) => held += 1,
        LessonEvent::Problem(problem) => wrong.push(problem.report(false)),
        _ => {}
    });
    assert_eq!((held, wrong), (3, vec![]));
    let unknown = text.replace("sample:pizza", "sample:soup");
    let problems = Lesson::read(Source::new("noise.md", unknown)).unwrap_err();
    assert!(problems[0].report(false).contains("there is no sample `soup`"), "{}", problems[0].report(false));
}

/// A plain picture in a file, which is named as a user would.
fn picture(folder: &tempfile::TempDir, name: &str, width: u32, height: u32) -> String {
    let file = folder.path().join(name);
    RgbImage::from_pixel(width, height, Rgb([9, 99, 200])).save(&file).unwrap();
    file.display().to_string()
}

/// The size that `run` made a picture in, and what it said.
fn size_of_run(flags: &[&str]) -> ([u32; 2], String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.png").display().to_string();
    let ran = diffuscope(&[&["run", "--steps", "2", "--strength", "0.5", "-o", &out], flags].concat(), "");
    assert_eq!(ran.code, Some(0), "{flags:?}: {}", ran.stderr);
    let (width, height) = image::image_dimensions(&out).unwrap();
    ([width, height], ran.stderr)
}

/// diffusers' pipeline takes the picture's own size, down to a multiple of eight.
#[test]
fn without_a_size_the_pictures_own_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let wide = picture(&folder, "wide.png", 192, 128);
    let (size, told) = size_of_run(&["--init-image", &wide]);
    assert_eq!((size, told.lines().count()), ([192, 128], 1), "{told}");
    assert!(told.contains("192×128 pixels, the size of wide.png"), "{told}");

    let ragged = picture(&folder, "ragged.png", 135, 71);
    let (size, told) = size_of_run(&["--init-image", &ragged]);
    assert_eq!(size, [128, 64]);
    assert!(told.contains("128×64 pixels, the size of ragged.png (135×71) in multiples of 8"), "{told}");

    // A drawing in the model's own size is nothing to speak of, but for the line itself.
    let (size, told) = size_of_run(&["--init-image", "sample:apple"]);
    assert_eq!((size, told.lines().count()), ([128, 128], 1), "{told}");
    assert!(told.contains("128×128 pixels, the size of sample:apple"), "{told}");

    let tiny = picture(&folder, "tiny.png", 7, 40);
    let ran = diffuscope(&["run", "--init-image", &tiny], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("7×40 pixels; expected at least 8×8"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--width") && ran.stderr.contains("--height"), "{}", ran.stderr);
}

#[test]
fn a_given_side_takes_the_place_of_one_that_is_too_small() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = picture(&folder, "tiny.png", 7, 40);
    let (size, _) = size_of_run(&["--init-image", &tiny, "--width", "64"]);
    assert_eq!(size, [64, 40]);
    let ran = diffuscope(&["run", "--init-image", &tiny, "--height", "64"], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("7×40 pixels; expected at least 8×8"), "{}", ran.stderr);
    let flat = picture(&folder, "flat.png", 40, 1);
    assert_eq!(size_of_run(&["--init-image", &flat, "--height", "64"]).0, [40, 64]);
}

#[test]
fn a_refused_size_is_told_alone() {
    let folder = tempfile::tempdir().unwrap();
    let wide = picture(&folder, "wide.png", 192, 128);
    for command in ["run", "debug"] {
        let mut flags = vec![command, "--init-image", &wide, "--width", "63"];
        if command == "debug" {
            flags.extend(["--batch", "-x", "-"]);
        }
        let ran = diffuscope(&flags, "next\n");
        assert!(ran.stderr.contains("width is 63; expected a multiple of 8"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("is resized"), "{}", ran.stderr);
    }
}

#[test]
fn compared_sizes_are_not_told_as_the_pictures_own() {
    let folder = tempfile::tempdir().unwrap();
    let wide = picture(&folder, "wide.png", 192, 128);
    let compare = |axis: &[&str]| {
        let flags = ["--init-image", &wide, "--steps", "1", "--strength", "1", "--json"];
        let ran = diffuscope(&[&["compare"], axis, &flags].concat(), "");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let told = compare(&["width", "64,96", "by", "height", "32,64"]);
    assert!(!told.contains("192×128 pixels"), "{told}");
    assert!(told.contains("64×32"), "{told}");
    assert!(compare(&["seed", "1,2"]).contains("192×128 pixels, the size of wide.png"));
}

/// The picture's own size is too large, and a session has no flags.
#[test]
fn a_session_names_its_own_commands_for_a_size_that_fits() {
    let said = {
        let mut session = session(None);
        refused(&mut session, "set height 8000000")
    };
    assert!(!said.contains("--"), "{said}");
    assert!(said.contains("`set height"), "{said}");
}

/// One fault has one wording, whatever the format.
#[test]
fn a_truncated_picture_is_told_alike() {
    let folder = tempfile::tempdir().unwrap();
    let picture = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/lessons/samples/cat.png")).unwrap();
    for name in ["cut.png", "cut.jpg", "cut.gif", "cut.webp"] {
        let file = folder.path().join(name);
        picture.to_rgb8().save(&file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        for length in [bytes.len() / 2, bytes.len() * 3 / 4] {
            std::fs::write(&file, &bytes[..length]).unwrap();
            let ran = diffuscope(&["run", "--init-image", file.to_str().unwrap()], "");
            let expected = format!("{name}: broken: the file is truncated");
            assert!(ran.stderr.contains(&expected), "{length}: {}", ran.stderr);
        }
    }
}

#[test]
fn diff_says_why_two_sides_do_not_fit() {
    let mut session = session(None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.st.safetensors").display().to_string();
    run(&mut session, "set num_inference_steps 2");
    run(&mut session, "continue");
    let dump = std::collections::HashMap::from([(
        "denoise.000/latents".to_string(),
        candle_core::Tensor::zeros((1, 4, 2, 2), DType::F32, &Device::Cpu).unwrap(),
    )]);
    candle_core::safetensors::save(&dump, &file).unwrap();
    let said = refused(&mut session, &format!("diff @1 {file}"));
    assert!(said.contains("@1 is a single state"), "{said}");
    assert!(!said.contains("expected runs of this program, or dumps"), "{said}");
    let png = picture(&folder, "j.png", 16, 16);
    let said = refused(&mut session, &format!("diff {png} main"));
    assert!(said.contains("j.png: not a safetensors file"), "{said}");
}

#[test]
fn a_size_of_another_shape_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let wide = picture(&folder, "wide.png", 192, 128);
    let (size, told) = size_of_run(&["--init-image", &wide, "--width", "128", "--height", "128"]);
    assert_eq!((size, told.lines().count()), ([128, 128], 1), "{told}");
    assert!(told.contains("wide.png (192×128) is resized to 128×128: its aspect ratio changes"), "{told}");
    // The same shape smaller is what was asked for.
    let (size, told) = size_of_run(&["--init-image", &wide, "--width", "96", "--height", "64"]);
    assert_eq!((size, told.as_str()), ([96, 64], ""));
    // A side that is not given is the picture's, as VaeImageProcessor has it.
    let (size, told) = size_of_run(&["--init-image", &wide, "--width", "64"]);
    assert_eq!(size, [64, 128]);
    assert!(told.contains("wide.png (192×128) is resized to 64×128: its aspect ratio changes"), "{told}");
}

#[test]
fn the_orientation_of_a_cameras_picture_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = RgbImage::from_fn(64, 32, |x, _| Rgb(if x < 32 { [250, 10, 10] } else { [10, 10, 250] }));
    // What PIL's `exif_transpose` makes of orientation 6, turned clockwise, and of 3, upside down.
    for (orientation, size, top_is_red) in
        [(1u8, [64, 32], None), (6, [32, 64], Some(true)), (8, [32, 64], Some(false))]
    {
        let file = folder.path().join(format!("{orientation}.jpg"));
        let mut encoder = JpegEncoder::new_with_quality(std::fs::File::create(&file).unwrap(), 95);
        // A TIFF header and one entry: tag 0x0112, a short.
        let exif =
            [b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], b"\0\0\0\0\0\0"]
                .concat();
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&pixels, 64, 32, ExtendedColorType::Rgb8).unwrap();
        let file = file.display().to_string();
        let (made, told) = size_of_run(&["--init-image", &file]);
        assert_eq!(made, size, "orientation {orientation}: {told}");
        if let Some(top_is_red) = top_is_red {
            let told = batch(&["--init-image", &file], "next 2\nprint init_image[0,0,0..8,:].mean > 0.5\n");
            assert_eq!(told[1]["value"], top_is_red, "orientation {orientation}");
        }
    }
}

#[test]
fn a_session_keeps_its_size_and_says_what_becomes_of_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (wide, square) = (picture(&folder, "wide.png", 192, 128), picture(&folder, "square.png", 256, 256));
    let mut session = session(None);
    let told = run(&mut session, &format!("set init_image {wide}")).text();
    assert!(told.contains("wide.png (192×128) is resized to 32×32: its aspect ratio changes"), "{told}");
    assert!(told.contains("the run keeps its size"), "{told}");
    let told = run(&mut session, &format!("set init_image {square}")).text();
    assert!(told.contains("square.png (256×256) is resized to 32×32; the run keeps its size"), "{told}");
    let told = run(&mut session, "set width 64").text();
    assert!(told.contains("square.png (256×256) is resized to 64×32: its aspect ratio changes"), "{told}");
    let small = picture(&folder, "small.png", 64, 32);
    let told = run(&mut session, &format!("set init_image {small}")).text();
    assert!(!told.contains("resized"), "{told}");
    // Begun from a picture, it has the picture's size.
    let begun = batch(&["--steps", "4", "--init-image", &wide], "info request\n");
    assert_eq!((&begun[0]["value"]["width"], &begun[0]["value"]["height"]), (&192.into(), &128.into()));
}

#[test]
fn compared_pictures_are_brought_to_the_size_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (wide, tall) = (picture(&folder, "wide.png", 192, 128), picture(&folder, "tall.png", 64, 128));
    let mut session = session(Some("0.5"));
    let told = run(&mut session, &format!("compare init_image {wide} | {tall} | sample:cat | off")).text();
    assert!(told.contains("wide.png (192×128) is resized to 32×32: its aspect ratio changes"), "{told}");
    assert!(told.contains("tall.png (64×128) is resized to 32×32: its aspect ratio changes"), "{told}");
    run(&mut session, "continue");
    assert_eq!(session.variant_rows().unwrap().len(), 4);

    let sheet = folder.path().join("sheet.png").display().to_string();
    let small = ["--steps", "1", "--width", "32", "--height", "32"];
    let ran = diffuscope(&[&["compare", "init_image", &wide, &tall, "-o", &sheet], &small[..]].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("tall.png (64×128) is resized to 32×32: its aspect ratio changes"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_picture_that_is_too_large_names_the_size_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let huge = picture(&folder, "huge.png", 8192, 4096);
    let ran = diffuscope(&["run", "--init-image", &huge], "");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let told = ran.stderr.lines().last().unwrap();
    assert!(told.contains("error: 8192×4096 pixels need about"), "{told}");
    let (_, flags) = told.split_once("such as --width ").unwrap_or_else(|| panic!("{told}"));
    let numbers: Vec<usize> = flags
        .split(|c: char| !c.is_ascii_digit())
        .filter(|n| !n.is_empty())
        .take(2)
        .map(|n| n.parse().unwrap())
        .collect();
    let [width, height] = numbers[..] else { panic!("{told}") };
    assert_eq!((width % 8, height % 8), (0, 0), "{told}");
    assert!(width.abs_diff(2 * height) <= 16 && width >= 256, "{told}");
}

#[test]
fn a_picture_much_larger_than_the_model_is_warned_of_with_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let large = picture(&folder, "large.png", 264, 64);
    let (size, told) = size_of_run(&["--init-image", &large]);
    assert_eq!(size, [264, 64]);
    let warning = told.lines().find(|line| line.starts_with("warning: ")).unwrap_or_else(|| panic!("{told}"));
    assert!(warning.contains("264×64 is more than twice the model's own 128×128"), "{told}");
    assert!(warning.contains("about ") && warning.contains(" s"), "{told}");
    // Who gives a size means it.
    let (_, told) = size_of_run(&["--init-image", &large, "--width", "264", "--height", "64"]);
    assert_eq!(told, "");
}

/// Against `StableDiffusionImg2ImgPipeline`, with the flags of a user.
#[test]
fn a_wide_picture_is_diffusers() {
    let fixture = Fixture::open("pocket_img2img_wide");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (start, out, dump) = (file("start.png"), file("out.png"), file("out.safetensors"));
    let samples: Vec<RgbImage> = fixture
        .setting("samples")
        .split(' ')
        .map(|name| {
            let sample = format!("{}/lessons/samples/{name}.png", env!("CARGO_MANIFEST_DIR"));
            image::open(sample).unwrap().into_rgb8()
        })
        .collect();
    let mut wide = RgbImage::new(192, 128);
    imageops::replace(&mut wide, &samples[0], 0, 0);
    imageops::replace(&mut wide, &imageops::crop_imm(&samples[1], 0, 0, 64, 128).to_image(), 128, 0);
    wide.save(&start).unwrap();

    let set = |name: &str| fixture.setting(name);
    let ran = diffuscope(
        &[
            "run",
            "--init-image",
            &start,
            "--prompt",
            set("prompt"),
            "--strength",
            set("strength"),
            "--steps",
            set("num_inference_steps"),
            "--seed",
            set("seed"),
            "-o",
            &out,
            "--dump",
            &dump,
        ],
        "",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ours = candle_core::safetensors::load(&dump, &Device::Cpu).unwrap();
    let mut run = Differences::default();
    run.note(&ours["get_latent/init_latents"], fixture.tensor("init_latents"), "init_latents");
    run.note(&ours["denoise.009/latents"], fixture.tensor("denoise.009/latents"), "latents");
    run.assert_within(1e-3);
    let picture = image::open(&out).unwrap().into_rgb8();
    assert_eq!(fixture.shape("image"), [128, 192, 3]);
    let theirs: Vec<u8> = fixture.tensor("image").flatten_all().unwrap().to_vec1().unwrap();
    let off = picture.as_raw().iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(2), "a pixel is off by {off:?}");
}

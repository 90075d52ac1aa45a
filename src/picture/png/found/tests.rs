use super::super::record::KEYWORD;
use super::super::{encode, parameters};
use super::*;
use crate::model::prompt_syntax::PromptSyntax;
use crate::pipeline::{InitImage, Seed};
use crate::scheduler::SchedulerChoice;
use image::RgbImage;
use proptest::prelude::*;

fn never(_: &str) -> bool {
    false
}

fn of(text: &str) -> Found {
    parameters::found(text, &never).unwrap()
}

fn request_of(found: &Found) -> Request {
    let mut request = Request::default();
    found.apply(false, &mut request).unwrap();
    request
}

fn left(found: &Found, words: &str) -> bool {
    found.left.iter().any(|line| line.contains(words))
}

/// As version 1.10 of the web interface writes a picture of text to image.
const PLAIN: &str = "a wooden boat, calm lake\nmorning mist\nNegative prompt: people\nSteps: 24, Sampler: DPM++ 2M, Schedule type: \
    Karras, CFG scale: 6.5, Seed: 8093145, Size: 512x768, Model hash: 0a1b2c3d4e, Model: lakes_v2, Clip skip: 2, RNG: CPU, \
    Version: v1.10.1";

#[test]
fn the_web_interfaces_text_gives_its_settings() {
    let found = of(PLAIN);
    assert_eq!((found.source, found.source.prompt_syntax()), (Source::A1111, Some("a1111")));
    let request = request_of(&found);
    assert_eq!(request.prompt_syntax, PromptSyntax::A1111);
    assert_eq!(request.prompt, "a wooden boat, calm lake\nmorning mist");
    assert_eq!(request.negative_prompt, "people");
    assert_eq!((request.num_inference_steps, request.guidance_scale), (24, 6.5));
    assert_eq!((request.width, request.height, request.seed), (512, 768, 8_093_145.into()));
    assert_eq!((request.scheduler.name().as_str(), request.clip_skip), ("dpm++2m-karras", 1));
    let model = NamedModel { name: "lakes_v2".into(), hash: "0a1b2c3d4e".into() };
    assert_eq!(found.model, Some(model));
    assert_eq!(found.left, Vec::<String>::new());
    let expected = "prompt, negative_prompt, prompt_syntax, clip_skip, height, width, num_inference_steps, guidance_scale, seed, scheduler";
    assert_eq!(found.taken().join(", "), expected);
}

/// A line of settings with these pairs after those that every text has, and what is noted: a line for each, in order.
#[test]
fn what_cannot_be_taken_is_noted() {
    let noise = "the noise: drawn on the GPU";
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        ("", &[noise]),
        ("RNG: GPU", &[noise]),
        ("RNG: NV", &["the noise: drawn as a GPU draws it (`RNG: NV`)"]),
        ("RNG: CPU", &[]),
        ("RNG: CPU, Version: v1.9.0, User: me, Batch size: 4, Batch pos: 1", &[]),
        ("RNG: CPU, Variation seed: 9, Variation seed strength: 0.3",
            &["Variation seed: 9: there is no such setting", "Variation seed strength: 0.3: "]),
        ("RNG: CPU, Denoising strength: 0.45", &["Denoising strength: 0.45: the picture that it started from"]),
        ("RNG: CPU, Denoising strength: 0.45, Hires upscale: 1.5, Hires upscaler: Latent",
            &["Denoising strength: 0.45, Hires upscale: 1.5, Hires upscaler: Latent: there is no second pass"]),
        ("RNG: CPU, VAE: kl.safetensors, VAE hash: 1234", &["VAE: kl.safetensors: its file is not"]),
        ("RNG: CPU, ENSD: 31337", &["ENSD: 31337: there is no such setting"]),
        ("RNG: CPU, TI hashes: \"neat: 01\"", &["textual inversion neat: its file"]),
        ("RNG: CPU, Schedule type: KL Optimal", &["Schedule type: KL Optimal: there is no such scheduler"]),
        ("RNG: CPU, Sampler: DPM++ SDE", &["Sampler: DPM++ SDE: there is no such scheduler"]),
        ("RNG: CPU, Sampler: Restart, Schedule type: Karras", &["Sampler: Restart: there is no such scheduler"]),
        ("RNG: CPU, Sampler: Euler a, Schedule type: Karras",
            &["Schedule type: EulerAncestralDiscreteScheduler has no `use_karras_sigmas`"]),
        ("RNG: CPU, Sampler: DPM++ 2M SDE", &["the noise of the steps: dpm++2m-sde draws it otherwise"]),
        ("RNG: CPU, Size: 513x64", &["Size 513x64: expected multiples of 8"]),
        ("RNG: CPU, Seed: -1", &["Seed: -1: it means a random seed"]),
        ("RNG: CPU, Eta: 0.5", &["Eta: 0.5: the schedulers with new noise have eta 1"]),
        ("RNG: CPU, Tiling: True", &["Tiling: True: there is no such setting"]),
    ];
    for (pairs, expected) in rows {
        let found =
            of(&format!("a boat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64, {pairs}"));
        assert_eq!(found.left.len(), expected.len(), "{pairs}: {:?}", found.left);
        for (line, words) in found.left.iter().zip(*expected) {
            assert!(line.starts_with(words), "{pairs}: {line}");
        }
        assert_eq!(found.has("width"), !pairs.contains("513"), "{pairs}");
        assert_eq!(found.has("seed"), !pairs.contains("-1"), "{pairs}");
    }
}

#[test]
fn a_schedule_type_is_an_argument_of_the_scheduler() {
    for (pairs, name, argument, value) in [
        ("Sampler: Euler a", "euler-a", "timestep_spacing", "linspace"),
        ("Sampler: Euler, Schedule type: Automatic", "euler", "timestep_spacing", "linspace"),
        ("Sampler: Euler, Schedule type: Normal", "euler", "timestep_spacing", "linspace"),
        ("Sampler: Euler, Schedule type: SGM Uniform", "euler", "timestep_spacing", "trailing"),
        ("Sampler: Heun, Schedule type: Simple", "heun", "timestep_spacing", "trailing"),
        ("Sampler: Euler, Schedule type: DDIM", "euler", "timestep_spacing", "leading"),
        ("Sampler: DDIM", "ddim", "timestep_spacing", "leading"),
        ("Sampler: LMS Karras", "lms-karras", "use_karras_sigmas", "true"),
        ("Sampler: DPM++ 2M", "dpm++2m-karras", "use_karras_sigmas", "true"),
        ("Sampler: DPM++ 2M, Schedule type: Uniform", "dpm++2m", "use_karras_sigmas", "false"),
        ("Sampler: DPM++ 3M SDE", "dpm++3m-sde", "use_exponential_sigmas", "true"),
        ("Sampler: DPM++ 2M, Schedule type: Beta", "dpm++2m", "use_beta_sigmas", "true"),
    ] {
        let request = request_of(&of(&format!("a boat\nSteps: 20, Seed: 5, {pairs}")));
        let scheduler = &request.scheduler;
        assert_eq!(
            (scheduler.name().as_str(), scheduler.argument(argument).as_str()),
            (name, value),
            "{pairs}"
        );
    }
}

#[test]
fn prompts_keep_their_lines_and_a_short_last_line() {
    for (text, prompt, negative) in [
        ("one\ntwo: 3, Seed: 4", "one\ntwo: 3, Seed: 4", ""),
        ("one\nNegative prompt: two\nthree\nSteps: 2, Seed: 3, Size: 64x64", "one", "two\nthree"),
        ("Negative prompt: two\nSteps: 2, Seed: 3, Size: 64x64", "", "two"),
        ("Steps: 2, Seed: 3, Size: 64x64", "", ""),
        ("\u{e9}t\u{e9} 林檎", "\u{e9}t\u{e9} 林檎", ""),
    ] {
        let request = request_of(&of(text));
        assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), (prompt, negative), "{text}");
    }
}

#[test]
fn weights_and_loras_of_prompts_are_taken() {
    let noted = |prompt: &str| {
        let found = of(&format!("{prompt}\nSteps: 2, Seed: 3, RNG: CPU"));
        found.left.join("\n")
    };
    for prompt in ["a (red:1.2) cat", "[cat]", "a BREAK b", "a cat \\(animal\\)", "a cat"] {
        assert_eq!(noted(prompt), "", "{prompt}");
    }
    let loras = |text: &str| -> Vec<(String, f64)> {
        let found = of(text);
        assert_eq!(found.left, Vec::<String>::new(), "{text}");
        found.loras.into_iter().map(|lora| (lora.name, lora.scale)).collect()
    };
    let named = |name: &str, scale| (name.to_string(), scale);
    let end = "\nSteps: 2, Seed: 3, RNG: CPU";
    assert_eq!(loras(&format!("x <lora:ink:0.7> y{end}")), [named("ink", 0.7)]);
    assert_eq!(loras(&format!("<lora:ink> <lora:oil{end}")), [named("ink", 1.)]);
    assert_eq!(
        loras(&format!("<lora:ink wash:0.7>{end}, Lora hashes: \"ink wash: 1\"")),
        [named("ink_wash", 0.7)]
    );
    let hashes = of(&format!("x{end}, Lora hashes: \"ink: 01, oil: 02\""));
    assert_eq!((hashes.loras.len(), hashes.left.len()), (0, 2), "{:?}", hashes.left);
    assert!(hashes.left[0].starts_with("LoRA ink: the picture has the hash of its file"));
    assert_eq!(loras(&format!("{}{end}", "<lora:a:1>".repeat(1000))).len(), 1);
    assert_eq!(noted("<lora:ink:big>"), "LoRA ink: its scale is no number");
}

#[test]
fn given_settings_are_not_read() {
    let given = |name: &str| ["seed", "scheduler", "width", "height", "init_image"].contains(&name);
    let text = "a\nSteps: 4, Sampler: Nonsense, Seed: x, Size: 1x1, Denoising strength: 0.5";
    let found = parameters::found(text, &given).unwrap();
    assert_eq!(found.taken().join(", "), "prompt, prompt_syntax, num_inference_steps");
    assert!(found.has("strength") && found.left.is_empty(), "{:?}", found.left);
}

#[test]
fn a_value_that_is_none_names_its_key() {
    for (pairs, expected) in [
        (
            "Steps: -1",
            "AUTOMATIC1111's parameters: `Steps`: cannot be `-1`; expected a number of steps; `--steps`",
        ),
        ("Steps: 1e9", "`Steps`: cannot be `1e9`"),
        ("Steps: ", "`Steps`: cannot be ``"),
        ("Seed: 18446744073709551616", "`Seed`: cannot be `18446744073709551616`"),
        ("Seed: NaN", "`Seed`: cannot be `NaN`"),
        ("CFG scale: seven", "`CFG scale`: cannot be `seven`"),
        ("Size: 512", "`Size`: cannot be ``; expected a number of pixels"),
        ("Size: -8x8", "`Size`: cannot be `-8`"),
        ("Clip skip: two", "`Clip skip`: cannot be `two`"),
        ("Eta DDIM: x", "`Eta DDIM`: cannot be `x`"),
    ] {
        let error = parameters::found(&format!("a\n{pairs}, Model: m, Tiling: True"), &never).unwrap_err();
        assert!(error.to_string().contains(expected), "{pairs}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn this_programs_chunk_comes_first() {
    let request = Request { prompt: "ours".into(), seed: 3.into(), ..Request::default() };
    let record = RunRecord::new(&request, &["latents = 0".into()], "pocket", Some("latents"));
    let json = record.to_json();
    let with =
        |texts: &[(&'static str, String)]| Found::read(&encode(&RgbImage::new(1, 1), texts).unwrap(), &never);
    let parameters = ("parameters", PLAIN.to_string());
    let found = with(&[parameters.clone(), (KEYWORD, json)]).unwrap();
    assert_eq!((found.source, request_of(&found)), (Source::Own, request));
    assert!(left(&found, "edits: latents = 0: ") && left(&found, "the picture shows latents: "));
    assert_eq!(with(&[("prompt", "{".into()), parameters]).unwrap().source, Source::A1111);
    for (texts, expected) in [
        (vec![], "no settings: it has no text chunk; expected"),
        (vec![("Title", "x".into())], "no settings: its text chunks are Title;"),
        (vec![("parameters", " \n".into())], "no settings: its text chunk `parameters` is empty"),
        (vec![("prompt", String::new())], "no settings: its text chunk `prompt` is empty"),
        (
            vec![(KEYWORD, "{}".into()), ("parameters", PLAIN.into())],
            "the text chunk `diffuscope`: missing field",
        ),
    ] {
        let error = with(&texts).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

/// What the scheduler's arguments say about the training is the checkpoint's.
#[test]
fn another_model_keeps_its_own_arguments() {
    let euler = SchedulerChoice::default().named("euler-karras").unwrap();
    let values = [("prediction_type", "v_prediction"), ("beta_end", "0.5"), ("timestep_spacing", "trailing")];
    let values = values.into_iter().map(|(name, value)| (name, value.to_string()));
    let scheduler = euler.with_config(euler.config().with_all(values).unwrap());
    let record = RunRecord::new(&Request { scheduler, ..Request::default() }, &[], "other", None);
    let bytes = encode(&RgbImage::new(1, 1), &[(KEYWORD, record.to_json())]).unwrap();
    let found = Found::read(&bytes, &never).unwrap();
    let applied = |same| {
        let mut request = Request::default();
        found.apply(same, &mut request).unwrap();
        ["prediction_type", "beta_end", "timestep_spacing", "use_karras_sigmas"]
            .map(|name| request.scheduler.argument(name))
    };
    assert_eq!(applied(true), ["v_prediction", "0.5", "trailing", "true"]);
    assert_eq!(applied(false), ["epsilon", "0.02", "trailing", "true"]);
}

/// Settings that the chunk `parameters` can hold.
fn requests() -> impl Strategy<Value = Request> {
    let names = ["ddim", "ddpm", "pndm", "euler", "euler-karras", "euler-a", "heun", "lms-karras", "lcm"];
    let others =
        ["dpm++2m", "dpm++2m-karras", "dpm++3m", "dpm++2m-sde", "dpm++2m-sde-heun", "dpm++3m-sde", "unipc"];
    let schedulers = proptest::sample::select([&names[..], &others[..]].concat());
    let spacings = proptest::sample::select(vec!["leading", "linspace", "trailing"]);
    let lines = || "[a-zé(<][a-z, é林():1.2<>]{0,20}[a-z]";
    let numbers = (1usize..200, 1usize..100, 1usize..100, 0usize..12, 0f64..30., 0f64..1., 0f64..1.);
    let pictures = proptest::option::of(proptest::sample::select(InitImage::samples().to_vec()));
    (lines(), proptest::option::of(lines()), Seed::MIN..=Seed::MAX, numbers, (schedulers, spacings), pictures)
        .prop_map(|(prompt, negative, seed, numbers, (name, spacing), picture)| {
            let (steps, width, height, clip_skip, guidance_scale, eta, strength) = numbers;
            let scheduler = SchedulerChoice::default().named(name).unwrap();
            let has_type = ScheduleType::of(scheduler.config()).is_some() && !name.ends_with("-karras");
            let spacing = if has_type { spacing } else { "leading" };
            let config = match scheduler.config().with("timestep_spacing", spacing) {
                Ok(config) if has_type => config,
                _ => scheduler.config().clone(),
            };
            let eta = if name == "ddim" { eta } else { 0. };
            let strength = if picture.is_some() { strength } else { 0.8 };
            Request {
                prompt,
                negative_prompt: negative.unwrap_or_default(),
                clip_skip,
                height: height * 8,
                width: width * 8,
                num_inference_steps: steps,
                guidance_scale,
                seed: seed.try_into().unwrap(),
                eta,
                scheduler: scheduler.with_config(config),
                loras: vec![],
                prompt_syntax: PromptSyntax::Plain,
                init_image: picture.map(|name| InitImage::open(&format!("sample:{name}")).unwrap()),
                strength,
                fault: None,
            }
        })
}

proptest! {
    /// Seed −1 comes back as 2^64 − 1, which draws the same noise.
    #[test]
    fn parameters_read_back(request in requests()) {
        let record = RunRecord::new(&request, &[], "pocket", None);
        let found = of(&parameters::written(&record));
        prop_assert_eq!(found.source, Source::OwnParameters);
        prop_assert_eq!(&found.left, &Vec::<String>::new());
        let read = request_of(&found);
        let seed = if request.seed == (-1).into() { read.seed } else { request.seed };
        prop_assert_eq!(read.seed.folded(), request.seed.folded());
        prop_assert_eq!(read, Request { seed, ..request });
    }

    #[test]
    fn no_parameters_panic(text in "\\PC{0,20}\n(Seed: |Size: [0-9]{0,3}x|Sampler: (DDIM|Euler a)?|Steps: [0-9]|, |\"|<lora:|:|é){0,12}") {
        let _ = parameters::found(&text, &never);
    }

    #[test]
    fn no_changed_byte_panics(at in 0usize..2000, byte in any::<u8>()) {
        let record = RunRecord::new(&Request::default(), &[], "pocket", None);
        let texts = [("parameters", PLAIN.into()), (KEYWORD, record.to_json())];
        let mut bytes = encode(&RgbImage::new(1, 1), &texts).unwrap();
        let place = at % bytes.len();
        bytes[place] = byte;
        let _ = Found::read(&bytes, &never);
    }
}

#[test]
fn a_cut_file_is_named_at_every_byte() {
    let bytes = encode(&RgbImage::new(1, 1), &[("parameters", PLAIN.into())]).unwrap();
    for end in 1..bytes.len() {
        let error = Found::read(&bytes[..end], &never).unwrap_err().to_string();
        assert_eq!(error, "broken: the file is truncated; expected a whole PNG", "{end} bytes");
    }
    assert!(Found::read(&[], &never).unwrap_err().to_string().starts_with("an empty file; expected a PNG"));
}

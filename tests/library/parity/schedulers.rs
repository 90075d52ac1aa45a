//! Ten schedulers against diffusers': timesteps and sigmas of every number of steps, sequences of steps, and whole runs.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::checkpoint;
use crate::support::fixture::json;
use crate::support::formula::fnv1a;
use candle_core::{DType, Device, Tensor};
use diffuscope::nn::{ConfigFile, Unwatched};
use diffuscope::pipeline::{InitImage, Models, Request, Snapshot, advance};
use diffuscope::scheduler::class::unchecked;
use diffuscope::scheduler::{
    Class, History, ScheduleError, Scheduler, SchedulerChoice, SchedulerConfig, StepInput, betas, scheduler,
};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// Float timesteps and sigmas, relative.
const GRID: f64 = 2e-6;
/// A step in `f32`.
const STEP: f64 = 1e-5;
/// Latents of a whole run.
const RUN: f64 = 1e-3;
/// A pixel of the picture, in 255ths.
const PIXEL: f32 = 2.;

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_else(|| panic!("{key}: {case}"))
}

fn numbers(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The numbers in a list of `[first, last]`.
fn ranges(value: &Value) -> HashSet<usize> {
    let ranges: Vec<[usize; 2]> = serde_json::from_value(value.clone()).unwrap_or_default();
    ranges.into_iter().flat_map(|[first, last]| first..=last).collect()
}

fn config(case: &Value) -> Result<SchedulerConfig, String> {
    let class = Class::of_name(text(case, "class")).unwrap();
    let file = ConfigFile::parse("scheduler_config.json", case["config"].to_string().as_bytes()).unwrap();
    SchedulerConfig::read(&file, class).map_err(|e| e.to_string())
}

#[track_caller]
fn assert_near(ours: f64, theirs: f64, what: &str) {
    // torch's `f32` root is not correctly rounded, and rescaling takes a root of every ᾱ: see `parity::scheduler`.
    let grid = if what.contains("zero_snr") { 1e-5 } else { GRID };
    // An absolute bound only counts for timesteps around 0.
    let bound = grid * theirs.abs().max(2e-2);
    assert!((ours - theirs).abs() <= bound, "{what}: {ours}, diffusers {theirs}");
}

/// Timesteps and sigmas: all values of some numbers of steps, hashes and sums of all from 1 to 1001; and refusals of what
/// diffusers refuses, or runs and cannot mean.
#[test]
fn schedules_of_every_number_of_steps() {
    let (all, fixture) = (json("schedules"), Fixture::open("schedules"));
    let counts = |key: &str| numbers(&all["numbers"][key]);
    let (stored, summed) = (counts("stored"), counts("summed"));
    let cases = all["cases"].as_array().unwrap();
    assert!(cases.len() > 90);
    for case in cases {
        let name = text(case, "name");
        let config = config(case).unwrap();
        let refused = case["refused"].as_object().unwrap();
        let mut bad = ranges(&case["raises"]);
        bad.extend(refused.values().flat_map(ranges));
        let of_class = |n: usize| scheduler(&config, n, 0.);
        let timesteps = |key: &str| fixture.has(key).then(|| fixture.f32(key));
        let (their_timesteps, their_sigmas) =
            (timesteps(&format!("{name}/timesteps")), timesteps(&format!("{name}/sigmas")));
        let init_noise_sigma = timesteps(&format!("{name}/init_noise_sigma"));
        let sums = [timesteps(&format!("{name}/sum_timesteps")), timesteps(&format!("{name}/sum_sigmas"))];
        let lengths: Vec<[usize; 2]> = serde_json::from_value(case["lengths"].clone()).unwrap();
        let (mut at_timestep, mut at_sigma) = (0, 0);
        for (place, (n, [of_timesteps, of_sigmas])) in stored.iter().zip(lengths).enumerate() {
            let what = format!("{name}, {n} steps");
            let ours = of_class(*n);
            if bad.contains(n) {
                assert!(ours.is_err(), "{what} is accepted");
            } else if let Ok(ours) = ours {
                let theirs = &their_timesteps.as_ref().unwrap()[at_timestep..at_timestep + of_timesteps];
                assert_eq!(ours.timesteps().len(), theirs.len(), "{what}");
                for (ours, theirs) in ours.timesteps().iter().zip(theirs) {
                    assert_near(*ours, f64::from(*theirs), &format!("{what}, timestep"));
                }
                if let Some(theirs) = &their_sigmas {
                    let theirs = &theirs[at_sigma..at_sigma + of_sigmas];
                    // log_linear has one sigma more than diffusers uses.
                    for (ours, theirs) in ours.sigmas().iter().zip(theirs) {
                        assert_near(f64::from(*ours), f64::from(*theirs), &format!("{what}, sigma"));
                    }
                }
                let theirs = init_noise_sigma.as_ref().map(|all| f64::from(all[place]));
                assert_near(ours.init_noise_sigma(), theirs.unwrap(), &format!("{what}, init_noise_sigma"));
            } else {
                assert_may_be_refused(ours.unwrap_err(), &what);
            }
            (at_timestep, at_sigma) = (at_timestep + of_timesteps, at_sigma + of_sigmas);
        }
        let numbers = if text(case, "numbers") == "all" { (1..=1000).collect() } else { counts("some") };
        let mut bytes = vec![];
        for n in numbers {
            let what = format!("{name}, {n} steps");
            match unchecked(&config, n, 0.) {
                Ok(ours) => {
                    assert!(!bad.contains(&n), "{what} is accepted");
                    bytes.extend(ours.timesteps().iter().flat_map(|t| (*t as i64).to_le_bytes()));
                    let Some(place) = summed.iter().position(|known| *known == n) else { continue };
                    let sum = |numbers: Vec<f64>| numbers.iter().sum::<f64>();
                    if let Some(theirs) = &sums[0] {
                        // Some timesteps of log σ / 4 are below 0, and the sum of all is small.
                        let magnitude = sum(ours.timesteps().iter().map(|t| t.abs()).collect());
                        let difference = sum(ours.timesteps().to_vec()) - f64::from(theirs[place]);
                        assert_near(magnitude + difference, magnitude, &format!("{what}, sum of timesteps"));
                    }
                    if let Some(theirs) = &sums[1] {
                        let ours = sum(ours.sigmas().iter().map(|sigma| f64::from(*sigma)).collect());
                        assert_near(ours, f64::from(theirs[place]), &format!("{what}, sum of sigmas"));
                    }
                }
                // What is refused here alone still has diffusers' timesteps.
                Err(error) if !bad.contains(&n) => {
                    assert_may_be_refused(error, &what);
                    bytes.extend(timesteps_of(&config, n).iter().flat_map(|t| (*t as i64).to_le_bytes()));
                }
                Err(_) => {}
            }
        }
        if let Some(theirs) = case["hash_of_timesteps"].as_str() {
            assert_eq!(format!("{:016x}", fnv1a(bytes.into_iter())), theirs, "{name}");
        }
        if ranges(&case["raises"]).contains(&1001) || refused.values().any(|of| ranges(of).contains(&1001)) {
            assert!(of_class(1001).is_err(), "{name}, 1001 steps");
        }
    }
}

/// A refusal of what diffusers runs: its numbers are NaN, or its first timestep comes twice.
#[track_caller]
fn assert_may_be_refused(error: ScheduleError, what: &str) {
    let is_known = matches!(
        error,
        ScheduleError::NotFinite { .. }
            | ScheduleError::RepeatedStart { .. }
            | ScheduleError::PureNoise { .. }
    );
    assert!(is_known, "{what}: {error}");
}

/// The timesteps of a run that is refused for its numbers.
fn timesteps_of(config: &SchedulerConfig, n: usize) -> Vec<f64> {
    diffuscope::scheduler::sigmas::SigmaSchedule::new(config, n).map_or(vec![], |schedule| schedule.timesteps)
}

/// Sequences of steps on given predictions: every sample, and how much noise each step draws.
#[test]
fn steps_of_every_class() {
    let (all, fixture) = (json("scheduler_steps"), Fixture::open("scheduler_steps"));
    let cases = all["cases"].as_array().unwrap();
    assert!(cases.len() > 200);
    let row = |key: &str, i: usize| fixture.tensor(key).narrow(0, i, 1).unwrap();
    // From sigma 4096 to 20 a step cancels two digits of an `f32`.
    let (mut of_zero_snr, mut of_others) = (Differences::default(), Differences::default());
    for case in cases {
        let name = text(case, "name");
        let differences = if name.contains("zero_snr") { &mut of_zero_snr } else { &mut of_others };
        let n = case["num_inference_steps"].as_u64().unwrap() as usize;
        let made = config(case).and_then(|config| {
            scheduler(&config, n, case["eta"].as_f64().unwrap()).map_err(|e| e.to_string())
        });
        // diffusers' UniPC has any order; here it has three.
        let is_refused_here = case["config"]["solver_order"].as_u64() > Some(3);
        if !case["error"].is_null() || !case["nan_at"].is_null() || is_refused_here {
            assert!(made.is_err(), "{name} is accepted; diffusers: {} {}", case["error"], case["nan_at"]);
            continue;
        }
        let made: Arc<dyn Scheduler> = made.unwrap_or_else(|e| panic!("{name}: {e}"));
        let start = case["start"].as_u64().unwrap_or(0) as usize * made.config().class.order();
        let timesteps: Vec<f64> = serde_json::from_value(case["timesteps"].clone()).unwrap();
        let (kept, noises) = (numbers(&case["kept"]), numbers(&case["noises"]));
        let mut sample = match start {
            0 => (fixture.tensor("sample") * made.init_noise_sigma()).unwrap(),
            start => {
                let (image, noise) = (fixture.tensor("start_image"), fixture.tensor("start_noise"));
                let ours = made.add_noise(image, noise, start).unwrap();
                let theirs = fixture.tensor(&format!("{name}/first")).unsqueeze(0).unwrap();
                differences.note(&ours, &theirs, &format!("{name} add_noise"));
                ours
            }
        };
        let (mut history, mut drawn) = (History::default(), 0);
        for (i, timestep) in timesteps.iter().enumerate() {
            let index = start + i;
            let what = format!("{name}, step {i}");
            assert_near(made.timesteps()[index], *timestep, &what);
            assert_eq!(usize::from(made.draws_noise(index)), noises[i], "{what}: noise");
            let noise = (noises[i] > 0).then(|| row("noises", drawn));
            drawn += noises[i];
            let model_output = row("model_outputs", i);
            let input =
                StepInput { index, model_output: &model_output, sample: &sample, noise: noise.as_ref() };
            let place = kept.iter().position(|known| *known == i);
            if let Some(place) = place.filter(|_| fixture.has(&format!("{name}/scaled"))) {
                let ours = made.scale_model_input(&sample, index).unwrap();
                differences.note(&ours, &row(&format!("{name}/scaled"), place), &format!("{what} scaled"));
            }
            let step = made.step(input, &history).unwrap();
            if let Some(place) = place {
                let theirs = row(&format!("{name}/prev_samples"), place);
                differences.note(&step.prev_sample, &theirs, &format!("{what} prev_sample"));
                for (key, ours) in
                    [("pred_original_samples", "pred_original_sample"), ("denoised", "denoised")]
                {
                    let key = format!("{name}/{key}");
                    if fixture.has(&key) {
                        differences.note(
                            step.tensor(ours).unwrap(),
                            &row(&key, place),
                            &format!("{what} {ours}"),
                        );
                    }
                }
            }
            (sample, history) = (step.prev_sample, step.history);
        }
    }
    of_others.assert_within(STEP);
    of_zero_snr.assert_within(10. * STEP);
}

/// Whole runs with guidance on a miniature checkpoint, text to image and image to image.
#[test]
fn runs_of_every_class() {
    let (all, fixture) = (json("scheduler_runs"), Fixture::open("scheduler_runs"));
    let models = Models::load(checkpoint("tiny").source(), Device::Cpu, DType::F32).unwrap();
    let picture = start_picture(&fixture);
    let mut differences = Differences::default();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 40);
    for case in cases {
        let name = text(case, "name");
        let class = Class::of_name(text(case, "class")).unwrap();
        let file = ConfigFile::parse("scheduler_config.json", case["config"].to_string().as_bytes()).unwrap();
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let request = Request {
            prompt: text(case, "prompt").into(),
            negative_prompt: text(case, "negative_prompt").into(),
            height: number("height"),
            width: number("width"),
            num_inference_steps: number("num_inference_steps"),
            guidance_scale: case["guidance_scale"].as_f64().unwrap(),
            seed: case["seed"].as_i64().unwrap().into(),
            scheduler: SchedulerChoice::of_file(&file, class).unwrap(),
            init_image: case["strength"].as_f64().map(|_| InitImage::open(&picture).unwrap()),
            strength: case["strength"].as_f64().unwrap_or(0.8),
            ..Request::default()
        };
        let mut snapshot = Snapshot::start(request, &models).unwrap_or_else(|e| panic!("{name}: {e}"));
        let theirs = |key: &str| fixture.tensor(&format!("{name}/{key}"));
        let timesteps: Vec<f64> = serde_json::from_value(case["timesteps"].clone()).unwrap();
        assert_eq!(snapshot.timesteps().len(), timesteps.len(), "{name}");
        let first = snapshot.request().steps().start;
        while let Some(stage) = snapshot.position() {
            snapshot = advance(&snapshot, &models, &mut Unwatched).unwrap();
            let made = |key: &str| snapshot.last().unwrap().tensor(key).unwrap().clone();
            let what = format!("{name} {stage}");
            match stage {
                diffuscope::pipeline::Stage::GetLatent => {
                    let first_latents = theirs("first_latents").unsqueeze(0).unwrap();
                    differences.note(&made("latents"), &first_latents, &what);
                }
                diffuscope::pipeline::Stage::Denoise { step } => {
                    let i = step - first;
                    let latents = theirs("latents").narrow(0, i, 1).unwrap();
                    differences.note(&made("latents"), &latents, &what);
                    let key = match i {
                        0 => Some("first_noise_pred"),
                        i if i + 1 == timesteps.len() => Some("last_noise_pred"),
                        _ => None,
                    };
                    if let Some(key) = key {
                        let theirs = theirs(key).unsqueeze(0).unwrap();
                        differences.note(&made("guided_noise_residual"), &theirs, &format!("{what} {key}"));
                    }
                }
                _ => {}
            }
        }
        let image = snapshot.last().unwrap().tensor("image").unwrap();
        let ours: Vec<f32> =
            image.squeeze(0).unwrap().permute((1, 2, 0)).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let theirs: Vec<f32> =
            theirs("image").to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let worst = ours.iter().zip(theirs).map(|(a, b)| (a * 255. - b).abs()).fold(0., f32::max);
        assert!(worst <= PIXEL, "{name}: a pixel is {worst} of 255 off");
    }
    differences.assert_within(RUN);
}

/// The start image of the fixture as a PNG in a temporary folder.
fn start_picture(fixture: &Fixture) -> String {
    let tensor: &Tensor = fixture.tensor("start_image");
    let pixels: Vec<u8> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    let (height, width) = (tensor.dims()[0] as u32, tensor.dims()[1] as u32);
    let folder = std::env::temp_dir().join(format!("diffuscope-schedulers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("start.png");
    image::save_buffer(&path, &pixels, width, height, image::ColorType::Rgb8).unwrap();
    path.to_str().unwrap().into()
}

/// Every constructor argument of every class, with its default: none is missing, none is ours alone.
#[test]
fn arguments_are_those_of_the_constructors() {
    let all = json("scheduler_arguments");
    for (name, class) in Class::ALL {
        let theirs = all[name].as_object().unwrap();
        let ours = SchedulerConfig::defaults(*class).json();
        let names = |object: &serde_json::Map<String, Value>| {
            object
                .keys()
                .filter(|key| !key.starts_with('_'))
                .cloned()
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(&ours), names(theirs), "{name}");
        for (argument, default) in theirs {
            assert_eq!(ours[argument].as_f64(), default.as_f64(), "{name}.{argument}");
            if !default.is_number() {
                assert_eq!(&ours[argument], default, "{name}.{argument}");
            }
        }
    }
}

/// What a constructor refuses is refused, and every `beta_schedule` gives diffusers' ᾱ.
#[test]
fn constructors_refuse_and_betas_agree() {
    let all = json("schedules");
    for case in all["cannot_be_made"].as_array().unwrap() {
        assert!(config(case).is_err(), "{case}");
    }
    for (class, schedules) in all["beta_schedules"].as_object().unwrap() {
        for (name, theirs) in schedules.as_object().unwrap() {
            let text = serde_json::json!({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": name});
            let made = config(&serde_json::json!({"class": class, "config": text}));
            let Some(theirs) = theirs.as_array() else {
                assert!(made.is_err(), "{class} {name}");
                continue;
            };
            let alphas = betas::alphas_cumprod(&made.unwrap());
            for (timestep, theirs) in [0, 500, 999].into_iter().zip(theirs) {
                let (ours, theirs) = (f64::from(alphas[timestep]), theirs.as_f64().unwrap());
                assert!(
                    (ours - theirs).abs() <= 1e-6 * theirs,
                    "{class} {name} {timestep}: {ours}, {theirs}"
                );
            }
        }
    }
    // Python's -Infinity.
    let text = all["texts"]["dpm_linspace"].as_str().unwrap();
    let file = ConfigFile::parse("scheduler_config.json", text.as_bytes()).unwrap();
    let read = SchedulerConfig::read(&file, Class::DpmSolverMultistep).unwrap();
    assert_eq!(read.lambda_min_clipped, f64::NEG_INFINITY);
}

/// The orders that a run uses, from `scheduler.step`'s own numbers.
fn orders(class: Class, change: fn(&mut SchedulerConfig), n: usize) -> Vec<usize> {
    let mut config = SchedulerConfig::defaults(class);
    change(&mut config);
    let made = scheduler(&config, n, 0.).unwrap();
    let one = Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let mut history = History::default();
    let mut orders = vec![];
    for index in 0..made.timesteps().len() {
        let noise = made.draws_noise(index).then_some(&one);
        let step = made.step(StepInput { index, model_output: &one, sample: &one, noise }, &history).unwrap();
        orders.push(step.formulas.number("order").unwrap() as usize);
        history = step.history;
    }
    orders
}

/// As seen by running diffusers 0.42.1.
#[test]
fn orders_of_multistep_solvers() {
    let third = |config: &mut SchedulerConfig| config.solver_order = 3;
    let of_20 = orders(Class::DpmSolverMultistep, third, 20);
    assert_eq!((&of_20[..3], &of_20[17..]), (&[1, 2, 3][..], &[3, 3, 1][..]));
    let of_14 = orders(Class::DpmSolverMultistep, third, 14);
    assert_eq!((&of_14[..3], &of_14[11..]), (&[1, 2, 3][..], &[3, 2, 1][..]));
    for n in [14, 20] {
        let of_n = orders(Class::UniPcMultistep, third, n);
        assert_eq!((&of_n[..3], &of_n[n - 3..]), (&[1, 2, 3][..], &[3, 2, 1][..]), "{n}");
    }
    assert_eq!(orders(Class::LmsDiscrete, |_| (), 6), [1, 2, 3, 4, 4, 4]);
}

/// As counted with diffusers 0.42.1 in a run of four steps.
#[test]
fn noise_is_drawn_as_often() {
    let drawn = |class: Class, change: fn(&mut SchedulerConfig), eta: f64| {
        let mut config = SchedulerConfig::defaults(class);
        change(&mut config);
        let made = scheduler(&config, 4, eta).unwrap();
        (0..4).filter(|index| made.draws_noise(*index)).count()
    };
    assert_eq!(drawn(Class::EulerAncestralDiscrete, |_| (), 0.), 4);
    assert_eq!(drawn(Class::Lcm, |_| (), 0.), 3);
    assert_eq!(drawn(Class::Ddpm, |_| (), 0.), 3);
    assert_eq!(drawn(Class::Ddpm, |config| config.steps_offset = 1, 0.), 4);
    assert_eq!((drawn(Class::Ddim, |_| (), 1.), drawn(Class::Ddim, |_| (), 0.)), (4, 0));
    let sde = |config: &mut SchedulerConfig| {
        config.algorithm_type = diffuscope::scheduler::config::AlgorithmType::SdeDpmSolverPlusPlus;
    };
    assert_eq!(drawn(Class::DpmSolverMultistep, sde, 0.), 4);
}

/// int(N × strength) in binary doubles, where the exact product is a step more.
#[test]
fn strength_counts_as_python_does() {
    for (n, strength, steps) in
        [(50, 0.58, 28), (90, 0.70, 62), (100, 0.29, 28), (100, 0.57, 56), (100, 0.58, 57)]
    {
        let init_image = Some(InitImage::open("sample:apple").unwrap());
        let request = Request { num_inference_steps: n, strength, init_image, ..Request::default() };
        assert_eq!(request.steps().len(), steps, "{n} × {strength}");
    }
}

//! `DdimScheduler` against diffusers': tables to the bit, timesteps for every number of steps, and single steps.

use crate::differences::{Differences, difference};
use crate::fixture::Fixture;
use crate::support::fixture::json;
use crate::support::formula::fnv1a;
use candle_core::{Device, Tensor};
use diffuscope::nn::ConfigFile;
use diffuscope::scheduler::{
    Class, DdimScheduler, History, Scheduler, SchedulerConfig, StepInput, betas, spacing,
};
use serde_json::{Value, json};

/// One step is a dozen operations in f32.
const BOUND: f64 = 1e-5;

/// The cases of scheduler.json: those that work, or those that cannot.
fn cases(working: bool) -> Vec<Value> {
    let cases = json("scheduler")["cases"].as_array().unwrap().clone();
    cases.into_iter().filter(|case| case["error"].is_null() == working).collect()
}

fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap()
}

/// The scheduler that a case asks for, or the error message that a user gets.
fn scheduler(case: &Value) -> Result<DdimScheduler, String> {
    let steps = case["num_inference_steps"].as_u64().unwrap() as usize;
    DdimScheduler::new(&config(&case["config"])?, steps, case["eta"].as_f64().unwrap())
        .map_err(|e| e.to_string())
}

fn config(config: &Value) -> Result<SchedulerConfig, String> {
    let file = ConfigFile::parse("scheduler_config.json", config.to_string().as_bytes())
        .map_err(|e| e.to_string())?;
    SchedulerConfig::read(&file, Class::Ddim).map_err(|e| e.to_string())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn betas_and_alphas_are_equal_to_the_bit() {
    let fixture = Fixture::open("scheduler");
    for case in cases(true) {
        let table = case["table"].as_str().unwrap();
        let theirs = |key: &str| fixture.f32(&format!("{table}/{key}"));
        let config = config(&case["config"]).unwrap();
        let (betas, alphas) = (betas::betas(&config), betas::alphas_cumprod(&config));
        if config.rescale_betas_zero_snr {
            // torch's own f32 `sqrt` is not correctly rounded, and rescaling takes a root of every entry. Behind it
            // betas are quotients of small differences: theirs and ours are both up to 6e-6 off the exact ones.
            assert_nearly(&betas, &theirs("betas"), 5e-6, name(&case));
            assert_nearly(&alphas, &theirs("alphas_cumprod"), 1e-6, name(&case));
            assert_eq!(alphas.last(), Some(&0.), "{}: zero terminal SNR is exactly zero", name(&case));
        } else {
            assert!(bits(&betas) == bits(&theirs("betas")), "{}: betas", name(&case));
            assert!(bits(&alphas) == bits(&theirs("alphas_cumprod")), "{}: alphas_cumprod", name(&case));
        }
    }
}

/// Every number within `bound` of the other side's.
#[track_caller]
fn assert_nearly(ours: &[f32], theirs: &[f32], bound: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= bound, "{what}: {a} at {i}, diffusers {b}");
    }
}

#[test]
fn timesteps_are_equal() {
    for case in cases(true) {
        let theirs: Vec<f64> = serde_json::from_value(case["timesteps"].clone()).unwrap();
        assert_eq!(scheduler(&case).unwrap().timesteps(), theirs, "{}", name(&case));
    }
}

#[test]
fn steps_give_the_same_samples() {
    let fixture = Fixture::open("scheduler");
    let mut differences = Differences::default();
    for case in cases(true) {
        let scheduler = scheduler(&case).unwrap();
        let timesteps = scheduler.timesteps();
        let mut compared = vec![0, timesteps.len() / 2, timesteps.len() - 1];
        compared.dedup();
        for index in compared {
            let t = timesteps[index];
            let at = format!("{}/{t}", name(&case));
            let theirs = |key: &str| fixture.tensor(&format!("{at}/{key}"));
            let noise = fixture.has(&format!("{at}/noise")).then(|| theirs("noise"));
            let (model_output, sample) = (theirs("model_output"), theirs("sample"));
            let input = StepInput { index, model_output, sample, noise };
            let step = scheduler.step(input, &History::default()).unwrap();
            for (name, what) in [("pred_original_sample", "x0"), ("pred_epsilon", "epsilon")] {
                differences.note(step.tensor(name).unwrap(), theirs(name), &format!("{at} {what}"));
            }
            differences.note(&step.prev_sample, theirs("prev_sample"), &format!("{at} prev_sample"));
        }
    }
    differences.assert_within(BOUND);
}

/// diffusers raises an error here, or gives NaN, or goes on with other timesteps than it was asked for.
#[test]
fn what_cannot_work_is_refused_in_one_line() {
    for case in cases(false) {
        let Err(message) = scheduler(&case) else {
            panic!("{} is accepted; diffusers: {}", name(&case), case["error"])
        };
        assert!(!message.is_empty() && !message.contains('\n'), "{}: {message:?}", name(&case));
    }
}

/// The files of other classes, as public checkpoints and fine-tunes have them: the configuration, and of several numbers of
/// steps every timestep with where it leads and both alphas, to the bit.
#[test]
fn other_classes_files_become_what_from_config_makes_of_them() {
    let cases = json("from_config");
    let cases = cases.as_object().unwrap();
    assert!(cases.len() > 12);
    for (name, case) in cases {
        let file = ConfigFile::parse("scheduler_config.json", case["text"].as_str().unwrap().as_bytes());
        let ours = SchedulerConfig::read(&file.unwrap(), Class::Ddim).unwrap().as_in_pipeline();
        assert_eq!(ours, config(&case["config"]).unwrap(), "{name}");
        for (steps, run) in case["runs"].as_object().unwrap() {
            // A sample of noise at zero SNR can be taken in no step that predicts noise; none of these asks for one.
            let scheduler = DdimScheduler::new(&ours, steps.parse().unwrap(), 0.).unwrap();
            let (mut prev, mut alphas, mut alphas_prev) = (vec![], vec![], vec![]);
            for index in 0..scheduler.timesteps().len() {
                let c = scheduler.coefficients(index);
                prev.push(c.prev_timestep);
                alphas.push(c.alpha_prod_t);
                alphas_prev.push(c.alpha_prod_t_prev);
            }
            let what = format!("{name} in {steps} steps");
            let timesteps: Vec<i64> = scheduler.timesteps().iter().map(|t| *t as i64).collect();
            assert_eq!(json!(timesteps), run["timesteps"], "{what}");
            assert_eq!(json!(prev), run["prev_timesteps"], "{what}");
            let theirs = |key: &str| serde_json::from_value::<Vec<f32>>(run[key].clone()).unwrap();
            // Rescaled tables are not bit-equal: see above.
            let bound = if ours.rescale_betas_zero_snr { 1e-6 } else { 0. };
            assert_nearly(&alphas, &theirs("alpha_prod_t"), bound, &what);
            assert_nearly(&alphas_prev, &theirs("alpha_prod_t_prev"), bound, &what);
        }
    }
}

/// Every number of steps from 1 to 1000 under every spacing: the timesteps' sum and hash, or a refusal.
#[test]
fn every_number_of_steps_is_spaced_alike() {
    for (spacing, rows) in json("spacing").as_object().unwrap() {
        let offset = if spacing == "leading" { 1 } else { 0 };
        let config = config(&json!({"timestep_spacing": spacing, "steps_offset": offset})).unwrap();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 1000);
        for (steps, row) in (1..).zip(rows) {
            let ours = spacing::timesteps(&config, steps)
                .and_then(|timesteps| spacing::check(&config, steps, &timesteps).map(|()| timesteps));
            let bad = row[2].as_str();
            assert_eq!(
                ours.is_err(),
                bad.is_some(),
                "{spacing}, {steps} steps: {ours:?}; diffusers: {bad:?}"
            );
            if let Ok(timesteps) = ours {
                let hash = fnv1a(timesteps.iter().flat_map(|&t| (t as i64).to_le_bytes()));
                let sum = timesteps.iter().sum::<f64>() as u64;
                assert_eq!(
                    (Some(sum), row[1].as_str()),
                    (row[0].as_u64(), Some(&*format!("{hash:016x}"))),
                    "{steps}"
                );
            }
        }
    }
}

/// Without noise of its own a step's line for eta adds nothing: the two ways of asking for plain DDIM are one.
#[test]
fn noise_counts_only_with_eta() {
    let case = &cases(true)[0];
    let scheduler = scheduler(case).unwrap();
    let ones = Tensor::ones((1, 4, 6, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
    let step = |noise| {
        let input = StepInput { index: 0, model_output: &ones, sample: &ones, noise };
        scheduler.step(input, &History::default()).unwrap().prev_sample
    };
    let (with, without) = (step(Some(&ones)), step(None));
    assert_eq!(difference(&with, &without, "prev_sample"), 0.);
}

//! Every scheduler in the debugger: going back and stepping again, restarting and forking are exact, whatever a method remembers.

use crate::models::SD2;
use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::debugger::Outcome;
use diffuscope::debugger::session::Session;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{InitImage, Models, Request, Snapshot, advance};
use diffuscope::scheduler::SchedulerConfig;
use diffuscope::scheduler::class::SHORT_NAMES;
use diffuscope::scheduler::names::{NUMBERS, TENSORS};
use proptest::prelude::*;
use std::sync::Arc;

const STEPS: usize = 4;

/// Every short name, and a Runge-Kutta start.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = SHORT_NAMES.iter().map(|short| short.name).collect();
    names.extend(["PRK", "dpm++2m-karras", "unipc-karras"]);
    names
}

fn request(name: &str) -> Request {
    let native = Request::for_models(&SD2, "a cat");
    let scheduler = match name {
        "PRK" => {
            let pndm = native.scheduler.named("pndm").unwrap();
            let config = SchedulerConfig { skip_prk_steps: false, ..pndm.config().clone() };
            pndm.with_config(config)
        }
        name => native.scheduler.named(name).unwrap(),
    };
    Request { width: 16, height: 16, num_inference_steps: STEPS, scheduler, ..native }
}

/// The bits of the tensors that the last stage made.
fn bits(snapshot: &Snapshot) -> Vec<u32> {
    let tensors = &snapshot.last().unwrap().tensors;
    let of = |(_, tensor): &(&str, candle_core::Tensor)| {
        let values = tensor.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap();
        values.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    tensors.iter().flat_map(of).collect()
}

/// The snapshots of a run from here to its end.
fn run_from(start: Snapshot) -> Vec<Snapshot> {
    let mut snapshots = vec![start];
    while snapshots.last().unwrap().position().is_some() {
        snapshots.push(advance(snapshots.last().unwrap(), &SD2, &mut Unwatched).unwrap());
    }
    snapshots
}

fn whole(request: Request) -> Vec<Snapshot> {
    run_from(Snapshot::start(request, &SD2).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Any stage again, in any order, gives the same bits; a fork at any stage is the run that had the setting from there on.
    #[test]
    fn every_stage_can_run_again(
        name in proptest::sample::select(names()),
        with_picture in any::<bool>(),
        walk in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
        fork in any::<prop::sample::Index>(),
    ) {
        let mut request = request(name);
        if with_picture {
            request.init_image = Some(InitImage::open("sample:apple").unwrap());
        }
        let snapshots = whole(request.clone());
        for index in walk {
            let from = index.index(snapshots.len() - 1);
            let again = advance(&snapshots[from], &SD2, &mut Unwatched).unwrap();
            prop_assert!(bits(&again) == bits(&snapshots[from + 1]), "{name}: stage {from} again");
        }
        let at = fork.index(snapshots.len() - 1);
        let changed = Request { guidance_scale: 2., ..snapshots[at].request().clone() };
        let forked = run_from(snapshots[at].with_request(changed.clone(), &SD2).unwrap());
        // The same change in a run of its own.
        let mut own = Snapshot::start(request, &SD2).unwrap();
        for _ in 0..at {
            own = advance(&own, &SD2, &mut Unwatched).unwrap();
        }
        let own = run_from(own.with_request(changed, &SD2).unwrap());
        prop_assert!(bits(forked.last().unwrap()) == bits(own.last().unwrap()), "{name}: fork at {at}");
    }
}

fn run(session: &mut Session, line: &str) -> Outcome {
    session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap()
}

#[test]
fn a_session_goes_back_restarts_and_forks() {
    for name in names() {
        let mut session = Session::new(Arc::clone(&SD2), request(name)).unwrap();
        run(&mut session, "continue");
        let first = bits(session.timeline().tip());
        for line in ["goto denoise 2", "next", "back", "restart", "continue"] {
            run(&mut session, line);
        }
        assert!(bits(session.timeline().tip()) == first, "{name}: restart");
        for line in ["goto denoise 1", "set guidance_scale 1", "continue"] {
            run(&mut session, line);
        }
        assert!(bits(session.timeline().tip()) != first, "{name}: the fork is another run");
        run(&mut session, "switch main");
        assert!(bits(session.timeline().tip()) == first, "{name}: main stays");
    }
}

/// What a step names is in the tables that expressions, dumps and completion read.
#[test]
fn every_name_of_a_step_is_in_a_table() {
    for name in names() {
        for snapshot in whole(request(name)) {
            let Some(step) = snapshot.last().and_then(|record| record.step.clone()) else { continue };
            for number in &step.numbers {
                assert!(NUMBERS.iter().any(|(known, _)| *known == number.name), "{name}: {}", number.name);
                assert!(
                    number.value.is_finite()
                        || number.name.starts_with("lambda")
                        || number.name == "h"
                        || number.name == "r0",
                    "{name}: {number:?}"
                );
            }
            let record = snapshot.last().unwrap();
            for formula in &step.formulas {
                let of_pipeline = ["sample", "model_output", "prev_sample", "variance_noise"];
                for tensor in formula.terms.iter().map(|(_, tensor)| *tensor).chain([formula.result]) {
                    let is_known = of_pipeline.contains(&tensor) || record.tensor(tensor).is_some();
                    assert!(is_known, "{name}: {tensor} in {}", formula.symbols);
                    let is_in_table = TENSORS.iter().any(|(known, _)| *known == tensor);
                    assert!(of_pipeline.contains(&tensor) || is_in_table, "{name}: {tensor}");
                }
            }
        }
    }
}

/// The formulas, evaluated from the record alone, give the recorded tensors.
#[test]
fn formulas_give_the_tensors_of_the_step() {
    for name in names() {
        let snapshots = whole(request(name));
        for pair in snapshots.windows(2) {
            let Some(step) = pair[1].last().and_then(|record| record.step.clone()) else { continue };
            let record = pair[1].last().unwrap();
            let tensor = |name: &str| match name {
                "sample" => pair[0].tensor("latents").unwrap().1,
                "model_output" => record.tensor("guided_noise_residual").unwrap(),
                "prev_sample" => record.tensor("latents").unwrap(),
                name => record.tensor(name).unwrap(),
            };
            let first =
                |name: &str| f64::from(tensor(name).flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]);
            for formula in &step.formulas {
                let value: f64 = formula.terms.iter().map(|(factor, name)| factor * first(name)).sum();
                let (value, made) = (value / formula.divisor, first(formula.result));
                let size =
                    formula.terms.iter().map(|(factor, name)| (factor * first(name)).abs()).sum::<f64>();
                assert!(
                    (value - made).abs() <= 1e-5 * (size / formula.divisor + made.abs()),
                    "{name}: {} = {value}, recorded {made}",
                    formula.symbols
                );
            }
        }
    }
}

#[test]
fn a_scheduler_is_set_before_the_latents_are_made() {
    let mut session = Session::new(Arc::clone(&SD2), request("ddim")).unwrap();
    assert_eq!(run(&mut session, "set scheduler heun").messages[0], "scheduler = heun");
    run(&mut session, "set scheduler.use_karras_sigmas true");
    let told = run(&mut session, "info scheduler").text();
    assert!(told.contains("heun-karras (HeunDiscreteScheduler) instead of"), "{told}");
    assert!(told.contains("4 steps are 7 calls of the UNet: two for each step but the last"), "{told}");
    let refused =
        |session: &mut Session, line: &str| session.run_line(line, &mut Unwatched).unwrap_err().to_string();
    let error = refused(&mut session, "set scheduler eulr");
    assert!(error.contains("scheduler cannot be `eulr`; expected ddim"), "{error}");
    let error = refused(&mut session, "set scheduler.skip_prk_steps true");
    assert!(error.contains("HeunDiscreteScheduler has no `skip_prk_steps`"), "{error}");
    run(&mut session, "goto denoise 3");
    let error = refused(&mut session, "set scheduler euler");
    assert!(error.contains("`fork at get_latent`"), "{error}");
    run(&mut session, "fork at get_latent");
    run(&mut session, "set scheduler euler");
    run(&mut session, "continue");
    assert_eq!(session.timeline().tip().records().len(), STEPS + 3);
}

#[test]
fn schedules_stand_beside_each_other() {
    let mut session = Session::new(Arc::clone(&SD2), request("ddim")).unwrap();
    let told = run(&mut session, "info schedules euler dpm++2m-karras heun").text();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].contains("euler") && lines[0].contains("dpm++2m-karras"), "{told}");
    assert!(
        lines[1].starts_with("denoise")
            && lines[1].matches("1/σ²").count() == 3
            && lines[1].chars().count() <= 80,
        "{told}"
    );
    // Heun has seven calls, and its result.
    assert_eq!(lines.len(), 2 + 7 + 1, "{told}");
    let error = session.run_line("info schedules euler x", &mut Unwatched).unwrap_err().to_string();
    assert!(error.contains("scheduler cannot be `x`"), "{error}");
}

/// On one grid Euler's method has order 1, Heun's and DPM-Solver++ 2M order 2.
#[test]
fn orders_show_on_one_grid() {
    let models = Models::load(ModelSource::parse("pocket").unwrap(), Device::Cpu, DType::F32).unwrap();
    let request = Request::for_models(&models, "red apple on a blue background");
    let mut session = Session::new(Arc::new(models), request).unwrap();
    let outcome = run(&mut session, "convergence");
    let value = serde_json::to_value(&outcome).unwrap();
    for (method, order) in value["value"]["methods"].as_array().unwrap().iter().zip([1., 2., 2.]) {
        let slope = method["slope"].as_f64().unwrap();
        assert!((slope - order).abs() < 0.3, "{}: {slope}, expected {order}", method["name"]);
    }
    assert!(outcome.text().contains("(0."), "the range of the slope: {}", outcome.text());
    let error = session.run_line("convergence ddim", &mut Unwatched).unwrap_err().to_string();
    assert!(error.starts_with("ddim has no Karras sigmas"), "{error}");
}

#[test]
fn variants_of_several_schedulers_are_compared() {
    let mut session = Session::new(Arc::clone(&SD2), request("ddim")).unwrap();
    let outcome = run(&mut session, "compare scheduler ddim,euler,heun by num_inference_steps 2,4");
    assert!(outcome.text().contains("6 variants"), "{}", outcome.text());
    run(&mut session, "continue");
    for branch in session.timelines().list() {
        let tip = branch.timeline.tip();
        if branch.timeline.recorded() > 3 {
            let calls = tip.request().steps().len();
            assert_eq!(tip.records().len(), calls + 3, "{}", branch.name);
        }
    }
}

fn refused(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap_err().to_string()
}

fn session(name: &str) -> Session {
    Session::new(Arc::clone(&SD2), request(name)).unwrap()
}

/// An argument that was changed goes along to another class, in a comparison too; what stays behind is reported.
#[test]
fn changed_arguments_are_not_lost() {
    let mut session = session("ddim");
    run(&mut session, "set scheduler.timestep_spacing trailing");
    let told = run(&mut session, "info scheduler").text();
    assert!(told.contains("the checkpoint's own class with other arguments; `set scheduler own`"), "{told}");
    run(&mut session, "set scheduler euler");
    let told = run(&mut session, "info scheduler").text();
    assert!(told.contains("4 timesteps, trailing: 999 749 499 249"), "{told}");
    run(&mut session, "set scheduler.sigma_min 0.1");
    let told = run(&mut session, "set scheduler heun").text();
    assert!(told.contains("HeunDiscreteScheduler has no sigma_min, which no longer counts"), "{told}");
    run(&mut session, "set scheduler own");
    let told = run(&mut session, "info scheduler").text();
    assert!(told.starts_with("ddim (DDIMScheduler), the checkpoint's own\n"), "{told}");

    run(&mut session, "set scheduler.timestep_spacing trailing");
    run(&mut session, "compare scheduler ddim,euler");
    for branch in session.timelines().list().iter().filter(|branch| branch.name.starts_with("scheduler=")) {
        assert_eq!(branch.timeline.tip().timesteps(), [999., 749., 499., 249.], "{}", branch.name);
    }
}

/// With names that would be cut off, timelines have their values alone.
#[test]
fn timelines_of_two_axes_have_whole_values() {
    let mut session = session("ddim");
    run(&mut session, "compare scheduler ddim,dpm++2m-karras by num_inference_steps 2,4");
    let names: Vec<String> = session.timelines().list().iter().map(|branch| branch.name.clone()).collect();
    for name in ["ddim,2", "dpm++2m-karras,2", "ddim,4", "dpm++2m-karras,4"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
}

/// The same noise on two scales is the same, and every `next` moves a variant.
#[test]
fn variants_with_other_scales_and_calls_compare() {
    let mut session = session("ddim");
    run(&mut session, "compare scheduler ddim,euler,heun");
    let mut before = String::new();
    for tick in 1..=STEPS * 2 - 1 + 3 {
        let outcome = run(&mut session, "next");
        let value = serde_json::to_value(&outcome).unwrap();
        let variants = value["variants"].as_array().unwrap();
        if tick == 2 {
            for variant in variants {
                let difference = variant["difference"].as_f64().unwrap_or(0.);
                assert!(difference < 0.005, "{variant}");
            }
        }
        let here = variants.iter().map(|variant| variant["stage"].to_string()).collect::<Vec<_>>().join(" ");
        assert_ne!(here, before, "tick {tick}");
        before = here;
    }
    assert!(
        session
            .timelines()
            .list()
            .iter()
            .all(|branch| { branch.timeline.recorded() == 0 || branch.timeline.tip().position().is_none() })
    );
}

/// Before a step its timestep and sigma are known, and the numbers of the step are those of the one before.
#[test]
fn breakpoints_ask_about_the_step_that_runs_next() {
    let mut session = session("euler");
    run(&mut session, "break denoise if sigmas[step] < 1.0");
    run(&mut session, "continue");
    let step = session.position_name();
    let sigmas = session.timeline().here().scheduler().sigmas().to_vec();
    let expected = sigmas.iter().position(|sigma| *sigma < 1.).unwrap();
    assert_eq!(step, format!("denoise {expected}"));
    assert!(run(&mut session, "print sigma > sigmas[step]").text().contains("true"));
    // A timestep may have a fraction.
    let alpha = run(&mut session, "print alpha_bar(timesteps[step])").text();
    assert!(alpha.trim().parse::<f64>().is_ok_and(|alpha| (0.5..1.).contains(&alpha)), "{alpha}");
    let error = refused(&mut session, "print order");
    assert!(error.contains("after a step of denoise with a scheduler that has it"), "{error}");
}

#[test]
fn sigmas_that_rise_are_refused() {
    let mut session = session("euler-karras");
    run(&mut session, "set scheduler.sigma_min 5");
    let error = refused(&mut session, "set scheduler.sigma_max 1");
    assert!(error.contains("sigma_min cannot be `5.0`; expected less than sigma_max"), "{error}");
    let error = refused(&mut session, "set scheduler.sigma_min 20");
    assert!(error.starts_with("sigma rises from "), "{error}");
}

#[test]
fn refusals_name_what_would_help() {
    let mut session = session("unipc");
    run(&mut session, "set scheduler.use_karras_sigmas True");
    let error = refused(&mut session, "set scheduler.lower_order_final false");
    assert!(error.contains("divides by 0") && error.contains("lower_order_final"), "{error}");
    run(&mut session, "set scheduler lcm");
    let error = refused(&mut session, "set num_inference_steps 60");
    assert!(error.contains("expected 1 to 50, LCM's original_inference_steps"), "{error}");
    run(&mut session, "set scheduler heun");
    let error = refused(&mut session, "goto denoise 7");
    assert!(error.contains("this run of 4 steps (7 calls); expected denoise 0 to 6"), "{error}");
}

/// A saved timeline has its values as they are typed.
#[test]
fn a_saved_timeline_sets_its_scheduler() {
    let mut session = session("ddim");
    run(&mut session, "set scheduler euler-karras");
    run(&mut session, "set scheduler.final_sigmas_type sigma_min");
    run(&mut session, "goto denoise 1");
    let lines = session.timelines().current().commands().unwrap();
    assert!(lines.contains(&"set scheduler euler-karras".to_string()), "{lines:?}");
    assert!(lines.contains(&"set scheduler.final_sigmas_type sigma_min".to_string()), "{lines:?}");
    let mut again = self::session("ddim");
    lines.iter().for_each(|line| drop(run(&mut again, line)));
    assert_eq!(again.timeline().here().request(), session.timeline().here().request());
}

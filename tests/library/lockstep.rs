//! Runs that go on together: equal to runs apart, and computed once where they are the same.

use crate::models::SD2;
use crate::support::checkpoint::checkpoint;
use crate::support::program::{batch, said};
use candle_core::{DType, Device, Tensor};
use diffuscope::debugger::Outcome;
use diffuscope::debugger::host::Host;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::session::SessionHost;
use diffuscope::debugger::view::Viewer;
use diffuscope::model::prompt_syntax::ALL;
use diffuscope::nn::{self, Path, Probe, Unwatched};
use diffuscope::pipeline::{Fault, Lockstep, Models, Request, Snapshot, advance, memory};
use diffuscope::tensor::PlainTensor;
use diffuscope::tensor::compare::relative_difference;
use std::cell::Cell;
use std::sync::Arc;

const STEPS: usize = 4;

fn request() -> Request {
    let native = Request::for_models(&SD2, "a red cat");
    Request { width: 16, height: 16, num_inference_steps: STEPS, ..native }
}

fn alone(request: Request) -> Snapshot {
    let mut snapshot = Snapshot::start(request, &SD2).unwrap();
    while snapshot.position().is_some() {
        snapshot = advance(&snapshot, &SD2, &mut Unwatched).unwrap();
    }
    snapshot
}

/// Runs requests of the same number of steps together; the rows that were computed, and would have been apart.
fn together(requests: &[Request], rows_at_once: Option<usize>) -> (Vec<Snapshot>, [usize; 2]) {
    let mut lockstep = Lockstep::new(&SD2, (2, 2), rows_at_once);
    let start = |request: &Request| Snapshot::start(request.clone(), &SD2).unwrap();
    let mut runs: Vec<Snapshot> = requests.iter().map(start).collect();
    while runs[0].position().is_some() {
        runs = lockstep.advance(&runs.iter().collect::<Vec<_>>(), &SD2, &mut Unwatched).unwrap();
    }
    (runs, [lockstep.rows().computed, lockstep.rows().apart])
}

fn assert_alike(ours: &Snapshot, theirs: &Snapshot, bound: f64) {
    assert_eq!(ours.records().len(), theirs.records().len());
    assert!(ours.position().is_none(), "a run that is not complete says little");
    for (ours, theirs) in ours.records().iter().zip(theirs.records()) {
        for (name, tensor) in &ours.tensors {
            let [a, b] = [tensor, theirs.tensor(name).unwrap()].map(|t| PlainTensor::of(t).unwrap());
            let difference = relative_difference(a.data(), b.data());
            assert!(difference <= bound, "{} {name}: {difference:e}", ours.stage);
        }
    }
}

fn each<T: Copy>(values: &[T], put: impl Fn(&mut Request, T)) -> Vec<Request> {
    let varied = |value: &T| {
        let mut request = request();
        put(&mut request, *value);
        request
    };
    values.iter().map(varied).collect()
}

#[test]
fn a_batch_is_within_rounding_of_separate_runs() {
    let scales = each(&[1., 3., 7.5, 15.], |request, scale| request.guidance_scale = scale);
    let seeds = each(&[1, 2, 3], |request, seed: i64| request.seed = seed.into());
    let etas = each(&[0., 0.5, 1.], |request, eta| request.eta = eta);
    let prompts = each(&["a cat", "a dog"], |request, prompt| request.prompt = prompt.into());
    for requests in [scales, seeds, etas, prompts] {
        for rows in [None, Some(1), Some(3), Some(64)] {
            let (runs, _) = together(&requests, rows);
            for (run, request) in runs.iter().zip(&requests) {
                assert_alike(run, &alone(request.clone()), 1e-4);
            }
        }
    }
}

#[test]
fn rows_are_computed_once_where_they_are_the_same() {
    // the first step has the same latents and the same two embeddings for every scale
    let scales = each(&[1., 3., 7.5, 15.], |request, scale| request.guidance_scale = scale);
    assert_eq!(together(&scales, None).1, [2 + 3 * 8, 4 * 8]);
    // other noise: nothing is the same
    let seeds = each(&[1, 2, 3], |request, seed: i64| request.seed = seed.into());
    assert_eq!(together(&seeds, None).1, [4 * 6, 4 * 6]);
    // other prompts: the unconditional row of the first step
    let prompts = each(&["a cat", "a dog"], |request, prompt| request.prompt = prompt.into());
    assert_eq!(together(&prompts, None).1, [3 + 3 * 4, 4 * 4]);
    // the same run twice is one
    let same = each(&[7, 7], |request, seed: i64| request.seed = seed.into());
    let (runs, rows) = together(&same, None);
    assert_eq!(rows, [4 * 2, 4 * 4]);
    assert_alike(&runs[0], &runs[1], 0.);
    // the empty prompt against the empty negative prompt: both rows are one
    let empty = each(&[""], |request, prompt| request.prompt = prompt.into());
    assert_eq!(together(&empty, None).1, [4, 8]);
}

/// Prompts in other languages have other numbers of rows, and go through the UNet in other batches.
#[test]
fn prompts_of_different_lengths_run_together() {
    let prompt = format!("a (red:1.3) [cat] {}", "and a dog ".repeat(30));
    let requests: Vec<Request> = ALL
        .map(|(prompt_syntax, ..)| Request { prompt_syntax, prompt: prompt.clone(), ..request() })
        .into_iter()
        .collect();
    let (together, _) = together(&requests, Some(8));
    let mut lengths = vec![];
    for (ours, request) in together.iter().zip(&requests) {
        assert_alike(ours, &alone(request.clone()), 1e-4);
        lengths.push(ours.tensor("prompt_embeds").unwrap().1.dim(1).unwrap());
    }
    // compel splits after the colon too.
    assert_eq!(lengths, [77, 154, 154, 231]);
}

/// Counts how often the UNet runs.
struct Forwards(Cell<usize>);

impl Probe for Forwards {
    fn wants(&self, path: &Path) -> bool {
        self.0.set(self.0.get() + usize::from(path.as_str() == "unet.conv_in"));
        false
    }
}

/// The UNet of a latent consistency model takes the guidance scale: rows of another scale are other rows.
#[test]
fn runs_of_another_scale_share_no_rows_where_the_unet_takes_it() {
    let models = Models::load(checkpoint("lcm").source(), Device::Cpu, DType::F32).unwrap();
    let of_scale = |guidance_scale| Request {
        width: 16,
        height: 16,
        guidance_scale,
        ..Request::for_models(&models, "a red cat")
    };
    let start = |scale| Snapshot::start(of_scale(scale), &models).unwrap();
    let step = |snapshot: &Snapshot| advance(snapshot, &models, &mut Unwatched).unwrap();
    let mut lockstep = Lockstep::new(&models, (2, 2), None);
    let (mut together, mut alone) = ([1., 8., 8.].map(start).to_vec(), [1., 8., 8.].map(start));
    while alone[0].position().is_some() {
        together = lockstep.advance(&together.iter().collect::<Vec<_>>(), &models, &mut Unwatched).unwrap();
        alone = alone.each_ref().map(step);
    }
    for (ours, theirs) in together.iter().zip(&alone) {
        assert_alike(ours, theirs, 1e-4);
    }
    let rows = lockstep.rows();
    assert_eq!([rows.computed, rows.apart], [4 * 4, 4 * 6]);
}

/// A wrong timestep keeps the guidance scale that the UNet takes.
#[test]
fn a_wrong_timestep_of_a_latent_consistency_model_keeps_the_scale() {
    let models = Models::load(checkpoint("lcm").source(), Device::Cpu, DType::F32).unwrap();
    let residual = |guidance_scale| {
        let request = Request {
            width: 16,
            height: 16,
            guidance_scale,
            fault: Some(Fault::WrongTimestep),
            ..Request::for_models(&models, "a red cat")
        };
        let mut snapshot = Snapshot::start(request, &models).unwrap();
        for _ in 0..3 {
            snapshot = advance(&snapshot, &models, &mut Unwatched).unwrap();
        }
        let guided = snapshot.tensor("guided_noise_residual").unwrap().1;
        PlainTensor::of(guided).unwrap()
    };
    assert!(relative_difference(residual(1.).data(), residual(8.).data()) > 1e-3);
}

#[test]
fn a_wrong_timestep_shares_no_rows_and_its_own_are_counted() {
    let faults = each(&[None, Some(Fault::WrongTimestep)], |request, fault| request.fault = fault);
    let mut lockstep = Lockstep::new(&SD2, (2, 2), Some(1));
    let start = |request: &Request| Snapshot::start(request.clone(), &SD2).unwrap();
    let mut runs: Vec<Snapshot> = faults.iter().map(start).collect();
    let mut forwards = Forwards(Cell::new(0));
    while runs[0].position().is_some() {
        runs = lockstep.advance(&runs.iter().collect::<Vec<_>>(), &SD2, &mut forwards).unwrap();
    }
    assert_eq!([lockstep.rows().computed, lockstep.rows().apart], [4 * 4, 4 * 4]);
    // the right run's rows one by one, the faulty run's two at once
    assert_eq!(forwards.0.get(), 4 * 2 + 4);
    for (run, request) in runs.iter().zip(faults) {
        assert_alike(run, &alone(request), 1e-4);
    }
}

#[test]
fn what_was_made_with_a_mistake_is_shared_with_nobody_else() {
    let faults = [Fault::parse("nan_in prompt_embeds").ok(), Fault::parse("no_scaling_factor").ok(), None];
    let requests = each(&faults, |request, fault| {
        request.fault = fault;
        // the picture of the one with NaN has it as well
        request.num_inference_steps = 1;
    });
    for order in [[0, 1, 2], [2, 1, 0]] {
        let requests = order.map(|index: usize| requests[index].clone());
        for (run, request) in together(&requests, None).0.iter().zip(requests) {
            let alone = alone(request.clone());
            match request.fault {
                Some(Fault::NanIn(_)) => {
                    let (_, embeds) = run.tensor("prompt_embeds").unwrap();
                    assert!(!PlainTensor::of(embeds).unwrap().is_finite());
                }
                _ => assert_alike(run, &alone, 1e-4),
            }
        }
    }
    // the same typed: what was made for one is not what another gets that is without the mistake
    let mut session = session();
    for line in ["compare seed 1,2", "switch seed=1", "set fault nan_in prompt_embeds", "compare", "next"] {
        run(&mut session, line);
    }
    let finite = |session: &Session, name: &str| {
        let here = session.timelines().named(name).unwrap().timeline.here().clone();
        PlainTensor::of(here.tensor("prompt_embeds").unwrap().1).unwrap().is_finite()
    };
    assert_eq!([finite(&session, "seed=1"), finite(&session, "seed=2")], [false, true]);
    let mut session = self::session();
    for line in
        ["compare seed 1,1", "goto vae_decode", "switch seed=1-2", "set fault no_scaling_factor", "compare"]
    {
        run(&mut session, line);
    }
    assert!(run(&mut session, "next").variants()[1].difference.unwrap() > 0.);
}

#[test]
fn one_run_alone_is_bit_for_bit_itself() {
    let (runs, _) = together(&[request()], None);
    assert_alike(&runs[0], &alone(request()), 0.);
}

fn run(session: &mut Session, line: &str) -> Outcome {
    session.run_line(line, &mut Unwatched).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap()
}

fn refused(session: &mut Session, line: &str) -> String {
    session.run_line(line, &mut Unwatched).unwrap_err().to_string()
}

fn session() -> Session {
    Session::new(Arc::clone(&SD2), request()).unwrap()
}

#[test]
fn every_axis_is_compared() {
    for (line, count) in [
        ("compare guidance_scale 1,3,7.5,15", 4),
        ("compare seed 1-8", 8),
        ("compare seed -1,5", 2),
        ("compare num_inference_steps 2,3,7", 3),
        ("compare eta 0,0.5", 2),
        ("compare width 16,32", 2),
        ("compare prompt \"a cat\" | \"a dog\"", 2),
        ("compare negative_prompt \"\" | blue | green", 3),
        ("compare word red: green | blue", 3),
        ("compare guidance_scale 1,7.5 by seed 1-3", 6),
        ("compare seed 1-8 by guidance_scale 1,2,3,4,5,6,7,8", 64),
    ] {
        let mut session = session();
        let begun = run(&mut session, line);
        assert_eq!(begun.variants().len(), count, "{line}");
        let done = run(&mut session, "continue");
        assert_eq!(done.position, "complete", "{line}");
        for variant in done.variants() {
            assert_eq!(variant.stage, "vae_decode", "{line}");
            let branch = session.timelines().named(&variant.timeline).unwrap();
            let request = branch.timeline.tip().request().clone();
            if count < 8 {
                assert_alike(branch.timeline.tip(), &alone(request), 1e-4);
            }
        }
    }
}

#[test]
fn from_the_cursor_variants_share_what_was() {
    let mut session = session();
    run(&mut session, "goto denoise 2");
    let begun = run(&mut session, "compare guidance_scale 1,7.5 here");
    assert_eq!((begun.position.as_str(), begun.variants().len()), ("denoise 2", 2));
    let names: Vec<&str> = begun.variants().iter().map(|variant| variant.timeline.as_str()).collect();
    assert_eq!(names, ["guidance_scale=1", "guidance_scale=7.5"]);
    let done = run(&mut session, "continue");
    assert!(done.messages[0].contains("6 UNet evaluations (8 without sharing)"), "{:?}", done.messages);
    assert_eq!(done.variants()[0].difference, Some(0.));
    assert!(done.variants()[1].difference.unwrap() > 0.);
    // the run that it began at is still there, and can be gone on with
    run(&mut session, "switch main");
    assert_eq!(session.position_name(), "denoise 2");
    for line in ["compare seed 1,2 here", "compare num_inference_steps 3,4 here"] {
        assert!(refused(&mut session, line).contains("`fork at get_latent`"), "{line}");
    }
    // a variant opened is a timeline of its own
    run(&mut session, "switch guidance_scale=1");
    run(&mut session, "back 2");
    run(&mut session, "set guidance_scale 3");
    run(&mut session, "next");
    assert_eq!(session.timelines().current().name, "guidance_scale=3");
    assert_eq!(run(&mut session, "compare").variants().len(), 2);
}

#[test]
fn unequal_numbers_of_steps_line_up_by_noise_level() {
    let mut session = session();
    run(&mut session, "compare num_inference_steps 2,8");
    run(&mut session, "compare base num_inference_steps=8");
    run(&mut session, "goto denoise 3");
    let stages = |session: &mut Session, line: &str| {
        let outcome = run(session, line);
        outcome.variants().iter().map(|variant| variant.stage.clone()).collect::<Vec<_>>()
    };
    // timesteps 876, 751, 626, 501, … against 501, 1
    assert_eq!(stages(&mut session, "goto denoise 3"), ["get_latent", "denoise.002"]);
    let next = run(&mut session, "next");
    assert!(next.messages[0].contains("lined up by noise level, t ≥ 501"), "{:?}", next.messages);
    assert_eq!(next.variants()[0].stage, "denoise.000");
    assert_eq!(stages(&mut session, "goto denoise 7"), ["denoise.000", "denoise.006"]);
    assert_eq!(stages(&mut session, "next"), ["denoise.001", "denoise.007"]);
    assert_eq!(stages(&mut session, "continue"), ["vae_decode", "vae_decode"]);
    assert_eq!(stages(&mut session, "back 2"), ["denoise.000", "denoise.006"]);
    assert_eq!(stages(&mut session, "reverse-continue"), ["", ""]);
}

#[test]
fn a_base_of_fewer_steps_is_walked_tick_by_tick() {
    let mut session = session();
    run(&mut session, "compare num_inference_steps 2,12");
    run(&mut session, "next 5");
    let tick = |session: &Session| Viewer::default().view(session).unwrap().comparison.unwrap().tick;
    let mut seen = vec![tick(&session)];
    for line in ["next", "next", "back"] {
        run(&mut session, line);
        seen.push(tick(&session));
    }
    assert_eq!(seen, [5, 6, 7, 6]);
    // as an interface looks: a place is a tick, also where the base stands still
    let base = session.timeline().cursor();
    for place in [5, 6, 7] {
        session.look(place);
        assert_eq!((tick(&session), session.timeline().cursor()), (place, base));
        let view = Viewer::default().view(&session).unwrap();
        assert_eq!((view.place(), view.last_place(), view.places()), (place, 7, 15));
        assert_eq!(view.done_at(place), base);
    }
    session.look(99);
    assert_eq!(tick(&session), 7);
    run(&mut session, "goto get_latent");
    assert_eq!(tick(&session), 1);
    let done = run(&mut session, "continue");
    assert!(done.variants().iter().all(|variant| variant.stage == "vae_decode"));
}

#[test]
fn a_breakpoint_stops_where_the_base_comes_to_it() {
    let mut session = session();
    run(&mut session, "compare num_inference_steps 2,6");
    run(&mut session, "break denoise 1");
    let stages = |outcome: &Outcome| outcome.variants().iter().map(|v| v.stage.clone()).collect::<Vec<_>>();
    let stopped = run(&mut session, "continue");
    assert!(stopped.stopped.as_ref().unwrap().contains("breakpoint 1"));
    assert_eq!(stages(&stopped)[0], "denoise.000");
    let done = run(&mut session, "continue");
    assert_eq!((done.stopped, done.position.as_str()), (None, "complete"));
    let back = run(&mut session, "reverse-continue");
    assert!(back.stopped.as_ref().unwrap().contains("breakpoint 1"));
    assert_eq!(stages(&back), stages(&stopped));
    assert_eq!(stages(&run(&mut session, "reverse-continue")), ["", ""]);
}

#[test]
fn nan_is_caught_in_every_variant() {
    let mut session = session();
    run(&mut session, "catch nan");
    run(&mut session, "compare guidance_scale 1,1e39");
    let stopped = run(&mut session, "continue");
    assert_eq!(stopped.position, "denoise 1");
    let said = stopped.stopped.unwrap();
    assert!(said.contains("latents are not finite on guidance_scale=1e39"), "{said}");
    assert!(!said.contains("guidance_scale=1;") && !said.ends_with("guidance_scale=1"), "{said}");
}

#[test]
fn a_variant_that_was_opened_comes_back_with_its_new_steps() {
    let mut session = session();
    for line in ["compare seed 1,2", "switch seed=2", "set num_inference_steps 3", "compare"] {
        run(&mut session, line);
    }
    run(&mut session, "continue");
    for branch in &session.timelines().list()[1..] {
        assert!(branch.timeline.tip().position().is_none(), "{}", branch.name);
    }
    assert_eq!(run(&mut session, "back").variants()[1].stage, "denoise.002");
}

#[test]
fn breakpoints_stop_all_variants() {
    let mut session = session();
    run(&mut session, "break denoise 2");
    run(&mut session, "compare guidance_scale 1,2");
    let stopped = run(&mut session, "continue");
    assert!(stopped.stopped.unwrap().contains("breakpoint 1"));
    assert_eq!(stopped.position, "denoise 2");
    for line in ["set guidance_scale 5", "fork", "step", "restart", "sweep guidance_scale 1"] {
        assert!(refused(&mut session, line).contains("`switch NAME`"), "{line}");
    }
    assert!(run(&mut session, "compare off").messages[0].contains("on main"));
    assert_eq!(session.timelines().list().len(), 1);
    assert!(refused(&mut session, "compare").contains("nothing is compared"));
}

#[test]
fn a_variant_that_is_deleted_is_missed_by_nobody() {
    let mut session = session();
    run(&mut session, "compare guidance_scale 1,2,3");
    run(&mut session, "next 3");
    run(&mut session, "delete timeline guidance_scale=1");
    let next = run(&mut session, "next");
    assert_eq!(next.variants().len(), 2);
    run(&mut session, "delete timeline guidance_scale=2");
    run(&mut session, "delete timeline guidance_scale=3");
    assert!(session.comparison().is_none());
    run(&mut session, "next");
    assert_eq!(session.timelines().current().name, "main");
    // the one whose steps the ticks are
    let mut session = self::session();
    run(&mut session, "compare num_inference_steps 3,20");
    assert_eq!(run(&mut session, "next 10").variants()[0].stage, "denoise.000");
    run(&mut session, "delete timeline num_inference_steps=20");
    assert_eq!(run(&mut session, "next").variants()[0].stage, "denoise.001");
    assert_eq!(run(&mut session, "back").variants()[0].stage, "denoise.000");
}

#[test]
fn a_sweep_forks_before_every_step_that_is_left() {
    let mut session = session();
    run(&mut session, "goto denoise 1");
    let swept = run(&mut session, "sweep guidance_scale 1 here-to-end");
    assert_eq!(swept.variants().len(), 1 + 3);
    let differences: Vec<f64> = swept.variants().iter().map(|variant| variant.difference.unwrap()).collect();
    assert_eq!(differences[0], 0.);
    assert!(differences[1..].iter().all(|difference| *difference > 0.), "{differences:?}");
    assert!(swept.messages.last().unwrap().contains("guidance_scale 1"), "{:?}", swept.messages);
    // before each step both have the same latents: two rows and not four
    assert!(swept.messages[0].contains("12 UNet evaluations (18 without sharing)"), "{:?}", swept.messages);
    for (fork, step) in session.timelines().list()[1..].iter().zip(1..) {
        let mut by_hand = session_at(step);
        run(&mut by_hand, "set guidance_scale 1");
        run(&mut by_hand, "continue");
        assert_alike(fork.timeline.tip(), by_hand.timeline().tip(), 1e-4);
    }
    run(&mut session, "compare off");
    // it ran to its end, for the forks to be told from
    assert_eq!(
        (session.timelines().names(), session.position_name()),
        (vec!["main".into()], "complete".into())
    );
}

/// Stops before the next module once so many stages have run.
struct StopsAfter(usize);

impl Probe for StopsAfter {
    fn wants(&self, _: &Path) -> bool {
        self.0 == 0
    }
    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> nn::Result<()> {
        Err(nn::Error::Interrupted(path.clone()))
    }
}

impl Host for StopsAfter {}

impl SessionHost for StopsAfter {
    fn stage_done(&mut self, _: &Session) {
        self.0 -= 1;
    }
}

#[test]
fn a_sweep_loses_nothing_without_a_word() {
    // what was compared stays when a sweep is refused
    let mut session = session();
    for line in ["compare seed 1,2", "switch main"] {
        run(&mut session, line);
    }
    assert!(refused(&mut session, "sweep eta 7").contains("eta"));
    assert_eq!(run(&mut session, "compare").variants().len(), 2);
    // a breakpoint before the first fork is told as what it is
    run(&mut session, "switch main");
    run(&mut session, "break get_latent");
    let stopped = run(&mut session, "sweep guidance_scale 1");
    assert!(stopped.stopped.unwrap().contains("breakpoint 1"));
    assert!(stopped.messages.last().unwrap().contains("before its first fork"), "{:?}", stopped.messages);
    // forks that are dropped are counted
    run(&mut session, "goto denoise 1");
    let mut host = StopsAfter(2);
    let stopped = session.run_line("sweep guidance_scale 1", &mut host).unwrap().unwrap();
    assert!(stopped.stopped.unwrap().contains("interrupted"));
    assert!(stopped.messages.last().unwrap().contains("3 of 3 forks dropped"), "{:?}", stopped.messages);
    assert_eq!(run(&mut session, "compare").variants().len(), 2);
    // the run that was swept is the one to go back to
    run(&mut session, "switch main");
    run(&mut session, "goto denoise 1");
    run(&mut session, "fork");
    run(&mut session, "sweep guidance_scale 1");
    assert!(run(&mut session, "compare off").messages[0].contains("on fork"));
    assert_eq!(session.timelines().names(), ["main", "fork"]);
}

#[test]
fn a_sweep_to_nan_says_so() {
    let mut session = session_at(1);
    let swept = run(&mut session, "sweep guidance_scale 1e39");
    let last = swept.messages.last().unwrap();
    assert!(last.contains("NaN or infinity of the picture of 3 of 3 forks"), "{last}");
    let mut session = self::session();
    run(&mut session, "set fault nan_in latents");
    run(&mut session, "goto denoise 1");
    let swept = run(&mut session, "sweep guidance_scale 1");
    assert!(
        swept.messages.last().unwrap().contains("the run without the change ends in NaN or infinity"),
        "{:?}",
        swept.messages
    );
}

#[test]
fn what_would_not_fit_the_memory_is_refused() {
    let available = memory::available().unwrap();
    let mut request = Request { num_inference_steps: 500, ..request() };
    while 64 * memory::needed_by_records(&SD2, &request, 0) < 2 * u128::from(available) {
        request.width += 8;
        request.height += 8;
    }
    let mut session = Session::new(Arc::clone(&SD2), request).unwrap();
    let said = refused(&mut session, "compare seed 1-64");
    assert!(said.contains("64 runs, all recorded, need about") && said.contains("fewer steps"), "{said}");
    assert_eq!(session.timelines().list().len(), 1);
    run(&mut session, "compare seed 1,2");
}

fn session_at(step: usize) -> Session {
    let mut session = session();
    run(&mut session, &format!("goto denoise {step}"));
    session
}

#[test]
fn malformed_comparisons_say_what_would_be_right() {
    let mut session = session();
    for (line, expected) in [
        ("compare sampler ddim", "expected one of prompt"),
        ("compare guidance_scale", "no values"),
        ("compare guidance_scale 1,x", "guidance_scale cannot be `x`"),
        ("compare seed 1-65", "at most 64"),
        ("compare word dog: cow", "the prompt has no word `dog`"),
        ("compare word dog", "a colon"),
        ("compare num_inference_steps 0", "num_inference_steps"),
        ("compare width 17", "multiple"),
        ("compare eta 2", "eta"),
        ("sweep seed 3", "cannot change once get_latent has run"),
        ("sweep guidance_scale", "no value"),
        ("compare base nobody", "no timeline `nobody`"),
    ] {
        let said = refused(&mut session, line);
        assert!(said.contains(expected), "{line}: {said}");
    }
    assert_eq!(session.timelines().list().len(), 1);
}

#[test]
fn in_a_batch_of_the_program() {
    let outcomes = batch(
        &["--steps", "3"],
        "compare guidance_scale 1,7.5\ncontinue\ninfo timelines\ndiff guidance_scale=1\n",
    );
    assert_eq!(outcomes[1]["variants"][1]["values"][0], "7.5");
    assert!(outcomes[1]["variants"][1]["difference"].as_f64().unwrap() > 0.);
    assert!(said(&outcomes[1], 0).contains("10 UNet evaluations (12 without sharing)"), "{}", outcomes[1]);
    assert_eq!(outcomes[2]["value"]["timelines"].as_array().unwrap().len(), 3);
    assert_eq!(outcomes[3]["messages"][1], "none is beyond it");
}

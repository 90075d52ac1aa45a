//! What the seam costs where no probe: `cargo bench --bench probe`. Prints the table of `docs/benchmarks.md`;
//! asserts nothing, since machines differ.

use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::debugger::worker::as_a_command;
use diffuscope::nn::{Path, Probe, Unwatched};
use diffuscope::pipeline::{Models, Request, Snapshot, Stage, advance, lines};
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

const STEPS: usize = 20;
/// How often the questions of a step are asked for one measurement.
const TIMES: usize = 1000;
/// How often that is measured.
const ROUNDS: usize = 21;

/// Notes what it is asked, and wants nothing.
#[derive(Default)]
struct InspectQuery(RefCell<Vec<Path>>);

impl Probe for InspectQuery {
    fn wants(&self, path: &Path) -> bool {
        self.0.borrow_mut().push(path.clone());
        false
    }
}

fn main() {
    let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
    let request = Request {
        num_inference_steps: STEPS,
        ..Request::for_models(&models, "red apple on a blue background")
    };
    let mut snapshot = Snapshot::start(request, &models).unwrap();
    let mut steps = vec![];
    let mut paths = vec![];
    while let Some(stage) = snapshot.position() {
        if let Stage::Denoise { .. } = stage {
            let mut asked = InspectQuery::default();
            advance(&snapshot, &models, &mut asked).unwrap();
            paths = asked.0.into_inner();
        }
        let start = Instant::now();
        snapshot = advance(&snapshot, &models, &mut Unwatched).unwrap();
        if let Stage::Denoise { .. } = stage {
            steps.push(start.elapsed().as_secs_f64());
        }
    }
    let (step, calls) = (median(steps), paths.len());
    // Lines of the stage are wanted by a command: it tells them.
    paths.retain(|path| !lines::ALL.contains(&path.as_str()));

    println!(
        "| a step of {:.1} ms asks {calls} times | one unwanted call | of the step |\n|---|---|---|",
        step * 1e3
    );
    let row = |what: &str, call: f64| {
        println!("| {what} | {:.1} ns | {:.4} % |", call * 1e9, 100. * call * calls as f64 / step);
    };
    row("no probe (`Unwatched`)", cost(&mut Unwatched, &paths));
    as_a_command(Stage::Denoise { step: 0 }, |probe| row("a command of the interface", cost(probe, &paths)));
}

/// Seconds that one question takes.
fn cost(probe: &mut dyn Probe, paths: &[Path]) -> f64 {
    // As `watch` is given it: what answers is not known where it is asked.
    let probe = black_box(probe);
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        for _ in 0..TIMES {
            for path in paths {
                black_box(probe.wants(black_box(path)));
            }
        }
        start.elapsed().as_secs_f64() / (TIMES * paths.len()) as f64
    });
    median(rounds.collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! What it saves to compare: `cargo bench --bench comparison`. Prints the tables of `docs/benchmarks.md`; asserts nothing,
//! since machines differ.

use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Lockstep, Models, Request, Seed, Snapshot, advance};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use sysinfo::{ProcessesToUpdate, System};

const STEPS: usize = 20;
const SCALES: [f64; 4] = [1., 3., 7.5, 15.];
/// How often everything is measured, one after the other.
const ROUNDS: usize = 5;

fn main() {
    let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
    let requests = SCALES.map(|guidance_scale| Request {
        num_inference_steps: STEPS,
        guidance_scale,
        ..Request::for_models(&models, "red apple on a blue background")
    });
    println!("| four guidance scales, {STEPS} steps, 128 px | time | ratio to apart |\n|---|---|---|");
    let (mut apart, mut together) = (vec![], vec![]);
    run_together(&requests, &models, None);
    for _ in 0..ROUNDS {
        apart.push(timed(|| requests.iter().for_each(|request| run(request, &models))));
        together.push(timed(|| run_together(&requests, &models, None)));
    }
    let ratios: Vec<f64> =
        together.iter().zip(&apart).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    println!("| apart, one after the other | {:.2} s | 1 |", median(&apart));
    println!("| together | {:.2} s | {} |", median(&together), spread(&ratios));

    println!("\n| four guidance scales | peak memory |\n|---|---|");
    let scale = SCALES.map(|scale| scale.to_string()).join(",");
    println!("| `compare` | {} |", peak(&["compare", "guidance_scale", &scale, "--json"]));
    println!("| `run`, one of them | {} |", peak(&["run", "--dump", "/dev/null"]));

    println!("\n| rows at once | 16×16 latents | 32×32 | 64×64 |\n|---|---|---|---|");
    let counts = [1, 2, 4, 8, 16];
    let mut times = vec![vec![vec![]; 3]; counts.len()];
    for _ in 0..ROUNDS {
        for (row, count) in counts.iter().enumerate() {
            for (column, (pixels, steps)) in [(128, 4), (256, 2), (512, 1)].into_iter().enumerate() {
                let seeds = [1, 2, 3, 4, 5, 6, 7, 8].map(|seed| Request {
                    seed: Seed::from(seed),
                    width: pixels,
                    height: pixels,
                    num_inference_steps: steps,
                    ..requests[0].clone()
                });
                let took = timed(|| steps_together(&seeds, &models, *count));
                times[row][column].push(took / (16 * steps as u32));
            }
        }
    }
    for (count, columns) in counts.iter().zip(times) {
        let cells = columns.iter().map(|took| format!("{:.1} ms", median(took) * 1e3)).collect::<Vec<_>>();
        println!("| {count} | {} |", cells.join(" | "));
    }
}

fn run(request: &Request, models: &Models) {
    let mut snapshot = Snapshot::start(request.clone(), models).unwrap();
    while snapshot.position().is_some() {
        snapshot = advance(&snapshot, models, &mut Unwatched).unwrap();
    }
}

fn run_together(requests: &[Request], models: &Models, rows: Option<usize>) {
    let latents = requests[0].height / models.vae.config().scale_factor();
    let mut lockstep = Lockstep::new(models, (latents, latents), rows);
    let mut runs: Vec<Snapshot> =
        requests.iter().map(|request| Snapshot::start(request.clone(), models).unwrap()).collect();
    while runs[0].position().is_some() {
        runs = lockstep.advance(&runs.iter().collect::<Vec<_>>(), models, &mut Unwatched).unwrap();
    }
}

/// Without the pictures at the end.
fn steps_together(requests: &[Request], models: &Models, rows: usize) {
    let mut lockstep = Lockstep::new(models, (0, 0), Some(rows));
    let mut runs: Vec<Snapshot> =
        requests.iter().map(|request| Snapshot::start(request.clone(), models).unwrap()).collect();
    for _ in 0..requests[0].num_inference_steps + 2 {
        runs = lockstep.advance(&runs.iter().collect::<Vec<_>>(), models, &mut Unwatched).unwrap();
    }
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

/// In seconds.
fn median(times: &[Duration]) -> f64 {
    let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// `0.71 (0.68 to 0.75)`.
fn spread(ratios: &[f64]) -> String {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2} to {:.2})", sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

/// The most memory that the program with these arguments has at a time.
fn peak(arguments: &[&str]) -> String {
    let mut child: Child = Command::new(env!("CARGO_BIN_EXE_diffuscope"))
        .args(arguments)
        .args(["--steps", &STEPS.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = sysinfo::Pid::from_u32(child.id());
    let (mut system, mut most) = (System::new(), 0);
    while child.try_wait().unwrap().is_none() {
        system.refresh_processes(ProcessesToUpdate::Some(&[pid]), true);
        most = most.max(system.process(pid).map_or(0, |process| process.memory()));
        std::thread::sleep(Duration::from_millis(5));
    }
    format!("{} MiB", most / (1 << 20))
}

//! What a guided step of the bundled model takes, alone and inside the debugger: `cargo bench --bench stepping -- step --steps 50`.
//!
//! `run` computes the stages and keeps what they made; `step` has the debugger's worker do so at a command each, as an interface
//! does: every tensor's statistics and every instant picture are made, the VAE's own previews are not asked for. Prints one JSON
//! line; `tools/bench/compare.py` times it beside diffusers, and counts its instructions.

use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::debugger::Command;
use diffuscope::debugger::language::arguments::Count;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::worker::{Event, Order, Worker};
use diffuscope::nn::{ComputePool, Unwatched};
use diffuscope::pipeline::{Models, Request, Snapshot, Stage, advance};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Anyhow<()> {
    let args: Vec<String> = std::env::args().collect();
    let steps = args.iter().position(|arg| arg == "--steps").and_then(|at| args.get(at + 1));
    let steps: usize = steps.map_or(Ok(50), |steps| steps.parse())?;
    let how = args.get(1).map_or("step", String::as_str);
    let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32)?;
    let request = Request {
        num_inference_steps: steps,
        ..Request::for_models(&models, "red apple on a blue background")
    };
    let mut samples = match how {
        "run" => alone(&models, request)?,
        "step" => inside_the_debugger(models, request)?,
        _ => return Err(format!("{how}: expected run or step").into()),
    };
    samples.sort_by(f64::total_cmp);
    let median = samples[samples.len() / 2];
    println!(
        "{}",
        serde_json::json!({ "how": how, "steps": steps, "median_s": median, "samples_s": samples })
    );
    Ok(())
}

/// Seconds that each step takes.
fn alone(models: &Models, request: Request) -> Anyhow<Vec<f64>> {
    let _pool = ComputePool::enter();
    let mut snapshot = Snapshot::start(request, models)?;
    let mut samples = vec![];
    while let Some(stage) = snapshot.position() {
        let start = Instant::now();
        snapshot = advance(&snapshot, models, &mut Unwatched)?;
        if let Stage::Denoise { .. } = stage {
            samples.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(samples)
}

/// Seconds from the order of each step until all is there that an interface shows of it.
fn inside_the_debugger(models: Models, request: Request) -> Anyhow<Vec<f64>> {
    let (tell, events) = channel();
    let load = move |_| Session::new(Arc::new(models), request).map_err(|e| e.to_string());
    let worker = Worker::spawn(load, move |event| {
        // Whoever stopped listening has all that was wanted.
        let _ = tell.send(event);
    });
    let mut samples = vec![];
    while matches!(events.recv()?, Event::Loading { .. }) {}
    loop {
        let start = Instant::now();
        worker.order(Order::Command(Command::Next(Count(1)).into()));
        match done(&events)? {
            Some(Stage::Denoise { .. }) => samples.push(start.elapsed().as_secs_f64()),
            Some(Stage::VaeDecode) => return Ok(samples),
            _ => {}
        }
    }
}

/// The stage that the command at hand ran.
fn done(events: &Receiver<Event>) -> Anyhow<Option<Stage>> {
    loop {
        match events.recv()? {
            Event::Done(_, view) => return Ok(view.records.last().map(|record| record.stage)),
            Event::Failed { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
}

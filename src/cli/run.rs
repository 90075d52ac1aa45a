//! `diffuscope run`: the whole pipeline at once.

use super::args::GenerateArgs;
use super::exit::Exit;
use super::{print_picture, say, say_notes};
use crate::nn::{ComputePool, Unwatched};
use crate::picture::{decoded, png};
use crate::pipeline::{Models, Snapshot, Stage, advance, dump, lints};
use crate::tensor::PlainTensor;
use crate::trace::{Recording, Steps, TraceWriter, What};
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use tr::tr;

const EXAMPLES: &str = "\
Examples:
  diffuscope run -o apple.png
  diffuscope run --prompt \"a slice of pizza on a green background\" --steps 30 --seed 7 -o pizza.png
  diffuscope run --from apple.png --seed 3 -o other.png     the settings of a picture, with another seed
  diffuscope run --steps 20 --dump run.safetensors     every tensor of every stage, to compare with diffusers
  diffuscope run --record run.trace --modules all --record-steps 0     every module of the first step";

/// Flags of `diffuscope run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    generate: GenerateArgs,

    /// Write the image to this file, with the settings in the text chunks `parameters` and `diffuscope`
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,

    /// Write every tensor of every stage to this file
    #[arg(long, value_name = "FILE.safetensors")]
    dump: Option<PathBuf>,

    /// Record the run in this folder, a trace, stage by stage. A trace that is there is replaced
    #[arg(long, value_name = "FOLDER.trace")]
    record: Option<PathBuf>,

    /// The modules whose inputs and outputs are recorded: stages (none), all, or paths such as unet.*.attn2
    #[arg(long, value_name = "PATTERN,…", default_value = "stages", requires = "record")]
    modules: What,

    /// The steps whose modules are recorded: all, or numbers such as 0,5,10-12
    #[arg(long, value_name = "STEPS", default_value = "all", requires = "record")]
    record_steps: Steps,
}

/// Runs the subcommand.
///
/// # Errors
/// Every error is a message of one line. Whether the files can be written is checked before the run.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.output {
        let is_png = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        ensure!(is_png, "{}: expected a file that ends in .png", file.display());
    }
    for file in args.output.iter().chain(&args.dump) {
        dump::check_writable(file)?;
    }
    if let Some(folder) = &args.record {
        TraceWriter::check(folder)?;
    }
    args.generate.fetch_model()?;
    let _pool = ComputePool::enter();
    let (models, request) = args.generate.load(Box::new(|_, _| ()))?;
    say_notes(&models.remarks, &models.notes);
    let model = models.source.name();

    let mut snapshot = Snapshot::start(request, &models)?;
    let mut trace = match &args.record {
        Some(folder) => Some(TraceWriter::begin(folder, &snapshot, &models)?),
        None => None,
    };
    let bar = progress_bar(snapshot.request().steps().len() as u64 + 3);
    while let Some(stage) = snapshot.position() {
        bar.set_message(stage.to_string());
        snapshot = match &mut trace {
            Some(trace) => recorded(trace, &snapshot, stage, &models, &args)?,
            None => advance(&snapshot, &models, &mut Unwatched)?,
        };
        for warning in snapshot.last().iter().flat_map(|record| &record.warnings) {
            bar.suspend(|| say("warning", warning));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    if let (Some(trace), Some(folder)) = (&trace, &args.record) {
        let folder = folder.display();
        let (stages, calls) = (snapshot.records().len(), trace.calls());
        say(
            "note",
            &tr!(
                "{stages} stages and {calls} calls of modules are recorded in {folder}; `diffuscope open {folder}` shows them",
                stages,
                calls,
                folder
            ),
        );
    }

    let (_, image) = snapshot.tensor("image").context("the run produced no image")?;
    let picture =
        decoded::picture(&PlainTensor::of(image)?).context("the image does not have three channels")?;
    if let Some(file) = &args.output {
        let (texts, warning) = png::texts(&snapshot, &model, None);
        dump::write_beside(file, &png::encode(&picture.image, &texts)?)?;
        if let Some(warning) = warning {
            say("warning", &format!("{}: {warning}", file.display()));
        }
    }
    if let Some(file) = &args.dump {
        dump::write(&snapshot, &model, file)?;
    }
    if io::stdout().is_terminal() {
        print_picture(&picture.image)?;
    } else if args.output.is_none() && args.dump.is_none() && args.record.is_none() {
        say("warning", "the image was not saved: `-o FILE.png` writes it");
    }
    let exit = if lints::is_finite(snapshot.records())? { Exit::Done } else { Exit::NotFinite };
    Ok(exit.into())
}

/// One stage, added to the trace with the modules that the flags name.
fn recorded(
    trace: &mut TraceWriter,
    before: &Snapshot,
    stage: Stage,
    models: &Models,
    args: &RunArgs,
) -> anyhow::Result<Snapshot> {
    let none = What::Stages;
    let what = if args.record_steps.include(stage) { &args.modules } else { &none };
    let mut recording = Recording::new(stage, what);
    let after = advance(before, models, &mut recording)?;
    let record = after.last().context("the stage left no record")?;
    trace.stage(record, recording.into_recorded())?;
    Ok(after)
}

/// A progress bar on stderr, hidden without a terminal.
fn progress_bar(stages: u64) -> ProgressBar {
    let bar = ProgressBar::new(stages);
    let style = ProgressStyle::with_template("{msg:14} {wide_bar} {pos}/{len} {elapsed}<{eta}");
    // The template is constant; an invalid one would leave the default style.
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

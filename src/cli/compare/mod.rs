//! `diffuscope compare`: variants of a run side by side.
//!
//! - `pictures`: contact sheets, animations and metrics.

mod pictures;

use super::args::GenerateArgs;
use super::{print_picture, say, say_notes};
use crate::debugger::Command;
use crate::debugger::host::Host;
use crate::debugger::language::arguments::Count;
use crate::debugger::language::plan::Plan;
use crate::debugger::session::Session;
use crate::debugger::session::SessionHost;
use crate::debugger::timeline::comparison::Comparison;
use crate::nn::{ComputePool, Error, Path, Probe};
use crate::picture::png;
use crate::pipeline::dump;
use anyhow::{Context, anyhow, ensure};
use candle_core::Tensor;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pictures::Pictures;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tr::tr;

const EXAMPLES: &str = "\
Examples:
  diffuscope compare guidance_scale 1,3,7.5,15 -o scales.png
  diffuscope compare guidance_scale 1,3,7.5,15 by seed 1-3 -o sheet.png
  diffuscope compare prompt \"a cat\" \"a dog\" --steps 30 -o pets.png
  diffuscope compare word apple: pear orange -o fruit.png
  diffuscope compare num_inference_steps 5,10,20,50 --json > figures.json
  diffuscope compare guidance_scale 1,7.5 --every 5 -o steps.png --gif steps.gif";

/// A shell's exit code for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Flags of `diffuscope compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// The setting to vary with its values, or `word WORD: OTHER …`; `by` adds a second axis
    #[arg(value_name = "NAME VALUES", required = true, allow_negative_numbers = true)]
    axes: Vec<String>,

    #[command(flatten)]
    generate: GenerateArgs,

    /// Write the contact sheet to this file
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,

    /// Add a row to the sheet for every N-th step, with its decoded x0 prediction
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,

    /// Write an animation of the steps to this file
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,

    /// Print the metrics of every step
    #[arg(long)]
    json: bool,

    /// Batch size of the UNet in rows [default: depends on device and size]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch_rows: Option<u32>,
}

/// Runs the subcommand.
///
/// # Errors
/// Every error is a message of one line. Whether the files can be written is checked before the run.
pub fn run(args: CompareArgs) -> anyhow::Result<ExitCode> {
    for (file, ending) in [(&args.output, "png"), (&args.gif, "gif")] {
        if let Some(file) = file {
            let fits = file.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
            ensure!(fits, "{}: expected a file that ends in .{ending}", file.display());
            dump::check_writable(file)?;
        }
    }
    let plan = Plan::of_words(&args.axes).map_err(|e| anyhow!("compare: {e}"))?;
    args.generate.fetch_model()?;
    let varies = |name: &str| plan.axes.iter().any(|axis| axis.setting.name() == name);
    let tell = Box::new(|_, _| ());
    let mut session = match varies("width") || varies("height") {
        true => args.generate.session_of_sizes(tell)?,
        false => args.generate.session(tell)?,
    };
    say_notes(&session.backend().info().remarks, &session.backend().info().notes);
    let resized = session.begin_comparison(&plan, args.batch_rows.map(|rows| rows as usize))?;
    resized.iter().for_each(|resized| say("note", resized));

    let _pool = ComputePool::enter();
    let mut host = Interruptible::new()?;
    let stopped = advance(&mut session, &mut host)?;
    let comparison = session.comparison().context("nothing is compared")?;
    let pictures = Pictures { session: &session, comparison };
    let every = args.every.map(|every| every as usize);
    let sheet = pictures.sheet(&plan, every, stopped)?;
    if let Some(file) = &args.output {
        dump::write_beside(file, &png::encode(&sheet, &[])?)?;
    }
    if let Some(file) = &args.gif {
        let bar = progress_bar(1);
        bar.set_message("animation");
        let bytes = pictures.animation(&plan, every.unwrap_or(1), |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        dump::write_beside(file, &bytes)?;
    }
    let rows = comparison.rows();
    if args.json {
        println!("{}", pictures.json(&plan)?);
    } else {
        let apart = rows.apart;
        eprintln!("{}", tr!("{} UNet evaluations ({apart} without sharing)", rows.computed, apart));
        session.embeds_apart()?.iter().for_each(|pair| println!("{pair}"));
    }
    if io::stdout().is_terminal() && !args.json {
        print_picture(&sheet)?;
    } else if args.output.is_none() && args.gif.is_none() && !args.json {
        say("warning", "the sheet was not saved: `-o FILE.png` writes it");
    }
    Ok(if stopped.is_some() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Runs all variants until they are complete or Ctrl-C is pressed; then it returns the number of ticks.
fn advance(session: &mut Session, host: &mut Interruptible) -> anyhow::Result<Option<usize>> {
    let ticks = session.comparison().map_or(0, Comparison::ticks);
    let bar = progress_bar(ticks as u64);
    while session.timeline().position().is_some() {
        bar.set_message(session.position_name());
        let outcome = session.run(&Command::Next(Count(1)), host)?;
        for warning in &outcome.warnings {
            bar.suspend(|| say("warning", warning));
        }
        if host.is_stopped() {
            bar.finish_and_clear();
            let tick = session.comparison().map_or(0, Comparison::tick);
            say(
                "warning",
                &tr!("interrupted before {}: the sheet shows the steps so far", session.position_name()),
            );
            return Ok(Some(tick));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(None)
}

/// A progress bar on stderr with the remaining time, hidden without a terminal.
fn progress_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{msg:14} {wide_bar} {pos}/{len} {elapsed}<{eta}");
    // The template is constant; an invalid one would leave the default style.
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Stops the run on the first Ctrl-C and the program on the second.
struct Interruptible {
    stop: Arc<AtomicBool>,
}

impl Interruptible {
    fn new() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        {
            use signal_hook::consts::SIGINT;
            // In this order, so that the first Ctrl-C only sets the flag.
            signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&stop))?;
            signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
        }
        Ok(Self { stop })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Probe for Interruptible {
    fn wants(&self, _: &Path) -> bool {
        self.is_stopped()
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> crate::nn::Result<()> {
        Err(Error::Interrupted(path.clone()))
    }
}

impl SessionHost for Interruptible {}

impl Host for Interruptible {
    fn is_interrupted(&self) -> bool {
        self.is_stopped()
    }
}

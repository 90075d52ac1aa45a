//! `diffuscope diff`: where a recorded run first differs from another one, or from what a checkpoint computes here.

use super::args::ModelArgs;
use super::exit::Exit;
use super::say;
use crate::nn::ComputePool;
use crate::trace::diff::causes::Cause;
use crate::trace::diff::text::lines;
use crate::trace::diff::{Comparison, Row, judge, pair};
use crate::trace::{Names, Trace};
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tr::tr;

const EXAMPLES: &str = "\
Examples:
  diffuscope diff run.trace --model path/to/checkpoint     each recorded module on its recorded inputs
  diffuscope diff mine.trace reference.trace               two recorded runs
  diffuscope diff mlx.trace --names mlx.toml --model …     a trace whose modules have other names
Exit codes: 0 nothing differs, 1 something differs, 2 wrong usage, or a trace that cannot be read.";

/// What lists all rows.
const MORE: &str = "--json lists them";

/// Flags of `diffuscope diff`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    /// The run to look at: a trace, such as `run --record` writes
    #[arg(value_name = "A.trace")]
    trace: PathBuf,

    /// The run to compare it with, the reference
    #[arg(value_name = "B.trace", conflicts_with_all = ["model", "device", "dtype", "yes"])]
    reference: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    /// A TOML file with the paths in diffusers of A's modules, for a trace of another program (docs/trace.md)
    #[arg(long, value_name = "FILE.toml")]
    names: Option<PathBuf>,

    /// The largest relative difference that counts as equal [default: what rounding explains, by module and dtype]
    #[arg(long, value_name = "RELATIVE")]
    tolerance: Option<f64>,

    /// Print one line of JSON at the end
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: DiffArgs) -> ExitCode {
    match compared(&args) {
        Ok(comparison) if comparison.first().is_some() => Exit::Refused.into(),
        Ok(_) => ExitCode::SUCCESS,
        Err(e) if super::is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            say("error", &format!("{e:#}"));
            Exit::Usage.into()
        }
    }
}

fn compared(args: &DiffArgs) -> anyhow::Result<Comparison> {
    if let Some(wrong) = args.tolerance.filter(|tolerance| !tolerance.is_finite() || *tolerance < 0.) {
        bail!(tr!("tolerance is {wrong}; expected a number from 0 on, such as 1e-5", wrong));
    }
    let mut trace = Trace::open(&args.trace)?;
    let note = match &args.names {
        Some(names) => Names::read(names)?.apply(&mut trace)?,
        None => None,
    };
    let (mut comparison, reference) = match &args.reference {
        Some(reference) => {
            let reference = Trace::open(reference)?;
            (pair::compare(&trace, &reference, args.tolerance)?, reference.name().to_string())
        }
        None => {
            args.model.fetch()?;
            let _pool = ComputePool::enter();
            let models = args.model.load(Box::new(|_, _| ()))?;
            (judge::judge(&trace, &models, args.tolerance)?, models.source.name())
        }
    };
    comparison.notes.splice(0..0, note);
    let mut out = io::stdout().lock();
    for line in lines(&comparison, trace.name(), &reference, MORE) {
        writeln!(out, "{line}")?;
    }
    if args.json {
        let modules: Vec<_> = comparison.rows.iter().filter(|row| row.is_beyond()).map(Row::json).collect();
        let first = comparison.first().map(Row::json);
        writeln!(
            out,
            "{}",
            json!({
                "first": first,
                "until": comparison.until.map(|until| until.key()),
                "causes": comparison.causes.found.iter().map(Cause::json).collect::<Vec<_>>(),
                "tried": comparison.causes.tried,
                "evidence": comparison.causes.evidence,
                "uncompared": comparison.uncompared,
                "modules": modules,
            })
        )?;
    }
    Ok(comparison)
}

//! `diffuscope open`: the interface on a recorded run, without weights.

use super::debug::FrontArgs;
use crate::debugger::Session;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  diffuscope open run.trace                            look at a recorded run
  echo 'goto denoise 1
  info modules' | diffuscope open run.trace --batch -x -   commands from a pipe: the modules of denoise 0
  diffuscope run --record run.trace --modules all --record-steps 0   record a run of this program
  diffuscope diff run.trace --model FOLDER             find where it first differs from a checkpoint";

/// Flags of `diffuscope open`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct OpenArgs {
    /// The recorded run: a folder with trace.json
    trace: PathBuf,

    #[command(flatten)]
    front: FrontArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// Every error is a message of one line that names the file and the key.
pub fn run(args: OpenArgs) -> anyhow::Result<ExitCode> {
    let OpenArgs { trace, front } = args;
    // A script starts where a run starts; a reader wants to see the picture first.
    let shows_end = front.is_interface();
    front.run(
        || Ok(()),
        move |_| {
            let mut session = Session::open(&trace)?;
            if shows_end {
                session.look(usize::MAX);
            }
            Ok(session)
        },
    )
}

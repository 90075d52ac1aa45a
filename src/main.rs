//! The program: reads the command line and dispatches.

use diffuscope::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::of_environment().run()
}

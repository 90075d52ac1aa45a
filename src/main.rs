//! The program: reads the command line and dispatches.

use clap::Parser;
use diffuscope::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run()
}

//! The program: parses the command line and runs the subcommand.

use diffuscope::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::of_environment().run()
}

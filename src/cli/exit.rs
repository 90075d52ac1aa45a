//! The exit codes of all subcommands: [docs/exit_codes.md](../../docs/exit_codes.md). Signals end the program with 128 + N.

use std::process::ExitCode;

/// How a subcommand ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed: one line says why. Of a comparison and of a check: something differs.
    Refused = 1,
    /// The command line or a file that it names cannot mean anything.
    Usage = 2,
    /// Done, and a tensor of the result is not finite.
    NotFinite = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

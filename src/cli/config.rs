//! `diffuscope config`: the reader's settings of the interface.

use crate::tui::config::Config;
use anyhow::Context;
use clap::Subcommand;
use std::io::{self, Write};
use std::process::ExitCode;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope config show                     every setting as it is now, in TOML
  diffuscope config show > \"$(diffuscope config path)\"
  $EDITOR \"$(diffuscope config path)\"

A file may hold:
  theme = \"dark\"             auto, dark, light, high-contrast or terminal
  colours = \"256\"            24-bit, 256, 16 or none; asked of the terminal when not given
  graphics = \"sixel\"         auto, kitty, sixel, iterm2 or halfblocks
  mouse = false              leaves the mouse to the terminal
  [keys]
  ctrl-n = \"next 5\"          a key and a command, or an action of the interface: zoom, charts, none";

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting as it is now, as a file would hold it
    Show,
    /// Print where the file is, or would be
    Path,
}

/// Runs the subcommand.
///
/// # Errors
/// When the file is wrong, or there is no place for it.
pub fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Show => write!(out, "{}", Config::load()?.text())?,
        ConfigCommand::Path => {
            let path = Config::path().context("there is no home folder; expected HOME or XDG_CONFIG_HOME")?;
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

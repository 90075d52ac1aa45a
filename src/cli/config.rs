//! `diffuscope config`: the user's settings of the interface.

use crate::tui::config::Config;
use anyhow::Context;
use clap::Subcommand;
use std::io::{self, Write};
use std::process::ExitCode;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope config show                     the current settings in TOML
  diffuscope config show > \"$(diffuscope config path)\"
  $EDITOR \"$(diffuscope config path)\"

An example of a file:
  theme = \"dark\"             auto, dark, light, high-contrast or terminal
  colours = \"256\"            24-bit, 256, 16 or none [default: detected]
  graphics = \"sixel\"         auto, kitty, sixel, iterm2 or halfblocks
  mouse = false              leaves the mouse to the terminal
  [keys]
  ctrl-n = \"next 5\"          a key and a command, or an action of the interface: zoom, charts, none";

/// The subcommands of `diffuscope config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the current settings in the format of the file
    Show,
    /// Print the path of the file
    Path,
}

/// Runs the subcommand.
///
/// # Errors
/// When the file is invalid, or there is no home folder.
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

//! `diffuscope completions SHELL` and `diffuscope man`: made from the table of the command line.

use super::Cli;
use anyhow::{Context, ensure};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tr::tr;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope completions bash > ~/.local/share/bash-completion/completions/diffuscope
  diffuscope completions zsh > ~/.zfunc/_diffuscope
  diffuscope completions fish > ~/.config/fish/completions/diffuscope.fish";

/// `diffuscope completions SHELL`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// `diffuscope man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the page of the program and one for each subcommand to this folder [default: the program's page to stdout]
    #[arg(long, value_name = "FOLDER")]
    output_dir: Option<PathBuf>,
}

/// Prints the shell's completions.
///
/// # Errors
/// When stdout is closed.
pub fn completions(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "diffuscope", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the man page, or writes all of them.
///
/// # Errors
/// When a page cannot be written.
pub fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    let Some(folder) = &args.output_dir else {
        Man::new(command).render(&mut io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    };
    ensure!(folder.is_dir(), tr!("{}: not a folder; expected one that exists", folder.display()));
    clap_mangen::generate_to(command, folder).with_context(|| folder.display().to_string())?;
    writeln!(io::stdout(), "{}", tr!("the man pages are in {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

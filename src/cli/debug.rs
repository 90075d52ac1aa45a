//! `diffuscope debug`: the interface; without a terminal, every stage as text; with `--batch`, commands from a file.

use super::args::GenerateArgs;
use super::{print_picture, say, say_notes};
use crate::debugger::language::arguments::Count;
use crate::debugger::{Command, CommandLine, Outcome, Session, SessionError};
use crate::nn::load_report::ProgressFn;
use crate::nn::{ComputePool, Unwatched, text};
use crate::tui::pictures::Choice;
use crate::tui::{self, config::Config};
use anyhow::Context;
use clap::Args;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tr::tr;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope                                           step through the bundled model
  diffuscope --prompt \"a slice of pizza\" --seed 3
  diffuscope --model ~/models/stable-diffusion-2       step through a checkpoint on disk
  diffuscope debug --batch -x commands.txt             run debugger commands without an interface
  echo 'until denoise 5
  print latents.std' | diffuscope debug --batch -x -   the same, from a pipe
  diffuscope run -o apple.png                          the whole pipeline at once";

/// Flags of `diffuscope debug`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DebugArgs {
    #[command(flatten)]
    generate: GenerateArgs,

    #[command(flatten)]
    front: FrontArgs,
}

/// How a session is shown: the interface, or a batch of commands.
#[derive(Debug, Args)]
pub struct FrontArgs {
    /// Run commands without an interface, and print their output
    #[arg(long, requires = "commands")]
    batch: bool,

    /// The file of commands, one per line; `-` reads from stdin
    #[arg(short = 'x', value_name = "FILE", requires = "batch")]
    commands: Option<PathBuf>,

    /// Print one JSON object per command instead of text
    #[arg(long, requires = "batch")]
    json: bool,

    /// Protocol for images [default: from config.toml, or detected]
    #[arg(long, value_name = "HOW")]
    graphics: Option<Choice>,
}

/// Runs the subcommand.
///
/// # Errors
/// Every error is a message of one line; in a batch, with the line number of the command.
pub fn run(args: DebugArgs) -> anyhow::Result<ExitCode> {
    let DebugArgs { generate, front } = args;
    let fetched = generate.clone();
    front.run(move || fetched.fetch_model(), move |tell| generate.session(tell))
}

impl FrontArgs {
    /// Whether the session is shown in the interface.
    pub fn is_interface(&self) -> bool {
        self.commands.is_none() && io::stdout().is_terminal()
    }

    /// Shows the session that `load` makes: in the interface, or without a terminal as text. `prepare` may ask a question, and runs
    /// before.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(
        self,
        prepare: impl FnOnce() -> anyhow::Result<()>,
        load: impl FnOnce(ProgressFn) -> anyhow::Result<Session> + Send + 'static,
    ) -> anyhow::Result<ExitCode> {
        if let Some(file) = &self.commands {
            return batch(file, self.json, move || {
                prepare()?;
                load(quietly())
            });
        }
        if self.is_interface() {
            let mut config = Config::load()?;
            config.graphics = self.graphics.unwrap_or(config.graphics);
            prepare()?;
            let load = move |tell| load(tell).map_err(|e| format!("{e:#}"));
            if let Err(e) = tui::run(config, None, load) {
                say("error", &e.to_string());
                return Ok(ExitCode::from(e.exit_code()));
            }
        } else {
            prepare()?;
            walk(load(quietly())?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Loading without an interface reports no progress.
fn quietly() -> ProgressFn {
    Box::new(|_, _| ())
}

/// Runs every stage, and prints its tensors as text.
fn walk(mut session: Session) -> anyhow::Result<()> {
    say_notes(&session.backend().info().remarks, &session.backend().info().notes);
    let _pool = ComputePool::enter();
    let mut out = io::stdout().lock();
    while session.timeline().position().is_some() {
        let outcome = session.run(&Command::Next(Count(1)), &mut Unwatched)?;
        write_text(&mut out, &outcome)?;
    }
    Ok(())
}

/// Runs the commands of a file up to the first that fails.
fn batch(
    file: &Path,
    json: bool,
    load: impl FnOnce() -> anyhow::Result<Session>,
) -> anyhow::Result<ExitCode> {
    let from_stdin = file.as_os_str() == "-";
    let name = if from_stdin { "stdin".to_string() } else { file.display().to_string() };
    let mut reader: Box<dyn BufRead> = if from_stdin {
        Box::new(io::stdin().lock())
    } else {
        let expected = "expected a file of debugger commands, one per line";
        let opened = std::fs::File::open(file)
            .with_context(|| tr!("{name}: cannot be read; {expected}", name, expected))?;
        anyhow::ensure!(!opened.metadata()?.is_dir(), "{name}: a folder; {expected}");
        Box::new(BufReader::new(opened))
    };
    let mut session = load()?;
    say_notes(&session.backend().info().remarks, &session.backend().info().notes);
    let _pool = ComputePool::enter();
    let mut out = io::stdout().lock();
    for number in 1.. {
        let line = next_line(&mut reader, number == 1).with_context(|| format!("{name}: line {number}"))?;
        let Some(line) = line else { break };
        let typed = match CommandLine::parse(&line) {
            Ok(None) => continue,
            Ok(Some(typed)) => Ok(typed),
            Err(e) => Err(SessionError::from(e)),
        };
        let ran = typed.and_then(|CommandLine { command, text }| {
            let outcome = session.run(&command, &mut Unwatched)?;
            Ok(Outcome { command: text, ..outcome })
        });
        match ran {
            Ok(outcome) => {
                if json {
                    writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
                    outcome.warnings.iter().for_each(|warning| say("warning", warning));
                } else {
                    writeln!(out, "> {}", outcome.command)?;
                    write_text(&mut out, &outcome)?;
                }
                out.flush()?;
                if outcome.quit {
                    break;
                }
            }
            Err(e) => {
                if json {
                    writeln!(out, "{}", serde_json::json!({ "error": e.to_string(), "line": number }))?;
                }
                out.flush()?;
                anyhow::bail!("{name}: line {number}: {e}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The longest line, in bytes: longer than any command with the longest prompt.
const MAX_LINE: u64 = 128 << 10;

/// The next line without its line break, the first without a byte order mark; `None` after the last.
fn next_line(reader: &mut dyn BufRead, is_first: bool) -> anyhow::Result<Option<String>> {
    let mut line = vec![];
    reader.take(MAX_LINE + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    anyhow::ensure!(line.len() as u64 <= MAX_LINE, "expected a command, of at most {MAX_LINE} bytes");
    let line = match is_first {
        true => text::utf8(&line).map_err(anyhow::Error::msg)?.to_string(),
        false => String::from_utf8(line).context("expected text in UTF-8")?,
    };
    Ok(Some(line.trim_end_matches(['\r', '\n']).into()))
}

fn write_text(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    outcome.warnings.iter().for_each(|warning| say("warning", warning));
    write!(out, "{}", outcome.text())?;
    if let Some(shown) = outcome.picture().filter(|_| io::stdout().is_terminal()) {
        out.flush()?;
        print_picture(&shown.picture.image)?;
    }
    Ok(())
}

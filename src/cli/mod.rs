//! The subcommands, one file each; `main.rs` only dispatches.
//!
//! - [`args`]: the flags of subcommands that generate images. [`settings`]: those of the run's settings. [`from`]: settings from a picture.
//! - [`debug`]: the interface, every stage as text, and batches of commands.
//! - [`run`]: the whole pipeline at once. [`compare`]: variants side by side.
//! - [`open`]: the interface on a recorded run. [`diff`]: where such a run first differs.
//! - [`lesson`]: lists, runs, checks and creates lessons.
//! - [`model`]: the contents of a checkpoint; models from the Hugging Face hub.
//! - [`doctor`]: a report on devices, terminal and environment.
//! - [`config`]: the user's settings of the interface. [`completions`]: completions of shells, man pages. [`exit`]: exit codes.

pub mod args;
pub mod compare;
pub mod completions;
pub mod config;
pub mod debug;
pub mod diff;
pub mod doctor;
pub mod exit;
pub mod from;
pub mod lesson;
pub mod model;
pub mod open;
pub mod run;
pub mod settings;

use clap::{Parser, Subcommand};
use exit::Exit;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// A step-through debugger and visualizer for Stable Diffusion.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true, after_help = debug::EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    debug: debug::DebugArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Step through a run, stage by stage (the default)
    Debug(debug::DebugArgs),
    /// Run the whole pipeline at once
    Run(run::RunArgs),
    /// Run variants side by side: guidance scales, seeds, prompts, one word of a prompt
    Compare(compare::CompareArgs),
    /// Look at a recorded run, without weights
    Open(open::OpenArgs),
    /// Find where a recorded run first differs from another one, or from a checkpoint
    Diff(diff::DiffArgs),
    /// Lessons: Markdown files that the debugger runs
    Lesson(lesson::LessonArgs),
    /// Inspect a checkpoint; models from the Hugging Face hub
    #[command(subcommand, after_help = model::EXAMPLES)]
    Model(model::ModelCommand),
    /// Report devices, memory, terminal, the hub's cache, versions
    Doctor(doctor::DoctorArgs),
    /// The settings of the interface: theme, keys, pictures
    #[command(subcommand, after_help = config::EXAMPLES)]
    Config(config::ConfigCommand),
    /// Print completions for a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionArgs),
    /// Print the man page
    Man(completions::ManArgs),
}

impl Cli {
    /// Parses the command line.
    pub fn of_environment() -> Self {
        Self::parse_from(std::env::args_os().map(as_value))
    }

    /// Runs the subcommand. Errors go to stderr as one line.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            None => debug::run(self.debug),
            Some(Command::Debug(args)) => debug::run(args),
            Some(Command::Run(args)) => run::run(args),
            Some(Command::Compare(args)) => compare::run(args),
            Some(Command::Open(args)) => open::run(args),
            Some(Command::Diff(args)) => return diff::run(args),
            Some(Command::Lesson(args)) => lesson::run(args),
            Some(Command::Model(command)) => model::run(command),
            Some(Command::Doctor(args)) => doctor::run(&args),
            Some(Command::Config(command)) => config::run(&command),
            Some(Command::Completions(args)) => completions::completions(&args),
            Some(Command::Man(args)) => completions::man(&args),
        };
        match result {
            Ok(code) => code,
            // The reader of the output has closed it, as `head` does.
            Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
            Err(e) => {
                say("error", &format!("{e:#}"));
                Exit::Refused.into()
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

/// Prefixes a list such as `-1,2` or `-3--1` with a space, so that clap does not take it for flags. Parsers of numbers trim it, and
/// clap handles a single negative number itself.
fn as_value(argument: OsString) -> OsString {
    let is_list = argument.to_str().and_then(|text| text.strip_prefix('-')).is_some_and(|numbers| {
        numbers.starts_with(|c: char| c.is_ascii_digit())
            && numbers.contains([',', '-'])
            && numbers.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | '.'))
    });
    if !is_list {
        return argument;
    }
    let mut value = OsString::from(" ");
    value.push(argument);
    value
}

/// Prints remarks and warnings at the start of a run.
fn say_notes(remarks: &[String], notes: &[String]) {
    remarks.iter().for_each(|remark| say("note", remark));
    notes.iter().for_each(|note| say("warning", note));
}

/// Prints a picture on the terminal that stdout is, below the cursor: as large as there is room, in the terminal's own protocol if
/// it has one, else with two pixels a cell. The interface draws with ratatui-image, into a place that its layout chooses.
fn print_picture(image: &image::RgbImage) -> io::Result<()> {
    let config = viuer::Config { absolute_offset: false, ..Default::default() };
    viuer::print(&image::DynamicImage::ImageRgb8(image.clone()), &config).map(drop).map_err(io::Error::other)
}

/// Prints `error: …` or `warning: …` to stderr, as one line without control characters.
fn say(kind: &str, message: &str) {
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    // If stderr is closed, there is no place for the message.
    let _ = writeln!(io::stderr(), "{kind}: {line}");
}

//! `diffuscope lesson`: lessons, listed, carried out, checked, begun.

use super::args::ModelArgs;
use super::say;
use crate::lesson::check::check;
use crate::lesson::library::{Entry, LANGUAGES, Library};
use crate::lesson::playing::{Playing, Told};
use crate::lesson::{Lesson, Problem};
use crate::pipeline::dump::write_beside;
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  diffuscope lesson                             list them
  diffuscope lesson run guidance --batch        the lesson with what its commands say on this machine
  diffuscope lesson check                       are all of them still true?
  diffuscope lesson new my-lesson.md
  diffuscope lesson check my-lesson.md";

/// Flags of `diffuscope lesson`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct LessonArgs {
    #[command(subcommand)]
    command: Option<LessonCommand>,
    #[command(flatten)]
    language: LanguageArgs,
}

/// What `diffuscope lesson` can do beside listing them.
#[derive(Debug, Subcommand)]
enum LessonCommand {
    /// Carry a lesson out
    Run {
        /// The lesson's name, or its beginning
        name: String,
        /// Print it with what its commands say
        #[arg(long, required = true)]
        batch: bool,
        #[command(flatten)]
        language: LanguageArgs,
        #[command(flatten)]
        model: ModelArgs,
    },
    /// Carry lessons out and see whether what they say holds, in every language
    Check {
        /// A lesson, or a folder of them [default: those of the program]
        path: Option<PathBuf>,
        #[command(flatten)]
        model: ModelArgs,
    },
    /// Write a lesson to begin with
    New {
        /// The file
        file: PathBuf,
    },
}

/// Which language.
#[derive(Debug, Clone, Args)]
pub struct LanguageArgs {
    /// en or ja [default: as LANG says]
    #[arg(long, value_name = "LANGUAGE", value_parser = clap::builder::PossibleValuesParser::new(LANGUAGES))]
    lang: Option<String>,
}

impl LanguageArgs {
    fn language(&self) -> String {
        let of_environment = || {
            let set = ["LC_ALL", "LC_MESSAGES", "LANG"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
            let set = set.unwrap_or_default();
            LANGUAGES.into_iter().find(|known| set.starts_with(known)).unwrap_or(LANGUAGES[0]).to_string()
        };
        self.lang.clone().unwrap_or_else(of_environment)
    }
}

/// Runs the subcommand.
///
/// # Errors
/// In a line that names the culprit.
pub fn run(args: LessonArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => list(&args.language.language()),
        Some(LessonCommand::Run { name, language, model, .. }) => {
            transcript(&name, &language.language(), &model)
        }
        Some(LessonCommand::Check { path, model }) => check_all(path, &model),
        Some(LessonCommand::New { file }) => begin(&file),
    }
}

fn list(language: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for entry in &Library::bundled().entries {
        let lesson = read(entry, language)?;
        let front = &lesson.front;
        writeln!(
            out,
            "{:24} {} ({} min)\n{:24} {}",
            entry.name, front.title, front.minutes, "", front.summary
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(entry: &Entry, language: &str) -> anyhow::Result<Lesson> {
    let source = entry.source(language).with_context(|| format!("{}: no file", entry.name))?;
    Lesson::read(source.clone()).map_err(|problems| anyhow::anyhow!("{}", reports(&problems)))
}

fn reports(problems: &[Problem]) -> String {
    problems.iter().map(|problem| problem.report(false)).collect()
}

fn transcript(name: &str, language: &str, model: &ModelArgs) -> anyhow::Result<ExitCode> {
    let library = Library::bundled();
    let names = || library.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ");
    let entry =
        library.find(name).with_context(|| format!("no lesson `{name}`; expected one of {}", names()))?;
    let lesson = read(entry, language)?;
    let models = Arc::new(model.load(Box::new(|_, _| ()))?);
    let mut playing = Playing::start(&lesson, models)?;
    let (mut text, mut problems) =
        (format!("# {}\n\n{}\n", lesson.front.title, lesson.front.summary), vec![]);
    playing.play(&mut |told| match told {
        Told::Prose(prose) => text.push_str(&format!("\n{}\n", prose.trim())),
        Told::Ran(line, outcome) => {
            text.push_str(&format!("\n    > {}\n{}", line.text, indented(&outcome.text())))
        }
        Told::Holds(expected) => text.push_str(&format!("\n    holds: {}\n", expected.expression.text())),
        Told::Asked(question) => {
            text.push_str(&format!("\n{}\n", question.question));
            question.choices.iter().for_each(|choice| text.push_str(&format!("- {}\n", choice.text)));
        }
        Told::Answered(question, choice) => {
            text.push_str(&format!("\n→ {}. {}\n", choice.text, question.why))
        }
        Told::Task(task) => text.push_str(&format!("\n{}\n", task.task)),
        Told::Wrong(problem) => problems.push(problem),
    });
    io::stdout().lock().write_all(text.as_bytes())?;
    told(&problems)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Every problem on stderr; the exit code that says whether there were any.
fn told(problems: &[Problem]) -> anyhow::Result<ExitCode> {
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut err = io::stderr().lock();
    for problem in problems {
        write!(err, "{}", problem.report(coloured))?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_all(path: Option<PathBuf>, model: &ModelArgs) -> anyhow::Result<ExitCode> {
    let library = match &path {
        Some(path) => Library::at(path)?,
        None => Library::bundled(),
    };
    ensure!(
        !library.entries.is_empty(),
        "{}: no lessons; expected files that end in .md, or en and ja with such files",
        path.unwrap_or_default().display()
    );
    let models = Arc::new(model.load(Box::new(|_, _| ()))?);
    let checked = check(&library, &models, |name| eprintln!("{name}"));
    println!(
        "{} lessons, {} conditions hold, {} problems",
        checked.lessons,
        checked.holds,
        checked.problems.len()
    );
    told(&checked.problems)
}

/// A lesson that passes its check, to begin with.
const SKELETON: &str = include_str!("../lesson/skeleton.md");

fn begin(file: &Path) -> anyhow::Result<ExitCode> {
    ensure!(
        file.extension().is_some_and(|e| e == "md"),
        "{}: expected a file that ends in .md",
        file.display()
    );
    if file.exists() {
        bail!("{}: there is a file already; expected a new one", file.display());
    }
    write_beside(file, SKELETON.as_bytes())?;
    say(
        "note",
        &format!("{} written; `diffuscope lesson check {}` carries it out", file.display(), file.display()),
    );
    Ok(ExitCode::SUCCESS)
}

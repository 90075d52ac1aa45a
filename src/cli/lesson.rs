//! `diffuscope lesson`: list, run, check and create lessons.

use super::args::ModelArgs;
use super::say;
use crate::lesson::check::check;
use crate::lesson::library::{Entry, LANGUAGES, Library};
use crate::lesson::playing::{LessonEvent, LessonRunner, session};
use crate::lesson::{Lesson, Problem, Progress, Reading};
use crate::nn::ComputePool;
use crate::pipeline::dump::write_beside;
use crate::tui::config::Config;
use crate::tui::pictures::Choice;
use crate::tui::{self, Study};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tr::tr;

const EXAMPLES: &str = "\
Examples:
  diffuscope lesson                             list the lessons with your progress
  diffuscope lesson run guidance                run one in the interface, from where you stopped
  diffuscope lesson run 5 --batch               print one with the output of its commands
  diffuscope lesson reset guidance              start it from the beginning next time
  diffuscope lesson check                       check all lessons
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

/// The subcommands of `diffuscope lesson`.
#[derive(Debug, Subcommand)]
enum LessonCommand {
    /// Run a lesson from where you stopped
    Run(RunArgs),
    /// Reset your progress
    Reset {
        /// The lesson's number, or its name or the beginning of it [default: all lessons]
        name: Option<String>,
    },
    /// Run lessons in every language and check their conditions
    Check {
        /// A lesson, or a folder of lessons [default: the bundled lessons]
        path: Option<PathBuf>,
        #[command(flatten)]
        model: ModelArgs,
    },
    /// Write a template for a new lesson
    New {
        /// The file
        file: PathBuf,
    },
}

/// Flags of `diffuscope lesson run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// The lesson's number, or its name or the beginning of it; or a file that ends in .md
    name: String,
    /// Print it with the output of its commands; the default without a terminal
    #[arg(long)]
    batch: bool,
    /// Protocol for images [default: from config.toml, or detected]
    #[arg(long, value_name = "HOW", conflicts_with = "batch")]
    graphics: Option<Choice>,
    #[command(flatten)]
    language: LanguageArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// The language of lessons.
#[derive(Debug, Clone, Args)]
pub struct LanguageArgs {
    /// en or ja [default: from LANG]
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
/// Every error is a message of one line.
pub fn run(args: LessonArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => list(&args.language.language()),
        Some(LessonCommand::Run(args)) => go_through(args),
        Some(LessonCommand::Reset { name }) => reset(name.as_deref()),
        Some(LessonCommand::Check { path, model }) => check_all(path, &model),
        Some(LessonCommand::New { file }) => begin(&file),
    }
}

fn list(language: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let (progress, warning) = Progress::of_reader().load();
    warning.iter().for_each(|warning| say("warning", warning));
    for entry in &Library::bundled().entries {
        let lesson = read(entry, language)?;
        let front = &lesson.front;
        let progress = progress.get(&entry.name).cloned().unwrap_or_default();
        writeln!(
            out,
            "{:24} {} ({} min) · {progress}\n{:24} {}",
            entry.name, front.title, front.minutes, "", front.summary
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn reset(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let library = Library::bundled();
    // The progress in a file is stored under its path.
    let name = match name {
        Some(name) => Some(match library.find(name) {
            Ok(entry) => entry.name.clone(),
            Err(_) if is_file(name) => path_of(name),
            Err(e) => return Err(e.into()),
        }),
        None => None,
    };
    let count = Progress::of_reader().reset(name.as_deref())?;
    match (name, count) {
        (Some(name), 0) => println!("{}", tr!("{name} was not begun", name)),
        (Some(name), _) => println!("{}", tr!("{name} starts from the beginning", name)),
        (None, 1) => println!("{}", tr!("1 lesson starts from the beginning")),
        (None, count) => println!("{}", tr!("{count} lessons start from the beginning", count)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a name is that of a file instead of a bundled lesson.
fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "md")
}

/// A file's absolute path.
fn path_of(name: &str) -> String {
    std::path::absolute(name).unwrap_or_else(|_| name.into()).display().to_string()
}

/// Runs a lesson in the interface; without a terminal or with `--batch`, as text.
fn go_through(args: RunArgs) -> anyhow::Result<ExitCode> {
    let library = if is_file(&args.name) { Library::at(Path::new(&args.name))? } else { Library::bundled() };
    let entry = match &library.entries[..] {
        [file] if file.is_alone => file,
        _ => library.find(&args.name)?,
    };
    let source = entry.source(&args.language.language()).with_context(|| tr!("{}: no file", entry.name))?;
    let lesson = match Lesson::read(source.clone()) {
        Ok(lesson) => lesson,
        Err(problems) => return report(&problems),
    };
    args.model.fetch()?;
    if args.batch || !io::stdout().is_terminal() {
        return transcript(&lesson, &args.model);
    }
    let mut config = Config::load()?;
    config.graphics = args.graphics.unwrap_or(config.graphics);
    let name = if entry.is_alone { path_of(&args.name) } else { entry.name.clone() };
    let progress = Progress::of_reader();
    let (stored, warning) = progress.load();
    let lesson = Arc::new(lesson);
    let reading = Reading::new(Arc::clone(&lesson), stored.get(&name));
    let load = move |tell| {
        let models = args.model.load(tell).map_err(|e| e.to_string())?;
        session(&lesson, Arc::new(models)).map_err(|e| tr!("{}: its settings: {e}", lesson.source.name(), e))
    };
    if let Err(e) = tui::run(config, Some(Study { reading, name, progress, warning }), load) {
        say("error", &e.to_string());
        return Ok(ExitCode::from(e.exit_code()));
    }
    Ok(ExitCode::SUCCESS)
}

fn read(entry: &Entry, language: &str) -> anyhow::Result<Lesson> {
    let source = entry.source(language).with_context(|| tr!("{}: no file", entry.name))?;
    Lesson::read(source.clone()).map_err(|problems| anyhow::anyhow!("{}", reports(&problems)))
}

fn reports(problems: &[Problem]) -> String {
    problems.iter().map(|problem| problem.report(false)).collect()
}

fn transcript(lesson: &Lesson, model: &ModelArgs) -> anyhow::Result<ExitCode> {
    let _pool = ComputePool::enter();
    let models = Arc::new(model.load(Box::new(|_, _| ()))?);
    let mut runner = LessonRunner::start(lesson, models)?;
    let (mut text, mut problems) =
        (format!("# {}\n\n{}\n", lesson.front.title, lesson.front.summary), vec![]);
    runner.play(&mut |event| match event {
        LessonEvent::Prose(prose) => text.push_str(&format!("\n{}\n", prose.trim())),
        LessonEvent::Ran(line, outcome) => {
            text.push_str(&format!("\n    > {}\n{}", line.text, indented(&outcome.text())))
        }
        LessonEvent::Holds(expected) => {
            text.push_str(&format!("\n    holds: {}\n", expected.expression.text()))
        }
        LessonEvent::Question(question) => {
            text.push_str(&format!("\n{}\n", question.question));
            question.choices.iter().for_each(|choice| text.push_str(&format!("- {}\n", choice.text)));
        }
        LessonEvent::Answer(question, choice) => {
            text.push_str(&format!("\n→ {}. {}\n", choice.text, question.why))
        }
        LessonEvent::Task(task) => text.push_str(&format!("\n{}\n", task.task)),
        LessonEvent::Problem(problem) => problems.push(problem),
    });
    io::stdout().lock().write_all(text.as_bytes())?;
    report(&problems)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Prints every problem to stderr; the exit code tells whether there were any.
fn report(problems: &[Problem]) -> anyhow::Result<ExitCode> {
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
    model.fetch()?;
    let _pool = ComputePool::enter();
    let models = Arc::new(model.load(Box::new(|_, _| ()))?);
    let checked = check(&library, &models, |name| eprintln!("{name}"));
    println!(
        "{}",
        tr!(
            "{} lessons, {} conditions hold, {} problems",
            checked.lessons,
            checked.holds,
            checked.problems.len()
        )
    );
    report(&checked.problems)
}

/// A template that passes its check.
const SKELETON: &str = include_str!("../lesson/skeleton.md");

fn begin(file: &Path) -> anyhow::Result<ExitCode> {
    ensure!(
        file.extension().is_some_and(|e| e == "md"),
        "{}: expected a file that ends in .md",
        file.display()
    );
    if file.exists() {
        bail!("{}", tr!("{}: the file exists already; expected a new one", file.display()));
    }
    write_beside(file, SKELETON.as_bytes())?;
    say("note", &tr!("{} written; `diffuscope lesson check {}` checks it", file.display(), file.display()));
    Ok(ExitCode::SUCCESS)
}

//! `diffuscope lesson`: lessons, listed, carried out, checked, begun.

use super::args::ModelArgs;
use super::say;
use crate::lesson::check::check;
use crate::lesson::library::{Entry, LANGUAGES, Library};
use crate::lesson::playing::{LessonRunner, Told, session};
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

const EXAMPLES: &str = "\
Examples:
  diffuscope lesson                             list them, with how far you are
  diffuscope lesson run guidance                in the interface; goes on where you left it
  diffuscope lesson run 5 --batch               the lesson with what its commands say on this machine
  diffuscope lesson reset guidance              begin it anew next time
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
    /// Go through a lesson, where it was left
    Run(RunArgs),
    /// Forget how far you are
    Reset {
        /// The lesson's name, its number or its beginning [default: all of them]
        name: Option<String>,
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

/// Flags of `diffuscope lesson run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// The lesson's name, its number or its beginning; or a file that ends in .md
    name: String,
    /// Print it with what its commands say; so it is without a terminal
    #[arg(long)]
    batch: bool,
    /// How pictures are drawn [default: as config.toml says, or as the terminal says that it can]
    #[arg(long, value_name = "HOW", conflicts_with = "batch")]
    graphics: Option<Choice>,
    #[command(flatten)]
    language: LanguageArgs,
    #[command(flatten)]
    model: ModelArgs,
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
        Some(LessonCommand::Run(args)) => go_through(args),
        Some(LessonCommand::Reset { name }) => reset(name.as_deref()),
        Some(LessonCommand::Check { path, model }) => check_all(path, &model),
        Some(LessonCommand::New { file }) => begin(&file),
    }
}

fn list(language: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let (standings, told) = Progress::of_reader().standings();
    told.iter().for_each(|told| say("warning", told));
    for entry in &Library::bundled().entries {
        let lesson = read(entry, language)?;
        let front = &lesson.front;
        let standing = standings.get(&entry.name).cloned().unwrap_or_default();
        writeln!(
            out,
            "{:24} {} ({} min) · {standing}\n{:24} {}",
            entry.name, front.title, front.minutes, "", front.summary
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn reset(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let library = Library::bundled();
    // What is kept of a file is known by its path.
    let name = match name {
        Some(name) => Some(match library.find(name) {
            Ok(entry) => entry.name.clone(),
            Err(_) if is_file(name) => path_of(name),
            Err(e) => return Err(e.into()),
        }),
        None => None,
    };
    let forgotten = Progress::of_reader().forget(name.as_deref())?;
    match (name, forgotten) {
        (Some(name), 0) => println!("{name} was not begun"),
        (Some(name), _) => println!("{name} begins anew"),
        (None, count) => println!("{count} lessons begin anew"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a name is meant for a file rather than for one of the program's lessons.
fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "md")
}

/// A file's path, whichever folder it is named from.
fn path_of(name: &str) -> String {
    std::path::absolute(name).unwrap_or_else(|_| name.into()).display().to_string()
}

/// In the interface; without a terminal, or when asked to, as text.
fn go_through(args: RunArgs) -> anyhow::Result<ExitCode> {
    let library = if is_file(&args.name) { Library::at(Path::new(&args.name))? } else { Library::bundled() };
    let entry = match &library.entries[..] {
        [file] if file.is_alone => file,
        _ => library.find(&args.name)?,
    };
    let source =
        entry.source(&args.language.language()).with_context(|| format!("{}: no file", entry.name))?;
    let lesson = match Lesson::read(source.clone()) {
        Ok(lesson) => lesson,
        Err(problems) => return told(&problems),
    };
    args.model.fetch()?;
    if args.batch || !io::stdout().is_terminal() {
        return transcript(&lesson, &args.model);
    }
    let mut config = Config::load()?;
    config.graphics = args.graphics.unwrap_or(config.graphics);
    let name = if entry.is_alone { path_of(&args.name) } else { entry.name.clone() };
    let progress = Progress::of_reader();
    let (standings, warning) = progress.standings();
    let lesson = Arc::new(lesson);
    let reading = Reading::new(Arc::clone(&lesson), standings.get(&name));
    let load = move |tell| {
        let models = args.model.load(tell).map_err(|e| e.to_string())?;
        session(&lesson, Arc::new(models)).map_err(|e| format!("{}: its settings: {e}", lesson.source.name()))
    };
    if let Err(e) = tui::run(config, Some(Study { reading, name, progress, warning }), load) {
        say("error", &e.to_string());
        return Ok(ExitCode::from(e.exit_code()));
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

fn transcript(lesson: &Lesson, model: &ModelArgs) -> anyhow::Result<ExitCode> {
    let _pool = ComputePool::enter();
    let models = Arc::new(model.load(Box::new(|_, _| ()))?);
    let mut playing = LessonRunner::start(lesson, models)?;
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
    model.fetch()?;
    let _pool = ComputePool::enter();
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

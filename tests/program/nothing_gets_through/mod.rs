//! One table of everything bad that the program can be given, each row run by the real binary: it is refused in one line that
//! names the culprit, without a panic, without a file left behind, and in little memory.
//!
//! - [`checkpoints`]: every file of a checkpoint, broken in every way.
//! - [`embeddings`]: files of textual inversion.
//! - [`loras`]: files of LoRAs.
//! - [`single_files`]: checkpoints in one file, and what is given as one.
//! - [`numbers`]: every number of every subcommand, and of the debugger's commands.
//! - [`pictures`]: pictures that are given for their settings.
//! - [`texts`]: prompts, arguments, and files of commands and lessons.

#![cfg(unix)]

mod checkpoints;
mod embeddings;
mod loras;
mod numbers;
mod pictures;
mod single_files;
mod texts;

use crate::support::program::{Ran, run};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use tempfile::TempDir;

/// A row: what the program is given, and how it has to end.
struct Row {
    /// What is bad, for whoever reads that it got through.
    what: String,
    args: Vec<OsString>,
    stdin: Vec<u8>,
    ends: Ends,
    /// Whether root is dropped first, for whom no file is unreadable.
    as_nobody: bool,
}

/// How a row ends.
enum Ends {
    /// Exit 1, in one line with all of these.
    Refused(Vec<String>),
    /// Exit 2: clap knows that it is wrong, and says so with these.
    Usage(Vec<String>),
    /// Exit 0: it looks bad and is not.
    Works,
    /// Exit 3: done, with numbers that are not finite.
    NotFinite,
}

/// The memory of a row in kB, addresses that are only reserved included: well under the 500 MB that a refused file may take.
const MEMORY: usize = 480_000;

/// A program with `args` in `folder`, in so many kB of memory: where it asks for more, it dies of that.
fn limited(program: &Path, args: &[OsString], folder: &Path, memory: usize) -> Command {
    let mut command = if cfg!(target_os = "linux") {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -v {memory} && exec \"$0\" \"$@\"")).arg(program);
        shell
    } else {
        Command::new(program)
    };
    // A thread reserves addresses of its own.
    let threads = [("RAYON_NUM_THREADS", "2"), ("MALLOC_ARENA_MAX", "1")];
    command.args(args).current_dir(folder).env("RUST_BACKTRACE", "1").envs(threads);
    for home in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "HF_HOME"] {
        command.env(home, "/nonexistent");
    }
    command.env("HF_HUB_OFFLINE", "1");
    command
}

/// Why a row is bad, if it is.
fn complaint(row: &Row) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let program = if row.as_nobody { &REACHABLE.1 } else { Path::new(env!("CARGO_BIN_EXE_diffuscope")) };
    let mut command = limited(program, &row.args, folder.path(), MEMORY);
    if row.as_nobody {
        drop_root(&mut command, folder.path());
    }
    let Ran { code, stderr, .. } = run(command, &row.stdin);
    let stderr = stderr.trim_end();
    let (expected, said, lines) = match &row.ends {
        Ends::Refused(said) => (1, &said[..], 1),
        Ends::Usage(said) => (2, &said[..], usize::MAX),
        Ends::Works => (0, &[][..], usize::MAX),
        Ends::NotFinite => (3, &[][..], usize::MAX),
    };
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let lacks = said.iter().find(|words| !stderr.contains(&***words));
    let panics = ["panicked", "RUST_BACKTRACE", "stack backtrace", "   0: "];
    // What is right may warn before what is wrong is found.
    let told = stderr.lines().filter(|line| !line.starts_with("warning: ")).count();
    // Done, or refused.
    let is_refused = !matches!(row.ends, Ends::Works | Ends::NotFinite);
    let wrong = if code != Some(expected) {
        format!("it ended with {code:?}; expected {expected}")
    } else if let Some(word) = panics.iter().find(|word| stderr.contains(**word)) {
        format!("`{word}` is told")
    } else if is_refused && !(stderr.contains("error: ") && (1..=lines).contains(&told)) {
        format!("it said {told} lines")
    } else if stderr.len() > 3000 {
        format!("it said {} bytes", stderr.len())
    } else if let Some(words) = lacks {
        format!("it did not say `{words}`")
    } else if !left.is_empty() && is_refused {
        format!("it left {left:?}")
    } else {
        return None;
    };
    Some(format!("{}: {wrong}: {}", row.what, stderr.chars().take(600).collect::<String>()))
}

/// The program where everybody can reach it.
static REACHABLE: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (program, link) = (env!("CARGO_BIN_EXE_diffuscope"), folder.path().join("diffuscope"));
    fs::hard_link(program, &link).or_else(|_| fs::copy(program, &link).map(drop)).unwrap();
    (folder, link)
});

/// The rights of nobody, where we are root.
fn drop_root(command: &mut Command, folder: &Path) {
    const NOBODY: u32 = 65534;
    // What we made is ours.
    if fs::metadata(folder).unwrap().uid() == 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Runs every row, as many at once as there are cores, and tells all that got through.
#[track_caller]
fn judge(rows: &[Row]) {
    let (next, bad) = (AtomicUsize::new(0), Mutex::new(vec![]));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    bad.lock().unwrap().extend(complaint(row));
                }
            });
        }
    });
    let bad = bad.into_inner().unwrap();
    assert!(bad.is_empty(), "{} of {} rows:\n{}", bad.len(), rows.len(), bad.join("\n"));
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// The limit of memory is one: in less than the program itself takes, it does not start.
#[cfg(target_os = "linux")]
#[test]
fn a_row_that_takes_too_much_memory_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_diffuscope"));
    let large = words("run --steps 1 --width 1024 --height 1024");
    assert_ne!(run(limited(program, &large, folder.path(), MEMORY), b"").code, Some(0));
    assert_eq!(run(limited(program, &words("run --steps 1"), folder.path(), MEMORY), b"").code, Some(0));
}

//! The console's history, kept from one run of the program to the next.

use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// The number of lines that are kept.
pub const MOST: usize = 200;

/// A file of lines, the newest last. When it cannot be read or written there is no history; nothing else fails.
#[derive(Debug)]
pub struct History {
    file: Option<PathBuf>,
}

impl History {
    /// The user's history: `$XDG_STATE_HOME/diffuscope/history`.
    pub fn of_reader() -> Self {
        let state = Xdg::new().ok().and_then(|xdg| xdg.state_dir());
        Self { file: state.map(|state| state.join("diffuscope").join("history")) }
    }

    /// The lines of earlier runs. Cuts the file to the limit.
    pub fn lines(&self) -> Vec<String> {
        let Some(file) = &self.file else { return vec![] };
        let Ok(opened) = File::open(file) else { return vec![] };
        let lines: Vec<String> = BufReader::new(opened).lines().map_while(Result::ok).collect();
        let kept = lines[lines.len().saturating_sub(MOST)..].to_vec();
        if kept.len() < lines.len() {
            let _ = rewrite(file, &kept);
        }
        kept
    }

    /// Adds a line.
    pub fn add(&self, line: &str) {
        if let Some(file) = &self.file {
            let _ = append(file, line);
        }
    }
}

fn append(file: &Path, line: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // One write, so that two programs do not mix their lines.
    OpenOptions::new().create(true).append(true).open(file)?.write_all(format!("{line}\n").as_bytes())
}

fn rewrite(file: &Path, lines: &[String]) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>())?;
    fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let history = History { file: Some(folder.path().join("state/diffuscope/history")) };
        assert!(history.lines().is_empty());
        for n in 0..MOST + 5 {
            history.add(&format!("print {n}"));
        }
        let lines = history.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (MOST, "print 5"));
        history.add("next");
        assert_eq!(history.lines().last().unwrap(), "next");
    }

    #[test]
    fn without_a_place_there_is_none() {
        let history = History { file: None };
        history.add("next");
        assert!(history.lines().is_empty());
    }
}

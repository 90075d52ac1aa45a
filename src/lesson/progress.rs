//! The reader's progress in each lesson, stored in a file.

use crate::pipeline::dump::{read_text, write_beside};
use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tr::tr;

/// The version of the file's format.
const VERSION: u32 = 1;

/// The reader's progress in a lesson.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonProgress {
    /// The number of finished stops.
    pub done: usize,
    /// The number of stops.
    pub of: usize,
    /// Whether it was finished once.
    #[serde(default)]
    pub finished: bool,
    /// The index of the chosen answer to each question so far.
    #[serde(default)]
    pub answers: Vec<Option<usize>>,
}

impl LessonProgress {
    /// Whether it is begun and not finished.
    pub fn is_begun(&self) -> bool {
        0 < self.done && self.done < self.of
    }
}

impl std::fmt::Display for LessonProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { done, of, .. } = self;
        match (self.is_begun(), self.finished) {
            (true, false) => f.write_str(&tr!("part {} of {of}", done + 1, of)),
            (true, true) => f.write_str(&tr!("done; again at part {} of {of}", done + 1, of)),
            (false, true) => write!(f, "done"),
            (false, false) => f.write_str(&tr!("not begun")),
        }
    }
}

/// The file: `$XDG_STATE_HOME/diffuscope/lessons.json`.
#[derive(Debug, Clone)]
pub struct Progress {
    file: Option<PathBuf>,
}

/// The progress of every begun lesson, by name.
pub type ProgressByLesson = BTreeMap<String, LessonProgress>;

#[derive(Serialize, Deserialize)]
struct ProgressFile {
    version: u32,
    lessons: ProgressByLesson,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Progress {
    /// The user's progress file.
    pub fn of_reader() -> Self {
        let state = Xdg::new().ok().and_then(|xdg| xdg.state_dir());
        Self { file: state.map(|state| state.join("diffuscope").join("lessons.json")) }
    }

    /// The progress in `file`.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()) }
    }

    /// The file; `None` without a home folder.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The progress in every lesson. If the file is invalid, it counts as empty, and a warning is returned.
    pub fn load(&self) -> (ProgressByLesson, Option<String>) {
        let Some(file) = &self.file else { return (ProgressByLesson::new(), None) };
        match read(file) {
            Ok(lessons) => (lessons, None),
            Err(why) => {
                let warning = tr!("{}: {why}; lessons start from the beginning", file.display(), why);
                (ProgressByLesson::new(), Some(warning))
            }
        }
    }

    /// Stores the progress in a lesson. An invalid file is renamed to `lessons.json.old`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn store(&self, lesson: &str, progress: &LessonProgress) -> io::Result<()> {
        self.change(|lessons| {
            lessons.insert(lesson.into(), progress.clone());
        })
    }

    /// Resets a lesson, or all; returns the number of lessons.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reset(&self, lesson: Option<&str>) -> io::Result<usize> {
        let mut count = 0;
        self.change(|lessons| {
            let before = lessons.len();
            lessons.retain(|name, _| lesson.is_some_and(|lesson| lesson != name));
            count = before - lessons.len();
        })?;
        Ok(count)
    }

    fn change(&self, change: impl FnOnce(&mut ProgressByLesson)) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut lessons = match read(file) {
            Ok(lessons) => lessons,
            Err(_) => {
                std::fs::rename(file, file.with_extension("json.old"))?;
                ProgressByLesson::new()
            }
        };
        change(&mut lessons);
        let text = serde_json::to_vec_pretty(&ProgressFile { version: VERSION, lessons })?;
        write_beside(file, &text).map_err(io::Error::other)
    }
}

/// Reads a file; a missing one is empty. The error is a message of one line.
fn read(file: &Path) -> Result<ProgressByLesson, String> {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(ProgressByLesson::new()),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            return Err(tr!("not a progress file: {e}", e));
        }
        Err(e) => return Err(tr!("cannot be read: {e}", e)),
    };
    let broken = |e: serde_json::Error| tr!("not a progress file: {e}", e);
    let Versioned { version } = serde_json::from_str(&text).map_err(broken)?;
    if version != VERSION {
        return Err(tr!(
            "version {version}, of another release of diffuscope; expected version {VERSION}",
            version,
            VERSION
        ));
    }
    let file: ProgressFile = serde_json::from_str(&text).map_err(broken)?;
    Ok(file.lessons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress_of(done: usize) -> LessonProgress {
        LessonProgress { done, of: 4, finished: done == 4, answers: vec![Some(1), None] }
    }

    #[test]
    fn progress_is_stored_until_it_is_reset() {
        let folder = tempfile::tempdir().unwrap();
        let progress = Progress::at(folder.path().join("state/diffuscope/lessons.json"));
        assert_eq!(progress.load(), (ProgressByLesson::new(), None));
        progress.store("01-a", &progress_of(2)).unwrap();
        progress.store("02-b", &progress_of(4)).unwrap();
        let (lessons, warning) = progress.load();
        assert_eq!(
            (lessons["01-a"].clone(), lessons["02-b"].clone(), warning),
            (progress_of(2), progress_of(4), None)
        );
        assert_eq!(progress.reset(Some("01-a")).unwrap(), 1);
        assert_eq!(progress.reset(Some("01-a")).unwrap(), 0);
        assert_eq!(progress.reset(None).unwrap(), 1);
        assert!(progress.load().0.is_empty());
    }

    #[test]
    fn an_invalid_file_gives_a_warning_and_is_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lessons.json");
        let progress = Progress::at(&file);
        for (text, expected) in [
            (&b""[..], "not a progress file"),
            (b"\xff\xfe", "not a progress file"),
            (b"{\"version\": 1}", "missing field `lessons`"),
            (b"{\"version\": 1, \"lessons\": {\"a\": {\"done\": -1, \"of\": 2}}}", "-1"),
            (b"{\"version\": 2, \"lessons\": []}", "version 2, of another release"),
        ] {
            std::fs::write(&file, text).unwrap();
            let (lessons, warning) = progress.load();
            let warning = warning.unwrap();
            assert!(lessons.is_empty() && warning.contains(expected), "{warning}");
            assert!(warning.contains("start from the beginning"), "{warning}");
            progress.store("01-a", &progress_of(1)).unwrap();
            assert_eq!(progress.load().0["01-a"], progress_of(1));
            assert_eq!(std::fs::read(folder.path().join("lessons.json.old")).unwrap(), text);
        }
    }

    #[test]
    fn progress_is_displayed() {
        let text = |done, of, finished| LessonProgress { done, of, finished, answers: vec![] }.to_string();
        assert_eq!(text(0, 4, false), "not begun");
        assert_eq!(text(2, 4, false), "part 3 of 4");
        assert_eq!(text(4, 4, true), "done");
        assert_eq!(text(1, 4, true), "done; again at part 2 of 4");
    }
}

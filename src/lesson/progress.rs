//! How far a reader is in each lesson: kept in a file, from one run of the program to the next.

use crate::pipeline::dump::{read_text, write_beside};
use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What this program writes; a file of a higher one is another's.
const VERSION: u32 = 1;

/// How far a reader is in a lesson.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonProgress {
    /// Parts that are done.
    pub done: usize,
    /// Parts that there were.
    pub of: usize,
    /// Whether it was done to the end once.
    #[serde(default)]
    pub finished: bool,
    /// What was answered to each question so far: the place of the choice.
    #[serde(default)]
    pub answers: Vec<Option<usize>>,
}

impl LessonProgress {
    /// Whether the reader is in the middle of it.
    pub fn is_begun(&self) -> bool {
        0 < self.done && self.done < self.of
    }
}

impl std::fmt::Display for LessonProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { done, of, .. } = self;
        match (self.is_begun(), self.finished) {
            (true, false) => write!(f, "part {} of {of}", done + 1),
            (true, true) => write!(f, "done; again at part {} of {of}", done + 1),
            (false, true) => write!(f, "done"),
            (false, false) => write!(f, "not begun"),
        }
    }
}

/// The file: `$XDG_STATE_HOME/diffuscope/lessons.json`.
#[derive(Debug, Clone)]
pub struct Progress {
    file: Option<PathBuf>,
}

/// Every lesson that was begun, by its name.
pub type Standings = BTreeMap<String, LessonProgress>;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    lessons: Standings,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Progress {
    /// The reader's.
    pub fn of_reader() -> Self {
        let state = Xdg::new().ok().and_then(|xdg| xdg.state_dir());
        Self { file: state.map(|state| state.join("diffuscope").join("lessons.json")) }
    }

    /// What `file` holds.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()) }
    }

    /// Where it is kept; `None` without a home folder.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// How far the reader is in every lesson; and, where the file cannot be understood, what is wrong with it. It then
    /// counts as empty.
    pub fn standings(&self) -> (Standings, Option<String>) {
        let Some(file) = &self.file else { return (Standings::new(), None) };
        match read(file) {
            Ok(standings) => (standings, None),
            Err(why) => {
                let told = format!("{}: {why}; lessons begin anew", file.display());
                (Standings::new(), Some(told))
            }
        }
    }

    /// Keeps how far the reader is in a lesson. A file that could not be understood is set aside as `lessons.json.old`.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn keep(&self, lesson: &str, standing: &LessonProgress) -> io::Result<()> {
        self.change(|standings| {
            standings.insert(lesson.into(), standing.clone());
        })
    }

    /// Forgets a lesson, or all; how many there were.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn forget(&self, lesson: Option<&str>) -> io::Result<usize> {
        let mut forgotten = 0;
        self.change(|standings| {
            let before = standings.len();
            standings.retain(|name, _| lesson.is_some_and(|lesson| lesson != name));
            forgotten = before - standings.len();
        })?;
        Ok(forgotten)
    }

    fn change(&self, change: impl FnOnce(&mut Standings)) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut lessons = match read(file) {
            Ok(lessons) => lessons,
            Err(_) => {
                std::fs::rename(file, file.with_extension("json.old"))?;
                Standings::new()
            }
        };
        change(&mut lessons);
        let text = serde_json::to_vec_pretty(&Kept { version: VERSION, lessons })?;
        write_beside(file, &text).map_err(io::Error::other)
    }
}

/// What a file holds; nothing where there is none. What is wrong with it, in a line.
fn read(file: &Path) -> Result<Standings, String> {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Standings::new()),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            return Err(format!("no progress that can be understood: {e}"));
        }
        Err(e) => return Err(format!("cannot be read: {e}")),
    };
    let broken = |e: serde_json::Error| format!("no progress that can be understood: {e}");
    let Versioned { version } = serde_json::from_str(&text).map_err(broken)?;
    if version != VERSION {
        return Err(format!("version {version}, of another diffuscope; expected version {VERSION}"));
    }
    let kept: Kept = serde_json::from_str(&text).map_err(broken)?;
    Ok(kept.lessons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(done: usize) -> LessonProgress {
        LessonProgress { done, of: 4, finished: done == 4, answers: vec![Some(1), None] }
    }

    #[test]
    fn what_is_kept_is_there_again_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let progress = Progress::at(folder.path().join("state/diffuscope/lessons.json"));
        assert_eq!(progress.standings(), (Standings::new(), None));
        progress.keep("01-a", &standing(2)).unwrap();
        progress.keep("02-b", &standing(4)).unwrap();
        let (standings, told) = progress.standings();
        assert_eq!(
            (standings["01-a"].clone(), standings["02-b"].clone(), told),
            (standing(2), standing(4), None)
        );
        assert_eq!(progress.forget(Some("01-a")).unwrap(), 1);
        assert_eq!(progress.forget(Some("01-a")).unwrap(), 0);
        assert_eq!(progress.forget(None).unwrap(), 1);
        assert!(progress.standings().0.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_told_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lessons.json");
        let progress = Progress::at(&file);
        for (text, expected) in [
            (&b""[..], "no progress that can be understood"),
            (b"\xff\xfe", "no progress that can be understood"),
            (b"{\"version\": 1}", "missing field `lessons`"),
            (b"{\"version\": 1, \"lessons\": {\"a\": {\"done\": -1, \"of\": 2}}}", "-1"),
            (b"{\"version\": 2, \"lessons\": []}", "version 2, of another diffuscope"),
        ] {
            std::fs::write(&file, text).unwrap();
            let (standings, told) = progress.standings();
            let told = told.unwrap();
            assert!(standings.is_empty() && told.contains(expected) && told.contains("begin anew"), "{told}");
            progress.keep("01-a", &standing(1)).unwrap();
            assert_eq!(progress.standings().0["01-a"], standing(1));
            assert_eq!(std::fs::read(folder.path().join("lessons.json.old")).unwrap(), text);
        }
    }

    #[test]
    fn how_far_is_told_in_words() {
        let told = |done, of, finished| LessonProgress { done, of, finished, answers: vec![] }.to_string();
        assert_eq!(told(0, 4, false), "not begun");
        assert_eq!(told(2, 4, false), "part 3 of 4");
        assert_eq!(told(4, 4, true), "done");
        assert_eq!(told(1, 4, true), "done; again at part 2 of 4");
    }
}

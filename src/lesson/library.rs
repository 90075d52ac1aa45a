//! The lessons that the program carries, and those of a folder.

use super::problem::Source;
use std::fs;
use std::io;
use std::path::Path;

/// The languages that a lesson is written in, by their codes; the first is taken where a reader's own is not there.
pub const LANGUAGES: [&str; 2] = ["en", "ja"];

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        &[$(($name, [
            include_str!(concat!("../../lessons/en/", $name, ".md")),
            include_str!(concat!("../../lessons/ja/", $name, ".md")),
        ])),*]
    };
}

/// The lessons that the program carries, by name, in the order of [`LANGUAGES`].
const BUNDLED: &[(&str, [&str; 2])] =
    bundled!["01-the-four-stages", "05-guidance", "06-ddim", "07-vae-decode", "08-when-it-goes-wrong"];

/// Lessons.
#[derive(Debug)]
pub struct Library {
    /// Each lesson, in the order of their names.
    pub entries: Vec<Entry>,
}

/// A lesson in its languages.
#[derive(Debug)]
pub struct Entry {
    /// Its name: the file's, without its ending.
    pub name: String,
    /// Its file in each of [`LANGUAGES`].
    pub languages: [Option<Source>; 2],
    /// Whether it is a file by itself, of which no translation is asked.
    pub is_alone: bool,
}

impl Entry {
    /// Its files.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.languages.iter().flatten()
    }

    /// Its file in a language, or in the first that there is.
    pub fn source(&self, language: &str) -> Option<&Source> {
        let place = LANGUAGES.iter().position(|known| *known == language);
        place.and_then(|place| self.languages[place].as_ref()).or_else(|| self.sources().next())
    }
}

impl Library {
    /// The lessons that the program carries.
    pub fn bundled() -> Self {
        let entry = |(name, texts): &(&str, [&str; 2])| {
            let mut languages = LANGUAGES
                .iter()
                .zip(texts)
                .map(|(language, text)| Some(Source::new(format!("lessons/{language}/{name}.md"), *text)));
            let mut next = || languages.next().flatten();
            Entry { name: (*name).into(), languages: [next(), next()], is_alone: false }
        };
        Self { entries: BUNDLED.iter().map(entry).collect() }
    }

    /// The lessons of a folder: of its `en` and `ja`, or its own files, each alone; or one file.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn at(path: &Path) -> io::Result<Self> {
        let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let read = |path: &Path| {
            let text = fs::read_to_string(path).map_err(|e| named(path, e))?;
            Ok::<_, io::Error>(Source::new(path.display().to_string(), text))
        };
        let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() {
            let entry = Entry { name: name(path), languages: [Some(read(path)?), None], is_alone: true };
            return Ok(Self { entries: vec![entry] });
        }
        let mut entries: Vec<Entry> = vec![];
        let is_split = LANGUAGES.iter().any(|language| path.join(language).is_dir());
        for (place, language) in LANGUAGES.iter().enumerate() {
            let folder = if is_split { path.join(language) } else { path.to_path_buf() };
            if !folder.is_dir() && is_split || !is_split && place > 0 {
                continue;
            }
            for file in fs::read_dir(&folder).map_err(|e| named(&folder, e))? {
                let file = file?.path();
                let is_lesson =
                    file.extension().is_some_and(|ending| ending == "md") && name(&file) != "README";
                if !is_lesson {
                    continue;
                }
                let source = Some(read(&file)?);
                match entries.iter_mut().find(|entry| entry.name == name(&file)) {
                    Some(entry) => entry.languages[place] = source,
                    None => {
                        let mut languages = [None, None];
                        languages[place] = source;
                        entries.push(Entry { name: name(&file), languages, is_alone: !is_split });
                    }
                }
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { entries })
    }

    /// The lesson of that name, or the one whose name begins so.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let exact = self.entries.iter().find(|entry| entry.name == name);
        exact.or_else(|| {
            let mut beginning = self.entries.iter().filter(|entry| {
                entry.name.starts_with(name)
                    || entry.name.split_once('-').is_some_and(|(_, rest)| rest.starts_with(name))
            });
            beginning.next().filter(|_| beginning.next().is_none())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_carries_every_lesson_that_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons");
        let there = Library::at(&folder).unwrap();
        let names =
            |library: &Library| library.entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&Library::bundled()), names(&there));
        assert!(Library::bundled().find("guidance").is_some());
    }
}

//! The bundled lessons, and those of a folder.

use super::problem::Source;
use crate::pipeline::dump::read_text;
use std::fs;
use std::io;
use std::path::Path;
use tr::tr;

/// The codes of the languages. The first is the fallback.
pub const LANGUAGES: [&str; 2] = ["en", "ja"];

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        &[$(($name, [
            include_str!(concat!("../../lessons/en/", $name, ".md")),
            include_str!(concat!("../../lessons/ja/", $name, ".md")),
        ])),*]
    };
}

/// The bundled lessons by name, with their texts in the order of [`LANGUAGES`].
const BUNDLED: &[(&str, [&str; 2])] = bundled![
    "00-noise-on-purpose",
    "01-the-four-stages",
    "02-encode-prompt",
    "03-get-latent",
    "04-denoise",
    "05-guidance",
    "06-ddim",
    "07-vae-decode",
    "08-when-it-goes-wrong",
    "09-the-unet",
    "10-attention",
];

/// Lessons.
#[derive(Debug)]
pub struct Library {
    /// The lessons, sorted by name.
    pub entries: Vec<Entry>,
}

/// A lesson in its languages.
#[derive(Debug)]
pub struct Entry {
    /// Its name: that of the file, without the extension.
    pub name: String,
    /// Its file in each of [`LANGUAGES`].
    pub languages: [Option<Source>; 2],
    /// Whether it is a single file, which needs no translation.
    pub is_alone: bool,
}

impl Entry {
    /// Its files.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.languages.iter().flatten()
    }

    /// Its file in a language, or in the first available one.
    pub fn source(&self, language: &str) -> Option<&Source> {
        let place = LANGUAGES.iter().position(|known| *known == language);
        place.and_then(|place| self.languages[place].as_ref()).or_else(|| self.sources().next())
    }
}

impl Library {
    /// The bundled lessons.
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

    /// The lessons of a folder with `en` and `ja`, the single files of a folder without them, or one file.
    ///
    /// # Errors
    /// When a file or folder cannot be read, with its path.
    pub fn at(path: &Path) -> io::Result<Self> {
        let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let read = |path: &Path| {
            let text = read_text(path).map_err(|e| named(path, e))?;
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

    /// The lesson with this name or number (`5`), or the only one whose name begins with it (`05`, `guid`).
    ///
    /// # Errors
    /// With the known names, or those that begin with it.
    pub fn find(&self, name: &str) -> Result<&Entry, FindError> {
        let lower = name.to_lowercase();
        let number = lower.parse::<usize>().ok();
        let is_it = |entry: &&Entry| {
            let (digits, rest) = entry.name.split_once('-').unwrap_or(("", &entry.name));
            entry.name == lower || rest == lower || number.is_some() && digits.parse().ok() == number
        };
        if let Some(entry) = self.entries.iter().find(is_it) {
            return Ok(entry);
        }
        let begins = |entry: &&Entry| {
            let rest = entry.name.split_once('-').map_or("", |(_, rest)| rest);
            entry.name.starts_with(&lower) || rest.starts_with(&lower)
        };
        let found: Vec<&Entry> = self.entries.iter().filter(begins).filter(|_| !lower.is_empty()).collect();
        let names = |entries: &mut dyn Iterator<Item = &Entry>| {
            entries.map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        match found[..] {
            [one] => Ok(one),
            [] => Err(FindError::Unknown { name: name.into(), known: names(&mut self.entries.iter()) }),
            _ => Err(FindError::Ambiguous { name: name.into(), found: names(&mut found.into_iter()) }),
        }
    }
}

/// Why a lesson was not found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FindError {
    /// No name begins with it.
    #[error("{}", tr!(
        "no lesson `{name}`; expected the name, the number or the beginning of one of {known}",
        name = .name, known = .known
    ))]
    Unknown {
        /// The requested name.
        name: String,
        /// The known names.
        known: String,
    },
    /// More than one name begins with it.
    #[error("{}", tr!(
        "`{name}` could be {found}; expected more of the name",
        name = .name, found = .found
    ))]
    Ambiguous {
        /// The requested name.
        name: String,
        /// The names that begin with it.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lesson_of_the_folder_is_bundled() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons");
        let in_folder = Library::at(&folder).unwrap();
        let names =
            |library: &Library| library.entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&Library::bundled()), names(&in_folder));
    }

    #[test]
    fn a_lesson_is_found_by_name_number_or_beginning() {
        let entry = |name: &str| Entry { name: name.into(), languages: [None, None], is_alone: false };
        let names = ["01-the-four-stages", "05-guidance", "06-ddim", "15-the-end"];
        let library = Library { entries: names.map(entry).into() };
        let found = |name: &str| library.find(name).map(|entry| entry.name.clone());
        for name in ["05-guidance", "guidance", "Guid", "5", "05", "05-g"] {
            assert_eq!(found(name).unwrap(), "05-guidance", "{name}");
        }
        assert_eq!(
            found("the").unwrap_err().to_string(),
            "`the` could be 01-the-four-stages, 15-the-end; expected more of the name"
        );
        for name in ["", "7", "four", "guidances"] {
            let error = found(name).unwrap_err().to_string();
            assert!(error.contains(&format!("no lesson `{name}`")) && error.contains("06-ddim"), "{error}");
        }
    }
}

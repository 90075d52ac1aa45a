//! What is in a snapshot's folder: files, and links that lead to none. hf-hub looks for one file at a time.

use super::choice::Paths;
use super::{Digest, HubError, HubName};
use crate::checkpoint::layout::Precision;
use crate::nn::links::end_of;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tr::tr;

/// A link of a snapshot that leads to no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLink {
    /// The file's path inside the model.
    pub path: String,
    /// The place that it leads to, at the end of all links.
    pub target: PathBuf,
}

impl std::fmt::Display for BrokenLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&tr!("{} is a link to {}, where there is no file", self.path, self.target.display()))
    }
}

/// The names in a folder; none where there is no such folder.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// How deep folders are read: no model is as deep, and a link may lead in a circle.
const DEPTH: usize = 4;

/// Whether a folder can be read, if it is there, and the folders in it down to `depth`.
///
/// # Errors
/// Names the folder that cannot.
pub(super) fn check_readable(folder: &Path, depth: usize) -> Result<(), HubError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| HubError::File { path: folder.into(), error })?,
    };
    if depth == 0 {
        return Ok(());
    }
    let folders =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() && !is_link_to_blob(path));
    folders.into_iter().try_for_each(|path| check_readable(&path, depth - 1))
}

/// The same of a folder of snapshots.
pub(super) fn check_snapshots(folder: &Path) -> Result<(), HubError> {
    check_readable(folder, DEPTH + 1)
}

/// What is in a folder and the folders in it, by paths with `/`, sorted.
pub(super) struct Tree {
    pub files: Vec<String>,
    pub broken: Vec<BrokenLink>,
}

impl Tree {
    pub fn of(folder: &Path) -> Self {
        // Left by file managers; Python passes over them too.
        const FOREIGN: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];
        fn walk(folder: &Path, before: &str, depth: usize, found: &mut Tree) {
            for name in names_in(folder) {
                let (path, name) = (folder.join(&name), format!("{before}{name}"));
                match fs::metadata(&path) {
                    // A blob is a file; only people link folders, and under other names.
                    Ok(is) if is.is_dir() && depth > 0 && !is_link_to_blob(&path) => {
                        walk(&path, &format!("{name}/"), depth - 1, found);
                    }
                    Ok(is) if is.is_file() && !FOREIGN.iter().any(|foreign| path.ends_with(foreign)) => {
                        found.files.push(name);
                    }
                    // Whoever opens it says what is wrong.
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => found.files.push(name),
                    _ if path.is_symlink() => {
                        let target = end_of(&path);
                        found.broken.push(BrokenLink { path: name, target });
                    }
                    _ => {}
                }
            }
        }
        let mut found = Self { files: vec![], broken: vec![] };
        walk(folder, "", DEPTH, &mut found);
        found.files.sort();
        found.broken.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// The files that a run in `precision` needs and that are not here.
    pub fn missing(&self, precision: Precision) -> Vec<String> {
        Paths(self.files.iter().map(String::as_str).collect()).missing(precision)
    }

    /// The broken links among the files that a run in `precision` would read.
    pub fn broken_for(&self, name: &HubName, precision: Precision) -> Vec<BrokenLink> {
        if self.broken.is_empty() {
            return vec![];
        }
        let broken = self.broken.iter().map(|link| link.path.as_str());
        let all = Paths(self.files.iter().map(String::as_str).chain(broken).collect());
        let wanted = all.choose(name, precision).unwrap_or_default();
        self.broken.iter().filter(|link| wanted.contains(&&*link.path)).cloned().collect()
    }
}

/// Whether it is a link with a hash for its target's name.
fn is_link_to_blob(path: &Path) -> bool {
    let target = fs::read_link(path).unwrap_or_default();
    target.file_name().and_then(|name| Digest::of_blob(name.to_str()?)).is_some()
}

//! The store in which huggingface_hub 2.4 keeps files that several repositories of a cache share (hf-hub does not know it):
//!
//! ```text
//! blobs/.huggingface-shared-blobs   the marker: `1` and a line feed
//! blobs/XX/XETHASH                  a file; XX is the first two digits of its Xet hash
//! blobs/XX/XETHASH.refs             the manifest: one `models--OWNER--NAME/blobs/ETAG` a line
//! blobs/XX/XETHASH.lock             held by whoever adds or removes a reference
//! ```
//!
//! A repository's `blobs/ETAG` is then a relative link into the store. The manifest is only a hint: a line counts while that link
//! leads here. A file is removed only when its manifest can be read and no line counts; with a missing or unreadable marker
//! or manifest it stays.

use super::lock::{hold, open_to_all};
use super::name::is_hex;
use crate::nn::links::{end_of, normal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use tr::tr;

const MARKER: &str = ".huggingface-shared-blobs";
/// What the marker of the one layout that is known here holds.
const MARKER_TEXT: &str = "1\n";
/// How the folder of a repository begins, by its kind.
const KINDS: [&str; 4] = ["models--", "datasets--", "spaces--", "kernels--"];

/// The shared store of a cache.
#[derive(Debug, Clone)]
pub(super) struct Store {
    /// The cache's folder, absolute and without `..`.
    cache: PathBuf,
}

/// A file of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SharedFile {
    pub path: PathBuf,
    cache: PathBuf,
}

/// What became of a file of the shared store after a repository let go of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// No repository used it any more: removed.
    Removed {
        /// Its size.
        bytes: u64,
    },
    /// Other repositories use it: kept.
    Shared {
        /// Its size.
        bytes: u64,
        /// The repositories: `OWNER/NAME`, or the folder's name where it is no model's.
        with: Vec<String>,
    },
    /// Kept, because others may use it.
    Left {
        /// Where it is.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Why it was kept.
        why: String,
    },
}

impl Store {
    /// The store of the cache in `cache`, whether there is one or not.
    pub fn of(cache: &Path) -> Self {
        Self { cache: normal(cache) }
    }

    fn folder(&self) -> PathBuf {
        self.cache.join("blobs")
    }

    /// The file of the store that `blob` links to, by what the link says: the file may be gone.
    ///
    /// # Errors
    /// When the link cannot be read, other than because it is not there.
    pub fn target(&self, blob: &Path) -> io::Result<Option<SharedFile>> {
        let blob = normal(blob);
        let is_link = match fs::symlink_metadata(&blob) {
            Ok(found) => found.is_symlink(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if !is_link || self.relative(&blob).is_none() {
            return Ok(None);
        }
        let target = normal(&blob.parent().unwrap_or(&blob).join(fs::read_link(&blob)?));
        Ok(self.is_entry(&target).then(|| SharedFile { path: target, cache: self.cache.clone() }))
    }

    /// Whether the path has the form of a file of the store.
    fn is_entry(&self, path: &Path) -> bool {
        let Some((prefix, hash)) = path.strip_prefix(self.folder()).ok().and_then(two_parts) else {
            return false;
        };
        is_hex(hash, 64) && hash.get(..2) == Some(prefix)
    }

    /// A repository's blob as a manifest has it: `models--OWNER--NAME/blobs/ETAG`.
    fn relative(&self, blob: &Path) -> Option<String> {
        let path = blob.strip_prefix(&self.cache).ok()?.to_str()?.replace('\\', "/");
        let parts: Vec<_> = path.split('/').collect();
        let [repository, "blobs", name] = parts[..] else { return None };
        let is_repository =
            KINDS.iter().any(|kind| repository.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
        (is_repository && !name.is_empty() && !path.contains(['\n', '\r'])).then_some(path)
    }

    /// What is wrong with the marker; a store without a right one is not this layout's, and nothing in it is changed.
    fn check(&self) -> Result<(), String> {
        let marker = self.folder().join(MARKER);
        let is_folder = fs::symlink_metadata(self.folder()).is_ok_and(|found| found.is_dir());
        let found = match fs::symlink_metadata(&marker) {
            Ok(found) if is_folder && found.is_file() => fs::read_to_string(&marker),
            Ok(_) => return Err(tr!("the marker {MARKER} is no regular file", MARKER)),
            Err(e) => Err(e),
        };
        match found {
            // Python reads it as text, with any line end.
            Ok(text) if text.replace("\r\n", "\n").replace('\r', "\n") == MARKER_TEXT => Ok(()),
            Ok(text) => Err(tr!(
                "the marker {MARKER} says {}; expected {MARKER_TEXT}",
                format_args!("{:?}", text.chars().take(16).collect::<String>()),
                MARKER,
                MARKER_TEXT = format_args!("{:?}", MARKER_TEXT)
            )),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(tr!("the marker {MARKER} is missing", MARKER))
            }
            Err(e) => Err(tr!("the marker {MARKER} cannot be read ({e})", MARKER, e)),
        }
    }

    /// Every file of the store, whatever its marker says.
    pub fn files(&self) -> Vec<SharedFile> {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let folders =
            entries(&self.folder()).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders
            .flat_map(|folder| entries(&folder.path()))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .map(|entry| entry.path())
            .filter(|path| self.is_entry(path))
            .map(|path| SharedFile { path, cache: self.cache.clone() })
            .collect()
    }
}

impl Store {
    /// The links of all repositories into the store, from their `blobs/` or straight from a snapshot.
    ///
    /// # Errors
    /// When a folder that may hold such links cannot be read.
    pub fn links(&self) -> Result<BTreeMap<SharedFile, BTreeSet<PathBuf>>, String> {
        let mut links = BTreeMap::<_, BTreeSet<_>>::new();
        let canonical = self.folder().canonicalize().ok();
        for repository in entries_of(&self.cache)? {
            let name = repository.file_name().unwrap_or_default().to_string_lossy();
            if !KINDS.iter().any(|kind| name.starts_with(kind)) || repository.is_file() {
                continue;
            }
            let mut folders = vec![repository.join("blobs"), repository.join("snapshots")];
            while let Some(folder) = folders.pop() {
                for path in entries_of(&folder)? {
                    if path.is_symlink() {
                        if let Some(file) = self.end_in_store(&path, canonical.as_deref()) {
                            links.entry(file).or_default().insert(path);
                        }
                    } else if path.is_dir() {
                        folders.push(path);
                    }
                }
            }
        }
        Ok(links)
    }

    /// The file of the store that a link leads to, over however many links; of a broken one, by what it says.
    fn end_in_store(&self, link: &Path, canonical: Option<&Path>) -> Option<SharedFile> {
        let path = match (link.canonicalize(), canonical) {
            (Ok(end), Some(canonical)) => self.folder().join(end.strip_prefix(canonical).ok()?),
            _ => end_of(link),
        };
        self.is_entry(&path).then(|| SharedFile { path, cache: self.cache.clone() })
    }
}

/// The paths in a folder; none where there is no such folder.
fn entries_of(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let read = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        read => read.map_err(|e| tr!("{} cannot be read ({e})", folder.display(), e)),
    }
}

impl SharedFile {
    fn store(&self) -> Store {
        Store { cache: self.cache.clone() }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(suffix);
        self.path.with_file_name(name)
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file())
    }

    /// Whether it is there, or a manifest that may name others who miss it too.
    pub fn is_known(&self) -> bool {
        self.is_there() || self.beside(".refs").is_file()
    }

    /// Its size; 0 where no regular file is there.
    pub fn bytes(&self) -> u64 {
        fs::symlink_metadata(&self.path).map_or(0, |found| if found.is_file() { found.len() } else { 0 })
    }

    /// Holds its lock, as long as what is returned lives. Why it may not be changed, otherwise.
    pub fn lock(&self) -> Result<File, String> {
        self.store().check()?;
        hold(&self.beside(".lock"), 0o666, || ()).map_err(|e| tr!("its lock cannot be taken ({e})", e))
    }

    /// The blobs that link to it, of those that its manifest names. Otherwise, why they are unknown.
    pub fn references(&self) -> Result<BTreeSet<PathBuf>, String> {
        self.store().check()?;
        let manifest = self.beside(".refs");
        let text = match fs::symlink_metadata(&manifest) {
            Ok(found) if found.is_file() => fs::read_to_string(&manifest),
            Ok(_) => return Err(tr!("its manifest (.refs) is no regular file")),
            Err(e) => Err(e),
        };
        let text = text.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => tr!("its manifest (.refs) is missing"),
            _ => tr!("its manifest (.refs) cannot be read ({e})", e),
        })?;
        let store = self.store();
        let mut references = BTreeSet::new();
        for line in text.lines() {
            let path = Path::new(line);
            if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                continue;
            }
            let blob = self.cache.join(path);
            let target =
                store.target(&blob).map_err(|e| tr!("{} cannot be read ({e})", blob.display(), e))?;
            if target.as_ref() == Some(self) {
                references.insert(blob);
            }
        }
        Ok(references)
    }

    /// Brings the manifest up to date after a reference went, and removes the file where no other is left. Whoever calls
    /// this holds the lock.
    pub fn sweep(&self, _held: &File) -> Swept {
        let bytes = self.bytes();
        let swept = self.references().and_then(|mut references| {
            if references.is_empty() {
                // Python trusts the manifest here. A link that it does not name, as of a copied folder, would lose its file.
                references = self.store().links()?.remove(self).unwrap_or_default();
            }
            if references.is_empty() {
                return self.remove(bytes);
            }
            self.rewrite(&references)?;
            let with: BTreeSet<_> = references.iter().filter_map(|link| self.repository(link)).collect();
            Ok(Swept::Shared { bytes, with: with.into_iter().collect() })
        });
        swept.unwrap_or_else(|why| self.left(why))
    }

    /// The repository that a link belongs to: `OWNER/NAME`, or the folder's name where it is no model's.
    fn repository(&self, link: &Path) -> Option<String> {
        let folder = link.strip_prefix(&self.cache).ok()?.components().next()?.as_os_str().to_str()?;
        Some(folder.strip_prefix("models--").map_or(folder.into(), |name| name.replacen("--", "/", 1)))
    }

    /// That it was kept, and why.
    pub fn left(&self, why: String) -> Swept {
        Swept::Left { path: self.path.clone(), bytes: self.bytes(), why }
    }

    fn remove(&self, bytes: u64) -> Result<Swept, String> {
        let removed = match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => fs::remove_file(&self.path),
            Ok(_) => return Err(tr!("it is no regular file")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Swept::Removed { bytes: 0 }),
            Err(e) => Err(e),
        };
        removed.map_err(|e| tr!("it cannot be removed ({e})", e))?;
        // Without its file it says nothing any more, and does no harm.
        let _ = fs::remove_file(self.beside(".refs"));
        Ok(Swept::Removed { bytes })
    }

    fn rewrite(&self, references: &BTreeSet<PathBuf>) -> Result<(), String> {
        let store = self.store();
        let lines: String = references.iter().filter_map(|blob| Some(store.relative(blob)? + "\n")).collect();
        let beside = self.beside(&format!(".refs.{}.tmp", std::process::id()));
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(lines.as_bytes())?;
            open_to_all(&file);
            file.sync_all()?;
            fs::rename(&beside, self.beside(".refs"))
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&beside);
            tr!("its manifest (.refs) cannot be written ({e})", e)
        })
    }
}

fn two_parts(path: &Path) -> Option<(&str, &str)> {
    let mut parts = path.components();
    let first = parts.next()?.as_os_str().to_str()?;
    let second = parts.next()?.as_os_str().to_str()?;
    parts.next().is_none().then_some((first, second))
}

//! The cache that Python's `huggingface_hub` and this program share, in its layout:
//!
//! ```text
//! models--OWNER--NAME/blobs/HASH                  the files, by what is in them
//!                     blobs/HASH.incomplete       what has come of one so far
//!                     snapshots/COMMIT/unet/…     links to them, by their names
//!                     refs/REVISION               which commit a branch or tag was
//! .locks/models--OWNER--NAME/HASH.lock            held by who fetches the file
//! ```

use super::choice::{Paths, Precision};
use super::name::is_commit;
use super::{Digest, HubError, HubName, RemoteFile};
use crate::nn::text::trimmed;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A model in the cache, at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSnapshot {
    /// What it is called on the hub.
    pub name: HubName,
    /// The commit.
    pub commit: String,
    /// The folder in the diffusers layout.
    pub folder: PathBuf,
}

/// How a model stands in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// All of it that runs.
    Whole(HubSnapshot),
    /// Some of it.
    Part,
    /// Nothing.
    Nothing,
}

/// A cached model's part of the cache.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    locks: PathBuf,
}

impl Shelf {
    /// Where `cache` has the model `OWNER/NAME`.
    pub fn of(cache: &Path, repository: &str) -> Self {
        let name = format!("models--{}", repository.replace('/', "--"));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// Where a file's content is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.hex())
    }

    /// Where what has come of it so far is.
    pub fn incomplete(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(format!("{digest}.incomplete"))
    }

    /// Whether the file is there. Whoever put it there looked at its hash; `model verify` does again.
    pub fn has(&self, file: &RemoteFile) -> bool {
        fs::metadata(self.blob(&file.digest)).is_ok_and(|found| found.is_file() && found.len() == file.size)
    }

    /// How many bytes of the file are there already.
    pub fn bytes_of(&self, file: &RemoteFile) -> u64 {
        if self.has(file) {
            return file.size;
        }
        let incomplete = fs::metadata(self.incomplete(&file.digest));
        incomplete.map_or(0, |found| if found.len() > file.size { 0 } else { found.len() })
    }

    /// The folder of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Holds the lock of a file's content, as long as what is returned lives; tells `waits` when another has it.
    pub fn lock(&self, digest: &Digest, waits: impl FnOnce()) -> Result<File, HubError> {
        let path = self.locks.join(format!("{digest}.lock"));
        let wrong = |error| HubError::File { path: path.clone(), error };
        fs::create_dir_all(&self.locks).map_err(wrong)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waits();
                file.lock().map_err(wrong)?;
            }
            // Some network file systems know no locks. What came is hashed all the same.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(wrong(e)),
        }
        Ok(file)
    }

    /// Makes the file part of the commit's folder.
    pub fn link(&self, commit: &str, file: &RemoteFile) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(&file.path);
        let wrong = |error| HubError::File { path: path.clone(), error };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(wrong)?;
        }
        // Of a path `unet/config.json` two folders up, `COMMIT` and `snapshots`, and one for each of its own.
        let up = "../".repeat(2 + file.path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", file.digest));
        if fs::read_link(&path).is_ok_and(|leads| leads == target) {
            return Ok(());
        }
        // Beside and renamed: a run that reads the file meanwhile finds the old one or the new one.
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&beside);
        #[cfg(unix)]
        std::os::unix::fs::symlink(&target, &beside).map_err(wrong)?;
        // Elsewhere links want a privilege.
        #[cfg(not(unix))]
        fs::copy(self.blob(&file.digest), &beside).map_err(wrong)?;
        fs::rename(&beside, &path).map_err(wrong)
    }

    /// Notes which commit `revision` is.
    pub fn note(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let wrong = |error| HubError::File { path: path.clone(), error };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(wrong)?;
        }
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&beside, commit).and_then(|()| fs::rename(&beside, &path)).map_err(wrong)
    }

    /// Which commit `name`'s revision was when it was last looked at.
    fn commit_of(&self, name: &HubName) -> Option<String> {
        if let Some(commit) = name.commit() {
            return Some(commit.into());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(name.revision())).ok()?;
        Some(trimmed(&commit).to_string()).filter(|commit| is_commit(commit))
    }

    /// How `name` stands in the cache, for a run in `precision`.
    pub fn find(&self, name: &HubName, precision: Precision) -> Cached {
        let Some(commit) = self.commit_of(name) else {
            return if self.folder.is_dir() { Cached::Part } else { Cached::Nothing };
        };
        let folder = self.snapshot(&commit);
        let paths = files(&folder);
        if Paths(paths.iter().map(String::as_str).collect()).suit(precision) {
            return Cached::Whole(HubSnapshot { name: name.clone(), commit, folder });
        }
        Cached::Part
    }

    /// The commits that have a folder, with the revisions that they were.
    fn commits(&self) -> Vec<(String, Vec<String>)> {
        let refs = files(&self.folder.join("refs"));
        let of = |commit: &str| {
            let is = |name: &&String| {
                let found = fs::read_to_string(self.folder.join("refs").join(name));
                found.is_ok_and(|found| trimmed(&found) == commit)
            };
            refs.iter().filter(is).cloned().collect()
        };
        let mut commits: Vec<_> = names_in(&self.folder.join("snapshots"))
            .into_iter()
            .filter(|name| is_commit(name))
            .map(|commit| (commit.clone(), of(&commit)))
            .collect();
        commits.sort();
        commits
    }

    /// Takes all of the model out of the cache.
    pub fn remove(&self) -> Result<(), HubError> {
        for path in [&self.folder, &self.locks] {
            match fs::remove_dir_all(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(HubError::File { path: path.clone(), error: e });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A model in the cache, with all of its commits.
#[derive(Debug, Clone)]
pub struct CachedModel {
    /// `OWNER/NAME`.
    pub repository: String,
    /// Bytes of all its files, each counted once, and of what has come of others.
    pub bytes: u64,
    /// Its commits.
    pub commits: Vec<CachedCommit>,
}

/// A commit of a model in the cache.
#[derive(Debug, Clone)]
pub struct CachedCommit {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// The branches and tags that it was.
    pub revisions: Vec<String>,
    /// The folder in the diffusers layout.
    pub folder: PathBuf,
    /// Whether all of it is there that runs.
    pub is_whole: bool,
}

/// The diffusers models in `cache`, and what else of that form is in it.
pub(super) fn models(cache: &Path) -> Vec<CachedModel> {
    let mut models: Vec<_> = names_in(cache).iter().filter_map(|name| model(cache, name)).collect();
    models.sort_by(|a, b| a.repository.cmp(&b.repository));
    models
}

fn model(cache: &Path, name: &str) -> Option<CachedModel> {
    let (owner, name) = name.strip_prefix("models--")?.split_once("--")?;
    let repository = format!("{owner}/{name}");
    let shelf = Shelf::of(cache, &repository);
    let commits = shelf.commits().into_iter().map(|(commit, revisions)| {
        let folder = shelf.snapshot(&commit);
        let paths = files(&folder);
        let is_whole = Paths(paths.iter().map(String::as_str).collect()).suit(Precision::Half);
        (
            paths.iter().any(|path| path == "model_index.json"),
            CachedCommit { commit, revisions, folder, is_whole },
        )
    });
    let commits: Vec<_> = commits.filter(|(is_pipeline, _)| *is_pipeline).map(|(_, commit)| commit).collect();
    let blobs = shelf.folder.join("blobs");
    let bytes =
        names_in(&blobs).iter().filter_map(|name| fs::metadata(blobs.join(name)).ok()).map(|m| m.len()).sum();
    (!commits.is_empty()).then_some(CachedModel { repository, bytes, commits })
}

/// The names in a folder; none where there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The files in a folder and the folders in it, by their paths with `/`, sorted; what a broken link leads to is none.
pub(super) fn files(folder: &Path) -> Vec<String> {
    // No model is as deep, and a link may lead in a circle.
    const DEPTH: usize = 4;
    fn walk(folder: &Path, before: &str, depth: usize, found: &mut Vec<String>) {
        for name in names_in(folder) {
            let (path, name) = (folder.join(&name), format!("{before}{name}"));
            match fs::metadata(&path) {
                Ok(is) if is.is_dir() && depth > 0 => walk(&path, &format!("{name}/"), depth - 1, found),
                Ok(is) if is.is_file() => found.push(name),
                _ => {}
            }
        }
    }
    let mut found = vec![];
    walk(folder, "", DEPTH, &mut found);
    found.sort();
    found
}

/// How many bytes can be written to the disk that `folder` is on, or would be on; `None` where the system does not say.
pub(super) fn free_space(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let there = folder.ancestors().find(|folder| folder.is_dir())?;
        let disk = rustix::fs::statvfs(there).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> RemoteFile {
        let digest = Digest::git(&"0".repeat(40)).unwrap();
        let mut hasher = digest.hasher(content.len() as u64);
        hasher.update(content.as_bytes());
        RemoteFile {
            path: path.into(),
            size: content.len() as u64,
            digest: Digest::git(&hasher.finish()).unwrap(),
        }
    }

    const COMMIT: &str = "39593d5650112b4cc580433f6b0435385882d819";

    #[test]
    fn links_lead_to_blobs_and_move_on() {
        let cache = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(cache.path(), "a/b");
        let blobs = cache.path().join("models--a--b/blobs");
        fs::create_dir_all(&blobs).unwrap();
        for (path, content) in
            [("model_index.json", "{}"), ("unet/config.json", "1"), ("unet/config.json", "two")]
        {
            let file = file(path, content);
            fs::write(blobs.join(file.digest.hex()), content).unwrap();
            assert!(shelf.has(&file));
            shelf.link(COMMIT, &file).unwrap();
            shelf.link(COMMIT, &file).unwrap();
            let found = cache.path().join("models--a--b/snapshots").join(COMMIT).join(path);
            assert_eq!(fs::read_to_string(found).unwrap(), content);
        }
        assert_eq!(files(&shelf.snapshot(COMMIT)), ["model_index.json", "unet/config.json"]);
        shelf.note("refs/pr/1", COMMIT).unwrap();
        let name = HubName::parse("a/b@refs/pr/1").unwrap().unwrap();
        assert_eq!(shelf.commit_of(&name), Some(COMMIT.into()));
        let [model] = &models(cache.path())[..] else { panic!() };
        assert_eq!((&*model.repository, model.bytes), ("a/b", 6));
        assert_eq!(model.commits[0].revisions, ["refs/pr/1"]);
        shelf.remove().unwrap();
        assert!(models(cache.path()).is_empty());
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let cache = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(cache.path(), "a/b");
        let digest = file("a", "a").digest;
        let held = shelf.lock(&digest, || panic!("nobody has it")).unwrap();
        let (waits, waited) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| shelf.lock(&digest, || waits.send(()).unwrap()).unwrap());
            waited.recv().unwrap();
            drop(held);
            other.join().unwrap();
        });
    }

    #[test]
    fn a_disk_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_space(&folder.path().join("not/there/yet"));
        assert!(cfg!(not(unix)) || free.is_some_and(|free| free > 0));
    }
}

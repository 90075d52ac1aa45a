//! The cache that Python's `huggingface_hub` and this program share, in its layout. hf-hub has the paths; ours is what it does not do
//! as Python does: locks in `.locks/`, `.incomplete` files, links that are replaced, refs that are renamed into place, no links.
//!
//! ```text
//! models--OWNER--NAME/blobs/ETAG              the files, named by the hash of their content
//!                     blobs/ETAG.incomplete   what has come of one so far
//!                     snapshots/COMMIT/unet/… links to them, by their names
//!                     refs/REVISION           the commit of a branch or tag
//! .locks/models--OWNER--NAME/ETAG.lock        held by whoever fetches the file
//! ```
//!
//! `blobs/ETAG` may itself be a link into the store that repositories share ([`store`](super::store)). On a disk without links, and
//! with `HF_HUB_DISABLE_SYMLINKS`, the files are in `snapshots/` themselves and have no hash for a name.

use super::lock::hold;
use super::name::is_commit;
use super::store::Store;
use super::tree::{BrokenLink, Tree, check_readable, check_snapshots, names_in};
use super::{Digest, HubError, HubName, RemoteFile};
use crate::checkpoint::layout::Precision;
use crate::nn::links::normal;
use crate::nn::text::trimmed;
use hf_hub::{Cache, CacheRepo, Repo};
use std::fs;
use std::fs::File;
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
    /// Some of it; the links to nothing among the files that a run needs.
    Part(Vec<BrokenLink>),
    /// Nothing.
    Nothing,
}

/// A cached model's part of the cache.
#[derive(Debug)]
pub(super) struct RepoCache {
    pub folder: PathBuf,
    repo: CacheRepo,
    locks: PathBuf,
    pub store: Store,
    /// Whether a snapshot gets links, and not the files themselves.
    links: bool,
}

impl RepoCache {
    /// Where `cache` has the model `OWNER/NAME`; `links` unless the environment forbids them.
    pub fn of(cache: &Path, repository: &str, links: bool) -> Self {
        let repo = Repo::model(repository.into());
        let (folder, locks) = (cache.join(repo.folder_name()), cache.join(".locks").join(repo.folder_name()));
        let repo = Cache::new(cache.into()).repo(repo);
        Self { folder, repo, locks, store: Store::of(cache), links: links && cfg!(unix) }
    }

    /// Whether its folders can be read, where they are.
    ///
    /// # Errors
    /// Names the folder that cannot.
    pub fn check_readable(&self) -> Result<(), HubError> {
        let outer = [self.folder.parent().unwrap_or(&self.folder), &self.folder];
        outer.into_iter().try_for_each(|folder| check_readable(folder, 0))?;
        ["blobs", "refs"].into_iter().try_for_each(|name| check_readable(&self.folder.join(name), 0))?;
        check_snapshots(&self.folder.join("snapshots"))
    }

    pub fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Where a file's content is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.repo.blob_path(digest.hex())
    }

    /// Where what has come of it so far is.
    pub fn incomplete(&self, digest: &Digest) -> PathBuf {
        self.repo.blob_path(&format!("{digest}.incomplete"))
    }

    /// Whether the commit's file is there, as a blob or in the snapshot itself. Its size is compared and not its hash: whoever put
    /// it there did that, and `model verify` does again.
    pub fn has(&self, commit: &str, file: &RemoteFile) -> bool {
        is_file_of(fs::metadata(self.blob(&file.digest)), file.size)
            || is_file_of(fs::symlink_metadata(self.snapshot(commit).join(&file.path)), file.size)
    }

    /// How many bytes of the file are there already.
    pub fn bytes_of(&self, commit: &str, file: &RemoteFile) -> u64 {
        if self.has(commit, file) {
            return file.size;
        }
        let incomplete = fs::metadata(self.incomplete(&file.digest));
        incomplete.map_or(0, |found| if found.len() > file.size { 0 } else { found.len() })
    }

    /// The folder of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// Holds the lock of a file's content, as long as what is returned lives; tells `waits` when another has it.
    pub fn lock(&self, digest: &Digest, waits: impl FnOnce()) -> Result<File, HubError> {
        let path = self.locks.join(format!("{digest}.lock"));
        let held = fs::create_dir_all(&self.locks).and_then(|()| match hold(&path, 0o664, waits) {
            // Some network file systems know no locks. What came is hashed all the same.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => File::open(&path),
            held => held,
        });
        held.map_err(|error| HubError::File { path, error })
    }

    /// Where the content of a snapshot's file stands, and the hash that the hub named it by: the blob that the link leads to, which
    /// may be a link itself. Another file has no such name, and stands where it is.
    pub fn content_of(&self, file: &Path) -> io::Result<(PathBuf, Option<Digest>)> {
        if !fs::symlink_metadata(file)?.is_symlink() {
            return Ok((file.into(), None));
        }
        let blob = normal(&file.parent().unwrap_or(file).join(fs::read_link(file)?));
        let is_here = blob.parent().and_then(|folder| folder.canonicalize().ok());
        let is_here =
            is_here.is_some_and(|folder| self.blobs().canonicalize().is_ok_and(|own| own == folder));
        let digest = blob.file_name().and_then(|name| Digest::of_blob(name.to_str()?));
        Ok(match digest {
            Some(digest) if is_here => (blob, Some(digest)),
            _ => (file.into(), None),
        })
    }

    /// Makes the file part of the commit's folder. `is_new` when no other snapshot can have its blob.
    pub fn link(&self, commit: &str, file: &RemoteFile, is_new: bool) -> Result<(), HubError> {
        let (path, blob) = (self.snapshot(commit).join(&file.path), self.blob(&file.digest));
        // Of a path `unet/config.json` two folders up, `COMMIT` and `snapshots`, and one for each of its own.
        let up = "../".repeat(2 + file.path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", file.digest));
        if is_file_of(fs::symlink_metadata(&path), file.size)
            || fs::read_link(&path).is_ok_and(|leads| leads == target)
        {
            return Ok(());
        }
        self.place(&path, |beside| {
            if self.links && linked(&target, beside)? {
                return Ok(());
            }
            if is_new { fs::rename(&blob, beside) } else { fs::copy(&blob, beside).map(drop) }
        })
    }

    /// Notes which commit `revision` is.
    pub fn note(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        self.place(&self.folder.join("refs").join(revision), |beside| fs::write(beside, commit))
    }

    /// Has `write` make a file, which is then renamed to `path`: a reader finds the old one or the new one. It is made in `blobs/`,
    /// because Python takes whatever it finds in `refs/` and in snapshots for a part of the model.
    fn place(&self, path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), HubError> {
        let beside = self.repo.blob_path(&format!("{}.incomplete", std::process::id()));
        let placed = || {
            for folder in [path.parent(), beside.parent()].into_iter().flatten() {
                fs::create_dir_all(folder)?;
            }
            // An earlier process may have had this one's number.
            let _ = fs::remove_file(&beside);
            write(&beside).inspect_err(|_| drop(fs::remove_file(&beside)))?;
            fs::rename(&beside, path)
        };
        placed().map_err(|error| HubError::File { path: path.into(), error })
    }

    /// Which commit `name`'s revision was when it was last looked at.
    fn commit_of(&self, name: &HubName) -> Option<String> {
        if let Some(commit) = name.commit() {
            return Some(commit.into());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(name.revision())).ok()?;
        Some(trimmed(&commit).to_string()).filter(|commit| is_commit(commit))
    }

    /// The snapshot of `name`'s revision, whole or not.
    pub fn any(&self, name: &HubName) -> Option<HubSnapshot> {
        let commit = self.commit_of(name)?;
        let folder = self.snapshot(&commit);
        folder.is_dir().then(|| HubSnapshot { name: name.clone(), commit, folder })
    }

    /// How `name` stands in the cache, for a run in `precision`.
    pub fn find(&self, name: &HubName, precision: Precision) -> Cached {
        let Some(snapshot) = self.any(name) else {
            return if self.folder.is_dir() { Cached::Part(vec![]) } else { Cached::Nothing };
        };
        let tree = Tree::of(&snapshot.folder);
        let broken = tree.broken_for(name, precision);
        if broken.is_empty() && tree.missing(precision).is_empty() {
            Cached::Whole(snapshot)
        } else {
            Cached::Part(broken)
        }
    }

    /// The commits that have a folder, with the revisions that they were.
    pub fn commits(&self) -> Vec<(String, Vec<String>)> {
        let refs = Tree::of(&self.folder.join("refs")).files;
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

    /// Removes the folders of the model and of its locks.
    pub fn remove_folders(&self) -> Result<(), HubError> {
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

fn is_file_of(found: io::Result<fs::Metadata>, size: u64) -> bool {
    found.is_ok_and(|found| found.is_file() && found.len() == size)
}

/// Links `beside` to `target`; false where the disk has no links.
fn linked(target: &Path, beside: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    return match std::os::unix::fs::symlink(target, beside) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Ok(false)
        }
        Err(e) => Err(e),
    };
    // Elsewhere links need a privilege.
    #[cfg(not(unix))]
    return Ok(false);
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
        let repo = RepoCache::of(cache.path(), "a/b", true);
        let blobs = cache.path().join("models--a--b/blobs");
        fs::create_dir_all(&blobs).unwrap();
        for (path, content) in
            [("model_index.json", "{}"), ("unet/config.json", "1"), ("unet/config.json", "two")]
        {
            let file = file(path, content);
            fs::write(blobs.join(file.digest.hex()), content).unwrap();
            assert!(repo.has(COMMIT, &file));
            repo.link(COMMIT, &file, true).unwrap();
            repo.link(COMMIT, &file, false).unwrap();
            let found = cache.path().join("models--a--b/snapshots").join(COMMIT).join(path);
            assert_eq!(fs::read_to_string(found).unwrap(), content);
        }
        assert_eq!(Tree::of(&repo.snapshot(COMMIT)).files, ["model_index.json", "unet/config.json"]);
        repo.note("refs/pr/1", COMMIT).unwrap();
        let name = HubName::parse("a/b@refs/pr/1").unwrap().unwrap();
        assert_eq!(repo.commit_of(&name), Some(COMMIT.into()));
        repo.remove_folders().unwrap();
        assert!(!blobs.exists());
    }

    /// What a process leaves that ends between a file's making and its renaming: here the renaming fails.
    #[test]
    fn nothing_is_left_where_python_looks() {
        let cache = tempfile::tempdir().unwrap();
        let repo = RepoCache::of(cache.path(), "a/b", true);
        let file = file("unet/config.json", "1");
        let in_the_way = [repo.folder.join("refs/main"), repo.snapshot(COMMIT).join(&file.path)];
        in_the_way.iter().for_each(|path| fs::create_dir_all(path.join("folder")).unwrap());
        repo.note("main", COMMIT).unwrap_err();
        repo.link(COMMIT, &file, true).unwrap_err();
        for path in in_the_way {
            assert_eq!(names_in(path.parent().unwrap()).len(), 1, "{}", path.display());
        }
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let cache = tempfile::tempdir().unwrap();
        let repo = RepoCache::of(cache.path(), "a/b", true);
        let digest = file("a", "a").digest;
        let held = repo.lock(&digest, || panic!("the lock is free")).unwrap();
        let (waits, waited) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| repo.lock(&digest, || waits.send(()).unwrap()).unwrap());
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

//! What the cache holds, how much of the disk it takes, and the removal of a model. hf-hub lists and removes nothing.

use super::cache::RepoCache;
use super::store::{SharedFile, Store};
use super::tree::{BrokenLink, Tree, check_readable, names_in};
use super::{Hub, HubError, HubName, Swept};
use crate::checkpoint::layout::Precision;
use crate::nn::links::{end_of, normal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

/// The cache's models in the diffusers layout.
#[derive(Debug, Default)]
pub struct Scan {
    /// The models, by name.
    pub models: Vec<CachedModel>,
    /// Bytes of all their files and of the unused shared ones together, each counted once.
    pub bytes: u64,
    /// Bytes in the shared store that no repository uses, of whatever kind.
    pub unreferenced: u64,
    /// How many of them `hf cache prune` removes.
    pub prunable: u64,
    /// Those of them that Python does not remove, and why: the marker or their manifest is wrong.
    pub unremovable: Vec<(PathBuf, String)>,
    /// The folders that cannot be read, each with the system's error.
    pub unreadable: Vec<HubError>,
}

/// A model in the cache, with all of its commits.
#[derive(Debug, Clone)]
pub struct CachedModel {
    /// `OWNER/NAME`.
    pub repository: String,
    /// Bytes of all its files, each counted once, shared ones too, and of what has come of others.
    pub bytes: u64,
    /// How many of them its removal frees: not those that other repositories use.
    pub removable: u64,
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
    /// Its links that lead to no file.
    pub broken: Vec<BrokenLink>,
}

/// What the removal of a model did.
#[derive(Debug, Clone, Default)]
pub struct Removed {
    /// Bytes that the disk has again.
    pub freed: u64,
    /// Shared files that stay.
    pub kept: Vec<Swept>,
    /// Places outside of the model's folder and of the store that it linked to; they stay too.
    pub outside: Vec<PathBuf>,
}

impl Hub {
    /// Looks through the cache. A model whose folder cannot be read is left out and named.
    ///
    /// # Errors
    /// When the cache's own folder cannot be read.
    pub fn scan(&self) -> Result<Scan, HubError> {
        let cache = &self.settings().cache;
        check_readable(cache, 0)?;
        let store = Store::of(cache);
        let mut unreadable = vec![];
        // Where a folder cannot be read, no shared file is called unused.
        let links = store.links().ok();
        let (mut models, mut all) = (vec![], BTreeMap::new());
        for name in names_in(cache) {
            let Some((owner, name)) = name.strip_prefix("models--").and_then(|name| name.split_once("--"))
            else {
                continue;
            };
            let repository = format!("{owner}/{name}");
            let repo = self.repo(&HubName { repository: repository.clone(), revision: None });
            if let Err(error) = repo.check_readable() {
                unreadable.push(error);
                continue;
            }
            let commits = commits(&repo, &repository);
            if !commits.is_empty() {
                let files = Files::of(&repo);
                let removable = files.removable(&repo, links.as_ref());
                models.push(CachedModel { repository, bytes: files.bytes(), removable, commits });
                all.extend(files.content);
            }
        }
        models.sort_by(|a, b| a.repository.cmp(&b.repository));
        let (mut unreferenced, mut prunable, mut unremovable) = (0, 0, vec![]);
        for file in
            links.iter().flat_map(|links| store.files().into_iter().filter(|f| !links.contains_key(f)))
        {
            unreferenced += file.bytes();
            match file.references() {
                Ok(_) => prunable += file.bytes(),
                Err(why) => unremovable.push((file.path, why)),
            }
        }
        let bytes = all.into_values().map(|(bytes, _)| bytes).sum::<u64>() + unreferenced;
        Ok(Scan { models, bytes, unreferenced, prunable, unremovable, unreadable })
    }

    /// Takes a model out of the cache, all of its revisions. A file of the shared store goes with its last reference.
    ///
    /// # Errors
    /// When its folder cannot be removed.
    pub fn remove(&self, name: &HubName) -> Result<Removed, HubError> {
        let repo = self.repo(name);
        repo.check_readable()?;
        // A link to a folder goes alone.
        if repo.folder.is_symlink() {
            let outside = vec![end_of(&repo.folder)];
            fs::remove_file(&repo.folder)
                .map_err(|error| HubError::File { path: repo.folder.clone(), error })?;
            return Ok(Removed { outside, ..Removed::default() });
        }
        let Files { own, shared, outside, .. } = Files::of(&repo);
        repo.remove_folders()?;
        let mut removed = Removed { freed: own, outside: outside.into_iter().collect(), kept: vec![] };
        for file in shared.into_iter().filter(SharedFile::is_there) {
            match file.lock().map_or_else(|why| file.left(why), |held| file.sweep(&held)) {
                Swept::Removed { bytes } => removed.freed += bytes,
                kept => removed.kept.push(kept),
            }
        }
        Ok(removed)
    }
}

fn commits(repo: &RepoCache, repository: &str) -> Vec<CachedCommit> {
    let mut commits = vec![];
    for (commit, revisions) in repo.commits() {
        let folder = repo.snapshot(&commit);
        let tree = Tree::of(&folder);
        let name = HubName { repository: repository.into(), revision: Some(commit.clone()) };
        let is_whole =
            tree.missing(Precision::Half).is_empty() && tree.broken_for(&name, Precision::Half).is_empty();
        let index = "model_index.json";
        if tree.files.iter().any(|path| path == index) || tree.broken.iter().any(|link| link.path == index) {
            commits.push(CachedCommit { commit, revisions, folder, is_whole, broken: tree.broken });
        }
    }
    commits
}

/// What tells two names of one file from two files.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = PathBuf;

fn identity(path: &Path, found: &Metadata) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let _ = path;
        (found.dev(), found.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        path.canonicalize().unwrap_or_else(|_| path.into())
    }
}

/// How many names a file has on its disk.
fn names_of(found: &Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(found);
    #[cfg(not(unix))]
    {
        let _ = found;
        1
    }
}

/// The files of a model, by what is on the disk: blobs, what has come of others, and files in snapshots that are no links.
#[derive(Default)]
struct Files {
    /// Size of each, and how many of its names are in the model's folder.
    content: BTreeMap<Identity, (u64, u64)>,
    /// Bytes that go with the model's folder.
    own: u64,
    /// Files of the shared store.
    shared: BTreeSet<SharedFile>,
    /// Files elsewhere.
    outside: BTreeSet<PathBuf>,
}

impl Files {
    fn of(repo: &RepoCache) -> Self {
        let mut files = Self::default();
        for name in names_in(&repo.blobs()) {
            files.add(repo, &repo.blobs().join(name));
        }
        let snapshots = repo.folder.join("snapshots");
        for commit in names_in(&snapshots) {
            let folder = snapshots.join(commit);
            // A link leads to a blob, or is somebody's own; a file is a cache's without links.
            for path in Tree::of(&folder).files.iter().map(|path| folder.join(path)) {
                if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
                    files.add(repo, &path);
                }
            }
        }
        files
    }

    fn add(&mut self, repo: &RepoCache, path: &Path) {
        if let Ok(Some(shared)) = repo.store.target(path) {
            self.shared.insert(shared);
        } else if path.is_symlink() {
            self.outside.insert(end_of(path));
        }
        let Ok(found) = fs::metadata(path) else { return };
        if !found.is_file() {
            return;
        }
        let (_, names) = self.content.entry(identity(path, &found)).or_insert((found.len(), 0));
        if !path.is_symlink() {
            *names += 1;
            // Freed with the last of its names.
            if *names == names_of(&found) {
                self.own += found.len();
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.content.values().map(|(bytes, _)| bytes).sum()
    }

    fn removable(&self, repo: &RepoCache, links: Option<&BTreeMap<SharedFile, BTreeSet<PathBuf>>>) -> u64 {
        if repo.folder.is_symlink() {
            return 0;
        }
        let own = normal(&repo.folder);
        let is_own = |file: &&SharedFile| {
            let users = links.and_then(|links| links.get(*file));
            file.references().is_ok()
                && users.is_some_and(|users| users.iter().all(|link| link.starts_with(&own)))
        };
        self.own + self.shared.iter().filter(is_own).map(SharedFile::bytes).sum::<u64>()
    }
}

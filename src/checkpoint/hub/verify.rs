//! Whether the files of a cached model are still what the hub has, and the repair of those that are not. hf-hub hashes nothing.

use super::cache::RepoCache;
use super::digest::hash_of;
use super::transfer::{Repair, Transfer};
use super::tree::Tree;
use super::{Digest, Event, Hub, HubError, HubName, HubSnapshot, Listing, Plan, RemoteFile, Swept};
use crate::checkpoint::layout::Precision;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use tr::tr;

/// A file of a cached model after its content was hashed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its path inside the model.
    pub path: String,
    /// What was found.
    pub state: State,
    /// What a repair replaces: the blob, or where no link leads to one the snapshot's own file.
    place: PathBuf,
}

/// Whether a cached file is what the hub has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its content has the hash that the hub names it by.
    Right,
    /// Its content has another hash, this one.
    Wrong(String),
    /// It is a link that leads here, where no file is.
    Gone(PathBuf),
    /// Its name does not say its hash, and the hub's listing could not be had or has no such file.
    Unknown(String),
}

impl State {
    /// Whether a repair fetches it again.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Wrong(_) | Self::Gone(_))
    }
}

/// A step of a repair.
#[derive(Debug)]
pub enum Repaired<'a> {
    /// A transfer, as of a pull.
    Fetch(Event<'a>),
    /// A file is right again; what became of the shared file that it was a link to.
    Done(&'a Verified, Option<Swept>),
}

impl Hub {
    /// The snapshot of `name` in the cache, whole or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn any_cached(&self, name: &HubName) -> Result<HubSnapshot, HubError> {
        self.check_readable(name)?;
        match self.repo(name).any(name) {
            Some(snapshot) => Ok(snapshot),
            None => self.require_cached(name),
        }
    }

    /// Hashes every file of a cached snapshot again. A file whose name is not its hash is compared with the hub's listing, which is
    /// asked for only then.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn verify(&self, snapshot: &HubSnapshot) -> Result<Vec<Verified>, HubError> {
        let (repo, tree) = (self.repo(&snapshot.name), Tree::of(&snapshot.folder));
        let listing = OnceCell::new();
        let listed = |path: &str| -> Result<Digest, String> {
            let listing = listing.get_or_init(|| self.listing_of(snapshot).map_err(|e| e.to_string()));
            let file = listing.as_ref().map_err(String::clone)?.files.iter().find(|file| file.path == path);
            file.map(|file| file.digest.clone()).ok_or_else(|| tr!("the hub lists no such file"))
        };
        let mut files = vec![];
        for path in tree.files {
            let file = snapshot.folder.join(&path);
            let wrong = |error| HubError::File { path: file.clone(), error };
            let (place, named) = repo.content_of(&file).map_err(wrong)?;
            let state = match named.map_or_else(|| listed(&path), Ok) {
                Err(why) => State::Unknown(why),
                Ok(digest) => match hash_of(&file, &digest).map_err(wrong)? {
                    Some(found) if found == digest.hex() => State::Right,
                    Some(found) => State::Wrong(found),
                    None => return Err(wrong(io::ErrorKind::NotFound.into())),
                },
            };
            files.push(Verified { path, state, place });
        }
        for link in tree.broken {
            let file = snapshot.folder.join(&link.path);
            let place = repo.content_of(&file).map_or(file, |(place, _)| place);
            files.push(Verified { path: link.path, state: State::Gone(link.target), place });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The files that a run needs and the snapshot lacks, as far as that can be known without the hub. A link to nothing counts as
    /// there: [`verify`](Self::verify) reports it.
    pub fn missing(&self, snapshot: &HubSnapshot) -> Vec<String> {
        let Tree { mut files, broken } = Tree::of(&snapshot.folder);
        files.extend(broken.into_iter().map(|link| link.path));
        Tree { files, broken: vec![] }.missing(Precision::Half)
    }

    fn listing_of(&self, snapshot: &HubSnapshot) -> Result<Listing, HubError> {
        if self.settings().offline {
            return Err(HubError::NotAsked);
        }
        let name =
            HubName { repository: snapshot.name.repository.clone(), revision: Some(snapshot.commit.clone()) };
        self.listing(&name)
    }

    /// Fetches again those of `files` that [`verify`](Self::verify) found wrong or gone. Each comes whole before it takes the place of
    /// the old one, and only if that is still wrong then; a link to a shared file becomes a file of the repository's own.
    ///
    /// # Errors
    /// When the hub cannot be asked, has no such file, or a transfer fails: what was not repaired by then is as it was.
    pub fn repair(
        &self,
        snapshot: &HubSnapshot,
        files: &[Verified],
        tell: &mut dyn FnMut(Repaired),
    ) -> Result<(), HubError> {
        let bad: Vec<_> = files.iter().filter(|file| file.state.is_bad()).collect();
        let (name, commit) = (&snapshot.name, &snapshot.commit);
        if self.settings().offline {
            return Err(HubError::RepairOffline { name: name.to_string() });
        }
        let listing = self.listing_of(snapshot)?;
        let remote = |file: &Verified| -> Result<RemoteFile, HubError> {
            let found = listing.files.iter().find(|remote| remote.path == file.path).cloned();
            found.ok_or_else(|| HubError::NotListed { name: name.to_string(), file: file.path.clone() })
        };
        let remotes = bad.iter().map(|file| remote(file)).collect::<Result<Vec<_>, _>>()?;
        let missing = remotes.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
        self.check_room(&Plan { name: name.clone(), commit: commit.clone(), files: vec![], missing })?;
        let repo = self.repo(name);
        let mut done = BTreeSet::new();
        for (file, remote) in bad.into_iter().zip(&remotes) {
            let place = Self::place_of(&repo, file, remote);
            let mut swept = None;
            // Two files with the same content have one blob.
            if done.insert(place.clone()) {
                let transfer = Transfer { hub: self, name, commit, file: remote, repo: &repo };
                if let Repair::Done(shared) =
                    transfer.replace(&place, &mut |event| tell(Repaired::Fetch(event)))?
                {
                    swept = shared;
                }
                tell(Repaired::Fetch(Event::Done { file: remote }));
            }
            if place == repo.blob(&remote.digest) {
                repo.link(commit, remote, false)?;
            }
            tell(Repaired::Done(file, swept));
        }
        Ok(())
    }

    /// Where the replacement goes: where the bad content is, if that belongs to the cache, or to the blob that the hub names.
    fn place_of(repo: &RepoCache, file: &Verified, remote: &RemoteFile) -> PathBuf {
        let is_own_file = file.place.starts_with(repo.folder.join("snapshots")) && !file.place.is_symlink();
        if is_own_file { file.place.clone() } else { repo.blob(&remote.digest) }
    }
}

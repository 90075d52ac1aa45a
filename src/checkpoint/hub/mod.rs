//! Models from the Hugging Face hub, in the cache that Python has too.
//!
//! The crate hf-hub has the addresses, the headers and the paths. The rest is ours, and each file says why.
//!
//! - [`name`]: names of models, and the short names. [`settings`]: the environment's variables.
//! - `client`: requests. [`listing`]: the files of a model. [`choice`]: which of them a run needs.
//! - [`cache`]: a model's folders, with `tree` and `lock`. [`store`]: files that repositories share.
//! - `transfer`: a file on its way into the cache. [`digest`]: hashes.
//! - [`scan`]: what the cache holds, and the removal of a model. [`verify`]: whether files have changed, and their repair.
//! - [`error`]: what can go wrong.
//!
//! A file is fetched at the commit of the listing, and gets its name in the cache only when its size and hash are those of the
//! listing. The token goes to the hub's own origin only.

pub mod cache;
pub mod choice;
mod client;
pub mod digest;
pub mod error;
pub mod listing;
mod lock;
pub mod name;
pub mod scan;
pub mod settings;
pub mod store;
mod transfer;
mod tree;
pub mod verify;

use crate::checkpoint::layout::Precision;
pub use cache::Cached;
use tr::tr;

pub use cache::HubSnapshot;
pub use digest::Digest;
pub use error::HubError;
pub use listing::{Listing, RemoteFile};
pub use name::HubName;
pub use scan::{CachedCommit, CachedModel, Removed, Scan};
pub use settings::Settings;
pub use store::Swept;
pub use tree::BrokenLink;
pub use verify::{Repaired, State, Verified};

use super::kind::check_class;
use cache::RepoCache;
use client::Client;
use std::cell::OnceCell;
use transfer::Transfer;

/// A hub, and the cache of its files.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    client: OnceCell<Client>,
}

/// What a pull would fetch.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The model.
    pub name: HubName,
    /// The commit that its revision is now.
    pub commit: String,
    /// The files that a run wants.
    pub files: Vec<RemoteFile>,
    /// How many bytes of them are not in the cache yet.
    pub missing: u64,
}

/// What happens while files are fetched.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are what the events say of them")]
pub enum Event<'a> {
    /// A file begins; `bytes` of it are there from an earlier attempt.
    Begins { file: &'a RemoteFile, bytes: u64 },
    /// `bytes` of it have come.
    At { file: &'a RemoteFile, bytes: u64 },
    /// The connection broke, and another follows.
    Again { file: &'a RemoteFile, why: String },
    /// Another program fetches the file just now.
    Waits { file: &'a RemoteFile },
    /// The file is in the cache, whether it came now or was there.
    Done { file: &'a RemoteFile },
}

impl Hub {
    /// The hub and the cache that the environment names.
    pub fn of_environment() -> Self {
        Self::new(Settings::of_environment())
    }

    /// A hub with settings of one's own.
    pub fn new(settings: Settings) -> Self {
        Self { settings, client: OnceCell::new() }
    }

    /// The client, made with the first request: the cache needs none.
    fn client(&self) -> Result<&Client, HubError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(&self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn repo(&self, name: &HubName) -> RepoCache {
        RepoCache::of(&self.settings.cache, &name.repository, self.settings.links)
    }

    /// How `name` stands in the cache, for a run in `precision`. The network is not asked.
    pub fn cached(&self, name: &HubName, precision: Precision) -> Cached {
        self.repo(name).find(name, precision)
    }

    /// The folder of `name` in the cache, whatever precision its weights have.
    ///
    /// # Errors
    /// When not all of it is there.
    pub fn require_cached(&self, name: &HubName) -> Result<HubSnapshot, HubError> {
        self.check_readable(name)?;
        let found = match self.cached(name, Precision::Half) {
            Cached::Whole(snapshot) => return Ok(snapshot),
            Cached::Part(broken) => match broken.into_iter().next() {
                Some(link) => {
                    let unset = if self.settings.offline { "unset HF_HUB_OFFLINE: " } else { "" };
                    return Err(HubError::Broken { name: name.to_string(), link, unset });
                }
                None => {
                    if let Some(commit) = self.other_commit(name) {
                        let (name, revision) = (name.repository.clone(), name.revision().into());
                        return Err(HubError::NoCommit {
                            name,
                            revision,
                            commit,
                            cache: self.settings.cache.clone(),
                        });
                    }
                    "only a part of it is in"
                }
            },
            Cached::Nothing => "it is not in",
        };
        let (name, cache) = (name.to_string(), self.settings.cache.clone());
        Err(if self.settings.offline {
            HubError::Offline { name, found, cache }
        } else {
            HubError::NotCached { name, found, cache }
        })
    }

    /// Whether the folders of the cache and of `name` in it can be read, where they are.
    ///
    /// # Errors
    /// Names the folder that cannot.
    pub fn check_readable(&self, name: &HubName) -> Result<(), HubError> {
        self.repo(name).check_readable()
    }

    /// A commit that is whole in the cache, where the revision of `name` names none there.
    fn other_commit(&self, name: &HubName) -> Option<String> {
        let repo = self.repo(name);
        if repo.any(name).is_some() {
            return None;
        }
        let is_whole = |commit: &String| {
            let of = HubName { repository: name.repository.clone(), revision: Some(commit.clone()) };
            matches!(repo.find(&of, Precision::Half), Cached::Whole(_))
        };
        repo.commits().into_iter().map(|(commit, _)| commit).find(is_whole)
    }

    /// Looks at the hub what a run of `name` in `precision` wants, and what of it is missing.
    ///
    /// # Errors
    /// When the network is not to be asked, the hub cannot be, or the model is none that runs here.
    pub fn plan(&self, name: &HubName, precision: Precision) -> Result<Plan, HubError> {
        if self.settings.offline {
            let (name, cache) = (name.to_string(), self.settings.cache.clone());
            return Err(HubError::Offline { name, found: "nothing is fetched into", cache });
        }
        let Listing { commit, class, files } = self.listing(name)?;
        if let Some(kind) = class.and_then(|class| check_class(&class).err()) {
            return Err(HubError::Kind { name: name.to_string(), kind });
        }
        let paths = choice::Paths(files.iter().map(|file| file.path.as_str()).collect());
        let wanted = paths.choose(name, precision)?;
        let of_path = |path: &&str| files.iter().find(|file| file.path == **path).cloned();
        let files: Vec<_> = wanted.iter().filter_map(of_path).collect();
        let repo = self.repo(name);
        let missing = files.iter().map(|file| file.size.saturating_sub(repo.bytes_of(&commit, file)));
        let missing = missing.fold(0, u64::saturating_add);
        Ok(Plan { name: name.clone(), commit, files, missing })
    }

    /// Whether the disk has room for what `plan` would fetch.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_room(&self, plan: &Plan) -> Result<(), HubError> {
        use crate::tensor::bytes::human;
        let folder = &self.settings.cache;
        match cache::free_space(folder) {
            Some(free) if free < plan.missing => {
                let (needed, free) = (human(plan.missing.into()), human(free.into()));
                Err(HubError::Disk { folder: folder.clone(), needed, free, prune: self.prune_hint() })
            }
            _ => Ok(()),
        }
    }

    /// What a full disk's error says of files that no repository uses.
    fn prune_hint(&self) -> String {
        let prunable = self.scan().map_or(0, |scan| scan.prunable);
        match prunable {
            0 => String::new(),
            bytes => tr!(", `hf cache prune` frees {}", crate::tensor::bytes::human(bytes.into())),
        }
    }

    /// Fetches what is missing of `plan`.
    ///
    /// # Errors
    /// When there is no room, the hub refuses, the connection breaks again and again, or what comes is not what was announced.
    pub fn fetch(&self, plan: &Plan, tell: &mut dyn FnMut(Event)) -> Result<HubSnapshot, HubError> {
        self.check_room(plan)?;
        let Plan { name, commit, .. } = plan;
        let repo = self.repo(name);
        for file in &plan.files {
            let is_new = Transfer { hub: self, name, commit, file, repo: &repo }.run(tell)?;
            repo.link(commit, file, is_new)?;
            tell(Event::Done { file });
        }
        // Last, so that the revision never leads to half a model.
        repo.note(name.revision(), commit)?;
        Ok(HubSnapshot { name: name.clone(), commit: commit.clone(), folder: repo.snapshot(commit) })
    }
}

//! Models from the Hugging Face hub, in the cache that Python has too.
//!
//! - [`name`]: what a model is called, and which are known by a short name.
//! - [`settings`]: what the environment says.
//! - [`listing`]: one look at what a model has. [`choice`]: which of it is wanted.
//! - [`cache`]: where it is kept, with `tree` and `lock`. [`store`]: what repositories share. `transfer`: how a file gets there, with
//!   `http` and [`digest`].
//! - [`scan`]: what the cache holds, and how a model is removed. [`verify`]: whether it is still right.
//! - [`error`]: what can go wrong.
//!
//! Nothing is taken on trust: a file is fetched of the commit that was looked at, and has the name of its content only when its
//! size and hash are what the hub said then. The token goes to the hub's own host and to no other.

pub mod cache;
pub mod choice;
pub mod digest;
pub mod error;
mod http;
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
use http::{Answer, Broken, Http};
use std::cell::OnceCell;
use std::io::Read;
use transfer::{ATTEMPTS, Transfer, pause};

/// The variable with the time that a look at a model may take.
const LOOK_TIMEOUT: &str = "HF_HUB_ETAG_TIMEOUT";
/// The variable with the time that a transfer may stand still.
const DOWNLOAD_TIMEOUT: &str = "HF_HUB_DOWNLOAD_TIMEOUT";

/// A hub, and the cache of its files.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    http: OnceCell<Http>,
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

/// What is told while files are fetched.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are what the events say of them")]
pub enum Event<'a> {
    /// A file begins, with so many bytes of an earlier attempt.
    Begins { file: &'a RemoteFile, bytes: u64 },
    /// So many bytes of it have come.
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
        Self { settings, http: OnceCell::new() }
    }

    /// Who asks it: made when there is something to ask, as the cache needs none.
    fn http(&self) -> Result<&Http, HubError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = Http::new(&self.settings)?;
        Ok(self.http.get_or_init(|| http))
    }

    /// What it is asked with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn shelf(&self, name: &HubName) -> RepoCache {
        RepoCache::of(&self.settings.cache, &name.repository, self.settings.links)
    }

    /// How `name` stands in the cache, for a run in `precision`. The network is not asked.
    pub fn cached(&self, name: &HubName, precision: Precision) -> Cached {
        self.shelf(name).find(name, precision)
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
        self.shelf(name).check_readable()
    }

    /// A commit that is whole in the cache, where the revision of `name` names none there.
    fn other_commit(&self, name: &HubName) -> Option<String> {
        let shelf = self.shelf(name);
        if shelf.any(name).is_some() {
            return None;
        }
        let is_whole = |commit: &String| {
            let of = HubName { repository: name.repository.clone(), revision: Some(commit.clone()) };
            matches!(shelf.find(&of, Precision::Half), Cached::Whole(_))
        };
        shelf.commits().into_iter().map(|(commit, _)| commit).find(is_whole)
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
        let Listing { commit, class, files } = self.look(name)?;
        if let Some(kind) = class.and_then(|class| check_class(&class).err()) {
            return Err(HubError::Kind { name: name.to_string(), kind });
        }
        let paths = choice::Paths(files.iter().map(|file| file.path.as_str()).collect());
        let wanted = paths.choose(name, precision)?;
        let of_path = |path: &&str| files.iter().find(|file| file.path == **path).cloned();
        let files: Vec<_> = wanted.iter().filter_map(of_path).collect();
        let shelf = self.shelf(name);
        let missing = files.iter().map(|file| file.size.saturating_sub(shelf.bytes_of(&commit, file)));
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
                Err(HubError::Disk { folder: folder.clone(), needed, free })
            }
            _ => Ok(()),
        }
    }

    /// Fetches what is missing of `plan`.
    ///
    /// # Errors
    /// When there is no room, the hub refuses, the connection breaks again and again, or what comes is not what was announced.
    pub fn fetch(&self, plan: &Plan, tell: &mut dyn FnMut(Event)) -> Result<HubSnapshot, HubError> {
        self.check_room(plan)?;
        let Plan { name, commit, .. } = plan;
        let shelf = self.shelf(name);
        for file in &plan.files {
            let is_new = Transfer { hub: self, name, commit, file, shelf: &shelf }.run(tell)?;
            shelf.link(commit, file, is_new)?;
            tell(Event::Done { file });
        }
        // Last, so that the revision never leads to half a model.
        shelf.note(name.revision(), commit)?;
        Ok(HubSnapshot { name: name.clone(), commit: commit.clone(), folder: shelf.snapshot(commit) })
    }

    /// Whether a status says that the hub has too much to do just now.
    fn is_busy(&self, status: u16) -> bool {
        matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
    }

    /// Asks again where the connection broke or the hub had too much to do. Nobody there is told at once.
    fn patiently(
        &self,
        url: &str,
        variable: &'static str,
        ask: impl Fn() -> Result<Answer, Broken>,
    ) -> Result<Answer, HubError> {
        let mut fruitless = 0;
        loop {
            fruitless += 1;
            match ask() {
                Ok(answer) if fruitless < ATTEMPTS && self.is_busy(answer.status) => {}
                Ok(answer) => return Ok(answer),
                Err(Broken::Stalled | Broken::Lost(_)) if fruitless < ATTEMPTS => {}
                Err(broken) => return Err(self.given_up(url, variable, broken)),
            }
            std::thread::sleep(pause(fruitless));
        }
    }

    fn given_up(&self, url: &str, variable: &'static str, broken: Broken) -> HubError {
        match broken {
            Broken::Unreachable { host, why } => HubError::Unreachable { host, why },
            Broken::Lost(why) => HubError::Lost { url: url.into(), why },
            Broken::Stalled => self.stalled(url, variable),
        }
    }

    fn stalled(&self, url: &str, variable: &'static str) -> HubError {
        let patience = match variable {
            LOOK_TIMEOUT => self.settings.look_timeout,
            _ => self.settings.download_timeout,
        };
        HubError::Stalled { url: url.into(), seconds: patience.as_secs_f64(), variable }
    }

    /// What an answer means that is no success.
    fn refusal(&self, name: &HubName, mut answer: Answer) -> HubError {
        const LONGEST: u64 = 4096;
        let endpoint = self.settings.endpoint.clone();
        let page = format!("{endpoint}/{}", name.repository);
        let code = answer.header("X-Error-Code").unwrap_or_default().to_string();
        let mut said = answer.header("X-Error-Message").map(str::to_string);
        if said.is_none() {
            let mut body = Vec::new();
            // An answer that breaks off says less.
            let _ = (&mut answer.body).take(LONGEST).read_to_end(&mut body);
            let body = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
            said = body["error"].as_str().map(str::to_string);
        }
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let token = self.settings.token.as_ref().map(|token| token.from.clone());
        let repository = name.repository.clone();
        match (answer.status, &*code, token) {
            (401 | 403, "GatedRepo", None) => {
                HubError::GatedWithoutToken { name: repository, url: page, endpoint }
            }
            (401 | 403, "GatedRepo", Some(token)) => HubError::Gated { name: repository, token, url: page },
            (401, _, None) => HubError::MissingOrPrivate { name: repository, url: page },
            (401, code, Some(token)) if code != "RepoNotFound" => {
                HubError::Token { name: repository, token, endpoint }
            }
            (404, "RevisionNotFound", _) => {
                let url = format!("{page}/tree/main");
                HubError::Revision { name: repository, revision: name.revision().into(), url }
            }
            (401 | 404, _, _) => HubError::Missing { name: repository, url: page },
            (403, _, token) => {
                let next = match token {
                    Some(token) => format!(
                        "see at {endpoint}/settings/tokens whether the token of {token} may read this"
                    ),
                    None => "set HF_TOKEN to a token that may read this, or run `hf auth login`".into(),
                };
                HubError::Forbidden { name: repository, said, next }
            }
            (status, _, _) => HubError::Status { url: answer.url, status, said },
        }
    }
}

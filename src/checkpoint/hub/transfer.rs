//! The transfer of one file: continued from where an earlier one ended, and hashed before it counts as fetched. Ours, because hf-hub's
//! sends the token to the host that keeps the file, never times out, appends whatever comes, and compares no hash
//! (`tests/program/hf_hub.rs`).

use super::cache::{RepoCache, free_space};
use super::client::{ATTEMPTS, Answer, Broken, broken_off, pause, undecoded};
use super::digest::{Hasher, hash_of};
use super::settings::DOWNLOAD_TIMEOUT;
use super::store::SharedFile;
use super::{Event, Hub, HubError, HubName, RemoteFile, Swept};
use crate::tensor::bytes::human;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tr::tr;

/// Why an attempt ended before the file did.
enum Ended {
    /// Another may bring more.
    Broken(Broken),
    /// Another would end as this did.
    Wrong(HubError),
}

impl From<HubError> for Ended {
    fn from(error: HubError) -> Self {
        Self::Wrong(error)
    }
}

/// A file on its way.
pub(super) struct Transfer<'a> {
    pub hub: &'a Hub,
    pub name: &'a HubName,
    pub commit: &'a str,
    pub file: &'a RemoteFile,
    pub repo: &'a RepoCache,
}

/// What came of a repair.
pub(super) enum Repair {
    /// The file was replaced; what became of the shared file that it was a link to.
    Done(Option<Swept>),
    /// Another program repaired it meanwhile.
    Right,
}

impl Transfer<'_> {
    /// Brings the file into the cache, where it is not there yet; whether it came now.
    pub fn run(&self, tell: &mut dyn FnMut(Event)) -> Result<bool, HubError> {
        if self.repo.has(self.commit, self.file) {
            return Ok(false);
        }
        let _held = self.lock(tell)?;
        // Whoever had the lock before may have brought it.
        if self.repo.has(self.commit, self.file) {
            return Ok(false);
        }
        self.arrive(tell)?.keep(self.repo.blob(&self.file.digest)).map(|()| true)
    }

    /// Fetches the file and then replaces `place` with it, if what is there is still wrong.
    pub fn replace(&self, place: &Path, tell: &mut dyn FnMut(Event)) -> Result<Repair, HubError> {
        let _held = self.lock(tell)?;
        let partial = self.arrive(tell)?;
        let wrong = |error| HubError::File { path: place.into(), error };
        partial.file.sync_all().map_err(wrong)?;
        let shared = self.repo.store.target(place).map_err(wrong)?;
        let shared = shared.filter(SharedFile::is_known).map(|shared| (shared.lock(), shared));
        // Under the locks: another program may have repaired it since it was read.
        if hash_of(place, &self.file.digest).map_err(wrong)?.as_deref() == Some(self.file.digest.hex()) {
            partial.discard();
            return Ok(Repair::Right);
        }
        // A link there is replaced, and not what it leads to.
        fs::rename(&partial.path, place).map_err(wrong)?;
        Ok(Repair::Done(shared.map(|(held, shared)| match held {
            Ok(held) => shared.sweep(&held),
            Err(why) => shared.left(why),
        })))
    }

    fn lock(&self, tell: &mut dyn FnMut(Event)) -> Result<File, HubError> {
        self.repo.lock(&self.file.digest, || tell(Event::Waits { file: self.file }))
    }

    /// Brings the whole file, with the right hash, but not yet to its place.
    fn arrive(&self, tell: &mut dyn FnMut(Event)) -> Result<Partial<'_>, HubError> {
        let mut partial = Partial::open(self.hub, self.repo.incomplete(&self.file.digest), self.file)?;
        tell(Event::Begins { file: self.file, bytes: partial.len });
        let mut is_resumed = partial.len > 0;
        loop {
            is_resumed |= self.fill(&mut partial, tell)?;
            let found = partial.hash()?;
            if found == self.file.digest.hex() {
                return Ok(partial);
            }
            // The part that was there already may have been the wrong one.
            if is_resumed {
                is_resumed = false;
                partial.restart()?;
                tell(Event::Again { file: self.file, why: tr!("its hash is wrong") });
                continue;
            }
            partial.discard();
            let expected = self.file.digest.to_string();
            return Err(HubError::Hash { file: self.file.path.clone(), found, expected });
        }
    }

    /// Fetches what is wanting, in as many attempts as it takes; whether there were several.
    fn fill(&self, partial: &mut Partial, tell: &mut dyn FnMut(Event)) -> Result<bool, HubError> {
        let (mut fruitless, mut furthest, mut attempts) = (0, partial.len, 0);
        let url = self.hub.client()?.file_url(self.name, self.commit, &self.file.path);
        while partial.len < self.file.size {
            attempts += 1;
            let broken = match self.attempt(&url, partial, tell) {
                Ok(()) => continue,
                Err(Ended::Wrong(error)) => return Err(error),
                Err(Ended::Broken(broken)) => broken,
            };
            fruitless = if partial.len > furthest { 0 } else { fruitless + 1 };
            furthest = furthest.max(partial.len);
            if fruitless == ATTEMPTS {
                return Err(self.hub.given_up(&url, DOWNLOAD_TIMEOUT, broken));
            }
            let why = match &broken {
                Broken::Unreachable { why, .. } | Broken::Lost(why) => why.clone(),
                Broken::Stalled => tr!("nothing comes"),
            };
            tell(Event::Again { file: self.file, why });
            std::thread::sleep(pause(fruitless));
        }
        Ok(attempts > 1)
    }

    /// One connection: all that it brings goes to `partial`.
    fn attempt(&self, url: &str, partial: &mut Partial, tell: &mut dyn FnMut(Event)) -> Result<(), Ended> {
        let patience = self.hub.settings.download_timeout;
        let mut answer = self.hub.client()?.get(url, partial.len, patience).map_err(Ended::Broken)?;
        let again = |why: String| Ended::Broken(Broken::Lost(why));
        match answer.status {
            206 if begins_at(&answer) == Some(partial.len) => {}
            // Of ranges it knows nothing: all of it comes again.
            200 => partial.restart_unless_empty()?,
            206 | 416 => {
                partial.restart_unless_empty()?;
                return Err(again(tr!("another part came than was asked for")));
            }
            status if answer.is_busy() || !answer.is_hubs => {
                // Also an address that the hub handed out and that is valid no longer: it hands out another.
                return Err(again(format!("{} answers {status}", answer.url)));
            }
            _ => return Err(self.hub.refusal(self.name, answer).into()),
        }
        let (url, endpoint) = (answer.url.clone(), self.hub.settings.endpoint.clone());
        let compressed = |encoding: &str| {
            let found = tr!("the file came compressed ({encoding})", encoding);
            Ended::Wrong(HubError::Answer { url, found, expected: "it as it is", endpoint })
        };
        if let Some(encoding) = answer.header("Content-Encoding").filter(|encoding| *encoding != "identity") {
            return Err(compressed(encoding));
        }
        let mut block = vec![0; 256 << 10];
        loop {
            match answer.body.read(&mut block) {
                Ok(0) if partial.len < self.file.size => {
                    return Err(again(tr!("it ended after {} of {} bytes", partial.len, self.file.size)));
                }
                Ok(0) => return Ok(()),
                Ok(n) => {
                    let found = partial.len + n as u64;
                    if found > self.file.size {
                        partial.discard();
                        let (file, expected) = (self.file.path.clone(), self.file.size);
                        return Err(HubError::Size { file, found, expected }.into());
                    }
                    partial.write(&block[..n])?;
                    tell(Event::At { file: self.file, bytes: partial.len });
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // All that was announced has come, whatever became of the connection.
                Err(_) if partial.len == self.file.size => return Ok(()),
                Err(e) => {
                    let broken = || Ended::Broken(broken_off(&e));
                    return Err(undecoded(&e).map_or_else(broken, compressed));
                }
            }
        }
    }
}

/// The byte that a partial answer begins at: `Content-Range: bytes 5-9/10`.
fn begins_at(answer: &Answer) -> Option<u64> {
    answer.header("Content-Range")?.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// What has come of a file so far, on disk, and its hash.
struct Partial<'a> {
    hub: &'a Hub,
    path: PathBuf,
    file: File,
    len: u64,
    hasher: Hasher,
    of: &'a RemoteFile,
}

impl<'a> Partial<'a> {
    fn open(hub: &'a Hub, path: PathBuf, of: &'a RemoteFile) -> Result<Self, HubError> {
        let wrong = |error| HubError::File { path: path.clone(), error };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(wrong)?;
        }
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(wrong)?;
        if file.metadata().map_err(wrong)?.len() > of.size {
            file.set_len(0).map_err(wrong)?;
        }
        let mut hasher = of.digest.hasher(of.size);
        let len = hasher.read(&mut file).map_err(wrong)?;
        Ok(Self { hub, path, file, len, hasher, of })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(|error| match (error.kind(), free_space(&self.path)) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, free) => HubError::Disk {
                folder: self.path.parent().unwrap_or(&self.path).into(),
                needed: human((self.of.size - self.len).into()),
                free: human(free.unwrap_or(0).into()),
                prune: self.hub.prune_hint(),
            },
            _ => HubError::File { path: self.path.clone(), error },
        })?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn restart_unless_empty(&mut self) -> Result<(), HubError> {
        if self.len > 0 { self.restart() } else { Ok(()) }
    }

    fn restart(&mut self) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| HubError::File { path: self.path.clone(), error })?;
        self.hasher = self.of.digest.hasher(self.of.size);
        self.len = 0;
        Ok(())
    }

    /// The hash of all that has come.
    fn hash(&mut self) -> Result<String, HubError> {
        Ok(std::mem::replace(&mut self.hasher, self.of.digest.hasher(self.of.size)).finish())
    }

    /// Makes it the blob.
    fn keep(self, blob: PathBuf) -> Result<(), HubError> {
        // On disk before it has the name of something whole.
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.path, &blob));
        kept.map_err(|error| HubError::File { path: blob, error })
    }

    fn discard(&self) {
        // Where it cannot be removed, the next attempt empties it or finds its hash wrong.
        let _ = fs::remove_file(&self.path);
    }
}

//! What hf-hub 0.5.0 does where `src/checkpoint/hub/` has code of its own. Each test states a behaviour of the library by itself, on
//! the same hub as the other tests. A test that fails after an update of hf-hub says that code of ours may go (ARCHITECTURE.md).

use crate::hub_server::{COMMIT, Hub, NAME, Play, Reply, Request, digest};
use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

const LARGE: &str = "unet/w.safetensors";
const SMALL: &str = "model_index.json";

struct Setup {
    home: TempDir,
    hub: Hub,
}

fn content() -> Vec<u8> {
    (0..20_000u32).map(|i| (i % 251) as u8).collect()
}

/// A hub that answers `Range: bytes=0-0`, with which hf-hub asks for a size, as the Hugging Face hub does.
fn setup(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Setup {
    let files = BTreeMap::from([(LARGE.into(), content()), (SMALL.into(), b"{}".to_vec())]);
    let answer = move |request: &Request, mut reply: Reply| {
        let is_probe = request.headers.get("range").is_some_and(|range| range == "bytes=0-0");
        if is_probe && reply.status == 200 {
            reply.status = 206;
            reply.headers.push(("Content-Range", format!("bytes 0-0/{}", reply.body.len())));
            reply.body.truncate(1);
            return reply;
        }
        change(request, reply)
    };
    Setup { home: tempfile::tempdir().unwrap(), hub: Hub::start(files, answer) }
}

impl Setup {
    fn builder(&self) -> ApiBuilder {
        ApiBuilder::from_cache(Cache::new(self.home.path().into()))
            .with_endpoint(self.hub.endpoint())
            .with_progress(false)
    }

    fn download(&self, file: &str) -> Result<PathBuf, ApiError> {
        self.at_commit(self.builder().build().unwrap()).download(file)
    }

    fn at_commit(&self, api: Api) -> hf_hub::api::sync::ApiRepo {
        api.repo(Repo::with_revision(NAME.into(), RepoType::Model, COMMIT.into()))
    }

    fn blob(&self, file: &str, content: &[u8]) -> PathBuf {
        self.home.path().join("models--you--mini/blobs").join(digest(file, content))
    }

    /// Has an interrupted transfer leave `content`.
    fn leave(&self, content: &[u8]) -> PathBuf {
        let part = self.blob(LARGE, &self::content()).with_extension("part");
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, content).unwrap();
        part
    }
}

/// What ours uses: hf-hub's folders and addresses are those of Python.
#[test]
fn its_paths_and_addresses_are_right() {
    let setup = setup(|_, reply| reply);
    let cache = Cache::new(setup.home.path().into()).repo(Repo::model(NAME.into()));
    let hash = digest(LARGE, &content());
    assert_eq!(cache.blob_path(&hash), setup.blob(LARGE, &content()));
    let snapshots = setup.home.path().join("models--you--mini/snapshots");
    assert_eq!(cache.pointer_path(COMMIT), snapshots.join(COMMIT));
    let repo = setup.at_commit(setup.builder().build().unwrap());
    assert_eq!(repo.url(LARGE), format!("{}/{NAME}/resolve/{COMMIT}/{LARGE}", setup.hub.endpoint()));
    assert_eq!(fs::read(setup.download(LARGE).unwrap()).unwrap(), content());
}

/// The token goes to the host that keeps the file, with the request for its size.
#[test]
fn it_sends_the_token_to_another_host() {
    let setup = setup(|_, reply| reply);
    let api = setup.builder().with_token(Some("hf_secret".into())).build().unwrap();
    setup.at_commit(api).download(LARGE).unwrap();
    let seen = setup.hub.seen();
    let others = seen.iter().filter(|request| !request.headers["host"].starts_with("127.0.0.1"));
    assert!(others.into_iter().any(|request| request.headers.contains_key("authorization")));
}

/// A file with other bytes than the hub announced counts as fetched: its hash is not compared.
#[test]
fn it_keeps_a_file_with_another_hash() {
    let setup = setup(|request, reply| match request.gets(LARGE) {
        true => Reply { body: vec![1; reply.body.len()], ..reply },
        false => reply,
    });
    assert_eq!(fs::read(setup.download(LARGE).unwrap()).unwrap(), vec![1; content().len()]);
}

/// What an interrupted transfer left is continued whatever came: from a host that knows no ranges all of it is appended.
#[test]
fn it_appends_a_whole_file_to_a_part() {
    let setup = setup(|request, reply| match request.gets(LARGE) {
        true => Reply { status: 200, headers: vec![], body: content(), play: Play::Whole },
        false => reply,
    });
    setup.leave(&content()[..7000]);
    assert_eq!(fs::read(setup.download(LARGE).unwrap()).unwrap().len(), 7000 + content().len());
}

/// A transfer that was interrupted after its last byte never ends: no host has a byte after that.
#[test]
fn it_cannot_finish_a_part_that_is_whole() {
    let setup = setup(|request, reply| match request.from() {
        Some(from) if request.gets(LARGE) && from >= content().len() => Reply::error(416, ""),
        _ => reply,
    });
    let part = setup.leave(&content());
    for _ in 0..2 {
        assert!(matches!(setup.download(LARGE), Err(ApiError::RequestError(_))));
        assert!(part.exists());
    }
}

/// Its lock is not the one that Python holds, and its part not the one that Python knows.
#[test]
fn its_lock_and_its_part_are_not_pythons() {
    let setup = setup(|request, reply| match request.gets(LARGE) {
        true => Reply { play: Play::CutAfter(5000), ..reply },
        false => reply,
    });
    setup.download(LARGE).unwrap_err();
    let blob = setup.blob(LARGE, &content());
    assert!(blob.with_extension("lock").exists() && blob.with_extension("part").exists());
    assert!(!setup.home.path().join(".locks").exists() && !blob.with_extension("incomplete").exists());
}

/// The hub's reason for a refusal does not come through: `GatedRepo` is a header.
#[test]
fn it_does_not_say_why_the_hub_refused() {
    let setup = setup(|_, _| Reply::error(403, "GatedRepo"));
    let error = setup.download(SMALL).unwrap_err().to_string();
    assert!(error.contains("403") && !error.contains("Gated"), "{error}");
}

/// Its names of files are not escaped, and it has no sizes or hashes of a listing.
#[test]
fn it_escapes_no_name_and_lists_names_alone() {
    let setup = setup(|_, reply| reply);
    let repo = setup.at_commit(setup.builder().build().unwrap());
    assert!(repo.url("a#b?c").ends_with("/a#b?c"));
    let info = repo.info().unwrap();
    // All that a `Siblings` has.
    let hf_hub::api::Siblings { rfilename } = &info.siblings[0];
    assert_eq!((info.sha.as_str(), rfilename.as_str()), (COMMIT, SMALL));
}

/// It has no time-outs: it waits for a hub that says nothing, longer than any that could be set.
#[test]
fn it_waits_for_a_hub_that_says_nothing() {
    let setup = setup(|_, reply| Reply { play: Play::Silent, ..reply });
    let repo = setup.at_commit(setup.builder().with_retries(0).build().unwrap());
    let (send, receive) = mpsc::channel();
    // It is left waiting when the test ends.
    std::thread::spawn(move || send.send(repo.download(LARGE).is_ok()));
    assert!(matches!(receive.recv_timeout(Duration::from_secs(3)), Err(mpsc::RecvTimeoutError::Timeout)));
}

/// A file of the shared store, whose blob is a link, is not replaced by a link of its own: a rename takes the link's place, and the
/// store's manifest still names the repository.
#[cfg(unix)]
#[test]
fn it_knows_no_shared_store() {
    let setup = setup(|_, reply| reply);
    let blob = setup.blob(LARGE, &content());
    let shared = setup.home.path().join("blobs/aa").join("a".repeat(64));
    for folder in [blob.parent(), shared.parent()] {
        fs::create_dir_all(folder.unwrap()).unwrap();
    }
    fs::write(&shared, content()).unwrap();
    let manifest = shared.with_extension("refs");
    fs::write(&manifest, format!("models--you--mini/blobs/{}\n", digest(LARGE, &content()))).unwrap();
    std::os::unix::fs::symlink(Path::new("../../blobs/aa").join("a".repeat(64)), &blob).unwrap();
    setup.download(LARGE).unwrap();
    assert!(!blob.is_symlink() && fs::read_to_string(manifest).unwrap().contains("you--mini"));
}

/// A reader of `refs/` can meet an empty file: it is emptied, and then written.
#[test]
fn it_writes_a_ref_in_place() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::new(home.path().into()).repo(Repo::model(NAME.into()));
    cache.create_ref(&"0".repeat(40)).unwrap();
    let path = home.path().join("models--you--mini/refs/main");
    let open = fs::File::open(&path).unwrap();
    cache.create_ref(COMMIT).unwrap();
    // A file that was written beside and renamed would have left this one as it was.
    assert_eq!(std::io::read_to_string(open).unwrap(), COMMIT);
}

/// Its progress comes before the bytes are written, so that it cannot say what is on disk.
#[test]
fn its_progress_is_ahead_of_the_disk() {
    struct Watch(PathBuf, mpsc::Sender<bool>);
    impl Progress for Watch {
        fn init(&mut self, _: usize, _: &str) {}
        fn update(&mut self, bytes: usize) {
            let on_disk = fs::metadata(&self.0).map_or(0, |found| found.len());
            let _ = self.1.send(bytes > 0 && on_disk == 0);
        }
        fn finish(&mut self) {}
    }
    let setup = setup(|_, reply| reply);
    let (send, receive) = mpsc::channel();
    let watch = Watch(setup.blob(LARGE, &content()).with_extension("part"), send);
    setup.at_commit(setup.builder().build().unwrap()).download_with_progress(LARGE, watch).unwrap();
    assert!(receive.iter().any(|is_ahead| is_ahead));
}

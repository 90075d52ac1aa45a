//! Caches as huggingface_hub 2.4.0 leaves them, made without Python. `tools/hub/check.py` looks that it does leave them so, and
//! `docs/hub.md` has what it saw.

use super::hub_server::{COMMIT, digest, is_large, xet_hash};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How a repository's files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `snapshots/COMMIT/FILE` is a link to `blobs/ETAG`.
    Links,
    /// And `blobs/ETAG` of a large file is a link to `<cache>/blobs/XX/XETHASH`.
    Shared,
    /// `snapshots/COMMIT/FILE` is the file, and `blobs/` is empty.
    Plain,
}

pub const MARKER: &str = "blobs/.huggingface-shared-blobs";

/// The folder of a repository.
pub fn shelf(cache: &Path, repository: &str) -> PathBuf {
    cache.join(format!("models--{}", repository.replace('/', "--")))
}

/// Where the shared store has a content.
pub fn shared(cache: &Path, content: &[u8]) -> PathBuf {
    let hash = xet_hash(content);
    cache.join("blobs").join(&hash[..2]).join(hash)
}

/// Its manifest.
pub fn manifest(cache: &Path, content: &[u8]) -> PathBuf {
    shared(cache, content).with_extension("refs")
}

/// Puts a repository with `files` into the cache.
pub fn fill(cache: &Path, repository: &str, files: &BTreeMap<String, Vec<u8>>, layout: Layout) {
    let shelf = shelf(cache, repository);
    for folder in ["blobs", "refs", "trees"] {
        fs::create_dir_all(shelf.join(folder)).unwrap();
    }
    fs::write(shelf.join("refs/main"), COMMIT).unwrap();
    fs::write(shelf.join(format!("trees/{COMMIT}.json")), r#"{"format_version": 1, "files": {}}"#).unwrap();
    fs::write(cache.join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
    for (file, content) in files {
        let etag = digest(file, content);
        let (blob, path) = (shelf.join("blobs").join(&etag), shelf.join("snapshots").join(COMMIT).join(file));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if layout == Layout::Plain {
            fs::write(&path, content).unwrap();
            continue;
        }
        if layout == Layout::Shared && is_large(file) {
            share(cache, &blob, content);
        } else {
            fs::write(&blob, content).unwrap();
        }
        let up = "../".repeat(2 + file.matches('/').count());
        link(&format!("{up}blobs/{etag}"), &path);
    }
}

/// Puts the content into the store, where it is not there yet, with a reference of `blob`, which becomes a link to it.
fn share(cache: &Path, blob: &Path, content: &[u8]) {
    let file = shared(cache, content);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(cache.join(MARKER), "1\n").unwrap();
    fs::write(file.with_extension("lock"), "").unwrap();
    if !file.exists() {
        fs::write(&file, content).unwrap();
        // Python makes it one that cannot be written to.
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
    }
    let line = blob.strip_prefix(cache).unwrap().to_str().unwrap();
    let mut refs = fs::File::options().append(true).create(true).open(manifest(cache, content)).unwrap();
    writeln!(refs, "{line}").unwrap();
    let hash = xet_hash(content);
    link(&format!("../../blobs/{}/{hash}", &hash[..2]), blob);
}

/// Another content of the same size in the place of the one at `path`, which may be a link or not be writable.
pub fn spoil(path: &Path) {
    let path = path.canonicalize().unwrap();
    let mut content = fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, content).unwrap();
}

/// All that is in a folder: of a link where it leads, of a file its content.
pub fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            let leads = fs::read_link(&path).unwrap();
            found.insert(path, format!("-> {}", leads.display()).into_bytes());
        } else if path.is_dir() {
            found.extend(everything(&path));
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

fn link(target: &str, path: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(target, path).unwrap();
    #[cfg(not(unix))]
    panic!("no links here: {target}, {}", path.display());
}

//! The hash of a file on the hub, which also names its content in the cache. hf-hub hashes nothing.

use super::name::is_hex;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The hash of a file, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Digest {
    /// Of a large file (Git LFS, Xet): SHA-256 of its bytes.
    Sha256(String),
    /// Of a small file: git's id of it, SHA-1 of its length and its bytes.
    Git(String),
}

impl Digest {
    /// A SHA-256; `None` where it is none.
    pub fn sha256(text: &str) -> Option<Self> {
        is_hex(text, 64).then(|| Self::Sha256(text.into()))
    }

    /// A git object's id; `None` where it is none.
    pub fn git(text: &str) -> Option<Self> {
        is_hex(text, 40).then(|| Self::Git(text.into()))
    }

    /// The digest that names a blob in the cache; `None` where it is named otherwise.
    pub fn of_blob(name: &str) -> Option<Self> {
        Self::sha256(name).or_else(|| Self::git(name))
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }

    /// Hashes the way that this digest was made, of a file of `size` bytes.
    pub fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher(Context::new(&SHA256)),
            Self::Git(_) => {
                // Names a file, as git does; it protects nothing, and the hub has no other for small files.
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {size}\0").as_bytes());
                Hasher(context)
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex())
    }
}

/// A hash in the making.
pub struct Hasher(Context);

impl Hasher {
    /// More of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// All of `file` from where it stands; how many bytes that were.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, file: &mut File) -> io::Result<u64> {
        let mut block = vec![0; 1 << 20];
        let mut read = 0;
        loop {
            match file.read(&mut block)? {
                0 => return Ok(read),
                n => {
                    self.update(&block[..n]);
                    read += n as u64;
                }
            }
        }
    }

    /// The hash in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The hash of the file at `path`, made as `like` was; `None` if there is no file, as at the end of a broken link.
///
/// # Errors
/// When it cannot be read.
pub(super) fn hash_of(path: &Path, like: &Digest) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut hasher = like.hasher(file.metadata()?.len());
    hasher.read(&mut file)?;
    Ok(Some(hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `printf 'hello' | sha256sum` and `printf 'hello' | git hash-object --stdin`.
    #[test]
    fn hashes_are_those_of_sha256sum_and_of_git() {
        let known = [
            Digest::sha256("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824").unwrap(),
            Digest::git("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0").unwrap(),
        ];
        for digest in known {
            let mut hasher = digest.hasher(5);
            hasher.update(b"hel");
            hasher.update(b"lo");
            assert_eq!(hasher.finish(), digest.hex());
            assert_eq!(Digest::of_blob(digest.hex()), Some(digest));
        }
    }

    #[test]
    fn what_is_no_hash_names_no_file() {
        for text in ["", "../../etc/passwd", "b6fc", &"G".repeat(40), &"A".repeat(64)] {
            assert_eq!(Digest::of_blob(text), None);
        }
    }
}

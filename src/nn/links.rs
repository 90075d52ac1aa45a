//! Dangling symbolic links: a cache that was cleaned by hand has them.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use tr::tr;

/// Why opening `path` failed with `error`: a dangling link and its target, or the error's message.
pub fn found(path: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && path.is_symlink() {
        tr!("a link to {}, where there is no file", end_of(path).display())
    } else {
        error.to_string()
    }
}

/// The target of a chain of links whose last one dangles.
pub fn end_of(link: &Path) -> PathBuf {
    // The limit of Linux.
    const LINKS: usize = 40;
    let mut at = normal(link);
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&at) else { break };
        at = normal(&at.parent().unwrap_or(&at).join(next));
    }
    at
}

/// The path, absolute and without `.` and `..`. Links are not followed.
pub fn normal(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

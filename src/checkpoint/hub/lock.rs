//! Lock files, held as Python's `filelock` holds them. hf-hub's stand elsewhere, so that Python does not wait for them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

/// Holds the lock file at `path`, made with `mode` where it is not there, as long as what is returned lives; tells `waits` when
/// another has it. Never follows a link.
pub(super) fn hold(path: &Path, mode: u32, waits: impl FnOnce()) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(mode).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    let mut waits = Some(waits);
    loop {
        let file = options.open(path)?;
        if mode == 0o666 {
            open_to_all(&file);
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                if let Some(waits) = waits.take() {
                    waits();
                }
                file.lock()?;
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Whoever had it may have removed the file: then the next one to come locks another.
        if !is_unlinked(&file)? {
            return Ok(file);
        }
    }
}

fn is_unlinked(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    return file.metadata().map(|found| std::os::unix::fs::MetadataExt::nlink(&found) == 0);
    #[cfg(not(unix))]
    return file.metadata().map(|_| false);
}

/// Lets everyone who uses the cache write the file, which the umask may have forbidden. Another's file stays as it is.
pub(super) fn open_to_all(file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = file.set_permissions(fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = file;
}

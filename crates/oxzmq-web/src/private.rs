//! A directory that nobody else can look into, for the socket between master and workers of one machine.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use crate::system;

/// What names begin with; sixteen hexadecimal digits follow.
const PREFIX: &str = "oxzmq-";

/// Removed at the end. Who is killed leaves it behind: the next one to make such a directory cleans up. That a
/// directory is in use is told by the lock on it, which ends with its process, however that ends.
pub(crate) struct PrivateDirectory {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl PrivateDirectory {
    /// Makes one in `parent`, where temporary files belong.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        loop {
            let path = parent.join(format!("{PREFIX}{:016x}", system::random()));
            DirBuilder::new().mode(0o700).create(&path)?;
            // Another process that sweeps at this moment may be faster, and has removed it then.
            match lock(&path) {
                Ok(lock) if path.exists() => return Ok(Self { path, _lock: lock }),
                Ok(_) => {}
                Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::NotFound].contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = File::from(open(path, flags, Mode::empty())?);
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

/// Removes what processes of this user have left behind. What cannot be removed stays.
fn sweep(parent: &Path) {
    let user = rustix::process::getuid().as_raw();
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX));
        let is_ours = name.is_some_and(|digits| digits.len() == 16 && digits.chars().all(|c| c.is_ascii_hexdigit()));
        if is_ours
            && path.symlink_metadata().is_ok_and(|facts| facts.is_dir() && facts.uid() == user)
            && let Ok(_lock) = lock(&path)
        {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_what_was_left_behind_goes() {
        let scratch = std::env::temp_dir().join(format!("oxzmq-web-private-{}", std::process::id()));
        std::fs::create_dir_all(scratch.join("oxzmq-0123456789abcdef/x")).unwrap();
        std::fs::create_dir_all(scratch.join("oxzmq-0123456789abcde")).unwrap(); // somebody else's
        let first = PrivateDirectory::new(&scratch).unwrap();
        let second = PrivateDirectory::new(&scratch).unwrap();
        assert_eq!(first.path.metadata().unwrap().mode() & 0o777, 0o700);
        assert!(first.path.exists() && second.path.exists());
        assert!(!scratch.join("oxzmq-0123456789abcdef").exists());
        assert!(scratch.join("oxzmq-0123456789abcde").exists());
        let path = first.path.clone();
        drop(first);
        assert!(!path.exists());
        drop(second);
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}

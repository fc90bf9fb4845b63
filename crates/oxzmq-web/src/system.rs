//! Small questions to the operating system.

use std::hash::{BuildHasher, Hasher, RandomState};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A number that no other process has, with the odds of 64 random bits. It names things; it guards nothing.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Allows as many open files and connections as the administrator permits. Shells often start programs
/// with a limit of 1024 for the sake of programs that use `select`.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If it may not be raised, the lower limit is what there is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

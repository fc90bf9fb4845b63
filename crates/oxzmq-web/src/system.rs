//! Small questions to the operating system.

use std::hash::{BuildHasher, Hasher, RandomState};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A number that no other process has, with the odds of 64 random bits. It names things; it guards nothing.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Tells systemd how far this process is, if systemd wants to know (`sd_notify(3)`).
pub(crate) fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = name.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(&name),
    };
    // Whoever does not listen does not need to know.
    if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), address) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

/// The machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Allows as many open files and connections as the administrator permits, and gives their number. Shells often
/// start programs with a limit of 1024 for the sake of programs that use `select`.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If it may not be raised, the lower limit is what there is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

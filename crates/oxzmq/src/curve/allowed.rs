//! Keys that may come in: a directory of certificates.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use oxzmq_proto::Properties;
use parking_lot::Mutex;

use super::{Certificate, PublicKey};
use crate::error::{Error, Result};
use crate::peer_info::PeerInfo;
use crate::security::{AuthRequest, Credentials, Mechanism};
use crate::socket::Socket;

/// The property by which a connection is known to be that of a key.
const PUBLIC_KEY: &str = "Public-Key";

/// How often the directory is looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// Most files of a directory that are looked at.
const MAX_FILES: usize = 100_000;

/// The public keys in the certificates of a directory. Files that come and go count from the next handshake
/// on, or a second later; a connection that exists stays until [`send_away`](Self::send_away) is called. Subdirectories, files that begin with a dot, and secret halves
/// (`*_secret`) do not count; a file that is no certificate is reported in the log and lets nobody in.
///
/// ```no_run
/// use oxzmq::Context;
/// use oxzmq::curve::AllowedKeys;
///
/// # fn main() -> oxzmq::Result<()> {
/// let context = Context::new();
/// let allowed = AllowedKeys::open("/etc/oxzmq/clients")?;
/// context.set_authenticator(move |request| allowed.judge(request));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AllowedKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: HashMap<PublicKey, Owner>,
    seen: Vec<Stamp>,
    looked: Instant,
}

/// Whom a key belongs to.
#[derive(Clone, Debug)]
struct Owner {
    user_id: String,
    properties: Properties,
}

/// What tells that a file has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    path: PathBuf,
    modified: Option<SystemTime>,
    size: u64,
}

impl AllowedKeys {
    /// Reads the directory.
    ///
    /// # Errors
    /// As the system has it, if it cannot be read.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        let seen = stamps(&directory)?;
        let state = State { keys: read(&seen), seen, looked: Instant::now() };
        Ok(Self(Arc::new(Inner { directory, state: Mutex::new(state) })))
    }

    /// Whether the key is there. Looks at the directory again if that was longer than a second ago.
    pub fn contains(&self, key: PublicKey) -> bool {
        self.owner(key).is_some()
    }

    /// Looks at the directory now. What was known stays if it cannot be read.
    pub fn reload(&self) {
        self.look(&mut self.0.state.lock());
    }

    /// Lets in who has one of the keys, as the certificate's `name` or else the file's; its other metadata become
    /// properties of the messages, beside the key itself, as text, under `Public-Key`. Refuses everybody else, whatever
    /// the mechanism.
    pub fn judge(&self, request: AuthRequest) {
        let owner = match request.credentials() {
            Credentials::Curve(key) => self.owner(*key),
            _ => None,
        };
        match owner {
            Some(Owner { user_id, properties }) => request.accept_with(user_id, &properties),
            None => request.refuse(),
        }
    }

    /// Looks at the directory now, and ends the connections of those peers of the socket whom [`judge`](Self::judge)
    /// let in and whose keys are there no more; tells how many. What they have sent can still be received. They may
    /// come again, and are refused then.
    ///
    /// Who is between handshake and first message meanwhile may be missed, and is found by the next call: call it
    /// again and again, every second perhaps.
    pub fn send_away(&self, socket: &Socket) -> usize {
        self.reload();
        let key = |peer: &PeerInfo| peer.properties.as_ref()?.get_str(PUBLIC_KEY)?.parse::<PublicKey>().ok();
        let is_gone = |key: PublicKey| !self.0.state.lock().keys.contains_key(&key);
        let curve = socket.peers().into_iter().filter(|peer| peer.mechanism == Mechanism::Curve);
        let unwanted = curve.filter(|peer| key(peer).is_some_and(is_gone));
        let sent_away = unwanted.filter(|peer| socket.disconnect_peer(peer.key).is_ok());
        sent_away
            .inspect(|peer| {
                tracing::info!(user_id = peer.user_id(), "a peer was sent away: its key is allowed no more")
            })
            .count()
    }

    fn owner(&self, key: PublicKey) -> Option<Owner> {
        let mut state = self.0.state.lock();
        if state.looked.elapsed() >= LOOK {
            self.look(&mut state);
        }
        state.keys.get(&key).cloned()
    }

    fn look(&self, state: &mut State) {
        state.looked = Instant::now();
        match stamps(&self.0.directory) {
            Ok(seen) if seen != state.seen => {
                state.keys = read(&seen);
                state.seen = seen;
                let (directory, keys) = (self.0.directory.display(), state.keys.len());
                tracing::info!(%directory, keys, "the keys that are allowed have changed");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "cannot look for keys that are allowed; those known stay"),
        }
    }
}

/// The certificates of a directory.
fn stamps(directory: &Path) -> Result<Vec<Stamp>> {
    let failed = |error| Error::from_os(&error, &format!("cannot read {}", directory.display()));
    let mut stamps = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)?.take(MAX_FILES) {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name.ends_with("_secret") {
            continue;
        }
        // A file that has gone by now is not there.
        let Ok(about) = fs::metadata(&path) else { continue };
        if about.is_file() {
            stamps.push(Stamp { modified: about.modified().ok(), size: about.len(), path });
        }
    }
    stamps.sort_unstable();
    Ok(stamps)
}

fn read(stamps: &[Stamp]) -> HashMap<PublicKey, Owner> {
    let mut keys = HashMap::with_capacity(stamps.len());
    for Stamp { path, .. } in stamps {
        match Certificate::load(path) {
            Ok(certificate) => drop(keys.insert(certificate.public(), owner(&certificate, path))),
            Err(error) => tracing::error!(%error, "a file lets nobody in"),
        }
    }
    keys
}

fn owner(certificate: &Certificate, path: &Path) -> Owner {
    let mut properties = Properties::new();
    // The first of a name counts, so a certificate cannot claim another's.
    properties.insert(PUBLIC_KEY, certificate.public().to_string());
    let mut user_id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (name, value) in certificate.metadata() {
        if name == "name" {
            value.clone_into(&mut user_id);
        } else {
            properties.insert(name, value);
        }
    }
    Owner { user_id, properties }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::KeyPair;

    #[test]
    fn keys_come_and_go_with_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (anna, ben) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        Certificate::new(anna.clone()).with("name", "Anna").with("Role", "admin").save(at("a")).unwrap();
        fs::write(at("README"), "this is no certificate").unwrap();
        let allowed = AllowedKeys::open(directory.path()).unwrap();
        assert!(allowed.contains(anna.public()) && !allowed.contains(ben.public()));
        let owner = allowed.owner(anna.public()).unwrap();
        assert_eq!((owner.user_id.as_str(), owner.properties.get_str("Role")), ("Anna", Some("admin")));

        Certificate::of(ben.public()).save(at("ben")).unwrap();
        fs::remove_file(at("a")).unwrap();
        allowed.reload();
        assert!(!allowed.contains(anna.public()), "its secret half alone must not count");
        assert_eq!(allowed.owner(ben.public()).unwrap().user_id, "ben");

        drop(directory);
        allowed.reload();
        assert!(allowed.contains(ben.public()), "a directory that cannot be read changes nothing");
    }
}

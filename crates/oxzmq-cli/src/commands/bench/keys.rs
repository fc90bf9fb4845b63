//! The keys of `--curve`: known to both processes, and secret to nobody.

use oxzmq::Security;
use oxzmq::curve::{KeyPair, SecretKey};

pub(crate) fn server() -> KeyPair {
    KeyPair::from_secret(SecretKey::from_bytes([1; 32]))
}

pub(crate) fn client() -> KeyPair {
    KeyPair::from_secret(SecretKey::from_bytes([2; 32]))
}

/// The side that listens is the server.
pub(crate) fn security(curve: bool, listens: bool) -> Security {
    match (curve, listens) {
        (false, _) => Security::Null,
        (true, true) => Security::CurveServer(server()),
        (true, false) => Security::CurveClient { server: server().public(), keys: client() },
    }
}

//! Long-term keys as applications configure them.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::crypto::{Dryoc, KEY, Primitives, SharedKey};
use crate::ProtocolError;

/// Fills its argument with unpredictable octets; false if the system has none to give, which ends the
/// handshake that asked. This crate has no random source of its own.
pub type RandomSource = fn(&mut [u8]) -> bool;

/// A secret Curve25519 key. Wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; KEY]);

impl SecretKey {
    /// The key of these octets, any of which make one.
    pub fn from_bytes(mut octets: [u8; KEY]) -> Self {
        let key = SecretKey(octets);
        octets.zeroize();
        key
    }

    /// The key's octets: to be stored safely, and nowhere else.
    pub fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// The public key that belongs to it.
    pub fn public_key(&self) -> [u8; KEY] {
        Dryoc::public_key(&self.0)
    }

    /// A new one.
    pub(super) fn random(random: RandomSource) -> Result<Self, ProtocolError> {
        random_octets(random).map(SecretKey::from_bytes)
    }

    pub(super) fn shared_with(&self, public: &[u8; KEY], what: &'static str) -> Result<SharedKey, ProtocolError> {
        Dryoc::shared(public, &self.0).ok_or(ProtocolError::Cryptographic { what })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

pub(super) fn random_octets<const N: usize>(random: RandomSource) -> Result<[u8; N], ProtocolError> {
    let mut octets = [0; N];
    if random(&mut octets) { Ok(octets) } else { Err(ProtocolError::NoRandomness) }
}

/// What a CURVE client brings: whom it expects and who it is.
#[derive(Clone, Debug)]
pub struct CurveClient {
    pub(super) server: [u8; KEY],
    pub(super) secret: SecretKey,
    pub(super) public: [u8; KEY],
    pub(super) random: RandomSource,
}

impl CurveClient {
    /// A client with this secret key that talks to nobody but the owner of `server`.
    pub fn new(server: [u8; KEY], secret: SecretKey, random: RandomSource) -> Self {
        CurveClient { server, public: secret.public_key(), secret, random }
    }
}

/// What a CURVE server brings.
#[derive(Clone, Debug)]
pub struct CurveServer {
    pub(super) secret: SecretKey,
    pub(super) public: [u8; KEY],
    pub(super) random: RandomSource,
}

impl CurveServer {
    /// A server with this secret key, from which its public one follows.
    pub fn new(secret: SecretKey, random: RandomSource) -> Self {
        CurveServer { public: secret.public_key(), secret, random }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = SecretKey::from_bytes([7; KEY]);
        let client = CurveClient::new([8; KEY], secret, |_| true);
        let shown = format!("{client:?}");
        assert!(shown.contains("SecretKey(..)") && !shown.contains("7, 7"), "{shown}");
    }
}

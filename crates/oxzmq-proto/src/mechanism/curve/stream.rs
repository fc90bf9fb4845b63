//! A stream of octets that nobody can predict: for what needs many small random numbers, where asking the system for each
//! would cost more than all else.

use super::cipher::Cipher;
use super::crypto::SharedKey;
use super::keys::{RandomSource, random_octets};
use crate::ProtocolError;

/// XSalsa20's key stream, for a key that is drawn for it and known to nobody else.
#[derive(Debug)]
pub(crate) struct Stream {
    cipher: Cipher,
    count: u64,
}

impl Stream {
    pub(crate) fn new(random: RandomSource) -> Result<Self, ProtocolError> {
        let key = SharedKey(random_octets(random)?);
        Ok(Stream { cipher: Cipher::new(&key, b"oxzmq/stream\0\0\0\0"), count: 0 })
    }

    /// The next octets.
    pub(crate) fn fill(&mut self, octets: &mut [u8]) {
        octets.fill(0);
        self.cipher.seal(&self.count.to_be_bytes(), octets);
        self.count += 1;
    }
}

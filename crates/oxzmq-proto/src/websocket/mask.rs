//! Masks (RFC 6455, 5.3): a client hides what it sends from devices on the way that might take it for something else.
//! For that each frame's key has to be one that nobody can predict, least of all who chose the frame's body.

use crate::ProtocolError;
use crate::curve::RandomSource;
use crate::mechanism::curve::Stream;

/// Octets drawn at once: the keys of 64 frames.
const POOL: usize = 256;

/// A mask's key.
pub(super) type Key = [u8; 4];

/// Keys without end, from one secret that is drawn for the connection: a key stream of Salsa20.
#[derive(Debug)]
pub(super) struct Keys {
    stream: Stream,
    pool: [u8; POOL],
    at: usize,
}

impl Keys {
    pub(super) fn new(random: RandomSource) -> Result<Self, ProtocolError> {
        Ok(Keys { stream: Stream::new(random)?, pool: [0; POOL], at: POOL })
    }

    pub(super) fn next(&mut self) -> Key {
        if self.at == POOL {
            self.stream.fill(&mut self.pool);
            self.at = 0;
        }
        let mut key = Key::default();
        key.copy_from_slice(&self.pool[self.at..self.at + 4]);
        self.at += 4;
        key
    }
}

/// Mask `data`, or take the mask off, which is the same. `key` is that of its first octet.
#[inline(never)] // as seen from the loops for ZMTP, which have no use for it
pub(crate) fn apply(key: Key, data: &mut [u8]) {
    let word = u32::from_ne_bytes(key);
    let double = u64::from(word) << 32 | u64::from(word);
    let mut chunks = data.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let masked = chunk.try_into().map(u64::from_ne_bytes).unwrap_or_default() ^ double;
        chunk.copy_from_slice(&masked.to_ne_bytes());
    }
    for (octet, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *octet ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(octets: &mut [u8]) -> bool {
        octets.iter_mut().enumerate().for_each(|(at, octet)| *octet = at as u8);
        true
    }

    #[test]
    fn is_the_rfc_s_example() {
        // RFC 6455, 5.7: "Hello".
        let mut data = *b"Hello";
        apply([0x37, 0xfa, 0x21, 0x3d], &mut data);
        assert_eq!(data, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn every_length_is_masked_octet_by_octet() {
        let key = [1, 2, 3, 4];
        for size in 0..40 {
            let mut data: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let expected: Vec<u8> = data.iter().enumerate().map(|(at, octet)| octet ^ key[at % 4]).collect();
            apply(key, &mut data);
            assert_eq!(data, expected);
        }
    }

    #[test]
    fn keys_do_not_repeat() {
        let mut keys = Keys::new(counting).unwrap();
        let drawn: std::collections::HashSet<Key> = (0..1000).map(|_| keys.next()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn without_randomness_there_are_no_keys() {
        assert_eq!(Keys::new(|_| false).unwrap_err(), ProtocolError::NoRandomness);
    }
}

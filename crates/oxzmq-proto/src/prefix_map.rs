//! A map from byte strings that finds all its keys that are a prefix of a given string.
//!
//! One hash map per key length: a lookup hashes the string once from its front, and at each length
//! in use asks that length's map. So a lookup costs the string's length plus one probe per length in
//! use, however many keys there are; nothing recurses, whatever a key's length, and a removed key's
//! memory is gone. (A trie would chase one pointer per octet or need its nodes split and merged.)
//!
//! # The hash
//!
//! Keys come from peers, so finding many with one hash must be impossible. The hash is a polynomial in
//! a secret point modulo the prime 2^61 - 1, its coefficients the key's octets seven at a time: two
//! given keys of n octets collide for at most n/7 + 1 of the 2^61 points, and peers learn nothing about
//! the point. Unlike with SipHash, the hash of a longer prefix goes on from that of a shorter one.
//! The point comes from the standard library's `RandomState`, as the hash maps' own keys do.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;

use smallvec::SmallVec;

/// Octets per coefficient: the most that stay below the prime.
const STEP: usize = 7;
const PRIME: u64 = (1 << 61) - 1;

/// A map from byte strings to `V`; see the module.
#[derive(Clone, Debug)]
pub(crate) struct PrefixMap<V> {
    point: u64,
    /// In ascending order of length; no map is empty.
    by_length: Vec<(usize, Keys<V>)>,
    len: usize,
}

type Keys<V> = HashMap<u64, Bucket<V>, BuildHasherDefault<AlreadyHashed>>;
/// The keys of one length that share a hash: practically always one. Never empty.
type Bucket<V> = SmallVec<[(Arc<[u8]>, V); 1]>;

impl<V> PrefixMap<V> {
    pub(crate) fn new() -> Self {
        PrefixMap { point: RandomState::new().hash_one(0) % PRIME, by_length: Vec::new(), len: 0 }
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The value under exactly this key.
    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let index = self.length_index(key.len()).ok()?;
        let hash = RollingHash::new(self.point).advance_to(key);
        let bucket = self.by_length[index].1.get_mut(&hash)?;
        let entry = bucket.iter_mut().find(|(known, _)| **known == *key)?;
        Some(&mut entry.1)
    }

    /// Add a key that is not there yet.
    pub(crate) fn insert_new(&mut self, key: Arc<[u8]>, value: V) {
        let index = self.length_index(key.len()).unwrap_or_else(|index| {
            self.by_length.insert(index, (key.len(), Keys::default()));
            index
        });
        let hash = RollingHash::new(self.point).advance_to(&key);
        let bucket = self.by_length[index].1.entry(hash).or_default();
        debug_assert!(bucket.iter().all(|(known, _)| *known != key));
        bucket.push((key, value));
        self.len += 1;
    }

    /// Remove a key and return its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        let index = self.length_index(key.len()).ok()?;
        let hash = RollingHash::new(self.point).advance_to(key);
        let keys = &mut self.by_length[index].1;
        let bucket = keys.get_mut(&hash)?;
        let at = bucket.iter().position(|(known, _)| **known == *key)?;
        let (_, value) = bucket.swap_remove(at);
        if bucket.is_empty() {
            keys.remove(&hash);
        }
        if keys.is_empty() {
            self.by_length.remove(index);
        } else if keys.capacity() > 64 && keys.len() < keys.capacity() / 8 {
            keys.shrink_to(keys.len() * 2);
        }
        self.len -= 1;
        Some(value)
    }

    /// Call `f` with the value of each key that is a prefix of `text`, shortest first, until it
    /// returns true; returns whether it did.
    #[inline]
    pub(crate) fn any_prefix_of(&self, text: &[u8], mut f: impl FnMut(&V) -> bool) -> bool {
        let mut rolling = RollingHash::new(self.point);
        for (length, keys) in &self.by_length {
            let Some(prefix) = text.get(..*length) else {
                break;
            };
            let Some(bucket) = keys.get(&rolling.advance_to(prefix)) else {
                continue;
            };
            let found = bucket.iter().find(|(known, _)| **known == *prefix);
            if found.is_some_and(|(_, value)| f(value)) {
                return true;
            }
        }
        false
    }

    /// All keys with their values, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let buckets = self.by_length.iter().flat_map(|(_, keys)| keys.values());
        buckets.flatten().map(|(key, value)| (&**key, value))
    }

    fn length_index(&self, length: usize) -> Result<usize, usize> {
        self.by_length.binary_search_by_key(&length, |(length, _)| *length)
    }
}

/// The hash of growing prefixes of one text.
struct RollingHash {
    point: u64,
    /// Hash of the first `done` octets, a multiple of `STEP`.
    hash: u64,
    done: usize,
}

impl RollingHash {
    #[inline]
    fn new(point: u64) -> Self {
        RollingHash { point, hash: 0, done: 0 }
    }

    /// The hash of `prefix`, which must begin with every prefix asked for before.
    #[inline]
    fn advance_to(&mut self, prefix: &[u8]) -> u64 {
        let mut steps = prefix[self.done..].chunks_exact(STEP);
        for step in &mut steps {
            self.hash = self.mixed(step);
            self.done += STEP;
        }
        // Hash maps use the lowest and the highest bits, so spread what the prime leaves out.
        let hash = self.mixed(steps.remainder());
        (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Multiply by the point and add up to `STEP` octets as a number. Keys that are compared have
    /// the same length, so a short last coefficient needs no mark.
    #[inline]
    fn mixed(&self, octets: &[u8]) -> u64 {
        let mut word = [0; 8];
        word[..octets.len()].copy_from_slice(octets);
        let sum = u128::from(self.hash) * u128::from(self.point) + u128::from(u64::from_le_bytes(word));
        let folded = (sum as u64 & PRIME) + (sum >> 61) as u64;
        if folded >= PRIME { folded - PRIME } else { folded }
    }
}

/// Passes on a hash that is one already.
#[derive(Clone, Copy, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Not used: the keys are `u64`.
    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = self.0.rotate_left(8) ^ u64::from(*octet);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_from_a_shorter_prefix() {
        let text: Vec<u8> = (0..100).collect();
        let mut rolling = RollingHash::new(12345);
        for length in [0, 1, 6, 7, 8, 20, 21, 99, 100] {
            let whole = RollingHash::new(12345).advance_to(&text[..length]);
            assert_eq!(rolling.advance_to(&text[..length]), whole);
        }
    }

    #[test]
    fn keys_that_share_a_hash_are_told_apart() {
        let mut map = PrefixMap::new();
        map.point = 0; // Every hash is now the last coefficient alone.
        map.insert_new(Arc::from(&b"aaaaaaax"[..]), 1);
        map.insert_new(Arc::from(&b"bbbbbbbx"[..]), 2);
        assert_eq!(map.by_length[0].1.len(), 1);
        assert_eq!(map.get_mut(b"bbbbbbbx"), Some(&mut 2));
        assert_eq!(map.get_mut(b"cccccccx"), None);
        assert_eq!(map.remove(b"aaaaaaax"), Some(1));
        assert_eq!(map.remove(b"aaaaaaax"), None);
        assert!(map.any_prefix_of(b"bbbbbbbxyz", |value| *value == 2));
        assert_eq!(map.remove(b"bbbbbbbx"), Some(2));
        assert!(map.by_length.is_empty());
    }

    #[test]
    fn removal_gives_memory_back() {
        let mut map = PrefixMap::new();
        for i in 0..10_000u32 {
            map.insert_new(Arc::from(&i.to_be_bytes()[..]), ());
        }
        for i in 1..10_000u32 {
            map.remove(&i.to_be_bytes());
        }
        assert!(map.by_length[0].1.capacity() < 100);
        assert_eq!(map.len(), 1);
    }
}

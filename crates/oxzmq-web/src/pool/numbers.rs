//! Tables by numbers that this process has counted out by itself.
//!
//! Nobody outside can choose such numbers so that they collide, which is what the standard library's hash is made
//! against; a request goes through half a dozen of these tables.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub(super) type ByNumber<V> = HashMap<u64, V, BuildHasherDefault<Spread>>;
pub(super) type Numbers = HashSet<u64, BuildHasherDefault<Spread>>;

/// Spreads numbers that follow one another over all bits.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, number: u64) {
        // 2^64 by the golden ratio. The tables look at the lowest and at the highest bits.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|&octet| self.write_u64(octet.into()));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

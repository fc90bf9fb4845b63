//! The boxes of one direction's MESSAGEs.
//!
//! A box is XSalsa20-Poly1305: HSalsa20 makes a key of the shared key and the nonce's first 16 octets, and Salsa20 with
//! that key and the nonce's last 8 makes the key stream. 32 octets of it are the authenticator's key, what follows hides
//! the data. CURVE's nonces begin with the same 16 octets as long as a connection lives and end in a counter. So HSalsa20
//! need run only once, and the streams of the next counters can be made before their messages are there: four at a time
//! cost what one does, because processors add, rotate and exclusive-or four words in one go.
//!
//! That is done here for messages of one Salsa20 block, whose cost would otherwise be mostly this. Longer ones are left to
//! [`Primitives`] as they are.

use wide::u32x4;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::counted;
use super::crypto::{Dryoc, KEY, MAC, Primitives, SharedKey};

/// Octets of a Salsa20 block.
const BLOCK: usize = 64;
/// What is left of the first block for data: all of a short message.
const SHORT: usize = BLOCK - KEY;

/// Seals or opens the MESSAGEs of one side.
#[derive(Debug)]
pub(super) struct Cipher {
    key: SharedKey,
    /// The nonces' first octets.
    prefix: [u8; 16],
    ahead: Ahead,
}

impl Cipher {
    pub(super) fn new(key: &SharedKey, prefix: &[u8; 16]) -> Self {
        let ahead = Ahead::new(&Dryoc::subkey(key, prefix));
        Cipher { key: key.clone(), prefix: *prefix, ahead }
    }

    /// Encrypt `data` in place; returns its authenticator. Never twice with the same counter.
    #[inline]
    pub(super) fn seal(&mut self, count: &[u8; 8], data: &mut [u8]) -> [u8; MAC] {
        if data.len() > SHORT {
            return Dryoc::seal(&self.key, &counted(&self.prefix, count), data);
        }
        let (mac_key, stream) = self.ahead.first_block(count);
        hide(data, &stream);
        Dryoc::authenticate(&mac_key, data)
    }

    /// Check `mac`, in constant time, and decrypt `sealed` into `out`, which has the same length. False leaves `out` as it
    /// was.
    #[inline]
    pub(super) fn open(&mut self, count: &[u8; 8], mac: &[u8; MAC], sealed: &[u8], out: &mut [u8]) -> bool {
        if sealed.len() > SHORT {
            return Dryoc::open(&self.key, &counted(&self.prefix, count), mac, sealed, out);
        }
        let (mac_key, stream) = self.ahead.first_block(count);
        if !Dryoc::verify(&mac_key, mac, sealed) {
            return false;
        }
        out.copy_from_slice(sealed);
        hide(out, &stream);
        true
    }

    /// As [`Cipher::open`], in place.
    pub(super) fn open_in_place(&mut self, count: &[u8; 8], mac: &[u8; MAC], data: &mut [u8]) -> bool {
        Dryoc::open_in_place(&self.key, &counted(&self.prefix, count), mac, data)
    }
}

fn hide(data: &mut [u8], stream: &[u8; SHORT]) {
    data.iter_mut().zip(stream).for_each(|(octet, key)| *octet ^= key);
}

/// So many blocks are made at a time.
const LANES: usize = 4;

/// The first blocks of the key streams of some counters in a row. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Ahead {
    key: [u32; 8],
    /// The counter of the first lane; `None` before the first use.
    first: Option<u64>,
    /// The same word of each block.
    blocks: [[u32; LANES]; 16],
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ahead(..)")
    }
}

impl Ahead {
    fn new(key: &SharedKey) -> Self {
        let mut words = [0; 8];
        words.iter_mut().zip(key.0.as_chunks().0).for_each(|(word, octets)| *word = u32::from_le_bytes(*octets));
        Ahead { key: words, first: None, blocks: [[0; LANES]; 16] }
    }

    /// The authenticator's key and the octets that hide the data of the message with this counter.
    #[inline]
    fn first_block(&mut self, count: &[u8; 8]) -> (Zeroizing<[u8; KEY]>, Zeroizing<[u8; SHORT]>) {
        let count = u64::from_be_bytes(*count);
        let lane = match self.first.map(|first| count.wrapping_sub(first)) {
            Some(lane) if lane < LANES as u64 => lane as usize,
            _ => {
                self.make(count);
                0
            }
        };
        let (mut mac_key, mut stream) = (Zeroizing::new([0; KEY]), Zeroizing::new([0; SHORT]));
        let octets = mac_key.as_chunks_mut().0.iter_mut().chain(stream.as_chunks_mut().0);
        octets.zip(&self.blocks).for_each(|(octets, words)| *octets = words[lane].to_le_bytes());
        (mac_key, stream)
    }

    /// Salsa20/20 (Bernstein, "Salsa20 specification", 2005) for [`LANES`] counters from `first` on.
    #[inline(never)]
    fn make(&mut self, first: u64) {
        // The diagonal holds "expand 32-byte k"; words 6 and 7 are the nonce, 8 and 9 the block's number, which is 0.
        let mut start = [[0; LANES]; 16];
        for (at, word) in [(0, 0x6170_7865), (5, 0x3320_646e), (10, 0x7962_2d32), (15, 0x6b20_6574)] {
            start[at] = [word; LANES];
        }
        for (at, word) in (1..5).chain(11..15).zip(self.key) {
            start[at] = [word; LANES];
        }
        // A peer decides where its counters begin.
        let nonces: [[u8; 8]; LANES] = std::array::from_fn(|lane| first.wrapping_add(lane as u64).to_be_bytes());
        start[6] = nonces.map(|[a, b, c, d, ..]| u32::from_le_bytes([a, b, c, d]));
        start[7] = nonces.map(|[.., a, b, c, d]| u32::from_le_bytes([a, b, c, d]));
        let start = start.map(u32x4::new);
        let mut state = start;
        for _ in 0..10 {
            quarter_round(&mut state, 0, 4, 8, 12);
            quarter_round(&mut state, 5, 9, 13, 1);
            quarter_round(&mut state, 10, 14, 2, 6);
            quarter_round(&mut state, 15, 3, 7, 11);
            quarter_round(&mut state, 0, 1, 2, 3);
            quarter_round(&mut state, 5, 6, 7, 4);
            quarter_round(&mut state, 10, 11, 8, 9);
            quarter_round(&mut state, 15, 12, 13, 14);
        }
        for ((block, word), start) in self.blocks.iter_mut().zip(state).zip(start) {
            *block = (word + start).to_array();
        }
        self.first = Some(first);
    }
}

#[inline(always)]
fn quarter_round(state: &mut [u32x4; 16], a: usize, b: usize, c: usize, d: usize) {
    state[b] ^= rotated(state[a] + state[d], 7);
    state[c] ^= rotated(state[b] + state[a], 9);
    state[d] ^= rotated(state[c] + state[b], 13);
    state[a] ^= rotated(state[d] + state[c], 18);
}

#[inline(always)]
fn rotated(words: u32x4, left: u32) -> u32x4 {
    (words << left) | (words >> (32 - left))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFIX: &[u8; 16] = b"CurveZMQMESSAGEC";

    /// What [`Dryoc`] makes of it in one piece, which itself is checked against another crate and NaCl's vectors.
    fn expected(key: &SharedKey, count: u64, data: &[u8]) -> (Vec<u8>, [u8; MAC]) {
        let mut sealed = data.to_vec();
        let mac = Dryoc::seal(key, &counted(PREFIX, &count.to_be_bytes()), &mut sealed);
        (sealed, mac)
    }

    #[test]
    fn short_and_long_messages_in_a_row_are_the_boxes_of_nacl() {
        let key = SharedKey([0x5a; KEY]);
        let mut cipher = Cipher::new(&key, PREFIX);
        for (count, size) in (3u64..).zip((0..=70).chain([500, 0, 32, 33])) {
            let data: Vec<u8> = (0..size).map(|at| (at * 3 + size) as u8).collect();
            let mut sealed = data.clone();
            let mac = cipher.seal(&count.to_be_bytes(), &mut sealed);
            assert_eq!((sealed, mac), expected(&key, count, &data), "{size}");
        }
    }

    proptest! {
        #[test]
        fn any_counters_in_any_order_are_the_boxes_of_nacl(
            key: [u8; KEY],
            counts in prop::collection::vec(prop_oneof![any::<u64>(), 0..9u64, Just(u64::MAX)], 1..20),
            data in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let key = SharedKey(key);
            let (mut sealing, mut opening) = (Cipher::new(&key, PREFIX), Cipher::new(&key, PREFIX));
            for count in counts {
                let octets = count.to_be_bytes();
                let mut sealed = data.clone();
                let mut mac = sealing.seal(&octets, &mut sealed);
                prop_assert_eq!((sealed.clone(), mac), expected(&key, count, &data));
                let mut opened = vec![0; data.len()];
                prop_assert!(opening.open(&octets, &mac, &sealed, &mut opened));
                prop_assert_eq!(&opened, &data);
                let mut in_place = sealed.clone();
                prop_assert!(opening.open_in_place(&octets, &mac, &mut in_place));
                prop_assert_eq!(&in_place, &data);
                mac[usize::from(octets[7]) % MAC] ^= 1;
                let mut untouched = vec![7; data.len()];
                prop_assert!(!opening.open(&octets, &mac, &sealed, &mut untouched));
                prop_assert_eq!(untouched, vec![7; data.len()]);
            }
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let cipher = Cipher::new(&SharedKey([0xab; KEY]), PREFIX);
        let shown = format!("{cipher:?}");
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    }
}

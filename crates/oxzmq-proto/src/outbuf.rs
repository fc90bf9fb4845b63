//! Bytes waiting to be written to one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes waiting to be written: small pieces gathered into one buffer, large bodies referenced, so
/// that a driver writes them with one vectored write.
///
/// In order from the front: the closed `segments`, then the open end of `flat`. A stream of small
/// messages never closes a segment, so it is one buffer and nothing else.
#[derive(Default, Debug)]
pub struct OutBuf {
    /// Gathered octets. Those before `read` are written already, those up to `open_start()` belong
    /// to the closed `Flat` segments in their order, the rest is the open end.
    flat: Vec<u8>,
    read: usize,
    segments: VecDeque<Segment>,
    /// Sum of the closed `Flat` segments' lengths.
    closed_flat: usize,
    /// Sum of the `Shared` segments' lengths.
    shared: usize,
}

/// No segment is empty.
#[derive(Debug)]
enum Segment {
    Flat(usize),
    Shared(Bytes),
}

impl OutBuf {
    /// Bodies from this many octets on are referenced, not copied. Below it, a copy is cheaper than
    /// one more entry in a vectored write.
    pub const REFERENCE_MIN: usize = 4096;

    /// Written octets at the front of `flat` are dropped from this many on, when they are more than
    /// what is left: a buffer that is never quite empty must not grow for ever.
    const COMPACT_MIN: usize = 64 * 1024;

    /// An empty buffer, without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets still to be written.
    #[inline]
    pub fn len(&self) -> usize {
        self.flat.len() - self.read + self.shared
    }

    /// Whether all is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Append a copy of `octets`.
    #[inline]
    pub fn put(&mut self, octets: &[u8]) {
        self.flat.extend_from_slice(octets);
    }

    /// The last `n` octets that were put, which have to be among those copied with [`OutBuf::put`] since the
    /// last reference.
    pub(crate) fn tail_mut(&mut self, n: usize) -> &mut [u8] {
        let start = self.flat.len() - n;
        debug_assert!(start >= self.open_start());
        &mut self.flat[start..]
    }

    /// Append `header` and the first `len` of `body`, by copies of constant size: cheaper than those
    /// of variable size when all is small.
    #[inline]
    pub(crate) fn put_prefix<const N: usize, const M: usize>(&mut self, header: &[u8; N], body: &[u8; M], len: usize) {
        let end = self.flat.len() + N + len;
        self.flat.reserve(N + M);
        self.flat.extend_from_slice(header);
        self.flat.extend_from_slice(body);
        self.flat.truncate(end);
    }

    /// Append `bytes`, by reference from [`OutBuf::REFERENCE_MIN`] octets on, else by copy.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < Self::REFERENCE_MIN {
            return self.put(&bytes);
        }
        let open = self.flat.len() - self.open_start();
        if open > 0 {
            self.segments.push_back(Segment::Flat(open));
            self.closed_flat += open;
        }
        self.shared += bytes.len();
        self.segments.push_back(Segment::Shared(bytes));
    }

    /// Fill `slices` from the front of what is to be written; returns how many were filled.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let open = &self.flat[self.open_start()..];
        let mut at = self.read;
        let closed = self.segments.iter().map(|segment| match segment {
            Segment::Flat(len) => {
                at += len;
                &self.flat[at - len..at]
            }
            Segment::Shared(bytes) => &bytes[..],
        });
        let all = closed.chain((!open.is_empty()).then_some(open));
        let mut count = 0;
        for (slot, octets) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(octets);
            count += 1;
        }
        count
    }

    /// The first contiguous piece of what is to be written; empty only if all is written.
    #[inline]
    pub fn first_slice(&self) -> &[u8] {
        match self.segments.front() {
            None => &self.flat[self.read..],
            Some(Segment::Flat(len)) => &self.flat[self.read..self.read + len],
            Some(Segment::Shared(bytes)) => bytes,
        }
    }

    /// Whether [`OutBuf::first_slice`] is all there is, so that a plain write does.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.segments.is_empty() || (self.segments.len() == 1 && self.open_start() == self.flat.len())
    }

    /// Take `n` octets from the front: they have been written. More than [`OutBuf::len`] empties it.
    pub fn advance(&mut self, mut n: usize) {
        while n > 0 {
            match self.segments.front_mut() {
                None => {
                    self.read += n.min(self.flat.len() - self.read);
                    break;
                }
                Some(Segment::Flat(len)) => {
                    let taken = n.min(*len);
                    *len -= taken;
                    n -= taken;
                    self.read += taken;
                    self.closed_flat -= taken;
                    if *len == 0 {
                        self.segments.pop_front();
                    }
                }
                Some(Segment::Shared(bytes)) => {
                    let taken = n.min(bytes.len());
                    bytes.advance(taken);
                    n -= taken;
                    self.shared -= taken;
                    if bytes.is_empty() {
                        self.segments.pop_front();
                    }
                }
            }
        }
        self.reuse_flat();
    }

    /// Drop all that is to be written; keeps the memory.
    pub fn clear(&mut self) {
        self.flat.clear();
        self.segments.clear();
        self.read = 0;
        self.closed_flat = 0;
        self.shared = 0;
    }

    /// Give the memory back if all is written, so that an idle connection holds none.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    #[inline]
    fn open_start(&self) -> usize {
        self.read + self.closed_flat
    }

    fn reuse_flat(&mut self) {
        if self.read == self.flat.len() {
            self.flat.clear();
            self.read = 0;
        } else if self.read >= Self::COMPACT_MIN && self.read > self.flat.len() - self.read {
            self.flat.drain(..self.read);
            self.read = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(out: &OutBuf) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = out.io_slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn mixed() -> (OutBuf, Vec<u8>) {
        let mut out = OutBuf::new();
        let mut all = Vec::new();
        for (i, size) in [3, 5000, 4096, 10, 4095, 9000].into_iter().enumerate() {
            let body = vec![i as u8; size];
            all.extend_from_slice(&body);
            out.put_bytes(Bytes::from(body));
        }
        out.put(b"end");
        all.extend_from_slice(b"end");
        (out, all)
    }

    #[test]
    fn small_pieces_are_one_segment() {
        let mut out = OutBuf::new();
        out.put(b"ab");
        out.put_bytes(Bytes::from_static(b"cd"));
        out.put_prefix(b"e", b"fgh", 1);
        assert!(out.is_contiguous());
        assert_eq!(out.first_slice(), b"abcdef");
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(out.io_slices(&mut slices), 1);
    }

    #[test]
    fn order_is_kept_across_segments_and_partial_writes() {
        for step in [7, 101, 4096, 5003, 100_000] {
            let (mut out, all) = mixed();
            let mut written = 0;
            while !out.is_empty() {
                assert_eq!(out.len(), all.len() - written);
                assert_eq!(contents(&out), &all[written..]);
                assert!(all[written..].starts_with(out.first_slice()));
                assert!(!out.first_slice().is_empty());
                written = (written + step).min(all.len());
                out.advance(step);
            }
            assert_eq!(out.first_slice(), b"");
            assert!(out.flat.is_empty());
        }
    }

    #[test]
    fn fills_no_more_slices_than_given() {
        let (out, all) = mixed();
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(out.io_slices(&mut slices), 2);
        assert_eq!(&slices[1][..], &all[3..5003]);
        assert!(!out.is_contiguous());
    }

    #[test]
    fn a_buffer_that_is_never_empty_does_not_grow_for_ever() {
        let mut out = OutBuf::new();
        out.put(&[0; 1000]);
        for _ in 0..10_000 {
            out.put(&[0; 1000]);
            out.advance(1000);
        }
        assert_eq!(out.len(), 1000);
        assert!(out.flat.capacity() < 4 * OutBuf::COMPACT_MIN);
    }

    #[test]
    fn memory_goes_back_only_when_all_is_written() {
        let mut out = OutBuf::new();
        out.put(b"abc");
        out.shrink();
        assert_eq!(out.first_slice(), b"abc");
        out.advance(3);
        out.shrink();
        assert_eq!(out.flat.capacity(), 0);
    }
}

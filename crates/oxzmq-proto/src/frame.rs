//! A frame's body: inline when small, reference-counted when large.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// One frame's body: up to [`Frame::INLINE_MAX`] octets inline without allocation, larger in a
/// reference-counted [`Bytes`], so that cloning never copies a large body.
///
/// Compared, hashed and ordered by its octets, wherever they are kept.
#[derive(Clone)]
pub struct Frame(Body);

#[derive(Clone)]
enum Body {
    /// Only the first `len` octets of `data` mean anything; the rest may be leftovers.
    Inline {
        len: u8,
        data: [u8; Frame::INLINE_MAX],
    },
    Shared(Bytes),
}

impl Frame {
    /// Longest body that is kept inline: with its length and tag it takes the 40 octets that a
    /// `Bytes` with a tag takes anyway.
    pub const INLINE_MAX: usize = 38;

    /// An empty frame.
    #[inline]
    pub const fn new() -> Self {
        Frame(Body::Inline { len: 0, data: [0; Self::INLINE_MAX] })
    }

    /// A frame with a copy of `body`. Allocates only above [`Frame::INLINE_MAX`] octets.
    #[inline]
    pub fn copy_from_slice(body: &[u8]) -> Self {
        if body.len() > Self::INLINE_MAX {
            return Frame(Body::Shared(Bytes::copy_from_slice(body)));
        }
        let mut frame = Self::new();
        frame.copy_small(body);
        frame
    }

    /// Become a copy of `body`, of at most `INLINE_MAX` octets, in place; see [`Frame::set_inline`].
    #[inline]
    pub(crate) fn copy_small(&mut self, body: &[u8]) {
        if !self.is_inline() {
            *self = Self::new();
        }
        if let Body::Inline { len, data } = &mut self.0 {
            *len = body.len() as u8;
            copy_small(data, body);
        }
    }

    /// A frame that refers to `body` however short that is, so that its owner knows when nobody needs it any
    /// more.
    #[inline]
    pub const fn shared(body: Bytes) -> Self {
        Frame(Body::Shared(body))
    }

    /// The octets to be changed in place, of a frame that keeps them inside itself.
    #[inline]
    pub fn inline_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.0 {
            Body::Inline { len, data } => Some(&mut data[..usize::from(*len)]),
            Body::Shared(_) => None,
        }
    }

    /// Become the first `len` octets of `data`; `len` must not exceed `INLINE_MAX`.
    ///
    /// The decoder's way, in place. A copy of constant size costs a fraction of one of variable
    /// size; and octets written where they stay need not be read back at once, which stalls when
    /// they were written in other pieces than they are read in.
    #[inline]
    pub(crate) fn set_inline(&mut self, data: &[u8; Self::INLINE_MAX], len: usize) {
        debug_assert!(len <= Self::INLINE_MAX);
        let new_len = len as u8;
        match &mut self.0 {
            Body::Inline { len, data: own } => {
                *len = new_len;
                *own = *data;
            }
            Body::Shared(_) => self.0 = Body::Inline { len: new_len, data: *data },
        }
    }

    /// The inline storage with its length, for copies of constant size.
    #[inline]
    pub(crate) fn inline_parts(&self) -> Option<(&[u8; Self::INLINE_MAX], usize)> {
        match &self.0 {
            Body::Inline { len, data } => Some((data, usize::from(*len))),
            Body::Shared(_) => None,
        }
    }

    /// Length of the body in octets.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Body::Inline { len, .. } => usize::from(*len),
            Body::Shared(bytes) => bytes.len(),
        }
    }

    /// Whether the body has no octets.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Body::Inline { len, data } => &data[..usize::from(*len)],
            Body::Shared(bytes) => bytes,
        }
    }

    /// The body as `Bytes`: without a copy when it is shared already.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Body::Inline { len, data } => Bytes::copy_from_slice(&data[..usize::from(len)]),
            Body::Shared(bytes) => bytes,
        }
    }

    /// Whether the body is kept inside the frame itself.
    #[inline]
    pub fn is_inline(&self) -> bool {
        matches!(self.0, Body::Inline { .. })
    }

    /// The reference-counted body, if it is one.
    #[inline]
    pub fn as_shared(&self) -> Option<&Bytes> {
        match &self.0 {
            Body::Inline { .. } => None,
            Body::Shared(bytes) => Some(bytes),
        }
    }
}

/// Copy `from` to the front of `to`, which must hold it, by few copies of constant size that overlap: for so few octets the
/// call of a copy of any size costs more than the copy.
#[inline]
fn copy_small(to: &mut [u8; Frame::INLINE_MAX], from: &[u8]) {
    fn ends<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
        let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else { return false };
        to[..N].copy_from_slice(first);
        to[from.len() - N..from.len()].copy_from_slice(last);
        true
    }
    if from.len() > 32 {
        to[16..32].copy_from_slice(&from[16..32]);
    }
    if !ends::<16>(to, from) && !ends::<8>(to, from) && !ends::<4>(to, from) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
}

impl Default for Frame {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Frame {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<Bytes> for Frame {
    /// Short bodies are copied inline, which lets go of the buffer they are part of.
    #[inline]
    fn from(bytes: Bytes) -> Self {
        if bytes.len() <= Self::INLINE_MAX {
            return Self::copy_from_slice(&bytes);
        }
        Frame(Body::Shared(bytes))
    }
}

impl From<Vec<u8>> for Frame {
    #[inline]
    fn from(vec: Vec<u8>) -> Self {
        if vec.len() <= Self::INLINE_MAX {
            return Self::copy_from_slice(&vec);
        }
        Frame(Body::Shared(Bytes::from(vec)))
    }
}

impl From<String> for Frame {
    #[inline]
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl From<&[u8]> for Frame {
    #[inline]
    fn from(body: &[u8]) -> Self {
        Self::copy_from_slice(body)
    }
}

impl<const N: usize> From<&[u8; N]> for Frame {
    #[inline]
    fn from(body: &[u8; N]) -> Self {
        Self::copy_from_slice(body)
    }
}

impl From<&str> for Frame {
    #[inline]
    fn from(text: &str) -> Self {
        Self::copy_from_slice(text.as_bytes())
    }
}

impl From<Frame> for Bytes {
    #[inline]
    fn from(frame: Frame) -> Self {
        frame.into_bytes()
    }
}

impl PartialEq for Frame {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Frame {}

impl Hash for Frame {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl PartialOrd for Frame {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Frame {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

macro_rules! equal_to_octets {
    ($($other:ty => |$value:ident| $octets:expr;)*) => {$(
        impl PartialEq<$other> for Frame {
            #[inline]
            fn eq(&self, $value: &$other) -> bool {
                self.as_slice() == $octets
            }
        }
    )*};
}

equal_to_octets! {
    [u8] => |other| other;
    &[u8] => |other| *other;
    str => |other| other.as_bytes();
    &str => |other| other.as_bytes();
}

impl<const N: usize> PartialEq<&[u8; N]> for Frame {
    #[inline]
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl fmt::Debug for Frame {
    /// Text where all is printable ASCII, else hexadecimal; cut after 64 octets, then with the length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let shown = &self[..self.len().min(SHOWN)];
        match std::str::from_utf8(shown) {
            Ok(text) if shown.iter().all(|&octet| (b' '..=b'~').contains(&octet)) => {
                write!(f, "{text:?}")?;
            }
            _ => shown.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?,
        }
        if self.len() > SHOWN {
            write!(f, "… ({} octets)", self.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_forty_octets() {
        assert_eq!(size_of::<Frame>(), 40);
    }

    #[test]
    fn copies_bodies_of_every_length() {
        let octets: Vec<u8> = (1..=100).collect();
        for len in 0..100 {
            assert_eq!(Frame::copy_from_slice(&octets[..len]), octets[..len]);
            assert_eq!(crate::Message::from(&octets[..len])[0], octets[..len]);
        }
    }

    #[test]
    fn is_inline_up_to_the_limit_only() {
        assert!(Frame::from(vec![1; Frame::INLINE_MAX]).is_inline());
        assert!(!Frame::from(vec![1; Frame::INLINE_MAX + 1]).is_inline());
        assert!(Frame::from(Bytes::from(vec![1; 5])).is_inline());
    }

    #[test]
    fn a_large_body_is_passed_on_without_a_copy() {
        let bytes = Bytes::from(vec![7; 100]);
        let at = bytes.as_ptr();
        let frame = Frame::from(bytes);
        assert_eq!(frame.as_shared().unwrap().as_ptr(), at);
        assert_eq!(frame.clone().into_bytes().as_ptr(), at);
    }

    #[test]
    fn leftovers_behind_an_inline_body_do_not_count() {
        let long = [9; 50];
        let mut frame = Frame::new();
        frame.set_inline(long.first_chunk().unwrap(), 3);
        assert_eq!(frame, Frame::copy_from_slice(&[9; 3]));
        assert_eq!(frame.into_bytes(), &[9; 3][..]);
    }

    #[test]
    fn shows_text_as_text_and_the_rest_in_hexadecimal() {
        assert_eq!(format!("{:?}", Frame::from("a\"b")), r#""a\"b""#);
        assert_eq!(format!("{:?}", Frame::from(&[0, 255])), "00ff");
        let long = format!("{:?}", Frame::from("x".repeat(100)));
        assert_eq!(long, format!("\"{}\"… (100 octets)", "x".repeat(64)));
    }
}

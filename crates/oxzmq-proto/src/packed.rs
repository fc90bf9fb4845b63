//! Small messages behind one another in one buffer.
//!
//! A message is a cache line whatever is in it, and what one processor has written another fetches line by line. Packed,
//! three or four messages of a flood are in a line.

use std::mem;

use crate::{Frame, Message};

/// An octet for the length, then the body.
const MOST: usize = 1 + Frame::INLINE_MAX;

/// Messages of one small frame each, first in, first out.
#[derive(Debug, Default)]
pub struct Packed {
    octets: Vec<u8>,
    /// What was before is taken.
    at: usize,
    count: usize,
}

impl Packed {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes a message in, and leaves an empty one in its place. False for one that has more than one small frame of data:
    /// that stays as it is.
    #[inline]
    pub fn push(&mut self, message: &mut Message) -> bool {
        let Some((data, len)) = message.small_alone() else { return false };
        let end = self.octets.len() + 1 + len;
        self.octets.push(len as u8); // at most INLINE_MAX
        // All of it, then cut: a copy of constant size costs a fraction of one of any size.
        self.octets.extend_from_slice(data);
        self.octets.truncate(end);
        self.count += 1;
        mem::take(message).discard();
        true
    }

    /// The first one, in place of `message`; false when there is none.
    #[inline]
    pub fn pop(&mut self, message: &mut Message) -> bool {
        if self.count == 0 {
            return false;
        }
        message.replace_by(Message::EMPTY_FRAME);
        let rest = &self.octets[self.at..];
        self.at += match rest.first_chunk::<MOST>() {
            Some([len, data @ ..]) => {
                message.fill(data, usize::from(*len));
                1 + usize::from(*len)
            }
            None => fill_from_the_last(message, rest),
        };
        self.count -= 1;
        if self.count == 0 {
            self.octets.clear();
            self.at = 0;
        }
        true
    }
}

/// Fewer octets are left than a message may have.
#[cold]
fn fill_from_the_last(message: &mut Message, rest: &[u8]) -> usize {
    let [len, data @ ..] = rest else { return 0 };
    let mut padded = [0; Frame::INLINE_MAX];
    padded[..data.len()].copy_from_slice(data);
    message.fill(&padded, usize::from(*len));
    1 + usize::from(*len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_out_as_it_went_in() {
        let mut packed = Packed::default();
        let body = |n: u8| vec![n; usize::from(n) % (Frame::INLINE_MAX + 1)];
        for n in 0..=255 {
            let mut message = Message::single(body(n));
            assert!(packed.push(&mut message));
            assert!(message.is_empty());
        }
        assert_eq!(packed.len(), 256);
        let mut message = Message::from(["what was", "there before"]);
        for n in 0..=255 {
            assert!(packed.pop(&mut message));
            assert_eq!(message, Message::single(body(n)));
        }
        assert!(packed.is_empty());
        assert!(!packed.pop(&mut message));
        assert_eq!(message.len(), 1, "as it was");
    }

    #[test]
    fn takes_nothing_in_that_would_lose_something() {
        let mut packed = Packed::default();
        let mut routed = Message::from("x");
        routed.set_routing_id(7);
        let mut grouped = Message::from("x");
        grouped.set_group("group");
        let many = Message::from(["a", "b"]);
        let large = Message::from(vec![0; Frame::INLINE_MAX + 1]);
        let change = Message::subscription(crate::Kind::Subscribe, "topic");
        for mut message in [routed, grouped, many, large, change, Message::new()] {
            let before = message.clone();
            assert!(!packed.push(&mut message));
            assert_eq!(message, before);
        }
        assert!(packed.is_empty());
    }
}

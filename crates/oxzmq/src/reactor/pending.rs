//! How many strangers may be at the door: a bound on accepted connections that are in their handshakes.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::handshaking::handshake_failed;
use super::{Source, Worker};

/// Accepted connections that were in their handshakes when last looked at, the oldest first.
pub(super) struct Pending {
    tokens: VecDeque<u64>,
    most: usize,
}

impl Pending {
    pub(super) fn new(most: usize) -> Self {
        Self { tokens: VecDeque::new(), most }
    }

    /// Adds one. When there are too many, `is_pending` tells which are still there, and those that are one too many
    /// are returned.
    fn add(&mut self, token: u64, is_pending: impl Fn(u64) -> bool) -> Vec<u64> {
        self.tokens.push_back(token);
        if self.tokens.len() <= self.most {
            return Vec::new();
        }
        // The newest is only about to begin.
        self.tokens.retain(|&known| known == token || is_pending(known));
        if self.tokens.len() <= self.most {
            return Vec::new();
        }
        // Some more than necessary, so that looking through all of them is rare.
        let keep = self.most - self.most / 16;
        self.tokens.drain(..self.tokens.len() - keep).collect()
    }
}

impl Worker {
    /// A handshake begins with somebody who came to us.
    pub(super) fn admit(&mut self, token: u64) {
        let sources = &self.sources;
        let too_many = self.pending.add(token, |known| matches!(sources.get(&known), Some(Source::Handshaking(_))));
        for token in too_many {
            if let Some(Source::Handshaking(attempt)) = self.sources.remove(&token) {
                handshake_failed(&attempt, &Errno::CONNABORTED.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_those_that_are_done_do_not_count() {
        let mut pending = Pending::new(32);
        for token in 1..=32 {
            assert_eq!(pending.add(token, |_| true), []);
        }
        // All even ones have ended.
        assert_eq!(pending.add(33, |token| token % 2 == 1), []);
        assert_eq!(pending.tokens.len(), 17);
        for token in 34..=48 {
            assert_eq!(pending.add(token, |_| true), []);
        }
        assert_eq!(pending.add(49, |_| true), [1, 3, 5]);
        assert_eq!(pending.tokens.len(), 30);
    }

    #[test]
    fn one_alone_may_always_begin() {
        let mut pending = Pending::new(1);
        assert_eq!(pending.add(1, |_| true), []);
        assert_eq!(pending.add(2, |_| true), [1]);
        assert_eq!(pending.add(3, |_| true), [2]);
    }
}
